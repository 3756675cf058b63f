"""Scores of a unit and a concept that notice missing and superfluous labels, with their exact values at chance.

METRICS.md, section 8; Oikarinen et al. 2025. A unit's *top images* are the k that activate it most. Counts may be arrays of
any shapes that broadcast, and sums of weights in resamples: n images, `positives` that show the concept, `top` top images,
`hits` that are both. Shapes: N images, G groups of equal presence.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from InterpScore.helpers import Bools, Floats, Ints

TOP_SHARE = 0.005
"""Least share of the images that count as a unit's top images."""


def top_count(n: int, positives: int) -> int:
    """How many top images a unit has for a concept: its number of positives, at least `TOP_SHARE` of the images.

    >>> top_count(3000, 2), top_count(3001, 2), top_count(3000, 40)
    (15, 16, 40)
    """
    return max(math.ceil(n * TOP_SHARE - 1e-9), positives, 1)


def correlation(a_N: Floats, presence_N: Floats) -> float:
    """Pearson's, of activation and presence; 0 at chance, NaN where either is constant."""
    return cosine(a_N - a_N.mean(), presence_N - presence_N.mean())


def cosine(a_N: Floats, presence_N: Floats) -> float:
    """`⟨a, y⟩ / (‖a‖ ‖y‖)`; NaN where either is 0 throughout."""
    with np.errstate(invalid="ignore"):
        return float(a_N @ presence_N / np.sqrt((a_N @ a_N) * (presence_N @ presence_N)))


def cosine_at_chance(a_N: Floats, presence_N: Floats) -> float:
    """Mean of `cosine` over permutations of the presence: `n mean(a) mean(y) / (‖a‖ ‖y‖)`."""
    with np.errstate(invalid="ignore"):
        product = len(a_N) * a_N.mean() * presence_N.mean()
        return float(product / np.sqrt((a_N @ a_N) * (presence_N @ presence_N)))


def f1(hits: Any, positives: Any, top: Any) -> Any:
    """F1 of "is a top image" and "shows the concept": `2 TP / (n_y + k)`."""
    return 2 * hits / (positives + top)


def f1_at_chance(n: Any, positives: Any, top: Any) -> Any:
    """Mean of `f1` over permutations of the labels."""
    return 2 * positives * top / (n * (positives + top))


def iou(hits: Any, positives: Any, top: Any) -> Any:
    """Intersection over union of the top images and the positives: of images, not of pixels."""
    return hits / (positives + top - hits)


def iou_at_chance(n: int, positives: int, top: int) -> float:
    """Mean of `iou` over permutations of the labels."""
    hits = np.arange(max(0, positives + top - n), min(positives, top) + 1)
    return float(np.exp(log_hypergeometric(hits, n, positives, top)) @ iou(hits, positives, top))


def auprc(hits: Any, positives: Any, top: Any, n: Any) -> Any:
    """Average precision of images ranked by presence, the truth being "is a top image", for presence of 0 or 1.

    `P·R + π(1 − R)`: precision P and recall R of the positives, and all other images at once with π = k/n.
    """
    recall = hits / top
    return hits / positives * recall + top / n * (1 - recall)


def auprc_at_chance(n: Any, positives: Any, top: Any) -> Any:
    """Mean of `auprc` over permutations of the labels."""
    prevalence, share = positives / n, top / n
    return share + (1 - share) * (1 - prevalence) / (n - 1)


def graded_auprc(presence_N: Floats, top_UN: Bools) -> Floats:
    """`auprc` for presence of any value, equal ones taken together, `(U,)`; NaN without a top image."""
    order_N, ends_G = _tie_groups(presence_N)
    hits_UG = np.cumsum(top_UN[:, order_N], axis=1)[:, ends_G - 1].astype(float)
    gained_UG = np.diff(hits_UG, axis=1, prepend=0)
    with np.errstate(invalid="ignore"):
        return np.asarray((gained_UG * hits_UG / ends_G).sum(axis=1) / hits_UG[:, -1])


def graded_auprc_at_chance(presence_N: Floats, top: int) -> float:
    """Mean of `graded_auprc` over permutations of the presence, for units with `top` top images."""
    return ranked_auprc_at_chance(np.sort(presence_N)[::-1], top)


def ranked_auprc_at_chance(ranked_N: NDArray[Any], top: int) -> float:
    """The same of presence that falls from image to image: p + (1 − p) · mean(1/place), p = (top − 1)/(n − 1).

    The place of an image is the number of images with at least its presence.
    """
    n = len(ranked_N)
    pairs = (top - 1) / (n - 1) if n > 1 else 0.0
    reciprocal = _harmonic(n)
    if len(equal := np.flatnonzero(ranked_N[1:] == ranked_N[:-1])):
        reciprocal += (1 / ends_of_runs(equal) - 1 / (equal + 1)).sum()
    return float(pairs + (1 - pairs) * reciprocal / n)


def ends_of_runs(equal: Ints) -> Ints:
    """Places of images whose next one in rank has equal presence: that of the last such image.

    Args:
        equal: their ranks from 0, rising.
    """
    ends = np.append(np.flatnonzero(np.diff(equal) > 1), len(equal) - 1)
    return np.repeat(equal[ends] + 2, np.diff(ends, prepend=-1))


@cache
def _harmonic(n: int) -> float:
    return float((1 / np.arange(1, n + 1)).sum())


def log_hypergeometric(hits: Any, n: Any, positives: Any, top: Any) -> Any:
    """Log of the probability of so many hits among `top` images drawn from n without replacement."""

    def log_choose(a: Any, b: Any) -> Any:
        return gammaln(a + 1) - gammaln(b + 1) - gammaln(a - b + 1)

    return log_choose(positives, hits) + log_choose(n - positives, top - hits) - log_choose(n, top)


def tail_probabilities(n: int, positives: int, top: int) -> Floats:
    """P(hits ≥ t) at chance for t from 0 to `min(positives, top)`: the exact p-value of any number of hits."""
    hits = np.arange(min(positives, top) + 1)
    least = max(0, positives + top - n)
    probability = np.where(hits >= least, np.exp(log_hypergeometric(np.maximum(hits, least), n, positives, top)), 0.0)
    return np.asarray(np.minimum(np.cumsum(probability[::-1])[::-1], 1.0))


def _tie_groups(presence_N: Floats) -> tuple[Any, Any]:
    """Images by falling presence, and the number of images down to the end of each group of equal ones."""
    order_N = np.argsort(-presence_N, kind="stable")
    ranked_N = presence_N[order_N]
    ends_G = np.append(np.flatnonzero(ranked_N[1:] != ranked_N[:-1]) + 1, len(ranked_N))
    return order_N, ends_G
