"""Versions of a study: a protocol and its pictures as they were served; an edited protocol, or other pictures, start a new one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from Activation_Extraction.base.errors import InputError
from Human_Experiment_Setup.study.assignment import Trial, timeline
from Human_Experiment_Setup.study.database.schema import Picture, Slot, Study, Version
from Human_Experiment_Setup.study.keys import StudyKeys
from Human_Experiment_Setup.study.plan import plan_of
from Human_Experiment_Setup.study.protocol import StudyProtocol
from Human_Experiment_Setup.study.stimuli_table import Stimulus, fingerprint_of

_TOKEN_BYTES = 12


@dataclass(frozen=True)
class LiveVersion:
    """A version as the server uses it.

    Attributes:
        stimuli: id of the picture → what it is.
        tokens: id of the picture → its name for browsers.
    """

    id: int
    number: int
    protocol: StudyProtocol
    stimuli: Mapping[int, Stimulus]
    tokens: Mapping[int, str]

    def timeline(self, pictures: list[int], turn: int) -> list[dict[str, Any]]:
        """The trials of a participant in a place with these pictures, as the database keeps them."""
        ids = list(self.stimuli)
        rows = {picture: row for row, picture in enumerate(ids)}
        trials = timeline(self.protocol, list(self.stimuli.values()), [rows[picture] for picture in pictures], turn)
        return [self._kept(trial, ids) for trial in trials]

    def _kept(self, trial: Trial, ids: list[int]) -> dict[str, Any]:
        picture = None if trial.picture is None else ids[trial.picture]
        kind = "question" if trial.role == "trap" else self.protocol.kind.name
        return {"role": trial.role, "kind": kind, "picture": picture, "trap": trial.trap}


def open_study(session: Session, keys: StudyKeys, now_ms: int) -> Study:
    """The study of a database, begun if there is none.

    Raises:
        InputError: the keys are another database's.
    """
    study = session.get(Study, 1)
    if study is None:
        study = Study(id=1, state="open", password_hash=None, key_fingerprint=keys.fingerprint, created_ms=now_ms)
        session.add(study)
        session.flush()
    check_keys(study, keys)
    return study


def check_keys(study: Study, keys: StudyKeys) -> None:
    """Refuse the keys of another database.

    Raises:
        InputError: they are.
    """
    if study.key_fingerprint != keys.fingerprint:
        raise InputError(
            f"{keys.folder}: has the keys of another database; expected the state folder that belongs to this one "
            "(restore it together with the database)"
        )


def the_study(session: Session, database: str) -> Study:
    """The study of a database that has one.

    Raises:
        InputError: it has none yet.
    """
    if (study := session.get(Study, 1)) is None:
        raise InputError(f"{database}: no study has been served from it yet; expected the database of a study")
    return study


def open_version(session: Session, protocol: StudyProtocol, stimuli: list[Stimulus], now_ms: int) -> int:
    """The id of the version of this protocol and these pictures: the newest, if it is the same, or a new one.

    Raises:
        InputError: the stimuli are too few for the protocol.
    """
    newest = session.scalar(select(Version).order_by(Version.number.desc()).limit(1))
    pictures = fingerprint_of(stimuli)
    if newest is not None and newest.stimuli == pictures and StudyProtocol.model_validate(newest.protocol) == protocol:
        return newest.id
    plan = plan_of(protocol, stimuli)
    version = Version(
        number=1 if newest is None else newest.number + 1, fingerprint=protocol.fingerprint, protocol=protocol.as_dict(),
        stimuli=pictures, opened_ms=now_ms,
    )  # fmt: skip
    session.add(version)
    session.flush()
    rows = [
        Picture(
            version_id=version.id, token=secrets.token_urlsafe(_TOKEN_BYTES), path=each.image, sha256=each.sha256,
            concept=each.concept, level=each.level, kind=each.kind, clean_image=each.clean_image,
        ) for each in stimuli
    ]  # fmt: skip
    session.add_all(rows)
    session.flush()
    slots = [
        {"version_id": version.id, "number": number, "pictures": [rows[row].id for row in place]}
        for number, place in enumerate(plan.places)
    ]
    session.execute(insert(Slot), slots)
    return version.id


def load_version(session: Session, version_id: int) -> LiveVersion:
    """A version from the database."""
    version = session.get_one(Version, version_id)
    pictures = session.scalars(select(Picture).where(Picture.version_id == version_id).order_by(Picture.id)).all()
    stimuli = {
        each.id: Stimulus(each.path, each.concept, each.level, each.kind, each.clean_image, each.sha256)
        for each in pictures
    }
    return LiveVersion(
        version.id, version.number, StudyProtocol.model_validate(version.protocol), stimuli,
        {each.id: each.token for each in pictures},
    )  # fmt: skip


class Versions:
    """Versions that sessions belong to, each loaded once: they never change."""

    def __init__(self, load: Callable[[Session, int], LiveVersion] = load_version) -> None:
        self._load, self._known = load, dict[int, LiveVersion]()

    def get(self, session: Session, version_id: int) -> LiveVersion:
        if version_id not in self._known:
            self._known[version_id] = self._load(session, version_id)
        return self._known[version_id]
