"""Which unit stands for which concept: chosen on one set of images, to be scored on another.

METRICS.md, section 6. Shapes: I images, U units, K concepts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from InterpScore.errors import InputError
from InterpScore.helpers import sides
from InterpScore.selectivity import hedges_g


def choose_units(activations: ArrayLike, concepts: Sequence[str]) -> dict[str, int]:
    """One unit for each concept, no unit twice: the choice with the largest sum of effect sizes.

    The images that units were chosen on flatter them; score the choice on other images.

    Args:
        activations: `(I, U)`, clean images only; a unit with a value that is not finite is not chosen.
        concepts: what each image shows.

    Returns:
        Concept to the position of its unit, concepts in alphabetical order.

    Raises:
        InputError: lengths that do not agree, fewer than two concepts or two images of one, too few units, or a concept
            that no unit is left for that is more active on it than on the others.

    >>> choose_units([[9, 0, 1], [8, 0, 0], [1, 7, 0], [0, 9, 1]], ["cat", "cat", "dog", "dog"])
    {'cat': 0, 'dog': 1}
    """
    a_IU = np.asarray(activations, dtype=float)
    if a_IU.ndim != 2 or len(a_IU) != len(concepts):
        raise InputError(f"activations: shape {a_IU.shape} for {len(concepts)} labels; expected (images, units)")
    if strange := [concept for concept in concepts if not isinstance(concept, str)]:
        raise InputError(f"concepts: found {strange[0]!r} among them; expected names")
    names, concept_I, images_K = np.unique(np.array(concepts, dtype=str), return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise InputError(f"concepts: found {len(names)}; expected at least two to tell apart")
    if images_K.min() < 2:
        raise InputError(f"concept {str(names[images_K.argmin()])!r}: one image; expected at least two")
    usable = np.flatnonzero(np.isfinite(a_IU).all(axis=0))
    if len(usable) < len(names):
        raise InputError(f"activations: {len(usable)} usable units for {len(names)} concepts; expected one a concept")
    clean_UI = a_IU[:, usable].T
    g_KU = np.stack([hedges_g(clean_UI, *sides(concept_I == k))[:, 0] for k in range(len(names))])
    largest = np.abs(g_KU[np.isfinite(g_KU)]).max(initial=1.0)
    chosen_K = linear_sum_assignment(np.clip(g_KU, -2 * largest, 2 * largest), maximize=True)[1]
    if hopeless := [str(names[k]) for k, unit in enumerate(chosen_K) if not g_KU[k, unit] > 0]:
        raise InputError(f"concept {hopeless[0]!r}: no unit is left that is more active on it than on the others")
    return {str(name): int(usable[unit]) for name, unit in zip(names, chosen_K, strict=True)}
