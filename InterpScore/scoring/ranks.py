"""Ranks: which neurons are ranked, since scores of different components do not compare, and intervals of their ranks.

METRICS.md, sections 5 and 6. Shapes: K metrics, U rows of the results, B draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from InterpScore.helpers import Bools, Floats, competition_ranks, in_shares, percentile_interval


def most_complete_set(present_KU: Bools, weights: Sequence[float]) -> Bools:
    """The weighted components that ranked scores rest on, `(K,)`, given which of them each scored neuron has.

    Of the largest sets the one that most neurons have; of equally common ones that of the most weight, then the first in
    the metrics' order.
    """
    weight_K = np.asarray(weights, dtype=float)
    held_UK = (present_KU & (weight_K > 0)[:, None]).T
    if not len(held_UK):
        return np.zeros(len(weight_K), dtype=bool)
    sets, counts = np.unique(held_UK, axis=0, return_counts=True)
    best = max(range(len(sets)), key=lambda n: (sets[n].sum(), counts[n], sets[n] @ weight_K, *sets[n]))
    return np.asarray(sets[best])


def ranks_among(score_UB: Floats, ranked_U: Bools) -> Floats:
    """The rank of each ranked row in every draw, `(U, B)`; NaN elsewhere."""
    ranks_UB = np.full(score_UB.shape, np.nan)
    ranks_UB[ranked_U] = competition_ranks(score_UB[ranked_U])
    return ranks_UB


def rank_intervals(
    rank_U: Floats, draws_UB: Floats, ranked_U: Bools, known_U: Bools, confidence: float
) -> tuple[Floats, Floats]:
    """Best and worst rank of each ranked row whose score has an interval, `(U,)` each; NaN elsewhere and of a single row.

    Args:
        rank_U: the ranks.
        draws_UB: the scores in every draw, around the estimates.
        known_U: rows whose score has an interval. The others may lie anywhere: above all for the worst rank, below all
            for the best.
    """
    known_U = ranked_U & known_U & (ranked_U.sum() > 1)
    anywhere = int((ranked_U & ~known_U).sum())
    score_U, _ = percentile_interval(draws_UB, 0.0)
    low, high = rank_interval(np.where(known_U, score_U, np.nan), draws_UB, confidence)
    ends = np.fmin(low, rank_U), np.fmax(high + anywhere, rank_U)
    return np.where(known_U, ends[0], np.nan), np.where(known_U, ends[1], np.nan)


def rank_interval(score_U: Floats, draws_UB: Floats, confidence: float) -> tuple[Floats, Floats]:
    """The ranks that each unit may have, `(U,)` each: below all units clearly above it, above all clearly below it.

    Two units differ clearly where their difference exceeds the normal quantile times the standard deviation of its draws.
    NaN for units without a score.

    Source: METRICS.md, section 6.
    """
    low, high = np.full(len(score_U), np.nan), np.full(len(score_U), np.nan)
    scored = np.flatnonzero(np.isfinite(score_U))
    score, there = score_U[scored], np.isfinite(draws_UB[scored])
    draws = np.where(there, draws_UB[scored], 0)
    n_U1 = np.maximum(there.sum(axis=1, keepdims=True), 1)
    deviation = np.where(there, draws - draws.sum(axis=1, keepdims=True) / n_U1, 0) / np.sqrt(np.maximum(n_U1 - 1, 1))
    variance = (deviation**2).sum(axis=1)
    for some in in_shares(len(scored)):
        squared = variance[some, None] + variance - 2 * deviation[some] @ deviation.T
        least = ndtri((1 + confidence) / 2) * np.sqrt(np.maximum(squared, 0))
        difference = score - score[some, None]
        low[scored[some]] = 1 + (difference > least).sum(axis=1)
        high[scored[some]] = len(scored) - (difference < -least).sum(axis=1)
    return low, high
