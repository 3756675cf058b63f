"""How well two orders of the same neurons agree, in every draw: Kendall's τ and Spearman's ρ, with intervals from draws.

Shapes: N neurons, B draws.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri
from scipy.stats import kendalltau

from InterpScore.helpers import FISHER, Floats, average_ranks

_PAIRED_AT_ONCE = 64
"""Neurons up to which all pairs in all draws are compared in one operation."""


def kendall(x_NB: Floats, y_NB: Floats) -> Floats:
    """Kendall's τ-b over the neurons that have both values in a draw, `(B,)`; NaN where either is constant."""
    if len(x_NB) > _PAIRED_AT_ONCE:
        return np.array([_one_kendall(x, y) for x, y in zip(x_NB.T, y_NB.T)])
    first, second = np.triu_indices(len(x_NB), 1)
    differences = [v[first] - v[second] for v in (x_NB, y_NB)]
    there_PB = np.isfinite(differences[0] + differences[1])
    x_PB, y_PB = (np.sign(np.where(there_PB, v, 0)).astype(np.int8) for v in differences)
    with np.errstate(invalid="ignore", divide="ignore"):
        agreeing_B = (x_PB * y_PB).sum(0, dtype=np.int64)
        return np.asarray(agreeing_B / np.sqrt((x_PB != 0).sum(0) * (y_PB != 0).sum(0)))


def _one_kendall(x: Floats, y: Floats) -> float:
    there = np.isfinite(x) & np.isfinite(y)
    return float(kendalltau(x[there], y[there], method="asymptotic").statistic) if there.sum() > 1 else np.nan


def kendall_interval(
    points: tuple[Floats, Floats], draws: tuple[Floats, Floats], confidence: float
) -> tuple[float, float, float]:
    """τ of two scores of the same neurons, `(N,)` each, and its interval from their draws, `(N, B)` each."""
    tau = float(kendall(points[0][:, None], points[1][:, None])[0])
    return tau, *_around(tau, kendall(*draws), confidence, 2 / (len(points[0]) * (len(points[0]) - 1)))


def spearman_interval(
    points: tuple[Floats, Floats], draws: tuple[Floats, Floats], confidence: float
) -> tuple[float, float, float]:
    """ρ of two values of the same neurons, all present, and its interval from their draws; see `kendall_interval`."""
    n = len(points[0])
    rho = float(_spearman(points[0][:, None], points[1][:, None])[0])
    return rho, *_around(rho, _spearman(*draws), confidence, 6 / (n**3 - n))


def _spearman(x_NB: Floats, y_NB: Floats) -> Floats:
    """Spearman's ρ over the neurons that have both values in a draw, `(B,)`; NaN where either is constant."""
    there_BN = np.isfinite(x_NB + y_NB).T
    n_B1 = np.maximum(there_BN.sum(1, keepdims=True), 1)
    x_BN, y_BN = (average_ranks(np.where(there_BN, v.T, np.nan)) for v in (x_NB, y_NB))
    x_BN, y_BN = (
        np.where(there_BN, v - np.where(there_BN, v, 0).sum(1, keepdims=True) / n_B1, 0) for v in (x_BN, y_BN)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((x_BN * y_BN).sum(1) / np.sqrt((x_BN**2).sum(1) * (y_BN**2).sum(1)))


def _around(point: float, draws_B: Floats, confidence: float, half_step: float) -> tuple[float, float]:
    """Normal on Fisher's scale, around the estimate; draws of correlations themselves lie nearer 0, since they are noisier.

    ±1 counts as half a step of the coefficient away from it. NaN without draws.
    """
    finite = draws_B[np.isfinite(draws_B)]
    if len(finite) < 2 or not np.isfinite(point):
        return np.nan, np.nan
    z_B, z = (FISHER.forward(np.clip(v, half_step - 1, 1 - half_step)) for v in (finite, np.array(point)))
    reach = float(ndtri((1 + confidence) / 2)) * float(z_B.std(ddof=1))
    low, high = (float(FISHER.back(np.array(z + side * reach))) for side in (-1, 1))
    return min(low, point), max(high, point)
