"""Reading CSV and Parquet tables strictly."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path

import pandas as pd

from Activation_Extraction.base.documents import parquet_file
from Activation_Extraction.base.errors import first_line
from Activation_Extraction.base.files import NotAFileError, check_file, open_file
from Activation_Extraction.base.text import from_cells, is_text
from InterpScore.errors import InputError, Problem, shown

CSV_BLOCK_BYTES = 16 * 2**20
"""Large, because every block of every column is an array of its own."""

MISSING_NUMBERS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NAN", "null", "NULL", "None")
"""Missing values in numeric columns; in text columns these are ordinary words."""

SHOWN_ROWS = 3
"""Rows of each kind of problem named in a message; the rest are counted."""


def read_table(
    path: str | os.PathLike[str], wanted: Callable[[str], bool], numeric: Callable[[str], bool]
) -> tuple[pd.DataFrame, list[str]]:
    """Read the wanted columns of a CSV or Parquet file.

    Args:
        path: a `.csv` or `.parquet` file.
        wanted: by name, the columns to keep; the others are never converted.
        numeric: by name, which of them hold numbers. If a CSV has anything else in one of them, all columns are
            returned as text, so that the caller can name the cells.

    Returns:
        The wanted columns in the file's row order, text never turned into missing values; and the names of all columns.

    Raises:
        InputError: no such file, empty, not a table, ragged rows, or the same column twice.
    """
    path = Path(path)
    if why_not := _not_a_file(path):
        raise InputError([Problem(str(path), why_not, "a CSV or Parquet table")])
    if path.stat().st_size == 0:
        raise InputError([Problem(str(path), "the file is empty", "a table with a header and rows")])
    try:
        is_parquet = path.suffix.lower() in (".parquet", ".pq")
        return _read_parquet(path, wanted) if is_parquet else _read_csv(path, wanted, numeric)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); expected a CSV or Parquet table"
        ) from None


def _read_parquet(path: Path, wanted: Callable[[str], bool]) -> tuple[pd.DataFrame, list[str]]:
    import pyarrow as pa

    with parquet_file(path, "a table in Parquet") as file:
        names = file.schema_arrow.names
        _refuse_twins(path, names)
        table = file.read(columns=[name for name in names if wanted(name)])
        for at, field in enumerate(table.schema):
            if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):  # texts of older writers
                table = table.set_column(at, field.name, table[at].cast(pa.string()))
        # Pandas metadata would turn former index columns into an index again.
        return table.to_pandas(split_blocks=True, self_destruct=True, ignore_metadata=True), names


def _read_csv(
    path: Path, wanted: Callable[[str], bool], numeric: Callable[[str], bool]
) -> tuple[pd.DataFrame, list[str]]:
    import pyarrow as pa
    import pyarrow.csv as pc

    names = _csv_header(path)
    _refuse_twins(path, names)
    _refuse_open_quote(path)
    columns = [name for name in names if wanted(name)]

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
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(_csv_problems(path, names, set(columns), error)) from None
    return from_cells(table).to_pandas(split_blocks=True, self_destruct=True), names


def _csv_header(path: Path) -> list[str]:
    try:
        header = next(_csv_rows(path), [])
    except csv.Error as error:
        raise InputError(f"{path}: the header is not readable ({error}); expected a CSV in UTF-8") from None
    if not all(map(is_text, header)):
        raise InputError(f"{path}: the header is not UTF-8 text; expected a CSV in UTF-8")
    if not any(name.strip() for name in header):
        raise InputError(f"{path}: the first line is blank; expected the names of the columns")
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        raise InputError(
            f"{path}: columns are not separated by commas (header {shown(header[0])}); expected a comma-separated table"
        )
    return header


def _csv_rows(path: Path, strict: bool = False) -> Iterator[list[str]]:
    """The rows as Python's reader splits them; bytes that are not UTF-8 become lone surrogates."""
    with TextIOWrapper(open_file(path), "utf-8-sig", errors="surrogateescape", newline="") as file:
        yield from csv.reader(file, strict=strict)


def _refuse_open_quote(path: Path) -> None:
    """An unclosed quote would silently swallow the rows that follow."""
    with open_file(path) as file:
        quotes = sum(block.count(b'"') for block in iter(lambda: file.read(1 << 20), b""))
    row = 1
    try:
        if quotes % 2:
            for _ in _csv_rows(path, strict=True):
                row += 1
    except csv.Error:
        found = "a quote that is not closed, or not at the end of its cell"
        raise InputError([Problem(str(path), found, "quotes around whole cells", row=row)]) from None


def _csv_problems(path: Path, names: list[str], wanted: Container[str], error: Exception) -> Sequence[object]:
    """The wrong rows of a CSV that Arrow refused."""
    ragged: list[Problem] = []
    garbled: list[Problem] = []
    try:
        for row, cells in enumerate(_csv_rows(path), start=1):
            if cells and len(cells) != len(names):
                expected = f"{len(names)}, as the header has"
                ragged.append(Problem(str(path), f"{len(cells)} cells", expected, row=row))
            garbled += [
                Problem(str(path), "bytes that are not UTF-8", "a CSV in UTF-8", column=name, row=row)
                for name, cell in zip(names, cells, strict=False)
                if name in wanted and not is_text(cell)
            ]
    except csv.Error:
        pass
    problems = [*_first_and_count(ragged), *_first_and_count(garbled)]
    return problems or [f"{path}: not a readable CSV table ({first_line(error)})"]


def _first_and_count(problems: list[Problem]) -> list[Problem]:
    """The first problems of a kind, the last with a count of the rest."""
    first = problems[:SHOWN_ROWS]
    return [*first[:-1], replace(first[-1], more=len(problems) - len(first))] if first else []


def _refuse_twins(path: Path, names: Iterable[str]) -> None:
    if twins := sorted(name for name, count in Counter(names).items() if count > 1):
        found = "the name appears more than once in the header"
        raise InputError(Problem(str(path), found, "each column once", column=name) for name in twins)


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
