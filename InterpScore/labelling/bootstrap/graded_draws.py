"""AUPRC of units and words in every draw of a bootstrap. METRICS.md, sections 8 and 10.

In a draw an image counts for its weight, so the precision at a top image is the weight of the top images down to it, over that
of all images down to it. Shapes: U units, D candidates, N images, K top images, E places of top images, B draws.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from InterpScore.helpers import Ints, on_all_cores
from InterpScore.labelling.bootstrap.moments import Draws
from InterpScore.labelling.presence import GradedPresence
from InterpScore.labelling.ranking import Activations, places_of, top_images


def graded_auprc_draws(
    a_UN: Activations, presence: GradedPresence, concept_UD: Ints, weight_NB: Draws, advance: Callable[[int], None]
) -> Draws:
    """AUPRC of units and some concepts of each, `(U, D, B)`.

    Args:
        concept_UD: the concepts.
        weight_NB: what each image counts for in each draw.
        advance: called with the number of concepts that are done.
    """
    top_UK = top_images(a_UN, int(presence.top_C[concept_UD].max()))
    drawn_UDB = np.empty((*concept_UD.shape, weight_NB.shape[1]), dtype=np.float32)

    def draw(c: int) -> None:
        place_N, order_N = places_of(presence.y_CN[c])
        pairs = np.argwhere(concept_UD == c)
        top_MK = top_UK[pairs[:, 0], : presence.top_C[c]]
        place_MK = place_N[top_MK]
        ends_E = np.unique(place_MK)
        down_to_EB = weight_down_to(ends_E, order_N, weight_NB)
        for (u, d), top_K, place_K in zip(pairs, top_MK, place_MK, strict=True):
            by_place_K = np.argsort(place_K)
            place_K = place_K[by_place_K]
            weight_KB = weight_NB[top_K[by_place_K]]
            hits_KB = weight_KB.copy()
            running_sum(hits_KB)
            counted_KB = hits_KB
            if (place_K[1:] == place_K[:-1]).any():  # down to the last image of equal presence
                counted_KB = hits_KB[np.searchsorted(place_K, place_K, side="right") - 1]
            precision_KB = counted_KB / down_to_EB[np.searchsorted(ends_E, place_K)]
            drawn_UDB[u, d] = np.einsum("kb,kb->b", weight_KB, precision_KB) / hits_KB[-1]

    for _ in on_all_cores(draw, np.unique(concept_UD).tolist()):
        advance(1)
    return drawn_UDB


def weight_down_to(ends_E: NDArray[np.int32], order_N: Ints, weight_NB: Draws) -> Draws:
    """Weight of the first images of an order, down to each of some places, `(E, B)`."""
    counted = order_N[: ends_E[-1]]  # one row of a sparse matrix for each stretch between two places
    ones = np.ones(len(counted), dtype=np.float32)
    stretch_EN = csr_array((ones, counted, np.append(0, ends_E)), shape=(len(ends_E), len(order_N)))
    weight_EB: Draws = np.asarray(stretch_EN @ weight_NB)
    running_sum(weight_EB)
    return weight_EB


def running_sum(x_KB: Draws) -> None:
    """Add to each row the one before it, in place, from the first: four times as fast as `np.cumsum`."""
    for before_B, x_B in pairwise(x_KB):
        x_B += before_B
