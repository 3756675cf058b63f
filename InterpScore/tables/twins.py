"""Images that are one picture twice: the same activations, bit for bit, in every unit.

Shapes: U units, I images, D distinct rows of activations.
"""

from __future__ import annotations

import numpy as np

from InterpScore.helpers import Bools, Floats, Ints

UNITS = 2
"""How many units must have been measured on an image: in one unit ties are normal."""
BY_CHANCE = 0.01
"""Expected number of other images with a row of activations, above which equal rows are no wonder."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def same_pictures(activation_UI: Floats) -> list[Ints]:
    """Groups of images whose activations are equal in all units, in the order of the images.

    Images on which no unit is active, or fewer than `UNITS` were measured, are in none; nor are those whose rows would be
    equal by chance: activations that are rounded, or 0 in most units.
    """
    usable_I = (np.isfinite(activation_UI).sum(axis=0) >= UNITS) & (np.nan_to_num(activation_UI) != 0).any(axis=0)
    images = np.flatnonzero(usable_I)
    hash_N = np.zeros(len(images), dtype=np.uint64)
    for activation_I in activation_UI:  # a unit at a time: no second copy of a layer
        bits_N = (activation_I[images] + 0.0).view(np.uint64)  # -0 is 0
        hash_N = (hash_N ^ bits_N) * _MULTIPLIER
        hash_N ^= hash_N >> np.uint64(29)
    _, first_D, of_N, count_D = np.unique(hash_N, return_index=True, return_inverse=True, return_counts=True)
    distinct_UD = activation_UI[:, images[first_D]] if (count_D > 1).any() else activation_UI[:, :0]
    groups = []
    for d in np.flatnonzero(count_D > 1).tolist():
        group = images[of_N.ravel() == d]
        if _all_equal(activation_UI[:, group]) and _expected(distinct_UD, d) < BY_CHANCE:
            groups.append(group)
    return sorted(groups, key=lambda group: int(group[0]))


def _all_equal(activation_UN: Floats) -> bool:
    return bool(
        np.array_equal(activation_UN, np.broadcast_to(activation_UN[:, :1], activation_UN.shape), equal_nan=True)
    )


def _expected(distinct_UD: Floats, d: int) -> float:
    """How many of the other distinct rows would equal one of them if units were independent."""
    others = distinct_UD.shape[1] - 1
    if not others:
        return 0.0
    measured_U: Bools = np.isfinite(distinct_UD[:, d])
    ties_U = (distinct_UD[measured_U] == distinct_UD[measured_U, d, None]).sum(axis=1) - 1
    return float(others * np.prod(ties_U / others))
