"""What happens in a study: participants arrive and pass the checks; `answering` and `leaving` have the rest.

Each function runs within one writing transaction (`Database.writing`) that the caller opens: what it does is complete and
on the disk when the transaction ends, or did not happen. Nothing here knows of HTTP. Times are milliseconds since 1970.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from Activation_Extraction.base.errors import InterpScoreError
from Human_Experiment_Setup.study.assignment import next_place
from Human_Experiment_Setup.study.database.schema import (
    Event,
    SavedAnswer,
    Slot,
    Study,
    StudySession,
    Submission,
    Tombstone,
    pool_of,
)  # fmt: skip
from Human_Experiment_Setup.study.keys import StudyKeys
from Human_Experiment_Setup.study.places import fills_of
from Human_Experiment_Setup.study.protocol import StudyProtocol
from Human_Experiment_Setup.study.versions import LiveVersion

MOST_CHECK_ATTEMPTS = 5
"""After so many attempts at the instruction checks, a participant goes on; the attempts are flagged."""


class RefusedError(InterpScoreError):
    """Why someone cannot take part, or go on: `page` names the page that says so."""

    def __init__(self, page: str) -> None:
        super().__init__(page)
        self.page = page


@dataclass(frozen=True)
class Arrival:
    """Someone at the door, with ids that were checked."""

    participant: str
    origin: str
    study_id: str = ""
    submission_id: str = ""


# Arriving -------------------------------------------------------------------------------------------------------------


def known_session(session: Session, arrival: Arrival, keys: StudyKeys) -> StudySession | None:
    """The session that an arrival belongs to already; None if they are new.

    Raises:
        RefusedError: they have withdrawn, or taken part before and come with another submission.
    """
    if session.get(Tombstone, keys.tombstone(arrival.participant)) is not None:
        raise RefusedError("withdrawn")
    found = session.scalar(
        select(StudySession).where(
            StudySession.origin == arrival.origin, StudySession.participant == arrival.participant
        )
    )
    if found is None or found.state != "complete" or not arrival.submission_id:
        return found
    known = session.scalars(select(Submission.submission_id).where(Submission.session_id == found.id)).all()
    if arrival.submission_id not in known:
        raise RefusedError("twice")
    return found


def arrive(session: Session, version: LiveVersion, arrival: Arrival, keys: StudyKeys, now_ms: int) -> StudySession:
    """Give an arrival a place, after consent; who has one already gets it again.

    Raises:
        RefusedError: recruiting is paused or closed, all places are filled, or as `known_session`.
    """
    study = session.scalars(select(Study).with_for_update()).one()  # arrivals one after the other: counts are exact
    found = known_session(session, arrival, keys)
    if found is not None:
        _note_submission(session, found, arrival, now_ms)
        note(session, found, "resumed", {}, now_ms)
        return found
    if study.state != "open":
        raise RefusedError(study.state)
    pool = pool_of(arrival.origin)
    slot = next_place(fills_of(session, version.id, pool, now_ms))
    if slot is None:
        raise RefusedError("full")
    turn = session.scalar(
        select(func.count()).where(StudySession.slot_id == slot, StudySession.pool == pool).select_from(StudySession)
    )
    new = StudySession(
        id=secrets.token_hex(16), version_id=version.id, slot_id=slot, participant=arrival.participant,
        origin=arrival.origin, pool=pool, state="active", check_attempts=0, checked=not version.protocol.checks,
        timeline=version.timeline(session.get_one(Slot, slot).pictures, turn or 0), created_ms=now_ms, seen_ms=now_ms,
        lease_until_ms=lease(version.protocol, now_ms), completed_ms=None, released=False, excluded_by=None, fills=False,
    )  # fmt: skip
    session.add(new)
    session.flush()
    _note_submission(session, new, arrival, now_ms)
    note(session, new, "consented", {}, now_ms)
    return new


def lease(protocol: StudyProtocol, now_ms: int) -> int:
    return now_ms + protocol.timing.lease_minutes * 60_000


def _note_submission(session: Session, found: StudySession, arrival: Arrival, now_ms: int) -> None:
    if not arrival.submission_id:
        return
    known = session.scalar(select(Submission).where(Submission.submission_id == arrival.submission_id))
    if known is None:
        session.add(
            Submission(
                session_id=found.id, study_id=arrival.study_id, submission_id=arrival.submission_id, status=None,
                created_ms=now_ms, status_ms=None,
            )
        )  # fmt: skip
    elif known.session_id != found.id:
        raise RefusedError("link")  # a submission is one participant's


def note(session: Session, found: StudySession, what: str, detail: dict[str, Any], now_ms: int) -> None:
    """Add an event."""
    session.add(Event(session_id=found.id, what=what, detail=detail, at_ms=now_ms))


# Going on ------------------------------------------------------------------------------------------------------------


_SESSION = select(StudySession).where(StudySession.id == bindparam("id")).with_for_update()
_LAST_ANSWER = (
    select(SavedAnswer.trial, SavedAnswer.tab).where(SavedAnswer.session_id == bindparam("id"))
    .order_by(SavedAnswer.trial.desc()).limit(1)
)  # fmt: skip


def session_of(session: Session, session_id: str) -> StudySession:
    """A session, locked until the transaction ends.

    Raises:
        RefusedError: there is none, or it was withdrawn.
    """
    found = session.scalar(_SESSION, {"id": session_id})
    if found is None:
        raise RefusedError("no_session")
    if found.state == "withdrawn":
        raise RefusedError("withdrawn")
    return found


class Progress(NamedTuple):
    """How far a session is: the index of the next trial, and the tab of the browser that answered the one before."""

    next: int
    tab: str | None


def progress_of(session: Session, found: StudySession) -> Progress:
    """How far a session is. Answers come in order, so the last one tells."""
    last = session.connection().execute(_LAST_ANSWER, {"id": found.id}).first()
    return Progress(0, None) if last is None else Progress(last.trial + 1, last.tab)


def submit_checks(session: Session, version: LiveVersion, found: StudySession, given: list[str], now_ms: int) -> bool:
    """Judge answers to the instruction checks; whether the participant may go on."""
    if found.checked:
        return True
    wrong = [at for at, check in enumerate(version.protocol.checks) if given[at : at + 1] != [check.right]]
    found.check_attempts += 1
    found.checked = not wrong or found.check_attempts >= MOST_CHECK_ATTEMPTS
    found.seen_ms, found.lease_until_ms = now_ms, lease(version.protocol, now_ms)
    note(session, found, "checked", {"wrong": wrong}, now_ms)
    return found.checked
