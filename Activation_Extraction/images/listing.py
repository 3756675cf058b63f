"""Images that are files of their own: where they are, what they are called, whether their folders are still there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.images.places import FilePart

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .tif .tiff .ppm .pgm .pbm .pnm".split()  # noqa: SIM905
)
"""Of the formats that `read_image` reads."""

_ROWS = 65536
"""Names that stand in memory as Python strings at a time."""


class Places(Protocol):
    """Where the bytes of each row of a source are; see `ImageSet` for both."""

    def where(self, row: int) -> FilePart | bytes: ...

    def lost(self, row: int) -> str | None: ...


@dataclass(frozen=True, eq=False)
class Listing:
    """The rows of one source.

    Attributes:
        table: `image`, the names inside the source, and its other columns.
        home: the source's absolute path; its end is the source's name.
        is_archive: whether the source's name is always part of its images' names.
        options: which options of `image_set` this source takes.
    """

    table: pa.Table
    places: Places
    home: PurePath
    is_archive: bool = False
    options: frozenset[str] = frozenset()


def is_image(name: str) -> bool:
    """Whether a file is named as an image."""
    return name[name.rfind(".") :].lower() in SUFFIXES


def list_folder(folder: str) -> Listing:
    """The images in a folder and its subfolders, ordered by the names of folders and files, the same on every machine.

    Raises:
        InputError: a folder that cannot be read, or no image in it.
    """
    names, odd = _as_text(images_below(folder))
    if not len(names):
        packed = sorted(name for name in os.listdir(folder) if name.endswith((".tar", ".parquet", ".csv")))
        hint = f" (for {packed[0]}, give the file itself, or a pattern)" if packed else ""
        raise InputError(f"{folder}: no image in this folder{hint}; expected files such as .jpg or .png")
    root = os.path.abspath(folder)
    files = Files(root, names, odd, filled_folders(root, names), were_seen=True)
    return Listing(with_concepts(names, concepts_of(names)), files, PurePath(root))


def list_files(paths: Sequence[str], root: str | None = None) -> Listing:
    """Image files in the order given, named relative to `root`, or to the deepest folder that holds them all.

    Raises:
        InputError: none of them is there.
    """
    folders = {folder: os.path.abspath(folder) for folder in {os.path.dirname(path) for path in paths}}
    home = os.path.commonpath(list(folders.values())) if root is None else os.path.abspath(root)
    inside = {folder: os.path.relpath(path, home) for folder, path in folders.items()}

    def relative() -> Iterator[str]:
        for path in paths:
            folder, name = os.path.split(path)
            yield name if inside[folder] == os.curdir else os.path.join(inside[folder], name)

    names, odd = _as_text(relative())
    if not any(os.path.lexists(path) for path in paths):
        raise InputError(f"{paths[0]}: no such file{f', nor any other of {len(paths)}' if len(paths) > 1 else ''}")
    return Listing(
        with_concepts(names, concepts_of(names)), Files(home, names, odd, filled_folders(home, names)), PurePath(home)
    )


@dataclass(frozen=True, eq=False)
class Files:
    """Rows that are files in or below a folder.

    Attributes:
        root: its absolute path.
        names: paths relative to it with "/" between the parts, or absolute ones.
        odd: the paths of rows whose name on disk is no text.
        filled: what `filled_folders` found when the rows were listed.
        were_seen: whether the rows are what a folder held, so that each was there.
    """

    root: str
    names: pa.ChunkedArray
    odd: Mapping[int, str]
    filled: frozenset[str]
    were_seen: bool = False

    def where(self, row: int) -> FilePart:
        return FilePart(os.path.join(self.root, self.odd[row] if row in self.odd else str(self.names[row])))

    def lost(self, row: int) -> str | None:
        path = self.where(row).path
        gone_since = self.were_seen and not os.path.lexists(path)  # a link that leads nowhere is a broken image
        return lost_folder(path, self.filled) or (path if gone_since else None)


def filled_folders(root: str, names: pa.ChunkedArray) -> frozenset[str]:
    """Which of the folders that files lie in are there and not empty."""
    inside = {name.rpartition("/")[0] if "/" in name[1:] else "/" * name.startswith("/") for name in _each(names)}
    folders = (os.path.normpath(os.path.join(root, folder)) for folder in inside)
    return frozenset(folder for folder in folders if holds_something(folder))


def lost_folder(path: str, filled: frozenset[str]) -> str | None:
    """What is gone as a whole of a file's path, where its folder was filled and is no longer; else None."""
    folder = os.path.normpath(os.path.dirname(path))
    return gone(folder) if folder in filled and not holds_something(folder) else None


def holds_something(folder: str) -> bool:
    """Whether a folder is there and not empty."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # such as no permission to list it
        return True


def lost_file(path: str) -> str | None:
    """What is gone as a whole of a file's path; None where the file is there."""
    return None if os.path.exists(path) else gone(path)


def gone(path: str) -> str:
    """Of a file or folder that is gone, what of its path is gone as a whole."""
    while (above := os.path.dirname(path)) != path and not holds_something(above):
        path = above
    return path


def _each(names: pa.ChunkedArray) -> Iterator[str]:
    for start in range(0, len(names), _ROWS):
        yield from names.slice(start, _ROWS).to_pylist()


def images_below(root: str) -> Iterator[str]:
    """Paths of images relative to a folder. Links to folders are followed, but never back to a folder around them."""
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


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


def _as_text(paths: Iterable[str]) -> tuple[pa.ChunkedArray, dict[int, str]]:
    """Paths as names with "/" between the parts, and by row the paths whose bytes are no text."""
    odd: dict[int, str] = {}
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
                    odd[first + i] = path
            chunks.append(pa.array(block, pa.string()))
        first += len(block)
    return pa.chunked_array(chunks, pa.string()), odd


def concepts_of(names: pa.ChunkedArray) -> pa.ChunkedArray:
    """The last folder in each name, or null."""
    return pc.struct_field(pc.extract_regex(names, r"(?:^|/)(?P<concept>[^/]+)/[^/]*$"), "concept")


def with_concepts(names: pa.ChunkedArray, concepts: pa.ChunkedArray) -> pa.Table:
    """The table of a listing; without concepts where no image has one."""
    known = {"concept": concepts} if concepts.null_count < len(concepts) else {}
    return pa.table({"image": names, **known})
