"""Files beside a run: labels, profiles, checks, published scores; each refused where it is another file."""

from __future__ import annotations

import os
from collections.abc import Collection

import pandas as pd

from Activation_Extraction.base.documents import parquet_file
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.tables.files import read_table
from Activation_Extraction.tables.identifiers import unit_number

SCORES = ("S", "C", "R", "H", "InterpScore")
_CHECKS = ("section", "check", "variant", "figure", "expected", "passed", "required")
_LABELS = (
    "unit",
    "concept",
    "score",
    "score_low",
    "score_high",
    "p_adjusted",
    "polysemy",
    "n_images",
    "n_top",
    "split",
)
_LABEL_TEXTS = ("concept", "split")
_ALSO_OF_LABELS = ("layer", "candidate", "reason")
_PROFILE = ("unit", "MS_top", "MS_top_chance", "MS_top_spread", "clarity", "clarity_chance", "clarity_spread",
            "redundancy", "redundancy_with")  # fmt: skip
_ALSO_OF_PROFILES = (
    "MS_top_untrained_higher", "clarity_untrained_higher", "redundancy_untrained_higher", "Notes",
)  # fmt: skip


def read_labels(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The table of `interpscore label`: a row a unit, `concept` missing where it has none.

    Raises:
        InputError: it cannot be read, or is another table.
    """
    expected = "the table of `interpscore label`, .parquet"
    with parquet_file(path, expected) as file:
        there = file.schema_arrow.names
        _refuse_without(path, there, _LABELS, expected)
        columns = [*_LABELS, *(name for name in _ALSO_OF_LABELS if name in there)]
        frame = file.read(columns=columns).to_pandas(ignore_metadata=True)
    return _with_numbers(frame, [name for name in _LABELS if name not in ("unit", *_LABEL_TEXTS)], path, expected)


def read_profile(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The table of `interpscore profile`, Parquet or CSV: a row a unit, NaN where a score is missing.

    Raises:
        InputError: it cannot be read, or is another table.
    """
    expected, numbers = "the table of `interpscore profile`", {*_PROFILE, *_ALSO_OF_PROFILES} - {"unit", "Notes"}
    frame = read_table(path, {*_PROFILE, *_ALSO_OF_PROFILES}.__contains__, numbers.__contains__).frame
    _refuse_without(path, list(frame), _PROFILE, expected)
    return _with_numbers(frame, [name for name in frame if name in numbers], path, expected)


def read_checks(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The checks of `interpscore sanity -o checks.csv`: a row a check and way of scoring.

    Raises:
        InputError: it cannot be read, or is another table.
    """
    expected = "the CSV of `interpscore sanity --output`"
    raw = read_table(path, _CHECKS.__contains__, lambda name: False)
    _refuse_without(path, list(raw.frame), _CHECKS, expected)
    frame = raw.frame.astype({"section": str, "figure": str})
    for name in ("passed", "required"):
        truth = frame[name].astype(str).str.lower()
        if not truth.isin(["true", "false"]).all():
            raise InputError(f"{path}, column {name!r}: neither true nor false; expected {expected}")
        frame[name] = truth == "true"
    return frame


def read_published(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Published scores: a row a neuron, `neuron` and some of S, C, R, H and InterpScore, NaN where none was published.

    Raises:
        InputError: it cannot be read, has no neurons or scores, a neuron twice, or scores that are no numbers.
    """
    expected = f"a CSV with the column neuron and some of {', '.join(SCORES)}"
    raw = read_table(path, {"neuron", "Neuron", *SCORES}.__contains__, SCORES.__contains__)
    frame = raw.frame.rename(columns={"Neuron": "neuron"})
    _refuse_without(path, list(frame), ("neuron",), expected)
    if not set(SCORES) & set(frame):
        raise InputError(f"{path}: no column of a score; expected {expected}")
    frame["neuron"] = frame["neuron"].astype(str).map(unit_number)
    if (twice := frame["neuron"][frame["neuron"].duplicated()]).any():
        raise InputError(f"{path}: neuron {twice.iloc[0]} appears more than once; expected a row a neuron")
    return _with_numbers(frame, [name for name in SCORES if name in frame], path, expected)


def _refuse_without(
    path: str | os.PathLike[str], there: Collection[str], names: Collection[str], expected: str
) -> None:
    if missing := [name for name in names if name not in there]:
        raise InputError(f"{path}: no column {', '.join(missing)}; expected {expected}")


def _with_numbers(
    frame: pd.DataFrame, names: Collection[str], path: str | os.PathLike[str], expected: str
) -> pd.DataFrame:
    for name in names:
        try:
            frame[name] = pd.to_numeric(frame[name].replace("", None)).astype(float)
        except (TypeError, ValueError):
            raise InputError(f"{path}, column {name!r}: not numbers; expected {expected}") from None
    return frame
