"""Images that are files of their own: where they are, what they are called, whether their folders are still there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import PurePath
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.images.formats import OPTIONAL, is_image, remark_on_others, suffix_of
from Activation_Extraction.images.places import FilePart

_ROWS = 65536
"""Names in memory as Python strings at a time."""


class Places(Protocol):
    """Where the bytes of each row of a source are; `ImageSet` documents both methods."""

    def where(self, row: int) -> FilePart | bytes: ...

    def lost(self, row: int) -> str | None: ...


@dataclass(frozen=True, eq=False)
class Listing:
    """The rows of one source.

    Attributes:
        table: `image`, the names inside the source, and its other columns.
        home: the source's absolute path; its last part is the source's name.
        is_archive: image names always start with the source's name.
        options: options of `image_set` that apply to this source.
        others: suffix → files of the source that are not read as images.
        is_text: whether it is a table in CSV or Excel; remarks: how it was read, where it is no plain CSV.
    """

    table: pa.Table
    places: Places
    home: PurePath
    is_archive: bool = False
    options: frozenset[str] = frozenset()
    others: Mapping[str, int] = field(default_factory=dict)
    is_text: bool = False
    remarks: Sequence[str] = ()


def list_folder(folder: str) -> Listing:
    """The images in a folder and its subfolders, sorted by folder and file name, so the order is the same everywhere.

    Raises:
        InputError: the folder cannot be read or contains no image.
    """
    others: Counter[str] = Counter()
    names, undecodable = _as_text(images_below(folder, lambda path: others.update([suffix_of(path)])))
    if not len(names):
        packed = sorted(
            name for name in os.listdir(folder) if name.endswith((".tar", ".parquet", ".csv", ".tsv", ".xlsx"))
        )
        hint = f" (for {packed[0]}, give the file itself, or a pattern)" if packed else ""
        said = (
            "".join(f"; {remark}" for remark in remark_on_others("there", others))
            if set(others) & set(OPTIONAL)
            else ""
        )
        raise InputError(f"{folder}: no image in this folder{hint}; expected files such as .jpg or .png{said}")
    return replace(_listing(os.path.abspath(folder), names, undecodable, existed=True), others=others)


def list_files(paths: Sequence[str], root: str | None = None) -> Listing:
    """Image files in the order given, named relative to `root`, or to their deepest common folder.

    Raises:
        InputError: none of them exists.
    """
    folders = {folder: os.path.abspath(folder) for folder in {os.path.dirname(path) for path in paths}}
    home = os.path.commonpath(list(folders.values())) if root is None else os.path.abspath(root)
    inside = {folder: os.path.relpath(path, home) for folder, path in folders.items()}

    def relative() -> Iterator[str]:
        for path in paths:
            folder, name = os.path.split(path)
            yield name if inside[folder] == os.curdir else os.path.join(inside[folder], name)

    if not any(os.path.lexists(path) for path in paths):
        raise InputError(f"{paths[0]}: no such file{f', nor any other of {len(paths)}' if len(paths) > 1 else ''}")
    return _listing(home, *_as_text(relative()), existed=False)


def _listing(root: str, names: pa.ChunkedArray, undecodable: Mapping[int, str], *, existed: bool) -> Listing:
    files = Files(root, names, undecodable, filled_folders(root, names), existed)
    return Listing(with_concepts(names, concepts_of(names)), files, PurePath(root))


@dataclass(frozen=True, eq=False)
class Files:
    """Rows that are files in or below a folder.

    Attributes:
        root: its absolute path.
        names: paths relative to it with "/" between the parts, or absolute ones.
        undecodable: row → path, where the name on disk is not valid text.
        filled: `filled_folders` when the rows were listed.
        existed: whether each file existed when the rows were listed.
    """

    root: str
    names: pa.ChunkedArray
    undecodable: Mapping[int, str]
    filled: frozenset[str]
    existed: bool = False

    def where(self, row: int) -> FilePart:
        return FilePart(os.path.join(self.root, self.undecodable.get(row) or str(self.names[row])))

    def lost(self, row: int) -> str | None:
        path = self.where(row).path
        deleted = self.existed and not os.path.lexists(path)  # a dangling link is a broken image
        return lost_folder(path, self.filled) or (path if deleted else None)


def filled_folders(root: str, names: pa.ChunkedArray) -> frozenset[str]:
    """Folders of the named files that exist and are not empty."""
    blocks = (names.slice(start, _ROWS).to_pylist() for start in range(0, len(names), _ROWS))
    inside = {
        name.rpartition("/")[0] if "/" in name[1:] else "/" * name.startswith("/") for block in blocks for name in block
    }
    return frozenset(filter(is_filled, (os.path.normpath(os.path.join(root, folder)) for folder in inside)))


def lost_folder(path: str, filled: frozenset[str]) -> str | None:
    """The topmost missing part of a file's path if its folder was filled and no longer is; else None."""
    folder = os.path.normpath(os.path.dirname(path))
    return _topmost_missing(folder) if folder in filled and not is_filled(folder) else None


def is_filled(folder: str) -> bool:
    """Whether a folder exists and is not empty."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a zero byte in the name
        return False
    except OSError:  # such as no permission to list it
        return True


def lost_file(path: str) -> str | None:
    """The topmost missing part of a file's path; None if the file exists."""
    return None if os.path.exists(path) else _topmost_missing(path)


def _topmost_missing(path: str) -> str:
    while (above := os.path.dirname(path)) != path and not is_filled(above):
        path = above
    return path


def images_below(root: str, other: Callable[[str], None] = lambda path: None) -> Iterator[str]:
    """Paths of images relative to a folder. Links to folders are followed, except back to a parent folder.

    Args:
        other: called with the path of every other file.
    """
    above: list[tuple[int, int]] = []
    open_folders: list[tuple[str, Iterator[os.DirEntry[str]]]] = []

    def enter(inside: str) -> None:
        folder = os.path.join(root, inside)
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in above:
                return
            with os.scandir(folder) as entries:
                found = sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(f"{folder}: cannot be listed ({error.strerror}); expected a folder of images") from None
        above.append((status.st_dev, status.st_ino))
        open_folders.append((inside, iter(found)))

    enter("")
    while open_folders:
        inside, entries = open_folders[-1]
        if (entry := next(entries, None)) is None:
            open_folders.pop()
            above.pop()
        elif _is_folder(entry):
            enter(f"{inside}{entry.name}/")
        elif is_image(entry.name):
            yield inside + entry.name
        else:
            other(inside + entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


def _as_text(paths: Iterable[str]) -> tuple[pa.ChunkedArray, dict[int, str]]:
    """Paths as names with "/" between the parts, and row → path where the path is not valid text."""
    undecodable: dict[int, str] = {}
    chunks: list[pa.Array] = []
    iterator, first = iter(paths), 0
    while block := list(islice(iterator, _ROWS)):
        if os.sep != "/":
            block = [path.replace(os.sep, "/") for path in block]
        try:
            chunks.append(pa.array(block, pa.string()))
        except UnicodeEncodeError:
            for i, path in enumerate(block):
                block[i] = os.fsencode(path).decode("utf-8", "backslashreplace")
                if block[i] != path:
                    undecodable[first + i] = path
            chunks.append(pa.array(block, pa.string()))
        first += len(block)
    return pa.chunked_array(chunks, pa.string()), undecodable


def concepts_of(names: pa.ChunkedArray) -> pa.ChunkedArray:
    """The last folder of each name, or null."""
    return pc.struct_field(pc.extract_regex(names, r"(?:^|/)(?P<concept>[^/]+)/[^/]*$"), "concept")


def with_concepts(names: pa.ChunkedArray, concepts: pa.ChunkedArray) -> pa.Table:
    """The table of a listing; without concepts where no image has one."""
    known = {"concept": concepts} if concepts.null_count < len(concepts) else {}
    return pa.table({"image": names, **known})
