"""Guards what `interpscore score` does with wrong input and when it is stopped: clear lines, exit code 2, no file touched."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import InterpScore

ROOT = Path(InterpScore.__file__).parents[1]


def everything_in(folder):
    """Every file below a folder with its bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(files, score, tmp_path):
    """Runs the command on input that it must refuse; gives the lines on stderr without `error:`."""
    files.results.write_text("old table\n")
    files.results.with_suffix(".json").write_text("old signature\n")

    def run(*options, paths=files.paths):
        before = everything_in(tmp_path)
        outcome = score(*paths, "--resamples", 0, *options)
        assert (outcome.code, outcome.out) == (2, "")
        assert everything_in(tmp_path) == before
        assert outcome.errors
        assert all(line.startswith("error: ") for line in outcome.errors)
        return [line.removeprefix("error: ") for line in outcome.errors]

    return run


# --- the table ---------------------------------------------------------------------------------


def put(frame, column, row, value):
    """Put a value where a spreadsheet would show it (the header is row 1)."""
    frame.loc[row - 2, column] = value


def rows(frame, text):
    """The CSV of a frame with some lines after its header."""
    return frame[:0].to_csv(index=False) + text


WRONG_CELLS = {
    "activation": ("activation_1", 7, "high", "found 'high'; expected a finite number"),
    "infinite activation": ("activation_2", 7, "-inf", "found '-inf'; expected a finite number"),
    "another activation": ("activation_1", 3, 99.5, "found '99.5'; expected one activation an image; image 'cat_level5_1.png' has another in row 2"),
    "level": ("level", 9, "2.5", "found '2.5'; expected a whole number"),
    "another level": ("level", 4, "3", "found '3'; expected one level an image; image 'cat_level5_1.png' has another in row 2"),
    "recognition": ("soft_correct", 361, "1.5", "found '1.5'; expected true, false or a number from 0 to 1"),
    "another concept": ("ground_truth", 3, "cow", "found 'cow'; expected one concept an image; image 'cat_level5_1.png' has another in row 2"),
    "no concept": ("ground_truth", 3, "", "found ''; expected a concept"),
    "no image": ("image_filename", 3, "", "found ''; expected the name of an image"),
    "effect": ("ablation_effect_1", 2, "big", "found 'big'; expected a finite number"),
}  # fmt: skip


@pytest.mark.parametrize(("column", "row", "value", "found"), WRONG_CELLS.values(), ids=WRONG_CELLS)
def test_a_wrong_cell_is_one_line_with_its_place(files, study, refused, column, row, value, found):
    put(study, column, row, value)
    if found.startswith("found 'big'"):
        study.loc[study["image_filename"] == study["image_filename"][0], column] = value
        found += " (and"
    study.to_csv(files.data, index=False)
    lines = refused()
    assert lines[0].startswith(f"{files.data}, column '{column}', row {row}: ")
    assert found.removesuffix(" (and") in lines[0]


def test_every_problem_is_a_line_of_its_own(files, study, refused):
    put(study, "activation_1", 7, "high")
    put(study, "level", 9, "x\ny")
    put(study, "soft_correct", 11, "2")
    study.drop(columns="ground_truth").to_csv(files.data, index=False)
    assert [line.split(": ")[0].removeprefix(f"{files.data}, ") for line in refused()] == [
        "column 'ground_truth'",
        "column 'level', row 9",
        "column 'soft_correct', row 11",
        "column 'activation_1', row 7",
    ]


WRONG_FILES = {
    "empty": (lambda _: "", "the file is empty; expected a table with a header and rows"),
    "header alone": (lambda f: rows(f, ""), "no rows; expected at least one row below the header"),
    "two separators": (lambda f: f[:0].to_csv(index=False) + f[:1].to_csv(index=False, header=False, sep=";"), "row 2: 1 cell (header separated by ',', rows by ';'); expected 16, as the header has"),
    "ragged": (lambda f: f.to_csv(index=False) + "experiment,cat\n", "row 362: 2 cells; expected 16, as the header has"),
    "open quote": (lambda f: rows(f, '"a\nb,c\n'), "row 2: a quote that is not closed"),
    "twice a column": (lambda f: f.assign(x=1).rename(columns={"x": "level"}).to_csv(index=False), "column 'level': the name appears more than once"),
    "a missing column": (lambda f: f.rename(columns={"soft_correct": "softcorrect"}).to_csv(index=False), "column 'soft_correct': the column is missing (did you mean 'softcorrect'?)"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "found"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_table_is_one_line_with_its_file(files, study, refused, content, found):
    files.data.write_text(content(study))
    (line,) = refused()
    assert line.startswith(str(files.data))
    assert found in line


def test_a_table_in_an_encoding_that_is_not_certain_is_refused_with_what_to_type(files, study, refused):
    put(study, "ground_truth", 5, "собака")
    files.data.write_bytes(study.to_csv(index=False).encode("cp1251"))
    assert refused() == [
        f"{files.data}, row 5: bytes that are not UTF-8, and may be in several other encodings; expected a CSV in UTF-8, "
        'or its encoding: --csv "encoding=cp1252" (or cp1251, shift_jis, …)'
    ]


def test_a_truncated_parquet_is_refused(files, simulated_study, refused, tmp_path):
    path = tmp_path / "data.parquet"
    simulated_study.to_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    (line,) = refused(paths=(path, *files.paths[1:]))
    assert line.startswith(f"{path}: not a readable Parquet file")


def test_a_table_that_is_a_folder_or_missing_is_refused(files, refused, tmp_path):
    assert refused(paths=(tmp_path, *files.paths[1:])) == [
        f"{tmp_path}: is a folder; expected a CSV, Excel or Parquet table"
    ]
    lost = tmp_path / "lost.csv"
    assert refused(paths=(lost, *files.paths[1:])) == [f"{lost}: no such file; expected a CSV, Excel or Parquet table"]


def test_a_name_too_long_for_the_disk_is_refused(files, refused, tmp_path):
    long = tmp_path / ("x" * 300)
    for paths in ((long, *files.paths[1:]), (files.data, long, files.results), (*files.paths[:2], long)):
        (line,) = refused(paths=paths)
        assert line.startswith(str(long))


def test_wrong_effects_are_refused_with_their_place(files, refused, tmp_path):
    (tmp_path / "effects.csv").write_text("image_filename,ablation_effect_1\ncat_level5_1.png,much\n")
    assert refused("--causality", tmp_path / "effects.csv") == [
        f"{tmp_path / 'effects.csv'}, column 'ablation_effect_1', row 2: found 'much'; expected a finite number"
    ]


# --- the neuron map ----------------------------------------------------------------------------

WRONG_MAPS = {
    "not JSON": ("{oops}", ["line 1, column 2: not JSON"]),
    "no object": ('["cat"]', ["expected a JSON object such as"]),
    "empty": ("{}", ["no neuron in it"]),
    "twice": ('{"1": "cat", "1": "dog", "2": 5}', ["the key '1' appears twice"]),
    "half a character": ('{"1": "\\udcff"}', ["neuron '1' has the concept '\\udcff'; expected printable text in one line"]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "found"), WRONG_MAPS.values(), ids=WRONG_MAPS)
def test_a_wrong_map_is_one_line_a_problem(files, refused, text, found):
    files.neuron_map.write_text(text)
    lines = refused()
    assert all(line.startswith(str(files.neuron_map)) for line in lines)
    assert [what in line for what, line in zip(found, lines, strict=True)] == [True] * len(found)


def test_a_neuron_that_cannot_be_scored_keeps_its_row_with_the_reason(files, score):
    files.neuron_map.write_text(json.dumps({"1": "cat", "22": "dog", "3": "raised hind"}))
    assert score(*files.paths, "--resamples", 10).code == 0
    table = pd.read_csv(files.results, dtype={"Neuron": str}).set_index("Neuron")
    assert table.index.tolist() == ["1", "22", "3"]
    assert (
        table.loc[["22", "3"], ["S", "C", "R", "H", "InterpScore", "Rank", "S_low", "I_excess"]].isna().all(axis=None)
    )
    assert table.loc["22", "Notes"] == "not scored: no column activation_22 (did you mean 'activation_2'?)"
    assert table.loc["3", "Notes"] == (
        "not scored: the table never shows the concept 'raised hind' (did you mean 'raised hand'?)"
    )


@pytest.mark.parametrize("images", [0, 1])
def test_a_neuron_with_too_few_clean_images_keeps_its_row_with_the_reason(files, study, score, images):
    clean = study[(study["level"] == 5) & (study["ground_truth"] == "cat")]
    kept = clean["image_filename"].unique()[:images]
    study.drop(clean.index[~clean["image_filename"].isin(kept)]).to_csv(files.data, index=False)
    assert score(*files.paths, "--resamples", 10).code == 0
    table = pd.read_csv(files.results, dtype={"Neuron": str}).set_index("Neuron")
    assert pd.isna(table.loc["1", "S"])
    counted = "1 clean image of the concept" if images else "0 clean images of the concept"
    assert f"S: {counted} (needs 2)" in table.loc["1", "Notes"]


def test_the_json_beside_holds_null_for_what_is_missing(files, score):
    files.neuron_map.write_text(json.dumps({"1": "cat", "22": "dog"}))
    assert score(*files.paths, "--resamples", 10).code == 0
    missing = json.loads(files.results.with_suffix(".json").read_text())["neurons"][1]
    assert [missing[name] for name in ("Neuron", "S", "Rank", "S_low", "S_significant")] == [
        "22",
        None,
        None,
        None,
        None,
    ]


def test_it_is_an_error_when_no_neuron_can_be_scored(files, refused):
    files.neuron_map.write_text(json.dumps({"22": "dog", "3": "dogs"}))
    assert refused() == [
        f"{files.data}: no neuron of the map can be scored",
        "no column activation_22 (did you mean 'activation_2'?)",
        "the table never shows the concept 'dogs' (did you mean 'dog'?)",
    ]


# --- options and where results go --------------------------------------------------------------

WRONG_OPTIONS = {
    "a percentile above 1": (["--threshold-percentile", "95"], "--threshold-percentile: found '95.0'; expected a fraction between 0 and 1"),
    "a percentile that is none": (["--threshold-percentile", "nan"], "--threshold-percentile: found 'nan'; expected a fraction"),
    "levels of words": (["--recognizable-levels", "high low"], "--recognizable-levels: found 'high low'; expected whole numbers"),
    "no levels": (["--recognizable-levels", ""], "--recognizable-levels: found ''; expected whole numbers, at least one"),
    "a level with a fraction": (["--recognizable-levels", "3", "4.5"], "--recognizable-levels: found '3 4.5'; expected whole numbers"),
    "p of nought": (["--min-p-value", "0"], "--min-p-value: found '0.0'; expected a number between 0 and 1"),
    "a score that is no column": (["--human-score-col", "softcorrect"], "column 'softcorrect': the column is missing (did you mean 'soft_correct'?)"),
    "three weights": (["--weights", "1 1 1"], "--weights: found '1 1 1'; expected four numbers for S, C, R and H"),
    "five weights": (["--weights", "1", "1", "1", "1", "1"], "--weights: found '1 1 1 1 1'; expected four numbers"),
    "a negative weight": (["--weights", "-1", "1", "1", "1"], "--weights: found '-1 1 1 1'; expected four numbers"),
    "weights of nought": (["--weights", "0 0 0 0"], "at least one positive"),
    "an infinite weight": (["--weights", "inf 1 1 1"], "--weights: found 'inf 1 1 1'; expected four numbers"),
    "a weight of no metric": (["--weights", "S=.3 Q=.1"], "--weights: found 'S=.3 Q=.1'; expected weights of S, C, R, H, not of 'Q'"),
    "a weight without a number": (["--weights", "S="], "--weights: found 'S='; expected four numbers for S, C, R and H, or pairs such as S=0.3"),
    "a weight twice": (["--weights", "S=1 S=2"], "--weights: found 'S=1 S=2'; expected four numbers"),
    "the former name of presets": (["--protocol", "published"], "--protocol: the option is now called preset; expected --preset default or --preset published"),
    "the same with an equals sign": (["--protocol=seed"], "--protocol: the option is now called preset; expected --preset default"),
    "resamples below nought": (["--resamples", "-1"], "--resamples: found '-1'; expected a whole number, 0 or more"),
    "a confidence of 1": (["--confidence", "1"], "--confidence: found '1.0'; expected a fraction between 0 and 1"),
    "a seed below nought": (["--seed", "-5"], "--seed: found '-5'; expected a whole number, 0 or more"),
    "a kind that is none": (["--level-kinds", "4=dream"], "--level-kinds: found '4=dream'; expected pairs such as 4=synthetic"),
    "a level without a kind": (["--level-kinds", "4"], "--level-kinds: found '4'; expected pairs such as 4=synthetic"),
    "a kind of no level": (["--level-kinds", "x=benign"], "--level-kinds: found the key 'x'; expected pairs such as 4=synthetic"),
    "effects that are not there": (["--causality", "lost.csv"], "lost.csv: no such file"),
    "an unknown option": (["--wieghts", "1 1 1 1"], "No such option: --wieghts"),
    "a selectivity that is none": (["--selectivity", "d"], "--selectivity: found 'd'; expected one of cles, auroc, ap, correlation,"),
    "a selectivity of two meanings": (["--selectivity", "auprc"], "--selectivity: found 'auprc'; expected ap ("),
    "an option without its value": (["--seed"], "'--seed' requires an argument"),
    "too many files": (["one_more.csv"], "unexpected extra argument"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "found"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS)
def test_a_wrong_option_is_one_line_with_what_was_expected(refused, options, found):
    (line,) = refused(*options)
    assert found in line


CHOICES = {
    "--preset": ("mine", "not one of 'default', 'published'"),
    "--on-missing": ("drop", "not one of 'renormalise', 'nan', 'zero'"),
    "--adjust": ("bonferroni", "not one of 'bh', 'by', 'holm', 'none'"),
    "--unit-of-analysis": ("person", "not one of 'image', 'rating'"),
}


@pytest.mark.parametrize("option", CHOICES)
def test_a_choice_that_is_none_is_named_with_its_option(refused, option):
    value, found = CHOICES[option]
    (line,) = refused(option, value)
    assert f"'{value}' is {found}" in line
    assert option in line


@pytest.mark.parametrize("option", ["--clean-level", "--seed", "--resamples", "--min-p-value", "--confidence"])
def test_a_word_for_a_number_is_told_with_its_option(refused, option):
    (line,) = refused(option, "many")
    assert f"'{option}'" in line
    assert "valid" in line


def test_every_wrong_option_is_told(refused):
    lines = refused("--weights", "1", "--confidence", "7", "--min-p-value", "-1")
    assert sorted(line.split(":")[0] for line in lines) == ["--confidence", "--min-p-value", "--weights"]


def test_a_missing_argument_is_named(score, files):
    outcome = score(files.data)
    assert outcome.code == 2
    assert "Missing argument" in outcome.err
    assert "neuron_map" in outcome.err.lower()


@pytest.mark.parametrize("which", ["data", "effects"])
def test_results_never_overwrite_an_input(files, refused, tmp_path, which):
    effects = tmp_path / "effects.csv"
    effects.write_text("image_filename,ablation_effect_1\ncat_level5_1.png,1\n")
    target = {"data": files.data, "effects": effects}[which]
    (line,) = refused("--causality", effects, paths=(files.data, files.neuron_map, target))
    assert line == f"{target}: would overwrite the input {target}; expected another name"


def test_the_json_beside_the_results_never_overwrites_the_map(files, refused):
    target = files.neuron_map.with_suffix(".csv")
    (line,) = refused(paths=(files.data, files.neuron_map, target))
    assert line == f"{target}: would overwrite the input {files.neuron_map}; expected another name"


def test_an_input_under_another_name_is_not_overwritten_either(files, refused, tmp_path):
    (tmp_path / "link.csv").symlink_to(files.data)
    (line,) = refused(paths=(*files.paths[:2], tmp_path / "link.csv"))
    assert "would overwrite the input" in line


def test_a_folder_that_does_not_exist_is_told_before_the_work(files, refused, tmp_path):
    (line,) = refused(paths=(*files.paths[:2], tmp_path / "lost" / "r.csv"))
    assert (
        line
        == f"{tmp_path / 'lost' / 'r.csv'}: the folder {tmp_path / 'lost'} does not exist; expected an existing folder"
    )


def test_results_that_are_a_folder_are_refused(files, refused, tmp_path):
    (tmp_path / "folder").mkdir()
    (line,) = refused(paths=(*files.paths[:2], tmp_path / "folder"))
    assert line == f"{tmp_path / 'folder'}: is a folder; expected the name of a file to write"


def test_a_folder_where_the_json_would_go_leaves_the_old_table(files, refused, tmp_path):
    (tmp_path / "r.csv").write_text("old")
    (tmp_path / "r.json").mkdir()
    (line,) = refused(paths=(*files.paths[:2], tmp_path / "r.csv"))
    assert line == f"{tmp_path / 'r.json'}: is a folder; expected the name of a file to write"


def test_the_current_folder_for_results_is_refused(files, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (line,) = refused(paths=(*files.paths[:2], "."))
    assert line == ".: is a folder; expected the name of a file to write"


def test_results_that_end_in_json_are_refused(files, refused, tmp_path):
    (line,) = refused(paths=(*files.paths[:2], tmp_path / "r.json"))
    assert line.startswith(f"{tmp_path / 'r.json'}: ")


# --- stopped on the way ------------------------------------------------------------------------

STOPPED = """
import os, signal, sys
from InterpScore import resampling as statistics
from InterpScore.cli.score import score_app
from Activation_Extraction.base.commands import run

def stop(*_, **__):
    os.kill(os.getpid(), signal.{signal})
    return iter(())

{place} = stop
run(score_app, sys.argv[1:])
"""
PLACES = {
    "resampling": "statistics.RatingDesign.bootstrap",
    "writing": "os.fsync",
    "moving into place": "os.replace",
}
SLOW_PLACES = [pytest.param(place, marks=pytest.mark.slow) for place in ("resampling", "writing")]


@pytest.fixture
def stopped(files, tmp_path):
    """Runs the command over older results and lets it get a signal at a certain place; gives how it ended."""
    files.results.write_text("old table\n")

    def run(name, place):
        code = STOPPED.format(signal=name, place=PLACES[place])
        arguments = [*map(str, files.paths), "--resamples", "20"]
        done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
        assert files.results.read_text() == "old table\n"
        assert not files.results.with_suffix(".json").exists()
        return done

    return run


@pytest.mark.slow
@pytest.mark.parametrize("place", [*SLOW_PLACES, "moving into place"])
def test_a_run_that_is_killed_leaves_the_old_results(stopped, place):
    assert stopped("SIGKILL", place).returncode == -signal.SIGKILL


@pytest.mark.parametrize("place", [*SLOW_PLACES, "moving into place"])
def test_ctrl_c_ends_without_traceback_and_leaves_the_old_results(stopped, place, tmp_path):
    done = stopped("SIGINT", place)
    assert (done.returncode, done.stderr.strip()) == (130, "stopped")
    assert list(tmp_path.glob(".*.part")) == []
