"""Is a label better than chance? Exact where it can be, else by permutations in parts that can be resumed. METRICS.md, section 10.

Shapes: U units, N images, C concepts, B permutations, K top images.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.progress import Advance, StageProgress, in_stage
from InterpScore.helpers import Floats, Ints, on_all_cores
from InterpScore.labelling.pair_scores import By, Images, PairScores, scores_of_pairs
from InterpScore.labelling.presence import GradedPresence, Presence
from InterpScore.labelling.ranking import (
    auprc_of_places,
    effect_of_ties,
    places_of,
    rows_of_groups,
    top_images,
)
from InterpScore.pairs.formulas import tail_probabilities

FIRST, MOST = 2_000, 100_000
"""Permutations for every unit, and for those that none of the first has reached."""
A_PART = 500
ROUNDING = 1e-12

Run = Callable[["PermutationJob", Sequence[int]], list[Ints]]
"""Computes parts of a job: here, or in a folder that interruptions do not harm."""


def exact_p_values(images: Images, scores: PairScores, concept_U: Ints) -> Floats:
    """P(as many hits or more) of each unit and its concept, by the hypergeometric distribution."""
    presence, p_U = images.presence, np.empty(len(concept_U))
    assert isinstance(presence, Presence)
    assert scores.hits_UC is not None
    for c in np.unique(concept_U):
        of_c = np.flatnonzero(concept_U == c)
        tail = tail_probabilities(images.n, int(presence.positives_C[c]), int(presence.top_C[c]))
        p_U[of_c] = tail[scores.hits_UC[of_c, c]]
    return p_U


def permuted_p_values(null: Null, units: int, seed: int, run: Run) -> tuple[Floats, Ints]:
    """p-values by permutation, and how many there were for each unit.

    A unit that none of the first `FIRST` reached gets `MOST`; both rules together never reject a true null too often.
    """
    everyone = np.arange(units)
    first = run(PermutationJob(null, everyone, seed), range(FIRST // A_PART))
    reached_U = np.asarray(np.sum(first, axis=0), dtype=np.int64)
    count_U = np.full(units, FIRST)
    if len(never := np.flatnonzero(reached_U == 0)):
        further = run(PermutationJob(null, never, seed), range(FIRST // A_PART, MOST // A_PART))
        reached_U[never] = np.sum(further, axis=0)
        count_U[never] = MOST
    return (1 + reached_U) / (1 + count_U), count_U


class Null(Protocol):
    """What chance gives."""

    def reached(self, generator: np.random.Generator, draws: int, units: Ints) -> Ints:
        """In how many of some permutations each of some units reaches what was observed."""
        ...


@dataclass(frozen=True, eq=False)
class PermutationJob:
    """The job whose parts are permutations, `A_PART` each; see `base/engine`."""

    null: Null
    units: Ints
    seed: int

    def compute(self, parts: Iterator[int], advance: Advance) -> Generator[tuple[int, Ints]]:
        """How often each unit is reached, part by part."""
        for part in parts:
            generator = np.random.default_rng((self.seed, 1, part))
            yield part, self.null.reached(generator, A_PART, self.units)
            advance(A_PART)


def permuted_images(group_N: Ints, draws: int, generator: np.random.Generator) -> NDArray[np.int32]:
    """From which image each image has its presence, `(N, B)`: groups exchange theirs with others of their size."""
    label_of_NB = np.empty((len(group_N), draws), dtype=np.int32)
    for rows in rows_of_groups(group_N):
        order = np.repeat(np.arange(len(rows), dtype=np.int32)[:, None], draws, axis=1)
        generator.permuted(order, axis=0, out=order)
        for row in rows.T:
            label_of_NB[row] = row[order]
    return label_of_NB


def random_subsets(n: int, size: int, draws: int, generator: np.random.Generator) -> NDArray[np.int32]:
    """Random sets of `size` of n numbers, each rising, `(B, size)`."""
    if 2 * size > n:
        order = generator.permuted(np.repeat(np.arange(n, dtype=np.int32)[None], draws, axis=0), axis=1)
        return np.sort(order[:, :size], axis=1)
    found = np.sort(generator.integers(0, n, (draws, size), dtype=np.int32), axis=1)
    while True:  # what was drawn twice is drawn again: numbers one after the other, until enough differ
        again = np.zeros(found.shape, dtype=bool)
        again[:, 1:] = found[:, 1:] == found[:, :-1]
        if not again.any():
            return found
        found[again] = generator.integers(0, n, int(again.sum()), dtype=np.int32)
        found.sort(axis=1)


@dataclass(frozen=True, eq=False)
class GradedNull:
    """AUPRC of graded presence among images that are each of its own source: any top images are as good as others.

    So units whose concepts have the same number of top images share permutations. Images of equal presence change AUPRC
    by `_slack_U` at most: only where a draw is so close to what was observed are they looked at.
    """

    images: Images
    concept_U: Ints
    observed_U: Floats

    @cached_property
    def _slack_U(self) -> Floats:
        slack = {
            c: effect_of_ties(self._ranked(c), self._top(c)) + ROUNDING for c in np.unique(self.concept_U).tolist()
        }
        return np.array([slack[c] for c in self.concept_U.tolist()])

    def _ranked(self, c: int) -> NDArray[np.int32]:
        """Places of the images by rank."""
        presence = self.images.presence
        assert isinstance(presence, GradedPresence)
        return np.sort(places_of(presence.y_CN[c])[0])

    def _top(self, c: int) -> int:
        return int(self.images.presence.top_C[c])

    def reached(self, generator: np.random.Generator, draws: int, units: Ints) -> Ints:
        reached_U = np.zeros(len(self.concept_U), dtype=np.int64)
        top_U = self.images.presence.top_C[self.concept_U]
        for k in np.unique(top_U[units]).tolist():
            members = units[top_U[units] == k]
            reached_U[members] = self._reached(members, random_subsets(self.images.n, k, draws, generator))
        return reached_U[units]

    def _reached(self, units: Ints, rank_BK: NDArray[np.int32]) -> Ints:
        null_B = auprc_of_places(rank_BK + 1)
        order_B, observed_U, slack_U = np.argsort(null_B), self.observed_U[units], self._slack_U[units]
        from_U = np.searchsorted(null_B, observed_U - slack_U, sorter=order_B)
        to_U = np.searchsorted(null_B, observed_U + slack_U, sorter=order_B)
        reached_U, ranked = len(null_B) - to_U, cache(self._ranked)
        for u in np.flatnonzero(from_U < to_U):
            close_BK = rank_BK[order_B[from_U[u] : to_U[u]]]
            exact_B = auprc_of_places(ranked(int(self.concept_U[units[u]])).take(close_BK))
            reached_U[u] += (exact_B >= observed_U[u] - ROUNDING).sum()
        return np.asarray(reached_U)


@dataclass(frozen=True, eq=False)
class GroupNull:
    """AUPRC of each unit and its concept, where sources of several images exchange what they show."""

    images: Images
    concept_U: Ints
    observed_U: Floats

    @cached_property
    def _top_UK(self) -> NDArray[np.int32]:
        return top_images(self.images.a_UN, int(self.images.presence.top_C[self.concept_U].max()))

    @cached_property
    def _places(self) -> dict[int, NDArray[np.int32]]:
        presence = self.images.presence
        assert isinstance(presence, GradedPresence)
        return {c: places_of(presence.y_CN[c])[0] for c in np.unique(self.concept_U).tolist()}

    def reached(self, generator: np.random.Generator, draws: int, units: Ints) -> Ints:
        label_of_NB = permuted_images(self.images.group_N, draws, generator)
        return np.array(list(on_all_cores(lambda u: self._reached(u, label_of_NB), units.tolist())), dtype=np.int64)

    def _reached(self, u: int, label_of_NB: NDArray[np.int32]) -> int:
        c, presence = int(self.concept_U[u]), self.images.presence
        label_of_KB = label_of_NB[self._top_UK[u, : presence.top_C[c]]]
        if isinstance(presence, Presence):
            statistic_B: Any = presence.is_shown_CN[c].take(label_of_KB).sum(axis=0)
        else:
            statistic_B = auprc_of_places(np.ascontiguousarray(self._places[c].take(label_of_KB).T))
        return int((statistic_B >= self.observed_U[u] - ROUNDING).sum())


@dataclass(frozen=True, eq=False)
class LargestNull:
    """The best score over all concepts, for labels that were chosen on the images that they are tested on."""

    images: Images
    by: By
    observed_U: Floats

    def reached(self, generator: np.random.Generator, draws: int, units: Ints) -> Ints:
        n, group_N = self.images.n, self.images.group_N
        if len(np.unique(group_N)) == n:  # any ranking is as good as another: units share permutations
            null_B = self._largest(generator.random((draws, n), dtype=np.float32))
            return _at_least(null_B, self.observed_U[units])
        label_of_NB = permuted_images(group_N, draws, generator)
        a_UN = self.images.a_UN
        return np.concatenate(
            [_at_least(self._largest(a_UN[u].take(label_of_NB.T)), self.observed_U[[u]]) for u in units]
        )

    def _largest(self, a_BN: NDArray[Any]) -> Floats:
        permuted = Images(a_BN, self.images.presence, self.images.group_N, self.images.row_N)
        return np.asarray(scores_of_pairs(permuted, self.by).score_UC.max(axis=1))


def _at_least(null_B: Floats, observed_U: Floats) -> Ints:
    """How many of the draws are at least each observed value."""
    ranked_B = np.sort(null_B)
    return np.asarray(len(ranked_B) - np.searchsorted(ranked_B, observed_U - ROUNDING, side="left"), dtype=np.int64)


def in_memory(progress: StageProgress | None = None) -> Run:
    """Permutations in this process; what is done is lost when it is interrupted."""

    def run(job: PermutationJob, parts: Sequence[int]) -> list[Ints]:
        advance = in_stage(progress, stage_of(parts), len(parts) * A_PART)
        return [counts for _, counts in job.compute(iter(parts), advance)]

    return run


def stage_of(parts: Sequence[int]) -> str:
    """What progress calls some parts."""
    return "Permuting" if parts[0] == 0 else "Permuting further"


def fixed_share(group_N: Ints) -> float:
    """Share of the images in groups whose size no other group has, which permutations leave as they are."""
    alone = [rows.size for rows in rows_of_groups(group_N) if len(rows) == 1]
    return sum(alone) / len(group_N) if len(group_N) else 0.0
