"""Verifies an activation store, and the images it was computed from, by hashing every file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.base.files import check_file, sha256_of
from Activation_Extraction.images.places import ImageError
from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.store.files import COMPLETE, PROVENANCE, Shard, record_path, stated_record
from Activation_Extraction.store.growth import changes
from Activation_Extraction.store.reader import ActivationStore


def verify(
    path: str | os.PathLike[str],
    images: ImageSet | None = None,
    *,
    repair: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> list[str]:
    """Check the hashes of every file of a store.

    Args:
        images: also check these against the images that the store was computed from.
        repair: remove damaged shards from the manifest, so that the command that made the store recomputes them.
        advance: called with the number of images of each checked shard.

    Returns:
        A line for each difference; missing shards of an unfinished store are none.

    Raises:
        InputError: there is no store, or the images are another set.
    """
    store = ActivationStore.open(path)
    folder = store.path
    if images is not None and (other := changes(folder, images)) is not None:
        if other.new or other.gone or other.relabelled:
            raise InputError(
                f"{folder}: was computed from another image set ({'; '.join(other.lines(images))}); expected the same images"
            )
        images = other.arranged(images)
    problems: list[str] = []
    damaged: list[Shard] = []
    different: list[str] = []
    if store.is_complete:
        for name, expected in _recorded_hashes(store, problems).items():
            if found := _difference(folder, name, expected):
                problems += found
                different.append(name)
    for shard in store.shards():
        record = stated_record(folder, shard, store.shapes)
        if record is not None:
            found = [line for name, expected in record["files"].items() for line in _difference(folder, name, expected)]
            problems += found
            damaged += [shard] if found else []
            if images is not None:
                problems += _changed_images(images, shard, record["sha256"])
        elif store.is_complete or record_path(folder, shard.index).exists():
            rows = f"rows {shard.rows.start} to {shard.rows.stop - 1}"
            problems.append(f"{record_path(folder, shard.index)}: damaged or missing; expected the record of {rows}")
            damaged.append(shard)
        advance(len(shard.rows))
    if repair and problems:
        for shard in damaged:
            record_path(folder, shard.index).unlink(missing_ok=True)
        for name in different:
            if name != PROVENANCE:  # without it there is no store; resuming writes it again
                (folder / name).unlink(missing_ok=True)
        (folder / COMPLETE).unlink(missing_ok=True)
    return problems


def _recorded_hashes(store: ActivationStore, problems: list[str]) -> dict[str, dict[str, Any]]:
    """Size and hash of each file that `COMPLETE` must list; other files in it are problems, and not touched."""
    mark = store.path / COMPLETE
    try:
        files = (read_json(mark, store.path) or {})["files"]
        listed = {name: {"size": int(file["size"]), "sha256": str(file["sha256"])} for name, file in files.items()}
    except (InputError, LookupError, TypeError, ValueError, AttributeError):
        problems.append(f"{mark}: damaged; expected the size and hash of each file")
        return {}
    expected = store.vouched_files()
    problems += [f"{mark}: names {shown(name)}; expected files of the store" for name in listed if name not in expected]
    problems += [f"{mark}: does not name {name}; expected every file" for name in expected if name not in listed]
    return {name: listed[name] for name in expected if name in listed}


def _difference(folder: Path, name: str, expected: Mapping[str, Any]) -> list[str]:
    try:
        size = check_file(folder / name, folder).st_size
        if size != expected["size"]:
            return [f"{folder / name}: {size:,} bytes; expected {expected['size']:,}"]
        digest = sha256_of(folder / name, folder)
    except OSError as error:
        return [f"{folder / name}: cannot be read ({error.strerror}); expected a file of {expected['size']:,} bytes"]
    return [] if digest == expected["sha256"] else [f"{folder / name}: SHA-256 {digest}; expected {expected['sha256']}"]


def _changed_images(images: ImageSet, shard: Shard, sha256: Sequence[str | None]) -> list[str]:
    problems = []
    for row, expected in zip(shard.rows, sha256, strict=True):
        if expected is None:
            continue  # it could not be read
        try:
            digest = hashlib.sha256(images.read(row)).hexdigest()
        except ImageError as error:
            problems.append(str(error))
            continue
        if digest != expected:
            problems.append(f"{images.name(row)}: SHA-256 {digest}; {expected} when it was read")
    return problems
