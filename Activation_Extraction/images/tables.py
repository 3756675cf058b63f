"""Image tables: CSV or Parquet with the column `image`, which names files or holds their bytes."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import accumulate
from pathlib import PurePath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from Activation_Extraction.base.errors import InputError, Problem, first_line, shown
from Activation_Extraction.images.listing import Files, Listing, Places, filled_folders, lost_file
from Activation_Extraction.images.places import FilePart

TABLES = (".csv", ".parquet", ".pq")

IMAGE = "image"
A_PATH = "the path of an image"

FOUND_ANEW = ("sha256", "error")
"""Columns that extraction adds to the table of images; an older table's are left out."""

_READ_AT_ONCE = 16
"""Rows of a Parquet file whose bytes are in memory at a time."""

_BUFFER = 2**20
"""Bytes; without a buffer a whole row group is read at once."""


def list_table(path: str, split: str | None, images_root: str | None) -> Listing:
    """The rows of an image table, in its order.

    Args:
        split: take the rows that have this in the column `split`.
        images_root: what its paths are relative to, in place of its folder.

    Raises:
        InputError: not a readable table, no column `image`, an empty cell there, no such split, or none of the folders
            that it names is there.
    """
    root = os.path.dirname(os.path.abspath(path)) if images_root is None else os.path.abspath(images_root)
    try:
        table = _read_csv(path) if path.lower().endswith(".csv") else _read_parquet(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or first_line(error)})") from None
    except pa.ArrowException as error:
        raise InputError(f"{path}: not a readable table ({first_line(error)}); expected CSV or Parquet") from None
    packed = pa.types.is_struct(table[IMAGE].type)
    rows = None if split is None else rows_of_split(path, table, split)
    names = names_of_paths(pc.struct_field(table[IMAGE], "path")) if packed else _checked_names(path, table[IMAGE])
    table = table.set_column(0, IMAGE, names)
    table = table if rows is None else table.take(rows)
    places: Places
    if packed:
        places = PackedRows(path, root, rows)
    else:
        places = _there(path, Files(root, table[IMAGE], {}, filled_folders(root, table[IMAGE])))
    options = {"images_root", *{"split"}.intersection(table.column_names)}
    return Listing(table, places, PurePath(os.path.abspath(path)), options=frozenset(options))


def rows_of_split(source: str, table: pa.Table, split: str) -> pa.Array | None:
    """The rows that have this in the column `split`; None where the table has no such column.

    Raises:
        InputError: no row has.
    """
    if "split" not in table.column_names:
        return None
    column = table["split"].cast(pa.string())
    rows = pc.indices_nonzero(pc.equal(column, split))
    if not len(rows):
        there = ", ".join(sorted(str(value) for value in column.unique().to_pylist()))
        raise InputError(f"{source}: no row of the split {shown(split)}; it has {shown(there)}")
    return rows


def names_of_paths(paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """Names of images of which a dataset may know the paths: these where they tell images apart, else row numbers.

    Absolute paths are shortened by the folder that they have in common, which says where they once lay.
    """
    count = len(paths)
    paths = paths.cast(pa.string())
    lowest, highest = pc.min_max(paths).values() if count else (pa.scalar(None), pa.scalar(None))
    if paths.null_count or not lowest.as_py() or pc.count_distinct(paths).as_py() < count:
        return pa.chunked_array([pa.array([f"{row:09d}" for row in range(count)], pa.string())])
    if lowest.as_py().startswith("/") and highest.as_py().startswith("/"):
        common = os.path.commonpath([os.path.dirname(lowest.as_py()), os.path.dirname(highest.as_py())])
        return pc.utf8_slice_codeunits(paths, len(common.rstrip("/")) + 1)
    return paths


def plain_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns that hold one number, word, truth or time a row; `FOUND_ANEW` left out."""
    return [
        field.name
        for field in schema
        if field.name not in FOUND_ANEW
        and not (
            pa.types.is_nested(field.type) or pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
        )
        and not isinstance(field.type, pa.BaseExtensionType)
    ]


# Reading ------------------------------------------------------------------------------------------------------------


def _read_csv(path: str) -> pa.Table:
    words = dict.fromkeys((IMAGE, "concept", "split"), pa.string())
    table = pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(column_types=words, strings_can_be_null=False),
    )
    _check_columns(path, table.schema)
    return table.select([IMAGE, *(name for name in plain_columns(table.schema) if name != IMAGE)])


def _read_parquet(path: str) -> pa.Table:
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        _check_columns(path, schema)
        kind = schema.field(IMAGE).type
        plain = [name for name in plain_columns(schema) if name != IMAGE]
        if not pa.types.is_struct(kind):
            table = file.read(columns=[IMAGE, *plain])
            return table.select([IMAGE, *plain])
        if {"bytes", "path"} - {kind.field(i).name for i in range(kind.num_fields)}:
            raise InputError([Problem(path, f"a struct of {kind}", f"{A_PATH}, or bytes and path", column=IMAGE)])
        return file.read(columns=[f"{IMAGE}.path", *plain]).select([IMAGE, *plain])


def _check_columns(path: str, schema: pa.Schema) -> None:
    names = schema.names
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise InputError([Problem(path, "the name stands more than once", "each column once", column=twins[0])])
    if IMAGE in names:
        return
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise InputError(f"{path}: columns are not separated by commas (header {shown(names[0])}); expected a CSV")
    likely = [name for name in names if any(word in name.lower() for word in ("image", "file", "path"))]
    near = likely or get_close_matches(IMAGE, names, n=1, cutoff=0.5)
    hint = f" (did you mean '{near[0]}'? rename it)" if near else ""
    raise InputError(f"{path}: no column 'image'{hint}; expected {A_PATH} in each row of it")


def _checked_names(path: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise InputError([Problem(path, f"holds {column.type}", A_PATH, column=IMAGE)])
    column = column.cast(pa.string())
    for found, wrong in (
        ("is empty", pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), True)),
        ("is more than one line", pc.match_substring(column, "\n")),
    ):
        if len(rows := pc.indices_nonzero(wrong)):
            row, more = rows[0].as_py() + 2, len(rows) - 1
            raise InputError([Problem(path, found, A_PATH, column=IMAGE, row=row, more=more)])
    return column


def _there(path: str, files: Files) -> Files:
    if len(files.names) and not files.filled:
        first = files.where(0).path
        raise InputError(
            f"{path}: none of the folders of its images is there, such as {os.path.dirname(first)}; "
            "expected paths relative to the table's folder, or the folder as images_root"
        )
    return files


# Bytes in Parquet ---------------------------------------------------------------------------------------------------


class PackedRows:
    """Rows whose images a Parquet file holds: read forwards, a few at a time; going back costs a row group.

    Args:
        root: what paths are relative to, in rows that have no bytes.
        rows: which rows of the file these are; None for all.
    """

    def __init__(self, path: str, root: str, rows: pa.Array | None) -> None:
        self._path, self._root, self._rows = os.path.abspath(path), root, rows
        self._lock = threading.Lock()
        self._first = self._end = 0
        self._records: list[dict[str, Any]] = []
        self._blocks: Iterator[pa.RecordBatch] = iter(())

    def where(self, row: int) -> FilePart | bytes:
        try:
            with self._lock:
                record = self._record(row if self._rows is None else self._rows[row].as_py()) or {}
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{self._path}: cannot be read any more ({first_line(error)})") from None
        data = record.get("bytes")
        return FilePart(os.path.join(self._root, record.get("path") or "")) if data is None else bytes(data)

    def lost(self, row: int) -> str | None:
        return lost_file(self._path)

    def _record(self, row: int) -> dict[str, Any] | None:
        if not self._first <= row < self._end:
            self._open(row)
        while row >= self._first + len(self._records):
            self._first += len(self._records)
            self._records = next(self._blocks).column(0).to_pylist()
        return self._records[row - self._first]

    def _open(self, row: int) -> None:
        """Stand before the row group that holds a row."""

        def blocks() -> Iterator[pa.RecordBatch]:
            with pq.ParquetFile(self._path, buffer_size=_BUFFER, pre_buffer=False) as file:
                yield from file.iter_batches(_READ_AT_ONCE, row_groups=[group], columns=[IMAGE])

        with pq.ParquetFile(self._path) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        ends = list(accumulate(sizes))
        group = bisect_right(ends, row)
        self._first, self._end = ends[group] - sizes[group], ends[group]
        self._records, self._blocks = [], blocks()
