"""Image tables in CSV files and workbooks, and which columns an image table has."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv

from Activation_Extraction.base.errors import InputError, Problem, shown
from Activation_Extraction.base.files import open_file
from Activation_Extraction.base.text import from_cell, from_cells
from Activation_Extraction.tables.column_names import ColumnNames
from Activation_Extraction.tables.dialects.encodings import HEAD_BYTES
from Activation_Extraction.tables.dialects.number_words import NumberWords
from Activation_Extraction.tables.dialects.options import CsvOptions
from Activation_Extraction.tables.files import plain_names, read_table
from Activation_Extraction.tables.identifiers import as_words, visible

if TYPE_CHECKING:
    import pandas as pd

TEXT_TABLES = (".csv", ".tsv", ".xlsx")
"""Suffixes."""
IMAGE = "image"
WORDS = (IMAGE, "concept", "split")
"""Columns that are text whatever is in them."""
COLUMNS = ColumnNames((*WORDS, "level", "clean_image"))
A_PATH = "the path of an image"
EXACT = 2**53
"""Whole numbers from which floats have gaps; columns with larger ones, which are names, stay text."""

_ADDED_COLUMNS = ("sha256", "error")
"""Columns that extraction adds to the image table; those of the source are ignored."""


def read_text_table(path: str, options: CsvOptions) -> tuple[pa.Table, list[str], Sequence[int] | None]:
    """A table in a CSV or a workbook, how it was read where it is no plain CSV, and then the numbers of its rows."""
    with open_file(path) as file:
        head = file.read(HEAD_BYTES)
    header = None if options.as_dict() else plain_names(Path(path), head, _has_name)
    table = None if header is None else _read_plain(path, header)
    notes: list[str] = []
    numbers: Sequence[int] | None = None
    if table is None:
        table, notes, numbers = _read_dialect(path, options)
    names = [COLUMNS.meant(from_cell(name)) or from_cell(name) for name in table.column_names]
    renamed = [
        f"{shown(old)} as {new}" for old, new in zip(table.column_names, names, strict=True) if from_cell(old) != new
    ]
    table = table.rename_columns(names)
    check_columns(path, table.schema)
    columns = [IMAGE, *(name for name in plain_columns(table.schema) if name != IMAGE)]
    return table.select(columns), [*notes, *([f"column {', '.join(renamed)}"] if renamed else [])], numbers


def _has_name(column: str) -> bool:
    return bool(visible(column))


def _read_plain(path: str, header: Sequence[str]) -> pa.Table | None:
    """A plain CSV by Arrow, fast; None where Arrow finds that it is none."""
    words = {name: pa.string() for name in header if COLUMNS.meant(name) in WORDS}
    try:
        table = pa.csv.read_csv(
            path,
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(column_types=words, strings_can_be_null=False),
        )
    except pa.ArrowException:
        return None
    return from_cells(table)


def _read_dialect(path: str, options: CsvOptions) -> tuple[pa.Table, list[str], Sequence[int]]:
    """What is no plain CSV, without blank rows; columns of numbers as numbers."""
    raw = read_table(path, _has_name, lambda column: False, options)
    texts = {str(name): as_words(raw.frame[name]) for name in raw.frame}
    blank = np.all([words == "" for words in texts.values()], axis=0) if texts else np.zeros(len(raw.rows), dtype=bool)
    others = {name: words[~blank] for name, words in texts.items() if COLUMNS.meant(name) not in WORDS}
    number_words = NumberWords(others.values, raw.is_local, raw.options)
    columns = {name: pa.array(words[~blank].tolist(), pa.string()) for name, words in texts.items()}
    columns |= {
        name: found for name, words in others.items() if (found := _numbers(name, words, number_words)) is not None
    }
    left_out = [f"blank rows left out: {blank.sum()}"] if blank.any() else []
    return pa.table(columns), [*raw.read_as, *left_out, *number_words.said()], raw.rows[~blank].tolist()


def _numbers(column: str, words: pd.Series, number_words: NumberWords) -> pa.Array | None:
    """A column of nothing but numbers and missing ones as whole numbers or floats; else None."""
    values, wrong, undecided = number_words.read(column, words)
    is_there = ~np.isnan(values)
    if not is_there.any() or wrong.any() or undecided.any() or (np.abs(values[is_there]) >= EXACT).any():
        return None
    is_whole = (values[is_there] == np.rint(values[is_there])).all() and not words.str.contains("[.,]").any()
    kind = pa.int64() if is_whole else pa.float64()
    return pa.array(np.where(is_there, values, 0), pa.float64(), mask=~is_there).cast(kind)


def plain_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns of numbers, strings, booleans or times, without those that extraction adds."""
    kinds = pa.types.is_nested, pa.types.is_binary, pa.types.is_large_binary
    return [
        field.name
        for field in schema
        if field.name not in _ADDED_COLUMNS
        and not isinstance(field.type, pa.BaseExtensionType)
        and not any(is_kind(field.type) for is_kind in kinds)
    ]


def check_columns(path: str, schema: pa.Schema) -> None:
    names = schema.names
    for twin in sorted({name for name in names if names.count(name) > 1}):
        raise InputError([Problem(path, "the name appears more than once", "each column once", column=twin)])
    if IMAGE in names:
        return
    likely = [name for name in names if any(word in name.lower() for word in ("image", "file", "path"))]
    near = likely or get_close_matches(IMAGE, names, n=1, cutoff=0.5)
    hint = f" (did you mean '{near[0]}'? rename it)" if near else ""
    raise InputError(f"{path}: no column 'image'{hint}; expected one with {A_PATH} in each row")
