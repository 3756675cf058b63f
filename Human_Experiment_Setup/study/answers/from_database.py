"""The answers of a study, from its database, as rows of a table; `columns` says what they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from Human_Experiment_Setup.study.database.schema import DATA, Picture, SavedAnswer, Slot, StudySession, Tombstone
from Human_Experiment_Setup.study.flags import Given, flags_of
from Human_Experiment_Setup.study.keys import StudyKeys
from Human_Experiment_Setup.study.trials.kinds import trial_kind
from Human_Experiment_Setup.study.versions import Versions

PILOT, SIMULATED = "pilot", "simulated"
POOLS = (DATA, PILOT, SIMULATED)
"""Pools that can be exported: previews never are."""
MAIN, EXPERIMENT = "main", "experiment"
INCOMPLETE, RETURNED = "incomplete", "returned"
_ANSWER_SIGNALS = ("pasted", "left", "left_ms", "inputs", "keys", "synthetic")
_SESSION_FLAGS = (
    "minutes", "check_attempts", "missed_catch", "program_answers", "pasted", "without_typing", "cannot_tell_share",
)  # fmt: skip


@dataclass(frozen=True)
class ExportOptions:
    """Which answers, and how participants are named.

    Attributes:
        pool: data, pilot or simulated.
        all_trials: also practice, catch trials and traps.
        identities: ids from outside in place of pseudonyms.
        targets: path of a picture → the concept that it was attacked towards.
    """

    pool: str = DATA
    all_trials: bool = False
    identities: bool = False
    targets: Mapping[str, str] | None = None


def answer_rows(
    session: Session, versions: Versions, keys: StudyKeys, options: ExportOptions = ExportOptions()
) -> Iterator[dict[str, Any]]:
    """The answers of a pool, in the order of sessions and trials. Whoever has withdrawn is left out, also of a database
    that was restored from a backup and not yet served again.
    """  # fmt: skip
    batches = dict(session.execute(select(Slot.id, Slot.number)).all())
    found = session.execute(
        select(SavedAnswer, StudySession, Picture)
        .join(StudySession, StudySession.id == SavedAnswer.session_id)
        .outerjoin(Picture, Picture.id == SavedAnswer.picture_id)
        .where(StudySession.pool == options.pool, StudySession.state != "withdrawn")
        .order_by(StudySession.created_ms, StudySession.id, SavedAnswer.trial)
    )  # fmt: skip
    gone = _withdrawn(session, keys)
    for _, answers in groupby(found, key=lambda row: row[1].id):
        rows = [(answer, of, picture) for answer, of, picture in answers]
        of = rows[0][1]
        if keys.tombstone(of.participant or "") in gone:
            continue
        about = _about_session(of, versions.get(session, of.version_id).protocol, rows) | {
            "batch": batches.get(of.slot_id or 0), "version": versions.get(session, of.version_id).number,
            "participant": of.participant if options.identities else keys.pseudonym(of.participant or ""),
        }  # fmt: skip
        for answer, _, picture in rows:
            if options.all_trials or answer.role == MAIN:
                yield about | _about_answer(answer) | _about_picture(picture, options.targets)


def _withdrawn(session: Session, keys: StudyKeys) -> set[str]:
    return set(session.scalars(select(Tombstone.digest))) | keys.withdrawn()


def _about_session(of: StudySession, protocol: Any, rows: Sequence[tuple[SavedAnswer, StudySession, Picture]]) -> dict[str, Any]:  # fmt: skip
    """Who it is, what excludes them, and the session's flags."""
    minutes = None if of.completed_ms is None else (of.completed_ms - of.created_ms) / 60_000
    given = [
        Given(a.role, a.kind, a.shown, a.answer, a.signals, picture.concept if picture else None, of.timeline[a.trial]["trap"])
        for a, _, picture in rows
    ]  # fmt: skip
    flags = flags_of(protocol, given, of.check_attempts, minutes).as_dict()
    reasons = list(of.excluded_by or [])
    reasons += [INCOMPLETE] if of.state != "complete" else [RETURNED] if of.released else []
    reasons += [PILOT] if of.pool == PILOT else []
    return {
        "excluded": bool(reasons), "excluded_by": " ".join(reasons), "simulated": of.origin == SIMULATED, "origin": of.origin,
        **{f"session_{name}": flags[name] for name in _SESSION_FLAGS},
    }  # fmt: skip


def _about_answer(answer: SavedAnswer) -> dict[str, Any]:
    return {
        "trial_category": EXPERIMENT if answer.role == MAIN else answer.role, "trial": answer.trial, "trial_kind": answer.kind,
        "shown": answer.shown, "rt_ms": answer.rt_ms, "answered_at": as_time(answer.received_ms),
        **{name: answer.signals.get(name, 0) for name in _ANSWER_SIGNALS}, **columns_of(answer),
    }  # fmt: skip


def _about_picture(picture: Picture | None, targets: Mapping[str, str] | None) -> dict[str, Any]:
    if picture is None:
        return {}
    return {
        "image_filename": picture.path, "image_basename": PurePosixPath(picture.path).name, "level": picture.level,
        "ground_truth": picture.concept, "level_kind": picture.kind, "image_sha256": picture.sha256,
        "clean_image": None if picture.clean_image == picture.path else picture.clean_image,
        **({} if targets is None else {"attack_target": targets.get(picture.path)}),
    }  # fmt: skip


def columns_of(answer: SavedAnswer) -> Mapping[str, Any]:
    """An answer as columns of an export."""
    kind = trial_kind(answer.kind)
    return kind.columns(kind.answer.model_construct(**answer.answer)) if answer.shown else {}


def answers_in_pools(session: Session) -> Counter[str]:
    """Answers to main trials in each pool."""
    found = session.execute(
        select(StudySession.pool, func.count()).join(SavedAnswer, SavedAnswer.session_id == StudySession.id)
        .where(SavedAnswer.role == MAIN).group_by(StudySession.pool)
    )  # fmt: skip
    return Counter(dict(found.all()))


def as_time(ms: int) -> str:
    """A time as text.

    >>> as_time(1_764_524_355_123)
    '2025-11-30T17:39:15.123+00:00'
    """
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
