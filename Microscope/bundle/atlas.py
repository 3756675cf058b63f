"""A map of all units on which those that correlate lie near each other: t-SNE of correlations (van der Maaten & Hinton 2008).

Exact, in NumPy, from principal coordinates, so that a map depends on the correlations alone. Shapes: U units, K neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from Microscope.bundle.distributions import Floats

MOST = 4000
"""Units that t-SNE takes; with more, the map is the first two principal coordinates."""
PERPLEXITY = 20
_STEPS, _EARLY, _EXAGGERATED = 300, 100, 12.0
_DECIMALS = 4
"""Of correlations: rounding errors of other processors are not to move the map."""


def method(units: int) -> str:
    """How a map of so many units is made."""
    start = "principal coordinates of the correlations over all images"
    return start if units > MOST else f"t-SNE (perplexity {PERPLEXITY}) of 1 - correlation over all images, begun from the {start}"  # fmt: skip


def atlas(similar_UU: NDArray[np.float32]) -> NDArray[np.float64]:
    """Where each unit is, `(U, 2)`, 0 to 1; NaN for units without correlations."""
    place_U2 = np.full((len(similar_UU), 2), np.nan)
    alive = np.isfinite(np.diag(similar_UU))
    if alive.sum() < 4:
        return place_U2
    similar = np.round(similar_UU[np.ix_(alive, alive)].astype(float), _DECIMALS)
    with threadpool_limits(1):  # sums in one order
        found = _principal(similar)
        if len(similar) <= MOST:
            found = _tsne(2 * (1 - similar), found)
    found -= found.min(0)
    place_U2[alive] = found / max(float(found.max()), 1e-12)
    return place_U2


def _principal(similar_UU: Floats) -> Floats:
    """The first two principal coordinates; signs by the largest loading."""
    centred = similar_UU - similar_UU.mean(0) - similar_UU.mean(1, keepdims=True) + similar_UU.mean()
    from scipy.linalg import eigh

    values, vectors = eigh(centred, subset_by_index=[len(centred) - 2, len(centred) - 1])
    vectors = vectors[:, ::-1] * np.sqrt(np.maximum(values[::-1], 0))
    signs = np.sign(vectors[np.abs(vectors).argmax(0), [0, 1]])
    return np.asarray(vectors * np.where(signs == 0, 1, signs))


def _tsne(squared_UU: Floats, start_U2: Floats) -> Floats:
    p_UU = _affinities(squared_UU)
    y_U2 = start_U2 / max(float(start_U2.std()), 1e-12) * 1e-2
    step_U2, gain_U2 = np.zeros_like(y_U2), np.ones_like(y_U2)
    rate = max(len(y_U2) / _EXAGGERATED / 4, 50)
    for step in range(_STEPS):
        exaggerated = _EXAGGERATED if step < _EARLY else 1.0
        gradient_U2 = _gradient(p_UU, y_U2, exaggerated)
        same = np.sign(gradient_U2) == np.sign(step_U2)
        gain_U2 = np.maximum(np.where(same, gain_U2 * 0.8, gain_U2 + 0.2), 0.01)
        step_U2 = (0.5 if step < _EARLY else 0.8) * step_U2 - rate * gain_U2 * gradient_U2
        y_U2 = y_U2 + step_U2
        y_U2 -= y_U2.mean(0)
    return y_U2


def _gradient(p_UU: Any, y_U2: Floats, exaggerated: float) -> Floats:
    length_U = (y_U2**2).sum(1)
    near_UU = (length_U + length_U[:, None] - 2 * y_U2 @ y_U2.T).astype(np.float32)
    np.maximum(near_UU, 0, out=near_UU)
    near_UU += 1
    np.reciprocal(near_UU, out=near_UU)
    np.fill_diagonal(near_UU, 0)
    pull_UU = p_UU.multiply(near_UU).tocsr()
    total = float(near_UU.sum(dtype=float))
    np.square(near_UU, out=near_UU)
    y = y_U2.astype(np.float32)
    push_U2 = (near_UU.sum(1, keepdims=True) * y - near_UU @ y) / total
    weight_U = np.asarray(pull_UU.sum(1)).reshape(-1, 1)
    return np.asarray(4 * (exaggerated * (weight_U * y_U2 - pull_UU @ y_U2) - push_U2), dtype=float)


def _affinities(squared_UU: Floats) -> Any:
    """Symmetric probabilities of the nearest `3 * PERPLEXITY` neighbours, sparse; each unit's width by bisection."""
    from scipy.sparse import csr_array

    U = len(squared_UU)
    K = min(3 * PERPLEXITY, U - 1)
    others = squared_UU + np.diag(np.full(U, np.inf))
    near_UK = np.argsort(others, axis=1, kind="stable")[:, :K]
    d_UK = np.take_along_axis(others, near_UK, 1)
    d_UK = d_UK - d_UK[:, :1]
    low_U, high_U = np.full(U, 1e-6), np.full(U, 1e9)
    wanted = np.log(min(PERPLEXITY, K))
    for _ in range(60):
        beta_U = np.sqrt(low_U * high_U)
        p_UK = np.exp(-d_UK * beta_U[:, None])
        p_UK /= p_UK.sum(1, keepdims=True)
        entropy_U = -(p_UK * np.log(np.maximum(p_UK, 1e-300))).sum(1)
        wide = entropy_U > wanted
        low_U, high_U = np.where(wide, beta_U, low_U), np.where(wide, high_U, beta_U)
    p = csr_array((p_UK.ravel(), (np.repeat(np.arange(U), K), near_UK.ravel())), (U, U))
    return ((p + p.T) / (2 * U)).tocsr()
