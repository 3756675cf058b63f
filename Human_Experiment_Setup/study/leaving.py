"""How participants leave a study: Prolific's statuses, withdrawal, and tombstones after a restore; as `operations`."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from Human_Experiment_Setup.study.database.schema import Event, SavedAnswer, StudySession, Submission, Tombstone
from Human_Experiment_Setup.study.keys import StudyKeys
from Human_Experiment_Setup.study.operations import note

RELEASING = ("RETURNED", "TIMED-OUT")
"""Prolific's statuses after which a place is open again."""


def set_status(session: Session, submission_id: str, status: str, now_ms: int) -> bool:
    """Note Prolific's status of a submission; whether it was news. RETURNED and TIMED-OUT open the place again, once."""
    known = session.scalar(select(Submission).where(Submission.submission_id == submission_id))
    if known is None or known.status == status:
        return False
    known.status, known.status_ms = status, now_ms
    found = session.get_one(StudySession, known.session_id)
    note(session, found, "status", {"status": status}, now_ms)
    session.flush()
    statuses = session.scalars(select(Submission.status).where(Submission.session_id == found.id)).all()
    gone = ("RETURNED",) if found.state == "complete" else RELEASING
    found.released = all(each in gone for each in statuses)
    if found.released:
        found.fills = False
    return True


def withdraw(session: Session, keys: StudyKeys, participant: str, now_ms: int) -> int:
    """Delete all answers and signals of a participant and leave a tombstone; the number of sessions."""
    tombstone = keys.tombstone(participant)
    keys.bury(tombstone)
    if session.get(Tombstone, tombstone) is None:
        session.add(Tombstone(digest=tombstone, at_ms=now_ms))
    found = session.scalars(select(StudySession).where(StudySession.participant == participant).with_for_update()).all()
    for each in found:
        each.state, each.participant, each.slot_id, each.fills = "withdrawn", None, None, False
        each.timeline, each.excluded_by, each.check_attempts = [], None, 0
        session.flush()  # triggers let rows of withdrawn sessions go, and no others
        for table in (SavedAnswer, Event, Submission):
            session.execute(delete(table).where(table.session_id == each.id))
    return len(found)


def apply_tombstones(session: Session, keys: StudyKeys, now_ms: int) -> int:
    """Withdraw again whom a restored backup brought back; the number of sessions."""
    in_database = set(session.scalars(select(Tombstone.digest)))
    for digest in in_database - keys.withdrawn():
        keys.bury(digest)
    buried = in_database | keys.withdrawn()
    for digest in buried - in_database:
        session.add(Tombstone(digest=digest, at_ms=now_ms))
    session.flush()
    there = session.scalars(select(StudySession.participant).where(StudySession.participant.is_not(None))).all()
    return sum(
        withdraw(session, keys, participant, now_ms)
        for participant in there
        if participant and keys.tombstone(participant) in buried
    )
