"""Guards the registry of metrics: the page on adding one is true, and a package's metric appears wherever S, C, R and H do."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import InterpScore
from InterpScore import InputError, calculate_interpretability_metrics, calculate_interpretability_score
from InterpScore.metric import components, metrics
from InterpScore.options import scoring_options
from InterpScore.scoring.results import columns

PAGE = (Path(InterpScore.__file__).parents[1] / "docs" / "EXTENDING_METRICS.md").read_text(encoding="utf-8")
CODE = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
ENTRY_POINT = re.search(r'```toml\n\[project.entry-points."(.+?)"\]\n(\w+) = "(.+?)"\n```', PAGE).groups()
FOUR = ("S", "C", "R", "H")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a package with a metric where packages are found."""

    def installed(code=CODE, name=ENTRY_POINT[1]):
        group, _, value = ENTRY_POINT
        site = tmp_path / "site"
        record = site / "contrast-1.dist-info"
        record.mkdir(parents=True)
        (record / "METADATA").write_text("Metadata-Version: 2.1\nName: contrast\nVersion: 1\n")
        (record / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
        (site / "contrast.py").write_text(code)
        monkeypatch.delitem(sys.modules, "contrast", raising=False)
        monkeypatch.syspath_prepend(site)

    yield installed
    sys.modules.pop("contrast", None)


@pytest.fixture
def scored(files, score):
    """The table by neuron, the JSON and what was printed."""

    def run(*options):
        outcome = score(*files.paths, "--resamples", 30, *options)
        assert (outcome.code, outcome.err) == (0, "")
        table = pd.read_csv(files.results, dtype={"Neuron": str}, keep_default_na=False, na_values=[""])
        document = json.loads(files.results.with_suffix(".json").read_text())
        return table.set_index("Neuron").sort_index(), document, outcome.out

    return run


def plain_contrast(study, neuron, concept):
    clean = study[study["level"] == 5].drop_duplicates("image_filename")
    size, on = clean[f"activation_{neuron}"].abs(), clean["ground_truth"] == concept
    return size[on].mean() / (size[on].mean() + size[~on].mean())


def test_a_metric_of_a_package_appears_everywhere(install, scored, simulated_study, neurons):
    before = scored()[0]
    install()
    table, document, printed = scored()
    expected = [plain_contrast(simulated_study, neuron, concept) for neuron, concept in neurons.items()]
    np.testing.assert_allclose(table["X"], expected, rtol=1e-12)
    assert (table["X_low"] < table["X"]).all()
    assert (table["X"] < table["X_high"]).all()
    assert (table["X_excess"] < table["X"]).all()
    assert list(table).index("X") == list(table).index("H") + 1
    assert {"X", "X_low", "X_high", "X_excess", "X_on"} <= set(document["columns"]) & set(columns())
    assert document["columns"]["InterpScore"] == "weighted mean of S, C, R, H and X (METRICS 5)"
    assert document["signature"]["formula"].endswith("k in S, C, R, H, X")
    assert document["signature"]["options"]["weights"] == [0.3, 0.3, 0.2, 0.2, 0]
    header = next(line for line in printed.splitlines() if "Concept" in line)
    assert header.split()[3:8] == ["S", "C", "R", "H", "X"]
    assert f"{table.loc['1', 'X']:.3f}" in printed
    pd.testing.assert_frame_equal(table[before.columns], before)  # with weight 0 nothing else changes


def test_a_metric_of_a_package_is_weighed_by_its_name(install, scored):
    install()
    table = scored("--weights", re.search(r'--weights "(.+?)"', PAGE)[1])[0]
    complete = table.dropna(subset=[*FOUR, "X"])
    weights = {"S": 0.3, "C": 0.3, "R": 0.2, "H": 0.2, "X": 0.1}
    expected = sum(weight * complete[name] for name, weight in weights.items()) / sum(weights.values())
    np.testing.assert_allclose(complete["InterpScore"], expected)
    alone = scored("--weights", "X=2")[0]
    np.testing.assert_array_equal(alone["InterpScore"], alone["X"])
    np.testing.assert_array_equal(alone["I_excess"], alone["X_excess"])
    first, *_ = complete.itertuples()
    given = [getattr(first, name) for name in FOUR]
    assert calculate_interpretability_score(*given, weights=weights, X=first.X) == pytest.approx(first.InterpScore)


def test_four_numbers_stay_the_weights_of_S_C_R_and_H(install):
    install()
    assert scoring_options(weights="1 2 3 4").weights == (1, 2, 3, 4, 0)
    assert scoring_options("published").weights == (0.25, 0.25, 0.25, 0.25, 0)
    assert scoring_options(weights=(1, 2, 3, 4, 5)).weights == (1, 2, 3, 4, 5)


def test_a_metric_of_a_package_is_in_layer_scores(install):
    install()
    activations = np.abs(np.random.default_rng(0).standard_normal((40, 3)))
    table = calculate_interpretability_metrics(activations, ["cat", "dog"] * 20, resamples=0).table
    assert table["X"].between(0, 1).all()
    assert calculate_interpretability_metrics(activations).table["X"].isna().all()


def test_the_reason_of_a_missing_metric_is_noted(install, simulated_study):
    install()
    alone = simulated_study[simulated_study["ground_truth"] == "cat"]
    with pytest.warns(InterpScore.TableWarning):
        result = InterpScore.run_interpretability_benchmark(alone, {"1": "cat"}, resamples=0)
    assert "X: no clean image of another concept" in result.table.loc[0, "Notes"]


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        (("import numpy", "import numpyy"), "X", "metric X (contrast:METRIC): cannot be loaded: No module named 'numpyy'"),
        (('name="X"', 'name="Y"'), "X", "expected a Metric whose name is that of its entry point"),
        (("METRIC = Metric(", "METRIC = dict("), "X", "expected a Metric whose name is that of its entry point"),
        (('"X_on"', '"AUROC"'), "X", "its column 'AUROC' is one of S; expected another name"),
        (('name="X"', 'name="Rank"'), "Rank", "its column 'Rank' is one of the results; expected another name"),
    ],
)  # fmt: skip
def test_a_metric_that_cannot_be_used_is_named_with_its_package(install, change, name, message):
    install(CODE.replace(*change), name)
    with pytest.raises(InputError, match=r"metric .* \(contrast:METRIC\)") as caught:
        metrics()
    assert message in str(caught.value)


def test_S_C_R_and_H_are_entries_like_any_other():
    assert tuple(metric.name for metric in components()) == FOUR
    assert all(name in metric.columns for name, metric in zip(FOUR, components(), strict=True))
    assert [metric for metric in metrics() if metric.weight is not None] == list(components())
