"""How a neuron responds to the images of a study: what figures of activations and the cards of a report are made from.

Shapes: I images of the study.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from InterpScore.helpers import Bools, Floats, Ints

if TYPE_CHECKING:
    from InterpScore.options import LevelKind, ScoringOptions
    from InterpScore.tables.experiment_table import ExperimentTable
    from Visualizations.run import Run

KINDS: tuple[LevelKind, ...] = ("clean", "benign", "adversarial", "synthetic", "exemplar")
"""Kinds of levels, in the order of figures."""
_APART = " | "


@dataclass(frozen=True)
class Response:
    """A neuron's activations on the images of a study.

    Attributes:
        row: of the results.
        activation_I: NaN where not measured.
        target_I: measured images of its concept.
        clean_I: measured images at the clean level.
    """

    row: dict[str, Any]
    activation_I: Floats
    target_I: Bools
    clean_I: Bools

    @property
    def name(self) -> str:
        """As figures call it."""
        return str(self.row["name"])

    @property
    def clean_mean(self) -> float:
        """Mean |activation| over the clean images of its concept; NaN without one."""
        clean = np.abs(self.activation_I[self.target_I & self.clean_I])
        return float(clean.mean()) if len(clean) else float("nan")


@dataclass(frozen=True)
class Study:
    """The table that a run scored, as figures read it.

    Attributes:
        table: one entry an image.
        options: of the run.
        rate_I: recognition rate, the mean score of an image's ratings; NaN without one.
        ratings_I: their number.
    """

    table: ExperimentTable
    options: ScoringOptions
    rate_I: Floats
    ratings_I: Ints

    @classmethod
    def of(cls, run: Run) -> Study:
        """The study of a run.

        Raises:
            InputError: the table is not the one that was scored.
        """
        table, n = run.data, len(run.data.images)
        ratings_I = np.bincount(table.image_R, minlength=n)
        with np.errstate(invalid="ignore"):
            rate_I = np.bincount(table.image_R, table.score_R, minlength=n) / ratings_I
        return cls(table, run.options, rate_I, ratings_I)

    def response(self, row: dict[str, Any]) -> Response | None:
        """How the neuron of a row of `Run.table` responds; None where the study has no activation of it."""
        names = (f"{row.get('Layer', '')}:{row['Neuron']}", row["Neuron"])
        place = next((self._places[name] for name in names if name in self._places), None)
        if place is None:
            return None
        activation_I = self.table.activation_UI[place]
        measured_I, concept = np.isfinite(activation_I), row["Concept"]
        target_I = self.table.images_of(concept)
        if not target_I.any():  # several concepts are joined in the results
            target_I = self.table.images_of(*concept.split(_APART))
        return Response(
            row, activation_I, target_I & measured_I, (self.table.level_I == self.options.clean_level) & measured_I
        )

    def responses(self, rows: pd.DataFrame) -> list[Response]:
        """How the neurons of some rows respond, without those that the study has no activation of."""
        found: Iterable[Response | None] = map(self.response, rows.to_dict("records"))
        return [response for response in found if response is not None and response.target_I.any()]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {unit: place for place, unit in enumerate(self.table.units)}

    @property
    def levels(self) -> list[int]:
        """Every level, by kind and then by number."""
        return sorted(set(self.table.level_I.tolist()), key=lambda level: (KINDS.index(self.kind_of(level)), level))

    def kind_of(self, level: int) -> LevelKind:
        """The kind of a level."""
        return self.options.kind_of(level)
