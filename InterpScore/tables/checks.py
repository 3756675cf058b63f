"""Checked reading of a table's columns: every wrong cell is reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from Activation_Extraction.tables.dialects.number_words import NumberWords, is_date, one_way
from Activation_Extraction.tables.dialects.records import SHOWN_ROWS
from Activation_Extraction.tables.identifiers import as_words, repaired, visible
from InterpScore.errors import Problem, shown
from InterpScore.helpers import Bools, Floats, Ints

LARGEST = 1e100
"""Larger numbers, infinity included, are refused: their squares would overflow."""
SAME_NUMBER = 1e-6
"""Relative difference up to which two activations of an image are the same, rounded differently."""
A_SCORE = "true, false or a number from 0 to 1"


class TableChecks:
    """Reads columns of a table and adds what is wrong to `problems`, a few rows of each kind.

    `source` names the table in messages; `rows` is the number of each row in its file, where the header is row 1.
    """

    def __init__(
        self, frame: pd.DataFrame, source: str, rows: Ints, problems: list[Problem], number_words: NumberWords
    ) -> None:
        self.frame, self.source, self.rows, self.problems = frame, source, rows, problems
        self.notes: list[str] = []
        """How cells were read, where that is unusual."""
        self._number_words = number_words
        self._bad: dict[str, Bools] = {}

    def words(self, column: str, expected: str) -> pd.Series:
        """A column as text without invisible characters; blank cells are reported."""
        words = as_words(self.frame[column])
        words = pd.Series([visible(word) for word in words], index=words.index, dtype=object)
        self.report(column, words == "", expected)
        return words

    def names(self, column: str, expected: str, blank: bool = False) -> pd.Series:
        """A column of names, repaired (`identifiers`); names that are lost are reported, and, unless allowed, blanks."""
        found = repaired(as_words(self.frame[column]))
        self.notes += [f"{column}: {note}" for note in found.notes]
        if not blank:
            self.report(column, found.words == "", expected)
        if found.lost is not None:
            self.report(column, found.lost, f"{expected} as it was ({found.why})")
        return found.words

    def numbers(self, column: str, expected: str = "a finite number", booleans: bool = False) -> Floats:
        """A column as float64: blanks are NaN; anything else that is not one finite number is reported."""
        values = self.frame[column]
        if isinstance(values.dtype, np.dtype) and values.dtype.kind in ("fiub" if booleans else "fiu"):
            numbers = values.to_numpy(dtype=np.float64)
        else:
            numbers, wrong, undecided = self._number_words.read(column, values, booleans)
            if undecided.any():
                cell = str(values.iloc[int(np.argmax(undecided))])
                self.report(column, undecided, one_way(cell, self._number_words.options))
            self.report(column, wrong & ~undecided, expected)
            numbers = np.where(undecided, np.nan, numbers)
        too_large = np.abs(numbers) > LARGEST
        self.report(column, too_large, expected)
        return np.where(too_large, np.nan, numbers)

    def whole_numbers(self, column: str) -> Ints:
        """A column as int64; blanks and anything that is not a whole number are reported, and 0 here."""
        numbers = self.numbers(column, "a whole number")
        not_whole = ~np.isfinite(numbers) | (numbers != np.rint(numbers)) | (np.abs(numbers) > 1e9)
        self.report(column, not_whole & ~self.bad(column), "a whole number")
        return np.where(not_whole, 0, numbers).astype(np.int64)

    def recognition(self, column: str) -> Floats:
        """A column of recognition scores in [0, 1]; blanks are NaN."""
        scores = self.numbers(column, A_SCORE, booleans=True)
        self.report(column, (scores < 0) | (scores > 1), A_SCORE)
        return scores

    def effects(self, column: str) -> Floats:
        """A column of relative changes of an embedding, 0 or more; blanks are NaN."""
        effects = self.numbers(column)
        self.report(column, effects < 0, "an effect, 0 or more")
        return effects

    def bad(self, column: str) -> Bools:
        """The rows of a column that were already reported."""
        return self._bad.get(column, np.zeros(len(self.rows), dtype=bool))

    def report(self, column: str, wrong: Any, expected: str) -> None:
        """Add a problem for the first wrong rows of a column, with a count of the rest."""
        wrong = np.asarray(wrong, dtype=bool)
        if not wrong.any():
            return
        self._bad[column] = self.bad(column) | wrong
        positions = np.flatnonzero(wrong)
        named = positions[:SHOWN_ROWS]
        for position in named:
            more = len(positions) - len(named) if position == named[-1] else 0
            cell = str(self.frame[column].iloc[position])
            found = f"found {shown(cell)}{', a date that a spreadsheet may have made of it' if is_date(cell) else ''}"
            self.problems.append(Problem(self.source, found, expected, column, int(self.rows[position]), more))


class ImageIndex:
    """The image of each row, and one value per image from columns that repeat it.

    Images are sorted by name, so that results do not depend on the order of rows; without an image column every row is
    an image of its own.
    """

    def __init__(self, checks: TableChecks, columns: Sequence[str]) -> None:
        self._checks = checks
        column = next((name for name in columns if name in checks.frame), None)
        if column is None:
            self._name_of_row = pd.Series([f"row {row}" for row in checks.rows])
        else:
            self._name_of_row = checks.names(column, "the name of an image")
        self._named = (self._name_of_row != "").to_numpy()
        self.image_of_row, names = pd.factorize(self._name_of_row, sort=column is not None)
        self.names = [str(name) for name in names]
        self.first_row = self._first_rows(np.ones(len(checks.rows), dtype=bool), np.zeros(len(names), dtype=np.int64))

    def one_value_an_image(self, column: str, values: Any, what: str) -> Any:
        """The value of each image; conflicting rows are reported, rows already reported are skipped."""
        good = self._named & ~self._checks.bad(column)
        first_row = self.first_row if good.all() else self._first_rows(good, self.first_row)
        first = values[first_row]
        of_image = first[self.image_of_row]
        if values.dtype.kind == "f":  # files round their numbers
            same = (np.abs(values - of_image) <= SAME_NUMBER * np.abs(of_image)) | (
                np.isnan(values) & np.isnan(of_image)
            )
        else:
            same = values == of_image
        differs = good & ~same
        if differs.any():
            row = int(np.argmax(differs))
            elsewhere = self._checks.rows[first_row[self.image_of_row[row]]]
            name = shown(self._name_of_row.iloc[row])
            self._checks.report(column, differs, f"one {what} an image; image {name} has another in row {elsewhere}")
        return first

    def _first_rows(self, chosen: Bools, otherwise: Ints) -> Ints:
        """The first chosen row of each image."""
        first_row = otherwise.copy()
        first_row[self.image_of_row[chosen][::-1]] = np.flatnonzero(chosen)[::-1]
        return first_row
