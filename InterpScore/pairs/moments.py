"""Weighted moments of a unit's activations on both sides of a concept: what S, correlation and cosine are made of.

Shapes: U units, N images, B draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from InterpScore.helpers import Floats, Ints


@dataclass(frozen=True)
class Moments:
    """Moments of the images of one side in every draw."""

    mean_UB: Floats
    spread_UB: Floats
    """Mean square deviation from the mean."""
    concentration_B: Floats
    """By how much the spread falls short of the variance, as a share of it: 1/n where every image counts once."""
    size_B: Floats
    """How many images the sample has."""

    @property
    def variance_UB(self) -> Floats:
        """The sample variance when the weights are counts, and unbiased under random reweighting."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.spread_UB / (1 - self.concentration_B))


@dataclass(frozen=True)
class Sides:
    """Clean images of the concept and of other concepts, side by side."""

    activation_UN: Floats
    target_NB: Floats
    """What each image counts for as one of the concept in each draw; 0 where it is none."""
    other_NB: Floats
    """The same for images of other concepts."""
    count_N: Floats | None = None
    """What each image counts for in the data, where draws reweight them; None where the weights are such counts."""

    @cached_property
    def moments(self) -> tuple[Moments, Moments]:
        """Of both sides, of activations divided by the largest of their unit."""
        largest_U1 = np.abs(self.activation_UN).max(axis=1, keepdims=True)
        scaled_UN = self.activation_UN / np.where(largest_U1 > 0, largest_U1, 1.0)  # no under- or overflow at any scale
        target, other = (moments_of(scaled_UN, weights, self.count_N) for weights in (self.target_NB, self.other_NB))
        return target, other


def moments_of(values_UN: Floats, weights_NB: Floats, count_N: Floats | None) -> Moments:
    """Moments of one side, which has an image.

    The variance divides by `1 − Σ(w²/count)/(Σw)²`. Values are centred first, and constant rows exactly, so that no
    variance is made of rounding.
    """
    counted = weights_NB.any(axis=1)
    values_UN, weights_NB = values_UN[:, counted], weights_NB[counted]
    constant = np.ptp(values_UN, axis=1) == 0
    centre_U1 = np.where(constant, values_UN[:, 0], values_UN.mean(axis=1))[:, None]
    centred_UN = values_UN - centre_U1
    total_B = weights_NB.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # a draw may leave a side without images
        if count_N is None:
            size_B, concentration_B = total_B, 1 / total_B
        else:
            size_B = np.full_like(total_B, count_N[counted].sum())
            concentration_B = ((1 / count_N[counted]) @ weights_NB**2) / total_B**2
        shift_UB = (centred_UN @ weights_NB) / total_B
        spread_UB = ((centred_UN**2) @ weights_NB) / total_B - shift_UB**2
        return Moments(centre_U1 + shift_UB, np.maximum(spread_UB, 0), concentration_B, size_B)


def correlation(target: Moments, other: Moments) -> Floats:
    """Pearson's r of activation and presence of the concept, `(U, B)`, at the sample's share of the concept; NaN where a
    unit does not vary. METRICS.md, section 8.
    """
    share_B = target.size_B / (target.size_B + other.size_B)
    step_UB = target.mean_UB - other.mean_UB
    between = share_B * (1 - share_B)
    with np.errstate(divide="ignore", invalid="ignore"):
        within_UB = share_B * target.spread_UB + (1 - share_B) * other.spread_UB
        return np.asarray(step_UB * np.sqrt(between) / np.sqrt(within_UB + between * step_UB**2))


def cosine(target: Moments, other: Moments) -> Floats:
    """`⟨a, y⟩ / (‖a‖ ‖y‖)`, `(U, B)`, at the sample's share of the concept; NaN for a unit of zeros. METRICS.md, 8."""
    share_B = target.size_B / (target.size_B + other.size_B)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(target.mean_UB * np.sqrt(share_B) / np.sqrt(_mean_square(target, other, share_B)))


def cosine_at_chance(target: Moments, other: Moments) -> Floats:
    """Mean of `cosine` over permutations of the labels."""
    share_B = target.size_B / (target.size_B + other.size_B)
    mean_UB = share_B * target.mean_UB + (1 - share_B) * other.mean_UB
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(mean_UB * np.sqrt(share_B) / np.sqrt(_mean_square(target, other, share_B)))


def _mean_square(target: Moments, other: Moments, share_B: Any) -> Any:
    on_UB, off_UB = (side.spread_UB + side.mean_UB**2 for side in (target, other))
    return share_B * on_UB + (1 - share_B) * off_UB


def excess_kurtosis(values_UN: Floats, group_N: Ints) -> Floats:
    """Of deviations from the mean of one's group, `(U,)`; 0 for a normal distribution, NaN where nothing varies.

    Groups of one value are left out.
    """
    _, group_N, size_G = np.unique(group_N, return_inverse=True, return_counts=True)
    member_NG = (group_N[:, None] == np.arange(len(size_G))).astype(float)
    squares_UN = (values_UN - (values_UN @ member_NG / size_G)[:, group_N])[:, size_G[group_N] > 1] ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(squares_UN.shape[1] * (squares_UN**2).sum(axis=1) / squares_UN.sum(axis=1) ** 2 - 3)
