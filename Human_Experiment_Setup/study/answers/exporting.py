"""An export of a study's answers: one snapshot of the database, and what is said beside the table."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from Activation_Extraction.base.errors import InputError, did_you_mean
from Activation_Extraction.images.sets import image_set
from Human_Experiment_Setup.study.answers.columns import COLUMNS
from Human_Experiment_Setup.study.answers.from_database import (
    POOLS,
    ExportOptions,
    answer_rows,
    answers_in_pools,
    as_time,
)
from Human_Experiment_Setup.study.database.connection import Database
from Human_Experiment_Setup.study.database.schema import Version
from Human_Experiment_Setup.study.keys import StudyKeys
from Human_Experiment_Setup.study.stimuli_table import stimuli_folder
from Human_Experiment_Setup.study.versions import Versions, check_keys, the_study

FORMAT = "InterpScore answers 1"
TARGET = "attack_target"


@dataclass(frozen=True)
class Exported:
    """An export.

    Attributes:
        rows: of the table.
        about: what the JSON beside the table says.
        others: pool → answers that are not in the table, of the pools that could be exported.
    """

    rows: list[dict[str, Any]]
    about: dict[str, Any]
    others: dict[str, int]


def exported(database: Database, place: str, keys: StudyKeys, options: ExportOptions) -> Exported:
    """The answers of a database as they are now, whatever is written meanwhile.

    Args:
        place: what messages call the database.

    Raises:
        InputError: no study, another's keys, or no answers of this pool.
    """
    with database.snapshot() as session:
        check_keys(the_study(session, place), keys)
        counts = answers_in_pools(session)
        others = {pool: counts[pool] for pool in POOLS if pool != options.pool and counts[pool]}
        rows = list(answer_rows(session, Versions(), keys, options))
        if not rows:
            there = ", ".join(f"{count:,} of {pool} sessions (--sessions {pool})" for pool, count in others.items())
            raise InputError(f"{place}: no answers of {options.pool} sessions; it has {there or 'none at all'}")
        about = _about(session, rows, options)
    return Exported(rows, about, others)


def _about(session: Session, rows: list[dict[str, Any]], options: ExportOptions) -> dict[str, Any]:
    used = {row["version"] for row in rows}
    versions = [
        {"version": each.number, "title": each.protocol["title"], "protocol_sha256": each.fingerprint,
         "stimuli_sha256": each.stimuli, "served_since": as_time(each.opened_ms)}
        for each in session.scalars(select(Version).order_by(Version.number)) if each.number in used
    ]  # fmt: skip
    return {
        "format": FORMAT, "interpscore": version("interpscore"), "sessions": options.pool,
        "participants": "ids from outside" if options.identities else "keyed pseudonyms",
        "answers": len(rows), "excluded": sum(row["excluded"] for row in rows), "versions": versions,
        "columns": {name: text for name, text in COLUMNS.items() if name != TARGET or options.targets is not None},
    }  # fmt: skip


def attack_targets(source: Path) -> dict[str, str]:
    """Picture → the concept that it was attacked towards, from the image table of the stimuli.

    Raises:
        InputError: no such table, or no column `attack_target`.
    """
    _, table = stimuli_folder(source)
    content = image_set([table]).table
    if TARGET not in content.column_names:
        near = did_you_mean(TARGET, content.column_names)
        raise InputError(f"{table}: the column '{TARGET}' is missing{near}; expected the concept that each picture was attacked towards")  # fmt: skip
    pairs = zip(content["image"].to_pylist(), content[TARGET].to_pylist(), strict=True)
    return {str(image): str(target) for image, target in pairs if target}
