"""Tables in text files of any separator, quotes and encoding: what the fast reader of plain CSV refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from Activation_Extraction.base.errors import InputError, Problem
from Activation_Extraction.base.text import from_cells
from Activation_Extraction.tables.dialects.encodings import GZIP, decoded, unpacked
from Activation_Extraction.tables.dialects.options import CsvOptions
from Activation_Extraction.tables.dialects.raw_table import RawTable
from Activation_Extraction.tables.dialects.records import dialect_of, rows_of, with_escapes
from Activation_Extraction.tables.dialects.simple_text import simple_columns

NO_TABLES = {"{": "JSON", "[": "JSON", "<": "HTML or XML", "%PDF": "PDF", "{\\rtf": "rich text", "\\": "LaTeX"}
"""What files that hold something else start with."""
_PLAIN_ENCODINGS = ("utf-8", "utf-8-sig")


def read_text_table(data: bytes, path: Path, wanted: Callable[[str], bool], options: CsvOptions) -> RawTable:
    """The wanted columns as text.

    Raises:
        InputError: not a table, or one that can be read in several ways.
    """
    text, encoding = decoded(unpacked(data, path), path, options)
    dialect = dialect_of(text, wanted, options, path)
    names = list(dialect.names)
    refuse_twins(path, filter(wanted, names))
    columns = [at for at, name in enumerate(names) if wanted(name)]
    if not columns and (kind := next((kind for mark, kind in NO_TABLES.items() if text.lstrip().startswith(mark)), "")):
        raise InputError([Problem(str(path), f"a file of {kind}", "a CSV, Excel or Parquet table")])
    comments: list[str] = []
    simple = simple_columns(text, dialect, columns) if columns else None
    cells_C: Sequence[pa.ChunkedArray | list[str]]
    if simple is None:
        cells_C, numbers, problems = rows_of(text, dialect, path, columns, comments)
    else:
        cells_C, numbers, problems = simple, list(range(2, 2 + len(simple[0]))), []
    if problems and (other := with_escapes(text, dialect)):
        comments.clear()
        retried = rows_of(text, other, path, columns, comments)
        if not retried[-1]:
            dialect, (cells_C, numbers, problems) = other, retried
    if problems:
        raise InputError(problems)
    table = pa.table(
        {
            names[at]: cells if isinstance(cells, pa.ChunkedArray) else pa.array(cells, pa.string())
            for at, cells in zip(columns, cells_C, strict=True)
        }
    )
    said = [*dialect.read_as(), *([f"encoding {encoding}"] if encoding not in _PLAIN_ENCODINGS else [])]
    said += [f"comment lines left out: {len(comments)}"] if comments else []
    said += ["gzip"] if data.startswith(GZIP) else []
    frame = from_cells(table).to_pandas(split_blocks=True, self_destruct=True)
    return RawTable(frame, names, np.array(numbers, dtype=np.int64), tuple(said), dialect.separator == ";", options)


def refuse_twins(path: Path, names: Iterable[str]) -> None:
    """Refuse columns with the same name.

    Raises:
        InputError: one line for each.
    """
    if twins := sorted(name for name, count in Counter(names).items() if count > 1):
        found = "the name appears more than once in the header"
        raise InputError(Problem(str(path), found, "each column once", column=name) for name in twins)
