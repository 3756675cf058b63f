"""Does a unit need several concepts? Concepts added one by one, each kept if it helps on other images. METRICS.md, section 10.

Shapes: N images, C concepts, P pairs of a concept and an image that shows it, B permutations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from InterpScore.helpers import Bools, Floats, Ints, in_shares, on_all_cores
from InterpScore.labelling.chance import permuted_images
from InterpScore.labelling.pair_scores import Images
from InterpScore.labelling.presence import PRESENT, GradedPresence, Presence
from InterpScore.labelling.ranking import auprc_of_places, order_of
from InterpScore.pairs import formulas

PERMUTED = 200
"""Permuted additions that an addition is compared with."""
LEVEL = 0.95


def concept_sets(
    chosen_on: Images,
    tested_on: Images,
    candidate_UD: Ints,
    units: Ints,
    seed: int,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[int, list[int]]:
    """The concepts that each unit needs, its label first.

    Args:
        chosen_on: the images on which additions are chosen; tested_on: those on which they are tested.
        candidate_UD: each unit's best concepts, its label first. With graded presence additions are chosen among them,
            otherwise among all concepts.
        advance: called with the number of units that are done.
    """
    generator = np.random.default_rng((seed, 3))
    label_of_BN = np.ascontiguousarray(permuted_images(tested_on.group_N, PERMUTED, generator).T)
    kind = _GradedSets if isinstance(chosen_on.presence, GradedPresence) else _BinarySets

    def needed(u: int) -> list[int]:
        first, second = kind(chosen_on, u, candidate_UD[u]), kind(tested_on, u, candidate_UD[u])
        concepts = [int(candidate_UD[u, 0])]
        at_first, at_second = first.of(concepts), second.of(concepts)
        while True:
            added, value = first.best_addition(concepts)
            if added is None or not value > at_first:
                return concepts
            with_it = second.of([*concepts, added])
            if not with_it > at_second or _reached_by_chance(second, concepts, added, with_it, label_of_BN):
                return concepts
            concepts, at_first, at_second = [*concepts, added], value, with_it

    found = {}
    for u, concepts in zip(units.tolist(), on_all_cores(needed, units.tolist()), strict=True):
        found[u] = concepts
        advance(1)
    return found


def _reached_by_chance(
    sets: _BinarySets | _GradedSets, concepts: list[int], added: int, value: float, label_of_BN: NDArray[np.int32]
) -> bool:
    """Whether permuted additions reach a value in more than 1 − `LEVEL` of cases; stops when that is certain."""
    allowed, reached = round((1 - LEVEL) * len(label_of_BN)), 0
    for draws in in_shares(len(label_of_BN), 20):
        reached += int((sets.of_permuted(concepts, added, label_of_BN[draws]) >= value).sum())
        if reached > allowed:
            return True
    return False


def _above_chance(hits: Any, positives: Any, n: int) -> Any:
    top = np.maximum(positives, formulas.top_count(n, 0))
    return formulas.auprc(hits, positives, top, n) - formulas.auprc_at_chance(n, positives, top)


@dataclass(frozen=True, eq=False)
class _BinarySets:
    """AUPRC above chance of a unit and sets of concepts, whose images are those of any of them."""

    images: Images
    unit: int
    candidate_D: Ints

    @property
    def _presence(self) -> Presence:
        assert isinstance(self.images.presence, Presence)
        return self.images.presence

    def _top(self, most: int) -> Ints:
        """The images that activate the unit most: as many as a set of up to `most` images has."""
        n = self.images.n
        return order_of(self.images.a_UN[self.unit], min(formulas.top_count(n, most), n))

    def _shown_N(self, concepts: list[int]) -> Bools:
        shown_N = np.zeros(self.images.n, dtype=bool)
        for concept in concepts:
            shown_N[self._presence.images_of(concept)] = True
        return shown_N

    def of(self, concepts: list[int]) -> float:
        shown_N = self._shown_N(concepts)
        positives = int(shown_N.sum())
        return float(_above_chance(int(shown_N[self._top(positives)].sum()), positives, self.images.n))

    def best_addition(self, concepts: list[int]) -> tuple[int | None, float]:
        """The concept whose addition gives the most, and what the set then has."""
        presence, n = self._presence, self.images.n
        shown_N, names = self._shown_N(concepts), len(presence.concepts)
        shown = np.flatnonzero(shown_N)
        shared_C = np.bincount(presence.concepts_of(shown)[0], minlength=names)
        positives_C = len(shown) + presence.positives_C - shared_C
        top_C = np.maximum(positives_C, formulas.top_count(n, 0))
        top_K = self._top(int(positives_C.max()))
        is_shown_K = shown_N[top_K]
        hits_C = np.append(0, np.cumsum(is_shown_K))[top_C]
        concept_P, rank_P = presence.concepts_of(top_K)
        is_new_P = ~is_shown_K[rank_P] & (rank_P < top_C[concept_P])
        value_C = np.asarray(_above_chance(hits_C + np.bincount(concept_P[is_new_P], minlength=names), positives_C, n))
        value_C[concepts] = -np.inf
        best = int(value_C.argmax())
        return (best, float(value_C[best])) if value_C[best] > -np.inf else (None, -np.inf)

    def of_permuted(self, concepts: list[int], added: int, label_of_BN: NDArray[np.int32]) -> Floats:
        """What sets have to which as many images are added at random, `(B,)`."""
        shown_N, n = self._shown_N(concepts), self.images.n
        added_BM = label_of_BN[:, self._presence.images_of(added)]
        is_new_BM = ~shown_N[added_BM]
        positives_B = shown_N.sum() + is_new_BM.sum(axis=1)
        top_B = np.maximum(positives_B, formulas.top_count(n, 0))
        top_K = self._top(int(positives_B.max()))
        rank_N = np.full(n, n)
        rank_N[top_K] = np.arange(len(top_K))
        hits_B = np.append(0, np.cumsum(shown_N[top_K]))[top_B]
        hits_B = hits_B + (is_new_BM & (rank_N[added_BM] < top_B[:, None])).sum(axis=1)
        return np.asarray(_above_chance(hits_B, positives_B, n))


@dataclass(frozen=True, eq=False)
class _GradedSets:
    """The same with graded presence: that of a set is the largest of its concepts."""

    images: Images
    unit: int
    candidate_D: Ints

    @cached_property
    def _order_K(self) -> Ints:
        """The images that activate the unit most: as many as the set of all candidates has."""
        n, most = self.images.n, int(self.images.presence.positives_C[self.candidate_D].sum())
        return order_of(self.images.a_UN[self.unit], min(formulas.top_count(n, most), n))

    def _y_N(self, concepts: list[int]) -> Any:
        presence = self.images.presence
        assert isinstance(presence, GradedPresence)
        return np.maximum.reduce([presence.y_CN[concept] for concept in concepts])

    def _value(self, y_N: Any) -> float:
        """AUPRC above chance, from places that one sort of the presence gives."""
        n, rising_N = self.images.n, np.sort(y_N)
        top = formulas.top_count(n, int(n - np.searchsorted(rising_N, PRESENT)))
        place_K = (n - np.searchsorted(rising_N, y_N[self._order_K[:top]])).astype(np.int32)
        return float(auprc_of_places(place_K[None])[0] - formulas.ranked_auprc_at_chance(rising_N[::-1], top))

    def of(self, concepts: list[int]) -> float:
        return self._value(self._y_N(concepts))

    def best_addition(self, concepts: list[int]) -> tuple[int | None, float]:
        """The candidate whose addition gives the most, and what the set then has."""
        left = [int(c) for c in self.candidate_D if c not in concepts]
        y_N = self._y_N(concepts)
        values = [self._value(np.maximum(y_N, self._y_N([c]))) for c in left]
        return (left[int(np.argmax(values))], max(values)) if left else (None, -np.inf)

    def of_permuted(self, concepts: list[int], added: int, label_of_BN: NDArray[np.int32]) -> Floats:
        """What sets have to which the permuted presence of a concept is added, `(B,)`."""
        y_N, more_N = self._y_N(concepts), self._y_N([added])
        return np.array([self._value(np.maximum(y_N, more_N.take(label_of_N))) for label_of_N in label_of_BN])
