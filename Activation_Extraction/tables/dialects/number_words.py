"""Numbers as text: decimal points and commas, groups of three digits, percent signs, and words for true and false."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from Activation_Extraction.base.errors import listed_up_to
from Activation_Extraction.tables.dialects.decimal_marks import GROUPED, MARKS, PLAIN, Evidence, bare, reads_in_two_ways
from Activation_Extraction.tables.dialects.options import CsvOptions
from Activation_Extraction.tables.identifiers import as_words

MISSING_NUMBERS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NAN", "null", "NULL", "None", "#N/A", "#NA", "<NA>")
"""Missing values in numeric columns; in text columns these are ordinary words."""
SAMPLE = 30
"""Numbers of a column that show its decimal mark; those that do not fit it are no numbers."""
LARGE = 1000
"""Words above which columns of plain numbers are read at once."""
TRUE = ("true", "t", "yes", "y", "wahr", "vrai", "verdadero", "verdadeiro", "vero", "waar", "ja", "oui", "sí", "sim")
FALSE = ("false", "f", "no", "n", "falsch", "faux", "falso", "onwaar", "nein", "non", "não", "nee")
"""As people and spreadsheets of several languages write them."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

_PLAIN_MARKS = {"．": ".", "，": ",", "－": "-", "＋": "+", "％": "%", "٫": ".", "٪": "%"}
"""Of numbers in full width and in Arabic digits."""
_MISSING = frozenset(word.casefold() for word in MISSING_NUMBERS)
_AS_NUMBER = dict.fromkeys(TRUE, "1") | dict.fromkeys(FALSE, "0")
_DATE = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([ t]\d.*)?|\d{1,2}([./-])\d{1,2}\2\d{2,4}|\d{1,2}[-. ]+[^\W\d]{3,4}\.?([- ]\d{2,4})?|[^\W\d]{3,4}[-.]\d{2}",
    re.IGNORECASE,
)
_IS_MONTH = re.compile("jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz]", re.IGNORECASE)


def is_numeric(values: pd.Series) -> bool:
    """Whether a column holds numbers that need no reading."""
    return isinstance(values.dtype, np.dtype) and values.dtype.kind in "fiu"


def is_date(text: str) -> bool:
    """Whether a text looks like a date, as spreadsheets make them of `3-5` or `MAR1`.

    >>> is_date("5-Mar"), is_date("2026-03-05 00:00:00"), is_date("top 5")
    (True, True, False)
    """
    match = _DATE.fullmatch(text.strip())
    return bool(match) and (not re.search(r"[^\W\dt]", text) or bool(_IS_MONTH.search(text)))


class NumberWords:
    """Reads columns of numbers as text; where a column alone does not decide how, the others of its table do.

    Args:
        columns: all columns of numbers of the table.
        is_local: whether its numbers may well be written as in countries with decimal commas, where a point groups digits.
    """

    def __init__(self, columns: Callable[[], Iterable[pd.Series]], is_local: bool, options: CsvOptions) -> None:
        self._columns, self._is_local, self.options = columns, is_local, options
        self.notes: dict[str, list[str]] = {}
        """What was read in an unusual way → its columns."""

    @cached_property
    def _everywhere(self) -> Evidence:
        words: set[str] = set()
        for values in self._columns():
            if not is_numeric(values):
                words.update(word.casefold() for word in as_words(values[: 10 * SAMPLE]))
        return Evidence.of(words)

    def read(self, column: str, values: pd.Series, booleans: bool = False) -> tuple[Floats, Bools, Bools]:
        """The numbers of a column, NaN for all else; which cells are no numbers; and which of them read in two ways.

        Args:
            booleans: whether words for true and false are numbers.
        """
        if (numbers := self._all_plain(column, values)) is not None:
            return numbers, np.zeros(len(numbers), dtype=bool), np.zeros(len(numbers), dtype=bool)
        words = np.array([word.casefold() for word in as_words(values).tolist()], dtype=object)
        code_N, distinct = pd.factorize(words)
        distinct = self._in_plain_digits(column, distinct.tolist())
        meant = [_AS_NUMBER.get(word, word) if booleans else word for word in distinct]
        said = {word for word, number in zip(distinct, meant, strict=True) if word != number}
        if said - {"true", "false"}:
            self._note(f"{' and '.join(sorted(said))} as true and false", column)
        is_missing = np.array([word in _MISSING for word in meant], dtype=bool)
        present = [word for word, missing in zip(meant, is_missing, strict=True) if not missing]
        plain = pd.to_numeric(
            np.array(["?" if "_" in word else word for word in present], dtype=object), errors="coerce"
        )
        value_D = np.full(len(meant), np.nan)
        undecided_D = np.zeros(len(meant), dtype=bool)
        value_D[~is_missing] = plain
        is_told = self.options.decimal or self.options.thousands is not None
        if present and (self._is_local or is_told or np.isnan(plain).any()):
            value_D[~is_missing], undecided_D[~is_missing] = self._of_words(column, present, plain)
        wrong_D = ~is_missing & np.isnan(value_D)
        return value_D[code_N], wrong_D[code_N], undecided_D[code_N]

    def _all_plain(self, column: str, values: pd.Series) -> Floats | None:
        """A large column of plain numbers alone, whose first ones show the decimal mark, by Arrow: several times faster."""
        if len(values) <= LARGE or is_numeric(values):
            return None
        first = dict.fromkeys(word.casefold() for word in as_words(values[: 10 * SAMPLE]))
        own = Evidence.of([word for word in first if word not in _MISSING][:SAMPLE])
        decimal = self._decimal(own)
        if len(first) <= SAMPLE or not (own.point or own.comma):
            return None
        try:
            words = pa.array(values, pa.string(), from_pandas=True)
            if decimal == ",":
                if pc.any(pc.match_substring(words, ".")).as_py():
                    return None
                words = pc.replace_substring(words, ",", ".")
            is_missing = pc.is_in(words, pa.array(MISSING_NUMBERS))
            numbers = pc.if_else(is_missing, None, words).cast(pa.float64()).to_numpy(zero_copy_only=False)
        except (pa.ArrowException, UnicodeError):
            return None
        if decimal == ",":
            self._note("decimal ','", column)
        return np.asarray(numbers, dtype=np.float64)

    def _in_plain_digits(self, column: str, distinct: list[str]) -> list[str]:
        """Words without what other programs put before numbers, in the digits 0 to 9 of whatever script."""
        before = re.compile(rf"'|{re.escape(column.casefold())}[ _-]*(?=\d)")
        plain = []
        for word in distinct:
            bare_word = before.sub("", word, count=1) if before.match(word) else word
            if bare_word != word:
                what = "apostrophe" if word.startswith("'") else "name of the column"
                self._note(f"{what} before numbers ({word})", column)
            if not bare_word.isascii() and any(character.isdecimal() for character in bare_word):
                digits = "".join(_PLAIN_MARKS.get(c, str(unicodedata.decimal(c, c))) for c in bare_word)
                if digits != bare_word:
                    self._note(f"digits of another script ({bare_word})", column)
                bare_word = digits
            plain.append(bare_word)
        return plain

    def said(self) -> list[str]:
        """What was read in an unusual way, and where."""
        return [f"{note} in {', '.join(listed_up_to(columns, 2))}" for note, columns in self.notes.items()]

    def _of_words(self, column: str, distinct: list[str], plain: Floats) -> tuple[Floats, Bools]:
        """The number of each distinct word, and whether it reads in two ways; `plain` are those with decimal points."""
        own = Evidence.of(distinct[:SAMPLE])
        if not (own.point or own.comma):
            own = Evidence.of(distinct)
        decimal = self._decimal(own)
        chosen = decimal or "."
        values, undecided = plain.copy(), np.zeros(len(distinct), dtype=bool)
        if chosen == ",":
            points = ["?" if "." in word or "_" in word else word.replace(",", ".") for word in distinct]
            values = pd.to_numeric(np.array(points, dtype=object), errors="coerce").astype(np.float64)
        rest = range(len(distinct)) if decimal is None else np.flatnonzero(np.isnan(values)).tolist()
        texts = {at: bare(distinct[at]) for at in rest}
        for at, text in texts.items():
            is_grouped = bool(GROUPED[chosen].fullmatch(text))
            values[at] = self._number(text, chosen, is_grouped) / (100 if distinct[at].endswith("%") else 1)
            undecided[at] = (is_grouped or decimal is None) and reads_in_two_ways(text)
            if is_grouped and np.isfinite(values[at]):
                self._note(f"digits in groups ({text})", column)
        if decimal and undecided.any() and self._has_groups(chosen, texts.values()):
            undecided[:] = False
        if chosen == "," and (own.comma or own.commas_of_both):
            self._note("decimal ','", column)
        is_percent = np.array([word.endswith("%") for word in distinct], dtype=bool)
        if is_percent.any():  # beside percentages, 1 may be 100% or 1%
            self._note("percentages as fractions", column)
            values[~is_percent & (values != 0)] = np.nan
        return values, undecided

    def _decimal(self, own: Evidence) -> str | None:
        """The decimal mark of a column; None if it may be either."""
        told, groups = self.options.decimal, self.options.thousands
        if told or groups == "," or groups == ".":
            return told or MARKS[groups or ""]
        if own.point or own.comma:
            return "." if own.point >= own.comma else ","
        if not (own.points_of_both or own.commas_of_both):
            return "."
        if groups == "":
            return "." if own.points_of_both else ","
        if decimal := self._everywhere.decimal():
            return decimal
        return "." if not self._is_local and not own.commas_of_both else None

    def _has_groups(self, decimal: str, texts: Iterable[str]) -> bool:
        """Whether digits are certainly grouped in a column, or elsewhere in the table."""
        if self.options.thousands is not None:
            return self.options.thousands != ""
        return bool(Evidence.of(texts).groups(decimal) or self._everywhere.groups(decimal))

    def _number(self, text: str, decimal: str, is_grouped: bool) -> float:
        if is_grouped and self.options.thousands != "":
            text = re.sub(rf"[{MARKS[decimal]} '’]", "", text)
        return float(text.replace(decimal, ".")) if PLAIN[decimal].fullmatch(text) else np.nan

    def _note(self, what: str, column: str) -> None:
        kind = next((note for note in self.notes if note.split(" (")[0] == what.split(" (")[0]), what)
        if column not in self.notes.setdefault(kind, []):
            self.notes[kind].append(column)


def one_way(text: str, options: CsvOptions) -> str:
    """What was expected of a number that reads in two ways.

    >>> one_way("1,234", CsvOptions())
    'a number that reads in one way (--csv "decimal=," for 1.234, --csv "thousands=," for 1234)'
    """
    text = bare(text)
    sign = "," if "," in text else "."
    one, other = text.replace(sign, "."), text.replace(sign, "")
    decimal, thousands = options.typed(f"decimal={sign}"), options.typed(f"thousands={sign}")
    return f"a number that reads in one way ({decimal} for {one}, {thousands} for {other})"
