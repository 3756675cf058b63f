"""Human alignment H: do people recognise what activates a unit?

METRICS.md, section 4. Shapes: U units, N images of the concept, M clean images of other concepts,
B draws, K permutations.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from InterpScore.helpers import Bools, Floats, for_each_unit, weighted_quantile
from InterpScore.options import PROTOCOLS

NO_HIGH = "no rated image of the concept above the activation threshold"


def calculate_human_consistency_score(
    activations: ArrayLike,
    human_scores: ArrayLike,
    *,
    non_target_activations: ArrayLike | None = None,
    threshold: float | None = None,
    threshold_percentile: float = PROTOCOLS["seed"].threshold_percentile,
) -> float:
    """Mean recognition of the ratings whose image activates the unit strongly.

    Args:
        activations: the unit's activation behind each rating of its concept.
        human_scores: how well each rating recognised the concept, in [0, 1]; NaN where not rated.
        non_target_activations: activations on the clean images of other concepts; the threshold is
            their `threshold_percentile` quantile.
        threshold: the threshold itself, instead of those activations. With neither, the quantile
            of `activations` themselves serves.
        threshold_percentile: a fraction between 0 and 1.

    Returns:
        In [0, 1]; NaN when no rating lies above the threshold.

    Raises:
        ValueError: lengths that differ, scores or a percentile outside [0, 1].

    Source: METRICS.md, section 4.

    >>> calculate_human_consistency_score([.1, .9, .8], [0, 1, .5], threshold=.5)
    0.75
    """
    activation_N = np.asarray(activations, dtype=float).ravel()
    score_N = np.asarray(human_scores, dtype=float).ravel()
    if activation_N.shape != score_N.shape:
        raise ValueError(
            f"{activation_N.size} activations but {score_N.size} human scores; expected one score an activation"
        )
    if ((score_N < 0) | (score_N > 1)).any():
        raise ValueError(f"human scores from {np.nanmin(score_N)} to {np.nanmax(score_N)}; expected 0 to 1")
    if not 0 <= threshold_percentile <= 1:
        raise ValueError(f"threshold_percentile {threshold_percentile}; expected a fraction between 0 and 1")
    rated = np.isfinite(activation_N) & np.isfinite(score_N)
    if threshold is None:
        reference = (
            activation_N if non_target_activations is None else np.asarray(non_target_activations, dtype=float).ravel()
        )
        reference = reference[np.isfinite(reference)]
        if reference.size == 0:
            return float("nan")
        threshold = float(weighted_quantile(reference[None], np.ones((reference.size, 1)), threshold_percentile)[0, 0])
    weights = rated[rated].astype(float)[:, None]
    score = score_N[rated][:, None]
    return float(recognition_above(activation_N[rated][None], np.array([[threshold]]), weights, score)[0, 0])


def recognition_above(target_UN: Floats, threshold_UB: Floats, rating_NB: Floats, score_NB: Floats) -> Floats:
    """`H`: mean score of the ratings whose image lies above the unit's threshold, `(U, B)`.

    Args:
        target_UN: activation on each image of the concept.
        threshold_UB: the activation threshold θ in each draw.
        rating_NB: weight of each image's ratings in each draw.
        score_NB: the same, each rating times its score.

    Returns:
        NaN where nothing lies above.
    """
    H_UB = np.full(threshold_UB.shape, np.nan)
    if target_UN.shape[1] == 0:
        return H_UB
    columns = np.arange(threshold_UB.shape[1])

    def one_unit(u: int) -> None:
        order = np.argsort(target_UN[u])
        above_B = len(order) - np.searchsorted(target_UN[u][order], threshold_UB[u], side="right")
        # Images above the highest threshold count in every draw; only those between need a running sum.
        always, most = int(above_B.min()), int(above_B.max())
        descending = order[::-1]
        between = descending[always:most]
        totals = []
        for weights_NB in (rating_NB, score_NB):
            running = np.empty((most - always + 1, len(columns)))
            running[0] = weights_NB[descending[:always]].sum(axis=0)
            np.cumsum(weights_NB[between], axis=0, out=running[1:])
            running[1:] += running[0]
            totals.append(running[above_B - always, columns])
        with np.errstate(invalid="ignore", divide="ignore"):
            H_UB[u] = np.where(totals[0] > 0, totals[1] / totals[0], np.nan)

    for_each_unit(one_unit, len(target_UN))
    return H_UB


def permutation_p_value(high_UN: Bools, rate_N: Floats, permuted_rates: Iterable[Floats]) -> Floats:
    """One-sided p that high-activation images are recognised more than the others, `(U,)`.

    Args:
        high_UN: which images of the concept lie above the unit's threshold.
        rate_N: each image's recognition rate.
        permuted_rates: the rates reordered within level, batches of `(N, K)`.

    Returns:
        `(1 + #{permutations at least as high}) / (K + 1)`; NaN where no image or every image is high.
    """
    high = high_UN.astype(float)
    observed_U = high @ rate_N
    as_high_U, n_permutations = np.zeros(len(high)), 0
    for rates_NK in permuted_rates:
        as_high_U += ((high @ rates_NK) >= observed_U[:, None] - 1e-9).sum(axis=1)
        n_permutations += rates_NK.shape[1]
    testable = high_UN.any(axis=1) & ~high_UN.all(axis=1) & (n_permutations > 0)
    return np.where(testable, (1 + as_high_U) / (n_permutations + 1), np.nan)
