"""Guards the admin page: off until a password is set, safe to show what anyone typed, and true about the study."""

import io
import re

import pandas as pd
import pytest
from sqlalchemy import select

from Human_Experiment_Setup.study import passwords
from Human_Experiment_Setup.study.database.schema import SavedAnswer, Study
from Human_Experiment_Setup.study.monitor import flow_of, progress_of
from Human_Experiment_Setup.study.server.limits import Rate
from tests.Human_Experiment_Setup.study.small_study import TRAP, Participant, client_of, small_study, write_stimuli

PASSWORD = "correct horse"


@pytest.fixture(scope="module", autouse=True)
def quick_hash():
    """argon2 as cheap as it goes; what it costs is its own business."""
    from argon2 import PasswordHasher

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "PasswordHasher", lambda: PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory):
    return write_stimuli(tmp_path_factory.mktemp("stimuli"))


@pytest.fixture
def study(tmp_path, stimuli):
    found = small_study(tmp_path, stimuli=stimuli, traps=[TRAP], exclusions={"program_answers": 1, "pasted": 1})
    with found.database.writing() as session:
        session.get_one(Study, 1).password_hash = passwords.hashed(PASSWORD)
    yield found
    found.database.close()


def logged_in(study):
    client = client_of(study)
    assert client.post("/admin/login", data={"password": PASSWORD}).headers["location"] == "/admin"
    csrf = re.search(r'name="csrf" value="(\w+)"', client.get("/admin").text)[1]
    return client, csrf


def test_the_page_is_off_until_a_password_is_set(tmp_path, stimuli):
    study = small_study(tmp_path, stimuli=stimuli)
    client = client_of(study)
    for path in ("/admin", "/admin/answers.csv"):
        assert client.get(path).status_code == 404
    assert client.post("/admin/login", data={"password": ""}).status_code == 404
    study.database.close()


@pytest.mark.parametrize("password", ["", "wrong", PASSWORD.upper(), PASSWORD + "\0"])
def test_a_wrong_password_opens_nothing(study, password):
    client = client_of(study)
    found = client.post("/admin/login", data={"password": password})
    assert (found.status_code, "set-cookie" in found.headers) == (401, False)
    assert client.get("/admin/answers.csv").status_code == 401


def test_logins_are_limited(study):
    client = client_of(study, logins=Rate(burst=2, per_second=0))
    tried = [client.post("/admin/login", data={"password": each}).status_code for each in ("a", "b", PASSWORD)]
    assert tried == [401, 401, 429]


@pytest.mark.parametrize("path", ["/admin/state", "/admin/withdraw", "/admin/logout"])
@pytest.mark.parametrize("token", ["", "0" * 64, "é"])
def test_a_form_of_another_site_does_nothing(study, path, token):
    client, _ = logged_in(study)
    found = client.post(path, data={"csrf": token, "state": "closed", "participant": "x"})
    assert found.status_code == 401
    with study.database.reading() as session:
        assert session.get_one(Study, 1).state == "open"


def test_a_login_ends_with_its_time_with_logging_out_and_with_another_password(study):
    client, csrf = logged_in(study)
    with study.database.writing() as session:
        session.get_one(Study, 1).password_hash = passwords.hashed("another one")
    assert "Log in" in client.get("/admin").text
    with study.database.writing() as session:
        session.get_one(Study, 1).password_hash = passwords.hashed(PASSWORD)
    client, csrf = logged_in(study)
    client.post("/admin/logout", data={"csrf": csrf})
    assert "Log in" in client.get("/admin").text
    text = f"{study.now_ms() - 1} {study.keys.digest('password', 'x')[:16]}"
    client.cookies.set("study_admin", study.keys.signed("admin", text))
    assert "Log in" in client.get("/admin").text


def test_recruiting_is_paused_from_the_page(study):
    client, csrf = logged_in(study)
    client.post("/admin/state", data={"csrf": csrf, "state": "paused"})
    assert "The study is paused" in Participant(client_of(study)).welcome.text
    client.post("/admin/state", data={"csrf": csrf, "state": "nonsense"})
    with study.database.reading() as session:
        assert session.get_one(Study, 1).state == "paused"


@pytest.mark.parametrize(
    "typed", ["<script>alert(1)</script>", "\"><img src=x onerror='a()'>", "=cmd|'/C calc'!A0", "\u202egnp"]
)
def test_what_participants_type_is_shown_and_downloaded_as_text(study, typed):
    me = Participant(client_of(study))
    state = me.get().json()
    while state["kind"] == "question":
        state = me.post(trial=state["trial"], answer={"text": typed, "cannot_tell": False}).json()
    me.answer(state["trial"], words=[typed, "b"])
    client, _ = logged_in(study)
    page = client.get("/admin").text
    assert not re.search(r"<script>|<img|\u202e", page)
    table = client.get("/admin/answers.csv")
    assert "attachment" in table.headers["content-disposition"]
    frame = pd.read_csv(io.BytesIO(table.content))
    assert not frame.astype(str).apply(lambda column: column.str.startswith("=")).any().any()
    assert me.ids["PROLIFIC_PID"] not in table.text + page


def test_the_numbers_are_those_of_the_study(study, stimuli):
    client = client_of(study)
    good, program, quitter = (Participant(client) for _ in range(3))
    good.finish()
    quitter.answer(0) if quitter.get().json()["kind"] == "naming" else None
    state = program.get().json()
    while state["state"] == "trial":
        text = {"text": "56", "cannot_tell": False}
        words = {"words": ["fire", "x"], "cannot_tell": False}
        state = program.post(trial=state["trial"], answer=text if state["kind"] == "question" else words).json()
    with study.database.reading() as session:
        flow = flow_of(session, study.version, study.now_ms())
        cells = progress_of(session, study.version)
        later = flow_of(session, study.version, study.now_ms() + 10**8)
    assert (flow.consented, flow.complete, flow.excluded, flow.kept, flow.filled) == (
        3,
        2,
        {"program_answers": 1},
        1,
        1,
    )
    assert (flow.active, flow.dropped, later.active, later.dropped) == (1, 0, 0, 1)
    assert sum(cell.ratings for cell in cells) == 3
    assert {cell.wanted for cell in cells} == {8}
    page = logged_in(study)[0].get("/admin").text
    assert f"1 of {flow.places} places filled" in page
    assert "trap 1" in page


def test_a_participant_is_withdrawn_from_the_page(study):
    me = Participant(client_of(study))
    me.finish()
    client, csrf = logged_in(study)
    client.post("/admin/withdraw", data={"csrf": csrf, "participant": me.ids["PROLIFIC_PID"]})
    with study.database.reading() as session:
        assert session.scalars(select(SavedAnswer)).all() == []
    assert "<b>1</b> withdrawn" in client.get("/admin").text
