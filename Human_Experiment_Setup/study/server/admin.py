"""The admin page: behind a password, off until one is set."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from Activation_Extraction.base.text import as_csv
from Human_Experiment_Setup.study.answers.columns import answers_frame
from Human_Experiment_Setup.study.answers.from_database import answer_rows
from Human_Experiment_Setup.study.database.schema import DATA, STATES, Study
from Human_Experiment_Setup.study.flags import RULES
from Human_Experiment_Setup.study.leaving import withdraw
from Human_Experiment_Setup.study.monitor import flow_of, progress_of, sessions_of
from Human_Experiment_Setup.study.operations import RefusedError
from Human_Experiment_Setup.study.passwords import is_password
from Human_Experiment_Setup.study.server.context import ADMIN_COOKIE, Form, Served, TheStudy, cookie_options
from Human_Experiment_Setup.study.server.limits import address_of
from Human_Experiment_Setup.study.server.pages import page

router = APIRouter(prefix="/admin")
HOURS = 8
"""How long a login lasts."""
_SHOWN = 100


def password_hash(study: Served) -> str:
    """The hash in the database.

    Raises:
        RefusedError: no password is set, so there is no admin page.
    """
    with study.database.reading() as session:
        kept = session.get_one(Study, 1).password_hash
    if kept is None:
        raise RefusedError("not_found")
    return kept


def login_of(request: Request, study: TheStudy) -> str | None:
    """The login that the browser's cookie proves: until when, and a part of the password's hash; None without one."""
    kept = password_hash(study)
    text = study.keys.verified("admin", request.cookies.get(ADMIN_COOKIE)) or ""
    until, _, rest = text.partition(" ")
    fresh = until.isdecimal() and int(until) > study.now_ms()
    return text if fresh and rest.partition(" ")[0] == study.keys.digest("password", kept)[:16] else None


Login = Annotated[str | None, Depends(login_of)]


async def checked_login(study: TheStudy, login: Login, form: Form) -> None:
    """Refuse a form that a logged-in browser did not get from us.

    Raises:
        RefusedError: another site's, or nobody is logged in.
    """
    given = form.get("csrf", [""])[0]
    if login is None or not secrets.compare_digest(given.encode(), study.keys.digest("csrf", login).encode()):
        raise RefusedError("no_session")


Checked = Annotated[None, Depends(checked_login)]


@router.get("")
def overview(study: TheStudy, login: Login) -> Response:
    if login is None:
        return page(study, "login", wrong=False)
    with study.database.reading() as session:
        state = session.get_one(Study, 1).state
        cells, flow = progress_of(session, study.version), flow_of(session, study.version, study.now_ms())
        rows = sessions_of(session, study.versions, study.keys, _SHOWN)
        others = {
            pool: flow_of(session, study.version, study.now_ms(), pool) for pool in ("pilot", "simulated", "preview")
        }
    ratings = {(cell.concept, cell.level): cell for cell in cells}
    return page(
        study, "admin", state=state, states=STATES, flow=flow, others=others, rows=rows, rules=RULES, pool=DATA,
        concepts=list(dict.fromkeys(cell.concept for cell in cells)), ratings=ratings, version=study.version.number,
        csrf=study.keys.digest("csrf", login),
    )  # fmt: skip


@router.post("/login")
def log_in(request: Request, study: TheStudy, form: Form) -> Response:
    kept = password_hash(study)
    if not request.app.state.logins.take(address_of(request.scope)):
        raise RefusedError("too_many")
    if not is_password(form.get("password", [""])[0], kept):
        return page(study, "login", 401, wrong=True)
    until = study.now_ms() + HOURS * 3_600_000
    text = f"{until} {study.keys.digest('password', kept)[:16]} {secrets.token_hex(8)}"
    response = RedirectResponse(study.url("admin"), 303)
    options = cookie_options(request) | {"samesite": "strict", "max_age": HOURS * 3600}
    response.set_cookie(ADMIN_COOKIE, study.keys.signed("admin", text), **options)
    return response


@router.post("/logout")
def log_out(study: TheStudy, _: Checked) -> Response:
    response = RedirectResponse(study.url("admin"), 303)
    response.delete_cookie(ADMIN_COOKIE, path=study.root_path or "/")
    return response


@router.post("/state")
def set_state(study: TheStudy, form: Form, _: Checked) -> Response:
    state = form.get("state", [""])[0]
    if state in STATES:
        with study.database.writing() as session:
            session.get_one(Study, 1).state = state
    return RedirectResponse(study.url("admin"), 303)


@router.post("/withdraw")
def withdraw_participant(study: TheStudy, form: Form, _: Checked) -> Response:
    if participant := form.get("participant", [""])[0].strip()[:128]:
        with study.database.writing() as session:
            withdraw(session, study.keys, participant, study.now_ms())
    return RedirectResponse(study.url("admin"), 303)


@router.get("/answers.csv")
def download(study: TheStudy, login: Login) -> Response:
    """The answers that `interpscore study export` gives, with pseudonyms, safe to open in a spreadsheet."""
    if login is None:
        raise RefusedError("no_session")
    with study.database.snapshot() as session:
        table = answers_frame(answer_rows(session, study.versions, study.keys))
    headers = {"Content-Disposition": 'attachment; filename="answers.csv"'}
    return Response(as_csv(table, index=False), media_type="text/csv; charset=utf-8", headers=headers)
