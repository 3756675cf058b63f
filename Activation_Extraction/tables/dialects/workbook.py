"""Tables in Excel workbooks, read with openpyxl."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from Activation_Extraction.base.errors import InputError, Problem, did_you_mean, first_line, shown
from Activation_Extraction.base.extras import naming_extras
from Activation_Extraction.base.files import open_file
from Activation_Extraction.base.text import from_cell
from Activation_Extraction.tables.dialects.options import CsvOptions
from Activation_Extraction.tables.dialects.raw_table import RawTable

Row = tuple[Any, ...]
_OTHER_SPREADSHEETS = {b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls) or an encrypted one", b"mimetypeapplication/vnd.oasis": "an OpenDocument spreadsheet"}  # fmt: skip


def is_workbook(head: bytes, path: Path) -> bool:
    """Whether a file, which begins with `head`, is an Excel workbook.

    Raises:
        InputError: it is another program's, or an archive.
    """
    for magic, what in _OTHER_SPREADSHEETS.items():
        if magic in head[:100]:
            raise InputError([Problem(str(path), what, "the sheet saved as .xlsx or as CSV UTF-8")])
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            is_book = any(name.startswith("xl/") for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError):
        is_book = path.suffix.lower() in (".xlsx", ".xlsm")  # a damaged one
    if not is_book:
        raise InputError([Problem(str(path), "a zip archive", "the table that is in it")])
    return True


@naming_extras()
def read_workbook(data: bytes, path: Path, wanted: Callable[[str], bool], options: CsvOptions) -> RawTable:
    """The wanted columns of the one sheet that has them.

    Raises:
        InputError: no workbook, no such sheet, several sheets with the same columns, or formulas without values.
        MissingPackageError: openpyxl is not installed.
    """
    import openpyxl  # late: an extra

    def opened(**how: bool) -> Any:
        return openpyxl.load_workbook(BytesIO(data), read_only=True, **how)

    try:
        book = opened(data_only=True)
        headers = {name: _header(book[name]) for name in book.sheetnames if hasattr(book[name], "iter_rows")}
        sheet = _chosen(headers, path, wanted, options)
        rows = [(number, row) for number, row in _rows(book[sheet]) if number > headers[sheet][0]]
    except InputError:
        raise
    except Exception as error:  # openpyxl raises what the XML parser, zipfile or its own checks raise
        raise InputError(
            [Problem(str(path), f"not a readable workbook ({first_line(error)})", "an .xlsx file")]
        ) from None
    names = headers[sheet][1]
    columns = [at for at, name in enumerate(names) if name and wanted(name)]
    blank = {(number, at) for number, row in rows for at in columns if at >= len(row) or row[at] is None}
    if blank:
        formulas = opened()[sheet]
        _refuse_formulas(_rows(formulas), blank, names, path)
    cells = {names[at]: [_value(row[at]) if at < len(row) else None for _, row in rows] for at in columns}
    twins = [names[at] for at in columns if [names[i] for i in columns].count(names[at]) > 1]
    if twins:
        found = "the name appears more than once in the header"
        raise InputError(Problem(str(path), found, "each column once", column=name) for name in dict.fromkeys(twins))
    frame = pd.DataFrame(cells, dtype=object).infer_objects()
    said = (f"sheet {shown(sheet)} of {len(headers)}",) if len(headers) > 1 else ()
    return RawTable(
        frame, names, np.array([number for number, _ in rows], dtype=np.int64), said, is_local=True, options=options
    )


def _rows(sheet: Any) -> Iterator[tuple[int, Row]]:
    """The number and the cells of each row that is not blank."""
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        if any(cell is not None and str(cell).strip() for cell in row):
            yield number, row


def _header(sheet: Any) -> tuple[int, list[str]]:
    number, row = next(_rows(sheet), (0, ()))
    return number, ["" if cell is None else from_cell(str(cell)) for cell in row]


def _chosen(
    headers: dict[str, tuple[int, list[str]]], path: Path, wanted: Callable[[str], bool], options: CsvOptions
) -> str:
    """The sheet with the most wanted columns."""
    if options.sheet is not None:
        if options.sheet not in headers:
            there = ", ".join(map(shown, headers))
            near = did_you_mean(options.sheet, headers)
            raise InputError([Problem(str(path), f"no sheet {shown(options.sheet)}{near}", f"one of {there}")])
        return options.sheet
    count = {name: len({column for column in header if column and wanted(column)}) for name, (_, header) in headers.items()}  # fmt: skip
    most = max(count.values(), default=0)
    best = [name for name in count if count[name] == most]
    if not best:
        raise InputError([Problem(str(path), "no sheet with cells", "a header and rows")])
    if most and len(best) > 1:
        found = f"sheets {' and '.join(map(shown, best[:3]))} have the same columns"
        raise InputError([Problem(str(path), found, f"one of them: {options.typed(f'sheet={best[0]}')}")])
    return best[0]


def _refuse_formulas(
    rows: Iterator[tuple[int, Row]], blank: set[tuple[int, int]], names: list[str], path: Path
) -> None:
    """Refuse cells that are blank because a formula was never computed."""
    for number, row in rows:
        for at, cell in enumerate(row):
            if (number, at) in blank and isinstance(cell, str) and cell.startswith("="):
                found = f"the formula {shown(cell)} without a value"
                raise InputError([Problem(str(path), found, "the workbook opened and saved by a spreadsheet", names[at], number)])  # fmt: skip


def _value(cell: Any) -> Any:
    """A cell as it would be in a CSV."""
    if isinstance(cell, datetime | date | time):
        return str(cell)
    return from_cell(cell) if isinstance(cell, str) else cell
