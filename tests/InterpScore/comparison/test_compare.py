"""Guards comparisons of scoring runs: paired differences in shared resamples, matching of units, and what is refused."""

import json
import re
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from Activation_Extraction.base.commands import app, run
from InterpScore.benchmark import run_interpretability_benchmark
from InterpScore.comparison.differences import compare_runs, two_sided_p
from InterpScore.comparison.matching import by_concept, correlations
from InterpScore.comparison.runs import read_run, refuse_other_resamples
from InterpScore.errors import InputError
from InterpScore.sanity.simulation import PlantedUnit, StudyDesign, simulate_table, simulated_frame
from InterpScore.scoring.draws import read_draws
from tests.Activation_Extraction import small_stores

CONCEPTS = ("cat", "dog", "fish")
A = {"0": "cat", "1": "dog", "2": "fish", "3": "cat"}
B = {"10": "cat", "11": "dog", "12": "fish"}
STRENGTH = {"0": 2.0, "3": 1.5, "1": 1.0, "2": 1.0, "10": 0.2, "11": 1.0, "12": 1.0}


@pytest.fixture(scope="module")
def frame():
    units = {unit: PlantedUnit((A | B)[unit], strength) for unit, strength in STRENGTH.items()}
    design = StudyDesign(CONCEPTS, images_per_concept=10, participants=8)
    return simulated_frame(simulate_table(design, units, np.random.default_rng(0)))


def scored(frame, neuron_map, path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = run_interpretability_benchmark(frame, neuron_map, **({"resamples": 60} | options))
    return result.save(path)[0]


@pytest.fixture(scope="module")
def home(frame, tmp_path_factory):
    home = tmp_path_factory.mktemp("compare")
    scored(frame, A, home / "a.csv")
    scored(frame, B, home / "b.csv")
    return home


@pytest.fixture(scope="module")
def comparison(home):
    runs = read_run(home / "a.csv"), read_run(home / "b.csv")
    refuse_other_resamples(*runs)
    return compare_runs(*runs, by_concept)


def test_a_difference_is_that_of_means_in_every_draw(home, comparison):
    draws = [read_draws(home / name) for name in ("a.csv", "b.csv")]
    row = comparison.table.set_index("Concept").loc["cat"]
    for name in ("S", "R", "H", "InterpScore"):
        (of_a, of_b), estimates = (each.around(name) for each in draws), []
        for each in draws:
            estimates.append(dict(zip(each.neurons, each.estimate_NC[:, each.components.index(name)], strict=True)))
        at = [
            [each.neurons.index(unit) for unit in units]
            for each, units in zip(draws, (["0", "3"], ["10"]), strict=True)
        ]
        difference = estimates[1]["10"] - (estimates[0]["0"] + estimates[0]["3"]) / 2
        spread = (of_b[at[1][0]] - of_a[at[0]].mean(0)).std(ddof=1)
        half = scipy.stats.norm.ppf(0.975) * spread
        found = [row[f"{name}_{what}"] for what in ("difference", "low", "high", "p")]
        expected = [difference, difference - half, difference + half, 2 * scipy.stats.norm.sf(abs(difference) / spread)]
        np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=name)
    assert (set(row["Units_A"].split()), row["Units_B"]) == ({"0", "3"}, "10")


def test_a_weaker_unit_is_found_and_equal_ones_are_not(comparison):
    table = comparison.table.set_index("Concept")
    assert table.loc["cat", "S_high"] < 0
    assert table.loc["cat", "S_p_adjusted"] < 0.05
    overall = comparison.overall.set_index("component")
    assert overall.loc["S", "pairs"] == 3
    np.testing.assert_allclose(overall.loc["S", "difference"], table["S_difference"].mean())
    assert overall.loc["S", "low"] > table["S_low"].min()
    adjusted = scipy.stats.false_discovery_control(table["S_p"])
    np.testing.assert_allclose(table["S_p_adjusted"], adjusted)
    assert overall.loc["S", "significant"] == (adjusted <= 0.05).sum()


def test_pairing_narrows_the_interval_of_the_same_unit(frame, home, tmp_path):
    twin = frame.assign(activation_20=frame["activation_0"] + 0.02 * frame["activation_1"])
    runs = [read_run(scored(twin, {unit: "cat"}, tmp_path / f"{unit}.csv")) for unit in ("0", "20")]
    refuse_other_resamples(*runs)
    row = compare_runs(*runs, by_concept).table.iloc[0]
    alone = pd.read_csv(tmp_path / "0.csv").iloc[0]
    assert row["S_high"] - row["S_low"] < 0.2 * (alone["S_high"] - alone["S_low"])


def test_missing_components_are_noted_and_scores_of_other_parts_are_not_compared(frame, tmp_path):
    partly = frame.astype({"soft_correct": float})
    partly.loc[partly["ground_truth"] == "dog", "soft_correct"] = np.nan
    runs = [
        read_run(scored(partly, neurons, tmp_path / f"{name}.csv"))
        for name, neurons in (("a", {"0": "cat"}), ("b", {"11": "dog", "10": "cat"}))
    ]
    table = compare_runs(*runs, by_concept).table
    assert list(table["Concept"]) == ["cat"]
    assert table["C_difference"].isna().all()
    assert "C: missing in A and B" in table["Notes"][0]
    renamed = json.loads((tmp_path / "b.json").read_text())
    for row in renamed["neurons"]:
        row["Concept"] = {"dog": "cat", "cat": "dog"}[row["Concept"]]
    (tmp_path / "b.json").write_text(json.dumps(renamed))
    row = compare_runs(runs[0], read_run(tmp_path / "b.csv"), by_concept).table.iloc[0]
    assert np.isfinite(row["S_difference"])
    assert np.isnan(row["InterpScore_difference"])
    assert "InterpScore: rests on different components" in row["Notes"]


def changed(home, folder, change):
    """A copy of the results of B in which the signature is changed."""
    for name in ("b.csv", "b.json", "b.draws.npz"):
        shutil.copy(home / name, folder / name)
    about = json.loads((folder / "b.json").read_text())
    change(about["signature"])
    (folder / "b.json").write_text(json.dumps(about))
    return read_run(folder / "b.csv")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("seed", 1, "option seed '1'; expected '0', as in"),
        ("resamples", 100, "option resamples '100'; expected '60'"),
        ("weights", [1, 0, 0, 0], r"option weights '\[1, 0, 0, 0\]'; expected"),
    ],
)
def test_runs_with_other_options_are_refused(name, value, said, home, tmp_path):
    other = changed(home, tmp_path, lambda signature: signature["options"].update({name: value}))
    with pytest.raises(InputError, match=said) as error:
        refuse_other_resamples(read_run(home / "a.csv"), other)
    assert len(error.value.problems) == 1


@pytest.mark.parametrize("change", ["fewer ratings", "other order", "other labels"])
def test_runs_on_other_images_are_refused(change, frame, home, tmp_path):
    other = {
        "fewer ratings": frame.iloc[:-1],
        "other order": frame.iloc[::-1],
        "other labels": frame.assign(
            ground_truth=frame["ground_truth"].map({"cat": "dog", "dog": "cat", "fish": "fish"})
        ),
    }[change]
    with pytest.raises(InputError, match="scored on other images, labels or ratings than"):
        refuse_other_resamples(read_run(home / "a.csv"), read_run(scored(other, B, tmp_path / "b.csv")))


def test_results_of_an_earlier_version_and_the_same_run_are_refused(home, tmp_path):
    mine, other = read_run(home / "a.csv"), changed(home, tmp_path, lambda signature: signature.pop("resampled"))
    with pytest.raises(InputError, match="does not say which images were resampled; expected results of this version"):
        refuse_other_resamples(mine, other)
    with pytest.raises(InputError, match="is both A and B"):
        compare_runs(mine, mine, by_concept)


def test_without_a_spread_there_is_no_p():
    np.testing.assert_allclose(
        two_sided_p(np.array([0.0, 1.96, 1.0]), np.array([1.0, 1.0, np.nan])), [1, 0.05, np.nan], atol=1e-4
    )


def test_correlations_are_those_of_scipy():
    generator = np.random.default_rng(0)
    a_IU, b_IV = generator.normal(size=(30, 3)), generator.normal(size=(30, 2))
    b_IV[:, 1] = 4
    a_IU[2] = np.nan
    found = correlations(a_IU, b_IV)
    kept = np.delete(np.arange(30), 2)
    np.testing.assert_allclose(found[1, 0], scipy.stats.pearsonr(a_IU[kept, 1], b_IV[kept, 0])[0])
    assert np.isnan(found[:, 1]).all()


# The command, of two layers in one file -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    """Two layers of a store in one results file; units 0 to 3 of layer3 are units 3 to 0 of layer4, but for some noise."""
    home = tmp_path_factory.mktemp("layers")
    generator = np.random.default_rng(0)
    concept = np.arange(40) % 4
    a = (np.eye(4)[concept] + 0.4 * generator.normal(size=(40, 4))).astype(np.float32)
    b = (a[:, ::-1] + 0.1 * generator.normal(size=(40, 4))).astype(np.float32)
    small_stores.write(home / "acts.zarr", {"layer3": a, "layer4": b})
    table = pd.DataFrame(
        {"ground_truth": [f"c{k}" for k in concept], "level": 5, "image_filename": [f"{i}.png" for i in range(40)], "soft_correct": np.nan}
    )  # fmt: skip
    neurons = {f"layer3:{u}": f"c{u}" for u in range(4)} | {f"layer4:{u}": f"c{3 - u}" for u in range(4)}
    scored(table, neurons, home / "layers.csv", stores=home / "acts.zarr")
    return home


@pytest.fixture
def called(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            run(app, ["compare", *map(str, arguments)])
        out, err = capsys.readouterr()
        return stopped.value.code, out, err

    return call


def test_layers_of_one_file_are_matched_by_concept_or_by_correlation(called, layers, tmp_path):
    sides = (layers / "layers.csv", layers / "layers.csv", "--layer-a", "layer3", "--layer-b", "layer4")
    pairs = {}
    for match, more in (("concept", ()), ("correlation", ("--store-a", layers / "acts.zarr"))):
        code, out, _ = called(*sides, "--match", match, *more, "-o", tmp_path / "c.csv")
        assert code == 0
        assert "A: layers.csv, layer3; B: layers.csv, layer4; 60 shared resamples" in out
        table = pd.read_csv(tmp_path / "c.csv")
        pairs[match] = set(zip(table["Units_A"], table["Units_B"], strict=True))
        assert table["correlation"].notna().all() == (match == "correlation")
        assert json.loads((tmp_path / "c.json").read_text())["overall"][0]["pairs"] == 4
    assert pairs["concept"] == pairs["correlation"] == {(u, 3 - u) for u in range(4)}


def test_options_change_intervals_and_adjustment_and_quiet_prints_nothing(called, layers, tmp_path):
    sides = (layers / "layers.csv", layers / "layers.csv", "--layer-a", "layer3", "--layer-b", "layer4")
    assert called(*sides, "-o", tmp_path / "a.parquet", "--quiet") == (0, "", "")
    options = ("--confidence", 0.5, "--adjust", "none", "--min-p-value", 0.999, "--store-b", layers / "acts.zarr")
    match = ("--match", "correlation", "--store-a", layers / "acts.zarr")
    assert called(*sides, "-o", tmp_path / "b.parquet", *match, *options, "--quiet")[0] == 0
    plain, changed = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in "ab")
    assert ((changed["S_high"] - changed["S_low"]) < 0.5 * (plain["S_high"] - plain["S_low"])).all()
    np.testing.assert_array_equal(changed["S_p"], changed["S_p_adjusted"])
    assert json.loads((tmp_path / "b.json").read_text())["overall"][0]["significant"] == (changed["S_p"] <= 0.999).sum()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--layer-a: none given; .*layers.csv has layer3, layer4; expected one of them"),
        (("--layer-a", "layer33"), "--layer-a: found 'layer33' .did you mean 'layer3'?"),
        (("--layer-a", "layer3", "--layer-b", "layer4", "--match", "correlation"), "--store-a: none given"),
        (("--layer-a", "layer3", "--layer-b", "layer4", "--store-a", "x"), "--store-a: found with --match concept"),
        (("--layer-a", "layer3", "--layer-b", "layer3"), "is both A and B"),
        (("--confidence", "1.5"), "--confidence: found 1.5; expected a fraction between 0 and 1"),
    ],
)
def test_wrong_options_are_one_line(called, layers, tmp_path, options, said):
    code, _, err = called(layers / "layers.csv", layers / "layers.csv", *options, "-o", tmp_path / "c.csv")
    assert code == 2
    assert re.search(said, err)
    assert err.count("\n") == 1


def test_notebook_shows_means_with_differences(comparison):
    shown = comparison._repr_html_()
    row = comparison.overall.set_index("component").loc["S"]
    assert f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]" in shown
    assert len(comparison.to_frame()) == 3
