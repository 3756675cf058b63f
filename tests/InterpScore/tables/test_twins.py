"""Guards that images with the activations of another one in every unit are noticed, and ordinary ties are not."""

import numpy as np
import pytest

from InterpScore import run_interpretability_benchmark
from InterpScore.tables.twins import same_pictures

pytestmark = pytest.mark.filterwarnings("ignore::InterpScore.errors.TableWarning")
REMARK = "images repeat the activations of another in every unit"


def layer(units, images, seed=0):
    return np.random.default_rng(seed).gamma(2, size=(units, images))


def copied(activation_UI, *pairs):
    activation_UI = activation_UI.copy()
    for one, other in pairs:
        activation_UI[:, other] = activation_UI[:, one]
    return activation_UI


def sparse(units, images, share_zero=0.8):
    generator = np.random.default_rng(1)
    return generator.gamma(2, size=(units, images)) * (generator.random((units, images)) > share_zero)


@pytest.mark.parametrize(
    ("activation_UI", "groups"),
    [
        pytest.param(copied(layer(2, 30), (3, 17)), [[3, 17]], id="two units"),
        pytest.param(copied(layer(40, 30), (3, 17), (3, 20), (8, 9)), [[3, 17, 20], [8, 9]], id="three of one picture"),
        pytest.param(np.repeat(layer(2, 20), 2, axis=1), [[2 * i, 2 * i + 1] for i in range(20)], id="every one twice"),
        pytest.param(np.repeat(layer(3, 1), 2, axis=1), [[0, 1]], id="nothing else"),
        pytest.param(copied(np.round(layer(60, 30), 1), (3, 17)), [[3, 17]], id="rounded, in many units"),
        pytest.param(-copied(layer(5, 30), (3, 17)), [[3, 17]], id="negative"),
    ],
)
def test_equal_rows_of_activations_are_found(activation_UI, groups):
    assert [group.tolist() for group in same_pictures(activation_UI)] == groups


def test_a_zero_of_either_sign_is_the_same_activation():
    activation_UI = copied(layer(3, 20), (3, 17))
    activation_UI[0, [3, 17]] = 0.0, -0.0
    assert [group.tolist() for group in same_pictures(activation_UI)] == [[3, 17]]


@pytest.mark.parametrize(
    "activation_UI",
    [
        pytest.param(layer(2, 200), id="no ties"),
        pytest.param(copied(layer(1, 30), (3, 17)), id="one unit"),
        pytest.param(sparse(3, 200), id="units that are mostly 0"),
        pytest.param(np.zeros((50, 30)), id="nothing active"),
        pytest.param(np.where(np.arange(30) < 4, 0.0, layer(50, 30)), id="nothing active on some images"),
        pytest.param(np.random.default_rng(0).integers(0, 6, (3, 100)).astype(float), id="few whole numbers"),
        pytest.param(np.where(np.arange(3)[:, None] < 2, np.nan, copied(layer(3, 30), (3, 17))), id="one measured"),
        pytest.param(copied(layer(20, 30), (3, 17)) + np.eye(20, 30, 17) * 1e-12, id="another last digit"),
    ],
)
def test_ties_that_are_normal_are_not(activation_UI):
    assert same_pictures(activation_UI) == []


@pytest.mark.parametrize("levels", [(5, 5), (5, 4), (4, 3)])
def test_a_run_names_pictures_that_are_there_twice(simulated_study, levels):
    one, other = (
        simulated_study.loc[simulated_study["level"] == level, "image_filename"].unique()[-n]
        for n, level in enumerate(levels)
    )
    names = [f"activation_{unit}" for unit in (1, 2, 3)]
    frame, neuron_map = simulated_study.copy(), {"1": "cat", "2": "dog"}
    values = frame.loc[frame["image_filename"] == one, names].iloc[0].to_numpy()
    frame.loc[frame["image_filename"] == other, names] = values

    def told(table, units):
        return [r for r in run_interpretability_benchmark(table, units, resamples=0).warnings if REMARK in r]

    (remark,) = told(frame, neuron_map)
    assert "1 of 120 images" in remark
    assert one in remark
    assert other in remark
    assert told(simulated_study, neuron_map) == []
    assert told(frame, {"1": "cat"}) == []


def test_rows_of_a_table_without_image_names_repeat_pictures(simulated_study):
    nameless = simulated_study.drop(columns=[c for c in simulated_study if c in ("image_filename", "clean_image")])
    result = run_interpretability_benchmark(nameless, {"1": "cat", "2": "dog"}, resamples=0)
    n = len(simulated_study)
    assert any(f"{n - 120} of {n} {REMARK}" in remark for remark in result.warnings)
