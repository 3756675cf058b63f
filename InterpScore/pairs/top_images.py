"""The images that activate a unit most, and how many of them show the concept. METRICS.md, section 8.

Shapes: U units, N images, B draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from InterpScore.helpers import Bools, Floats, Ints
from InterpScore.pairs.moments import Sides


def tie_order(names: Sequence[str]) -> Ints:
    """The order in which images of equal activation count as top images, by a hash of their names.

    It is the same for any order of rows, and knows nothing of concepts, by which files and rows are often sorted.
    """
    return np.argsort([sha256(name.encode("utf-8", "surrogatepass")).hexdigest() for name in names], kind="stable")


def top_images(activation_UN: Floats, top: int, order_N: Ints | None = None) -> Bools:
    """Which images are among the `top` that activate a unit most, `(U, N)`; equal ones in `order_N`, else in their own."""
    order_N = np.arange(activation_UN.shape[1]) if order_N is None else order_N
    ranked_UK = np.argsort(-activation_UN[:, order_N], axis=1, kind="stable")[:, :top]
    top_UN = np.zeros(activation_UN.shape, dtype=bool)
    np.put_along_axis(top_UN, order_N[ranked_UK], True, axis=1)
    return top_UN


@dataclass(frozen=True)
class Counts:
    """Images in every draw, at the sample's number of positives; shares of them where a side is reweighted."""

    hits_UB: Floats
    """Top images that show the concept."""
    top_UB: Floats
    positives_B: Floats
    n_B: Floats


def counts(top_UN: Bools, sides: Sides) -> Counts:
    """Top images of both sides, which have an image each."""
    target, other = sides.moments
    share_UB = [_share(top_UN, weights_NB) for weights_NB in (sides.target_NB, sides.other_NB)]
    hits_UB = share_UB[0] * target.size_B
    return Counts(hits_UB, hits_UB + share_UB[1] * other.size_B, target.size_B, target.size_B + other.size_B)


def _share(top_UN: Bools, weights_NB: Floats) -> Floats:
    counted = weights_NB.any(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((top_UN[:, counted].astype(float) @ weights_NB[counted]) / weights_NB[counted].sum(axis=0))
