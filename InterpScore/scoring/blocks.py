"""What metrics are computed on: blocks of a study's neurons that share a concept and the images measured.

Shapes: U units of a block, I images, N clean images, B draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import numpy as np

from InterpScore.helpers import Bools, Floats, Ints, on_all_cores
from InterpScore.options import ScoringOptions
from InterpScore.pairs.formulas import top_count
from InterpScore.pairs.moments import Sides, excess_kurtosis
from InterpScore.pairs.top_images import top_images
from InterpScore.resampling import DrawWeights
from InterpScore.scoring.study import Study
from InterpScore.tables.experiment_table import ExperimentTable
from InterpScore.tables.neuron_map import Concepts

Computed = TypeVar("Computed")
UNITS_AT_ONCE = 128
"""Units a block at most: blocks are shared out among the cores, and a batch of their draws fits in the cache."""


@dataclass(frozen=True)
class Row:
    """A row of the results: a neuron, and what counts as its concept."""

    neuron: str
    concepts: Concepts
    left_out: Concepts = ()
    """Further concepts of the neuron, whose images count on neither side."""


def rows_of(neuron_map: Mapping[str, Concepts], per_concept: bool) -> list[Row]:
    """A row for each neuron and the union of its concepts; then, if asked for, one for each of several concepts."""
    rows = [Row(neuron, concepts) for neuron, concepts in neuron_map.items()]
    if per_concept:
        several = [row for row in rows if len(row.concepts) > 1]
        rows += [Row(r.neuron, (one,), tuple(c for c in r.concepts if c != one)) for r in several for one in r.concepts]
    return rows


@dataclass(frozen=True)
class Block:
    """Neurons with the same concept, measured on the same images."""

    study: Study
    rows: Ints
    """Positions in the run's list of rows."""
    units: Ints
    """Positions in the table's list of units."""
    activation_UI: Floats
    """0 where not measured."""
    target_I: Bools
    """Images of the concept that have activations."""
    other_I: Bools
    """Images of other concepts that have activations."""

    @property
    def table(self) -> ExperimentTable:
        return self.study.table

    @property
    def options(self) -> ScoringOptions:
        return self.study.options

    @property
    def sample(self) -> DrawWeights:
        """The data as they are."""
        return self.study.sample

    @cached_property
    def measured_I(self) -> Bools:
        """Images on either side."""
        return self.target_I | self.other_I

    @cached_property
    def clean_I(self) -> Bools:
        """Clean images on either side."""
        return self.study.clean_I & self.measured_I

    @cached_property
    def clean_target_I(self) -> Bools:
        return self.study.clean_I & self.target_I

    @cached_property
    def counted_I(self) -> Bools:
        """Images of the concept whose ratings enter H."""
        levels = np.unique(self.table.level_I)
        counted = [level for level in levels if self.options.counts_in_H(int(level))]
        return np.asarray(self.target_I & np.isin(self.table.level_I, counted))

    @cached_property
    def effects(self) -> tuple[Floats, Floats]:
        """Of ablation and of amplification, `(U, I)`; NaN where not measured."""
        return self.table.ablation_UI[self.units], self.table.amplification_UI[self.units]

    @cached_property
    def raw_UI(self) -> Floats:
        """Their mean."""
        return np.asarray(sum(self.effects) / 2)

    @cached_property
    def top_UN(self) -> Bools:
        """Top images of each unit among the clean ones, as many as show the concept. METRICS.md, section 8."""
        top = top_count(int(self.clean_I.sum()), int(self.clean_target_I.sum()))
        return top_images(self.activation_UI[:, self.clean_I], top, self.study.tie_order(self.clean_I))

    @cached_property
    def excess_kurtosis_U(self) -> Floats:
        """Of the clean images' deviations from the mean of their own concept."""
        return excess_kurtosis(self.activation_UI[:, self.clean_I], self.table.concept_I[self.clean_I])

    @cached_property
    def _kept(self) -> WeakKeyDictionary[DrawWeights, dict[str, Any]]:
        return WeakKeyDictionary()

    def once(self, draws: DrawWeights, name: str, compute: Callable[[], Computed]) -> Computed:
        """What `compute` gives, which metrics share; it is kept as long as the draws are."""
        kept = self._kept.setdefault(draws, {})
        if name not in kept:
            kept[name] = compute()
        return cast("Computed", kept[name])

    def sides(self, draws: DrawWeights) -> Sides:
        """Clean images with what they count for on each side, in resamples or in permutations of the labels."""
        count_I = self.sample.analysed(self.options)[:, 0]
        return self.once(draws, "sides", lambda: self._sides(draws, draws.analysed(self.options), count_I))

    def image_sides(self, draws: DrawWeights) -> Sides:
        """The same where an image counts once, however often it was rated; images of one source are resampled together."""
        if self.options.unit_of_analysis == "image" and self.study.source_I is None:
            return self.sides(draws)
        count_I = self.sample.image_IB[:, 0]
        return self.once(draws, "image sides", lambda: self._sides(draws, self.study.by_source(draws), count_I))

    def _sides(self, draws: DrawWeights, weights_IB: Floats, count_I: Floats) -> Sides:
        clean_I, weights_NB = self.clean_I, weights_IB[self.clean_I]
        count_N: Floats | None = None
        if draws.label_of_IB is None:
            target_NB, other_NB = self.target_I[clean_I, None], self.other_I[clean_I, None]
            count_N = count_I[clean_I]
        else:
            label_of_NB = draws.label_of_IB[clean_I]
            target_NB, other_NB = self.target_I[label_of_NB], self.other_I[label_of_NB]
        return Sides(self.activation_UI[:, clean_I], weights_NB * target_NB, weights_NB * other_NB, count_N)

    def of_concept(self, draws: DrawWeights) -> tuple[Bools, DrawWeights]:
        """Images that show the concept in any draw, `(I,)`, and draws in which they count where they do."""
        if draws.label_of_IB is None:
            return self.target_I, draws
        return self.measured_I, draws.only(self.target_I[draws.label_of_IB] & self.measured_I[:, None])


def blocks_of(study: Study, rows: Sequence[Row]) -> Iterator[Block]:
    """Group the rows whose neuron has activations and whose concept the table shows."""
    table = study.table
    position = {unit: u for u, unit in enumerate(table.units)}
    measured_UI = np.isfinite(table.activation_UI)
    groups: dict[tuple[bytes, ...], list[tuple[int, int]]] = {}
    for number, row in enumerate(rows):
        target_I = table.images_of(*row.concepts)
        if row.neuron in position and target_I.any():
            u = position[row.neuron]
            left_out_I = table.images_of(*row.left_out)
            key = target_I.tobytes(), left_out_I.tobytes(), measured_UI[u].tobytes()
            groups.setdefault(key, []).append((number, u))
    for (target, left_out, measured), members in groups.items():
        target_I, left_out_I, measured_I = (np.frombuffer(part, dtype=bool) for part in (target, left_out, measured))
        other_I = measured_I & ~target_I & ~left_out_I
        for start in range(0, len(members), UNITS_AT_ONCE):
            numbers, units = np.array(members[start : start + UNITS_AT_ONCE]).T
            activation_UI = np.where(measured_I, table.activation_UI[units], 0.0)
            yield Block(study, numbers, units, activation_UI, target_I & measured_I, other_I)


def laid_out(
    blocks: Sequence[Block], work: Callable[[Block], Mapping[str, Floats]], n_rows: int, n_draws: int
) -> dict[str, Floats]:
    """What `work` finds for every block by row of the results, `(n_rows, n_draws)` each; NaN in rows that no block has."""
    out: dict[str, Floats] = {}
    for block, found in zip(blocks, on_all_cores(work, blocks), strict=True):
        for name, values_UB in found.items():
            if name not in out:
                out[name] = np.full((n_rows, n_draws), np.nan)
            out[name][block.rows] = values_UB
    return out
