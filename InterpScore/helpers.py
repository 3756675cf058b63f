"""Weighted statistics of many units at once, and the array types that signatures name.

Shapes: U units, N images, B draws (resamples or permutations). Values are `(units, images)`, weights
`(images, draws)`, results `(units, draws)`, so that one matrix product serves every unit and every draw.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Item = TypeVar("Item")
Result = TypeVar("Result")


FEWEST = 2
"""Images, and raters, behind a value that has an interval; the weight of a single one cancels in every draw."""
ALIKE = 1e-14
"""Width up to which the ends of an interval differ by rounding: draws that are all alike show no uncertainty."""


def on_all_cores(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """`work` of every item, in order, in one thread a core: NumPy releases the interpreter lock in large operations.

    Matrix products use one thread each meanwhile, as more would wait for each other.
    """
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if min(workers, len(items)) < 2:
        yield from map(work, items)
        return
    with _matrix_libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        yield from pool.map(work, items)


@cache
def _matrix_libraries() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController  # late: runs of one block do without

    return ThreadpoolController()


def in_shares(n: int, size: int = 128) -> list[slice]:
    """`n` units or draws in shares that fit in a processor's cache."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


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
    shape = n_units, weights_NB.shape[1]
    weight_UB, low_UB, high_UB = np.zeros(shape), np.zeros(shape, np.intp), np.zeros(shape, np.intp)
    order_UN = np.argsort(values_UN, axis=1)[:, ::-1]
    for image_U in order_UN.T:  # all units go down their ranks together
        weight_UB += scaled_NB[image_U]
        below_low = weight_UB <= above_low_B
        if not below_low.any():
            break
        low_UB += below_low
        high_UB += weight_UB <= above_high_B
    ranked_UN = np.take_along_axis(values_UN, order_UN, axis=1)
    low, high = (
        np.take_along_axis(ranked_UN, np.minimum(rank_UB, n_values - 1), axis=1) for rank_UB in (low_UB, high_UB)
    )
    return np.asarray(low + fraction_B * (high - low))


def weighted_mean(values_UN: Floats, weights_NB: Floats) -> Floats:
    """Mean over images in every draw, `(U, B)`; NaN where the weights sum to zero."""
    total_B = weights_NB.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((values_UN @ weights_NB) / total_B)


def percentile_interval(draws_UB: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Lower and upper percentile of each unit's draws; draws that are NaN are left out."""
    low, high = np.full((2, len(draws_UB)), np.nan)
    if draws_UB.shape[1] == 0:
        return low, high
    tail = (1 - confidence) / 2

    def ends(units: slice) -> None:
        low[units], high[units] = np.quantile(draws_UB[units], [tail, 1 - tail], axis=1)

    for _ in on_all_cores(ends, in_shares(len(draws_UB))):
        pass
    for u in np.flatnonzero(np.isnan(low)):
        finite = draws_UB[u][np.isfinite(draws_UB[u])]
        if finite.size:
            low[u], high[u] = np.quantile(finite, [tail, 1 - tail])
    return low, high


class Link(NamedTuple):
    """A scale on which the draws of a value are closest to normal, and the way back."""

    forward: Callable[[Floats], Floats]
    back: Callable[[Floats], Floats]


IDENTITY = Link(np.positive, np.positive)
PROBIT = Link(ndtri, ndtr)
FISHER = Link(np.arctanh, np.tanh)
COMPLEMENTARY_LOG_LOG = Link(lambda p: np.log(-np.log1p(-p)), lambda z: -np.expm1(-np.exp(z)))


def student_quantile(images_U: Floats, confidence: float) -> Floats:
    """Two-sided quantile of Student's t with images - 1 degrees of freedom; NaN with fewer than two images."""
    return np.asarray(stdtrit(np.where(images_U >= 2, images_U - 1, np.nan), (1 + confidence) / 2))


def student_interval(
    point_U: Floats, draws_UB: Floats, confidence: float, images_U: Floats, link: Link = IDENTITY
) -> tuple[Floats, Floats]:
    """Percentiles of each unit's draws and estimate ± t·SD, both for few images, whichever reaches further.

    On the scale of `link`, percentiles are moved away from the estimate by the ratio of Student's t (images - 1 degrees
    of freedom) to the normal quantile. Percentiles as they are where the estimate is at the end of that scale; NaN with
    fewer than two images.

    Source: METRICS.md, section 6.
    """
    low, high = percentile_interval(draws_UB, confidence)
    t_U = student_quantile(images_U, confidence)
    stretch_U = t_U / ndtri((1 + confidence) / 2)

    def widen(units: slice) -> None:
        with np.errstate(all="ignore"):
            point, bottom, top, draws = (link.forward(values[units]) for values in (point_U, low, high, draws_UB))
            usable = np.isfinite(draws)
            n_U = usable.sum(axis=1)
            center_U1 = np.where(usable, draws, 0).sum(axis=1, keepdims=True) / n_U[:, None]
            reach = t_U[units] * np.sqrt((np.where(usable, draws - center_U1, 0) ** 2).sum(axis=1) / (n_U - 1))
            below = np.fmax((point - bottom) * stretch_U[units], reach)
            above = np.fmax((top - point) * stretch_U[units], reach)
            inside = np.isfinite(point)
            low[units] = np.where(inside, link.back(point - below), low[units])
            high[units] = np.where(inside, link.back(point + above), high[units])

    for _ in on_all_cores(widen, in_shares(len(draws_UB))):
        pass
    return np.where(np.isnan(t_U), np.nan, low), np.where(np.isnan(t_U), np.nan, high)


def competition_ranks(scores_UB: Floats) -> Floats:
    """Rank of each unit in every draw: 1 is the highest, ties share the best rank, NaN has none."""
    ranks_UB = np.empty(scores_UB.shape)
    position_U = np.arange(1.0, len(scores_UB) + 1)

    def rank(draws: slice) -> None:
        best_first_BU = -scores_UB[:, draws].T
        order_BU = np.argsort(best_first_BU, axis=1)
        sorted_BU = np.take_along_axis(best_first_BU, order_BU, axis=1)
        rank_BU = np.where(np.isnan(sorted_BU), np.nan, position_U)
        tied_BU = sorted_BU[:, 1:] == sorted_BU[:, :-1]
        if tied_BU.any():
            rank_BU[:, 1:][tied_BU] = 0
            rank_BU = np.fmax.accumulate(rank_BU, axis=1)
            rank_BU[np.isnan(sorted_BU)] = np.nan
        np.put_along_axis(ranks_UB.T[draws], order_BU, rank_BU, axis=1)

    for _ in on_all_cores(rank, in_shares(scores_UB.shape[1])):
        pass
    return ranks_UB


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
    n_units, n_images, n_draws = *values_UN.shape, target_NB.shape[1]
    auroc, precision = np.full((n_units, n_draws), np.nan), np.full((n_units, n_draws), np.nan)
    at_once = max(1, _SEPARATED_AT_ONCE // max(1, n_images * n_draws))
    for start in range(0, n_units if n_images else 0, at_once):
        some = slice(start, start + at_once)
        auroc[some], precision[some] = _separation(values_UN[some], target_NB, other_NB)
    return auroc, precision


_SEPARATED_AT_ONCE = 2**18
"""Units × images × draws whose cumulative weights are held at once: they fit in a processor's cache."""


def _separation(values_UN: Floats, target_NB: Floats, other_NB: Floats) -> tuple[Floats, Floats]:
    order_UN = np.argsort(-values_UN, axis=1, kind="stable")
    ranked_UN = np.take_along_axis(values_UN, order_UN, axis=1)
    hits_UNB, misses_UNB = target_NB[order_UN], other_NB[order_UN]
    hits_down_to, misses_down_to = np.cumsum(hits_UNB, axis=1), np.cumsum(misses_UNB, axis=1)
    misses_above = misses_down_to - misses_UNB
    differs = ranked_UN[:, 1:] != ranked_UN[:, :-1]
    if not differs.all():  # equal values share what is counted down to the last and above the first of them
        n, always = np.arange(values_UN.shape[1]), np.ones((len(values_UN), 1), dtype=bool)
        first_UN = np.maximum.accumulate(np.where(np.hstack([always, differs]), n, 0), axis=1)[:, :, None]
        last_UN = np.minimum.accumulate(np.where(np.hstack([differs, always]), n, n[-1])[:, ::-1], axis=1)
        last_UN = last_UN[:, ::-1, None]
        hits_down_to, misses_down_to = (np.take_along_axis(c, last_UN, axis=1) for c in (hits_down_to, misses_down_to))
        misses_above = np.take_along_axis(misses_above, first_UN, axis=1)
    target_B, other_B = target_NB.sum(axis=0), other_NB.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        beaten_UNB = other_B - (misses_down_to + misses_above) / 2
        auroc = (hits_UNB * beaten_UNB).sum(axis=1) / (target_B * other_B)
        share_UNB = np.where(hits_UNB > 0, hits_down_to / (hits_down_to + misses_down_to), 0)
        return auroc, np.where(other_B > 0, (hits_UNB * share_UNB).sum(axis=1) / target_B, np.nan)


def sides(is_target_N: Bools) -> tuple[Floats, Floats]:
    """Weights `(N, 1)` of both sides in the single draw in which each image counts once."""
    return is_target_N.astype(float)[:, None], (~is_target_N).astype(float)[:, None]
