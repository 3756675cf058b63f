"""How far the places of a study are filled, counted in the database."""

from __future__ import annotations

from sqlalchemy import bindparam, case, func, select
from sqlalchemy.orm import Session

from Human_Experiment_Setup.study.assignment import Fill
from Human_Experiment_Setup.study.database.schema import Slot, StudySession

_IS_LIVE = (StudySession.state == "active") & (StudySession.lease_until_ms > bindparam("now")) & ~StudySession.released
_FILLS = (
    select(
        Slot.id, func.coalesce(func.sum(case((StudySession.fills, 1), else_=0)), 0),
        func.coalesce(func.sum(case((_IS_LIVE, 1), else_=0)), 0), func.coalesce(func.max(StudySession.seen_ms), 0),
    )
    .outerjoin(StudySession, (StudySession.slot_id == Slot.id) & (StudySession.pool == bindparam("pool")))
    .where(Slot.version_id == bindparam("version")).group_by(Slot.id).order_by(Slot.id)
)  # fmt: skip


def fills_of(session: Session, version_id: int, pool: str, now_ms: int) -> list[Fill]:
    """How far each place of a version is filled by a pool."""
    found = session.connection().execute(_FILLS, {"version": version_id, "pool": pool, "now": now_ms})
    return [Fill(slot, int(complete), int(live), int(seen)) for slot, complete, live, seen in found.all()]


_OPEN = (
    select(Slot.id)
    .where(Slot.version_id == bindparam("version"))
    .where(~select(StudySession.id).where(StudySession.slot_id == Slot.id, StudySession.pool == bindparam("pool"), StudySession.fills).exists())
    .limit(1)
)  # fmt: skip


def has_open_place(session: Session, version_id: int, pool: str) -> bool:
    """Whether a place of a version is not complete yet."""
    return session.connection().scalar(_OPEN, {"version": version_id, "pool": pool}) is not None
