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

from InterpScore.helpers import Bools, Floats, Ints, on_all_cores
from InterpScore.labelling.chance import permuted_images
from InterpScore.labelling.pair_scores import Images
from InterpScore.labelling.presence import PRESENT, GradedPresence, Presence
from InterpScore.labelling.ranking import ranks_of
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
    label_of_NB = permuted_images(tested_on.group_N, PERMUTED, generator)
    kind = _GradedSets if isinstance(chosen_on.presence, GradedPresence) else _BinarySets

    def needed(u: int) -> list[int]:
        additions = kind(chosen_on, u, candidate_UD[u]), kind(tested_on, u, candidate_UD[u])
        concepts = [int(candidate_UD[u, 0])]
        at_first, at_second = (sets.of(concepts) for sets in additions)
        while True:
            added, value = additions[0].best_addition(concepts)
            if added is None or not value > at_first:
                return concepts
            gained = additions[1].of([*concepts, added]) - at_second
            if not gained > 0:
                return concepts
            by_chance_B = additions[1].of_permuted(concepts, added, label_of_NB) - at_second
            if not gained > np.quantile(by_chance_B, LEVEL):
                return concepts
            concepts, at_first, at_second = [*concepts, added], value, at_second + gained

    found = {}
    for u, concepts in zip(units.tolist(), on_all_cores(needed, units.tolist()), strict=True):
        found[u] = concepts
        advance(1)
    return found


def _above_chance(hits: Any, positives: Any, n: int) -> Any:
    top = np.maximum(positives, formulas.top_count(n, 0))
    return formulas.auprc(hits, positives, top, n) - formulas.auprc_at_chance(n, positives, top)


@dataclass(frozen=True, eq=False)
class _BinarySets:
    """AUPRC above chance of a unit and sets of concepts, whose images are those of any of them."""

    images: Images
    unit: int
    candidate_D: Ints

    @cached_property
    def _rank_N(self) -> NDArray[np.int32]:
        return ranks_of(self.images.a_UN[self.unit])

    @property
    def _presence(self) -> Presence:
        assert isinstance(self.images.presence, Presence)
        return self.images.presence

    def _shown_N(self, concepts: list[int]) -> Bools:
        shown_N = np.zeros(self.images.n, dtype=bool)
        for concept in concepts:
            shown_N[self._presence.images_of(concept)] = True
        return shown_N

    def of(self, concepts: list[int]) -> float:
        shown_N = self._shown_N(concepts)
        positives = int(shown_N.sum())
        hits = int((self._rank_N[shown_N] < formulas.top_count(self.images.n, positives)).sum())
        return float(_above_chance(hits, positives, self.images.n))

    def best_addition(self, concepts: list[int]) -> tuple[int | None, float]:
        """The concept whose addition gives the most, and what the set then has."""
        presence, n = self._presence, self.images.n
        shown_N = self._shown_N(concepts)
        is_new_P = ~shown_N[presence.image_P]
        first_C = presence.start_C[:-1]
        positives_C = shown_N.sum() + np.add.reduceat(is_new_P, first_C, dtype=np.int64)
        top_C = np.maximum(positives_C, formulas.top_count(n, 0))
        is_hit_P = is_new_P & (self._rank_N[presence.image_P] < np.repeat(top_C, presence.positives_C))
        hits_C = np.searchsorted(np.sort(self._rank_N[shown_N]), top_C) + np.add.reduceat(is_hit_P, first_C, dtype=int)
        value_C = np.asarray(_above_chance(hits_C, positives_C, n))
        value_C[concepts] = -np.inf
        best = int(value_C.argmax())
        return (best, float(value_C[best])) if value_C[best] > -np.inf else (None, -np.inf)

    def of_permuted(self, concepts: list[int], added: int, label_of_NB: NDArray[np.int32]) -> Floats:
        """What sets have to which as many images are added at random, `(B,)`."""
        shown_N, n = self._shown_N(concepts), self.images.n
        added_MB = label_of_NB[self._presence.images_of(added)]
        is_new_MB = ~shown_N[added_MB]
        positives_B = shown_N.sum() + is_new_MB.sum(axis=0)
        top_B = np.maximum(positives_B, formulas.top_count(n, 0))
        hits_B = np.searchsorted(np.sort(self._rank_N[shown_N]), top_B)
        hits_B = hits_B + (is_new_MB & (self._rank_N[added_MB] < top_B)).sum(axis=0)
        return np.asarray(_above_chance(hits_B, positives_B, n))


@dataclass(frozen=True, eq=False)
class _GradedSets:
    """The same with graded presence: that of a set is the largest of its concepts."""

    images: Images
    unit: int
    candidate_D: Ints

    @cached_property
    def _rank_N(self) -> NDArray[np.int32]:
        return ranks_of(self.images.a_UN[self.unit])

    @cached_property
    def _order_N(self) -> NDArray[np.intp]:
        return np.argsort(self._rank_N)

    def _y_N(self, concepts: list[int]) -> Any:
        presence = self.images.presence
        assert isinstance(presence, GradedPresence)
        return presence.y_CN[concepts].max(axis=0)

    def _value(self, y_N: Any) -> float:
        """AUPRC above chance, from places that one sort of the presence gives."""
        n, rising_N = self.images.n, np.sort(y_N)
        top = formulas.top_count(n, int(n - np.searchsorted(rising_N, PRESENT)))
        place_K = np.sort(n - np.searchsorted(rising_N, y_N[self._order_N[:top]], side="left"))
        hits_K = np.searchsorted(place_K, place_K, side="right")
        is_last_N = np.append(True, rising_N[1:] != rising_N[:-1])
        ends_G = n - np.flatnonzero(is_last_N)  # images down to the end of each group of equal presence
        sizes_G = -np.diff(np.append(ends_G, 0))
        pairs_G = (ends_G - 1) * ((top - 1) / (n * (n - 1)))
        return float((hits_K / place_K).sum() / top - (sizes_G / ends_G * (1 / n + pairs_G)).sum())

    def of(self, concepts: list[int]) -> float:
        return self._value(self._y_N(concepts))

    def best_addition(self, concepts: list[int]) -> tuple[int | None, float]:
        """The candidate whose addition gives the most, and what the set then has."""
        left = [int(c) for c in self.candidate_D if c not in concepts]
        values = [self.of([*concepts, c]) for c in left]
        return (left[int(np.argmax(values))], max(values)) if left else (None, -np.inf)

    def of_permuted(self, concepts: list[int], added: int, label_of_NB: NDArray[np.int32]) -> Floats:
        """What sets have to which the permuted presence of a concept is added, `(B,)`."""
        y_N, more_N = self._y_N(concepts), self._y_N([added])
        return np.array([self._value(np.maximum(y_N, more_N[label_of_N])) for label_of_N in label_of_NB.T])
