"""Intervals: percentiles of draws, and projected confidence regions for scores that contain folded values.

R is a mean of folds exp(-|θ_g|) of log ratios θ_g. Folded draws lie below 1 by construction, so their percentiles miss
values near it. Instead, a confidence ellipsoid of the unfolded values is projected: the interval reaches from the lowest
to the highest score on it. METRICS.md, section 6.

Shapes: U units, K coordinates (one for each plain component and each log ratio), B draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import fdtri

from InterpScore.helpers import (
    IDENTITY,
    Bools,
    Floats,
    Ints,
    Link,
    in_shares,
    on_all_cores,
    percentile_interval,
    student_interval,
    student_quantile,
)

_STEPS = 4
"""Iterations toward the extreme of a score on an ellipsoid; more change it by less than the draws do."""


def interval_of_draws(
    point_U: Floats, draws_UB: Floats, confidence: float, images_U: Floats | None = None, link: Link = IDENTITY
) -> tuple[Floats, Floats]:
    """Student intervals on a scale, or percentiles without `images_U`; extended to the estimate, `(U,)` each.

    Args:
        images_U: how many images the sampling error of each unit rests on.
        link: the scale on which the draws are closest to normal.
    """
    if images_U is None:
        low, high = percentile_interval(draws_UB, confidence)
    else:
        low, high = student_interval(point_U, draws_UB, confidence, images_U, link)
    return np.where(point_U < low, point_U, low), np.where(point_U > high, point_U, high)


def around_estimate(point_U: Floats, draws_UB: Floats) -> Floats:
    """Draws shifted so that each unit's median is its estimate: what ranks and means over units are taken of."""
    median_U, _ = percentile_interval(draws_UB, 0.0)
    return np.asarray(draws_UB + np.where(np.isnan(median_U), 0.0, point_U - median_U)[:, None])


@dataclass(frozen=True)
class Folded:
    """The log ratios of a folded component.

    Attributes:
        point_GU, draws_GUB: estimates and resamples; NaN where a group has no value.
        images_U: the smallest number of images behind one of a unit's ratios.
    """

    point_GU: Floats
    draws_GUB: Floats
    images_U: Floats


@dataclass(frozen=True)
class Part:
    """One component of a score: its value, resamples and weight in the score of each unit; NaN values have no weight.

    Resamples show how a plain component varies, a constant apart; of a folded one its log ratios do. `images_U` and `link`
    are those of `interval_of_draws`.
    """

    value_U: Floats
    draws_UB: Floats
    weight_U: Floats
    low: float = 0.0
    high: float = 1.0
    folded: Folded | None = None
    images_U: Floats | None = None
    link: Link = IDENTITY


def mean_of_folds(theta_GUB: Floats) -> Floats:
    """Mean of exp(-|θ|) over the groups that have a value, `(U, B)`; NaN where none has."""
    there = np.isfinite(theta_GUB)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(there, np.exp(-np.abs(theta_GUB)), 0).sum(axis=0) / there.sum(axis=0))


def score_interval(
    score_U: Floats, draws_UB: Floats, parts: Sequence[Part], confidence: float
) -> tuple[Floats, Floats]:
    """The interval of a weighted sum of components: as of draws, or for units with a folded component a projection.

    Returns:
        Lower and upper ends, `(U,)` each; none excludes the score itself.
    """
    images_U, has_folds_U = _images_behind(parts, len(score_U))
    if images_U is None:
        return interval_of_draws(score_U, draws_UB, confidence)
    spread = [_spread_for_few(part, images_U, confidence) for part in parts]
    for old, new in zip(parts, spread, strict=True):
        if new is not old:
            draws_UB = draws_UB + old.weight_U[:, None] * (new.draws_UB - old.draws_UB)
    projected = has_folds_U & np.isfinite(score_U)
    plain, link = ~projected, parts[0].link if len(parts) == 1 else IDENTITY
    low, high = np.full((2, len(score_U)), np.nan)
    low[plain], high[plain] = interval_of_draws(score_U[plain], draws_UB[plain], confidence, images_U[plain], link)

    def project(units: Ints) -> tuple[Floats, Floats]:
        return projected_interval(_coordinates(spread, units), images_U[units], confidence)

    chosen = np.flatnonzero(projected)
    shares = [chosen[share] for share in in_shares(len(chosen))]
    for units, ends in zip(shares, on_all_cores(project, shares), strict=True):
        low[units], high[units] = ends
    return low, high


def _images_behind(parts: Sequence[Part], n_units: int) -> tuple[Floats | None, Bools]:
    """How many images scores rest on, those of folds or else the most of a component; and which scores have folds.

    None where no component says.
    """
    of_folds_U, of_plain_U = np.full((2, n_units), np.nan)
    for part in parts:
        if part.folded:
            there_U = (part.weight_U > 0) & np.isfinite(part.folded.point_GU).any(axis=0)
            of_folds_U = np.fmin(of_folds_U, np.where(there_U, part.folded.images_U, np.nan))
        elif part.images_U is not None:
            of_plain_U = np.fmax(of_plain_U, np.where(part.weight_U > 0, part.images_U, np.nan))
    has_folds_U = np.isfinite(of_folds_U)
    if not has_folds_U.any() and all(part.images_U is None for part in parts):
        return None, has_folds_U
    images_U = np.where(has_folds_U, of_folds_U, of_plain_U)
    return np.where(np.isnan(images_U), np.inf, images_U), has_folds_U


def _spread_for_few(part: Part, images_U: Floats, confidence: float) -> Part:
    """Draws of a component on fewer images than the score, further from their mean by the ratio of both Student's t."""
    if part.folded or part.images_U is None or not (part.images_U < images_U).any():
        return part
    ratio_U1 = (student_quantile(part.images_U, confidence) / student_quantile(images_U, confidence))[:, None]
    there = np.isfinite(part.draws_UB)
    mean_U1 = np.where(there, part.draws_UB, 0).sum(axis=1, keepdims=True) / np.maximum(there.sum(axis=1), 1)[:, None]
    spread_UB = mean_U1 + ratio_U1 * (part.draws_UB - mean_U1)
    return replace(part, draws_UB=np.where(ratio_U1 > 1, spread_UB, part.draws_UB))


def _coordinates(parts: Sequence[Part], chosen: Ints) -> Coordinates:
    """What the score of some units is a function of."""
    points, draws, weights, folded, bounds = [], [], [], [], []
    offset_U = np.zeros(len(chosen))
    for part in parts:
        value_U, weight_U = part.value_U[chosen], part.weight_U[chosen]
        if part.folded is None:
            points.append(value_U)
            draws.append(part.draws_UB[chosen])
            weights.append(weight_U)
            folded.append(False)
            bounds.append((part.low, part.high))
            continue
        theta_GU = part.folded.point_GU[:, chosen]
        there_GU = np.isfinite(theta_GU)
        n_U = there_GU.sum(axis=0)
        folds_U = np.where(n_U > 0, mean_of_folds(theta_GU[:, :, None])[:, 0], 0.0)
        offset_U += np.where(weight_U > 0, weight_U * (value_U - folds_U), 0.0)  # a chance level, or a stand-in
        points += list(theta_GU)
        draws += list(part.folded.draws_GUB[:, chosen])
        weights += [np.where(there, weight_U / np.maximum(n_U, 1), 0.0) for there in there_GU]
        folded += [True] * len(theta_GU)
        bounds += [(0.0, 1.0)] * len(theta_GU)
    return Coordinates(
        np.stack(points, axis=1),
        np.stack(draws, axis=1),
        np.stack(weights, axis=1),
        np.array(folded),
        np.array(bounds).T,
        offset_U,
    )


@dataclass(frozen=True)
class Coordinates:
    """What a score is a function of: `offset + Σ_k w_k φ_k(θ_k)`, φ the fold exp(-|θ|), or θ itself within bounds.

    Attributes:
        point_UK: estimates; NaN where a unit has no such coordinate.
        draws_UKB: the same in every resample.
        weight_UK: of each coordinate.
        folded_K: which coordinates are log ratios.
        bounds_K: lowest and highest value of the others, `(2, K)`.
        offset_U: a constant part of the score.
    """

    point_UK: Floats
    draws_UKB: Floats
    weight_UK: Floats
    folded_K: Bools
    bounds_K: Floats
    offset_U: Floats

    def score(self, theta_UK: Floats) -> Floats:
        """`(U,)`."""
        values = np.where(self.folded_K, np.exp(-np.abs(theta_UK)), np.clip(theta_UK, *self.bounds_K))
        return np.asarray((self.weight_UK * values).sum(axis=1) + self.offset_U)

    def gradient(self, theta_UK: Floats) -> Floats:
        """Of the score, `(U, K)`, bounds apart; 0 where a fold turns."""
        return self.weight_UK * np.where(self.folded_K, -np.sign(theta_UK) * np.exp(-np.abs(theta_UK)), 1.0)


def projected_interval(coordinates: Coordinates, images_U: Floats, confidence: float) -> tuple[Floats, Floats]:
    """The lowest and the highest score on the confidence region of each unit's coordinates, `(U,)` each.

    Args:
        images_U: the smallest number of images behind a log ratio of each unit. The interval is NaN where it does not
            exceed the number of log ratios.

    Source: METRICS.md, section 6.
    """
    present = np.isfinite(coordinates.point_UK) & (coordinates.weight_UK > 0)
    theta = np.where(present, coordinates.point_UK, 0.0)
    covariance = _covariance(coordinates.draws_UKB, present)
    sd = np.sqrt(np.einsum("ukk->uk", covariance))
    folds = present & coordinates.folded_K
    narrow = _region_size(np.ones(len(theta)), images_U, confidence)
    n_reach = (folds & (np.abs(theta) <= np.sqrt(narrow)[:, None] * sd)).sum(axis=1)
    n_folds, movable = folds.sum(axis=1), folds & (sd > 0) & (n_reach > 0)[:, None]
    k_U = np.minimum(np.minimum(movable.sum(axis=1), 1 + n_reach), images_U - 1)  # no more than images can tell apart
    wide = _region_size(np.maximum(k_U, 1), images_U, confidence)

    low = _extreme(coordinates, theta, theta, covariance, narrow, -1)
    high = _extreme(coordinates, theta, theta, covariance, narrow, 1)
    # A score is highest where folds within reach are 0, the nearest first; it may be lowest beyond 0.
    distance = np.where(movable, np.abs(theta) / np.where(sd > 0, sd, 1.0), np.inf)
    order = distance.argsort(axis=1).argsort(axis=1)
    for m in range(1, int(movable.sum(axis=1).max(initial=0)) + 1):
        for chosen in (movable & (order < m), movable & (order == m - 1)):
            beyond = np.where(chosen, -np.sign(theta) * sd, theta)
            low = np.minimum(low, _extreme(coordinates, beyond, theta, covariance, narrow, -1))
            center, rest, used = _conditional(theta, covariance, chosen)
            top = _extreme(coordinates, center, center, rest, narrow, 1)
            high = np.where(used <= wide, np.maximum(high, top), high)
    unknown = ~(images_U > n_folds)
    return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)


def _covariance(draws_UKB: Floats, present_UK: Bools) -> Floats:
    """Of the coordinates that are there, over the draws in which all of them are, `(U, K, K)`; 0 elsewhere."""
    draws = np.where(present_UK[:, :, None], draws_UKB, 0.0)
    usable = np.isfinite(draws).all(axis=1, keepdims=True)
    n = usable.sum(axis=2, keepdims=True)
    mean = np.where(usable, draws, 0.0).sum(axis=2, keepdims=True) / np.maximum(n, 1)
    centered = np.where(usable, draws - mean, 0.0)
    return np.asarray(centered @ centered.transpose(0, 2, 1) / np.maximum(n - 1, 1))


def _region_size(k_U: Floats, images_U: Floats, confidence: float) -> Floats:
    """`c_k = kν/(ν - k + 1) · F_{k, ν - k + 1}`, ν = images - 1: Hotelling's T²."""
    nu = images_U - 1.0
    rest = np.where(nu - k_U + 1 > 0, nu - k_U + 1, np.nan)
    return np.asarray(k_U * nu / rest * fdtri(k_U, rest, confidence))


def _conditional(theta_UK: Floats, covariance: Floats, chosen_UK: Bools) -> tuple[Floats, Floats, Floats]:
    """Where chosen coordinates are 0: mean and covariance of all, and how much of the region's size that takes."""
    zeroed = np.where(chosen_UK, theta_UK, 0.0)
    rows = np.where(chosen_UK[:, :, None], covariance, 0.0)
    block = np.where(chosen_UK[:, None, :], rows, 0.0) + np.eye(theta_UK.shape[1]) * ~chosen_UK[:, None, :]
    solved = np.linalg.solve(block, np.concatenate([zeroed[:, :, None], rows], axis=2))
    toward, gain = solved[:, :, 0], solved[:, :, 1:]
    center = np.where(chosen_UK, 0.0, theta_UK - np.einsum("uz,uzk->uk", zeroed, gain))
    rest = covariance - rows.transpose(0, 2, 1) @ gain
    free = ~chosen_UK[:, :, None] & ~chosen_UK[:, None, :]
    return center, np.where(free, rest, 0.0), (zeroed * toward).sum(axis=1)


def _extreme(
    coordinates: Coordinates, start_UK: Floats, center_UK: Floats, covariance: Floats, size_U: Floats, sign: int
) -> Floats:
    """The highest (`sign` 1) or lowest (-1) score found on an ellipsoid by following the gradient from `start_UK`."""
    best = sign * coordinates.score(center_UK)
    theta = start_UK
    for _ in range(_STEPS):
        slope = sign * coordinates.gradient(theta)
        step = np.einsum("ukl,ul->uk", covariance, slope)
        length = np.sqrt(np.maximum((slope * step).sum(axis=1), np.finfo(float).tiny))
        theta = center_UK + (np.sqrt(size_U) / length)[:, None] * step
        best = np.fmax(best, sign * coordinates.score(theta))
    return sign * best
