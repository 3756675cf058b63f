"""The experiment table: one row a rating, checked in one pass and turned into arrays.

Data/README.md describes every column. Shapes: I images, U units, R ratings.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from InterpScore.arrays import Bools, Floats, Ints
from InterpScore.errors import InputError, Problem, shown
from InterpScore.neuron_map import normalised
from InterpScore.statistics import RatingDesign
from InterpScore.table_files import MISSING_NUMBERS, SHOWN_ROWS, read_table

IMAGE_COLUMNS = ("image_filename", "image", "image_basename")
PARTICIPANT_COLUMNS = ("participant", "PROLIFIC_PID")
UNIT_COLUMNS = {
    "activation": "activation_{}",
    "ablation": "ablation_effect_{}",
    "amplification": "amplification_effect_{}",
}
ACTIVATION_PREFIX = UNIT_COLUMNS["activation"].format("")
TRIAL_COLUMN, CONCEPT_COLUMN, LEVEL_COLUMN = "trial_category", "ground_truth", "level"
CLEAN_IMAGE_COLUMN, SIMULATED_COLUMN = "clean_image", "simulated"
SCORED_TRIAL = "experiment"
LARGEST = 1e100
"""A larger number, infinity included, is taken for a mistake: its square would overflow."""

_PUBLISHED_NAME = re.compile(r"(?P<concept>.+)_noisy_level\d+_(?P<index>\d+)\.\w+$")
_MISSING = frozenset(word.casefold() for word in MISSING_NUMBERS)


@dataclass(frozen=True)
class ExperimentTable:
    """What a study measured, image by image and rating by rating."""

    source: str
    images: list[str]
    concepts: list[str]
    """Every concept the table shows, as first spelled."""
    concept_I: Ints
    """Index into `concepts`."""
    level_I: Ints
    partner_I: Ints
    """Index of the clean image that a perturbed one was made from; -1 where unknown."""
    units: list[str]
    """The units that have an activation column."""
    activation_UI: Floats
    ablation_UI: Floats
    """Relative move of the embedding when the unit is ablated; NaN where not measured."""
    amplification_UI: Floats
    image_R: Ints
    participant_R: Ints
    score_R: Floats
    """Recognition in [0, 1]."""
    units_of_file: list[str] = field(default_factory=list)
    """Every unit that has an activation column in the file, asked for or not."""
    simulated: bool = False
    remarks: list[str] = field(default_factory=list)

    def images_of(self, concept: str) -> Bools:
        """Which images show a concept, however it is spelled, as booleans `(I,)`."""
        same = np.array([normalised(name) == normalised(concept) for name in self.concepts])
        return np.asarray(same[self.concept_I])

    def rating_design(self, recognised_at: float) -> RatingDesign:
        """The ratings, as resampling reads them."""
        return RatingDesign(self.image_R, self.participant_R, self.score_R, self.cell_I, recognised_at)

    @property
    def cell_I(self) -> Ints:
        """The cell of the design that each image belongs to: one number a concept and level."""
        levels, level_I = np.unique(self.level_I, return_inverse=True)
        return np.asarray(self.concept_I * len(levels) + level_I)


def unit_column(kind: str, unit: str) -> str:
    """The name of a unit's column: `activation_89`, `ablation_effect_89`, `amplification_effect_89`."""
    return UNIT_COLUMNS[kind].format(unit)


def load_experiment_table(
    data: str | os.PathLike[str] | pd.DataFrame,
    units: Sequence[str],
    human_score_col: str = "soft_correct",
    effects: str | os.PathLike[str] | pd.DataFrame | None = None,
) -> ExperimentTable:
    """Read, check and index an experiment table.

    Args:
        data: a CSV or Parquet file, or a DataFrame with the same columns.
        units: the units to read; those without an activation column are left out of the result.
        human_score_col: the column that says how well the rating recognised the image.
        effects: a second table with one row an image and the columns `ablation_effect_<unit>` and
            `amplification_effect_<unit>`, joined by image.

    Raises:
        InputError: with every problem found, each with file, column, row and what was expected.
    """
    frame, source, columns = _frame_of(data, units, human_score_col)
    problems: list[Problem] = []
    images = next((name for name in IMAGE_COLUMNS if name in frame), None)
    required = [CONCEPT_COLUMN, LEVEL_COLUMN, human_score_col]
    for name in required:
        if name not in frame:
            near = nearest(name, columns)
            problems.append(
                Problem(source, "the column is missing" + near, "one row a rating with this column", column=name)
            )
    if frame.empty:
        raise InputError([*problems, Problem(source, "no rows", "at least one row below the header")])
    # A stand-in that passes every check, so that the columns that are there are checked as well.
    frame = frame.assign(**{name: "0" for name in required if name not in frame})

    frame, rows, remarks = _scored_trials(frame, source)
    checks = _Checks(source, rows, problems)
    image_names = _words(frame[images]) if images else pd.Series([f"row {r}" for r in rows])
    nameless = (image_names == "").to_numpy()
    if images:
        checks.report(images, nameless, image_names, "the name of an image")
    # Sorted, so that resampling weights belong to names and the order of rows changes nothing.
    image_codes, image_index = pd.factorize(image_names, sort=images is not None)
    first_row = np.zeros(len(image_index), dtype=np.int64)
    first_row[image_codes[::-1]] = np.arange(len(frame))[::-1]

    concept_names = _words(frame[CONCEPT_COLUMN])
    checks.report(CONCEPT_COLUMN, concept_names == "", concept_names, "a concept")
    concept_codes, _ = pd.factorize(concept_names.map(normalised))
    concepts = list(concept_names.iloc[np.unique(concept_codes, return_index=True)[1]])
    levels = checks.numbers(LEVEL_COLUMN, frame[LEVEL_COLUMN], "a whole number")
    not_whole = ~np.isfinite(levels) | (levels != np.rint(levels)) | (np.abs(levels) > 1e9)
    checks.report(LEVEL_COLUMN, not_whole & ~checks.bad(LEVEL_COLUMN), frame[LEVEL_COLUMN], "a whole number")
    scores = checks.numbers(
        human_score_col, frame[human_score_col], "true, false or a number from 0 to 1", booleans=True
    )
    checks.report(
        human_score_col, (scores < 0) | (scores > 1), frame[human_score_col], "true, false or a number from 0 to 1"
    )

    def one_value_an_image(column: str, values: Any, what: str) -> Any:
        good, first_good = ~(checks.bad(column) | nameless), first_row
        if not good.all():  # cells already reported are compared with nothing
            first_good = first_row.copy()
            first_good[image_codes[good][::-1]] = np.flatnonzero(good)[::-1]
        first = values[first_good]
        differs = good & (values != first[image_codes])
        if values.dtype.kind == "f":
            differs &= ~(np.isnan(values) & np.isnan(first)[image_codes])
        if differs.any():
            original = rows[first_good[image_codes[np.argmax(differs)]]]
            expected = (
                f"one {what} an image; image {shown(image_names[np.argmax(differs)])} has another in row {original}"
            )
            checks.report(column, differs, frame[column], expected)
        return first

    concept_I = one_value_an_image(CONCEPT_COLUMN, concept_codes, "concept")
    level_I = one_value_an_image(LEVEL_COLUMN, np.where(not_whole, 0, levels), "level").astype(np.int64)
    found = [unit for unit in units if unit_column("activation", unit) in frame]
    values: dict[str, Floats] = {}
    for kind in UNIT_COLUMNS:
        values[kind] = np.full((len(found), len(image_index)), np.nan)
        for position, unit in enumerate(found):
            column = unit_column(kind, unit)
            if column in frame:
                numbers = checks.numbers(column, frame[column], "a finite number")
                values[kind][position] = one_value_an_image(column, numbers, kind)
    names = [str(name) for name in image_index]
    if effects is not None:
        _join_effects(effects, found, names, values, problems)
    if problems:
        raise InputError(problems)

    rated = ~np.isnan(scores)
    participant = next((name for name in PARTICIPANT_COLUMNS if name in frame), None)
    people = _words(frame[participant])[rated] if participant else pd.Series(np.arange(rated.sum()))
    if rated.any() and participant is None:
        remarks.append(
            f"{source}: no column {' or '.join(PARTICIPANT_COLUMNS)}; every rating counts as another participant"
        )
    return ExperimentTable(
        source=source, images=names, concepts=concepts, concept_I=concept_I, level_I=level_I,
        partner_I=_clean_partners(frame, names, first_row),
        units=found, activation_UI=values["activation"],
        ablation_UI=values["ablation"], amplification_UI=values["amplification"],
        image_R=image_codes[rated], participant_R=pd.factorize(people, sort=True)[0], score_R=scores[rated],
        units_of_file=[name.removeprefix(ACTIVATION_PREFIX) for name in columns if name.startswith(ACTIVATION_PREFIX)],
        simulated=SIMULATED_COLUMN in frame and bool(_words(frame[SIMULATED_COLUMN]).str.casefold().isin(["true", "1", "1.0"]).any()),
        remarks=remarks,
    )  # fmt: skip


def one_unit_table(df: pd.DataFrame, activation_col: str, human_score_col: str, unit: str = "0") -> ExperimentTable:
    """The table of a single unit whose activations stand in a column of any name.

    Raises:
        InputError: no such column, or a table that cannot be read.
    """
    if activation_col not in df:
        near = nearest(activation_col, list(df.columns))
        raise InputError(f"the table: no column '{activation_col}'{near}; expected the activations of a neuron")
    name = unit_column("activation", unit)
    others = df.drop(columns=name) if name in df and name != activation_col else df
    return load_experiment_table(others.rename(columns={activation_col: name}), [unit], human_score_col)


def _frame_of(data: Any, units: Sequence[str], human_score_col: str) -> tuple[pd.DataFrame, str, list[str]]:
    """The columns that count, where they are from, and the names of all columns there."""
    if isinstance(data, pd.DataFrame):
        return _own_copy(data, "the table"), "the table", [str(name) for name in data.columns]
    if not isinstance(data, str | os.PathLike):
        raise InputError(f"data: found {type(data).__name__}; expected the path of a table, or a DataFrame")
    numbers = {unit_column(kind, unit) for kind in UNIT_COLUMNS for unit in units}
    words = {TRIAL_COLUMN, CONCEPT_COLUMN, LEVEL_COLUMN, human_score_col, CLEAN_IMAGE_COLUMN, SIMULATED_COLUMN}
    wanted = numbers | words | set(IMAGE_COLUMNS) | set(PARTICIPANT_COLUMNS)
    frame, columns = read_table(data, wanted.__contains__, numbers.__contains__)
    return frame, str(data), columns


def _own_copy(data: pd.DataFrame, source: str) -> pd.DataFrame:
    """A caller's table with rows counted from 0."""
    if not data.columns.is_unique:
        twins = sorted({str(name) for name in data.columns[data.columns.duplicated()]})
        raise InputError(f"{source}: columns {', '.join(twins)} stand more than once; expected each column once")
    return data.reset_index(drop=True)


def _scored_trials(frame: pd.DataFrame, source: str) -> tuple[pd.DataFrame, Ints, list[str]]:
    """Leave out practice and attention trials; with them go their rows' numbers."""
    rows = np.arange(len(frame)) + 2
    trials = _words(frame[TRIAL_COLUMN]) if TRIAL_COLUMN in frame else pd.Series(dtype=object)
    if trials.eq("").all():
        return frame, rows, []
    scored = trials.map(normalised).eq(SCORED_TRIAL).to_numpy()
    if not scored.any():
        return frame, rows, [f"{source}: no {TRIAL_COLUMN} is '{SCORED_TRIAL}', so every row counts"]
    if scored.all():
        return frame, rows, []
    remark = f"{int((~scored).sum())} of {len(frame)} rows left out: their {TRIAL_COLUMN} is not '{SCORED_TRIAL}'"
    return frame[scored].reset_index(drop=True), rows[scored], [remark]


def _clean_partners(frame: pd.DataFrame, names: list[str], first_row: Ints) -> Ints:
    """For each image the clean image it was made from: by column, else by the published file names."""
    position = {name: i for i, name in enumerate(names)}
    if CLEAN_IMAGE_COLUMN in frame:
        bases = _words(frame[CLEAN_IMAGE_COLUMN]).iloc[first_row]
        return np.array([position.get(base, -1) for base in bases], dtype=np.int64)
    by_file = {Path(name).name: i for name, i in position.items()}
    partners = np.full(len(names), -1, dtype=np.int64)
    for name, i in position.items():
        if match := _PUBLISHED_NAME.match(Path(name).name):
            clean = f"{match['concept']}_clean_{match['index']}{Path(name).suffix}"
            partners[i] = by_file.get(clean, -1)
    return partners


def _join_effects(
    effects: Any, units: list[str], images: list[str], values: dict[str, Floats], problems: list[Problem]
) -> None:
    """Put the effects of a table of their own where they belong in `values`, or add its problems."""
    columns = {
        unit_column(kind, unit): (kind, p) for kind in ("ablation", "amplification") for p, unit in enumerate(units)
    }
    if isinstance(effects, pd.DataFrame):
        frame, source = _own_copy(effects, "the effects"), "the effects"
    else:
        source = str(effects)
        frame, _ = read_table(effects, (set(columns) | set(IMAGE_COLUMNS)).__contains__, columns.__contains__)
    key = next((name for name in IMAGE_COLUMNS if name in frame), None)
    present = [name for name in columns if name in frame]
    if frame.empty:
        problems.append(Problem(source, "no rows", "one row an image"))
        return
    if key is None or not present:
        found = "no column with the image" if key is None else "no effect column of any neuron of the map"
        columns_expected = "image_filename and ablation_effect_<neuron>, amplification_effect_<neuron>"
        problems.append(Problem(source, found, columns_expected))
        return
    checks = _Checks(source, np.arange(len(frame)) + 2, problems)
    keys = _words(frame[key])
    checks.report(key, keys.duplicated().to_numpy(), keys, "each image once")
    row_of = {name: row for row, name in enumerate(keys)}
    rows = np.array([row_of.get(name, -1) for name in images])
    for name in present:
        numbers = checks.numbers(name, frame[name], "a finite number")
        kind, position = columns[name]
        values[kind][position] = np.where(rows >= 0, numbers[rows], values[kind][position])
    if not problems and (rows < 0).all():
        found = f"none of its images is in the table (first: {shown(keys.iloc[0])})"
        problems.append(Problem(source, found, f"names such as {shown(images[0])}"))


class _Checks:
    """Collects the problems of one table, a few rows of each kind."""

    def __init__(self, source: str, rows: Ints, problems: list[Problem]) -> None:
        self.source, self.rows, self.problems = source, rows, problems
        self._bad: dict[str, Bools] = {}

    def bad(self, column: str) -> Bools:
        """Which rows of a column were already reported."""
        return self._bad.get(column, np.zeros(len(self.rows), dtype=bool))

    def report(self, column: str, wrong: Any, values: pd.Series, expected: str) -> None:
        """Add a problem for the first wrong rows of a column, and count the rest."""
        wrong = np.asarray(wrong, dtype=bool)
        self._bad[column] = self.bad(column) | wrong
        positions = np.flatnonzero(wrong)
        for shown_so_far, position in enumerate(positions[:SHOWN_ROWS]):
            more = len(positions) - SHOWN_ROWS if shown_so_far == SHOWN_ROWS - 1 else 0
            self.problems.append(
                Problem(
                    self.source,
                    f"found {shown(values.iloc[position])}",
                    expected,
                    column,
                    int(self.rows[position]),
                    max(more, 0),
                )
            )

    def numbers(self, column: str, values: pd.Series, expected: str, booleans: bool = False) -> Floats:
        """A column as float64: blanks are NaN; anything that is no finite number is reported."""
        if isinstance(values.dtype, np.dtype) and values.dtype.kind in ("fiub" if booleans else "fiu"):
            numbers = values.to_numpy(dtype=np.float64)
        else:
            words = _words(values).str.casefold()
            if booleans:
                words = words.replace({"true": "1", "false": "0"})
            words = words.where(~words.isin(_MISSING), "nan")
            numbers = pd.to_numeric(words.where(~words.str.contains("_"), "?"), errors="coerce").to_numpy(
                dtype=np.float64
            )
            self.report(column, np.isnan(numbers) & (words != "nan").to_numpy(), values, expected)
        too_large = np.abs(numbers) > LARGEST
        self.report(column, too_large, values, expected)
        return np.where(too_large, np.nan, numbers)


def _words(values: pd.Series) -> pd.Series:
    """A column as text without surrounding space; what is missing becomes the empty word."""
    return values.astype(object).where(values.notna(), "").astype(str).str.strip()


def nearest(name: str, candidates: Iterable[object]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, [str(c) for c in candidates], n=1)
    return f" (the nearest is '{near[0]}')" if near else ""
