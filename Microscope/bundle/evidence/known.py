"""What is known of a layer's units besides their activations, gathered from files and networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from InterpScore.metric import components
from Microscope.bundle.distributions import Floats
from Microscope.bundle.format import Cluster, Column, Concepts, Dose, Interval, Label, Notable, Render, Source

WITH_ENDS = frozenset({"InterpScore", "Rank", *(metric.name for metric in components())})


@dataclass
class Known:
    """Of a layer; by unit. What is not in it is not measured, and `not_measured` says why.

    Attributes:
        columns: name → what it is; values: name → of each unit, for the index.
        render_bytes: file below the layer's folder → its content; face: unit → the render that stands for it, a file.
        heat: unit → image row → where in the picture it fires: base64 of h × w values, and h and w.
        clusters: unit → clusters, and image row → cluster.
        downloads: name in the bundle → content; files: the same, below the layer's folder.
    """

    units: int
    labels: dict[int, Label] = field(default_factory=dict)
    scores: dict[int, dict[str, Interval]] = field(default_factory=dict)
    notes: dict[int, list[str]] = field(default_factory=dict)
    renders: dict[int, list[Render]] = field(default_factory=dict)
    render_bytes: dict[str, bytes] = field(default_factory=dict)
    face: dict[int, bytes] = field(default_factory=dict)
    dose: dict[int, list[Dose]] = field(default_factory=dict)
    heat: dict[int, dict[int, tuple[str, tuple[int, int]]]] = field(default_factory=dict)
    clusters: dict[int, tuple[list[Cluster], dict[int, int]]] = field(default_factory=dict)
    concepts: Concepts | None = None
    columns: dict[str, Column] = field(default_factory=dict)
    values: dict[str, Floats] = field(default_factory=dict)
    not_measured: dict[str, str] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    notable: list[Notable] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    downloads: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    simulated: bool = False

    def score(self, unit: int, name: str, value: Interval) -> None:
        """Note a score of a unit; for the index its value, and of `WITH_ENDS` the ends of its interval too."""
        self.scores.setdefault(unit, {})[name] = value
        ends = (("_low", value.low), ("_high", value.high)) if name in WITH_ENDS else ()
        for ending, number in (("", value.value), *ends):
            if number is not None:
                self.column(name + ending)[unit] = number

    def column(self, name: str) -> Floats:
        """The values of a column of the index, NaN until they are noted."""
        return self.values.setdefault(name, np.full(self.units, np.nan))

    def note(self, unit: int, notes: Sequence[str]) -> None:
        """Note what a file says of a unit."""
        said = self.notes.setdefault(unit, [])
        said += [one for one in notes if one and one not in said]


def number(value: Any) -> float | None:
    """A number of a table; None where it is missing."""
    return None if value is None or value != value or isinstance(value, str) else float(value)
