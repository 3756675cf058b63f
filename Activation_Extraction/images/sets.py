"""Image sets: folders, globs, image files, image tables, tar shards and Hugging Face datasets as one list of rows.

    images = image_set(["photos/", "shards/*.tar"])
    images.table["image"][0], images.where(0)

A row has a name, which does not depend on where the set is on disk, and a place, where its bytes are. Listing reads
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
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import accumulate, count, groupby
from pathlib import Path, PurePath
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from Activation_Extraction.base.errors import InputError, did_you_mean, first_line, shown
from Activation_Extraction.images.formats import is_image, remark_on_others, suffix_of
from Activation_Extraction.images.listing import (
    Listing,
    Places,
    images_below,
    list_files,
    list_folder,
)
from Activation_Extraction.images.packed import is_saved_dataset, list_dataset, list_tar
from Activation_Extraction.images.places import HUGGING_FACE, FilePart, bytes_of
from Activation_Extraction.images.tables import TABLES, list_table
from Activation_Extraction.images.twins import remark_on_names
from Activation_Extraction.tables.dialects.options import Given, TableOptions, table_options

Source: TypeAlias = "str | os.PathLike[str]"

EXPECTED = (
    "a folder of images, image files, an image table (.csv, .xlsx, .parquet), .tar shards, or hf:NAME of a dataset"
)
_PACKED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar")
_HASHED_ROWS = 65536


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images as ordered rows.

    Attributes:
        table: the column `image`, a row's name, then further columns such as `concept`, `level` and `split`.
        fingerprint: SHA-256 of all columns, in order; the identity of the set.
        remarks: what a reader should know: files that are not read, names that some disks take for one, and how tables
            were read.
        text_tables: paths of its tables in CSV and Excel.
    """

    table: pa.Table
    fingerprint: str
    _places: Sequence[Places] = field(repr=False)
    _ends: Sequence[int] = field(repr=False)
    remarks: Sequence[str] = ()
    text_tables: Sequence[str] = ()

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def name(self, row: int) -> str:
        """A row's name in the table and in messages."""
        return str(self.table["image"][row])

    def where(self, row: int) -> FilePart | bytes:
        """A row's file, part of a file, or bytes.

        Raises:
            InputError: a dataset can no longer be read.
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
        """A row's image for `read_image`: the path of its file, or bytes."""
        place = self.where(row)
        return place.path if isinstance(place, FilePart) and place.offset is None else bytes_of(place, self.name(row))

    def lost(self, row: int) -> str | None:
        """The folder or file of a row's image that has disappeared since it was listed, else None.

        This tells a broken image from an unmounted disk. A table's images that never existed are not lost.
        """
        places, inside = self._place(row)
        return places.lost(inside)

    def chosen(self, rows: Sequence[int]) -> ImageSet:
        """The set of some of these rows, in the order given."""
        table = self.table.take(pa.array(rows, pa.int64())).combine_chunks()
        return ImageSet(
            table, _fingerprint(table), [_ChosenRows(self, rows)], [len(rows)], self.remarks, self.text_tables
        )

    def _place(self, row: int) -> tuple[Places, int]:
        source = bisect_right(self._ends, row)
        return self._places[source], row - (self._ends[source - 1] if source else 0)


@dataclass(frozen=True, eq=False)
class _ChosenRows:
    """Rows of another set."""

    images: ImageSet
    rows: Sequence[int]

    def where(self, row: int) -> FilePart | bytes:
        return self.images.where(self.rows[row])

    def lost(self, row: int) -> str | None:
        return self.images.lost(self.rows[row])


def image_set(
    sources: Source | Iterable[Source],
    *,
    split: str | None = None,
    images_root: Source | None = None,
    csv: Given | Sequence[Given] | TableOptions = None,
) -> ImageSet:
    """List the images of one or several sources.

    Args:
        sources: one or several of

            - a folder: its images and those of its subfolders in the order of their names, hidden ones left out. The
              last subfolder's name is the image's `concept`;
            - a glob such as `"photos/**/*.jpg"`, or image files one by one, in the order given, duplicates included;
            - an image table, `.csv`, `.tsv`, `.xlsx` or `.parquet`: the column `image`, a path (relative to the table's folder) or
              Hugging Face's struct of bytes and path; other columns of numbers and text are kept;
            - a `.tar` file of images. The text file with an image's stem (`.cls`, `.txt`, or `.json` with `concept` or
              `label`) gives its `concept`, else its last folder does;
            - a Hugging Face dataset: a folder that `save_to_disk` wrote, or `hf:NAME_OR_PATH`. Its class label is the
              `concept`.
        split: take only this split of datasets and of tables with the column `split`.
        images_root: folder that the paths of tables are relative to, in place of the table's own.
        csv: how to read image tables where that cannot be found out: `"sep=; encoding=latin-1"`, or a mapping of them;
            with `file=` those of one table.

    Returns:
        Names are relative to the folder, or the table's own; they start with the name of the tar, and with the source's
        name when there are several sources.

    Raises:
        InputError: a source is missing, unreadable or none of these, or there is no image.
    """
    paths = [_path(source) for source in ([sources] if isinstance(sources, str | os.PathLike) else sources)]
    if not paths:
        raise InputError(f"images: none given; expected {EXPECTED}")
    told = table_options(csv)
    listings = list(_listings(paths, split, images_root, told))
    text_tables = [str(listing.home) for listing in listings if listing.is_text]
    if not isinstance(csv, TableOptions):  # else the caller knows of other tables, too
        told.refuse_unused(text_tables)
    _refuse_unused(listings, split=split, images_root=images_root)
    table = _joined(listings)
    if not table.num_rows:
        raise InputError(f"{paths[0]}: no rows; expected at least one image")
    ends = list(accumulate(listing.table.num_rows for listing in listings))
    remarks = [line for listing in listings for line in remark_on_others(listing.home.name, listing.others)]
    remarks += [*(line for listing in listings for line in listing.remarks), *remark_on_names(table["image"])]
    places = [listing.places for listing in listings]
    return ImageSet(table, _fingerprint(table), places, ends, tuple(remarks), text_tables)


# Which kind of source -----------------------------------------------------------------------------------------------


def _path(source: object) -> str:
    if isinstance(source, str | os.PathLike) and isinstance(path := os.fspath(source), str) and path:
        return path
    raise InputError(f"images: found {shown(source)} ({type(source).__name__}); expected {EXPECTED}")


def _listings(
    paths: Sequence[str], split: str | None, images_root: Source | None, told: TableOptions
) -> Iterator[Listing]:
    """One listing for each source; consecutive image files are one source."""
    for are_files, group in groupby(paths, _is_image_file):
        if are_files:
            yield list_files(list(group))
        else:
            for path in group:
                yield from _listings_of(path, split, images_root, told)


def _listings_of(source: str, split: str | None, images_root: Source | None, told: TableOptions) -> Iterator[Listing]:
    suffix = Path(source).suffix.lower()
    if source.startswith(HUGGING_FACE):
        yield list_dataset(source.removeprefix(HUGGING_FACE), split, saved=False)
    elif os.path.isdir(source):
        yield list_dataset(source, split, saved=True) if is_saved_dataset(source) else list_folder(source)
    elif _is_pattern(source):
        yield from _globbed(source, split, images_root, told)
    elif suffix in TABLES:
        yield list_table(source, split, None if images_root is None else os.fspath(images_root), told)
    elif suffix == ".tar":
        yield list_tar(source)
    elif suffix in _PACKED:
        raise InputError(f"{source}: is compressed; expected a plain .tar, or a folder (unpack it first)")
    elif not os.path.exists(source):
        raise InputError(f"{source}: no such file or folder{_nearest(source)}; expected {EXPECTED}")
    else:
        raise InputError(f"{source}: is no source of images; expected {EXPECTED}")


def _is_image_file(path: str) -> bool:
    """Whether a path is that of an image file, by its name; missing ones become rows with an error."""
    if not is_image(path):
        return not Path(path).suffix and os.path.isfile(path)
    return not (path.startswith(HUGGING_FACE) or os.path.isdir(path) or _is_pattern(path))


def _is_pattern(path: str) -> bool:
    return glob.has_magic(path) and not os.path.lexists(path)


def _globbed(pattern: str, split: str | None, images_root: Source | None, told: TableOptions) -> Iterator[Listing]:
    """Images that match a pattern or are in matching folders; if there are none, matching tables and tars."""
    root = os.path.dirname(re.split(r"[*?\[]", pattern)[0])
    images: set[str] = set()
    packed: list[str] = []
    others: set[str] = set()
    for path in glob.iglob(pattern, recursive=True):
        if os.path.isdir(path):
            below = partial(os.path.join, path)
            images.update(map(below, images_below(path, lambda inside, below=below: others.add(below(inside)))))  # type: ignore[misc]
        elif is_image(path):
            images.add(path)
        elif Path(path).suffix.lower() in (*TABLES, ".tar"):
            packed.append(path)
        else:
            others.add(path)
    if images:
        listing = list_files(sorted(images, key=lambda path: path.split(os.sep)), root=root)
        yield replace(listing, others=Counter(suffix_of(path.replace(os.sep, "/")) for path in others))
    elif not packed:
        raise InputError(f"{pattern}: matches no image, table or .tar; expected a pattern such as 'photos/**/*.jpg'")
    for path in sorted([] if images else packed, key=lambda path: path.split(os.sep)):
        yield from _listings_of(path, split, images_root, told)


def _nearest(path: str) -> str:
    """A hint at a file with a similar name."""
    folder, name = os.path.split(os.path.abspath(path))
    with suppress(OSError):
        return did_you_mean(name, [other for other in os.listdir(folder) if other != name])
    return ""


def _refuse_unused(listings: Sequence[Listing], **options: object) -> None:
    for option, value in options.items():
        if value is not None and not any(option in listing.options for listing in listings):
            takers = {"split": "tables with the column 'split', or datasets", "images_root": "tables of paths"}[option]
            raise InputError(f"{option}: found {shown(value)}, but no source takes one; expected {takers}")


# One table ----------------------------------------------------------------------------------------------------------


def _joined(listings: Sequence[Listing]) -> pa.Table:
    titles = _titles([listing.home for listing in listings])
    tables = [
        _prefixed(listing.table, f"{title}/") if len(listings) > 1 or listing.is_archive else listing.table
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
    """The last part of each path, preceded by as many parts as distinguish it from the others."""

    @cache
    def counts(length: int) -> Counter[tuple[str, ...]]:
        return Counter(home.parts[-length:] for home in set(homes))

    def title(home: PurePath) -> str:
        length = next(n for n in count(1) if counts(n)[home.parts[-n:]] <= 1)
        return PurePath(*home.parts[-length:]).as_posix()

    return [title(home) for home in homes]


def _fingerprint(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for name in table.column_names:
        digest.update(json.dumps([name]).encode())
        for start in range(0, table.num_rows, _HASHED_ROWS):
            values = table[name].slice(start, _HASHED_ROWS).to_pylist()
            digest.update(json.dumps(values, default=str).encode())
    return digest.hexdigest()
