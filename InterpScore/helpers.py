"""Weighted statistics of many units at once, and the array types that signatures name.

Shapes: U units, N images, B draws (resamples or permutations). Values are `(units, images)`, weights
`(images, draws)`, results `(units, draws)`, so that one matrix product serves every unit and every draw.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def for_each_unit(work: Callable[[int], None], n_units: int) -> None:
    """Run `work(u)` for every unit, on all cores (NumPy releases the interpreter lock)."""
    if n_units < 16:
        for u in range(n_units):
            work(u)
        return
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = np.array_split(np.arange(n_units), workers)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda share: _run_share(work, share), shares))


def _run_share(work: Callable[[int], None], share: Iterable[int]) -> None:
    for u in share:
        work(int(u))


def weighted_quantile(values_UN: Floats, weights_NB: Floats, q: float, n: float | None = None) -> Floats:
    """Quantile with linear interpolation of a sample in which value i stands `weights[i]` times.

    With whole-number weights this is exactly `numpy.quantile` of the values written out that often
    (type 7 of Hyndman & Fan 1996); other weights are scaled to sum to `n` first.

    Args:
        values_UN: `(U, N)`, finite.
        weights_NB: `(N, B)`, not negative, each draw with a positive sum.
        q: in [0, 1].
        n: the size of the sample; by default the sum of each draw's weights must be whole.

    Returns:
        `(U, B)`.
    """
    n_units, n_values = values_UN.shape
    total_B = weights_NB.sum(axis=0)
    scaled_NB = weights_NB if n is None else weights_NB * (n / total_B)
    size_B = total_B if n is None else np.full_like(total_B, n)
    order_B = 1 + (size_B - 1) * q
    low_B = np.clip(np.floor(order_B + 1e-9), 1, None)
    fraction_B = np.clip(order_B - low_B, 0, 1)
    high_B = np.minimum(low_B + 1, size_B)
    # Ranked from the top, the value sought is the first whose weights above it leave `low` below.
    above_low_B, above_high_B = size_B - low_B + 1e-9 * size_B, size_B - high_B + 1e-9 * size_B
    first_guess = min(n_values, int(2.5 * (1 - q) * n_values) + 8)
    quantile_UB = np.empty((n_units, weights_NB.shape[1]))

    def one_unit(u: int) -> None:
        descending = np.argsort(values_UN[u])[::-1]
        for length in (first_guess, n_values):
            kept = descending[:length]
            cumulative_NB = np.cumsum(scaled_NB[kept], axis=0)
            if length == n_values or (cumulative_NB[-1] > above_low_B).all():
                break
        ranked = values_UN[u][kept]
        low = ranked[np.minimum((cumulative_NB <= above_low_B).sum(axis=0), length - 1)]
        high = ranked[np.minimum((cumulative_NB <= above_high_B).sum(axis=0), length - 1)]
        quantile_UB[u] = low + fraction_B * (high - low)

    for_each_unit(one_unit, n_units)
    return quantile_UB


def weighted_mean(values_UN: Floats, weights_NB: Floats) -> Floats:
    """Mean over images in every draw, `(U, B)`; NaN where the weights sum to zero."""
    total_B = weights_NB.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((values_UN @ weights_NB) / total_B)


def percentile_interval(draws_UB: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Lower and upper percentile of each unit's draws; draws that are NaN are left out."""
    tail = (1 - confidence) / 2
    if draws_UB.shape[1] == 0:
        nothing = np.full(len(draws_UB), np.nan)
        return nothing, nothing.copy()
    low, high = np.quantile(draws_UB, [tail, 1 - tail], axis=1)
    for u in np.flatnonzero(np.isnan(draws_UB).any(axis=1)):
        finite = draws_UB[u][np.isfinite(draws_UB[u])]
        if finite.size:
            low[u], high[u] = np.quantile(finite, [tail, 1 - tail])
    return low, high


def competition_ranks(scores_UB: Floats) -> Floats:
    """Rank of each unit in every draw: 1 is the highest, ties share the best rank, NaN has none."""
    return np.asarray(pd.DataFrame(scores_UB).rank(axis=0, method="min", ascending=False))


def average_ranks(values_UN: Floats) -> Floats:
    """Ranks along the last axis from 1, ties given their mean."""
    return np.asarray(pd.DataFrame(values_UN.T).rank(axis=0, method="average")).T


def spearman(x_UN: Floats, y: Floats) -> Floats:
    """Spearman's rank correlation of each unit with `y` (`(N,)`, or `(U, N)`); NaN where either is constant or N < 3."""
    if x_UN.shape[1] < 3:
        return np.full(len(x_UN), np.nan)
    x, y = (average_ranks(np.atleast_2d(values)) for values in (x_UN, y))
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1)))


def ranked_separation(values_UN: Floats, target_NB: Floats, other_NB: Floats) -> tuple[Floats, Floats]:
    """AUROC (exact, ties count ½) and average precision, both `(U, B)`; NaN where a side is empty.

    Average precision is the mean over the target of the precision at its threshold, tied values
    taken together; chance level is the prevalence of the target.
    """
    n_units, n_draws = len(values_UN), target_NB.shape[1]
    auroc, precision = np.full((n_units, n_draws), np.nan), np.full((n_units, n_draws), np.nan)
    target_B, other_B = target_NB.sum(axis=0), other_NB.sum(axis=0)

    def one_unit(u: int) -> None:
        order = np.argsort(-values_UN[u], kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(values_UN[u][order]) != 0])
        hits, misses = target_NB[order], other_NB[order]
        if len(starts) < len(order):
            hits, misses = np.add.reduceat(hits, starts, axis=0), np.add.reduceat(misses, starts, axis=0)
        hits_so_far, misses_so_far = np.cumsum(hits, axis=0), np.cumsum(misses, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            beaten = other_B - misses_so_far + misses / 2
            auroc[u] = (hits * beaten).sum(axis=0) / (target_B * other_B)
            share = np.where(hits > 0, hits_so_far / (hits_so_far + misses_so_far), 0)
            precision[u] = np.where(other_B > 0, (hits * share).sum(axis=0) / target_B, np.nan)

    if values_UN.shape[1]:
        for_each_unit(one_unit, n_units)
    return auroc, precision


def sides(is_target_N: Bools) -> tuple[Floats, Floats]:
    """Weights `(N, 1)` of both sides in the single draw in which each image counts once."""
    return is_target_N.astype(float)[:, None], (~is_target_N).astype(float)[:, None]
