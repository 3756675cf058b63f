"""Image sets: folders, globs, image files, image tables, tar shards and Hugging Face datasets as one list of rows.

    images = image_set(["photos/", "shards/*.tar"])
    images.table["image"][0], images.where(0)

A row has a name, which stays the same wherever the set lies on disk, and a place, where its bytes are. Listing reads
folders, tables and the headers of tar files; no image is opened, and nothing is unpacked.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from pathlib import Path, PurePath
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from Activation_Extraction.base.errors import InputError, did_you_mean, first_line, shown
from Activation_Extraction.images.listing import (
    Listing,
    Places,
    images_below,
    is_image,
    list_files,
    list_folder,
)
from Activation_Extraction.images.packed import is_saved_dataset, list_dataset, list_tar
from Activation_Extraction.images.places import FilePart, bytes_of
from Activation_Extraction.images.tables import TABLES, list_table

Source: TypeAlias = "str | os.PathLike[str]"

EXPECTED = "a folder of images, image files, an image table (.csv, .parquet), .tar shards, or hf:NAME of a dataset"
HUGGING_FACE = "hf:"
_PACKED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar")
_HASHED_ROWS = 65536


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images as ordered rows, of which each knows its name and where its bytes are.

    Attributes:
        table: the column `image`, a row's name, then what is known of it, such as `concept`, `level` and `split`.
        fingerprint: SHA-256 of the names and the other columns, in order; the identity of the set.
    """

    table: pa.Table
    fingerprint: str
    _places: Sequence[Places] = field(repr=False)
    _ends: Sequence[int] = field(repr=False)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def name(self, row: int) -> str:
        """What a row is called in the table, and in messages."""
        return str(self.table["image"][row])

    def where(self, row: int) -> FilePart | bytes:
        """A row's file, or its part of a file, or its bytes where a dataset holds them.

        Raises:
            InputError: a dataset that can no longer be read.
        """
        places, inside = self._place(row)
        return places.where(inside)

    def read(self, row: int) -> bytes:
        """The bytes of a row's image.

        Raises:
            ImageError: what `bytes_of` raises.
        """
        return bytes_of(self.where(row), self.name(row))

    def source(self, row: int) -> str | bytes:
        """A row's image as `read_image` takes it: the path of a file of its own, by which messages name it, or bytes."""
        place = self.where(row)
        return place.path if isinstance(place, FilePart) and place.offset is None else bytes_of(place, self.name(row))

    def lost(self, row: int) -> str | None:
        """The folder or file that held a row's image when it was listed, and does no longer; None when it still does.

        So that a broken image is told from an unmounted disk. What a table names and never was there is not lost.
        """
        places, inside = self._place(row)
        return places.lost(inside)

    def _place(self, row: int) -> tuple[Places, int]:
        source = bisect_right(self._ends, row)
        return self._places[source], row - (self._ends[source - 1] if source else 0)


def image_set(
    sources: Source | Iterable[Source], *, split: str | None = None, images_root: Source | None = None
) -> ImageSet:
    """List the images of one or several sources.

    Args:
        sources: one or several of

            - a folder: its images and those of its subfolders in the order of their names, hidden ones left out. The
              last subfolder's name is the image's `concept`;
            - a glob such as `"photos/**/*.jpg"`, or image files one by one, in the order given, duplicates included;
            - an image table, `.csv` or `.parquet`: the column `image`, a path (relative to the table's folder) or
              Hugging Face's struct of bytes and path; its other columns of numbers and words are kept;
            - a `.tar` file of images. The text beside an image of the same stem (`.cls`, `.txt`, or `.json` with
              `concept` or `label`) is its `concept`, else its last folder is;
            - a Hugging Face dataset: a folder that `save_to_disk` wrote, or `hf:NAME_OR_PATH`. Its class label is the
              `concept`.
        split: of tables with the column `split` and of datasets, take this split alone.
        images_root: what the paths of tables are relative to, in place of the table's folder.

    Returns:
        Names are relative to the folder, or the table's own; behind the name of a tar; behind the source's name when
        there are several sources.

    Raises:
        InputError: a source that is not there, cannot be read or is none of these; or not one image.
    """
    paths = [_path(source) for source in ([sources] if isinstance(sources, str | os.PathLike) else sources)]
    if not paths:
        raise InputError(f"images: none given; expected {EXPECTED}")
    listings = list(_listings(paths, split, images_root))
    _refuse_unused(listings, split=split, images_root=images_root)
    table = _joined(listings)
    if not table.num_rows:
        raise InputError(f"{paths[0]}: no row in it; expected at least one image")
    ends = list(accumulate(listing.table.num_rows for listing in listings))
    return ImageSet(table, _fingerprint(table), [listing.places for listing in listings], ends)


# Which kind of source -----------------------------------------------------------------------------------------------


def _path(source: object) -> str:
    if isinstance(source, str | os.PathLike) and isinstance(path := os.fspath(source), str) and path:
        return path
    raise InputError(f"images: found {shown(source)} ({type(source).__name__}); expected {EXPECTED}")


def _listings(paths: Sequence[str], split: str | None, images_root: Source | None) -> Iterator[Listing]:
    """A listing a source, where image files that follow one another are one source."""
    for are_files, group in groupby(paths, _is_image_file):
        if are_files:
            yield list_files(list(group))
        else:
            for path in group:
                yield from _listings_of(path, split, images_root)


def _listings_of(source: str, split: str | None, images_root: Source | None) -> Iterator[Listing]:
    suffix = Path(source).suffix.lower()
    if source.startswith(HUGGING_FACE):
        yield list_dataset(source.removeprefix(HUGGING_FACE), split, saved=False)
    elif os.path.isdir(source):
        yield list_dataset(source, split, saved=True) if is_saved_dataset(source) else list_folder(source)
    elif _is_pattern(source):
        yield from _globbed(source, split, images_root)
    elif suffix in TABLES:
        yield list_table(source, split, None if images_root is None else os.fspath(images_root))
    elif suffix == ".tar":
        yield list_tar(source)
    elif suffix in _PACKED:
        raise InputError(f"{source}: is compressed; expected a plain .tar, or a folder (unpack it first)")
    elif not os.path.exists(source):
        raise InputError(f"{source}: no such file or folder{_nearest(source)}; expected {EXPECTED}")
    else:
        raise InputError(f"{source}: is none of what images are taken from; expected {EXPECTED}")


def _is_image_file(path: str) -> bool:
    """Whether a path is named as an image file is; one that is not there stays a row, with its reason."""
    if not is_image(path):
        return not Path(path).suffix and os.path.isfile(path)
    return not (path.startswith(HUGGING_FACE) or os.path.isdir(path) or _is_pattern(path))


def _is_pattern(path: str) -> bool:
    return glob.has_magic(path) and not os.path.lexists(path)


def _globbed(pattern: str, split: str | None, images_root: Source | None) -> Iterator[Listing]:
    """The images that a pattern matches, and those of matching folders; where there are none, the tables and tars."""
    root = os.path.dirname(re.split(r"[*?\[]", pattern)[0])
    images: set[str] = set()
    packed: list[str] = []
    for path in glob.iglob(pattern, recursive=True):
        if os.path.isdir(path):
            images.update(os.path.join(path, inside) for inside in images_below(path))
        elif is_image(path):
            images.add(path)
        elif Path(path).suffix.lower() in (*TABLES, ".tar"):
            packed.append(path)
    if images:
        yield list_files(sorted(images, key=_parts), root=root)
    elif not packed:
        raise InputError(f"{pattern}: matches no image, table or .tar; expected a pattern such as 'photos/**/*.jpg'")
    else:
        for path in sorted(packed, key=_parts):
            yield from _listings_of(path, split, images_root)


def _parts(path: str) -> list[str]:
    return path.split(os.sep)


def _nearest(path: str) -> str:
    """A hint at what lies there under a similar name."""
    folder, name = os.path.split(os.path.abspath(path))
    try:
        return did_you_mean(name, [each for each in os.listdir(folder) if each != name])
    except OSError:
        return ""


def _refuse_unused(listings: Sequence[Listing], **options: object) -> None:
    for option, value in options.items():
        if value is not None and not any(option in listing.options for listing in listings):
            takers = {"split": "tables with the column 'split', or datasets", "images_root": "tables of paths"}[option]
            raise InputError(f"{option}: found {shown(value)}, but no source takes one; expected {takers}")


# One table ----------------------------------------------------------------------------------------------------------


def _joined(listings: Sequence[Listing]) -> pa.Table:
    titles = _titles([listing.home for listing in listings])
    several = len(listings) > 1
    tables = [
        _prefixed(listing.table, f"{title}/") if several or listing.is_archive else listing.table
        for listing, title in zip(listings, titles, strict=True)
    ]
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(f"images: the tables do not fit together ({first_line(error)})") from None
    return table.replace_schema_metadata(None)


def _prefixed(table: pa.Table, prefix: str) -> pa.Table:
    names = pc.binary_join_element_wise(prefix, table["image"], "")
    return table.set_column(table.column_names.index("image"), "image", names)


def _titles(homes: Sequence[PurePath]) -> list[str]:
    """The last part of each path, with as many parts before it as tell it from the others."""

    def title(home: PurePath) -> str:
        length = 1
        while endings(length)[home.parts[-length:]] > 1:
            length += 1
        return PurePath(*home.parts[-length:]).as_posix()

    def endings(length: int) -> Counter[tuple[str, ...]]:
        if length not in counted:
            counted[length] = Counter(home.parts[-length:] for home in set(homes))
        return counted[length]

    counted: dict[int, Counter[tuple[str, ...]]] = {}
    return [title(home) for home in homes]


def _fingerprint(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for name in table.column_names:
        digest.update(json.dumps([name]).encode())
        for start in range(0, table.num_rows, _HASHED_ROWS):
            values = table[name].slice(start, _HASHED_ROWS).to_pylist()
            digest.update(json.dumps(values, default=str).encode())
    return digest.hexdigest()
