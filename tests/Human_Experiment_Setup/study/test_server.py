"""Guards the server without a browser: arrivals, answers, the completion code, withdrawal, and what strangers try."""

import re
import socket

import pytest
from sqlalchemy import func, select

from Human_Experiment_Setup.study.database.schema import SavedAnswer, StudySession, Tombstone
from Human_Experiment_Setup.study.server.headers import HEADERS
from Human_Experiment_Setup.study.server.limits import LARGEST_BODY, Rate
from Human_Experiment_Setup.study.server.running import listening
from tests.Human_Experiment_Setup.study.small_study import (
    CHECK,
    CODE,
    TRAP,
    Participant,
    client_of,
    prolific_ids,
    small_study,
    write_stimuli,
)  # fmt: skip


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory):
    return write_stimuli(tmp_path_factory.mktemp("stimuli"))


@pytest.fixture
def study(tmp_path, stimuli):
    found = small_study(tmp_path, stimuli=stimuli)
    yield found
    found.database.close()


@pytest.fixture
def client(study):
    return client_of(study)


@pytest.fixture(scope="module")
def empty(tmp_path_factory, stimuli):
    """A study to which nothing may be written."""
    found = small_study(tmp_path_factory.mktemp("empty"), stimuli=stimuli)
    yield found
    found.database.close()


@pytest.fixture(scope="module")
def visitor(tmp_path_factory, stimuli):
    """A participant who only asks for files."""
    found = small_study(tmp_path_factory.mktemp("visited"), stimuli=stimuli)
    yield Participant(client_of(found))
    found.database.close()


def count(study, table):
    with study.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table))


# Arriving -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids",
    [
        {},
        {"PROLIFIC_PID": "{{%PROLIFIC_PID%}}", "STUDY_ID": "{{%STUDY_ID%}}", "SESSION_ID": "{{%SESSION_ID%}}"},
        {"PROLIFIC_PID": "a" * 23}, {"PROLIFIC_PID": "a" * 25}, {"PROLIFIC_PID": "A" * 24}, {"PROLIFIC_PID": ""},
        {"SESSION_ID": "'; DROP TABLE sessions; --"}, {"STUDY_ID": "<script>alert(1)</script>"},
        {"PROLIFIC_PID": "a" * 24 + "\n"}, {"PROLIFIC_PID": "\0" * 24}, {"PROLIFIC_PID": "١" * 24},
    ],
)  # fmt: skip
def test_malformed_ids_get_a_friendly_page_and_write_nothing(empty, ids):
    found = client_of(empty).get("/", params=prolific_ids() | ids if ids else {})
    assert found.status_code == 400
    assert "This link is not complete" in found.text
    assert "script>alert" not in found.text
    assert "set-cookie" not in found.headers
    assert count(empty, StudySession) == 0


def test_looking_at_the_information_page_writes_nothing(study, client):
    found = client.get("/", params=prolific_ids())
    assert "Information." in found.text
    assert "set-cookie" not in found.headers
    assert count(study, StudySession) == 0


def test_without_consent_nobody_starts(study, client):
    me = Participant(client, consents=0)
    assert me.welcome.status_code == 422
    assert "Please tick every statement" in me.welcome.text
    assert count(study, StudySession) == 0


@pytest.mark.parametrize("token", ["", "x.y", "YWJj.0000", "a" * 5000])
def test_a_forged_arrival_is_refused(study, client, token):
    assert client.post("/consent", data={"arrival": token, "agree": ["1"]}).status_code == 400
    assert count(study, StudySession) == 0


def test_the_same_link_resumes_at_the_same_trial(client):
    me = Participant(client)
    me.answer()
    again = Participant(client, me.ids)
    assert again.welcome.headers["location"] == "/study"
    assert (again.get().json()["trial"], again.get().json()["total"]) == (1, 3)


@pytest.mark.parametrize(("state", "said"), [("paused", "The study is paused"), ("closed", "The study is closed")])
def test_recruiting_can_be_paused_and_closed_and_who_has_begun_finishes(study, client, state, said):
    me = Participant(client)
    with study.database.writing() as session:
        from Human_Experiment_Setup.study.database.schema import Study

        session.get_one(Study, 1).state = state
    assert said in Participant(client).welcome.text
    assert me.finish()["state"] == "complete"


def test_when_all_places_are_complete_newcomers_are_told(tmp_path, stimuli):
    study = small_study(tmp_path, stimuli=stimuli, ratings_per_image=1, trials_per_participant=8)
    client = client_of(study)
    for _ in range(2):
        Participant(client).finish()
    assert "All places are taken" in Participant(client).welcome.text
    study.database.close()


def test_lab_participants_type_their_code(tmp_path, stimuli):
    study = small_study(tmp_path, stimuli=stimuli, completion={"path": "lab"})
    client = client_of(study)
    assert "Your participant code" in client.get("/").text
    for code in ("a b", "<b>", "P/7"):
        found = client.get("/", params={"participant": code})
        assert (found.status_code, "This is not a participant code" in found.text) == (400, True)
        assert "This link is not complete" not in found.text
    me = Participant(client, {"participant": "P-07"})
    me.finish()
    assert "tell the experimenter" in me.get("/done").text
    with study.database.reading() as session:
        assert session.scalars(select(StudySession.origin)).all() == ["lab"]
    study.database.close()


# Answering ------------------------------------------------------------------------------------------------------------


def test_no_response_holds_the_code_before_the_last_answer_is_saved(study, client):
    me = Participant(client)
    seen = [me.welcome]
    for trial in range(3):
        seen += [me.get("/study"), me.get(), me.get("/done"), me.get("/finish"), me.answer(trial)]
        if trial == 0:
            seen.append(me.answer(2))  # out of order
    assert not any(CODE in each.text or CODE in str(each.headers) for each in seen)
    assert CODE in me.get("/done").text
    assert me.get("/finish").headers["location"] == f"https://app.prolific.com/submissions/complete?cc={CODE}"


def test_what_the_script_is_told_has_neither_concept_level_nor_role(tmp_path, stimuli):
    study = small_study(
        tmp_path, stimuli=stimuli, practice=1, traps=[TRAP], catch={"trials": 1, "accepted": {"fire": ["fire"]}}
    )
    me = Participant(client_of(study))
    told = str([me.get("/study").text.split("</main>")[1], me.get().json()])
    assert not re.search(r"fire|puppies|level|catch|trap|\b56\b", told)
    assert re.fullmatch(r"/pictures/[\w-]{16}", me.get().json()["picture"])
    study.database.close()


def test_a_lost_response_retried_gives_one_row(study, client):
    me = Participant(client)
    first, again = (me.answer(0, words=words) for words in (("a", "b"), ("c", "d")))
    assert (first.json()["again"], again.json()["again"]) == (False, True)
    assert again.json()["trial"] == 1
    with study.database.reading() as session:
        assert [each.answer["words"] for each in session.scalars(select(SavedAnswer))] == [["a", "b"]]


@pytest.mark.parametrize(
    "body",
    [
        {"answer": {"words": ["a"], "cannot_tell": False}},  # one word of two
        {"answer": {"words": ["a", "b"], "cannot_tell": True}},
        {"answer": {"words": ["a" * 41, "b"], "cannot_tell": False}},
        {"answer": {"words": ["a", 5], "cannot_tell": False}},
        {"answer": {"words": ["a", "b"], "extra": 1}},
        {"answer": {}},
        {"trial": -1}, {"trial": "0"}, {"signals": {"pasted": -1}}, {"signals": {"key_gaps_ms": [1] * 100}},
        {"tab": "<b>"}, {"extra": 1}, {"shown": "no"},
    ],
)  # fmt: skip
def test_answers_that_do_not_fit_are_refused_and_not_saved(study, client, body):
    me = Participant(client)
    good = {"trial": 0, "answer": {"words": ["a", "b"], "cannot_tell": False}}
    assert me.post(**(good | body)).status_code == 422
    assert count(study, SavedAnswer) == 0
    assert me.post(**good).status_code == 200


def test_words_are_kept_as_typed_but_for_what_nobody_types(study, client):
    me = Participant(client)
    text = r'{"trial": 0, "answer": {"words": ["  Été\u0000\ud800 ", "=1+1<b>"]}}'
    me.send(text)
    with study.database.reading() as session:
        assert session.scalars(select(SavedAnswer)).one().answer["words"] == ["Été \ufffd", "=1+1<b>"]


def test_a_picture_that_was_not_shown_is_no_answer(study, client):
    me = Participant(client)
    assert me.post(trial=0, answer={}, shown=False).status_code == 200
    with study.database.reading() as session:
        assert session.scalars(select(SavedAnswer.shown)).all() == [False]


def test_trials_wait_for_the_instruction_checks(tmp_path, stimuli):
    study = small_study(tmp_path, stimuli=stimuli, checks=[CHECK], exclusions={"check_attempts": 1})
    me = Participant(client_of(study))
    assert me.get().json()["state"] == "checks"
    assert me.answer(0).status_code == 409
    assert me.post("/api/checks", answers=["One"]).json() == {"state": "checks", "attempts": 1, "total": 3}
    assert me.post("/api/checks", answers=["Two"]).json()["state"] == "trial"
    me.finish()
    with study.database.reading() as session:
        assert session.scalars(select(StudySession)).one().excluded_by == ["check_attempts"]
    assert CODE in me.get("/done").text  # paid all the same
    study.database.close()


def test_a_second_tab_goes_on_after_the_first_and_is_noted(study, client):
    from Human_Experiment_Setup.study.database.schema import Event

    me = Participant(client)
    me.answer(0, tab="one")
    assert me.answer(0, tab="two").json()["trial"] == 1
    me.answer(1, tab="two")
    with study.database.reading() as session:
        assert "second_tab" in session.scalars(select(Event.what)).all()


@pytest.mark.parametrize("mark", ["pilot", "simulated"])
def test_a_marked_server_marks_every_session(tmp_path, stimuli, mark):
    study = small_study(tmp_path, stimuli=stimuli, mark=mark)
    me = Participant(client_of(study))
    me.finish()
    with study.database.reading() as session:
        found = session.scalars(select(StudySession)).one()
        assert (found.origin, found.pool) == (mark, mark)
    assert (CODE in me.get("/done").text) == (mark == "pilot")
    study.database.close()


def test_a_preview_shows_the_study_and_never_the_code(study, client):
    welcome = client.get("/preview").text
    assert "nothing here counts as data" in welcome
    token = welcome.split('name="arrival" value="')[1].split('"')[0]
    me = Participant.__new__(Participant)
    client.post("/consent", data={"arrival": token, "agree": ["1"]})
    me.client, me.cookies = client, dict(client.cookies)
    me.finish()
    assert CODE not in me.get("/done").text + str(me.get("/finish").headers)


def test_an_edited_protocol_starts_a_version_and_both_stay(tmp_path, stimuli):
    first = small_study(tmp_path, stimuli=stimuli)
    old = Participant(client_of(first))
    old.answer(0)
    first.database.close()
    second = small_study(tmp_path, stimuli=stimuli, trials_per_participant=2)
    client = client_of(second)
    new = Participant(client)
    again = Participant(client, old.ids)
    assert [each.get().json()["total"] for each in (new, again)] == [2, 3]
    assert again.client.get(again.get().json()["picture"]).status_code == 200
    assert (second.version.number, again.finish()["state"]) == (2, "complete")
    second.database.close()
    unchanged = small_study(tmp_path, stimuli=stimuli, trials_per_participant=2)
    assert unchanged.version.number == 2
    unchanged.database.close()


# Leaving --------------------------------------------------------------------------------------------------------------


def test_withdrawal_deletes_answers_for_good(study, client):
    me = Participant(client)
    me.answer(0)
    form = me.get("/withdraw").text
    token = form.split('name="token" value="')[1].split('"')[0]
    assert client.post("/withdraw", data={"token": "forged"}).status_code == 401
    assert "You have withdrawn" in client.post("/withdraw", data={"token": token}).text
    assert (count(study, SavedAnswer), count(study, Tombstone)) == (0, 1)
    assert "You have withdrawn" in Participant(client, me.ids).welcome.text
    assert me.answer(1).json() == {"error": "withdrawn"}


# Strangers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cookie", ["", "abc", "YWJj.0000", "YWJj." + "0" * 40, "é"])
def test_a_forged_session_gets_nothing(client, cookie):
    headers = {"X-Study-Script": "1", "Cookie": f"study_session={cookie}".encode()}
    assert client.get("/api/next", headers=headers).json() == {"error": "no_session"}
    assert client.get("/study", headers=headers).status_code == 401
    assert client.get("/done", headers=headers).status_code == 401


def test_a_session_signed_with_another_key_gets_nothing(study, client):
    from Human_Experiment_Setup.study.keys import StudyKeys

    me = Participant(client)
    (text,) = [study.keys.verified("session", value) for value in me.cookies.values()]
    me.cookies = {"study_session": StudyKeys(b"x" * 32).signed("session", text)}
    assert me.get().status_code == 401
    me.cookies = {"study_session": study.keys.signed("arrival", text)}  # ours, for another purpose
    assert me.get().status_code == 401


def test_other_sites_cannot_send_answers(study, client):
    me = Participant(client)
    client.cookies.update(me.cookies)
    body = {"trial": 0, "answer": {"words": ["a", "b"], "cannot_tell": False}}
    assert client.post("/api/answers", json=body).status_code == 401
    assert client.post("/api/answers", data=body).status_code == 401
    assert count(study, SavedAnswer) == 0


@pytest.mark.parametrize(
    "path",
    [
        "/pictures/../study.db", "/pictures/..%2f..%2fstudy.db", "/pictures/%2fetc%2fpasswd", "/static/x/../../app.py",
        "/static/x/..%2f..%2fserver/app.py", "/static/x/study.css%00", "/pictures/fire_0_level5.png", "/docs",
        "/openapi.json", "/pictures/' OR 1=1 --", "/.env", "/static//etc/passwd",
    ],
)  # fmt: skip
def test_files_are_found_by_our_names_alone(visitor, path):
    found = visitor.get(path)
    assert found.status_code == 404
    assert "There is no such page" in found.text


def test_pictures_are_for_participants(client):
    me = Participant(client)
    picture = me.get().json()["picture"]
    assert me.get(picture).headers["content-type"] == "image/png"
    client.cookies.clear()
    assert client.get(picture).status_code == 404


def test_bodies_queries_and_rates_have_limits(study):
    client = client_of(study)
    me = Participant(client)
    assert me.post(trial=0, answer={"words": ["a" * LARGEST_BODY]}).status_code == 413
    assert client.get("/", params={"PROLIFIC_PID": "a" * 5000}).status_code == 414
    slow = client_of(study, answers=Rate(burst=2, per_second=0))
    me.client = slow
    assert [me.get().status_code for _ in range(3)] == [200, 200, 429]
    crowded = client_of(study, everything=Rate(burst=2, per_second=0))
    assert [crowded.get("/health").status_code for _ in range(3)] == [200, 200, 429]
    assert count(study, SavedAnswer) == 0


def test_every_answer_has_the_security_headers(client):
    for path in ("/", "/admin", "/preview", "/nothing", "/health", "/api/next"):
        found = client.get(path).headers
        assert all(found[name] == value for name, value in HEADERS.items()), path
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_pages_have_no_script_or_style_of_their_own(client):
    me = Participant(client)
    for text in (client.get("/preview").text, me.get("/study").text):
        assert not re.search(r"<script(?! src=| type=\"application/json\")|<style|style=|\son\w+=|javascript:", text)


def test_cookies_are_kept_from_scripts_and_from_other_sites(study):
    from starlette.testclient import TestClient

    from Human_Experiment_Setup.study.server.app import create_app

    client = TestClient(create_app(study), base_url="https://study.example", follow_redirects=False)
    me = Participant(client)
    cookie = me.welcome.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax", "Secure"} <= set(cookie.split("; "))
    assert me.welcome.headers["strict-transport-security"]


@pytest.mark.parametrize("strips", [True, False])
def test_at_a_sub_path_every_address_is_below_it(tmp_path, stimuli, strips):
    study = small_study(tmp_path, stimuli=stimuli, root_path="/lab/naming")
    client = client_of(study)
    base = "" if strips else "/lab/naming"
    found = client.get(f"{base}/preview")
    assert found.status_code == 200
    addresses = re.findall(r'(?:href|src|action)="([^"]+)"', found.text)
    assert addresses
    assert all(each.startswith("/lab/naming/") for each in addresses)
    style = next(each for each in addresses if each.endswith(".css"))
    assert client.get(style.removeprefix("/lab/naming") if strips else style).status_code == 200
    assert client.get(f"{base}/api/next").json() == {"error": "no_session"}
    study.database.close()


def test_a_database_that_is_busy_is_an_answer_to_try_again(study, client, monkeypatch):
    from sqlalchemy.exc import OperationalError

    from Human_Experiment_Setup.study.server import api

    me = Participant(client)
    with monkeypatch.context() as broken:

        def fail(*arguments, **options):
            raise OperationalError("INSERT", {}, Exception("disk I/O error"))

        broken.setattr(api, "save_answer", fail)
        assert me.answer(0).status_code == 503
    assert me.answer(0).status_code == 200


def test_an_error_of_ours_is_a_page_without_details(study, client, monkeypatch):
    from Human_Experiment_Setup.study.server import participant

    monkeypatch.setattr(participant, "prolific_arrival", lambda *_: 1 / 0)
    found = client.get("/")
    assert (found.status_code, "ZeroDivision" in found.text) == (500, False)
    assert "Something went wrong" in found.text


def test_no_address_is_stored(study, client):
    from tests.Human_Experiment_Setup.study.test_both_databases import dump

    me = Participant(client)
    me.finish()
    assert not re.search(r"testclient|127\.0\.0\.1|python-httpx", dump(study))


def test_an_answer_does_not_wait_until_its_first_packet_is_acknowledged():
    with listening("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
