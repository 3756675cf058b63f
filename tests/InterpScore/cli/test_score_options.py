"""Guards the options of `interpscore score`: each one reaches the numbers, however it is written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import InterpScore
from InterpScore.resampling import adjusted_p_values

ROOT = Path(InterpScore.__file__).parents[1]
POINTS = ["S", "C", "R", "H", "InterpScore"]
FEW = ("--resamples", 40)
"""Enough for intervals that differ, and quick."""


def read(path):
    """A results table by neuron; the concept "NA" stays a word."""
    table = pd.read_csv(path, dtype={"Neuron": str}, keep_default_na=False, na_values=[""])
    return table.set_index("Neuron").sort_index()


@pytest.fixture(scope="module")
def runs():
    """What runs gave, by the bytes of their data and their options."""
    return {}


@pytest.fixture
def scored(files, score, runs):
    """Scores the study with some options; gives the table, its signature and what was printed. Equal runs are made once."""

    def run(*options, data=files.data):
        asked = data.read_bytes(), options
        if asked not in runs:
            outcome = score(data, files.neuron_map, files.results, *options)
            assert (outcome.code, outcome.err) == (0, "")
            signature = json.loads(files.results.with_suffix(".json").read_text())["signature"]
            runs[asked] = read(files.results), signature, outcome.out
        return runs[asked]

    return run


@pytest.fixture
def points(scored):
    """The point estimates with some options."""
    return lambda *options, **how: scored("--resamples", 0, *options, **how)[0]


@pytest.fixture
def clean(simulated_study):
    """One row a clean image."""
    return simulated_study[simulated_study["level"] == 5].drop_duplicates("image_filename")


def test_clean_level_says_which_images_are_the_baseline(points, simulated_study, tmp_path):
    swapped = simulated_study.assign(level=simulated_study["level"].replace({4: 5, 5: 4}))
    swapped.to_csv(tmp_path / "swapped.csv", index=False)
    plain = points()
    np.testing.assert_allclose(points("--clean-level", 4, data=tmp_path / "swapped.csv")[POINTS], plain[POINTS])
    assert (points("--clean-level", 4)["S"] != plain["S"]).all()


def test_threshold_percentile_is_the_quantile_above_which_an_activation_is_high(points, clean):
    others = clean.loc[clean["ground_truth"] != "cat", "activation_1"]
    for fraction in (0.5, 0.95):
        table = points("--threshold-percentile", fraction)
        assert table.loc["1", "threshold"] == pytest.approx(np.quantile(others, fraction))
    assert (points("--threshold-percentile", 0.5)["n_high_images"] > table["n_high_images"]).all()


def test_recognizable_levels_are_those_that_R_averages_over(points):
    table = points("--recognizable-levels", "2 3 5")
    ratios = table[["ratio_2", "ratio_3"]]
    np.testing.assert_allclose(table["R"], np.minimum(ratios, 1 / ratios).mean(axis=1))
    assert "ratio_4" not in table
    assert {"ratio_3", "ratio_4"} <= set(points())


def test_min_p_value_says_what_counts_as_significant(points):
    strict, lax = points("--min-p-value", 1e-12), points("--min-p-value", 0.999999)
    pd.testing.assert_series_equal(strict["S_p_adjusted"], lax["S_p_adjusted"])
    assert (strict["S_significant"].tolist(), lax["S_significant"].tolist()) == ([False] * 3, [True] * 3)
    assert strict["Notes"].str.contains("not significantly selective").all()
    assert not lax["Notes"].str.contains("not significantly selective").any()


def test_human_score_col_is_where_recognition_is_read(points, simulated_study, tmp_path):
    replaced = simulated_study.assign(soft_correct=simulated_study["hard_correct"])
    replaced.to_csv(tmp_path / "replaced.csv", index=False)
    table = points("--human-score-col", "hard_correct")
    pd.testing.assert_frame_equal(table, points(data=tmp_path / "replaced.csv"))
    assert (table["H_base"] < points()["H_base"]).all()


def test_weights_weigh_the_four_components(points):
    plain = points()
    for name, weights in (("S", "1 0 0 0"), ("C", "0 2 0 0"), ("R", "0 0 1 0"), ("H", "0 0 0 .5")):
        np.testing.assert_array_equal(points("--weights", weights)["InterpScore"], plain[name])


def test_quiet_prints_nothing_and_writes_the_same(scored):
    loud, _, printed = scored("--resamples", 0)
    silent, _, nothing = scored("--resamples", 0, "--quiet")
    assert ("SIMULATED" in printed, nothing) == (True, "")
    pd.testing.assert_frame_equal(loud, silent)


def test_preset_published_brings_its_weights_levels_and_conventions(scored):
    table, signature, printed = scored("--resamples", 0, "--preset", "published")
    complete = table.loc[["1", "2"]]
    np.testing.assert_allclose(complete["InterpScore"], complete[["S", "C", "R", "H"]].mean(axis=1))
    assert {"ratio_benign", "ratio_adversarial"} <= set(table)
    assert signature["options"]["recognizable_levels"] == [1, 2, 3, 5]
    assert "preset published" in printed


def test_selectivity_says_what_S_is(points):
    of_pairs = {"correlation": "correlation", "cosine": "cosine", "auprc_images": "AUPRC", "F1_images": "F1_images"}
    for choice, column in {"auroc": "AUROC", "ap": "AP", **of_pairs, "iou_images": "IoU_images"}.items():
        table = points("--selectivity", choice)
        np.testing.assert_allclose(table["S"], table[column].clip(lower=0))  # negative ones count as 0
        assert (table["S"] != points("--selectivity", "cles")["S"]).all()


def test_on_missing_says_what_becomes_of_a_score_without_C(points):
    s, r, h = points().loc["3", ["S", "R", "H"]].astype(float)
    known = 0.3 * s + 0.2 * r + 0.2 * h
    assert points("--on-missing", "renormalise").loc["3", "InterpScore"] == pytest.approx(known / 0.7)
    assert points("--on-missing", "zero").loc["3", "InterpScore"] == pytest.approx(known)
    assert np.isnan(points("--on-missing", "nan").loc["3", "InterpScore"])


def test_resamples_nought_gives_points_alone(scored):
    table, _, printed = scored("--resamples", 0)
    # H_excess is a difference of two means, and the chance levels of METRICS 8 are exact: they need no draws.
    exact = [f"{name}_excess" for name in ("H", "correlation", "cosine", "AUPRC", "F1_images", "IoU_images")]
    assert [name for name in table if name.endswith(("_low", "_high", "_excess"))] == exact
    assert "point estimates only" in printed


def test_resamples_say_how_many_draws_the_intervals_rest_on(scored):
    few, _, printed = scored("--resamples", 20)
    more, signature, _ = scored("--resamples", 60)
    assert "intervals from 20 resamples" in printed
    assert signature["options"]["resamples"] == 60
    assert (few["S_low"] != more["S_low"]).all()
    pd.testing.assert_frame_equal(few[POINTS], more[POINTS])


def test_confidence_widens_the_intervals(scored):
    wide, narrow = scored(*FEW, "--confidence", 0.99)[0], scored(*FEW, "--confidence", 0.5)[0]
    for name in ("S", "R", "H", "InterpScore"):
        assert (wide[f"{name}_low"] < narrow[f"{name}_low"]).all()
        is_wider = (wide[f"{name}_high"] > narrow[f"{name}_high"]) | ((name == "R") & (narrow["R_high"] == 1))
        assert is_wider.all()


@pytest.mark.parametrize("correction", ["bh", "by", "holm", "none"])
def test_adjust_corrects_the_p_values_over_the_neurons(points, correction):
    table = points("--adjust", correction)
    np.testing.assert_allclose(table["S_p_adjusted"], adjusted_p_values(table["S_p"].to_numpy(), correction))


def test_the_corrections_of_p_values_differ(points):
    tables = [points("--adjust", correction)["S_p_adjusted"].tolist() for correction in ("bh", "by", "holm", "none")]
    assert len({tuple(values) for values in tables}) == 4


def test_seed_sets_the_draws_and_nothing_else(scored, runs):
    one, other = (scored(*FEW, "--seed", seed)[0] for seed in (1, 2))
    runs.clear()
    again, _, _ = scored(*FEW, "--seed", 1)
    assert again is not one
    pd.testing.assert_frame_equal(one, again)
    pd.testing.assert_frame_equal(one[POINTS], other[POINTS])
    assert (one["S_low"] != other["S_low"]).all()


def test_unit_of_analysis_says_whether_an_image_rated_twice_counts_twice(points, simulated_study, clean, tmp_path):
    cat = clean.index[(clean["ground_truth"] == "cat")]
    uneven = pd.concat([simulated_study.drop(cat[1:2]), simulated_study.loc[cat[:1]]])
    uneven.to_csv(tmp_path / "uneven.csv", index=False)
    by_image, by_rating = (
        points("--unit-of-analysis", kind, data=tmp_path / "uneven.csv") for kind in ("image", "rating")
    )
    assert by_image.loc["1", "S"] == points("--unit-of-analysis", "image").loc["1", "S"]
    assert by_rating.loc["1", "S"] != points("--unit-of-analysis", "rating").loc["1", "S"]


def test_level_kinds_keep_synthetic_images_out_of_H(points):
    plain, without = points(), points("--level-kinds", "4=synthetic 3=adversarial")
    assert (plain["n_ratings"].unique().tolist(), without["n_ratings"].unique().tolist()) == ([90], [72])
    assert (plain["H_base"] != without["H_base"]).all()


def test_level_kinds_group_the_levels_of_the_published_R(points):
    assert "ratio_adversarial" in points("--preset", "published")
    assert "ratio_adversarial" not in points("--preset", "published", "--level-kinds", "3=benign")
    assert not any("synthetic" in name for name in points("--preset", "published", "--level-kinds", "3=synthetic"))


def test_causality_adds_measured_effects(points, files, tmp_path, simulated_study):
    images = simulated_study["image_filename"].unique()
    effects = pd.DataFrame({"image_filename": images, "ablation_effect_3": 0.2, "amplification_effect_3": 0.6})
    effects.to_csv(tmp_path / "effects.csv", index=False)
    assert np.isnan(points().loc["3", "C"])
    assert points("--causality", tmp_path / "effects.csv").loc["3", "C"] == pytest.approx(1 - np.exp(-0.4))


def test_the_signature_holds_the_hash_of_every_input(scored, files, tmp_path, simulated_study):
    import hashlib

    simulated_study.drop_duplicates("image_filename").to_csv(tmp_path / "effects.csv", index=False)
    _, signature, _ = scored("--resamples", 0, "--causality", tmp_path / "effects.csv")
    given = {"data": files.data, "neuron_map": files.neuron_map, "causality": tmp_path / "effects.csv"}
    assert {name: entry["sha256"] for name, entry in signature["inputs"].items()} == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in given.items()
    }


# --- how options are written -------------------------------------------------------------------

SPELLINGS = {
    "quoted": ["{0} {1} {2} {3}"],
    "unquoted": ["{0}", "{1}", "{2}", "{3}"],
    "commas": ["{0},{1},{2},{3}"],
    "commas and spaces": ["{0}, {1}, {2}, {3}"],
    "unquoted with commas": ["{0},", "{1},", "{2},", "{3}"],
}
LISTS = {
    "--weights": ("weights", [".4", "0.3", "2e-1", "+.1"], [0.4, 0.3, 0.2, 0.1]),
    "--recognizable-levels": ("recognizable_levels", ["1", "2", "4", "5"], [1, 2, 4, 5]),
    "--level-kinds": (
        "level_kinds",
        ["1=benign", "2=adversarial", "3=synthetic", "4=benign"],
        {"1": "benign", "2": "adversarial", "3": "synthetic", "4": "benign"},
    ),
}


@pytest.mark.parametrize(
    ("spelling", "place"),
    [
        pytest.param(
            spelling,
            place,
            id=f"{name} {place}",
            marks=[] if place == "before" or name == "unquoted with commas" else pytest.mark.slow,
        )
        for name, spelling in SPELLINGS.items()
        for place in ("before", "between", "after")
    ],
)
def test_a_list_may_be_quoted_or_not_before_or_after_the_files(files, score, spelling, place):
    written = [[option, *(part.format(*items) for part in spelling)] for option, (_, items, _) in LISTS.items()]
    first, second, third = written if place != "after" else written[::-1]
    paths = [*files.paths, "--resamples", 0]
    # Another list is the one right in front of the files each time.
    arguments = {
        "before": [*third, *second, *first, *paths],
        "between": [*first, *third, *second, *paths[:2], "--resamples", 0, *paths[2:3]],
        "after": [*first, *second, *third, *paths],
    }
    outcome = score(*arguments[place])
    assert (outcome.code, outcome.err) == (0, "")
    signature = json.loads(files.results.with_suffix(".json").read_text())["signature"]
    assert {field: signature["options"][field] for field, *_ in LISTS.values()} == {
        field: expected for field, _, expected in LISTS.values()
    }


def test_a_list_with_an_equals_sign_is_read(scored):
    assert scored("--resamples", 0, "--weights=1 0 0 0")[1]["options"]["weights"] == [1, 0, 0, 0]


def test_a_file_named_like_a_number_is_not_taken_for_part_of_a_list(files, score, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.data.rename("5")
    outcome = score("--resamples", 0, "--weights", "1", "0", "0", "0", "5", files.neuron_map, files.results)
    assert (outcome.code, outcome.err) == (0, "")


OVERRIDES = {
    "--weights": ("0.3 0.3 0.2 0.2", "weights", [0.3, 0.3, 0.2, 0.2]),
    "--recognizable-levels": ("3 4 5", "recognizable_levels", [3, 4, 5]),
    "--unit-of-analysis": ("image", "unit_of_analysis", "image"),
    "--clean-level": ("5", "clean_level", 5),
}


@pytest.mark.parametrize("option", OVERRIDES)
def test_an_explicit_option_overrides_the_preset_and_nothing_else(scored, option):
    value, field, expected = OVERRIDES[option]
    plain = scored("--resamples", 0, "--preset", "published")[1]["options"]
    options = scored("--resamples", 0, "--preset", "published", option, value)[1]["options"]
    assert options == {**plain, field: expected}


def test_level_kinds_given_leave_the_other_kinds_of_the_preset(scored):
    options = scored("--resamples", 0, "--preset", "published", "--level-kinds", "2=adversarial")[1]["options"]
    kinds = {"2": "adversarial", "3": "adversarial", "4": "synthetic"}
    assert options["level_kinds"] == kinds


# --- the two commands --------------------------------------------------------------------------


@pytest.fixture
def environment(tmp_path):
    """An environment in which `interpscore` finds `score`, whether the package is installed or only lies here."""
    record = tmp_path / "site" / "some_room-1.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: some-room\nVersion: 1\n")
    (record / "entry_points.txt").write_text("[interpscore.commands]\nscore = InterpScore.cli.score:score_app\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path / "site")])}


SCRIPT = [sys.executable, str(ROOT / "interpretability_score.py")]
COMMAND = [sys.executable, "-c", "from Activation_Extraction.base.start import main; main()", "score"]


@pytest.mark.slow
@pytest.mark.parametrize("command", [SCRIPT, COMMAND], ids=["interpretability_score.py", "interpscore score"])
def test_both_commands_give_the_table_of_the_library(command, files, environment, simulated_study, neurons):
    arguments = [*map(str, files.paths), "--resamples", "40", "--weights", "0.4", "0.3", "0.2", "0.1"]
    done = subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, cwd=files.data.parent
    )
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.warns(InterpScore.TableWarning, match="SIMULATED|not comparable|are ranked"):
        direct = InterpScore.run_interpretability_benchmark(
            files.data, neurons, resamples=40, weights=(0.4, 0.3, 0.2, 0.1)
        )
    assert files.results.read_text() == direct.table.to_csv(index=False, lineterminator="\n")


@pytest.mark.slow
def test_output_that_cannot_show_a_character_is_no_failure(files, environment):
    done = subprocess.run(
        [*SCRIPT, *map(str, files.paths), "--resamples", "0"],
        env={**environment, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        cwd=files.data.parent,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()


def test_a_concept_that_looks_like_markup_is_printed_as_it_is(files, score, simulated_study):
    simulated_study.replace({"ground_truth": {"cat": "[/red]"}}).to_csv(files.data, index=False)
    files.neuron_map.write_text('{"1": "[/red]"}')
    outcome = score(*files.paths, "--resamples", 0)
    assert outcome.code == 0
    assert "[/red]" in outcome.out


def test_the_command_without_arguments_shows_its_help_and_no_error(score, capsys):
    outcome = score()
    assert (outcome.code, outcome.err) == (2, "")
    assert "--weights" in outcome.out


def test_the_help_names_every_option(score):
    options = "clean-level threshold-percentile recognizable-levels min-p-value human-score-col weights quiet preset"
    options += (
        " selectivity on-missing resamples confidence adjust seed unit-of-analysis level-kinds per-concept causality"
    )
    outcome = score("--help")
    assert outcome.code == 0
    assert [name for name in options.split() if f"--{name}" not in outcome.out] == []


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ("4=clean", "expected pairs such as 4=synthetic, each kind one of benign, adversarial, synthetic"),
        ("5=synthetic", "level 5 is the clean level; expected kinds of the others"),
    ],
)
def test_level_kinds_cannot_speak_of_the_clean_level(score, files, kinds, message):
    outcome = score(files.data, files.neuron_map, files.results, "--level-kinds", kinds)
    assert outcome.code == 2
    assert message in outcome.err


def test_long_run_without_a_terminal_tells_how_far_it_is(files, score, monkeypatch):
    monkeypatch.setattr("Activation_Extraction.base.progress._SECONDS", 0)
    told = score(*files.paths, "--resamples", 40)
    assert any(line.startswith("resamples: 40 of 40") for line in told.errors)
    assert score(*files.paths, "--resamples", 40, "--quiet").err == ""
