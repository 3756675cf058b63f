"""What the study's script asks for: the next trial, the instruction checks, saving an answer."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from sqlalchemy.orm import Session

from Human_Experiment_Setup.study.answering import save_answer
from Human_Experiment_Setup.study.database.schema import StudySession
from Human_Experiment_Setup.study.flags import Signals
from Human_Experiment_Setup.study.operations import RefusedError, progress_of, session_of, submit_checks
from Human_Experiment_Setup.study.server.context import Served, SessionId, TheStudy
from Human_Experiment_Setup.study.versions import LiveVersion

SCRIPT_HEADER = "x-study-script"
"""Only scripts of our own pages can send it: forms and pages of other sites cannot."""
_AHEAD = 4
"""Trials whose pictures the browser loads ahead."""


async def from_our_script(request: Request, session_id: SessionId) -> None:
    """Refuse requests that another site could cause, and more of them than a person makes."""
    if request.headers.get(SCRIPT_HEADER) != "1":
        raise RefusedError("no_session")
    if session_id and not request.app.state.answers_of_sessions.take(session_id):
        raise RefusedError("too_many")


router = APIRouter(prefix="/api", dependencies=[Depends(from_our_script)])


class GivenChecks(BaseModel):
    """Answers to the instruction checks, in their order."""

    model_config = ConfigDict(extra="forbid")

    answers: Annotated[list[Annotated[StrictStr, Field(max_length=500)]], Field(max_length=10)]


class GivenAnswer(BaseModel):
    """An answer as the browser sends it."""

    model_config = ConfigDict(extra="forbid")

    trial: Annotated[StrictInt, Field(ge=0, le=10_000)]
    answer: dict[str, Any]
    signals: Signals = Field(default_factory=Signals)
    shown: StrictBool = True
    tab: Annotated[StrictStr, Field(max_length=32, pattern=r"^\w*$")] = ""
    rt_ms: Annotated[StrictInt, Field(ge=0, le=2**31 - 1)] = 0


@router.get("/next")
def get_next(study: TheStudy, session_id: SessionId) -> Response:
    """Where the session is."""
    with study.database.reading() as session:
        found = session_of(session, session_id)
        version = study.versions.get(session, found.version_id)
        state = _state(study, version, found, progress_of(session, found).next)
    return JSONResponse(state)


@router.post("/checks")
def post_checks(study: TheStudy, session_id: SessionId, given: GivenChecks) -> Response:
    """Judge the instruction checks; which answers were wrong is not said."""
    with study.database.writing() as session:
        found, version = _found(study, session, session_id)
        submit_checks(session, version, found, given.answers, study.now_ms())
        state = _state(study, version, found, progress_of(session, found).next)
    return JSONResponse(state)


@router.post("/answers")
def post_answer(study: TheStudy, session_id: SessionId, given: GivenAnswer) -> Response:
    """Save an answer; this is only answered once it is on the disk."""
    with study.database.writing() as session:
        found, version = _found(study, session, session_id)
        saved = save_answer(
            session, version, found, given.trial, given.answer, given.signals,
            shown=given.shown, tab=given.tab, rt_ms=given.rt_ms, now_ms=study.now_ms(),
        )  # fmt: skip
        state = _state(study, version, found, saved.next)
    return JSONResponse({"saved": given.trial, "again": saved.again, **state})


def _found(study: Served, session: Session, session_id: str) -> tuple[StudySession, LiveVersion]:
    found = session_of(session, session_id)
    return found, study.versions.get(session, found.version_id)


def _state(study: Served, version: LiveVersion, found: StudySession, trial: int) -> dict[str, Any]:
    """What the script shows next. It holds neither concepts, levels nor roles, and never the completion code."""
    total = len(found.timeline)
    if not found.checked:
        return {"state": "checks", "attempts": found.check_attempts, "total": total}
    if found.state == "complete":
        return {"state": "complete", "total": total}
    asked, protocol = found.timeline[trial], version.protocol
    ahead = [version.tokens[each["picture"]] for each in found.timeline[trial : trial + _AHEAD] if each["picture"]]
    pictures = [study.url(f"pictures/{token}") for token in ahead]
    settings = (
        protocol.settings.model_dump()
        if asked["trap"] is None
        else {"question": protocol.traps[asked["trap"]].question}
    )
    return {
        "state": "trial", "trial": trial, "total": total, "kind": asked["kind"], "settings": settings,
        "picture": pictures[0] if asked["picture"] else None,
        "upcoming": pictures[1 if asked["picture"] else 0 :], "notice": _notice(version, found, trial),
    }  # fmt: skip


def _notice(version: LiveVersion, found: StudySession, trial: int) -> str | None:
    """A page to show before the trial: practice begins, it is over, or a break."""
    practice, every = version.protocol.practice, version.protocol.break_every
    if practice and trial in (0, practice):
        return "practice" if trial == 0 else "practice_done"
    asked = trial - practice
    return "break" if every and asked > 0 and asked % every == 0 else None
