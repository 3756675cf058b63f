"""The draws that stay beside the results."""

import hashlib
import io
import json
import warnings

import numpy as np
import pandas as pd
import pytest

from InterpScore.aggregated_measure import weighted_components
from InterpScore.benchmark import run_interpretability_benchmark
from InterpScore.errors import InputError
from InterpScore.sanity.simulation import PlantedUnit, StudyDesign, simulate_table, simulated_frame
from InterpScore.scoring.draws import Draws, number_kept, read_draws

UNITS = {"3": PlantedUnit("cat", 2.0), "5": PlantedUnit("dog", 1.0), "8": PlantedUnit("fish", 0.0)}
NEURON_MAP = {unit: planted.concept for unit, planted in UNITS.items()}


@pytest.fixture(scope="module")
def frame():
    design = StudyDesign(["cat", "dog", "fish"], images_per_concept=8, participants=10)
    return simulated_frame(simulate_table(design, UNITS, np.random.default_rng(0)))


def run(frame, neuron_map=NEURON_MAP, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run_interpretability_benchmark(frame, neuron_map, **options)


@pytest.fixture(scope="module")
def result(frame):
    return run(frame, resamples=150)


@pytest.fixture
def saved(result, tmp_path):
    return result.save(tmp_path / "results.csv")[0]


def test_read_draws_are_those_of_the_run_in_the_order_of_the_table(result, saved):
    draws = read_draws(saved)
    assert draws.neurons == tuple(result.table["Neuron"])
    assert draws.components == ("S", "C", "R", "H", "InterpScore")
    np.testing.assert_array_equal(draws.values_NCB, result.draws.values_NCB)
    np.testing.assert_array_equal(draws.estimate_NC[:, -1], result.table["InterpScore"])


def test_intervals_of_H_are_percentiles_of_the_draws(result, saved):
    known = result.table["H_low"].notna()
    low, high = np.nanquantile(read_draws(saved).of("H")[known], [0.025, 0.975], axis=1)
    inside = np.minimum(low, result.table["H"][known]), np.maximum(high, result.table["H"][known])
    np.testing.assert_allclose(inside, result.table.loc[known, ["H_low", "H_high"]].T, atol=1e-6)


def test_scores_in_every_draw_combine_its_components(result, saved):
    draws = read_draws(saved)
    values = np.stack([draws.of(name) for name in ("S", "C", "R", "H")])
    present = np.isfinite(draws.estimate_NC[:, :4]).T[:, :, None]
    combined = weighted_components(values, present, (0.3, 0.3, 0.2, 0.2), "renormalise")
    np.testing.assert_allclose(draws.of("InterpScore"), combined, atol=1e-6)


def test_shifted_draws_have_the_estimate_as_their_median(saved):
    draws = read_draws(saved)
    np.testing.assert_allclose(np.median(draws.around("S"), axis=1), draws.estimate_NC[:, 0], atol=1e-6)


def test_results_can_be_named_by_their_json(saved):
    assert read_draws(saved.with_suffix(".json")).neurons == read_draws(saved).neurons


def test_same_run_writes_the_same_bytes(frame, result):
    assert run(frame, resamples=150).draws.file == result.draws.file


def test_more_neurons_than_one_concept_row_each_are_kept_once(frame):
    several = NEURON_MAP | {"3": ["cat", "dog"]}
    draws = run(frame, several, resamples=20, per_concept=True).draws
    assert sorted(draws.neurons) == ["3", "5", "8"]


@pytest.mark.parametrize(
    ("asked", "neurons", "resamples", "kept"),
    [(None, 200, 2000, 2000), (None, 201, 2000, 200), (None, 900, 50, 50), (7, 10, 2000, 7), (500, 900, 2000, 500), (0, 1, 9, 0)],
)  # fmt: skip
def test_number_of_draws_kept(asked, neurons, resamples, kept):
    assert number_kept(asked, neurons, resamples) == kept


def test_more_draws_than_resamples_are_refused(frame):
    with pytest.raises(InputError, match="--draws: found 50; expected at most the 20 of --resamples"):
        run(frame, resamples=20, draws=50)


@pytest.mark.parametrize("none", [{"draws": 0}, {"resamples": 0}], ids=str)
def test_results_without_draws_leave_none_of_earlier_results(frame, saved, none):
    run(frame, **{"resamples": 20, **none}).save(saved)
    assert not saved.with_suffix(".draws.npz").exists()
    with pytest.raises(InputError, match="keep no draws"):
        read_draws(saved)


def test_names_of_any_script_survive(tmp_path):
    draws = Draws(("layer4.5:89", "é#", "猫"), ("S",), np.zeros((3, 1)), np.zeros((3, 1, 2), np.float32))
    with np.load(io.BytesIO(draws.file), allow_pickle=False) as archive:
        assert tuple(archive["neuron"]) == draws.neurons


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def of_other_results(path):
    pd.DataFrame({"x": [1]}).to_csv(path)


@pytest.mark.parametrize(
    "damage", [flip_a_byte, of_other_results, lambda path: path.write_bytes(b""), lambda path: path.unlink()]
)
def test_draws_that_are_not_of_these_results_are_refused(saved, damage):
    damage(saved.with_suffix(".draws.npz"))
    with pytest.raises(InputError, match=r"results\.draws\.npz: (damaged, or the draws of other results|not found)"):
        read_draws(saved)


@pytest.mark.parametrize(
    "content", ["[]", '{"signature": 3}', '{"signature": {"draws": 4}}', "{", '{"signature": {"draws": {"sha256": 4}}}']
)
def test_results_that_are_not_ours_are_refused(saved, content):
    saved.with_suffix(".json").write_text(content)
    with pytest.raises(InputError, match="results"):
        read_draws(saved)


def test_hash_that_matches_other_content_is_refused_in_one_line(saved):
    npz, js = saved.with_suffix(".draws.npz"), saved.with_suffix(".json")
    npz.write_bytes(b"PK not an archive")
    document = json.loads(js.read_text())
    document["signature"]["draws"]["sha256"] = hashlib.sha256(npz.read_bytes()).hexdigest()
    js.write_text(json.dumps(document))
    with pytest.raises(InputError, match="damaged"):
        read_draws(saved)
