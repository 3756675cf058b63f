"""How answers are saved, and sessions completed; as `operations`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session

from Activation_Extraction.base.errors import InputError, InterpScoreError, first_line
from Human_Experiment_Setup.study.database.schema import Picture, SavedAnswer, StudySession, Submission
from Human_Experiment_Setup.study.flags import Flags, Given, Signals, excluded_by, flags_of
from Human_Experiment_Setup.study.operations import lease, note, progress_of
from Human_Experiment_Setup.study.protocol import StudyProtocol
from Human_Experiment_Setup.study.trials.kinds import trial_kind
from Human_Experiment_Setup.study.trials.question import QuestionSettings
from Human_Experiment_Setup.study.versions import LiveVersion

_SEEN = (
    update(StudySession).where(StudySession.id == bindparam("of"))
    .values(seen_ms=bindparam("now"), lease_until_ms=bindparam("until"))
)  # fmt: skip
_INSERT = insert(SavedAnswer)


class OutOfOrderError(InterpScoreError):
    """An answer to another trial than the next, which is `expected`."""

    def __init__(self, expected: int) -> None:
        super().__init__(f"expected the answer to trial {expected}")
        self.expected = expected


@dataclass(frozen=True)
class Saved:
    """An answer that is saved: `next` is the trial after all that are; `again` where it was saved before."""

    next: int
    complete: bool
    again: bool


def save_answer(
    session: Session, version: LiveVersion, found: StudySession, trial: int, answer: dict[str, Any], signals: Signals,
    *, shown: bool, tab: str, rt_ms: int, now_ms: int,
) -> Saved:  # fmt: skip
    """Save the answer to the next trial; of a trial that has one, the first stays. The last one completes the session.

    Args:
        shown: False where the picture could not be loaded; the answer is then empty.

    Raises:
        OutOfOrderError: the trial is not the next, or the checks are not passed.
        InputError: the answer does not fit the kind of trial.
    """
    done, tab_before = progress_of(session, found)
    if trial < done:
        return Saved(done, found.state == "complete", again=True)
    if trial > done or not found.checked or found.state != "active":
        raise OutOfOrderError(done)
    asked = found.timeline[trial]
    kept = _checked_answer(version.protocol, asked, answer) if shown or asked["picture"] is None else {}
    connection = session.connection()  # without the unit of work: this runs for every answer of everyone
    if trial and tab_before != tab:
        note(session, found, "second_tab", {"trial": trial}, now_ms)
    row = {
        "session_id": found.id, "trial": trial, "role": asked["role"], "kind": asked["kind"], "picture_id": asked["picture"],
        "shown": shown, "answer": kept, "signals": signals.model_dump(), "tab": tab, "rt_ms": rt_ms, "received_ms": now_ms,
    }  # fmt: skip
    connection.execute(_INSERT, row)
    connection.execute(_SEEN, {"of": found.id, "now": now_ms, "until": lease(version.protocol, now_ms)})
    if trial + 1 == len(found.timeline):
        _complete(session, version, found, now_ms)
    return Saved(trial + 1, found.state == "complete", again=False)


def _checked_answer(protocol: StudyProtocol, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    settings = protocol.settings if asked["trap"] is None else QuestionSettings(question="…")
    try:
        return trial_kind(asked["kind"]).answer.model_validate(answer, context={"settings": settings}).model_dump()
    except ValidationError as error:
        raise InputError(f"answer: {first_line(error)}: {error.errors()[0]['msg']}") from None


def _complete(session: Session, version: LiveVersion, found: StudySession, now_ms: int) -> None:
    found.state, found.completed_ms = "complete", now_ms
    found.excluded_by = excluded_by(version.protocol.exclusions, session_flags(session, version, found))
    statuses = session.scalars(select(Submission.status).where(Submission.session_id == found.id)).all()
    found.released = bool(statuses) and all(status == "RETURNED" for status in statuses)
    found.fills = not found.released and not (found.excluded_by and version.protocol.exclusions.refill)


def session_flags(session: Session, version: LiveVersion, found: StudySession) -> Flags:
    """The flags of a session so far."""
    rows = session.execute(
        select(SavedAnswer, Picture.concept).outerjoin(Picture, Picture.id == SavedAnswer.picture_id)
        .where(SavedAnswer.session_id == found.id).order_by(SavedAnswer.trial)
    ).all()  # fmt: skip
    given = [
        Given(row.role, row.kind, row.shown, row.answer, row.signals, concept, found.timeline[row.trial]["trap"])
        for row, concept in rows
    ]
    minutes = None if found.completed_ms is None else (found.completed_ms - found.created_ms) / 60_000
    return flags_of(version.protocol, given, found.check_attempts, minutes)
