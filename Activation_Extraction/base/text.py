"""Text from outside on a terminal, in HTML and in CSV: one function each, and the one way to print.

Names of images, concepts and layers, and what servers and libraries say, may hold characters that move a terminal's
cursor, turn the direction of a line, end an HTML attribute or start a spreadsheet's formula. Errors, warnings and `say`
make them visible; nothing else prints (`tests/test_house.py`).
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from rich.console import Console

_FORMULA = re.compile(r"'*[=+\-@＝＋－＠\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf(inity)?|[+-]nan", re.IGNORECASE | re.ASCII)


# A terminal -----------------------------------------------------------------------------------------------------------


def printable(text: object) -> str:
    r"""Text in one line in which every character is visible: others (control, direction, surrogates) become escapes.

    >>> printable("a\x1b[2J\n\u202eb é")
    'a\\x1b[2J\\n\\u202eb é'
    """
    text = str(text)
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def is_text(text: str) -> bool:
    """Whether a string has no lone surrogates, so that UTF-8 can encode it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def say(line: object = "", *, error: bool = False) -> None:
    """Print one line: on standard output, or on standard error."""
    print(printable(line), file=sys.stderr if error else sys.stdout, flush=True)


def in_markup(text: object) -> str:
    r"""Text for Rich's markup, in one line and without a meaning.

    >>> in_markup("[bold]fire\n")
    '\\[bold]fire\\n'
    """
    from rich.markup import escape

    return escape(printable(text))


def console(**options: Any) -> Console:
    """A Rich console whose texts keep line ends and no other control character; see `in_markup` for names in them."""
    from rich.console import Console
    from rich.text import Text

    class VisibleConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str("\n".join(map(printable, text.split("\n"))), **options)

    return VisibleConsole(highlight=False, **options)


# HTML -----------------------------------------------------------------------------------------------------------------


def in_html(text: object) -> str:
    """Text for an HTML page, also within quotes.

    >>> in_html("<b>'fire'")
    '&lt;b&gt;&#x27;fire&#x27;'
    """
    return html.escape(printable(text))


def html_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], about: str = "", notes: Iterable[str] = ()
) -> str:
    """A table for notebooks, all text in it escaped.

    >>> html_table(["unit"], [["<b>"]], notes=["a & b"]).count("&lt;b&gt;")
    1

    Args:
        about: a line above it; notes: lines below it.
    """
    head = "".join(f'<th style="text-align:left">{in_html(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:left">{in_html(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    above = f"<p>{in_html(about)}</p>" if about else ""
    below = "".join(f"<li>{in_html(note)}</li>" for note in notes)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div>{above}{table}{f'<ul>{below}</ul>' if below else ''}</div>"


# CSV ------------------------------------------------------------------------------------------------------------------


def to_cell(text: str) -> str:
    """Text for a cell of a CSV file, with an apostrophe before what a spreadsheet would take for a formula.

    >>> to_cell("=1+1"), to_cell("-1.5"), to_cell("fire")
    ("'=1+1", '-1.5', 'fire')
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def from_cell(text: str) -> str:
    """The text that `to_cell` was given.

    >>> from_cell("'=1+1"), from_cell("'tis")
    ('=1+1', "'tis")
    """
    return text[1:] if text.startswith("'") and to_cell(text[1:]) != text[1:] else text


class CsvLines:
    """A file for writers of CSV: lines end with LF alone, and, as the writer is told CRLF, cells that hold either are quoted.

    Example: `csv.writer(CsvLines(file), lineterminator=CsvLines.END)`.
    """

    END = "\r\n"

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(f"{line.removesuffix(self.END)}\n".encode(errors="backslashreplace"))


def write_csv(frame: pd.DataFrame, file: BinaryIO, **options: Any) -> None:
    """Write a table as CSV: its texts and the names of its columns as `to_cell` gives them."""
    cells = frame.rename(columns=lambda name: to_cell(name) if isinstance(name, str) else name)
    for at, dtype in enumerate(frame.dtypes):
        if dtype.kind == "O":
            texts = frame.iloc[:, at].map(lambda value: to_cell(value) if isinstance(value, str) else value)
            cells.isetitem(at, texts)
    cells.to_csv(CsvLines(file), lineterminator=CsvLines.END, **options)


def as_csv(frame: pd.DataFrame, **options: Any) -> bytes:
    """The bytes that `write_csv` writes."""
    file = BytesIO()
    write_csv(frame, file, **options)
    return file.getvalue()


def from_cells(table: pa.Table) -> pa.Table:
    """A table that was read from a CSV: its texts as `from_cell` gives them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for at, field in enumerate(table.schema):
        if pa.types.is_string(field.type) and pc.any(pc.starts_with(table[at], "'")).as_py():
            texts = [None if text is None else from_cell(text) for text in table[at].to_pylist()]
            table = table.set_column(at, field, pa.chunked_array([pa.array(texts, field.type)]))
    return table
