"""p-values of sums of activations over the images of a concept, and of counts of its top images, by permutation of labels.

METRICS.md, sections 8 and 10. Shapes: U units, N images, B permutations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, gammaln, ndtr

from InterpScore.helpers import Bools, Floats, Ints, in_shares
from InterpScore.pairs.formulas import tail_probabilities

AT_LEAST_AS_LARGE = 20
"""Permutations with sums as large as the observed from which their share is the p-value; below, the tail is computed."""
SOURCES_ALIKE = 10
"""Sources that are permuted among each other; where fewer have the same number of images, those nearest in it join."""
_STEPS, _CONVERGED = 40, 1e-8
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Permutations:
    """Random orders of images: the image that each has its label from, `(N, b)` positions, in batches."""

    first: Iterable[Ints]
    more: Iterable[Ints] | None = None
    """Where images share sources, for units whose value none of the first reached."""


def p_of_sums(values_UN: Floats, is_target_N: Bools, permutations: Permutations) -> Floats:
    """One-sided p that the concept's images have larger values than images drawn at random, `(U,)`.

    The p-value of correlation and of cosine, which rise with this sum. From permutations of the labels, and where fewer
    than `AT_LEAST_AS_LARGE` reach it from a saddlepoint approximation of their distribution, or if images share sources
    from more permutations. NaN without permutations, and for units that do not vary.
    """
    if is_target_N.all() or not is_target_N.any():
        return np.full(len(values_UN), np.nan)
    varies_U = np.ptp(values_UN, axis=1) > 0
    if permutations.more is not None:
        return np.where(varies_U, _p_of_permutations(values_UN, is_target_N, permutations), np.nan)
    reached_U, n_draws = _reached(values_UN, is_target_N, permutations.first)
    p_U = _share(reached_U, n_draws)
    far = np.flatnonzero(varies_U & (reached_U < AT_LEAST_AS_LARGE)) if n_draws else np.empty(0, np.int64)
    if len(far):
        tail_U = p_of_sums_in_tail(values_UN[far], is_target_N)
        p_U[far] = np.minimum(tail_U, (1 + AT_LEAST_AS_LARGE) / (1 + n_draws))
    return np.where(varies_U, p_U, np.nan)


def p_of_hits(top_UN: Bools, is_target_N: Bools, permutations: Permutations) -> Floats:
    """One-sided p that more of the top images show the concept than of images drawn at random, `(U,)`.

    The p-value of AUPRC, F1 and IoU of images: exact, from the hypergeometric distribution, or if images share sources
    from permutations of them; these NaN without permutations.
    """
    n, positives, top = len(is_target_N), int(is_target_N.sum()), int(top_UN[:1].sum())
    if positives in (0, n):
        return np.full(len(top_UN), np.nan)
    if permutations.more is not None:
        return _p_of_permutations(top_UN.astype(float), is_target_N, permutations)
    return np.asarray(tail_probabilities(n, positives, top)[top_UN[:, is_target_N].sum(axis=1)])


def p_of_sums_in_tail(values_UN: Floats, is_target_N: Bools) -> Floats:
    """The same p far out in the tail, by a saddlepoint approximation of sampling without replacement, `(U,)`.

    Never below the share of samples that have the largest sum, which is exact. Units must vary.

    Source: Robinson 1982; Skovgaard 1987.
    """
    n, m = len(is_target_N), int(is_target_N.sum())
    values_UN = values_UN - values_UN.mean(axis=1, keepdims=True)
    values_UN = values_UN / values_UN.std(axis=1, keepdims=True)
    sum_U, log_odds = values_UN[:, is_target_N].sum(axis=1), float(np.log(m / (n - m)))
    largest_U, p_U = _largest_sum(values_UN, m)
    inside = np.flatnonzero(sum_U < largest_U - _ROUNDING * n)
    values_UN, sum_U = values_UN[inside], sum_U[inside]
    tilt_U, shift_U = _saddlepoint(values_UN, sum_U, m, log_odds)
    _, (aa, ab, bb) = _tilted(values_UN, tilt_U, shift_U, log_odds)
    cumulant_U = np.logaddexp(0, tilt_U[:, None] * values_UN + shift_U[:, None] + log_odds).sum(axis=1)
    cumulant_U += n * np.log1p(-m / n)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        r_U = np.sign(tilt_U) * np.sqrt(np.maximum(2 * (tilt_U * sum_U + shift_U * m - cumulant_U), 0))
        u_U = tilt_U * np.sqrt(np.maximum(aa * bb - ab**2, 0) / (m * (1 - m / n)))
        tail_U = ndtr(-r_U) + np.exp(-(r_U**2) / 2) / np.sqrt(2 * np.pi) * (1 / u_U - 1 / r_U)
    tail_U = np.where(np.isfinite(tail_U) & (np.abs(r_U) > 1e-4), tail_U, ndtr(-r_U))
    p_U[inside] = np.clip(tail_U, p_U[inside], 1)
    return p_U


def _largest_sum(values_UN: Floats, m: int) -> tuple[Floats, Floats]:
    """The largest sum of m values, and the share of samples that have it, both `(U,)`."""
    n = values_UN.shape[1]
    highest_UM = -np.sort(-values_UN, axis=1)[:, :m]
    least_U1 = highest_UM[:, -1:]
    equal_U, needed_U = (values_UN == least_U1).sum(axis=1), (highest_UM == least_U1).sum(axis=1)
    return highest_UM.sum(axis=1), np.exp(_log_choose(equal_U, needed_U) - _log_choose(n, m))


def _log_choose(n: Any, k: Any) -> Any:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def _saddlepoint(values_UN: Floats, sum_U: Floats, m: int, log_odds: float) -> tuple[Floats, Floats]:
    """Where the tilted mean is the observed sum, by Newton's method with limited steps: tilt and shift, `(U,)` each."""
    tilt_U, shift_U = np.zeros((2, len(values_UN)))
    moving = np.arange(len(values_UN))
    for _ in range(_STEPS):
        if not len(moving):
            break
        some_UN = values_UN[moving]
        chosen_UN, (aa, ab, bb) = _tilted(some_UN, tilt_U[moving], shift_U[moving], log_odds)
        to_sum, to_size = sum_U[moving] - (chosen_UN * some_UN).sum(axis=1), m - chosen_UN.sum(axis=1)
        determinant = np.maximum(aa * bb - ab**2, np.finfo(float).tiny)
        step_a, step_b = (bb * to_sum - ab * to_size) / determinant, (aa * to_size - ab * to_sum) / determinant
        reach_a, reach_b = np.maximum(np.abs(tilt_U[moving]), 1), np.maximum(np.abs(shift_U[moving]), 2)
        size = np.maximum(np.abs(step_a) / reach_a, np.abs(step_b) / reach_b)
        tilt_U[moving] += step_a / np.maximum(size, 1)
        shift_U[moving] += step_b / np.maximum(size, 1)
        moving = moving[size > _CONVERGED]
    return tilt_U, shift_U


def _tilted(values_UN: Floats, tilt_U: Floats, shift_U: Floats, log_odds: float) -> tuple[Floats, tuple[Floats, ...]]:
    """With what probability each image is in the tilted sample, and the second derivatives of the cumulant function."""
    chosen_UN = expit(tilt_U[:, None] * values_UN + shift_U[:, None] + log_odds)
    spread_UN = chosen_UN * (1 - chosen_UN)
    weighted_UN = spread_UN * values_UN
    return chosen_UN, ((weighted_UN * values_UN).sum(axis=1), weighted_UN.sum(axis=1), spread_UN.sum(axis=1))


# Permutations -------------------------------------------------------------------------------------------------------


def _p_of_permutations(values_UN: Floats, is_target_N: Bools, permutations: Permutations) -> Floats:
    """p from the first permutations, and from all of them for units whose value none of the first reaches."""
    reached_U, n_first = _reached(values_UN, is_target_N, permutations.first)
    p_U = _share(reached_U, n_first)
    none = np.flatnonzero(reached_U == 0)
    if n_first and len(none) and permutations.more is not None:
        again_U, n_more = _reached(values_UN[none], is_target_N, permutations.more)
        p_U[none] = _share(again_U, n_first + n_more)
    return p_U


def _share(reached_U: Ints, n_draws: int) -> Floats:
    """The share of permutations that reach the data, which are one of them; NaN without any."""
    return np.asarray((1 + reached_U) / (1 + n_draws)) if n_draws else np.full(len(reached_U), np.nan)


def _reached(values_UN: Floats, is_target_N: Bools, orders: Iterable[Ints]) -> tuple[Ints, int]:
    """In how many permutations the sum over images of the concept is at least the observed one, `(U,)`, and of how many."""
    centred_UN = values_UN - values_UN.mean(axis=1, keepdims=True)  # so that only its excess counts where sizes differ
    observed_U = centred_UN @ is_target_N.astype(float) - _ROUNDING * np.abs(centred_UN).sum(axis=1)
    reached_U, n = np.zeros(len(values_UN), dtype=np.int64), 0
    for order_NB in orders:
        n += order_NB.shape[1]
        for draws in in_shares(order_NB.shape[1], 512):
            sums_UB = centred_UN @ is_target_N[order_NB[:, draws]].astype(float)
            reached_U += (sums_UB >= observed_U[:, None]).sum(axis=1)
    return reached_U, n


def permuted_sources(source_N: Ints, n_draws: int, seed: int) -> Iterator[Ints]:
    """Random orders of sources: the image that each image has its label from, `(N, b)` positions, in batches.

    Labels move with their source, among sources of equal numbers of images. Where fewer than `SOURCES_ALIKE` have the
    same, those nearest in size join them, and labels of a smaller source are repeated.
    """
    _, source_N, size_G = np.unique(source_N, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(source_N, kind="stable"), np.cumsum(size_G)[:-1])
    generator = np.random.default_rng(seed)
    tables = []
    for sources in _alike(size_G):
        widest = size_G[sources].max()
        label_GK = np.stack([np.resize(members[g], widest) for g in sources])
        tables.append((label_GK, np.arange(widest) < size_G[sources][:, None]))
    for draws in in_shares(n_draws, 500):
        n = draws.stop - draws.start
        order_NB = np.empty((len(source_N), n), dtype=np.int64)
        for label_GK, there_GK in tables:
            moved_GB = generator.permuted(np.repeat(np.arange(len(label_GK))[:, None], n, axis=1), axis=0)
            order_NB[label_GK[there_GK]] = label_GK[moved_GB].transpose(0, 2, 1)[there_GK]
        yield order_NB


def _alike(size_G: Ints) -> list[Ints]:
    """Sources by size: equal ones, joined to the next larger until there are enough; a rest joins the last."""
    groups: list[Ints] = []
    for size in np.unique(size_G):
        equal = np.flatnonzero(size_G == size)
        if groups and len(groups[-1]) < SOURCES_ALIKE:
            groups[-1] = np.concatenate([groups[-1], equal])
        else:
            groups.append(equal)
    if len(groups) > 1 and len(groups[-1]) < SOURCES_ALIKE:
        groups[-2:] = [np.concatenate(groups[-2:])]
    return groups
