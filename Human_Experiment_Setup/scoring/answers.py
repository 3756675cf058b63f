"""Tables of answers: which columns hold the concept and the typed words; every column and row is kept."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from Activation_Extraction.base.errors import InputError, Problem, did_you_mean, shown
from Activation_Extraction.tables.column_names import ColumnNames
from Activation_Extraction.tables.dialects.options import csv_options
from Activation_Extraction.tables.files import read_table
from Activation_Extraction.tables.identifiers import as_words
from InterpScore.tables.effects import IMAGE_COLUMNS
from InterpScore.tables.experiment_rows import (
    CONCEPT_COLUMN,
    EXCLUDED_COLUMN,
    LEVEL_COLUMN,
    OTHER_CONCEPT_COLUMN,
    PARTICIPANT_COLUMNS,
    SCORED_TRIAL,
    TRIAL_COLUMN,
    yes_or_no,
)
from InterpScore.tables.neuron_map import normalised

TARGET_COLUMN, CANNOT_TELL_COLUMN = "attack_target", "cannot_tell"
HARD, SOFT, SCORER = "hard_correct", "soft_correct", "scorer"
JOINED_COLUMNS = ("annotation_string", "response")
"""Columns that hold all words of an answer, separated by commas; the first that is there counts."""
_WORD_COLUMN = re.compile(r"word_([1-9][0-9]?)")
_EXPECTED_WORDS = "word_1, word_2 …, annotation_string or response"
_NAMES = (
    TRIAL_COLUMN, CONCEPT_COLUMN, LEVEL_COLUMN, OTHER_CONCEPT_COLUMN, TARGET_COLUMN, EXCLUDED_COLUMN, CANNOT_TELL_COLUMN, HARD, SOFT, *IMAGE_COLUMNS,
    *PARTICIPANT_COLUMNS, *JOINED_COLUMNS, *(f"word_{i}" for i in range(1, 21)),
)  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """A table of answers.

    Attributes:
        frame: all its columns and rows; ours under our names.
        rows: the number of each row in its file.
        word_columns: those that hold the words.
        remarks: how it was read, where that is unusual.
    """

    frame: pd.DataFrame
    source: str
    rows: Sequence[int]
    word_columns: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def concepts(self) -> list[str]:
        """The concept of each row; empty in trials that have none."""
        return [str(word) for word in as_words(self.frame[CONCEPT_COLUMN])]

    @property
    def targets(self) -> list[str] | None:
        """What the attack on each row's image aimed at, if the table says so."""
        return [str(word) for word in as_words(self.frame[TARGET_COLUMN])] if TARGET_COLUMN in self.frame else None

    @property
    def cannot_tell(self) -> list[bool]:
        """Who said so in place of words, if the table tells.

        Raises:
            InputError: cells that are neither true nor false.
        """
        return yes_or_no(self.frame, CANNOT_TELL_COLUMN, self.source, self.rows)

    @property
    def fields(self) -> list[tuple[str, ...]]:
        """What was typed, a text a field."""
        return list(zip(*(map(str, as_words(self.frame[name])) for name in self.word_columns), strict=True))


def read_raw(path: str | os.PathLike[str], csv: str | Mapping[str, Any] | None = None) -> Answers:
    """All columns of a table, without asking for any.

    Raises:
        InputError: no table, or two columns that mean the same.
    """
    raw = read_table(path, lambda name: True, lambda name: False, csv_options(csv))
    problems: list[Problem] = []
    notes = list(raw.read_as)
    frame = ColumnNames(_NAMES).renamed(raw.frame, str(path), problems, notes)
    if problems:
        raise InputError(problems)
    if CONCEPT_COLUMN not in frame and OTHER_CONCEPT_COLUMN in frame:
        frame = frame.rename(columns={OTHER_CONCEPT_COLUMN: CONCEPT_COLUMN})
    remarks = (f"{path}: read as: {'; '.join(notes)}",) if notes else ()
    return Answers(frame, str(path), raw.rows.tolist(), (), remarks)


def read_answers(
    path: str | os.PathLike[str], words: Sequence[str] = (), csv: str | Mapping[str, Any] | None = None
) -> Answers:
    """Read a table of answers.

    Args:
        words: the columns with the words; by default `word_1`, `word_2` …, or the first of `JOINED_COLUMNS`.
        csv: as of `InterpScore.run_interpretability_benchmark`.

    Raises:
        InputError: no table, no rows, no column of concepts or words, rated trials without a concept.
    """
    raw = read_raw(path, csv)
    frame, source = raw.frame, raw.source
    if frame.empty:
        raise InputError([Problem(source, "no rows", "one row an answer")])
    problems = []
    if CONCEPT_COLUMN not in frame:
        near = did_you_mean(CONCEPT_COLUMN, map(str, frame.columns))
        problems.append(
            Problem(source, f"the column is missing{near}", "the concept that each image shows", CONCEPT_COLUMN)
        )
    for name in words:
        if name not in frame:
            near = did_you_mean(name, map(str, frame.columns))
            problems.append(Problem(source, f"the column is missing{near}", "typed words, as --words says", name))
    chosen = tuple(words) or _word_columns(frame)
    if not chosen:
        problems.append(Problem(source, "no column with typed words", f"{_EXPECTED_WORDS}, or --words"))
    if problems:
        raise InputError(problems)
    nameless = (as_words(frame[CONCEPT_COLUMN]) == "") & _is_scored(frame)
    if nameless.any():
        row, more = raw.rows[int(nameless.argmax())], int(nameless.sum()) - 1
        raise InputError([Problem(source, "found ''", "a concept", CONCEPT_COLUMN, row, more)])
    remarks = [*raw.remarks]
    others = [name for name in JOINED_COLUMNS if name in frame and name not in chosen]
    if others and not words:
        remarks.append(f"{source}: words are read from {', '.join(chosen)}, not from {', '.join(others)}")
    return Answers(frame, source, raw.rows, chosen, tuple(remarks))


def _word_columns(frame: pd.DataFrame) -> tuple[str, ...]:
    numbered = {int(match[1]): str(name) for name in frame if (match := _WORD_COLUMN.fullmatch(str(name)))}
    if numbered:
        return tuple(numbered[i] for i in sorted(numbered))
    return tuple(name for name in JOINED_COLUMNS if name in frame)[:1]


def _is_scored(frame: pd.DataFrame) -> pd.Series:
    """Which rows are no practice or attention trials."""
    trials = as_words(frame[TRIAL_COLUMN]).map(normalised) if TRIAL_COLUMN in frame else pd.Series("", frame.index)
    return trials.isin((SCORED_TRIAL, ""))


def refuse_same_file(written: Sequence[Path], read: Sequence[Path | None]) -> None:
    """Refuse to overwrite an input.

    Raises:
        InputError: an output is also an input.
    """
    for output in written:
        for given in read:
            if given is not None and output.resolve() == given.resolve():
                raise InputError(f"{output}: would overwrite the input {shown(given)}; expected another name")
