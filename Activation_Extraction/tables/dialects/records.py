"""The rows of a CSV of any separator and quotes, with what was found out about it."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from itertools import islice
from pathlib import Path

from Activation_Extraction.base.errors import InputError, Problem
from Activation_Extraction.tables.dialects.options import CsvOptions, mark

BEGINNING = 2**20
"""Characters of a large text from which its dialect is found out."""
SAMPLE = 20
"""Rows from which separator, quotes and row names are found out."""
SHOWN_ROWS = 3
"""Rows of each kind of problem named in a message; the rest are counted."""
SEPARATORS = (",", ";", "\t", "|", " ")
EXAMPLE = ("...", "…")
"""What stands for rows that an example leaves out."""
NOTE = "#"
"""What comment lines start with unless told."""


@dataclass(frozen=True)
class Dialect:
    """How a text is split into cells; `header` is its first line but those left out before it."""

    separator: str = ","
    quote: str = '"'
    escape: str | None = None
    comment: str = NOTE
    is_aligned: bool = False
    """Columns are aligned: any number of spaces separates them."""
    first_line: int = 0
    """Lines before the header."""
    titles: int = 0
    """How many of them are neither blank nor comments."""
    names: tuple[str, ...] = ()
    extra: str = ""
    """What rows have more than the header: `row names` first, an `end` last, or nothing."""
    is_noted: bool = False
    """The header is a comment line."""

    def read_as(self) -> list[str]:
        """Where it differs from a plain CSV."""
        said = [f"separator {mark(self.separator)}"] if self.separator != "," and not self.is_aligned else []
        said += ["aligned columns"] if self.is_aligned else []
        said += [f"lines above the header left out: {self.titles}"] if self.titles else []
        said += ["single quotes"] if self.quote == "'" else []
        said += ["quotes after backslashes"] if self.escape else []
        said += ["row names first"] if self.extra == "row names" else []
        return said


def dialect_of(text: str, wanted: Callable[[str], bool], options: CsvOptions, path: Path) -> Dialect:
    """The separator and quotes that show the most wanted columns in the header; of equals, the most columns.

    Args:
        text: a table, or its beginning.

    Raises:
        InputError: no header.
    """
    dialect = _dialect_of(_beginning(text), wanted, options, path) or _dialect_of(text, wanted, options, path)
    if dialect is None:
        raise InputError([Problem(str(path), "no header", "the names of the columns in the first line")])
    return dialect


def _beginning(text: str) -> str:
    """The first lines of a text, if they are many: what tells the dialect of large ones."""
    end = text.rfind("\n", 0, BEGINNING) + 1
    return text[:end] if len(text) > BEGINNING and text.count("\n", 0, end) > 5 * SAMPLE else text


def _dialect_of(text: str, wanted: Callable[[str], bool], options: CsvOptions, path: Path) -> Dialect | None:
    """The dialect, None without a header."""
    comment = NOTE if options.comment is None else options.comment
    told, first_line, notes = _before_header(text, comment)
    separators = (options.sep or told,) if options.sep or told else SEPARATORS
    quotes = ('"', "'") if options.quote is None else (options.quote,)

    def header_in(line: int, separators: Iterable[str]) -> tuple[tuple[int, int], Dialect]:
        """What shows most columns in a line: how many wanted ones, how many in all, and the dialect."""
        most, best = (-1, -1), Dialect()
        for separator in separators:
            for quote in quotes:
                for is_noted in (False, True) if notes and notes == line else (False,):
                    dialect = Dialect(separator, quote, None, comment, first_line=line - is_noted, is_noted=is_noted)
                    dialect = replace(dialect, is_aligned=_is_aligned(text, dialect))
                    names = tuple(_header(text, dialect, path))
                    # Of equal ones double quotes: in single ones, a name in double quotes may fall apart.
                    count = sum(map(wanted, names)), len(names) if quote != "'" and any(map(str.strip, names)) else 0
                    if count > most:
                        most, best = count, replace(dialect, names=names)
            if most[0] > 1:
                break
        return most, best

    most, best = header_in(first_line, separators)
    if most[0] < 2 and separators is SEPARATORS:
        other, odd = header_in(first_line, _other_separators(text, first_line))
        best = odd if other[0] > 1 else best
        most = max(most, other)
    if most[0] == 0:
        best = _below_titles(best, lambda line: header_in(line, separators)[1], text, wanted)
    if not any(name.strip() for name in best.names):
        return None
    sample = _sample(text, best)
    if options.quote is None and best.quote == '"' and _in_single_quotes(sample, best.names, wanted):
        best = replace(best, quote="'")
        sample = _sample(text, best)
    return replace(best, extra=_extra(sample, best, path))


def _before_header(text: str, comment: str) -> tuple[str, int, int]:
    """The separator that a line `sep=;` tells, the number of lines before the header, and the last that is a comment."""
    told, noted = "", 0
    for number, line in enumerate(StringIO(text, newline="")):
        bare = line.strip("\r\n")
        if number == 0 and len(bare.strip('"')) == 5 and bare.strip('"').startswith("sep="):
            told = bare.strip('"')[4]
        elif comment and line.startswith(comment):
            noted = number + 1
        elif bare.strip(" ,;|\t\ufeff\u200b\u00a0"):
            return told, number, noted
    return told, noted, noted


def _below_titles(
    first: Dialect, header_in: Callable[[int], Dialect], text: str, wanted: Callable[[str], bool]
) -> Dialect:
    """The header below titles: a line of more cells than all above it, of which several are wanted columns, none twice."""
    longest = len(first.names)
    for line in range(first.first_line + 1, min(first.first_line + SAMPLE, text.count("\n"))):
        found = header_in(line)
        known = [name for name in found.names if wanted(name)]
        if len(found.names) > longest and len(known) > 1 and len(set(known)) == len(known):
            return replace(found, titles=line - first.first_line)
        longest = max(longest, len(found.names))
    return first


def _other_separators(text: str, first_line: int) -> list[str]:
    """Marks in the header that may separate its names, the most frequent first."""
    header = next(islice(StringIO(text, newline=""), first_line, None), "").strip("\r\n")
    counts = Counter(character for character in header if not character.isalnum())
    return [character for character, _ in counts.most_common() if character not in "\"'_-." + "".join(SEPARATORS)]


def _is_aligned(text: str, dialect: Dialect) -> bool:
    """Whether names or the cells below them are some spaces apart, and none is in quotes."""
    if dialect.separator != " ":
        return False
    first = islice(StringIO(text, newline=""), dialect.first_line, dialect.first_line + SAMPLE)
    lines = "\n".join(line.strip() for line in first)
    return "  " in lines and '"' not in lines and "'" not in lines


def _header(text: str, dialect: Dialect, path: Path) -> list[str]:
    try:
        _, cells = next(records(text, dialect), (0, []))
    except csv.Error as error:
        if "field larger" in str(error):
            raise InputError(f"{path}: the header is not readable ({error}); expected the names of columns") from None
        return []
    return cells


def records(text: str, dialect: Dialect, comments: list[str] | None = None) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of each row, the header first; blank rows are counted, not given; comments are, too.

    Args:
        comments: where comments between rows are added.

    Raises:
        csv.Error: quotes that do not fit.
    """
    lines = _Lines(text, dialect, [] if comments is None else comments)
    reader = _reader(lines, dialect, strict=True)
    is_header = True
    for cells in reader:
        lines.row += 1
        lines.is_new_row = True
        if is_header or any(map(str.strip, cells)):
            yield lines.row, cells
        is_header = False


def _reader(lines: Iterable[str], dialect: Dialect, strict: bool) -> Iterator[list[str]]:
    return csv.reader(
        lines,
        delimiter=dialect.separator,
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar=dialect.escape,
        skipinitialspace=dialect.separator != " ",
        strict=strict,
    )


class _Lines(Iterator[str]):
    """The lines of a text from its header on, without comments between rows."""

    def __init__(self, text: str, dialect: Dialect, comments: list[str]) -> None:
        self._lines = islice(StringIO(text, newline=""), dialect.first_line, None)
        self._dialect, self._comments = dialect, comments
        self._is_noted = dialect.is_noted
        self.is_new_row = False
        self.row = dialect.first_line - text.startswith(("sep=", '"sep='))  # spreadsheets do not show that line

    def __next__(self) -> str:
        line = next(self._lines)
        if self._is_noted:
            self._is_noted = False
            return line.lstrip(self._dialect.comment).lstrip(" ")
        while self.is_new_row and self._is_comment(line):
            self._comments.append(line)
            self.row += 1
            line = next(self._lines)
        self.is_new_row = False
        return re.sub(" {2,}", " ", line.strip(" ")) if self._dialect.is_aligned else line

    def _is_comment(self, line: str) -> bool:
        """Whether a line starts as comments do and is no row."""
        if not self._dialect.comment or not line.startswith(self._dialect.comment):
            return False
        cells = next(_reader([line], self._dialect, strict=False))
        return len(cells) != len(self._dialect.names)


def _sample(text: str, dialect: Dialect) -> list[list[str]]:
    """The first rows below the header, as far as quotes fit."""
    sample: list[list[str]] = []
    try:
        for _, cells in islice(records(text, dialect), 1, SAMPLE):
            sample.append(cells)
    except csv.Error:
        pass
    return sample


def _in_single_quotes(sample: list[list[str]], names: Sequence[str], wanted: Callable[[str], bool]) -> bool:
    """Whether a wanted column has all its cells in single quotes."""
    for at in (at for at, name in enumerate(names) if wanted(name)):
        cells = [row[at] for row in sample if len(row) > at and row[at]]
        if cells and all(len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in cells):
            return True
    return False


def _extra(sample: list[list[str]], dialect: Dialect, path: Path) -> str:
    """What rows have that their header lacks.

    Raises:
        InputError: a first cell without a name, or a blank last one; both are possible.
    """
    if not sample or any(len(cells) != len(dialect.names) + 1 for cells in sample):
        return ""
    is_end = not any(cells[-1].strip() for cells in sample)
    first = [cells[0].strip() for cells in sample]
    is_counted = len(sample) > 1 and first in [[str(i + start) for i in range(len(sample))] for start in (0, 1)]
    if is_end and is_counted:
        found = "rows have a cell more than the header: a row name first, or a blank one last"
        raise InputError([Problem(str(path), found, "a name for each column in the header")])
    if is_end:
        return "end"
    # Between commas, the cell too many may as well be the other half of a decimal comma.
    is_name = dialect.separator != "," and len(set(first)) == len(sample)
    return "row names" if is_counted or is_name else ""


def rows_of(
    text: str, dialect: Dialect, path: Path, columns: Sequence[int], comments: list[str]
) -> tuple[list[list[str]], list[int], list[object]]:
    """The cells of some columns, the number of each row, and a problem for each row that does not fit; `comments` is added to."""
    cells_C: list[list[str]] = [[] for _ in columns]
    numbers: list[int] = []
    ragged: list[Problem] = []
    examples: list[Problem] = []
    n_names, shift = len(dialect.names), dialect.extra == "row names"
    places = [(cells_C[c], at + shift) for c, at in enumerate(columns)]
    try:
        for number, cells in islice(records(text, dialect, comments), 1, None):
            if len(cells) != n_names + shift:
                if cells[0].strip() in EXAMPLE and not any(map(str.strip, cells[1:])):
                    examples.append(example_row(str(path), number))
                    continue
                if len(cells) < n_names + shift or any(map(str.strip, cells[n_names + shift :])):
                    ragged.append(_ragged(path, number, cells, dialect))
                    continue
            numbers.append(number)
            for column, at in places:
                column.append(cells[at])
    except csv.Error:
        found = "a quote that is not closed, or not at the end of its cell"
        number = (numbers[-1] if numbers else 1) + 1
        return cells_C, numbers, [Problem(str(path), found, "quotes around whole cells", row=number)]
    return cells_C, numbers, [*first_and_count(ragged), *first_and_count(examples)]


def example_row(source: str, number: int) -> Problem:
    """A row of "...", as in an example that leaves rows out."""
    return Problem(source, "a row of '...', which stands for rows left out of an example", "the rows", row=number)


def _ragged(path: Path, number: int, cells: list[str], dialect: Dialect) -> Problem:
    n_names = len(dialect.names)
    found, expected = f"{len(cells)} cell{'' if len(cells) == 1 else 's'}", f"{n_names}, as the header has"
    if dialect.separator == "," and len(cells) > n_names and sum(cell.strip().isdigit() for cell in cells) > 1:
        expected += '; decimal commas need another separator, such as ";", or quotes'
    elif len(cells) == 1 and (other := next((s for s in ";	|" if cells[0].count(s) == n_names - 1), "")):
        found += f" (header separated by {mark(dialect.separator)}, rows by {mark(other)})"
    return Problem(str(path), found, expected, row=number)


def first_and_count(problems: list[Problem]) -> list[Problem]:
    """The first problems of a kind, the last with a count of the rest."""
    first = problems[:SHOWN_ROWS]
    return [*first[:-1], replace(first[-1], more=len(problems) - len(first))] if first else []


def with_escapes(text: str, dialect: Dialect) -> Dialect | None:
    """The same dialect with quotes after backslashes, if the text has any."""
    return replace(dialect, escape="\\") if "\\" + (dialect.quote or '"') in text else None
