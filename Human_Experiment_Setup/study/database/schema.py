"""The tables of a study's database: SQLite or PostgreSQL. Times are milliseconds since 1970, UTC; lists are JSON.

study        one row: id, state (open, paused, closed: of recruiting), password_hash (of the admin page; argon2),
             key_fingerprint (of the keys in the state folder), created_ms
versions     protocols that have been served: id, number (1, 2, …), fingerprint, protocol (JSON, complete), stimuli (SHA-256
             of what the pictures are), opened_ms
pictures     of a version: id, version_id, token (its name for browsers, which tells nothing), path (relative to the
             stimuli's folder), sha256, concept, level, kind, clean_image (what it was made from, or its own name)
slots        places of a version: id, version_id, number, pictures (JSON, ids; each base picture once)
sessions     one for each participant: id (opaque), version_id, slot_id (null: withdrawn), participant (the id from outside;
             null: withdrawn), origin (prolific, lab, preview, pilot, simulated), pool (data, preview, pilot, simulated: sessions
             of one pool share the slots), state (active, complete, withdrawn), timeline (JSON, the trials in order:
             {role, kind, picture, trap}), check_attempts, checked (instruction checks passed or used up), created_ms,
             seen_ms, lease_until_ms, completed_ms, released (RETURNED or TIMED-OUT: the slot is open again), excluded_by
             (JSON, names of pre-registered rules; null before completion), fills (complete, and counts for its slot)
submissions  of Prolific, one or several for each session: id, session_id, study_id, submission_id (Prolific's SESSION_ID),
             status (as Prolific's export says, null before), created_ms, status_ms
answers      append-only, one for each trial: id, session_id, trial (index in the timeline), role (practice, main, catch, trap),
             kind (of trial), picture_id, shown (false: the picture could not be loaded), answer (JSON, as typed),
             signals (JSON: paste, focus, keys), tab (which tab of the browser), rt_ms (measured by the browser), received_ms
events       append-only: id, session_id, what (consented, resumed, checked, second_tab, status), detail (JSON), at_ms
tombstones   keyed hash of a withdrawn participant's id: digest, at_ms

Only sessions of the pool `data` are data: previews, pilots and simulated participants are never exported as such.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

STATES = ("open", "paused", "closed")
ORIGINS = ("prolific", "lab", "preview", "pilot", "simulated")
DATA = "data"
"""The pool of sessions that are data."""


def pool_of(origin: str) -> str:
    """The pool that sessions of an origin share slots with."""
    return DATA if origin in ("prolific", "lab") else origin


_NAMES = {
    "ix": "ix_%(column_0_label)s", "uq": "uq_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
}  # fmt: skip


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {dict[str, Any]: JSON(none_as_null=True), list[Any]: JSON(none_as_null=True)}  # noqa: RUF012


class Study(Base):
    __tablename__ = "study"

    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str | None] = mapped_column(Text)
    key_fingerprint: Mapped[str] = mapped_column(String(64))
    created_ms: Mapped[int] = mapped_column(BigInteger)


class Version(Base):
    __tablename__ = "versions"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Integer, unique=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    protocol: Mapped[dict[str, Any]]
    stimuli: Mapped[str] = mapped_column(String(64))
    opened_ms: Mapped[int] = mapped_column(BigInteger)


class Picture(Base):
    __tablename__ = "pictures"

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), index=True)
    token: Mapped[str] = mapped_column(String(64), unique=True)
    path: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    concept: Mapped[str] = mapped_column(Text)
    level: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(Text)
    clean_image: Mapped[str] = mapped_column(Text)


class Slot(Base):
    __tablename__ = "slots"

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), index=True)
    number: Mapped[int] = mapped_column(Integer)
    pictures: Mapped[list[Any]]


class StudySession(Base):
    __tablename__ = "sessions"
    __table_args__ = (
        UniqueConstraint("origin", "participant"),
        Index("ix_sessions_pool_slot", "pool", "slot_id"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), index=True)
    slot_id: Mapped[int | None] = mapped_column(ForeignKey("slots.id"))
    participant: Mapped[str | None] = mapped_column(String(128))
    origin: Mapped[str] = mapped_column(String(16))
    pool: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    timeline: Mapped[list[Any]]
    check_attempts: Mapped[int] = mapped_column(Integer)
    checked: Mapped[bool]
    created_ms: Mapped[int] = mapped_column(BigInteger)
    seen_ms: Mapped[int] = mapped_column(BigInteger)
    lease_until_ms: Mapped[int] = mapped_column(BigInteger)
    completed_ms: Mapped[int | None] = mapped_column(BigInteger)
    released: Mapped[bool]
    excluded_by: Mapped[list[Any] | None]
    fills: Mapped[bool]


class Submission(Base):
    __tablename__ = "submissions"

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), index=True)
    study_id: Mapped[str] = mapped_column(String(128))
    submission_id: Mapped[str] = mapped_column(String(128), unique=True)
    status: Mapped[str | None] = mapped_column(String(32))
    created_ms: Mapped[int] = mapped_column(BigInteger)
    status_ms: Mapped[int | None] = mapped_column(BigInteger)


class SavedAnswer(Base):
    __tablename__ = "answers"
    __table_args__ = (UniqueConstraint("session_id", "trial"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"))
    trial: Mapped[int] = mapped_column(Integer)
    role: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(64))
    picture_id: Mapped[int | None] = mapped_column(ForeignKey("pictures.id"))
    shown: Mapped[bool]
    answer: Mapped[dict[str, Any]]
    signals: Mapped[dict[str, Any]]
    tab: Mapped[str] = mapped_column(String(32))
    rt_ms: Mapped[int] = mapped_column(Integer)
    received_ms: Mapped[int] = mapped_column(BigInteger)


class Event(Base):
    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), index=True)
    what: Mapped[str] = mapped_column(String(32))
    detail: Mapped[dict[str, Any]]
    at_ms: Mapped[int] = mapped_column(BigInteger)


class Tombstone(Base):
    __tablename__ = "tombstones"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    at_ms: Mapped[int] = mapped_column(BigInteger)
