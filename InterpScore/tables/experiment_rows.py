"""The rows and columns of an experiment table that count, from any file or DataFrame, under our names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from Activation_Extraction.tables.column_names import ColumnNames
from Activation_Extraction.tables.dialects.number_words import FALSE, TRUE, NumberWords, is_date
from Activation_Extraction.tables.dialects.options import CsvOptions
from Activation_Extraction.tables.dialects.raw_table import RawTable
from Activation_Extraction.tables.dialects.records import EXAMPLE, example_row, first_and_count
from Activation_Extraction.tables.files import read_table
from Activation_Extraction.tables.identifiers import as_words
from InterpScore.errors import InputError, Problem, shown
from InterpScore.helpers import Bools, Ints
from InterpScore.tables.effects import EFFECTS, IMAGE_COLUMNS, UNIT_KINDS, own_copy, unit_column
from InterpScore.tables.neuron_map import normalised

PARTICIPANT_COLUMNS = ("participant", "PROLIFIC_PID")
TRIAL_COLUMN, CONCEPT_COLUMN, LEVEL_COLUMN = "trial_category", "ground_truth", "level"
OTHER_CONCEPT_COLUMN = "concept"
"""Read as the ground truth, as image tables call it."""
CLEAN_IMAGE_COLUMN, GROUP_COLUMN, SIMULATED_COLUMN, SPLIT_COLUMN = "clean_image", "group", "simulated", "split"
EXCLUDED_COLUMN, SHA256_COLUMN = "excluded", "image_sha256"
SCORED_TRIAL = "experiment"
YES, NO = (*TRUE, "1", "1.0"), (*FALSE, "0", "0.0", "")
"""Cells of columns that say whether something is so."""


@dataclass(frozen=True)
class ExperimentRows:
    """The columns that count under our names, without blank rows.

    Attributes:
        rows: the number of each row in its file.
        columns: the names of all columns of the file, for messages.
        notes: how the table was read, where that is unusual.
    """

    frame: pd.DataFrame
    source: str
    rows: Ints
    columns: list[str]
    notes: list[str]
    number_words: NumberWords


def experiment_rows(
    data: Any,
    units: Sequence[str],
    score: str | None,
    with_activations: bool,
    options: CsvOptions,
    problems: list[Problem],
) -> ExperimentRows:
    """Read a table and find our columns in it; what is wrong is added to `problems`.

    Args:
        units: those whose columns count.
        score: the column with the recognition score.
        with_activations: whether the units' activations are among them.

    Raises:
        InputError: it cannot be read.
    """
    kinds = UNIT_KINDS if with_activations else EFFECTS
    numeric = {unit_column(kind, unit) for kind in kinds for unit in units}
    words = {TRIAL_COLUMN, CONCEPT_COLUMN, LEVEL_COLUMN, OTHER_CONCEPT_COLUMN, CLEAN_IMAGE_COLUMN}
    words |= {GROUP_COLUMN, SIMULATED_COLUMN, SPLIT_COLUMN, EXCLUDED_COLUMN, SHA256_COLUMN}
    names = ColumnNames({*numeric, *words, *IMAGE_COLUMNS, *PARTICIPANT_COLUMNS, *([score] if score else [])})
    raw, source = _raw(data, names, numeric, options)
    notes = list(raw.read_as)
    frame = _one_concept_column(names.renamed(raw.frame, source, problems, notes), source, problems, notes)
    of_numbers = [name for name in frame if name in numeric or name in (LEVEL_COLUMN, score)]
    is_blank = _blank_rows(frame)
    if is_blank.any():
        notes.append(f"blank rows left out: {is_blank.sum()}")
        frame = frame[~is_blank].reset_index(drop=True)
    rows = raw.rows[~is_blank]
    problems += first_and_count([example_row(source, int(rows[at])) for at in _example_rows(frame)])
    if CONCEPT_COLUMN in frame:
        dates = [word for word in as_words(frame[CONCEPT_COLUMN]).unique() if is_date(word)]
        if dates:
            notes.append(
                f"{CONCEPT_COLUMN} {shown(dates[0])} looks like a date that a spreadsheet made of another word"
            )
    number_words = NumberWords(lambda: (frame[name] for name in of_numbers), raw.is_local, options)
    return ExperimentRows(frame, source, rows, raw.names, notes, number_words)


def _raw(data: Any, names: ColumnNames, numeric: set[str], options: CsvOptions) -> tuple[RawTable, str]:
    """The columns that count, still under their own names, and where they are from."""
    if isinstance(data, pd.DataFrame):
        frame = own_copy(data, "the table")
        columns = [str(name) for name in data.columns]
        counting = frame[[name for name in frame if str(name) in names]]
        return RawTable(counting, columns, np.arange(len(frame)) + 2), "the table"
    if not isinstance(data, str | os.PathLike):
        raise InputError(f"data: found {type(data).__name__}; expected the path of a table, or a DataFrame")
    return read_table(data, names.__contains__, lambda name: names.meant(name) in numeric, options), str(data)


def _one_concept_column(frame: pd.DataFrame, source: str, problems: list[Problem], notes: list[str]) -> pd.DataFrame:
    """A table whose concepts are in `ground_truth`."""
    if OTHER_CONCEPT_COLUMN not in frame:
        return frame
    if CONCEPT_COLUMN not in frame:
        notes.append(f"column '{OTHER_CONCEPT_COLUMN}' as {CONCEPT_COLUMN}")
        return frame.rename(columns={OTHER_CONCEPT_COLUMN: CONCEPT_COLUMN})
    one, other = (as_words(frame[name]).map(normalised) for name in (CONCEPT_COLUMN, OTHER_CONCEPT_COLUMN))
    if not one.equals(other):
        found = f"differs from {CONCEPT_COLUMN}, which says the same"
        problems.append(Problem(source, found, "one of the two columns", column=OTHER_CONCEPT_COLUMN))
    return frame.drop(columns=OTHER_CONCEPT_COLUMN)


def _blank_rows(frame: pd.DataFrame) -> Bools:
    """Rows without anything in our columns."""
    blank = np.ones(len(frame), dtype=bool)
    for name in frame:
        values = frame[name][blank]
        is_blank = (as_words(values) == "").to_numpy() if values.dtype.kind not in "fiub" else values.isna().to_numpy()
        blank[blank] = is_blank
        if not blank.any():
            break
    return blank


def _example_rows(frame: pd.DataFrame) -> list[int]:
    """Rows of "...", by position."""
    words = [as_words(frame[name]).tolist() for name in (CONCEPT_COLUMN, LEVEL_COLUMN) if name in frame]
    return [at for at, cells in enumerate(zip(*words, strict=True)) if not set(EXAMPLE).isdisjoint(cells)]


def scored_trials(frame: pd.DataFrame, rows: Ints) -> tuple[pd.DataFrame, Ints, list[str]]:
    """Leave out practice and attention trials; with them go their rows' numbers."""
    trials = as_words(frame[TRIAL_COLUMN]) if TRIAL_COLUMN in frame else pd.Series(dtype=object)
    if trials.eq("").all():
        return frame, rows, []
    scored = trials.map(normalised).eq(SCORED_TRIAL).to_numpy()
    if not scored.any():
        return frame, rows, [f"no {TRIAL_COLUMN} is '{SCORED_TRIAL}', so every row counts"]
    if scored.all():
        return frame, rows, []
    remark = f"{int((~scored).sum())} of {len(frame)} rows left out: their {TRIAL_COLUMN} is not '{SCORED_TRIAL}'"
    return frame[scored].reset_index(drop=True), rows[scored], [remark]


def without_excluded(frame: pd.DataFrame, rows: Ints, source: str) -> tuple[pd.DataFrame, Ints, list[str]]:
    """Leave out rows that the column `excluded` marks, such as those of pre-registered exclusions; with them go their
    rows' numbers.

    Raises:
        InputError: all are excluded, or cells that are neither true nor false.
    """
    excluded = np.array(yes_or_no(frame, EXCLUDED_COLUMN, source, rows), dtype=bool)
    if not excluded.any():
        return frame, rows, []
    if excluded.all():
        raise InputError([Problem(source, "all rows are excluded", "rows that count", EXCLUDED_COLUMN)])
    remark = f"{int(excluded.sum())} of {len(frame)} rows left out: {EXCLUDED_COLUMN} is true"
    return frame[~excluded].reset_index(drop=True), rows[~excluded], [remark]


def yes_or_no(frame: pd.DataFrame, column: str, source: str, rows: Sequence[int] | Ints) -> list[bool]:
    """A column that says whether something is so; blank cells, and a column that is not there, say no.

    Raises:
        InputError: cells that are neither.
    """
    if column not in frame:
        return [False] * len(frame)
    cells = [str(cell).casefold() for cell in as_words(frame[column])]
    unknown = [at for at, cell in enumerate(cells) if cell not in YES and cell not in NO]
    if unknown:
        found = f"found {shown(cells[unknown[0]])}"
        raise InputError([Problem(source, found, "true or false", column, int(rows[unknown[0]]), len(unknown) - 1)])
    return [cell in YES for cell in cells]
