"""What to do about each submission, and how many participants are still to be recruited: Prolific's export beside the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from Human_Experiment_Setup.study.database.schema import (
    DATA,
    SavedAnswer,
    StudySession,
    Submission,
    Tombstone,
    Version,
)
from Human_Experiment_Setup.study.keys import StudyKeys
from Human_Experiment_Setup.study.leaving import set_status
from Human_Experiment_Setup.study.places import fills_of
from Human_Experiment_Setup.study.prolific.submissions import (
    ACTIVE,
    APPROVED,
    AWAITING,
    LIVE,
    REJECTED,
    RETURNED,
    STATUSES,
    TIMED_OUT,
    Listed,
)

PAY, PAID, WAIT, CHECK, NOTHING = "pay", "paid", "wait", "check", "nothing"
DECISIONS = {
    PAY: "approve it, or pay in another way",
    CHECK: "look at it yourself",
    WAIT: "still at it",
    PAID: "approved",
    NOTHING: "nothing to do",
}
_ORIGINS = ("prolific", "pilot")


@dataclass(frozen=True)
class Known:
    """A session as reconciling needs it."""

    id: str
    participant: str
    state: str
    answers: int
    trials: int
    excluded_by: str
    is_live: bool
    submissions: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """What to do about a submission; `status` is empty where Prolific's export does not have it."""

    submission: str
    participant: str
    status: str
    state: str
    answers: int
    trials: int
    excluded_by: str
    decision: str
    reason: str


@dataclass(frozen=True)
class Reconciled:
    """The result.

    Attributes:
        lines: for each submission of the export, then for each session of Prolific that the export does not have.
        changed: submissions whose status was news to the database.
        places, filled, coming: of the newest version; `coming` are on the way: active submissions and sessions.
        recruit: participants that are still needed.
        holding: submissions that take one of Prolific's places.
    """

    lines: list[Line]
    changed: int
    places: int
    filled: int
    coming: int
    recruit: int
    holding: int


def reconcile(session: Session, keys: StudyKeys, listed: Sequence[Listed], now_ms: int) -> Reconciled:
    """Note every status in the database, and say what follows. RETURNED and TIMED-OUT open a place once, whatever the
    number of exports.
    """
    changed = sum(set_status(session, each.submission, each.status, now_ms) for each in listed)
    session.flush()
    sessions = _sessions(session, now_ms)
    by_submission = {submission: each for each in sessions for submission in each.submissions}
    by_participant = {each.participant: each for each in sessions}
    gone = set(session.scalars(select(Tombstone.digest))) | keys.withdrawn()
    of_participant: dict[str, list[str]] = {}
    for each in listed:
        of_participant.setdefault(each.participant, []).append(each.status)
    lines, seen = [], set[str]()
    for each in listed:
        known = by_submission.get(each.submission) or by_participant.get(each.participant)
        if known is not None and each.submission in by_submission and known.participant != each.participant:
            decision, reason = CHECK, "another participant's submission in the database"
        elif known is None and keys.tombstone(each.participant) in gone:
            decision, reason = _of_withdrawn(each.status)
        else:
            decision, reason = decide(each.status, known, of_participant[each.participant])
        if known is not None:
            seen.add(known.id)
        lines.append(_line(each, known, decision, reason))
    missing = [each for each in sessions if each.id not in seen]
    lines += [_line(Listed("", each.participant, ""), each, *_of_unlisted(each)) for each in missing]
    return _with_places(session, lines, listed, sessions, missing, changed, now_ms)


def decide(status: str, known: Known | None, statuses: Iterable[str]) -> tuple[str, str]:
    """What to do about a submission, and why.

    Args:
        known: the participant's session, if there is one.
        statuses: of all submissions of this participant.
    """
    count = Counter(statuses)
    live = sum(count[each] for each in LIVE)
    if status not in STATUSES:
        return CHECK, f"a status that is not known here: {status}"
    if live > (1 if status in LIVE else 0) and status not in (ACTIVE, APPROVED):
        if status != AWAITING:
            return NOTHING, "another submission of this participant counts"
        return CHECK, f"{live} submissions of this participant: pay once"
    if known is None:
        nothing = status in (REJECTED, RETURNED, TIMED_OUT)
        if status == ACTIVE:
            return WAIT, "has not agreed to take part yet"
        return (NOTHING, "never took part") if nothing else (CHECK, "no session of this participant")
    if known.state != "complete":
        return _of_incomplete(status, known)
    return _of_complete(status, known)


def _of_complete(status: str, known: Known) -> tuple[str, str]:
    left_out = (
        f"; left out of results ({known.excluded_by}), which is no reason not to pay" if known.excluded_by else ""
    )
    return {
        ACTIVE: (WAIT, "finished here, has not submitted yet"),
        AWAITING: (PAY, f"every answer is here{left_out}"),
        APPROVED: (PAID, f"every answer is here{left_out}"),
        REJECTED: (CHECK, f"rejected, and every answer is here{left_out}"),
        RETURNED: (CHECK, "returned after finishing; the answers are left out of results"),
        TIMED_OUT: (PAY, f"finished after Prolific's time limit: every answer is here{left_out}"),
    }[status]


def _of_incomplete(status: str, known: Known) -> tuple[str, str]:
    has = f"{known.answers} of {known.trials} answers"
    return {
        ACTIVE: (WAIT, has),
        AWAITING: (CHECK, f"submitted with {has}, and was shown no code"),
        APPROVED: (CHECK, f"approved with {has}"),
        REJECTED: (NOTHING, has),
        RETURNED: (NOTHING, f"{has}; the place is open again"),
        TIMED_OUT: (NOTHING, f"{has}; the place is open again"),
    }[status]


def _of_withdrawn(status: str) -> tuple[str, str]:
    if status in (AWAITING, TIMED_OUT):
        return CHECK, "has withdrawn; the answers are deleted"
    return {APPROVED: PAID, ACTIVE: WAIT}.get(status, NOTHING), "has withdrawn; the answers are deleted"


def _of_unlisted(known: Known) -> tuple[str, str]:
    if known.state == "complete":
        return CHECK, "finished, and not in Prolific's export: is it older, or of another study?"
    if known.is_live:
        return WAIT, "not in Prolific's export; still answering"
    return NOTHING, "not in Prolific's export; left before the end"


def _line(listed: Listed, known: Known | None, decision: str, reason: str) -> Line:
    submission = listed.submission or (known.submissions[-1] if known and known.submissions else "")
    if known is None:
        return Line(submission, listed.participant, listed.status, "", 0, 0, "", decision, reason)
    return Line(
        submission, listed.participant, listed.status, known.state, known.answers, known.trials, known.excluded_by,
        decision, reason,
    )  # fmt: skip


def _sessions(session: Session, now_ms: int) -> list[Known]:
    """Sessions that came from Prolific, in the order of their beginning."""
    counts = session.execute(select(SavedAnswer.session_id, func.count()).group_by(SavedAnswer.session_id))
    answers = dict(counts.all())
    submissions: dict[str, list[str]] = {}
    for each in session.scalars(select(Submission).order_by(Submission.id)):
        submissions.setdefault(each.session_id, []).append(each.submission_id)
    found = session.scalars(
        select(StudySession).where(StudySession.origin.in_(_ORIGINS), StudySession.state != "withdrawn")
        .order_by(StudySession.created_ms, StudySession.id)
    ).all()  # fmt: skip
    return [
        Known(
            each.id, each.participant or "", each.state, answers.get(each.id, 0), len(each.timeline),
            " ".join(each.excluded_by or []), each.state == "active" and each.lease_until_ms > now_ms and not each.released,
            tuple(submissions.get(each.id, ())),
        )
        for each in found
    ]  # fmt: skip


def _with_places(
    session: Session, lines: list[Line], listed: Sequence[Listed], sessions: Sequence[Known], missing: Sequence[Known],
    changed: int, now_ms: int,
) -> Reconciled:  # fmt: skip
    newest = session.scalar(select(Version.id).order_by(Version.number.desc()).limit(1)) or 0
    fills = fills_of(session, newest, DATA, now_ms)
    filled = sum(fill.complete > 0 for fill in fills)
    finished = {each.participant for each in sessions if each.state == "complete"}
    coming = {each.participant for each in listed if each.status == ACTIVE} - finished
    coming |= {each.participant for each in missing if each.is_live}
    holding = sum(each.status in LIVE for each in listed)
    holding += sum(each.is_live or each.state == "complete" for each in missing)  # newer than the export
    recruit = max(0, len(fills) - filled - len(coming))
    return Reconciled(lines, changed, len(fills), filled, len(coming), recruit, holding)
