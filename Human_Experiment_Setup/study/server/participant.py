"""Pages of participants: information and consent, the study, the end, withdrawal."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from Human_Experiment_Setup.study.database.schema import Study, StudySession, pool_of
from Human_Experiment_Setup.study.leaving import withdraw
from Human_Experiment_Setup.study.operations import (
    Arrival,
    RefusedError,
    arrive,
    known_session,
    session_of,
)  # fmt: skip
from Human_Experiment_Setup.study.places import has_open_place
from Human_Experiment_Setup.study.server.assets import asset_url
from Human_Experiment_Setup.study.server.context import (
    SESSION_COOKIE,
    Form,
    Served,
    SessionId,
    TheStudy,
    cookie_options,
)
from Human_Experiment_Setup.study.server.identities import (
    PARTICIPANT,
    PROLIFIC,
    lab_arrival,
    preview_arrival,
    prolific_arrival,
    signed_arrival,
    verified_arrival,
)  # fmt: skip
from Human_Experiment_Setup.study.server.pages import page, paragraphs
from Human_Experiment_Setup.study.versions import LiveVersion

router = APIRouter()
PROLIFIC_COMPLETE = "https://app.prolific.com/submissions/complete?cc="


@router.get("/")
def welcome(request: Request, study: TheStudy) -> Response:
    """Information and consent; who has a session goes on where they were. Nothing is written."""
    query = request.query_params
    if study.protocol.completion.path == "prolific" or any(name in query for name in PROLIFIC):
        return _at_the_door(request, study, prolific_arrival(query, study.mark))
    if PARTICIPANT not in query:
        return page(study, "lab", field=PARTICIPANT)
    return _at_the_door(request, study, lab_arrival(query[PARTICIPANT].strip(), study.mark))


@router.get("/preview")
def preview(request: Request, study: TheStudy) -> Response:
    """The study for those who make it; nothing of it counts as data."""
    return _at_the_door(request, study, preview_arrival())


def _at_the_door(request: Request, study: Served, arrival: Arrival) -> Response:
    with study.database.reading() as session:
        found = known_session(session, arrival, study.keys)
        if found is None:
            _check_open(session, study, arrival.origin)
    if found is not None:
        return _with_cookie(request, RedirectResponse(study.url(_where(found)), 303), found.id)
    return page(
        study,
        "welcome",
        preview=arrival.origin == "preview",
        arrival=signed_arrival(study.keys, arrival),
        missing=False,
    )


def _check_open(session: Session, study: Served, origin: str) -> None:
    state = session.get_one(Study, 1).state
    if state != "open":
        raise RefusedError(state)
    if not has_open_place(session, study.version.id, pool_of(origin)):
        raise RefusedError("full")


@router.post("/consent")
def consent(request: Request, study: TheStudy, form: Form) -> Response:
    """Give a place to who agreed to every statement."""
    token = form.get("arrival", [""])[0]
    arrival = verified_arrival(study.keys, token)
    if len(set(form.get("agree", []))) < len(study.protocol.consent):
        return page(study, "welcome", 422, preview=arrival.origin == "preview", arrival=token, missing=True)
    with study.database.writing() as session:
        found = arrive(session, study.version, arrival, study.keys, study.now_ms())
    return _with_cookie(request, RedirectResponse(study.url(_where(found)), 303), found.id)


@router.get("/study")
def the_study(study: TheStudy, session_id: SessionId) -> Response:
    """The page that shows instructions and trials; its script asks for them one by one."""
    found, version = _own_session(study, session_id)
    if found.state == "complete":
        return RedirectResponse(study.url("done"), 303)
    protocol = version.protocol
    settings = {
        "root": study.root_path, "wording": protocol.texts, "minimum_ms": protocol.timing.minimum_ms,
        "checks": [{"question": each.question, "options": each.options} for each in protocol.checks],
    }  # fmt: skip
    kinds = dict.fromkeys(["question", protocol.kind.name])
    scripts = [
        "vendor/jspsych.js",
        "signals.js",
        "saving.js",
        "form.js",
        *(f"trials/{kind}.js" for kind in kinds),
        "study.js",
    ]
    return page(
        study, "study", preview=found.origin == "preview", settings=settings,
        scripts=[study.url(asset_url(name)) for name in scripts], instructions=paragraphs(protocol.instructions),
    )  # fmt: skip


@router.get("/done")
def done(study: TheStudy, session_id: SessionId) -> Response:
    """The end, with the completion code: only once every answer is saved."""
    found, version = _own_session(study, session_id)
    if found.state != "complete":
        return RedirectResponse(study.url("study"), 303)
    real = found.origin in ("prolific", "lab", "pilot")
    completion = version.protocol.completion
    return page(
        study, "done", preview=found.origin == "preview", code=completion.code if real else None, real=real,
        link=study.url("finish") if real and completion.path == "prolific" else None, debrief=version.protocol.debrief,
    )  # fmt: skip


@router.get("/finish")
def finish(study: TheStudy, session_id: SessionId) -> Response:
    """Back to Prolific with the code."""
    found, version = _own_session(study, session_id)
    completion = version.protocol.completion
    if found.state != "complete" or completion.path != "prolific" or found.origin in ("preview", "simulated"):
        return RedirectResponse(study.url("study"), 303)
    return RedirectResponse(f"{PROLIFIC_COMPLETE}{completion.code}", 303)


@router.get("/withdraw")
def ask_to_withdraw(study: TheStudy, session_id: SessionId) -> Response:
    _own_session(study, session_id)
    return page(study, "withdraw", token=study.keys.signed("withdraw", session_id))


@router.post("/withdraw")
def withdraw_now(study: TheStudy, session_id: SessionId, form: Form) -> Response:
    if study.keys.verified("withdraw", form.get("token", [""])[0]) != session_id or not session_id:
        raise RefusedError("no_session")
    with study.database.writing() as session:
        participant = session_of(session, session_id).participant
        withdraw(session, study.keys, participant or "", study.now_ms())
    raise RefusedError("withdrawn")


def _own_session(study: Served, session_id: str) -> tuple[StudySession, LiveVersion]:
    """The browser's session and its version."""
    with study.database.reading() as session:
        found = session_of(session, session_id)
        return found, study.versions.get(session, found.version_id)


def _where(found: StudySession) -> str:
    return "done" if found.state == "complete" else "study"


def _with_cookie(request: Request, response: Response, session_id: str) -> Response:
    keys = request.app.state.served.keys
    response.set_cookie(SESSION_COOKIE, keys.signed("session", session_id), **cookie_options(request))
    return response
