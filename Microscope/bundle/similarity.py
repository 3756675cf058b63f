"""How alike units are: correlation over all images, cosines of vectors, what chance gives, and the nearest units.

Shapes: N images, U units, D dimensions, K neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.files import open_file
from Microscope.bundle.distributions import Floats, Ints

NEAREST = 12
REDUNDANT = 0.95
"""Correlation from which two units count as a redundant pair."""
_CHUNK = 2048
_PERMUTED_BYTES = 64_000_000

Matrix = NDArray[np.float32]


# Correlation ----------------------------------------------------------------------------------------------------------


def correlations(blocks: Iterable[NDArray[np.float32]], mean_U: Floats, deviation_U: Floats) -> Matrix:
    """Pearson correlation of all units, `(U, U)`; NaN with units that do not vary.

    Args:
        blocks: activations of consecutive images, `(n, U)`; images with a value that is missing do not count for the unit.
        mean_U, deviation_U: over all images.
    """
    return _from_products(_standardised(blocks, mean_U, deviation_U), len(mean_U))


def _standardised(blocks: Iterable[NDArray[np.float32]], mean_U: Floats, deviation_U: Floats) -> Iterator[Matrix]:
    for a_nU in blocks:
        with np.errstate(invalid="ignore", divide="ignore"):
            yield np.nan_to_num((a_nU - mean_U) / deviation_U, posinf=0, neginf=0).astype(np.float32)


def _from_products(blocks: Iterable[Matrix], units: int) -> Matrix:
    """Products of float32 blocks of images, summed in float64."""
    total_UU = np.zeros((units, units))
    for z_nU in blocks:
        total_UU += z_nU.T @ z_nU
    length_U = np.sqrt(np.diag(total_UU))
    with np.errstate(invalid="ignore", divide="ignore"):
        total_UU /= length_U
        total_UU /= length_U[:, None]
    return np.clip(total_UU, -1, 1).astype(np.float32)


def permuted_correlations(
    read: Callable[[range], NDArray[np.float32]], mean_U: Floats, deviation_U: Floats, n: int, seed: int, work: Path
) -> Matrix:
    """The same after each unit's activations were permuted, each by a permutation of its own.

    Args:
        read: gives some units on all images, `(N, u)`.
        n: N.
        work: a file to write, 4 N U bytes; it is removed.
    """
    U, at_once = len(mean_U), max(1, _PERMUTED_BYTES // (4 * n))
    try:
        with open(work, "wb") as file:
            for first in range(0, U, at_once):
                units = range(first, min(first + at_once, U))
                (z_Nu,) = _standardised([read(units)], mean_U[units.start : units.stop], deviation_U[units.start : units.stop])  # fmt: skip
                for u in units:
                    file.write(np.random.default_rng([seed, u]).permutation(z_Nu[:, u - first]).tobytes())
        with open_file(work, work.parent) as file:
            return _from_products(_columns(file, n, U), U)
    finally:
        work.unlink(missing_ok=True)


def _columns(file: Any, n: int, units: int) -> Iterator[Matrix]:
    """Images of a file of units, some at a time, `(n, U)`."""
    for first in range(0, n, _CHUNK):
        z_Un = np.empty((units, min(_CHUNK, n - first)), np.float32)
        for u in range(units):
            file.seek(4 * (u * n + first))
            file.readinto(z_Un[u].data.cast("B"))
        yield z_Un.T


# Vectors --------------------------------------------------------------------------------------------------------------


def cosines(x_UD: NDArray[Any]) -> Matrix:
    """Cosines of all pairs of vectors; NaN with those that are zero or not numbers."""
    with np.errstate(invalid="ignore", divide="ignore"):
        unit_UD = (x_UD / np.linalg.norm(x_UD, axis=1, keepdims=True)).astype(np.float32)
    similar_UU: Matrix = np.clip(unit_UD @ unit_UD.T, -1, 1)
    return similar_UU


def permuted_vectors(x_UD: NDArray[Any], seed: int) -> NDArray[Any]:
    """Vectors whose numbers were permuted, each by a permutation of its own."""
    return np.stack([np.random.default_rng([seed, u]).permutation(x_D) for u, x_D in enumerate(x_UD)])


# Nearest --------------------------------------------------------------------------------------------------------------


def chance(similar_UU: Matrix) -> tuple[float, float]:
    """95% quantiles of |similarity| over pairs, and of each unit's largest with any other; NaN for fewer than two units."""
    alive = np.isfinite(np.diag(similar_UU))
    similar_UU = similar_UU[np.ix_(alive, alive)]
    if len(similar_UU) < 2:
        return float("nan"), float("nan")
    pairs = np.abs(similar_UU[np.triu_indices(len(similar_UU), 1)])
    others_UU = similar_UU.copy()
    np.fill_diagonal(others_UU, -np.inf)
    return float(np.quantile(pairs, 0.95)), float(np.quantile(others_UU.max(1), 0.95))


def nearest(similar_UU: Matrix) -> tuple[Ints, Floats]:
    """The units that are most similar to each and their similarity, `(U, K)`, nearest first, equal ones by number; -1 and NaN after the last."""
    U = len(similar_UU)
    others_UU = np.nan_to_num(similar_UU, nan=-np.inf)
    np.fill_diagonal(others_UU, -np.inf)
    unit_UK = np.full((U, NEAREST), -1, np.int64)
    value_UK = np.full((U, NEAREST), np.nan)
    for u in range(U):
        order_k = np.argsort(-others_UU[u], kind="stable")[:NEAREST]
        order_k = order_k[np.isfinite(others_UU[u, order_k])]
        unit_UK[u, : len(order_k)] = order_k
        value_UK[u, : len(order_k)] = others_UU[u, order_k]
    return unit_UK, value_UK


def edges(similar_UU: Matrix, unit_K: Ints, above: float) -> list[tuple[int, int, float]]:
    """Pairs among some units whose similarity is above what chance gives a pair."""
    units = sorted(int(unit) for unit in unit_K if unit >= 0)
    pairs = [(a, b, float(similar_UU[a, b])) for at, a in enumerate(units) for b in units[at + 1 :]]
    return [pair for pair in pairs if pair[2] > above]


def redundant_pairs(similar_UU: Matrix) -> list[tuple[int, int]]:
    """Pairs that correlate by `REDUNDANT` or more, the highest first."""
    with np.errstate(invalid="ignore"):
        a_P, b_P = np.nonzero(np.triu(similar_UU >= REDUNDANT, 1))
    order = np.lexsort((b_P, a_P, -similar_UU[a_P, b_P]))
    return list(zip(a_P[order].tolist(), b_P[order].tolist(), strict=True))
