"""What is in a folder, of everything that InterpScore reads. Links are not followed, and large folders are only begun."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from Activation_Extraction.base.errors import InputError, InterpScoreError
from Activation_Extraction.base.extensions import registered
from Activation_Extraction.base.extras import naming_extras
from Activation_Extraction.images.formats import is_image, suffix_of
from InterpScore.journey import kinds
from InterpScore.journey.kinds import GROUP, FolderKind, Item

MOST_ENTRIES = 500_000
MOST_FILES = 200
"""Tables and JSON files that are read; LARGEST: bytes of one of them."""
LARGEST = 300 * 10**6

_TABLES = (".csv", ".tsv", ".parquet", ".pq", ".xlsx")
_BESIDE = (".csv", ".parquet", ".pq")
"""Tables whose JSON of the same name belongs to them."""


@dataclass
class Contents:
    """What is in a folder.

    Attributes:
        items: what InterpScore reads; broken: a line on each thing that it cannot.
        others: suffix → files of no kind that is known; notes: what was left out.
    """

    items: list[Item] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def contents(folder: Path) -> Contents:
    """Look through a folder.

    Raises:
        InputError: there is none, or it cannot be listed.
    """
    if not folder.is_dir():
        is_there = os.path.lexists(folder)
        raise InputError(f"{folder}: {'is no folder' if is_there else 'no such folder'}; expected a folder of data")
    found = Contents()
    folder_kinds: list[FolderKind] = [kinds.store, *(kind for _, _, kind in registered(GROUP, "kind of data"))]
    walk = _Walk(folder)
    images: dict[Path, list[str]] = {}
    files: list[Path] = []
    with_more: set[Path] = set()
    for place, names in walk:
        if any(_add(found, place, partial(kind, place, names)) for kind in folder_kinds):
            walk.leave()
            continue
        pictures = sorted(name for name in names if is_image(name))
        if pictures:
            images[place] = pictures
        known = [place / name for name in sorted(names) if suffix_of(name) in (*_TABLES, ".json")]
        files += known
        if known:
            with_more.add(place)
        found.others.update(suffix_of(name) for name in names.difference(pictures, (path.name for path in known)))
    for place, concepts in _image_sets(images, with_more):
        _add(found, place, partial(kinds.images, place, concepts))
    _add_files(found, files)
    found.items.sort(key=lambda item: item.path)
    found.notes += walk.notes()
    return found


def _add(found: Contents, path: Path, read: Callable[[], Item | None]) -> bool:
    """Add what is at a path, or why it cannot be read; whether it is something."""
    try:
        with naming_extras():
            item = read()
    except InterpScoreError as error:
        lines = error.problems if isinstance(error, InputError) else [str(error)]
        found.broken += [lines[0] + (f" (and {len(lines) - 1} more problems)" if len(lines) > 1 else "")]
        return True
    except OSError as error:
        found.broken.append(f"{path}: cannot be read ({error.strerror})")
        return True
    if item is None:
        return False
    found.items.append(item)
    found.broken += item.broken
    return True


def _add_files(found: Contents, files: list[Path]) -> None:
    stems = {path.with_suffix("") for path in files if path.suffix.lower() in _BESIDE}
    own = [path for path in files if path.suffix.lower() != ".json" or path.with_suffix("") not in stems]
    large = [path for path in own if path.stat().st_size > LARGEST]
    to_read = [path for path in own if path not in large]
    for path in to_read[:MOST_FILES]:
        kind = kinds.document if path.suffix.lower() == ".json" else kinds.table
        if not _add(found, path, partial(kind, path)):
            found.others[suffix_of(path.name)] += 1
    found.notes += [f"{path}: not opened here, as it has {path.stat().st_size / 1e6:,.0f} MB" for path in large]
    if len(to_read) > MOST_FILES:
        found.notes.append(f"not opened: {len(to_read) - MOST_FILES:,} more tables and JSON files")


def _image_sets(images: dict[Path, list[str]], with_more: set[Path]) -> Iterator[tuple[Path, dict[str, list[str]]]]:
    """Folders of images: those whose subfolders are concepts, unless other data lie beside them, and those alone."""
    by_parent: dict[Path, list[Path]] = {}
    for place in images:
        by_parent.setdefault(place.parent, []).append(place)
    for parent, places in by_parent.items():
        if len(places) > 1 and parent not in with_more and parent not in images:
            yield parent, {place.name: images[place] for place in places}
        else:
            yield from ((place, {"": images[place]}) for place in places)


class _Walk:
    """The folders below a folder with the names of their files, hidden ones left out; iterated once."""

    def __init__(self, folder: Path) -> None:
        self._left = [folder]
        self._below: list[Path] = []
        self._seen = self._links = self._unlisted = 0

    def __iter__(self) -> Iterator[tuple[Path, frozenset[str]]]:
        while self._left and self._seen < MOST_ENTRIES:
            place = self._left.pop()
            self._below, names = [], set()
            try:
                with os.scandir(place) as entries:
                    for entry in entries:
                        self._seen += 1
                        if self._seen > MOST_ENTRIES:
                            self._left.append(place)
                            break
                        if entry.name[0] == ".":
                            continue
                        if entry.is_symlink():
                            self._links += 1
                        elif entry.is_dir():
                            self._below.append(place / entry.name)
                        elif entry.is_file():
                            names.add(entry.name)
            except OSError as error:
                if self._seen == 0:
                    raise InputError(
                        f"{place}: cannot be listed ({error.strerror}); expected a folder of data"
                    ) from None
                self._unlisted += 1
            yield place, frozenset(names)
            self._left += sorted(self._below, reverse=True)

    def leave(self) -> None:
        """Do not enter the folders below the one that was just given."""
        self._below = []

    def notes(self) -> list[str]:
        """What was left out."""
        notes = [f"not followed: {kinds.counted(self._links, 'link')}"] if self._links else []
        notes += (
            [f"not listed, for lack of permission: {kinds.counted(self._unlisted, 'folder')}"] if self._unlisted else []
        )
        return notes + ([f"only the first {MOST_ENTRIES:,} files were looked at"] if self._left else [])
