"""Guards the export of a study: who and what is in the table, that it says so, and that scoring counts what it should."""

import json
import shutil
import threading

import pandas as pd
import pytest
from sqlalchemy import delete

from Activation_Extraction.base.commands import app, run
from Human_Experiment_Setup.study.answers.columns import COLUMNS
from Human_Experiment_Setup.study.answers.exporting import exported
from Human_Experiment_Setup.study.answers.from_database import ExportOptions, answer_rows
from Human_Experiment_Setup.study.database.connection import open_database
from Human_Experiment_Setup.study.database.schema import Tombstone
from Human_Experiment_Setup.study.keys import study_keys
from Human_Experiment_Setup.study.leaving import set_status, withdraw
from InterpScore.tables.experiment_table import load_experiment_table
from tests.Human_Experiment_Setup.study.small_study import TRAP, Participant, client_of, small_study, write_stimuli

PUBLISHED = ["level", "batch", "participant", "image_filename", "image_basename", "response"]
RULES = {"traps": [TRAP], "practice": 1, "exclusions": {"program_answers": 1}}


@pytest.fixture
def called(capsys):
    """Calls `interpscore study`; gives exit code, output and errors."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            run(app, ["study", *map(str, arguments)])
        return stopped.value.code, *capsys.readouterr()

    return call


def everyone(folder, database=None):
    """A study that people of every kind took part in; their participant ids by name."""
    ids = {}
    stimuli = write_stimuli(folder / "stimuli", pictures=6)
    for mark in (None, "pilot", "simulated"):
        study = small_study(folder, database, mark=mark, stimuli=stimuli, **RULES)
        client = client_of(study)
        for who in ("good", "program", "quitter", "returned", "withdrawn") if mark is None else (mark,):
            me = Participant(client)
            ids[who] = me.ids
            state = me.get().json()
            while state["state"] == "trial" and not (who == "quitter" and state["trial"] == 3):
                words = {"words": ["=fire", "flame"], "cannot_tell": False}
                text = {"text": "56" if who == "program" else "", "cannot_tell": who != "program"}
                state = me.post(trial=state["trial"], answer=text if state["kind"] == "question" else words).json()
        with study.database.writing() as session:
            if mark is None:
                set_status(session, ids["returned"]["SESSION_ID"], "RETURNED", study.now_ms())
                withdraw(session, study.keys, ids["withdrawn"]["PROLIFIC_PID"], study.now_ms())
        study.database.close()
    return ids


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("taken")
    return folder, everyone(folder)


def table_of(called, folder, tmp_path, *options, name="answers.csv"):
    code, out, err = called("export", folder / "study.db", "--state", folder / "state", "-o", tmp_path / name, *options)
    assert (code, err) == (0, "")
    path = tmp_path / name
    return pd.read_parquet(path) if name.endswith("parquet") else pd.read_csv(path, keep_default_na=False), out


def test_the_table_has_the_answers_of_participants_and_says_who_counts(called, taken, tmp_path):
    folder, ids = taken
    table, out = table_of(called, folder, tmp_path)
    assert list(table)[:6] == PUBLISHED
    assert set(table) - {"word_2"} == set(COLUMNS) - {"attack_target"}
    pseudonym = study_keys(folder / "state").pseudonym
    reasons = {who: table[table["participant"] == pseudonym(each["PROLIFIC_PID"])] for who, each in ids.items()}
    found = {who: (len(rows), *rows["excluded_by"].unique()) for who, rows in reasons.items()}
    assert found == {
        "good": (3, ""), "program": (3, "program_answers"), "quitter": (found["quitter"][0], "incomplete"), "returned": (3, "returned"),
        "withdrawn": (0,), "pilot": (0,), "simulated": (0,),
    }  # fmt: skip
    assert len(table) == sum(len(rows) for rows in reasons.values())  # and nobody else's
    assert table["excluded"].tolist() == (table["excluded_by"] != "").tolist()
    assert (table["trial_category"].unique(), table["simulated"].unique()) == (["experiment"], [False])
    assert not any(each["PROLIFIC_PID"] in (tmp_path / "answers.csv").read_text() for each in ids.values())
    assert "note: 3 answers of simulated sessions are not in the table (--sessions simulated)" in out


def test_words_are_safe_in_a_spreadsheet_and_raw_in_parquet(called, taken, tmp_path):
    csv, _ = table_of(called, taken[0], tmp_path)
    parquet, _ = table_of(called, taken[0], tmp_path, name="answers.parquet")
    assert (set(csv["word_1"]), set(csv["annotation_string"])) == ({"'=fire"}, {"'=FIRE,FLAME"})
    assert (set(parquet["word_1"]), set(parquet["annotation_string"])) == ({"=fire"}, {"=FIRE,FLAME"})
    assert str(parquet["level"].dtype).lower() == "int64"


@pytest.mark.parametrize("sessions", ["pilot", "simulated"])
def test_pilots_and_simulated_sessions_have_a_table_of_their_own_that_says_so(called, taken, tmp_path, sessions):
    folder, ids = taken
    table, out = table_of(called, folder, tmp_path, "--sessions", sessions, "--identities")
    assert set(table["participant"]) == {ids[sessions]["PROLIFIC_PID"]}
    assert table["simulated"].all() == (sessions == "simulated") == ("SIMULATED" in out)
    assert table["excluded"].all() == (sessions == "pilot")


def test_scoring_leaves_out_who_is_excluded_and_knows_who_is_simulated(called, taken, tmp_path):
    table, _ = table_of(called, taken[0], tmp_path)
    read = load_experiment_table(table.assign(soft_correct=1), [])
    assert (len(read.score_R), read.simulated) == (3, False)
    assert any(f"{len(table) - 3} of {len(table)} rows left out: excluded is true" in line for line in read.remarks)
    simulated, _ = table_of(called, taken[0], tmp_path, "--sessions", "simulated")
    assert load_experiment_table(simulated.assign(soft_correct=1), []).simulated
    pilot, _ = table_of(called, taken[0], tmp_path, "--sessions", "pilot")
    with pytest.raises(ValueError, match="all rows are excluded"):
        load_experiment_table(pilot.assign(soft_correct=1), [])


def test_all_trials_are_told_apart(called, taken, tmp_path):
    table, _ = table_of(called, taken[0], tmp_path, "--all-trials", "--identities")
    mine = table[table["participant"] == taken[1]["program"]["PROLIFIC_PID"]]
    assert mine["trial_category"].value_counts().to_dict() == {"experiment": 3, "practice": 1, "trap": 1}
    assert mine["trial"].tolist() == [0, 1, 2, 3, 4]
    assert set(mine["session_program_answers"]) == {1}


def test_targets_of_attacks_come_from_the_stimuli(called, taken, tmp_path):
    pictures = pd.read_csv(taken[0] / "stimuli" / "images.csv")
    pictures["attack_target"] = [("cat" if level == 1 else "") for level in pictures["level"]]
    shutil.copytree(taken[0] / "stimuli", tmp_path / "stimuli")
    pictures.to_csv(tmp_path / "stimuli" / "images.csv", index=False)
    table, _ = table_of(called, taken[0], tmp_path, "--stimuli", tmp_path / "stimuli")
    assert dict(zip(table["level"], table["attack_target"], strict=True)) == {1: "cat", 5: ""}
    code, _, err = called("export", taken[0] / "study.db", "--state", taken[0] / "state", "-o", tmp_path / "b.csv", "--stimuli", taken[0] / "stimuli")  # fmt: skip
    assert (code, "the column 'attack_target' is missing" in err) == (2, True)


def test_the_json_says_which_protocol_it_was_and_no_id(called, taken, tmp_path):
    table, _ = table_of(called, taken[0], tmp_path, "--identities")
    about = json.loads((tmp_path / "answers.json").read_text())
    assert (about["answers"], about["excluded"], about["participants"]) == (len(table), int(table["excluded"].sum()), "ids from outside")  # fmt: skip
    assert [version["version"] for version in about["versions"]] == [1]
    assert not any(each["PROLIFIC_PID"] in str(about) for each in taken[1].values())


@pytest.mark.parametrize("where", ["state folder", "database"])
def test_a_restored_backup_brings_nobody_back(taken, tmp_path, where):
    shutil.copytree(taken[0], tmp_path / "restored")
    keys, ids = study_keys(tmp_path / "restored" / "state"), taken[1]
    opened = open_database(str(tmp_path / "restored" / "study.db"))
    digest = keys.tombstone(ids["good"]["PROLIFIC_PID"])
    if where == "state folder":
        keys.bury(digest)
    else:
        with opened.writing() as session:
            session.execute(delete(Tombstone))
            session.add(Tombstone(digest=digest, at_ms=0))
    found = exported(opened, "study.db", keys, ExportOptions(identities=True))
    opened.close()
    assert ids["good"]["PROLIFIC_PID"] not in {row["participant"] for row in found.rows}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["{db}", "-o", "answers.txt"], "answers.txt: expected a name that ends in .csv or .parquet"),
        (["{db}", "-o", "nowhere/answers.csv"], "the folder nowhere does not exist"),
        (["none.db", "-o", "a.csv"], "none.db.state/keys.json: no such file"),
        (["{db}", "-o", "a.csv", "--state", "{other}"], "has the keys of another database"),
        (["{empty}", "-o", "a.csv", "--state", "{other}"], "no answers of data sessions; it has none at all"),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_is_refused_in_one_line(called, taken, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    study = small_study(tmp_path, state=tmp_path / "other", stimuli=taken[0] / "stimuli")
    study.database.close()
    places = {"db": taken[0] / "study.db", "other": tmp_path / "other", "empty": tmp_path / "study.db"}
    code, _, err = called("export", *(each.format(**places) for each in options))
    assert (code, err.count("\n")) == (2, 1)
    assert said in err
    assert not list(tmp_path.glob("*.csv"))


def test_an_export_sees_one_moment_while_answers_come_in(tmp_path, database):
    stimuli = write_stimuli(tmp_path / "stimuli", pictures=2)
    study = small_study(tmp_path, database, stimuli=stimuli, state=tmp_path / "state")
    first = Participant(client_of(study))
    first.finish()
    with study.database.snapshot() as session:
        before = exported_in(session, study)
        late = threading.Thread(target=lambda: Participant(client_of(study)).finish())
        late.start()
        late.join()
        assert exported_in(session, study) == before == 3
    assert len(exported(study.database, database, study.keys, ExportOptions()).rows) == 6
    study.database.close()


def exported_in(session, study):
    return len(list(answer_rows(session, study.versions, study.keys)))
