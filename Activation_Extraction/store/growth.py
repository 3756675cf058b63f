"""An image set compared with the images of a store: what is new, gone or labelled otherwise; and a store that grows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from Activation_Extraction.base.errors import InputError, listed_up_to, shown
from Activation_Extraction.base.files import as_json
from Activation_Extraction.base.run_folder import RunFolder
from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.store.files import (
    COMPLETE,
    IMAGES,
    PROVENANCE,
    STATISTICS,
    as_parquet,
    read_images,
    read_provenance,
)
from Activation_Extraction.store.saved_statistics import remove_arrays

_ADDED = ("sha256", "error")
_SHOWN_NAMES = 5


@dataclass(frozen=True)
class Changes:
    """How an image set differs from the images of a store.

    Attributes:
        same: the set's row of each of the store's images, in the store's order, without those that are gone.
        new: the set's other rows; gone: names of the store's images that the set does not have.
        relabelled: what is different about an image that both have; "" where nothing is.
    """

    same: Sequence[int]
    new: Sequence[int]
    gone: Sequence[str]
    relabelled: str

    def arranged(self, images: ImageSet) -> ImageSet:
        """The set in the store's order, with its new images at the end."""
        return images.chosen([*self.same, *self.new])

    def lines(self, images: ImageSet) -> list[str]:
        """What a reader should know, a line for each kind of change."""
        named = {"new": [images.name(row) for row in self.new], "gone": list(self.gone)}
        lines = [
            f"{len(names):,} of the images {'is' if len(names) == 1 else 'are'} {what}: "
            f"{', '.join(listed_up_to([shown(name) for name in names], _SHOWN_NAMES))}"
            for what, names in named.items()
            if names
        ]
        lines += [self.relabelled] if self.relabelled else []
        return lines or ["the images are the same, in another order"]


def changes(folder: Path, images: ImageSet) -> Changes | None:
    """How a set differs from the images of a store; None where there is no store, or it is of this set."""
    provenance = read_provenance(folder) if folder.is_dir() else None
    if provenance is None or provenance["identity"].get("images") == images.fingerprint:
        return None
    stored: pa.Table = read_images(folder).slice(0, provenance["identity"]["rows"])
    row_of = {key: row for row, key in enumerate(_numbered(images.table["image"].to_pylist()))}
    keys = _numbered(stored["image"].to_pylist())
    same = [row_of[key] for key in keys if key in row_of]
    known = set(same)
    return Changes(
        same,
        [row for row in range(len(images)) if row not in known],
        [name for name, number in keys if (name, number) not in row_of],
        _relabelled(stored.take([i for i, key in enumerate(keys) if key in row_of]), images.table.take(same)),
    )


def _numbered(names: Iterable[str]) -> list[tuple[str, int]]:
    """Names, numbered where they are the same."""
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        numbered.append((name, seen[name]))
        seen[name] += 1
    return numbered


def _relabelled(stored: pa.Table, given: pa.Table) -> str:
    """The first of the columns in which rows of the same images differ."""
    for column in dict.fromkeys([*stored.column_names, *given.column_names]):
        if column in _ADDED:
            continue
        held, asked = (
            table[column].to_pylist() if column in table.column_names else [None] * table.num_rows
            for table in (stored, given)
        )
        different = [i for i, (a, b) in enumerate(zip(held, asked, strict=True)) if str(a) != str(b)]
        if different:
            first = different[0]
            return (
                f"{len(different):,} of the images have another {column}, such as {shown(given['image'][first].as_py())}: "
                f"{shown(held[first])} in the store, now {shown(asked[first])}"
            )
    return ""


def refuse_changes(folder: Path, found: Changes, images: ImageSet, *, append: bool) -> None:
    """Refuse what a store cannot take: everything but new images at the end, and those too unless they are to be added.

    Raises:
        InputError: a line for each kind of change.
    """
    if append and not found.gone and not found.relabelled:
        return
    can_be_added = not append and not found.gone and not found.relabelled
    advice = "--append, which adds new ones at the end and keeps the order of the others, " if can_be_added else ""
    lines = [f"{folder}: {line}" for line in found.lines(images)]
    raise InputError([*lines, f"{folder}: is left as it is; expected the same images, {advice}or another store (-o)"])


def grow(folder: RunFolder, images: ImageSet) -> bool:
    """Make a store one of more images, of which the new ones are missing; `images` begins with those that it has.

    The last shard is missing as well if it was not full. Interrupted anywhere, the same again resumes.

    Returns:
        Whether there was something to do.
    """
    provenance: dict[str, Any] | None = read_provenance(folder.path)
    if provenance is None or provenance["identity"]["images"] == images.fingerprint:
        return False
    with folder.writing():
        for name in (COMPLETE, STATISTICS):
            (folder.path / name).unlink(missing_ok=True)
        remove_arrays(folder.path, provenance["layers"])
    folder.write(IMAGES, as_parquet(images.table))
    identity = {**provenance["identity"], "images": images.fingerprint, "rows": len(images)}
    folder.write(PROVENANCE, as_json({**provenance, "identity": identity}))
    return True
