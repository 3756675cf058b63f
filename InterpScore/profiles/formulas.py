"""Formulas of the profile of a unit, and the exact mean and spread of similarity scores over permutations. METRICS.md, section 9.

Shapes: N images, U units, D dimensions of the embedding, K places of the top. Activations are `(U, N)` and *scaled*: each unit
from 0, its minimum over the images, to 1, its maximum. Sums over images are in double precision; values have the precision
of the activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from InterpScore.helpers import Bools, Floats, Ints

TOP = 16
"""Most images in a unit's top."""
TOP_QUANTILE = 0.99
CONSTANT = 1e-6
"""Range of a constant unit at most, as a share of its largest magnitude."""
FEWEST_PAIRS = 1e-9
"""Sum of a_i a_j over pairs of images below which a mean over pairs is undefined."""
_TINY = 1e-37


def power_sums(a_UN: NDArray[Any]) -> Floats:
    """`Σ a, Σ a², Σ a³, Σ a⁴` over images, `(4, U)`."""
    once_UN = a_UN.astype(np.float64)
    twice_UN = once_UN * once_UN
    products = (once_UN, once_UN), (twice_UN, once_UN), (twice_UN, twice_UN)
    return np.stack([once_UN.sum(1), *(np.einsum("un,un->u", one, other) for one, other in products)])


def entropy(scaled_UN: NDArray[Any]) -> Floats:
    """`−Σ p log p / log n` with `p = a / Σ a`: 1 where all images activate the unit alike, 0 where one does alone."""
    total_U = scaled_UN.sum(1, dtype=np.float64)
    logs_UN = np.maximum(scaled_UN, _TINY)
    np.log(logs_UN, out=logs_UN)
    logs_UN *= scaled_UN
    return np.asarray((np.log(total_U) - logs_UN.sum(1, dtype=np.float64) / total_U) / np.log(scaled_UN.shape[1]))


def kurtosis(n: int, sums_PU: Floats) -> Floats:
    """Excess kurtosis, of the moments of the images as they are: 0 for a normal distribution, −1.2 for a uniform one.

    Args:
        sums_PU: the `power_sums` of scaled activations, whose variance is so large that nothing cancels.
    """
    mean_U, two_U, three_U, four_U = sums_PU / n
    variance_U = two_U - mean_U**2
    return np.asarray((four_U - 4 * mean_U * three_U + 6 * mean_U**2 * two_U - 3 * mean_U**4) / variance_U**2 - 3)


def sparsity(n: int, sums_PU: Floats, minimum_U: NDArray[Any], range_U: NDArray[Any]) -> Floats:
    """`(1 − (mean a)² / mean a²) / (1 − 1/n)` of activations before scaling: 0 where all are equal, 1 where one is not 0.

    NaN where an activation is negative. Source: Treves & Rolls 1991.

    Args:
        sums_PU: the `power_sums` of scaled activations; minimum_U, range_U: how they were scaled.
    """
    mean_U, two_U = sums_PU[:2] / n
    offset_U = minimum_U.astype(np.float64) / range_U
    share_U = (two_U - mean_U**2) / (two_U + 2 * offset_U * mean_U + offset_U**2)
    return np.where(minimum_U >= 0, share_U / (1 - 1 / n), np.nan)


def top_images(scaled_UN: NDArray[Any], least_U: NDArray[Any], k: int = TOP) -> Ints:
    """The images that activate each unit most, `(U, k)`: highest first, equal ones by lower row; only those above the minimum.

    Args:
        least_U: an activation that at least k images reach, or all.

    Returns:
        Rows of images; −1 after the last of them.
    """
    least_U = np.maximum(least_U, np.finfo(scaled_UN.dtype).smallest_subnormal)
    unit_C, image_C = np.divmod(np.flatnonzero(scaled_UN >= least_U[:, None]), scaled_UN.shape[1])
    order_C = np.lexsort((image_C, -scaled_UN[unit_C, image_C], unit_C))
    unit_C, image_C = unit_C[order_C], image_C[order_C]
    rank_C = np.arange(len(unit_C)) - np.searchsorted(unit_C, unit_C)
    top_UK = np.full((len(scaled_UN), k), -1, np.int64)
    kept_C = rank_C < k
    top_UK[unit_C[kept_C], rank_C[kept_C]] = image_C[kept_C]
    return top_UK


@dataclass(frozen=True, eq=False)
class Upper:
    """The upper end of each unit's activations, from one partition.

    Attributes:
        quantile_U: the 99% quantile, linearly interpolated.
        least_U: the kth largest activation, or the smallest where there are fewer.
        sums_PU: the `power_sums` of what is `above` the quantile.
    """

    quantile_U: Floats
    least_U: NDArray[Any]
    sums_PU: Floats

    @classmethod
    def of(cls, scaled_UN: NDArray[Any], q: float = TOP_QUANTILE, k: int = TOP) -> Upper:
        n = scaled_UN.shape[1]
        below = min(int(q * (n - 1)), n - 2)
        parted_UN = np.partition(scaled_UN, below, axis=1)
        upper_UM = parted_UN[:, below + 1 :]
        low_U, high_U = parted_UN[:, below].astype(np.float64), upper_UM.min(1).astype(np.float64)
        quantile_U = low_U + (q * (n - 1) - below) * (high_U - low_U)
        among_UM = upper_UM if upper_UM.shape[1] >= k else scaled_UN
        place = max(among_UM.shape[1] - k, 0)
        least_U = np.partition(among_UM, place, axis=1)[:, place]
        return cls(quantile_U, least_U, power_sums(above(upper_UM, quantile_U[:, None])))


def above(scaled: NDArray[Any], quantile: NDArray[Any]) -> NDArray[Any]:
    """Activations above a quantile, from 0 at the quantile to 1 at the maximum; 0 where the maximum is the quantile."""
    room = 1 - quantile
    share = np.where(room > 0, 1 / np.where(room > 0, room, 1), 0).astype(scaled.dtype)
    found: NDArray[Any] = np.maximum(scaled - quantile.astype(scaled.dtype), 0) * share
    return found


# Similarity of the images that activate a unit ------------------------------------------------------------------------


@dataclass(frozen=True)
class EmbeddingSums:
    """What chance depends on: sums over the unit-length embeddings `e` of all images.

    Attributes:
        n: images.
        total_D: their sum.
        gram_DD: `Σ e eᵀ`.
    """

    n: int
    total_D: Floats
    gram_DD: Floats

    @property
    def mean_D(self) -> Floats:
        return self.total_D / self.n

    @property
    def chance(self) -> float:
        """The mean cosine of two images, which is the mean of a mean over pairs in which activations are permuted."""
        return float((self.total_D @ self.total_D - self.n) / (self.n * (self.n - 1)))

    def _deviations(self) -> tuple[float, float]:
        """Of the matrix of cosines, less their mean and without its diagonal: the sum of squares, and that of squared row sums."""
        n, pairs = self.n, self.n * (self.n - 1) * self.chance
        squares = float(np.sum(self.gram_DD**2)) - n
        rows = float(self.total_D @ self.gram_DD @ self.total_D - 2 * self.total_D @ self.total_D) + n
        return max(squares - pairs**2 / (n * (n - 1)), 0), max(rows - pairs**2 / n, 0)

    def spread(self, sums_PU: Floats) -> Floats:
        """The standard deviation of `similarity` over all permutations of a unit's activations, exactly.

        A sum over pairs of `a_i a_j cos(e_i, e_j)` is a sum of products of two symmetric matrices. Its variance over
        permutations follows from their sums of squares and of squared row sums (Mantel 1967).

        Args:
            sums_PU: the `power_sums` of the activations.
        """
        n, (one_U, two_U, three_U, four_U) = self.n, sums_PU
        pairs_U = one_U**2 - two_U
        squares_U = two_U**2 - four_U - pairs_U**2 / (n * (n - 1))
        rows_U = one_U**2 * two_U - 2 * one_U * three_U + four_U - pairs_U**2 / n
        squares, rows = self._deviations()
        two = 2 * squares_U * squares / (n * (n - 1))
        three = 4 * (rows_U - squares_U) * (rows - squares) / max(n * (n - 1) * (n - 2), 1)
        four = (4 * rows_U - 2 * squares_U) * (4 * rows - 2 * squares) / max(n * (n - 1) * (n - 2) * (n - 3), 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(_has_pairs(sums_PU), np.sqrt(np.maximum(two + three + four, 0)) / pairs_U, np.nan)


def similarity(sums_PU: Floats, total_UD: NDArray[Any]) -> Floats:
    """Mean cosine of pairs of images, weighted by both activations: `(‖Σ a e‖² − Σ a²) / ((Σ a)² − Σ a²)`.

    Args:
        sums_PU: the `power_sums` of the activations.
        total_UD: `Σ a e`, for unit-length embeddings e.

    Returns:
        −1 to 1; NaN without pairs of images that activate the unit.
    """
    squared_U = np.einsum("ud,ud->u", total_UD, total_UD, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        value_U = (squared_U - sums_PU[1]) / (sums_PU[0] ** 2 - sums_PU[1])
    return np.where(_has_pairs(sums_PU), value_U, np.nan)


def _has_pairs(sums_PU: Floats) -> Bools:
    return np.asarray(sums_PU[0] ** 2 - sums_PU[1] >= FEWEST_PAIRS)


def counts(count_U: NDArray[Any]) -> Floats:
    """The `power_sums` of so many activations of 1, the rest 0."""
    return np.broadcast_to(np.asarray(count_U, np.float64), (4, len(count_U)))
