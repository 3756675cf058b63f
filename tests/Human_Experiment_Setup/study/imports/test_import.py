"""Guards the import of studies run elsewhere: jsPsych's JSON and long tables become the table that scoring reads, or are refused."""

import json

import pandas as pd
import pytest
import yaml

from Activation_Extraction.base.commands import app, run

MAP = {
    "participant": "PROLIFIC_PID", "image_filename": "stimulus", "ground_truth": "concept", "level": "level",
    "words": ["response.word_1", "response.word_2"], "keep": {"trial_type": "survey-text"},
}  # fmt: skip
TRIALS = [
    {"trial_type": "html-button-response", "trial_index": 0, "response": 1},
    {"trial_type": "survey-text", "trial_index": 1, "PROLIFIC_PID": "p1", "stimulus": "img/fire_1.png", "concept": "fire", "level": 5, "response": {"word_1": "Flame", "word_2": "=fire"}, "rt": 1234.0},
    {"trial_type": "survey-text", "trial_index": 2, "PROLIFIC_PID": "p1", "stimulus": "<p><img class='x' src=\"img/dog_1.png\"></p>", "concept": "dog", "level": "3", "response": {"word_1": "a, b", "word_2": ""}, "rt": None},
]  # fmt: skip


@pytest.fixture
def called(capsys, tmp_path, monkeypatch):
    """Calls `interpscore study import` in a folder of its own; gives exit code, output, errors, and the table."""
    monkeypatch.chdir(tmp_path)

    def call(*files, columns=MAP, output="answers.parquet", **changes):
        (tmp_path / "map.yaml").write_text(yaml.safe_dump(columns | changes))
        with pytest.raises(SystemExit) as stopped:
            run(app, ["study", "import", *map(str, files), "--columns", "map.yaml", "-o", output])
        out, err = capsys.readouterr()
        path = tmp_path / output
        table = None if stopped.value.code else pd.read_csv(path, keep_default_na=False) if output.endswith("csv") else pd.read_parquet(path)  # fmt: skip
        return stopped.value.code, out, err, table

    return call


def as_lists(trials):
    return json.dumps(trials)


def as_jatos(trials):
    return json.dumps(trials[:2]) + "\n" + json.dumps(trials[2:]) + "\n"


def as_csv(trials):
    """As jsPsych writes CSV: nested answers are JSON in their cells."""
    rows = [{**each, "response": json.dumps(each["response"])} for each in trials]
    return pd.DataFrame(rows).to_csv(index=False)


@pytest.mark.parametrize(("name", "written"), [("a.json", as_lists), ("a.txt", as_jatos), ("a.csv", as_csv)])
def test_data_of_jspsych_become_the_published_columns(called, tmp_path, name, written):
    (tmp_path / name).write_text(written(TRIALS))
    code, out, err, table = called(name, rt_ms="rt", trial="trial_index")
    assert (code, err) == (0, "")
    assert f"note: {name}: 1 of 3 rows left out, as `keep` says" in out
    assert table["word_1"].tolist() == ["Flame", "a, b"]
    assert table["annotation_string"].tolist() == ["FLAME,=FIRE", "A, B"]
    assert table[["participant", "image_filename", "image_basename", "ground_truth", "level"]].values.tolist() == [
        ["p1", "img/fire_1.png", "fire_1.png", "fire", 5], ["p1", "img/dog_1.png", "dog_1.png", "dog", 3],
    ]  # fmt: skip
    assert table["trial_category"].tolist() == ["experiment"] * 2
    assert (table["rt_ms"].iloc[0], table["origin"].iloc[0], bool(table["simulated"].any())) == (
        1234,
        "imported",
        False,
    )


def test_one_file_for_each_participant(called, tmp_path):
    for name in ("p07", "p08"):
        (tmp_path / f"{name}.json").write_text(as_lists(TRIALS))
    code, _, _, _ = called("p07.json", "p08.json", participant="(file)")
    assert code == 2  # the same file twice
    (tmp_path / "p08.json").write_text(as_lists(TRIALS[:2]))
    code, out, _, table = called("p07.json", "p08.json", participant="(file)", output="answers.csv")
    assert (code, table["participant"].tolist()) == (0, ["p07", "p07", "p08"])
    assert table["word_2"].tolist() == ["'=fire", "", "'=fire"]  # safe in a spreadsheet
    assert "3 answers of 2 participants to 2 pictures" in out


QUALTRICS = (
    "ResponseId,pic,truth,lvl,answer\nResponse ID,Picture,Truth,Level,What do you see?\n"
    + ",".join(f'"{{""ImportId"":""{name}""}}"' for name in "abcde")
    + '\nR_1,fire_1.png,fire,5,"flame, fire"\nR_2,fire_1.png,fire,5,\n'
)
GORILLA = (
    "Event Index;Participant Private ID;Zone Type;Response;pic;truth;lvl;display\n"
    "1;77;response_text_entry;flame;fire_1.png;fire;5;task\n2;77;continue_button;1;fire_1.png;fire;5;task\n"
    "3;77;response_text_entry;dog;dog_1.png;dog;1;practice\nEND OF FILE;;;;;;;\n"
)
LONG = {"image_filename": "pic", "ground_truth": "truth", "level": "lvl"}


@pytest.mark.parametrize(
    ("text", "columns", "words", "said"),
    [
        (QUALTRICS, {"participant": "ResponseId", "words": "answer"}, ["FLAME, FIRE", ""], "2 rows below the header"),
        (
            GORILLA,
            {"participant": "Participant Private ID", "words": ["Response"], "keep": {"Zone Type": "response_text_entry"}},
            ["FLAME", "DOG"],
            "the last row says END OF FILE",
        ),
        (
            GORILLA,
            {"participant": "Participant Private ID", "words": ["Response"], "keep": {"Zone Type": ["response_text_entry"], "lvl": 5}},
            ["FLAME"],
            "2 of 3 rows left out",
        ),
    ],
    ids=["Qualtrics", "Gorilla", "some rows"],
)  # fmt: skip
def test_long_tables_of_other_programs(called, tmp_path, text, columns, words, said):
    (tmp_path / "long.csv").write_text(text)
    code, out, err, table = called("long.csv", columns=LONG | columns)
    assert (code, err, table["annotation_string"].tolist()) == (0, "", words)
    assert said in out


TWO_ROWS = (
    "Participant Private ID;Trial Number;Zone Type;Response;Reaction Time;pic;truth;lvl\n"
    "77;1;response_text_entry;flame;900;fire_1.png;fire;5\n78;1;response_text_entry;dog;1000;fire_1.png;fire;5\n"
    "77;1;response_text_entry;light;1500;fire_1.png;fire;5\n78;1;response_text_entry;;2000;fire_1.png;fire;5\n"
    "77;2;response_text_entry;puppy;800;dog_1.png;dog;1\n77;2;response_text_entry;dog;1200;dog_1.png;dog;1\n"
)
OF_GORILLA = LONG | {"participant": "Participant Private ID", "words": "Response", "rt_ms": "Reaction Time"}


def test_words_in_rows_of_their_own_are_one_answer_where_the_map_says_so(called, tmp_path):
    (tmp_path / "long.csv").write_text(TWO_ROWS)
    code, out, err, table = called("long.csv", columns=OF_GORILLA, same_trial="Trial Number")
    assert (code, err) == (0, "")
    assert "note: long.csv: 6 rows are 3 trials, as `same_trial` says" in out
    assert table["annotation_string"].tolist() == ["FLAME,LIGHT", "DOG", "PUPPY,DOG"]
    assert table[["participant", "rt_ms"]].values.tolist() == [["77", 1500], ["78", 2000], ["77", 1200]]


@pytest.mark.parametrize(
    ("text", "changes", "said"),
    [
        (TWO_ROWS, {}, "3 of 3 pictures are in several rows of the same participant ('77': 'fire_1.png'); expected one row"),
        (TWO_ROWS, {"trial": "Trial Number"}, "trial '1' of participant '77': is there 2 times; expected each answer once"),
        (
            TWO_ROWS,
            {"same_trial": ["Zone Type"]},
            "long.csv, row 6: found image_filename 'dog_1.png'; expected 'fire_1.png' as in row 2",
        ),
        (TWO_ROWS, {"same_trial": "Trail Number"}, "the column is missing (did you mean 'Trial Number'?); expected the column of same_trial"),
        (TWO_ROWS.replace("light;1500;fire_1.png;fire;5", "light;1500;fire_1.png;fire;1"), {"same_trial": "Trial Number"}, "found level '1'; expected '5'"),
    ],
    ids=["unsaid", "a trial's number alone", "too wide", "no such column", "two levels"],
)  # fmt: skip
def test_words_in_rows_of_their_own_are_refused_where_the_map_does_not_fit(called, tmp_path, text, changes, said):
    (tmp_path / "long.csv").write_text(text)
    code, _, err, _ = called("long.csv", columns=OF_GORILLA, **changes)
    assert (code, err.count("\n")) == (2, 1), err
    assert said in err


def test_every_optional_column_has_an_effect(called, tmp_path):
    from Human_Experiment_Setup.study.imports.column_map import OPTIONAL

    cells = dict.fromkeys(OPTIONAL, "x") | {
        "cannot_tell": "yes",
        "excluded": "no",
        "trial_category": "practice",
        "batch": 2,
        "rt_ms": 12.4,
    }
    pd.DataFrame([{"p": "p1", **LONG, "w": "a"} | {f"my_{name}": cell for name, cell in cells.items()}]).to_csv(tmp_path / "a.csv", index=False)  # fmt: skip
    columns = LONG | {"image_filename": "pic", "participant": "p", "words": "w", "simulated": True}
    renamed = pd.read_csv(tmp_path / "a.csv").rename(
        columns={"image_filename": "pic", "ground_truth": "truth", "level": "lvl"}
    )
    renamed.to_csv(tmp_path / "a.csv", index=False)
    code, _, err, table = called("a.csv", columns=columns, **{name: f"my_{name}" for name in OPTIONAL})
    assert (code, err) == (0, "")
    (row,) = table.to_dict("records")
    assert {name: row[name] for name in OPTIONAL} == cells | {
        "cannot_tell": True,
        "excluded": False,
        "batch": "2",
        "rt_ms": 12,
    }
    assert row["simulated"] is True


@pytest.mark.parametrize(
    ("trial", "changes", "said"),
    [
        ({}, {"level": "levle"}, "a.json, column 'levle': the column is missing (did you mean 'level'?); expected the column of level"),
        ({}, {"word": "x"}, "map.yaml"),
        ({}, {"words": []}, "map.yaml, words"),
        ({}, {"keep": {"trial_type": "naming"}}, "no row has what `keep` asks for"),
        ({}, {"words": ["rt.first"]}, "found '1234.0'; expected JSON with the key 'first'"),
        ({"level": "five"}, {}, "a.json, column 'level', row 1: found 'five'; expected a whole number"),
        ({"rt": "soon"}, {"rt_ms": "rt"}, "found 'soon'; expected milliseconds"),
        ({"level": 5.5}, {}, "found '5.5'; expected a whole number"),
        ({"concept": " "}, {}, "column 'concept', row 1: found ''; expected the concept of the picture"),
        ({"PROLIFIC_PID": None}, {}, "column 'PROLIFIC_PID', row 1: found ''; expected who answered"),
        ({"stimulus": "<img src=a.png><img src=b.png>"}, {}, "expected the name of one picture"),
        ({"ok": "perhaps"}, {"cannot_tell": "ok"}, "found 'perhaps'; expected true or false"),
        ({"trial_index": 2}, {"trial": "trial_index"}, "trial '2' of participant 'p1': is there 2 times"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(called, tmp_path, trial, changes, said):
    (tmp_path / "a.json").write_text(as_lists([TRIALS[0], TRIALS[1] | trial, TRIALS[2]]))
    code, _, err, _ = called("a.json", **changes)
    assert (code, err.count("\n")) == (2, 1), err
    assert said in err
    assert not (tmp_path / "answers.parquet").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b'[{"level": NaN}]'),
        ("a.json", b"[" * 100_000),
        ("a.json", b'{"trials": []}'),
        ("a.json", b"[1, 2]"),
        ("a.json", b'[{"response": ' + b"1" * 10_000 + b"}]"),
        ("a.json", b'[{"a": 1, "a": 2}]'),
        ("a.json", b"\xff\xfe["),
        ("a.json", b"[]"),
        ("a.json", b""),
        ("a.csv", b"\x00\x01\x02"),
        ("none.json", None),
    ],
)
def test_damaged_and_hostile_files_are_refused_in_one_line(called, tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    code, _, err, _ = called(name)
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith(f"error: {name}")


def test_a_picture_answered_twice_is_noted(called, tmp_path):
    (tmp_path / "a.json").write_text(as_lists([TRIALS[1], TRIALS[1] | {"trial_index": 7}]))
    code, out, _, table = called("a.json", trial="trial_index")
    assert (code, len(table)) == (0, 2)
    assert "note: 1 pictures were answered more than once by the same participant ('p1': 'img/fire_1.png')" in out
