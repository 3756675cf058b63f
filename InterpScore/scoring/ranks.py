"""Ranks: which neurons are ranked, since scores of different components do not compare, and intervals of their ranks.

METRICS.md, sections 5 and 6. Shapes: K metrics, U rows of the results, B draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from InterpScore.helpers import Bools, Floats, competition_ranks, percentile_interval


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
        draws_UB: the scores in every draw.
        known_U: rows whose score has an interval. The others may lie anywhere: above all for the worst rank, below all
            for the best.
    """
    known_U = ranked_U & known_U & (ranked_U.sum() > 1)
    anywhere = int((ranked_U & ~known_U).sum())
    low, high = percentile_interval(ranks_among(draws_UB, known_U), confidence)
    ends = np.fmin(low, rank_U), np.fmax(high + anywhere, rank_U)
    return np.where(known_U, ends[0], np.nan), np.where(known_U, ends[1], np.nan)
