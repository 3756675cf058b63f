"""Which column of a file from elsewhere is what: a small YAML file.

participant: PROLIFIC_PID
image_filename: stimulus
ground_truth: concept
level: level
words: [response.word_1, response.word_2]
keep: {trial_type: naming}
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr
from pydantic.dataclasses import dataclass

from Activation_Extraction.base.documents import read_yaml
from Activation_Extraction.base.validation import validated

FILE = "(file)"
"""In place of a column: the name of the file, without its ending."""
Column = Annotated[StrictStr, Field(min_length=1, max_length=500, description="the name of a column")]
Value = StrictStr | StrictInt | StrictFloat | StrictBool


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ColumnMap:
    """Columns of a file; a name with dots reaches into a cell that holds JSON (`response.Q0`).

    Attributes:
        participant, image_filename, ground_truth, level: columns; `(file)` is the name of the file.
        words: the columns of the words that were typed; one column may hold them all, separated by commas.
        keep: column → the value, or values, that rows with answers have; other rows are left out.
        same_trial: columns in which the rows of one trial agree, where a trial has a row for each word.
        others: optional columns of the table of answers, such as trial, rt_ms, excluded, cannot_tell, trial_category.
        simulated: true if no person answered.
    """

    participant: Column
    image_filename: Column
    ground_truth: Column
    level: Column
    words: Annotated[list[Column], Field(min_length=1, max_length=20, description="a list of columns")]
    keep: Annotated[
        dict[Column, Value | Annotated[list[Value], Field(min_length=1)]],
        Field(description="column: value, or column: [value, value]"),
    ] = Field(default_factory=dict)
    same_trial: Annotated[list[Column], Field(max_length=20, description="a list of columns")] = Field(
        default_factory=list
    )
    batch: Column | None = None
    trial_category: Column | None = None
    cannot_tell: Column | None = None
    excluded: Column | None = None
    excluded_by: Column | None = None
    attack_target: Column | None = None
    trial: Column | None = None
    clean_image: Column | None = None
    level_kind: Column | None = None
    image_sha256: Column | None = None
    rt_ms: Column | None = None
    answered_at: Column | None = None
    simulated: StrictBool = False

    @property
    def required(self) -> Mapping[str, str]:
        """Column of the table of answers → column of the file, of those that every answer has."""
        return {name: getattr(self, name) for name in REQUIRED}

    @property
    def optional(self) -> Mapping[str, str]:
        """The same, of those that may be empty."""
        return {name: column for name in OPTIONAL if (column := getattr(self, name)) is not None}

    @property
    def kept(self) -> Mapping[str, frozenset[str]]:
        """Column → the texts of which one must be in it, in lower case."""
        return {
            column: frozenset(_text(value) for value in (values if isinstance(values, list) else [values]))
            for column, values in self.keep.items()
        }


REQUIRED = ("participant", "image_filename", "ground_truth", "level")
OPTIONAL = (
    "batch", "trial_category", "cannot_tell", "excluded", "excluded_by", "attack_target", "trial", "clean_image", "level_kind",
    "image_sha256", "rt_ms", "answered_at",
)  # fmt: skip


_LISTS = ("words", "same_trial")
"""Keys that may have one column in place of a list."""


def _text(value: Any) -> str:
    return str(value).strip().casefold()


def read_column_map(path: str | os.PathLike[str]) -> ColumnMap:
    """A column map from a YAML file.

    Raises:
        InputError: no YAML; all unknown and missing keys and wrong values.
    """
    content = read_yaml(path)
    if isinstance(content, dict):
        content = content | {key: [content[key]] for key in _LISTS if isinstance(content.get(key), str)}
    return validated(ColumnMap, content, str(path))
