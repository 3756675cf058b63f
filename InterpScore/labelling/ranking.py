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

Activations = NDArray[np.floating[Any]]
UNITS_AT_ONCE = 32

_SIGN = np.uint32(0x80000000)


def order_of(a_N: Activations) -> NDArray[np.int64]:
    """Images from the one that activates a unit most, equal ones in their order.

    >>> order_of(np.array([0.0, 2, 0, 1])).tolist()
    [1, 3, 0, 2]
    """
    if a_N.dtype != np.float32:
        return np.argsort(-a_N, kind="stable")
    # One fast sort of whole numbers that hold the activation, the highest first, and then the row.
    bits = (a_N + np.float32(0)).view(np.uint32)  # -0 is 0
    falling = np.where(bits & _SIGN, bits, ~(bits | _SIGN)).astype(np.uint64)
    key = falling << np.uint64(32) | np.arange(len(a_N), dtype=np.uint64)
    key.sort()
    return (key & np.uint64(0xFFFFFFFF)).astype(np.int64)


def ranks_of(a_N: Activations) -> NDArray[np.int32]:
    """Rank of each image from 0, the most active."""
    rank_N = np.empty(len(a_N), dtype=np.int32)
    rank_N[order_of(a_N)] = np.arange(len(a_N), dtype=np.int32)
    return rank_N


def top_images(a_UN: Activations, top: int) -> NDArray[np.int32]:
    """The images that activate each unit most, the most active first, `(U, top)`."""
    top_UK = np.empty((len(a_UN), top), dtype=np.int32)

    def fill(units: slice) -> None:
        for u in range(units.start, units.stop):
            top_UK[u] = order_of(a_UN[u])[:top]

    for _ in on_all_cores(fill, in_shares(len(a_UN), UNITS_AT_ONCE)):
        pass
    return top_UK


def hits_of_pairs(a_UN: Activations, presence: Presence, advance: Callable[[int], None]) -> NDArray[np.int32]:
    """How many of each unit's top images show each concept, `(U, C)`; every concept is shown by an image.

    One gather over the pairs of a concept and an image for each unit.

    Args:
        advance: called with the number of units that are done.
    """
    limit_P = np.repeat(presence.top_C, presence.positives_C).astype(np.int32)
    first_C = presence.start_C[:-1]
    hits_UC = np.empty((len(a_UN), len(presence.concepts)), dtype=np.int32)

    def count(units: slice) -> int:
        for u in range(units.start, units.stop):
            is_hit_P = ranks_of(a_UN[u]).take(presence.image_P) < limit_P
            np.add.reduceat(is_hit_P, first_C, dtype=np.int32, out=hits_UC[u])
        return int(units.stop - units.start)

    for done in on_all_cores(count, in_shares(len(a_UN), UNITS_AT_ONCE)):
        advance(done)
    return hits_UC


# Graded presence ------------------------------------------------------------------------------------------------------


def places_of(y_N: Activations) -> tuple[NDArray[np.int32], bool]:
    """How many images have at least the presence of each image, `(N,)`, and whether some are equal."""
    order_N = order_of(y_N)
    ranked_N = y_N[order_N]
    end_N = np.arange(1, len(y_N) + 1, dtype=np.int32)
    is_last_N = np.append(ranked_N[1:] != ranked_N[:-1], True)
    ends = end_N[is_last_N]
    place_N = np.empty(len(y_N), dtype=np.int32)
    place_N[order_N] = ends[np.cumsum(is_last_N) - is_last_N]
    return place_N, len(ends) < len(y_N)


def auprc_of_places(place_MK: NDArray[np.int32], tied: bool) -> Floats:
    """Average precision of images ranked by presence from the places of top images, `(M,)`.

    Args:
        place_MK: `places_of` each of K top images; sorted in place.
        tied: whether places may be equal.
    """
    place_MK.sort(axis=1)
    k = place_MK.shape[1]
    hits: Any = np.arange(1, k + 1)
    if tied:
        is_last = np.ones(place_MK.shape, dtype=bool)
        is_last[:, :-1] = place_MK[:, 1:] != place_MK[:, :-1]
        hits = np.minimum.accumulate(np.where(is_last, hits, k)[:, ::-1], axis=1)[:, ::-1]
    return np.asarray((hits / place_MK).sum(axis=1) / k)


def graded_auprc_of_pairs(a_UN: Activations, presence: GradedPresence, advance: Callable[[int], None]) -> Floats:
    """`auprc_of_places` of all units and concepts, `(U, C)`.

    Args:
        advance: called with the number of concepts that are done.
    """
    top_UK = top_images(a_UN, int(presence.top_C.max()))
    score_UC = np.empty((len(a_UN), len(presence.concepts)))

    def score(concepts: slice) -> int:
        for c in range(concepts.start, concepts.stop):
            place_N, tied = places_of(presence.y_CN[c])
            score_UC[:, c] = auprc_of_places(place_N.take(top_UK[:, : presence.top_C[c]]), tied)
        return int(concepts.stop - concepts.start)

    for done in on_all_cores(score, in_shares(len(presence.concepts), 8)):
        advance(done)
    return score_UC


def rows_of_groups(group_N: Ints) -> list[Ints]:
    """Images of the groups of each size, `(groups, size)`, each group's in their order."""
    _, code_N, size_G = np.unique(group_N, return_inverse=True, return_counts=True)
    by_group_N = np.argsort(code_N, kind="stable")
    size_N = size_G[code_N[by_group_N]]
    return [by_group_N[size_N == size].reshape(-1, size) for size in np.unique(size_G)]
