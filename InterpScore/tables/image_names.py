"""Matching the images of a table to the rows of a store, a folder or another table, by name.

Names match if they are equal, or differ only by leading folders: `fire_7.png` is `fire/fire_7.png`, and `Images/fire/7.png`
is `fire/7.png`. Ambiguous names are refused.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Iterable, Sequence

import numpy as np

from InterpScore.errors import InputError, Problem, shown
from InterpScore.helpers import Ints


def rows_of_images(images: Sequence[str], stored: Sequence[str], source: str, store: str) -> Ints:
    """The row in the store of each image of a table, `(I,)`; -1 where there is none.

    Of several rows with the same name the first counts. Equal names take precedence over matches by folder.

    Args:
        images: names in the table, each once.
        stored: names of the store's rows.
        source, store: names of the two for messages.

    Raises:
        InputError: no image is found, or ambiguous names.

    >>> rows_of_images(["fire_7.png", "Images/x/a.png"], ["x/a.png", "fire/fire_7.png"], "data.csv", "acts.zarr")
    array([1, 0])
    """
    plain = [_plain(name) for name in images]
    row_of: dict[str, int] = {}
    for row, name in enumerate(stored):
        row_of.setdefault(_plain(name), row)
    row_I = np.array([row_of.get(name, -1) for name in plain], dtype=np.int64)
    taken = {name for name in plain if name in row_of}
    left = {name for name in plain if name not in row_of}
    below = _names_below(left, row_of)
    found = {name: below[name] or _name_above(name, row_of) for name in left}
    claims: dict[str, list[str]] = {}
    for i, name in enumerate(plain):
        for fit in found.get(name, ()):
            if fit not in taken:
                row_I[i] = row_of[fit]
                claims.setdefault(fit, []).append(images[i])
    fits_two = {images[i]: found[name] for i, name in enumerate(plain) if len(found.get(name, ())) > 1}
    ambiguous = [
        *(
            f"image {shown(name)} may be {' or '.join(shown(stored[row_of[fit]]) for fit in fits)} of {store}"
            for name, fits in fits_two.items()
        ),
        *(
            f"image {shown(stored[row_of[fit]])} of {store} may be {shown(names[0])} or {shown(names[1])}"
            for fit, names in claims.items()
            if len(names) > 1 and not fits_two
        ),
    ]
    if ambiguous:
        expected = "names with enough of their folders to tell them apart"
        raise InputError([Problem(source, ambiguous[0], expected, more=len(ambiguous) - 1)])
    if len(images) and (row_I < 0).all():
        raise InputError(
            f"{source}: none of its {len(images)} images is in {store}; the table has names such as "
            f"{shown(images[0])}, {store} {shown(stored[0]) if len(stored) else 'none'}; expected the same names, "
            "up to folders in front"
        )
    return row_I


def _plain(name: str) -> str:
    """A path for comparison: parts joined by '/', without empty ones, in one Unicode form."""
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _names_below(endings: Iterable[str], stored: Iterable[str]) -> dict[str, list[str]]:
    """For each ending up to two stored names with folders before it."""
    by_depth: dict[int, dict[str, list[str]]] = {}
    for ending in endings:
        by_depth.setdefault(ending.count("/") + 1, {})[ending] = []
    for name in stored if by_depth else ():
        parts = name.split("/")
        for depth, wanted in by_depth.items():
            fits = wanted.get("/".join(parts[-depth:])) if len(parts) > depth else None
            if fits is not None and len(fits) < 2:
                fits.append(name)
    return {ending: fits for wanted in by_depth.values() for ending, fits in wanted.items()}


def _name_above(name: str, stored: Container[str]) -> list[str]:
    """The longest stored name that a name ends with."""
    parts = name.split("/")
    endings = ("/".join(parts[start:]) for start in range(1, len(parts)))
    return [ending for ending in endings if ending in stored][:1]
