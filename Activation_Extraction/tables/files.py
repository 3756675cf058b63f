"""Reading CSV, Excel and Parquet tables strictly."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import StringIO, TextIOWrapper
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from Activation_Extraction.base.documents import parquet_file
from Activation_Extraction.base.errors import InputError, Problem
from Activation_Extraction.base.files import NotAFileError, check_file, open_file, read_bytes
from Activation_Extraction.base.text import from_cells, is_text
from Activation_Extraction.tables.dialects.encodings import GZIP, HEAD_BYTES
from Activation_Extraction.tables.dialects.number_words import MISSING_NUMBERS
from Activation_Extraction.tables.dialects.options import CsvOptions
from Activation_Extraction.tables.dialects.raw_table import RawTable
from Activation_Extraction.tables.dialects.records import SAMPLE, Dialect, dialect_of
from Activation_Extraction.tables.dialects.text_table import read_text_table, refuse_twins
from Activation_Extraction.tables.dialects.workbook import is_workbook, read_workbook

CSV_BLOCK_BYTES = 16 * 2**20
"""Large, because every block of every column is an array of its own."""

PACKED = (".gz", ".bz2", ".zst", ".lz4")
"""Arrow decompresses files with such names, whatever they are."""
A_TABLE = "a CSV, Excel or Parquet table"


def read_table(
    path: str | os.PathLike[str],
    wanted: Callable[[str], bool],
    numeric: Callable[[str], bool],
    options: CsvOptions = CsvOptions(),  # noqa: B008 - frozen
) -> RawTable:
    """Read the wanted columns of a CSV, Excel or Parquet file, whatever its name ends with.

    Args:
        path: a file; a text file may be compressed with gzip.
        wanted: by name, the columns to keep; the others are never converted.
        numeric: by name, which of them hold numbers. If a CSV has anything else in one of them, all columns are
            returned as text, so that the caller can name the cells.
        options: what is known of a CSV or a workbook.

    Returns:
        The wanted columns in the file's row order, text never turned into missing values; and the names of all columns.

    Raises:
        InputError: no such file, empty, not a table, ragged rows, the same column twice, or a table that can be read in
            several ways.
    """
    path = Path(path)
    if why_not := _not_a_file(path):
        raise InputError([Problem(str(path), why_not, A_TABLE)])
    if path.stat().st_size == 0:
        raise InputError([Problem(str(path), "the file is empty", "a table with a header and rows")])
    try:
        with open_file(path) as file:
            head = file.read(HEAD_BYTES)
        if head.startswith(b"PAR1") or path.suffix.lower() in (".parquet", ".pq"):
            return _read_parquet(path, wanted)
        if is_workbook(head, path):
            return read_workbook(read_bytes(path), path, wanted, options)
        return _read_csv(path, head, wanted, numeric, options)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); expected {A_TABLE}") from None


def _read_parquet(path: Path, wanted: Callable[[str], bool]) -> RawTable:
    import pyarrow as pa

    with parquet_file(path, "a table in Parquet") as file:
        schema = file.schema_arrow
        refuse_twins(path, schema.names)
        columns = [name for name in schema.names if wanted(name)]
        nested = {name: schema.field(name).type for name in columns if pa.types.is_nested(schema.field(name).type)}
        if nested:
            raise InputError(
                Problem(str(path), f"a column of {kind}", "one number or text a row", column=name)
                for name, kind in nested.items()
            )
        table = file.read(columns=columns)
        for at, field in enumerate(table.schema):
            if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):  # texts of older writers
                table = table.set_column(at, field.name, table[at].cast(pa.string()))
        # Pandas metadata would turn former index columns into an index again.
        frame = table.to_pandas(split_blocks=True, self_destruct=True, ignore_metadata=True)
        return RawTable(frame, schema.names, _row_numbers(frame))


def _row_numbers(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Rows numbered as in a spreadsheet, where the header is row 1."""
    return np.arange(len(frame)) + 2


def _read_csv(
    path: Path, head: bytes, wanted: Callable[[str], bool], numeric: Callable[[str], bool], options: CsvOptions
) -> RawTable:
    """A plain CSV by Arrow, fast; what Arrow refuses or would misread, by `read_text_table`."""
    import pyarrow as pa
    import pyarrow.csv as pc

    names = None if options.as_dict() else plain_names(path, head, wanted)
    if names is None:
        return read_text_table(read_bytes(path), path, wanted, options)
    columns = list(filter(wanted, names))
    refuse_twins(path, columns)

    def read(types: Mapping[str, pa.DataType]) -> pa.Table:
        return pc.read_csv(
            path,
            read_options=pc.ReadOptions(block_size=CSV_BLOCK_BYTES),
            parse_options=pc.ParseOptions(newlines_in_values=True),
            convert_options=pc.ConvertOptions(
                include_columns=columns,
                column_types=types,
                null_values=list(MISSING_NUMBERS),
                strings_can_be_null=False,
            ),
        )

    words = dict.fromkeys(columns, pa.string())
    try:
        try:
            table = read({**words, **{name: pa.float64() for name in columns if numeric(name)}})
        except pa.ArrowInvalid as error:
            if "conversion error" not in str(error):
                raise
            table = read(words)
    except (pa.ArrowException, UnicodeDecodeError):
        return read_text_table(read_bytes(path), path, wanted, options)
    frame = from_cells(table).to_pandas(split_blocks=True, self_destruct=True)
    return RawTable(frame, names, _row_numbers(frame))


def plain_names(path: Path, head: bytes, wanted: Callable[[str], bool]) -> list[str] | None:
    """The names of a CSV's columns, if it is plain: commas, double quotes that are closed, the header first, UTF-8.

    Args:
        head: its beginning.
    """
    text = head.decode("utf-8-sig", errors="surrogateescape")
    if "\0" in text or head.startswith(GZIP) or path.suffix.lower() in PACKED:
        return None
    try:
        dialect = dialect_of(text, wanted, CsvOptions(), path)
        names, *sample = islice(csv.reader(StringIO(text, newline="")), SAMPLE)
    except (InputError, ValueError, csv.Error):
        return None
    if any(cell.startswith((' "', '  "')) for cells in sample for cell in cells):
        return None  # Arrow would take such a quote for a character
    is_plain = replace(dialect, names=()) == Dialect() and dialect.names == tuple(names) and all(map(is_text, names))
    return names if is_plain and _is_quoted_whole(path) else None


def _is_quoted_whole(path: Path) -> bool:
    """Whether every quote is closed; one that is not would silently swallow the rows that follow."""
    with open_file(path) as file:
        quotes = sum(block.count(b'"') for block in iter(lambda: file.read(1 << 20), b""))
    if quotes % 2 == 0:
        return True
    try:
        with TextIOWrapper(open_file(path), "utf-8-sig", errors="surrogateescape", newline="") as file:
            for _ in csv.reader(file, strict=True):
                pass
    except csv.Error:
        return False
    return True


def _not_a_file(path: Path) -> str | None:
    """Why a path is no readable file, or None."""
    try:
        check_file(path)
        return None
    except FileNotFoundError:
        return "no such file"
    except NotAFileError as error:
        return error.strerror
    except OSError as error:  # such as a name that is too long
        return f"cannot be read ({error.strerror})"
