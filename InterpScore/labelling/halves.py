"""Two halves of the images, one to choose concepts on and one to test them on. METRICS.md, section 10."""

from __future__ import annotations

import numpy as np

from InterpScore.helpers import Ints
from InterpScore.labelling.presence import AnyPresence, Presence, distinct_pairs

SELECTION, EVALUATION = "selection", "evaluation"


def in_halves(presence: AnyPresence, group_N: Ints, seed: int) -> tuple[Ints, Ints]:
    """The images of the selection and of the evaluation half, each in a random order.

    Sources are divided, never the images of one. Of sources that show the same concepts, half go to each side, so that
    a concept is on both wherever it can be.

    Args:
        group_N: the source of each image, numbers.
    """
    generator = np.random.default_rng((seed, 0))
    sources, code_N = np.unique(group_N, return_inverse=True)
    kind_G = _kinds(presence, code_N, len(sources))
    order_G = np.lexsort((generator.random(len(sources)), kind_G))
    is_selection_G = np.zeros(len(sources), dtype=bool)
    is_selection_G[order_G[::2]] = True
    shuffled_N = generator.permutation(presence.n)
    chosen_N = is_selection_G[code_N[shuffled_N]]
    return shuffled_N[chosen_N], shuffled_N[~chosen_N]


def in_one(presence: AnyPresence, seed: int) -> Ints:
    """All images, in a random order: equal activations are ranked in it, not as a folder lists what images show."""
    return np.random.default_rng((seed, 0)).permutation(presence.n)


def _kinds(presence: AnyPresence, code_N: Ints, n_sources: int) -> Ints:
    """Numbers of sources, equal where they show the same concepts; with graded presence all alike."""
    kind_G = np.zeros(n_sources, dtype=np.int64)
    if not isinstance(presence, Presence):
        return kind_G
    concepts = len(presence.concepts)
    source_P, concept_P = distinct_pairs(code_N[presence.image_P], presence.concept_P, concepts)
    # A random number of each concept; sources whose sums agree show the same ones.
    key_C = np.random.default_rng(0).integers(1, 2**62, concepts, dtype=np.int64)
    np.add.at(kind_G, source_P, key_C[concept_P])  # whole numbers, which wrap around
    return np.unique(kind_G, return_inverse=True)[1]
