"""What to say of the images of a set: byte-identical copies, files of several pictures, names that some disks take for one."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from Activation_Extraction.base.errors import shown
from Activation_Extraction.images.places import FilePart, ImageError

if TYPE_CHECKING:
    from Activation_Extraction.images.sets import ImageSet


def copies_of(images: ImageSet, advance: Callable[[int], None] = lambda count: None) -> dict[int, int]:
    """Rows whose images are byte for byte those of an earlier row → that row. Only images of one size are read."""
    rows_of: defaultdict[int, list[int]] = defaultdict(list)
    for row in range(len(images)):
        place = images.where(row)
        size = len(place) if isinstance(place, bytes) else place.size if place.size is not None else _size(place)
        if size is not None:
            rows_of[size].append(row)
    first: dict[str, int] = {}
    copies: dict[int, int] = {}
    for row in sorted(row for rows in rows_of.values() if len(rows) > 1 for row in rows):
        try:
            digest = hashlib.sha256(images.read(row)).hexdigest()
        except ImageError:
            continue  # extraction says why
        if (earlier := first.setdefault(digest, row)) != row:
            copies[row] = earlier
        advance(1)
    return copies


def _size(place: FilePart) -> int | None:
    try:
        return os.stat(place.path).st_size
    except (OSError, ValueError):
        return None


def remarks_on_files(images: ImageSet, rows: Sequence[int]) -> list[str]:
    """What to say of the files of some rows, which are read once more: copies, and files of several pictures."""
    from Activation_Extraction.images.reading import holds_several  # late: it loads Pillow

    names = [images.name(row) for row in rows]
    sha256: list[str | None] = []
    several: list[str] = []
    for row, name in zip(rows, names, strict=True):
        try:
            data = images.read(row)
        except ImageError:
            sha256.append(None)  # who reads the image says why
            continue
        sha256.append(hashlib.sha256(data).hexdigest())
        several += [name] if holds_several(data) else []
    known = images.table["concept"].to_pylist() if "concept" in images.table.column_names else None
    concepts = None if known is None else [known[row] for row in rows]
    return [*remark_on_copies(names, sha256, concepts), *remark_on_several(several)]


def remark_on_several(names: Sequence[str]) -> list[str]:
    """What to say of files that have several pictures."""
    if not names:
        return []
    return [
        f"{len(names):,} file{'s have' if len(names) > 1 else ' has'} several pictures (frames or pages), such as "
        f"{shown(names[0])}; only the first is used"
    ]


def remark_on_copies(
    names: Sequence[str], sha256: Sequence[str | None], concepts: Sequence[object] | None, what_to_do: str = ""
) -> list[str]:
    """What to say of images with the same bytes.

    Args:
        concepts: of the images, where known.
        what_to_do: about it, in brackets.
    """
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(sha256):
        if digest is not None:
            rows_of[digest].append(row)
    several = [rows for rows in rows_of.values() if len(rows) > 1]
    if not several:
        return []
    count = sum(len(rows) - 1 for rows in several)
    one, other = several[0][:2]
    remark = (
        f"{count:,} image{'s are copies of others' if count > 1 else ' is a copy of another'}, byte for byte, such as "
        f"{shown(names[other])} of {shown(names[one])}; {'they count as independent images' if count > 1 else 'it counts as another image'}{what_to_do}"
    )
    mixed = [] if concepts is None else [rows for rows in several if len({concepts[row] for row in rows}) > 1]
    if mixed and concepts is not None:
        one, other = next((a, b) for rows in mixed for a, b in pairwise(rows) if concepts[a] != concepts[b])
        remark += (
            f"; {len(mixed):,} of these pictures {'have' if len(mixed) > 1 else 'has'} several concepts, such as "
            f"{shown(concepts[one])} and {shown(concepts[other])}"
        )
    return [remark]


def remark_on_names(names: pa.ChunkedArray) -> list[str]:
    r"""What to say of names that differ only in capitals, Unicode form, or `\` against `/`."""
    folded = names
    for _ in range(2):  # lower case letters may be composed again
        folded = pc.utf8_lower(pc.utf8_normalize(folded, form="NFKC"))
    folded = pc.replace_substring(folded, "\\", "/")
    if pc.count_distinct(folded).as_py() == pc.count_distinct(names).as_py():
        return []
    spelled: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for key, name in zip(folded.to_pylist(), names.to_pylist(), strict=True):
        spelled[key][name] = None
    several = [list(each) for each in spelled.values() if len(each) > 1]
    one, other = several[0][:2]
    count = sum(Counter(map(len, several)).values())
    return [
        f"{count:,} name{'s are' if count > 1 else ' is'} spelled in several ways that differ only in capitals, Unicode form "
        rf"or \ and /, such as {_spelled(one, other)}; they count as different images"
    ]


def _spelled(one: str, other: str) -> str:
    """Two names that can be told apart where they are shown, whatever their Unicode form."""
    import unicodedata

    if unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other):
        return f"{one!a} and {other!a}"
    return f"{shown(one)} and {shown(other)}"
