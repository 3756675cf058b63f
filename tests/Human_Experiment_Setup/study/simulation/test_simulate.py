"""Guards simulated participants: they take a study as people do, leave what the server confirmed, and say what they are."""

import dataclasses
import hashlib
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from random import Random

import pandas as pd
import pytest
import yaml
from sqlalchemy import select

from Activation_Extraction.base.commands import app, run
from Activation_Extraction.base.errors import InputError
from Human_Experiment_Setup.study.answers.exporting import exported
from Human_Experiment_Setup.study.answers.from_database import ExportOptions
from Human_Experiment_Setup.study.database.schema import SavedAnswer, StudySession
from Human_Experiment_Setup.study.simulation.crowd import check_address, send_all
from Human_Experiment_Setup.study.simulation.people import MARK, Behavior, Person, read_recognition
from Human_Experiment_Setup.study.simulation.typing_errors import mistyped
from Human_Experiment_Setup.study.simulation.visit import World, visit
from Human_Experiment_Setup.study.stimuli_table import Stimulus, read_stimuli
from tests.browser import chromium, needs_chromium
from tests.Human_Experiment_Setup.study.small_study import (
    CHECK,
    PROTOCOL,
    TRAP,
    client_of,
    protocol,
    serving,
    small_study,
    write_stimuli,
)
from tests.Human_Experiment_Setup.study.test_trial_kinds import PYTHON, installed_slider

LEVELS = {5: 1.0, 1: 0.0}
STEADY = Behavior(LEVELS, spread=0, lapses=0, typos=0, drop_outs=0, duplicates=0)


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory):
    return write_stimuli(tmp_path_factory.mktemp("stimuli"), pictures=6)


def world_of(study, **options):
    pictures = {each.sha256: each for each in study.version.stimuli.values()}
    return World("http://testserver", study.protocol, pictures, patience=0, sleep=lambda seconds: None, **options)


def sent(study, behavior, count=1, seed=0):
    world, concepts = world_of(study), [each.concept for each in study.version.stimuli.values()]
    client, found = client_of(study), []
    for number in range(count):
        client.cookies.clear()
        found.append(visit(world, Person(seed, number, behavior, concepts), client))
    return found


def saved_in(study):
    with study.database.reading() as session:
        return list(
            session.execute(select(SavedAnswer.trial, SavedAnswer.answer, StudySession.origin).join(StudySession))
        )


@pytest.mark.parametrize("completion", [{"path": "prolific", "code": "C0MPLETE"}, {"path": "lab"}])
def test_a_participant_takes_the_whole_study_and_is_marked(tmp_path, stimuli, completion):
    study = small_study(
        tmp_path, mark="simulated", stimuli=stimuli, checks=[CHECK], traps=[TRAP], completion=completion
    )
    (found,) = sent(study, STEADY)
    saved = saved_in(study)
    assert (found.outcome, found.saved) == ("complete", [trial for trial, _, _ in saved]) == ("complete", [0, 1, 2, 3])
    assert {origin for _, _, origin in saved} == {"simulated"}
    rows = exported(study.database, "study.db", study.keys, ExportOptions("simulated", identities=True)).rows
    assert {(row["simulated"], row["excluded_by"]) for row in rows} == {(True, "")}
    assert {row["participant"].startswith((MARK, "simulated-0-0")) for row in rows} == {True}
    with pytest.raises(InputError, match="no answers of data sessions; it has 3 of simulated sessions"):
        exported(study.database, "study.db", study.keys, ExportOptions())
    for row in rows:  # the clean level is always recognized, the other never
        assert (row["ground_truth"] in (row["response"] or "").casefold()) == (row["level"] == 5)
    study.database.close()


@pytest.mark.parametrize("mark", [None, "pilot"])
def test_a_server_that_does_not_mark_its_sessions_gets_nothing(tmp_path, stimuli, mark):
    study = small_study(tmp_path, mark=mark, stimuli=stimuli)
    with pytest.raises(InputError, match=r"does not mark its sessions as simulated \(status 200\); expected a server"):
        sent(study, STEADY)
    with study.database.reading() as session:
        assert session.scalars(select(StudySession)).all() == []
    study.database.close()


def test_the_slider_of_the_docs_is_answered(tmp_path, stimuli):
    with installed_slider(tmp_path / "site"):
        study = small_study(
            tmp_path, mark="simulated", stimuli=stimuli, traps=[TRAP], trial={"kind": "slider", "question": "How well?"}
        )
        (found,) = sent(study, STEADY)
        rows = exported(study.database, "study.db", study.keys, ExportOptions("simulated")).rows
        study.database.close()
    assert (found.outcome, len(found.saved)) == ("complete", 4)
    assert {(row["level"], row["rating"]) for row in rows} == {(5, 100), (1, 0)}


def test_a_kind_that_does_not_say_how_is_refused_before_anyone_comes(tmp_path):
    with installed_slider(tmp_path / "site", PYTHON.replace("    simulated=", "    # ")):
        world = World("http://127.0.0.1:9", protocol(trial={"kind": "slider", "question": "How well?"}), {})
        said = r"the kind slider does not say how .*expected one that does \(naming, question\)"
        with pytest.raises(InputError, match=said):
            send_all(world, [Person(0, 0, STEADY, [])], 1, lambda *_: None)


def test_who_sends_everything_twice_has_every_answer_once(tmp_path, stimuli):
    study = small_study(tmp_path, mark="simulated", stimuli=stimuli)
    (found,) = sent(study, Behavior(LEVELS, drop_outs=0, duplicates=1))
    assert (found.outcome, found.again, len(saved_in(study))) == ("complete", 3, 3)
    study.database.close()


def test_who_drops_out_leaves_some_answers_and_the_same_seed_goes_on_with_the_same_people(tmp_path, stimuli):
    study = small_study(tmp_path, mark="simulated", stimuli=stimuli)
    left = sent(study, Behavior(LEVELS, drop_outs=1, duplicates=0), count=3)
    assert {each.outcome for each in left} == {"left"}
    assert sum(len(each.saved) for each in left) == len(saved_in(study)) < 9
    again = sent(study, Behavior(LEVELS, drop_outs=0, duplicates=0), count=3)
    assert ([each.outcome for each in again], len(saved_in(study))) == (["complete"] * 3, 9)
    study.database.close()


def test_who_finds_no_place_is_refused(tmp_path):
    stimuli = write_stimuli(tmp_path / "stimuli", pictures=1)
    study = small_study(tmp_path, mark="simulated", stimuli=stimuli, ratings_per_image=1, trials_per_participant=2)
    found = sent(study, STEADY, count=3)
    assert [each.outcome for each in found] == ["complete", "complete", "refused"]
    assert (found[2].reason, len(saved_in(study))) == (study.protocol.texts["full_title"], 4)
    study.database.close()


def test_pictures_that_are_not_among_the_stimuli_are_refused(tmp_path, stimuli):
    study = small_study(tmp_path, mark="simulated", stimuli=stimuli)
    world = World("http://testserver", study.protocol, {}, patience=0)
    with pytest.raises(InputError, match="shows a picture that is not among the stimuli"):
        visit(world, Person(0, 0, STEADY, ["fire"]), client_of(study))
    study.database.close()


@pytest.fixture
def called(capsys):
    """Calls `interpscore study`; gives exit code, output and errors."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            run(app, ["study", *map(str, arguments)])
        return stopped.value.code, *capsys.readouterr()

    return call


def test_the_command_sends_several_at_once_over_http(tmp_path, database, stimuli, called):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(PROTOCOL))
    with serving(small_study(tmp_path, database, mark="simulated", stimuli=stimuli)) as address:
        command = ["simulate", tmp_path / "mine.yaml", "--stimuli", stimuli, "--at", f"{address}/"]
        behavior = ["--recognition", "5=1 1=1", "--lapses", 0, "--typos", 0, "--spread", 0, "--drop-outs", 0]
        code, out, err = called(*command, *behavior, "--duplicates", 1, "--at-once", 2, "--participants", 2, "--quiet")
        assert (code, out, err) == (0, "", "")
        code, out, _ = called(
            *command, "--participants", 3, "--drop-outs", 0, "--cannot-tell", 1, "--seed", 1, "--pause", 0.01
        )
        assert (code, " ".join(out.split("\n")[1].split())) == (0, "complete 3 9")
    table = tmp_path / "answers.csv"
    assert called("export", database, "--state", tmp_path / "state", "-o", table, "--sessions", "simulated")[0] == 0
    read = pd.read_csv(table, keep_default_na=False)
    assert (len(read), read["simulated"].all()) == (15, True)
    counts = Counter(read["participant"])
    sure = read[read.groupby("participant")["answered_at"].transform("min").isin(sorted(read["answered_at"])[:6])]
    assert set(counts.values()) == {3}
    assert not sure["cannot_tell"].any()


def test_a_server_that_does_not_answer_is_one_line(tmp_path, stimuli, called):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(PROTOCOL))
    code, _, err = called("simulate", tmp_path / "mine.yaml", "--stimuli", stimuli, "--at", "http://127.0.0.1:9", "--patience", 0, "--participants", 1)  # fmt: skip
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("participant 0: ")


# The whole way --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_server_killed_under_load_and_restored_loses_nothing_that_was_confirmed(tmp_path, called):
    """kill -9 while simulated participants answer, a new server, a backup while they go on, a restore, an export."""
    stimuli = write_stimuli(tmp_path / "stimuli", pictures=12)
    changes = {"trials_per_participant": 12, "ratings_per_image": 12}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(PROTOCOL | changes))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def serve(database):
        command = [
            sys.executable, "-c", "from Activation_Extraction.base.start import main; main()", "study", "serve",
            tmp_path / "mine.yaml", "--stimuli", stimuli, "--database", database, "--state", tmp_path / "state", "--port", port,
            "--mark", "simulated",
        ]  # fmt: skip
        server = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        while "Serving" not in server.stdout.readline():
            assert server.poll() is None
        return server

    pictures = read_stimuli(stimuli, [5, 1])
    behavior = Behavior(LEVELS, spread=0, drop_outs=0.2, duplicates=0.3)
    people = [Person(7, number, behavior, ["fire", "puppies"]) for number in range(16)]
    world = World(f"http://127.0.0.1:{port}", protocol(**changes), {each.sha256: each for each in pictures}, pause=0.1, patience=120)  # fmt: skip
    visits = []
    crowd = threading.Thread(target=lambda: visits.extend(send_all(world, people, 8, lambda *_: None)), daemon=True)
    server = serve(tmp_path / "study.db")
    crowd.start()
    for enough in (30, 60):
        while answers_in(tmp_path / "study.db") < enough:
            time.sleep(0.05)
        server.send_signal(signal.SIGKILL)
        server.communicate()
        server = serve(tmp_path / "study.db")
    assert called("backup", tmp_path / "study.db", tmp_path / "backup.db")[0] == 0
    crowd.join()
    server.send_signal(signal.SIGKILL)
    server.communicate()
    assert Counter(each.outcome for each in visits).keys() == {"complete", "left"}
    confirmed = {
        person.link("prolific")["PROLIFIC_PID"]: each.saved for person, each in zip(people, visits, strict=True)
    }
    table = exported_table(called, tmp_path, "study.db")
    found = {who: rows["trial"].tolist() for who, rows in table.groupby("participant")}
    assert found == {who: saved for who, saved in confirmed.items() if saved}  # every one once, in order
    before = exported_table(called, tmp_path, "backup.db")
    assert 0 < len(before) <= len(table)
    both = before.merge(table, on=["participant", "trial"], suffixes=("", "_later"))
    assert len(both) == len(before)
    assert (both["response"] == both["response_later"]).all()
    server = serve(tmp_path / "backup.db")  # restored: who had not finished goes on
    world = dataclasses.replace(world, pause=0)
    again = send_all(world, [Person(7, number, STEADY, ["fire"]) for number in range(16)], 8, lambda *_: None)
    server.send_signal(signal.SIGTERM)
    server.communicate()
    assert {each.outcome for each in again} == {"complete"}
    assert len(exported_table(called, tmp_path, "backup.db")) == 16 * 12


def answers_in(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM answers").fetchone()[0]


def exported_table(called, folder, database):
    options = ["--sessions", "simulated", "--identities", "--state", folder / "state", "--quiet"]
    assert called("export", folder / database, "-o", folder / "answers.csv", *options) == (0, "", "")
    return pd.read_csv(folder / "answers.csv", keep_default_na=False)


@pytest.mark.slow
@needs_chromium
def test_a_simulated_participant_takes_the_study_in_a_real_browser(tmp_path):
    stimuli = write_stimuli(tmp_path / "stimuli", pictures=6, size=64)
    study = small_study(
        tmp_path, mark="simulated", stimuli=stimuli, checks=[CHECK], traps=[TRAP], trials_per_participant=6
    )
    pictures = {each.sha256: each for each in study.version.stimuli.values()}
    person = Person(0, 0, Behavior({5: 1.0, 1: 0.0}, cannot_tell=0.5, drop_outs=0), ["fire", "puppies"])
    expected = {}
    with serving(study) as address, chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(20_000)
        ids = "&".join(f"{name}={value}" for name, value in person.link("prolific").items())
        page.goto(f"{address}/?{ids}")
        for box in page.get_by_role("checkbox").all():
            box.check()
        page.get_by_role("button", name="I agree").click()
        page.get_by_role("button", name="I have read").click()
        page.get_by_label(CHECK["right"]).check()
        page.get_by_role("button", name="Check my answers").click()
        for trial in range(7):
            page.locator(f"#progress[aria-valuenow='{trial}']").wait_for(state="attached")
            page.locator("form.answer").wait_for()
            if page.locator("img.picture").count():
                source = page.locator("img.picture").evaluate("image => image.src")
                content = page.request.get(source).body()
                answer = person.names(pictures[hashlib.sha256(content).hexdigest()], {"required": 2, "longest": 40})
            else:
                answer = {"words": [], "cannot_tell": True}
            expected[trial] = answer
            for word in answer["words"]:
                page.keyboard.type(word)
                page.keyboard.press("Enter")
            if answer["cannot_tell"]:
                page.get_by_role("button", name="I can’t tell").click()
        page.wait_for_url("**/done")
        browser.close()
        rows = exported(study.database, "study.db", study.keys, ExportOptions("simulated", all_trials=True)).rows
    given = {
        row["trial"]: ([row[name] for name in ("word_1", "word_2") if row.get(name)], row["cannot_tell"])
        for row in rows
    }
    assert given == {trial: (answer["words"], answer["cannot_tell"]) for trial, answer in expected.items()}
    assert {(row["simulated"], row["origin"]) for row in rows} == {(True, "simulated")}


# People ---------------------------------------------------------------------------------------------------------------

PICTURES = [Stimulus(f"{at}.png", "mushrooms", level, "", "", f"{at}") for at in range(400) for level in (5, 1)]
NAMING = {"required": 2, "longest": 40}


def answers_of(behavior, people=4):
    return [
        (picture, Person(0, number, behavior, ["mushrooms", "fire"]).names(picture, NAMING))
        for number in range(people)
        for picture in PICTURES
    ]


def test_people_recognize_what_their_level_says_and_make_the_typing_errors_asked_for():
    behavior = Behavior({5: 0.9, 1: 0.3}, spread=0, lapses=0.1, typos=0.2, cannot_tell=0.5)
    given = answers_of(behavior)
    for level, share in behavior.recognition.items():
        mine = [answer for picture, answer in given if picture.level == level]
        assert sum(answer["cannot_tell"] for answer in mine) / len(mine) == pytest.approx(
            0.9 * (1 - share) * 0.5, abs=0.02
        )
        exact = [any(word.removeprefix("a ").casefold() == "mushrooms" for word in answer["words"]) for answer in mine]
        assert sum(exact) / len(mine) == pytest.approx(0.9 * share * 0.8, abs=0.03)
    assert given == answers_of(behavior)


def test_people_and_pictures_differ_by_the_spread():
    shares = {
        spread: [Person(0, n, Behavior({5: 0.5}, spread=spread), []).recognizes(PICTURES[2 * n]) for n in range(200)]
        for spread in (0.0, 1.0, 3.0)
    }
    deviation = {spread: pd.Series(each).std() for spread, each in shares.items()}
    assert deviation[0.0] == 0 < deviation[1.0] < deviation[3.0]


@pytest.mark.parametrize("word", ["mushrooms", "sailboat", "a", "", "犬", "ooo"])
def test_a_typing_error_is_one_and_the_first_letter_is_right(word):
    made = {mistyped(word, Random(seed)) for seed in range(50)}
    assert all(each[:1] == word[:1] and abs(len(each) - len(word)) <= 1 for each in made)
    assert word not in made or word == ""


@pytest.mark.parametrize("text", ["5", "5=1.1", "5=.5 5=.4", "7=.5", "5=-1", "5=nan", "a=1", "=", "5=0.5,1=0.5"])
def test_shares_of_recognition_that_are_none_are_refused(text):
    with pytest.raises(InputError, match=r"expected LEVEL=SHARE for levels of the protocol \(5, 1\)"):
        read_recognition(text, [5, 1])


@pytest.mark.parametrize("address", ["", "127.0.0.1:8000", "ftp://x", "http://", "http://x/?a=1", "http://[::1"])
def test_addresses_that_are_none_are_refused(address):
    with pytest.raises(InputError, match="--at: found"):
        check_address(address)
