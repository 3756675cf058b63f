"""Guards the commands that make and run a study: what they print and refuse, and a served study from start to restore."""

import io
import re
import shutil
import signal
import subprocess
import sys

import httpx2
import pytest
import yaml
from sqlalchemy import func, select

from Activation_Extraction.base.commands import app, run
from Human_Experiment_Setup.study.database.connection import open_database
from Human_Experiment_Setup.study.database.schema import SavedAnswer, Study, StudySession
from Human_Experiment_Setup.study.keys import study_keys
from Human_Experiment_Setup.study.passwords import is_password
from tests.Human_Experiment_Setup.study.small_study import PROTOCOL, Participant, small_study, write_stimuli


@pytest.fixture
def called(capsys, monkeypatch):
    """Calls `interpscore study` with some arguments; gives the exit code, standard output and standard error."""

    def call(*arguments, stdin=""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as stopped:
            run(app, ["study", *map(str, arguments)])
        out, err = capsys.readouterr()
        return stopped.value.code, out, err

    return call


@pytest.fixture
def folder(tmp_path):
    write_stimuli(tmp_path / "stimuli")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(PROTOCOL))
    return tmp_path


def test_check_prints_the_plan(folder, called):
    code, out, err = called("check", folder / "mine.yaml", "--stimuli", folder / "stimuli")
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[1] == "fire 4 4"
    assert "Ratings 2 to 3 a picture, 33 in all" in lines
    assert "Participants 11 needed, each in a place of their own (more where some are excluded)" in lines
    assert lines[-1].endswith("mine.yaml: ready")


def test_check_refuses_places_that_are_not_filled_in_after_the_plan(folder, called):
    (folder / "mine.yaml").write_text(yaml.safe_dump(PROTOCOL | {"retention": "Kept for [FILL IN: years] years."}))
    code, out, err = called("check", folder / "mine.yaml", "--stimuli", folder / "stimuli")
    assert (code, "Pictures" in out) == (2, True)
    assert err == f"error: {folder}/mine.yaml, retention: [FILL IN: years] is not filled in; expected your own text\n"


def test_serve_refuses_places_that_are_not_filled_in_and_writes_nothing(folder, called):
    code, _, err = called("serve", "published", "--stimuli", folder / "stimuli", "--database", folder / "study.db")
    assert (code, err.count("is not filled in")) == (2, 8)
    assert not (folder / "study.db").exists()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--root-path", "naming", "--root-path: found 'naming'; expected a path such as /naming"),
        ("--root-path", "/naming/", "expected a path such as /naming"),
        ("--host", "192.0.2.1", "cannot listen"),
        ("--stimuli", "nowhere", "no such image table"),
        ("--database", "nowhere/study.db", "the folder nowhere does not exist"),
        ("--database", "postgresql:///x", "--state: is missing"),
    ],
)
def test_serve_refuses_what_it_cannot_do_in_one_line(folder, called, option, value, said):
    options = {"--stimuli": folder / "stimuli", "--database": folder / "study.db", "--port": 0} | {option: value}
    code, _, err = called("serve", folder / "mine.yaml", *(part for pair in options.items() for part in pair))
    assert (code, err.count("\n")) == (2, 1)
    assert said in err


def test_protocols_are_listed_and_printed(called):
    assert called("protocols")[1].startswith("published   two typed words")
    assert yaml.safe_load(called("protocols", "published")[1])["ratings_per_image"] == 7


def test_password_is_set_hashed_and_turned_off(folder, called):
    small_study(folder).database.close()
    place = folder / "study.db"
    assert called("password", place, stdin="too short\n")[0] == 2
    assert called("password", place, stdin="long enough\n")[1] == "The password is set.\n"
    assert is_password("long enough", study_row(place).password_hash)
    assert called("password", place, stdin="\n")[1] == "The admin page is off.\n"
    assert study_row(place).password_hash is None


def test_recruiting_is_changed(folder, called):
    small_study(folder).database.close()
    assert called("recruiting", folder / "study.db", "paused")[1] == "Recruiting is paused.\n"
    assert study_row(folder / "study.db").state == "paused"


@pytest.mark.parametrize("command", [["password"], ["recruiting", "open"], ["withdraw", "p"], ["backup", "copy.db"]])
@pytest.mark.parametrize("kind", ["missing", "empty", "text"])
def test_what_is_no_study_is_refused(tmp_path, called, command, kind):
    place = tmp_path / "study.db"
    if kind != "missing":
        place.write_text("" if kind == "empty" else "hello" * 500)
    study_keys(tmp_path / "study.db.state")
    name, *rest = command
    rest = [tmp_path / each if each.endswith(".db") else each for each in rest]
    code, _, err = called(name, place, *rest, stdin="long enough\n")
    assert (code, err.count("\n")) == (2, 1)
    assert not (kind == "missing" and place.exists())


def study_row(place):
    opened = open_database(str(place))
    with opened.reading() as session:
        found = session.get_one(Study, 1)
    opened.close()
    return found


def count(place, table):
    opened = open_database(str(place))
    with opened.reading() as session:
        found = session.scalar(select(func.count()).select_from(table))
    opened.close()
    return found


@pytest.mark.slow
def test_a_study_is_served_backed_up_stopped_restored_and_served_again(folder, called):
    place, copy = folder / "study.db", folder / "copy.db"
    command = [
        sys.executable, "-c", "from Activation_Extraction.base.start import main; main()", "study", "serve",
        folder / "mine.yaml", "--stimuli", folder / "stimuli", "--database", place, "--port", "0",
        "--root-path", "/naming", "--mark", "pilot",
    ]  # fmt: skip
    with subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        lines = [server.stdout.readline() for _ in range(5)]
        url = re.search(r"http://127\.0\.0\.1:\d+", "".join(lines))[0]
        with httpx2.Client(base_url=url) as client:
            stays, leaves = (Participant(client) for _ in range(2))
            for each in (stays, leaves):
                each.answer(0)
            assert called("backup", place, copy) == (0, f"{copy}: complete\n", "")
            leaves.answer(1)
            assert called("withdraw", place, leaves.ids["PROLIFIC_PID"])[1] == "Withdrawn: 1 session.\n"
            assert leaves.get().json() == {"error": "withdrawn"}
            stays.answer(1)
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=60)
    assert lines[0] == "What do you see?: version 1, every session is marked pilot\n"
    assert "/naming/?PROLIFIC_PID={{%PROLIFIC_PID%}}" in lines[1]
    assert (server.returncode, out, err) == (0, "Stopped; every answer is in the database.\n", "")
    assert (count(place, SavedAnswer), count(copy, SavedAnswer)) == (2, 2)
    assert called("backup", place, copy)[0] == 2  # it is there

    for old in folder.glob("study.db*"):
        if old.is_file():
            old.unlink()
    shutil.copy(copy, place)
    again = small_study(folder, stimuli=folder / "stimuli", database=str(place), state=folder / "study.db.state")
    with again.database.reading() as session:
        states = dict(session.execute(select(StudySession.state, func.count()).group_by(StudySession.state)).all())
    assert states == {"active": 1, "withdrawn": 1}
    again.database.close()
    assert count(place, SavedAnswer) == 1
