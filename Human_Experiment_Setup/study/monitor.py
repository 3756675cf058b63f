"""How a study is doing: ratings in each cell, where participants are, what excluded them, and their flags."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from Human_Experiment_Setup.study.answering import session_flags
from Human_Experiment_Setup.study.answers.from_database import columns_of
from Human_Experiment_Setup.study.database.schema import DATA, Picture, SavedAnswer, StudySession
from Human_Experiment_Setup.study.flags import Flags
from Human_Experiment_Setup.study.keys import StudyKeys
from Human_Experiment_Setup.study.places import fills_of
from Human_Experiment_Setup.study.versions import LiveVersion, Versions


@dataclass(frozen=True)
class Cell:
    """Ratings of a concept at a level, of complete sessions that are not excluded."""

    concept: str
    level: int
    ratings: int
    wanted: int

    @property
    def share(self) -> float:
        return min(self.ratings / self.wanted, 1.0)


@dataclass(frozen=True)
class Flow:
    """Sessions of a pool, from consent to the data, and why not all are in it."""

    consented: int
    withdrawn: int
    active: int
    dropped: int
    complete: int
    excluded: Mapping[str, int]
    kept: int
    places: int
    filled: int


@dataclass(frozen=True)
class Row:
    """A session as the admin page lists it."""

    pseudonym: str
    origin: str
    version: int
    state: str
    answers: int
    trials: int
    flags: Flags
    excluded_by: list[str]
    words: list[str]


def progress_of(session: Session, version: LiveVersion, pool: str = DATA) -> list[Cell]:
    """Progress per cell of a version."""
    rated = session.execute(
        select(Picture.concept, Picture.level, StudySession.excluded_by, func.count())
        .join(SavedAnswer, SavedAnswer.picture_id == Picture.id)
        .join(StudySession, StudySession.id == SavedAnswer.session_id)
        .where(
            Picture.version_id == version.id, SavedAnswer.role == "main", SavedAnswer.shown,
            StudySession.pool == pool, StudySession.state == "complete",
        )
        .group_by(Picture.concept, Picture.level, StudySession.id)
    )  # fmt: skip
    counts: Counter[tuple[str, int]] = Counter()
    for concept, level, excluded, count in rated:
        counts[concept, level] += 0 if excluded else count
    pictures = Counter((each.concept, each.level) for each in version.stimuli.values())
    wanted = version.protocol.ratings_per_image
    return [Cell(*cell, counts[cell], number * wanted) for cell, number in pictures.items()]


def flow_of(session: Session, version: LiveVersion, now_ms: int, pool: str = DATA) -> Flow:
    """The flow of a version's sessions."""
    found = session.scalars(
        select(StudySession).where(StudySession.version_id == version.id, StudySession.pool == pool)
    ).all()
    states = Counter(each.state for each in found)
    live = sum(each.state == "active" and each.lease_until_ms > now_ms and not each.released for each in found)
    excluded: Counter[str] = Counter(reason for each in found for reason in (each.excluded_by or [])[:1])
    fills = fills_of(session, version.id, pool, now_ms)
    return Flow(
        len(found), states["withdrawn"], live, states["active"] - live, states["complete"], dict(excluded),
        states["complete"] - sum(excluded.values()), len(fills), sum(fill.complete > 0 for fill in fills),
    )  # fmt: skip


def sessions_of(session: Session, versions: Versions, keys: StudyKeys, limit: int) -> list[Row]:
    """The sessions that were seen last, of every version and pool; withdrawn ones are not there."""
    found = session.scalars(
        select(StudySession).where(StudySession.state != "withdrawn").order_by(StudySession.seen_ms.desc()).limit(limit)
    ).all()
    rows = []
    for each in found:
        version = versions.get(session, each.version_id)
        given = session.scalars(
            select(SavedAnswer).where(SavedAnswer.session_id == each.id).order_by(SavedAnswer.trial.desc())
        ).all()
        words = [str(shown_answer(answer)) for answer in given[:3]]
        rows.append(
            Row(
                keys.pseudonym(each.participant or ""), each.origin, version.number, each.state, len(given),
                len(each.timeline), session_flags(session, version, each), list(each.excluded_by or []), words,
            )
        )  # fmt: skip
    return rows


def shown_answer(answer: SavedAnswer) -> object:
    """An answer in a few words."""
    if not answer.shown:
        return "(picture not shown)"
    if answer.answer.get("cannot_tell"):
        return "(can't tell)"
    return columns_of(answer).get("response") or json.dumps(answer.answer, ensure_ascii=False)
