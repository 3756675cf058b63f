"""The images that activate units most, and how many of them show each concept: all units and concepts at once.

METRICS.md, section 8. Shapes: U units, N images, C concepts, P pairs of a concept and an image that shows it, K top images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from InterpScore.helpers import Floats, Ints, in_shares, on_all_cores
from InterpScore.labelling.presence import GradedPresence, Presence
from InterpScore.pairs.formulas import ends_of_runs, ranked_auprc_at_chance

Activations = NDArray[np.floating[Any]]
UNITS_AT_ONCE = 32


def order_of(a_N: Activations, top: int | None = None) -> NDArray[np.int64]:
    """Images from the one that activates a unit most, equal ones in their order; the first `top` of them, or all.

    >>> order_of(np.array([0.0, 2, 0, 1])).tolist(), order_of(np.array([0.0, 2, 0, 1]), 2).tolist()
    ([1, 3, 0, 2], [1, 3])
    """
    if a_N.dtype != np.float32:
        return np.argsort(-a_N, kind="stable")[:top]
    # One fast sort of whole numbers that hold the activation, the highest first, and then the row.
    bits = (a_N + np.float32(0)).view(np.uint32)  # -0 is 0
    falling = bits ^ (((bits >> 31) - 1) & np.uint32(0x7FFFFFFF))
    key = falling.astype(np.uint64) << np.uint64(32) | np.arange(len(a_N), dtype=np.uint64)
    if top is not None and top < len(key):
        key.partition(top)
        key = key[:top]
    key.sort()
    return (key & np.uint64(0xFFFFFFFF)).astype(np.int64)


def top_images(a_UN: Activations, top: int) -> NDArray[np.int32]:
    """The images that activate each unit most, the most active first, `(U, top)`."""
    top_UK = np.empty((len(a_UN), top), dtype=np.int32)

    def fill(units: slice) -> None:
        for u in range(units.start, units.stop):
            top_UK[u] = order_of(a_UN[u], top)

    for _ in on_all_cores(fill, in_shares(len(a_UN), UNITS_AT_ONCE)):
        pass
    return top_UK


def hits_of_pairs(a_UN: Activations, presence: Presence, advance: Callable[[int], None]) -> NDArray[np.int32]:
    """How many of each unit's top images show each concept, `(U, C)`.

    The concepts of a unit's top images are counted: one list of concepts an image serves all units.

    Args:
        advance: called with the number of units that are done.
    """
    top, concepts = int(presence.top_C.max()), len(presence.concepts)
    hits_UC = np.empty((len(a_UN), concepts), dtype=np.int32)

    def count(units: slice) -> int:
        for u in range(units.start, units.stop):
            concept_P, rank_P = presence.concepts_of(order_of(a_UN[u], top))
            hits_UC[u] = np.bincount(concept_P[rank_P < presence.top_C[concept_P]], minlength=concepts)
        return int(units.stop - units.start)

    for done in on_all_cores(count, in_shares(len(a_UN), UNITS_AT_ONCE)):
        advance(done)
    return hits_UC


# Graded presence ------------------------------------------------------------------------------------------------------


def places_of(y_N: Activations) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """How many images have at least the presence of each image, `(N,)`, and the images by falling presence.

    >>> places_of(np.array([0.1, 0.9, 0.1, 0.5]))[0].tolist()
    [4, 1, 4, 2]
    """
    order_N = order_of(y_N)
    ranked_N = y_N[order_N]
    place_N = np.empty(len(y_N), dtype=np.int32)
    place_N[order_N] = np.arange(1, len(y_N) + 1, dtype=np.int32)
    equal = np.flatnonzero(ranked_N[1:] == ranked_N[:-1])  # ranks whose next one is equal: few, or all of them
    if len(equal):
        place_N[order_N[equal]] = ends_of_runs(equal)
    return place_N, order_N


def auprc_of_places(place_MK: NDArray[np.int32]) -> Floats:
    """Average precision of images ranked by presence from the places of top images, `(M,)`.

    Args:
        place_MK: `places_of` each of K top images; sorted in place.
    """
    place_MK.sort(axis=1)
    k = place_MK.shape[1]
    hits_K = np.arange(1, k + 1)
    score_M = (hits_K / place_MK).sum(axis=1) / k
    is_equal = place_MK[:, 1:] == place_MK[:, :-1]
    if len(tied := np.flatnonzero(is_equal.any(axis=1))):  # hits count down to the last image of equal presence
        is_last = np.append(~is_equal[tied], np.ones((len(tied), 1), dtype=bool), axis=1)
        hits = np.minimum.accumulate(np.where(is_last, hits_K, k)[:, ::-1], axis=1)[:, ::-1]
        score_M[tied] = (hits / place_MK[tied]).sum(axis=1) / k
    return np.asarray(score_M)


def effect_of_ties(place_N: NDArray[np.int32], top: int) -> float:
    """How far `auprc_of_places` can be, at most, from what it would be if images of equal presence had an order.

    In a group of m images that ends at place N, a hit's precision of j/r becomes J/N: at most (m − 1)/N more or less.
    """
    ends_G, sizes_G = np.unique(place_N, return_counts=True)
    return float((np.minimum(sizes_G, top) * (sizes_G - 1) / ends_G).sum() / top)


def graded_auprc_of_pairs(
    a_UN: Activations, presence: GradedPresence, advance: Callable[[int], None]
) -> tuple[Floats, Floats]:
    """`auprc_of_places` of all units and concepts, `(U, C)`, and its mean at chance, `(C,)`.

    Args:
        advance: called with the number of concepts that are done.
    """
    top_UK = top_images(a_UN, int(presence.top_C.max()))
    score_UC, chance_C = np.empty((len(a_UN), len(presence.concepts))), np.empty(len(presence.concepts))

    def score(concepts: slice) -> int:
        for c in range(concepts.start, concepts.stop):
            y_N, top = presence.y_CN[c], int(presence.top_C[c])
            place_N, order_N = places_of(y_N)
            chance_C[c] = ranked_auprc_at_chance(y_N[order_N], top)
            for units in in_shares(len(a_UN)):  # their places fit in the processor's cache
                score_UC[units, c] = auprc_of_places(place_N.take(top_UK[units, :top]))
        return int(concepts.stop - concepts.start)

    for done in on_all_cores(score, in_shares(len(presence.concepts), 8)):
        advance(done)
    return score_UC, chance_C


def rows_of_groups(group_N: Ints) -> list[Ints]:
    """Images of the groups of each size, `(groups, size)`, each group's in their order."""
    _, code_N, size_G = np.unique(group_N, return_inverse=True, return_counts=True)
    by_group_N = np.argsort(code_N, kind="stable")
    size_N = size_G[code_N[by_group_N]]
    return [by_group_N[size_N == size].reshape(-1, size) for size in np.unique(size_G)]
