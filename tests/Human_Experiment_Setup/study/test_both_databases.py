"""Guards what has to hold on SQLite and on PostgreSQL: exact counts under concurrency, append-only answers, nothing lost."""

import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
import yaml
from sqlalchemy import func, inspect, select, text
from sqlalchemy.exc import DBAPIError

from Activation_Extraction.base.errors import InputError
from Human_Experiment_Setup.study.answering import OutOfOrderError, save_answer
from Human_Experiment_Setup.study.database.connection import open_database
from Human_Experiment_Setup.study.database.schema import (
    Base,
    Picture,
    SavedAnswer,
    Slot,
    StudySession,
    Submission,
    Tombstone,
)  # fmt: skip
from Human_Experiment_Setup.study.flags import Signals
from Human_Experiment_Setup.study.keys import study_keys
from Human_Experiment_Setup.study.leaving import apply_tombstones, set_status, withdraw
from Human_Experiment_Setup.study.operations import (
    Arrival,
    RefusedError,
    arrive,
    progress_of,
    session_of,
)  # fmt: skip
from Human_Experiment_Setup.study.places import fills_of
from tests.Human_Experiment_Setup.study.small_study import (
    PROTOCOL,
    Participant,
    prolific_ids,
    small_study,
    write_stimuli,
)

MINUTE = 60_000
WORDS = {"words": ["a", "b"], "cannot_tell": False}


def come(study, participant, now_ms=0, submission="", origin="prolific"):
    with study.database.writing() as session:
        return arrive(session, study.version, Arrival(participant, origin, "s", submission), study.keys, now_ms).id


def answer(study, session_id, trial, now_ms=0, answer=WORDS, **more):
    options = {"shown": True, "tab": "t", "rt_ms": 1} | more
    with study.database.writing() as session:
        found = session_of(session, session_id)
        return save_answer(session, study.version, found, trial, answer, Signals(), now_ms=now_ms, **options)


def finish(study, session_id, now_ms=0):
    for trial in range(3):
        answer(study, session_id, trial, now_ms)


def row(study, session_id):
    with study.database.reading() as session:
        return session.get(StudySession, session_id)


@pytest.mark.parametrize("each", [10, pytest.param(25, marks=pytest.mark.slow)])
def test_simultaneous_arrivals_fill_8_cells_equally(tmp_path, database, each):
    write_stimuli(tmp_path / "stimuli", concepts="abcdefgh", pictures=1, levels=(5,))
    study = small_study(tmp_path, database, levels=[5], ratings_per_image=each, trials_per_participant=1)
    with ThreadPoolExecutor(32) as threads:
        found = list(threads.map(lambda number: come(study, f"p{number}"), range(8 * each)))
    with study.database.reading() as session:
        shown = session.scalars(select(StudySession.timeline)).all()
        concepts = dict(session.execute(select(Picture.id, Picture.concept)).all())
    assert len(set(found)) == 8 * each
    assert Counter(concepts[trial["picture"]] for trial, *_ in shown) == dict.fromkeys("abcdefgh", each)
    study.database.close()


def test_the_same_participant_arriving_at_once_has_one_session(tmp_path, database):
    study = small_study(tmp_path, database)
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: come(study, "p", submission="one"), range(16)))
    assert len(found) == 1
    study.database.close()


def test_the_same_answer_sent_at_once_is_one_row_and_the_first_stays(tmp_path, database):
    study = small_study(tmp_path, database)
    me = come(study, "p")
    with ThreadPoolExecutor(8) as threads:
        given = [{"words": [str(number), "x"], "cannot_tell": False} for number in range(16)]
        saved = list(threads.map(lambda each: answer(study, me, 0, answer=each), given))
    assert sorted(each.again for each in saved) == [False] + [True] * 15
    kept = given[[each.again for each in saved].index(False)]
    with study.database.reading() as session:
        assert [each.answer for each in session.scalars(select(SavedAnswer))] == [kept]
    study.database.close()


def test_dropouts_are_refilled_and_a_late_finisher_is_kept(tmp_path, database):
    study = small_study(tmp_path, database)
    places = len(with_reading(study, lambda session: session.scalars(select(Slot)).all()))
    first = [come(study, f"p{number}", now_ms=0) for number in range(places)]
    assert len({row(study, each).slot_id for each in first}) == places
    for each in first[1:]:
        finish(study, each, now_ms=MINUTE)
    late = come(study, "late", now_ms=31 * MINUTE)  # the first one's lease has ended
    assert row(study, late).slot_id == row(study, first[0]).slot_id
    finish(study, first[0], now_ms=40 * MINUTE)
    finish(study, late, now_ms=41 * MINUTE)
    assert {row(study, each).state for each in (first[0], late)} == {"complete"}
    with pytest.raises(RefusedError, match="full"):
        come(study, "more", now_ms=42 * MINUTE)
    study.database.close()


@pytest.mark.parametrize("status", ["RETURNED", "TIMED-OUT"])
def test_a_place_that_was_given_up_is_filled_once(tmp_path, database, status):
    study = small_study(tmp_path, database)
    gone = come(study, "p", submission="one")
    with study.database.writing() as session:
        assert [set_status(session, "one", status, 1) for _ in range(2)] == [True, False]
    taken = [come(study, f"q{number}", now_ms=1) for number in range(len(fills(study)))]
    assert sorted(each.live for each in fills(study)) == [1] * len(taken)
    finish(study, gone, now_ms=2)  # a late finisher
    assert row(study, gone).fills == (status == "TIMED-OUT")
    study.database.close()


def test_who_comes_again_has_their_session_and_a_second_submission_of_a_finisher_is_refused(tmp_path, database):
    study = small_study(tmp_path, database)
    me = come(study, "p", submission="one")
    assert come(study, "p", submission="two") == me  # after RETURNED, say
    finish(study, me)
    assert come(study, "p", submission="two") == me
    with pytest.raises(RefusedError, match="twice"):
        come(study, "p", submission="three")
    with pytest.raises(RefusedError, match="link"):
        come(study, "q", submission="one")  # another's
    with study.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Submission)) == 2
    study.database.close()


def test_pilots_previews_and_simulated_participants_take_nobodys_place(tmp_path, database):
    study = small_study(tmp_path, database)
    for origin in ("pilot", "preview", "simulated"):
        come(study, "p", origin=origin)
    assert {each.live for each in fills(study)} == {0}
    assert {each.live for each in fills(study, "pilot")} == {0, 1}
    study.database.close()


def test_answers_come_in_order_and_fit_their_trial(tmp_path, database):
    study = small_study(tmp_path, database)
    me = come(study, "p")
    with pytest.raises(OutOfOrderError, match="expected the answer to trial 0"):
        answer(study, me, 1)
    with pytest.raises(InputError, match="2 to 2 words"):
        answer(study, me, 0, answer={"words": ["a"], "cannot_tell": False})
    assert answer(study, me, 0).next == 1
    with study.database.reading() as session:
        assert progress_of(session, row(study, me)).next == 1
    study.database.close()


@pytest.mark.parametrize("statement", ["UPDATE answers SET rt_ms = 3", "DELETE FROM answers", "DELETE FROM events", "UPDATE events SET at_ms = 0"])  # fmt: skip
def test_answers_and_events_are_append_only(tmp_path, database, statement):
    study = small_study(tmp_path, database)
    answer(study, come(study, "p"), 0)
    with pytest.raises(DBAPIError, match="append-only"), study.database.writing() as session:
        session.execute(text(statement))
    study.database.close()


def test_withdrawal_leaves_a_keyed_tombstone_that_a_restored_backup_applies(tmp_path, database):
    study = small_study(tmp_path, database)
    me = come(study, "secret-id", submission="one")
    finish(study, me)
    with study.database.writing() as session:
        assert withdraw(session, study.keys, "secret-id", 5) == 1
    content = dump(study)
    assert "secret-id" not in content
    assert study.keys.tombstone("secret-id") in content
    with pytest.raises(RefusedError, match="withdrawn"):
        come(study, "secret-id")
    # A backup from before: the same state folder, a database that knows nothing of the withdrawal.
    restored = small_study(tmp_path, str(tmp_path / "restored.db"))
    with restored.database.writing() as session:
        session.execute(text("DELETE FROM tombstones"))
    other = come(restored, "secret-id")
    with restored.database.writing() as session:
        assert apply_tombstones(session, restored.keys, 9) == 1
    assert row(restored, other).participant is None
    assert with_reading(restored, lambda session: session.scalars(select(Tombstone.digest)).all()) == [
        study.keys.tombstone("secret-id")
    ]
    for each in (study, restored):
        each.database.close()


# The server of PostgreSQL outlives ours: what it has acknowledged is on its disk.
@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
def test_a_server_killed_under_load_loses_no_acknowledged_answer(tmp_path, database):
    write_stimuli(tmp_path / "stimuli", pictures=6)
    content = PROTOCOL | {"trials_per_participant": 12, "ratings_per_image": 8}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(content))
    command = [
        sys.executable, "-c", "from Activation_Extraction.base.start import main; main()", "study", "serve",
        tmp_path / "p.yaml", "--stimuli", tmp_path / "stimuli", "--database", database, "--state", tmp_path / "state",
        "--port", "0",
    ]  # fmt: skip
    acknowledged, enough = [], threading.Event()

    def take_part(_):
        with httpx2.Client(base_url=url) as client:
            me = Participant(client)
            try:
                for trial in range(12):
                    if me.answer(trial).status_code == 200:
                        acknowledged.append((me.ids["PROLIFIC_PID"], trial))
                    if len(acknowledged) > 40:
                        enough.set()
            except httpx2.HTTPError:  # killed
                return

    with (
        subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True) as server,
        ThreadPoolExecutor(6) as threads,
    ):
        url = re.search(r"http://127.0.0.1:\d+", "".join(server.stdout.readline() for _ in range(5)))[0]
        running = threads.map(take_part, range(6))
        assert enough.wait(120)
        server.send_signal(signal.SIGKILL)
        list(running)
    assert 40 < len(acknowledged) <= 72
    opened = open_database(database)
    with opened.reading() as session:
        kept = session.execute(
            select(StudySession.participant, SavedAnswer.trial).join(
                SavedAnswer, SavedAnswer.session_id == StudySession.id
            )
        ).all()
    opened.close()
    assert set(acknowledged) <= {tuple(each) for each in kept}
    assert len(kept) == len(set(kept))


def with_reading(study, read):
    with study.database.reading() as session:
        return read(session)


def fills(study, pool="data"):
    return with_reading(study, lambda session: fills_of(session, study.version.id, pool, 10))


def dump(study):
    with study.database.reading() as session:
        rows = [session.execute(text(f"SELECT * FROM {name}")).all() for name in Base.metadata.tables]
    return repr(rows)


def test_keys_of_another_database_are_refused(tmp_path):
    small_study(tmp_path).database.close()
    (tmp_path / "state" / "keys.json").unlink()
    with pytest.raises(InputError, match="has the keys of another database"):
        small_study(tmp_path)


@pytest.mark.parametrize("content", ["{}", '{"secret": "abc"}', '{"secret": 5}', "nonsense"])
def test_damaged_keys_are_refused(tmp_path, content):
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(InputError, match=r"keys\.json"):
        study_keys(tmp_path)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("mysql://host/name", "found 'mysql'"),
        ("nonsense://", "found 'nonsense'"),
        ("missing/study.db", "the folder missing does not exist"),
        (".", "is a folder"),
        ("postgresql://user:secret@127.0.0.1:1/name", r"user:\*\*\*@127.0.0.1:1/name: cannot be opened"),
    ],
)
def test_a_database_that_cannot_be_opened_is_one_line_without_its_password(tmp_path, monkeypatch, place, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        open_database(place)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "study.db").write_text("not a database" * 100)
    with pytest.raises(InputError, match="file is not a database"):
        open_database(str(tmp_path / "study.db"))


def test_the_database_of_another_program_is_left_alone(tmp_path, database):
    from sqlalchemy import create_engine

    url = database.replace("postgresql://", "postgresql+psycopg://") if "://" in database else f"sqlite:///{database}"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE customers (id INTEGER)"))
    with pytest.raises(InputError, match=r"has other tables \('customers'\)"):
        open_database(database)
    assert inspect(engine).get_table_names() == ["customers"]
    engine.dispose()


def test_prolific_ids_are_made_of_hexadecimal_digits():
    assert all(re.fullmatch("[0-9a-f]{24}", each) for each in prolific_ids().values())
