"""How a unit's activations are distributed over all images: histogram, percentiles, and pictures over the complete range.

Shapes: N images, U units, B bins, K top images, S strata, T pictures of a stratum.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.store.unit_statistics import order_keys

BINS = 64
_ROW = np.uint64(0xFFFFFFFF)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Distributions:
    """Of some units; NaN and -1 where there is nothing.

    Attributes:
        count_U: images with an activation; inactive_U: those where it is 0 or below.
        minimum_U, maximum_U, mean_U, deviation_U: of the activations; the standard deviation is of the sample.
        histogram_UB: images in each of `BINS` bins of equal width between minimum and maximum.
        top_row_UK: rows of the images that activate the unit most, best first.
        top_activation_UK, top_percentile_UK: their activation, and the share of images below it, ties ½, 0 to 100.
        stratum_row_UST, stratum_activation_UST, stratum_percentile_UST: the same of pictures of every stratum.
        stratum_end_USE: the lowest and the highest activation of a stratum.
    """

    count_U: Ints
    inactive_U: Ints
    minimum_U: Floats
    maximum_U: Floats
    mean_U: Floats
    deviation_U: Floats
    histogram_UB: Ints
    top_row_UK: Ints
    top_activation_UK: Floats
    top_percentile_UK: Floats
    stratum_row_UST: Ints
    stratum_activation_UST: Floats
    stratum_percentile_UST: Floats
    stratum_end_USE: Floats

    @classmethod
    def names(cls) -> list[str]:
        return [field.name for field in fields(cls)]

    @property
    def rows(self) -> Ints:
        """The images whose pictures are shown."""
        rows = np.unique(np.concatenate([self.top_row_UK.ravel(), self.stratum_row_UST.ravel()]))
        return rows[rows >= 0]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Attribute name → array."""
        return {name: getattr(self, name) for name in self.names()}


def joined(parts: list[Distributions]) -> Distributions:
    """The units of all parts, in their order."""
    return Distributions(*(np.concatenate([getattr(part, name) for part in parts]) for name in Distributions.names()))


def distributions_of(
    a_NU: NDArray[np.float32], first_unit: int, top_row_UK: Ints, strata: tuple[int, int], seed: int
) -> Distributions:
    """The distributions of consecutive units.

    Args:
        a_NU: their activations on all images, NaN where there is none.
        first_unit: the number of the first.
        top_row_UK: rows of the images that activate each most, best first, -1 after the last.
        strata: S and T.
        seed: pictures are drawn by it and the unit's number. Images of equal activation are ordered at random, by a
            permutation that all units share, since rows are often sorted by concept.
    """
    (N, U), (S, T) = a_NU.shape, strata
    row_of_place_N = np.random.default_rng(seed).permutation(N)
    place_N = np.empty(N, np.uint64)
    place_N[row_of_place_N] = np.arange(N, dtype=np.uint64)
    found = _empty(np.asarray(top_row_UK, np.int64), S, T)
    for u in range(U):
        a_N = np.ascontiguousarray(a_NU[:, u]) + np.float32(0)  # -0 becomes 0
        key_N = np.sort((order_keys(a_N).astype(np.uint64) << np.uint64(32)) | place_N)
        row_n = row_of_place_N[(key_N & _ROW).astype(np.int64)]
        row_n = row_n[int(np.isnan(a_N).sum()) :]  # NaN is lowest
        if not len(row_n):
            continue
        sorted_n = a_N[row_n]
        found.count_U[u] = len(row_n)
        found.inactive_U[u] = np.searchsorted(sorted_n, 0, "right")
        found.minimum_U[u], found.maximum_U[u] = sorted_n[0], sorted_n[-1]
        a_n = sorted_n.astype(float)
        found.mean_U[u] = a_n.mean()
        found.deviation_U[u] = a_n.std(ddof=1) if len(a_n) > 1 else np.nan
        found.histogram_UB[u] = histogram(a_n)
        there = top_row_UK[u] >= 0
        found.top_activation_UK[u, there] = a_N[top_row_UK[u, there]]
        found.top_percentile_UK[u, there] = percentiles(sorted_n, a_N[top_row_UK[u, there]])
        generator = np.random.default_rng([seed, first_unit + u])
        for s in range(S):
            rank_t, (low, high) = sampled_ranks(len(row_n), s, S, T, generator)
            if not len(rank_t):
                continue
            t = slice(0, len(rank_t))
            found.stratum_row_UST[u, s, t] = row_n[rank_t]
            found.stratum_activation_UST[u, s, t] = sorted_n[rank_t]
            found.stratum_percentile_UST[u, s, t] = percentiles(sorted_n, sorted_n[rank_t])
            found.stratum_end_USE[u, s] = sorted_n[low], sorted_n[high - 1]
    return found


def _empty(top_row_UK: Ints, S: int, T: int) -> Distributions:
    """Nothing but the top images."""
    U, K = top_row_UK.shape

    def missing(*shape: int) -> Floats:
        return np.full((U, *shape), np.nan)

    return Distributions(
        np.zeros(U, np.int64), np.zeros(U, np.int64), missing(), missing(), missing(), missing(),
        np.zeros((U, BINS), np.int64), top_row_UK, missing(K), missing(K),
        np.full((U, S, T), -1, np.int64), missing(S, T), missing(S, T), missing(S, 2),
    )  # fmt: skip


def histogram(a_n: Floats) -> Ints:
    """Images in each of `BINS` bins of equal width; the last includes the maximum. Of a constant unit all are in the first."""
    low, width = a_n.min(), a_n.max() - a_n.min()
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        place_n = (a_n - low) / width * BINS
    bin_n = np.clip(np.nan_to_num(place_n, nan=0, posinf=BINS), 0, BINS - 1).astype(np.int64)
    return np.bincount(bin_n, minlength=BINS)


def percentiles(sorted_n: NDArray[np.float32], a_k: NDArray[np.float32]) -> Floats:
    """The share of images whose activation is lower, ties ½, from 0 to 100."""
    below, upto = np.searchsorted(sorted_n, a_k, "left"), np.searchsorted(sorted_n, a_k, "right")
    return np.asarray((below + upto) * 50 / len(sorted_n))


def sampled_ranks(
    n: int, stratum: int, strata: int, pictures: int, generator: np.random.Generator
) -> tuple[Ints, tuple[int, int]]:
    """Ranks from the lowest that are drawn from a stratum, one at random from each of as many equal ranges; and its ends."""
    low, high = n * stratum // strata, n * (stratum + 1) // strata
    wanted = min(pictures, high - low)
    ends = low + (high - low) * np.arange(wanted + 1) // max(wanted, 1)
    return generator.integers(ends[:-1], ends[1:]), (low, high)
