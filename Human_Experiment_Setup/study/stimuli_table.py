"""The pictures of a study: the table that `interpscore stimuli build` writes, or any image table with the same columns."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from Activation_Extraction.base.errors import InputError, Problem, shown
from Activation_Extraction.base.files import open_file, sha256_of
from Activation_Extraction.images.places import FilePart
from Activation_Extraction.images.sets import image_set

TABLES = ("images.csv", "images.parquet")
MEDIA_TYPES: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp", b"GIF8": "image/gif",
}  # fmt: skip
"""First bytes of a picture that browsers show → its media type. SVG is none of them: it may hold scripts."""


@dataclass(frozen=True)
class Stimulus:
    """A picture of a study.

    Attributes:
        image: its file, relative to the folder of the table.
        clean_image: the name of the base picture; a participant sees each base picture once.
        kind: of the level: clean, benign, adversarial, synthetic or exemplar; empty where the table has no such column.
    """

    image: str
    concept: str
    level: int
    kind: str
    clean_image: str
    sha256: str


def stimuli_folder(source: Path) -> tuple[Path, Path]:
    """The folder that pictures are served from, and its table.

    Args:
        source: a folder with `images.csv` or `images.parquet`, or such a table.

    Raises:
        InputError: there is none.
    """
    table = next((source / name for name in TABLES if (source / name).is_file()), None) if source.is_dir() else source
    if table is None or not table.is_file():
        raise InputError(
            f"{source}: no such image table; expected a folder with {' or '.join(TABLES)}, or such a table"
        )
    return table.parent, table


def read_stimuli(source: Path, levels: Sequence[int]) -> list[Stimulus]:
    """The pictures of these levels, in the order of the table, each opened and hashed.

    Raises:
        InputError: no table; a column, level or file is missing; a file is no picture that browsers show.
    """
    folder, table = stimuli_folder(source)
    images = image_set([table])
    rows: dict[str, list[Any]] = {name: images.table[name].to_pylist() for name in images.table.column_names}
    if missing := [name for name in ("concept", "level") if name not in rows]:
        raise InputError(
            [Problem(str(table), "the column is missing", "concept and level of each picture", missing[0])]
        )
    found_levels = [_level(value, str(table), row) for row, value in enumerate(rows["level"])]
    if absent := [level for level in levels if level not in found_levels]:
        listed = ", ".join(map(str, sorted(set(found_levels))))
        raise InputError(f"{table}: no picture of level {absent[0]}; it has the levels {listed}")
    stimuli, problems = [], []
    for row, level in enumerate(found_levels):
        if level not in levels:
            continue
        image, concept = str(rows["image"][row]), str(rows["concept"][row] or "")
        place = images.where(row)
        if not isinstance(place, FilePart) or place.offset is not None:
            raise InputError(f"{table}, {shown(image)}: is packed in another file; expected pictures as files")
        if not concept:
            problems.append(f"{table}, column 'concept', row {row + 2}: is empty; expected what the picture shows")
        base = str(rows.get("clean_image", [None] * len(images))[row] or image)
        try:
            path = Path(os.path.relpath(place.path, folder)).as_posix()
            media_type_of(folder / path, folder)
            digest = sha256_of(folder / path, folder)
        except OSError as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
            problems.append(f"{folder / image}: {reason}; expected a picture in the folder of {table.name}")
            continue
        stimuli.append(
            Stimulus(path, concept, level, str(rows.get("kind", [""] * len(images))[row] or ""), base, digest)
        )
    if problems:
        raise InputError(problems[:20])
    if twins := [image for image, count in Counter(each.image for each in stimuli).items() if count > 1]:
        raise InputError(f"{table}, {shown(twins[0])}: appears more than once; expected each picture in one row")
    return stimuli


def media_type_of(path: Path, within: Path) -> str:
    """The media type of a picture, by its first bytes.

    Raises:
        InputError: browsers do not show it.
        OSError: as `open_file`.
    """
    with open_file(path, within) as file:
        start = file.read(12)
    for mark, media_type in MEDIA_TYPES.items():
        if start.startswith(mark) and (mark != b"RIFF" or start[8:12] == b"WEBP"):
            return media_type
    raise InputError(f"{path}: no picture that browsers show; expected PNG, JPEG, WebP or GIF")


def fingerprint_of(stimuli: Sequence[Stimulus]) -> str:
    """SHA-256 of all pictures: their bytes, names, concepts, levels and base pictures."""
    content = json.dumps([asdict(each) for each in stimuli], sort_keys=True)
    return hashlib.sha256(content.encode(errors="backslashreplace")).hexdigest()


def _level(value: object, source: str, row: int) -> int:
    try:
        return int(str(value))
    except ValueError:
        problem = Problem(source, f"found {shown(value)}", "a whole number", column="level", row=row + 2)
        raise InputError([problem]) from None
