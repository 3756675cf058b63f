"""Image tables: CSV, Excel or Parquet with the column `image`, which has paths or the bytes of images."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import PurePath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from Activation_Extraction.base.documents import parquet_file
from Activation_Extraction.base.errors import InputError, Problem, first_line, shown
from Activation_Extraction.base.files import check_file
from Activation_Extraction.images.listing import Files, Listing, Places, filled_folders, lost_file
from Activation_Extraction.images.places import FilePart
from Activation_Extraction.images.text_tables import (
    A_PATH,
    IMAGE,
    TEXT_TABLES,
    check_columns,
    plain_columns,
    read_text_table,
)
from Activation_Extraction.tables.dialects.options import TableOptions

TABLES = (*TEXT_TABLES, ".parquet", ".pq")


_ROWS_IN_MEMORY = 16
"""Rows of a Parquet file whose bytes are in memory at a time."""

_BUFFER_BYTES = 2**20
"""Without a buffer, pyarrow reads a complete row group at once."""


def list_table(path: str, split: str | None, images_root: str | None, told: TableOptions) -> Listing:
    """The rows of an image table, in its order.

    Args:
        split: take only rows with this value in the column `split`.
        images_root: folder that paths are relative to, in place of the table's own.
        told: what is known of CSVs and workbooks; the rest is found out.

    Raises:
        InputError: the table is unreadable or can be read in several ways, has no column `image`, an empty cell in it or no row of the split, or none of
            the folders of its images exists.
    """
    root = os.path.dirname(os.path.abspath(path)) if images_root is None else os.path.abspath(images_root)
    try:
        check_file(path)
        is_text = path.lower().endswith(TEXT_TABLES)
        table, notes, numbers = read_text_table(path, told.of(path)) if is_text else (_read_parquet(path), [], None)
        table.validate(full=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or first_line(error)})") from None
    except pa.ArrowException as error:
        raise InputError(
            f"{path}: not a readable table ({first_line(error)}); expected CSV, Excel or Parquet"
        ) from None
    packed = pa.types.is_struct(table[IMAGE].type)
    rows = None if split is None else rows_of_split(path, table, split)
    names = (
        names_of_paths(pc.struct_field(table[IMAGE], "path")) if packed else _checked_names(path, table[IMAGE], numbers)
    )
    table = table.set_column(0, IMAGE, names)
    table = table if rows is None else table.take(rows)
    places: Places
    if packed:
        places = PackedRows(path, root, rows)
    else:
        places = files = Files(root, table[IMAGE], {}, filled_folders(root, table[IMAGE]))
        if table.num_rows and not files.filled:
            raise InputError(
                f"{path}: none of the folders of its images exists, such as {os.path.dirname(files.where(0).path)}; "
                "expected paths relative to the table's folder, or the folder as images_root"
            )
    options = frozenset({"images_root", *({"split"} & {*table.column_names})})
    remarks = [f"{os.path.basename(path)}: read as: {'; '.join(notes)}"] if notes else []
    return Listing(table, places, PurePath(os.path.abspath(path)), options=options, is_text=is_text, remarks=remarks)


def rows_of_split(source: str, table: pa.Table, split: str) -> pa.Array | None:
    """Rows with this value in the column `split`; None if the table has no such column.

    Raises:
        InputError: there are none.
    """
    if "split" not in table.column_names:
        return None
    column = table["split"].cast(pa.string())
    rows = pc.indices_nonzero(pc.equal(column, split))
    if not len(rows):
        splits = ", ".join(sorted(map(str, column.unique().to_pylist())))
        raise InputError(f"{source}: no row of the split {shown(split)}; it has {shown(splits)}")
    return rows


def names_of_paths(paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """Names of a dataset's images: their paths if all are known and distinct, else row numbers.

    Absolute paths are made relative to their common folder, since it belongs to the machine that made the dataset.
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


# Reading ------------------------------------------------------------------------------------------------------------


def _read_parquet(path: str) -> pa.Table:
    with parquet_file(path, "an image table in CSV or Parquet") as file:
        schema = file.schema_arrow
        check_columns(path, schema)
        kind = schema.field(IMAGE).type
        plain = [name for name in plain_columns(schema) if name != IMAGE]
        if not pa.types.is_struct(kind):
            return file.read(columns=[IMAGE, *plain]).select([IMAGE, *plain]).replace_schema_metadata()
        if {"bytes", "path"} - {kind.field(i).name for i in range(kind.num_fields)}:
            raise InputError([Problem(path, f"a struct of {kind}", f"{A_PATH}, or bytes and path", column=IMAGE)])
        return file.read(columns=[f"{IMAGE}.path", *plain]).select([IMAGE, *plain]).replace_schema_metadata()


def _checked_names(path: str, column: pa.ChunkedArray, numbers: Sequence[int] | None) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise InputError([Problem(path, f"found {column.type}", A_PATH, column=IMAGE)])
    column = column.cast(pa.string())
    for found, wrong in (
        ("is empty", pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), True)),
        ("is more than one line", pc.match_substring(column, "\n")),
    ):
        if len(rows := pc.indices_nonzero(wrong)):
            first, more = rows[0].as_py(), len(rows) - 1
            row = first + 2 if numbers is None else numbers[first]
            raise InputError([Problem(path, found, A_PATH, column=IMAGE, row=row, more=more)])
    return column


# Bytes in Parquet ---------------------------------------------------------------------------------------------------


class PackedRows:
    """Rows whose images are in a Parquet file, read in order, a few at a time; jumping back rereads a row group.

    Args:
        root: folder that paths are relative to, in rows without bytes.
        rows: rows of the file; None for all.
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
        except (OSError, pa.ArrowException, StopIteration, ValueError) as error:
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
        """Go to the start of a row's row group."""

        def blocks() -> Iterator[pa.RecordBatch]:
            with pq.ParquetFile(self._path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
                yield from file.iter_batches(_ROWS_IN_MEMORY, row_groups=[group], columns=[IMAGE])

        with pq.ParquetFile(self._path) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        ends = list(accumulate(sizes))
        group = bisect_right(ends, row)
        self._first, self._end = ends[group] - sizes[group], ends[group]
        self._records, self._blocks = [], blocks()
