"""An experiment table as some options read it: its clean images, ratings and sources, and permutations of its labels.

Shapes: I images, N images of some kind, B draws.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from InterpScore.helpers import Bools, Floats, Ints
from InterpScore.options import ScoringOptions
from InterpScore.pairs.permutation import Permutations, permuted_sources
from InterpScore.pairs.top_images import tie_order
from InterpScore.resampling import DrawWeights, RatingDesign, permuted_within
from InterpScore.tables.experiment_table import ExperimentTable

CONTINUED = 50
"""How many times as many permutations of sources there are for units whose score none of the first reached."""
KEPT_ORDERS = 2**23
"""Numbers in permutations that blocks share; larger ones are drawn again for each."""


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
        self._orders: dict[int, list[Ints]] = {}

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

    @cached_property
    def _tie_place_I(self) -> Ints:
        """The place of each image in the order in which equal activations count."""
        return np.argsort(tie_order(self.table.images))

    def tie_order(self, images_I: Bools) -> Ints:
        """The order of some images, as positions among them, in which equal activations count."""
        return np.argsort(self._tie_place_I[images_I])

    @cached_property
    def source_I(self) -> Ints | None:
        """The source of each clean image, and another number for each of the rest; None where no two share one."""
        if self.table.source_I is None:
            return None
        n = len(self.table.images)
        source_I = np.where(self.clean_I, self.table.source_I, n + np.arange(n))
        return source_I if len(np.unique(source_I)) < n else None

    def sources_of(self, images_I: Bools) -> Ints | None:
        """The source of some images; None where no clean images share one."""
        return None if self.source_I is None else self.source_I[images_I]

    def n_sources(self, images_I: Bools) -> int:
        """How many sources some images have."""
        return int(images_I.sum()) if self.source_I is None else len(np.unique(self.source_I[images_I]))

    def by_source(self, draws: DrawWeights) -> Floats:
        """What each image counts for, `(I, B)`: in resamples as much as the first of its source."""
        if self.source_I is None or draws.label_of_IB is not None:
            return draws.image_IB
        _, first_G, group_I = np.unique(self.source_I, return_index=True, return_inverse=True)
        return draws.image_IB[first_G[group_I]]

    def permutations(self, images_I: Bools) -> Permutations:
        """`--resamples` permutations of the labels of some images, or of their sources and then `CONTINUED` times as many."""
        n, options = int(images_I.sum()), self.options
        source_N, seed = self.sources_of(images_I), options.seed + 3
        if source_N is not None:
            more = permuted_sources(source_N, (CONTINUED - 1) * options.resamples, seed + 1)
            return Permutations(permuted_sources(source_N, options.resamples, seed), more)
        if n * options.resamples > KEPT_ORDERS:
            return Permutations(permuted_within(np.zeros(n, dtype=np.int64), options.resamples, seed))
        if n not in self._orders:  # of so many images, whichever: blocks share them
            self._orders[n] = list(permuted_within(np.zeros(n, dtype=np.int64), options.resamples, seed))
        return Permutations(self._orders[n])

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
