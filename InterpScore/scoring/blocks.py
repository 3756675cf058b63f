"""What metrics are computed on: a study, and blocks of its neurons that share a concept and the images measured.

Shapes: U units of a block, I images, N clean images, B draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from InterpScore.helpers import Bools, Floats, Ints, on_all_cores
from InterpScore.options import ScoringOptions
from InterpScore.resampling import DrawWeights, RatingDesign, permuted_within
from InterpScore.tables.experiment_table import ExperimentTable
from InterpScore.tables.neuron_map import Concepts

UNITS_AT_ONCE = 128
"""Units a block at most: blocks are shared out among the cores, and a batch of their draws fits in the cache."""


class Study:
    """An experiment table as some options read it: what all blocks have in common."""

    def __init__(self, table: ExperimentTable, options: ScoringOptions) -> None:
        self.table, self.options = table, options
        self.design: RatingDesign = table.rating_design(options.recognised_at)
        self.sample: DrawWeights = self.design.unit_weights()
        """The data as they are: the draw in which everything counts once."""
        self.clean_I: Bools = np.asarray(table.level_I == options.clean_level)
        self.rated_I: Bools = self.sample.rating_IB[:, 0] > 0
        self._ceilings: dict[bytes, float] = {}

    @cached_property
    def rate_I(self) -> Floats:
        """Recognition rate of each image; 0 where nobody rated it."""
        rating_I, score_I = self.sample.rating_IB[:, 0], self.sample.score_IB[:, 0]
        return np.divide(score_I, rating_I, out=np.zeros(len(rating_I)), where=self.rated_I)

    @cached_property
    def permuted_rates(self) -> list[Floats]:
        """Those rates reordered within concept and level, `--resamples` times, in batches of `(I, b)`."""
        strata_I = np.where(self.rated_I, self.table.cell_I, -1)
        orders = permuted_within(strata_I, self.options.resamples, self.options.seed + 2)
        return [self.rate_I[order_IB] for order_IB in orders]

    def raters(self, images_I: Bools, chosen_UN: Bools, *, recognised: bool = False) -> Ints:
        """How many participants rated chosen ones of some images, or recognised them, `(U,)`: 0, 1, or 2 for more."""
        first_I, last_I = self._first_and_last_raters[recognised]
        nobody = self.design.n_participants
        first_U = np.where(chosen_UN, first_I[images_I], nobody).min(axis=1, initial=nobody)
        last_U = np.where(chosen_UN, last_I[images_I], -1).max(axis=1, initial=-1)
        return np.asarray((last_U >= 0).astype(np.int64) + (last_U > first_U))

    @cached_property
    def _first_and_last_raters(self) -> dict[bool, tuple[Ints, Ints]]:
        """The lowest and the highest participant that rated each image, and of those that recognised it."""
        out, table = {}, self.table
        for recognised in (False, True):
            counted_R = table.score_R >= self.options.recognised_at if recognised else np.ones(len(table.score_R), bool)
            first_I = np.full(len(table.images), self.design.n_participants)
            last_I = np.full(len(table.images), -1)
            np.minimum.at(first_I, table.image_R[counted_R], table.participant_R[counted_R])
            np.maximum.at(last_I, table.image_R[counted_R], table.participant_R[counted_R])
            out[recognised] = first_I, last_I
        return out

    def noise_ceiling(self, images_I: Bools) -> float:
        """The highest correlation with recognition rates that the ratings of some images allow, √reliability."""
        key = images_I.tobytes()
        if key not in self._ceilings:
            reliability = self.design.split_half_reliability(np.flatnonzero(images_I), seed=self.options.seed)
            self._ceilings[key] = float(np.sqrt(reliability)) if reliability > 0 else float("nan")
        return self._ceilings[key]


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
class Sides:
    """Clean images of the concept and of other concepts, side by side."""

    activation_UN: Floats
    target_NB: Floats
    """What each image counts for as one of the concept in each draw; 0 where it is none."""
    other_NB: Floats
    """The same for images of other concepts."""
    count_N: Floats | None
    """What each image counts for in the data, where draws reweight them; None where the weights are such counts."""


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

    def sides(self, draws: DrawWeights) -> Sides:
        """Clean images with what they count for on each side, in resamples or in permutations of the labels."""
        clean_I, weights_NB = self.clean_I, draws.analysed(self.options)[self.clean_I]
        if draws.label_of_IB is None:
            target_NB, other_NB = self.target_I[clean_I, None], self.other_I[clean_I, None]
            count_N = self.sample.analysed(self.options)[clean_I, 0]
        else:
            label_of_NB, count_N = draws.label_of_IB[clean_I], None
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
