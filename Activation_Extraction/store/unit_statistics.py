"""Statistics of every unit over any number of images, from parts: moments, sparsity, histogram, exact top images.

Parts are merged in the order of their images. Counts, extremes, histograms and top images do not depend on how images
are split into parts; means and variances agree up to rounding in float64.

Shapes: N images, U units, B histogram bins, K top images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

BINS_PER_OCTAVE = 4
"""Histogram bins of equal width between two powers of two: a bin is at most a quarter of its value wide."""

OCTAVES = (-16, 16)
"""Powers of two between which magnitudes are binned; smaller ones are in the bin of zero, larger ones in the last."""

_MAGNITUDES = (OCTAVES[1] - OCTAVES[0]) * BINS_PER_OCTAVE
_ZERO = _MAGNITUDES + 1
_UNITS_AT_ONCE = 256


def histogram_edges() -> NDArray[np.float64]:
    """The B + 1 edges of histogram bins, from −∞ to ∞; fixed, so that parts add up exactly.

    Bins of positive values include their lower edge, those of negative values their upper, and that of zero neither.
    """
    octave, quarter = np.divmod(np.arange(_MAGNITUDES + 1), BINS_PER_OCTAVE)
    positive = np.ldexp(1 + quarter / BINS_PER_OCTAVE, octave + OCTAVES[0])
    return np.concatenate([[-np.inf], -positive[::-1], positive, [np.inf]])


@dataclass(frozen=True, eq=False)
class UnitStatistics:
    """Statistics of each unit; NaN (images that could not be read) is ignored.

    Attributes:
        count_U: images with a value.
        mean_U, minimum_U, maximum_U: NaN without images.
        m2_U: sum of squared deviations from the mean.
        inactive_U: images on which the unit is 0 or below.
        histogram_UB: images in each bin of `histogram_edges`.
        top_activation_UK: the largest activations, in descending order; NaN after the last image.
        top_image_UK: their images' rows, the earlier row first for equal activations; −1 after the last image.
    """

    count_U: NDArray[np.int64]
    mean_U: NDArray[np.float64]
    m2_U: NDArray[np.float64]
    minimum_U: NDArray[np.float32]
    maximum_U: NDArray[np.float32]
    inactive_U: NDArray[np.int64]
    histogram_UB: NDArray[np.int64]
    top_activation_UK: NDArray[np.float32]
    top_image_UK: NDArray[np.int64]

    @classmethod
    def of(cls, a_NU: NDArray[np.float32], first_row: int, k: int) -> UnitStatistics:
        """Statistics of consecutive images from row `first_row`; K = k."""
        # Sums depend on the order in memory; −0 becomes 0.
        a_NU = np.ascontiguousarray(a_NU) + np.float32(0)
        there_NU = ~np.isnan(a_NU)
        count_U = there_NU.sum(0)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # of infinite activations, and 0 / 0
            filled_NU = np.where(there_NU, a_NU, 0).astype(np.float64)
            mean_U = filled_NU.sum(0) / count_U
            deviation_NU = np.subtract(filled_NU, mean_U, out=filled_NU)
            m2_U = np.square(deviation_NU, out=deviation_NU).sum(0, where=there_NU)
            minimum_U = np.fmin.reduce(a_NU, 0, initial=np.float32(np.nan))
            maximum_U = np.fmax.reduce(a_NU, 0, initial=np.float32(np.nan))
        inactive_U = (a_NU <= 0).sum(0)
        top_UK = _top(a_NU, first_row, k)
        return cls(count_U, mean_U, m2_U, minimum_U, maximum_U, inactive_U, _histogram(a_NU), *top_UK)

    def merged(self, later: UnitStatistics) -> UnitStatistics:
        """Statistics of these images and later ones together.

        Source of the moments: Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance".
        """
        count_U = self.count_U + later.count_U
        with np.errstate(invalid="ignore"):
            difference_U = later.mean_U - self.mean_U
            share_U = later.count_U / np.maximum(count_U, 1)
            mean_U = self.mean_U + difference_U * share_U
            m2_U = self.m2_U + later.m2_U + difference_U**2 * (self.count_U * share_U)
        for values, mine, theirs in ((mean_U, self.mean_U, later.mean_U), (m2_U, self.m2_U, later.m2_U)):
            np.copyto(values, mine, where=later.count_U == 0)
            np.copyto(values, theirs, where=self.count_U == 0)
        activation_UK = np.concatenate([self.top_activation_UK, later.top_activation_UK], 1)
        image_UK = np.concatenate([self.top_image_UK, later.top_image_UK], 1)
        # Earlier rows are first, and a stable sort keeps the order of equal ones; NaN comes last.
        order_UK = np.argsort(-activation_UK, axis=1, kind="stable")[:, : self.top_image_UK.shape[1]]
        return UnitStatistics(
            count_U, mean_U, m2_U,
            np.fmin(self.minimum_U, later.minimum_U), np.fmax(self.maximum_U, later.maximum_U),
            self.inactive_U + later.inactive_U, self.histogram_UB + later.histogram_UB,
            np.take_along_axis(activation_UK, order_UK, 1), np.take_along_axis(image_UK, order_UK, 1),
        )  # fmt: skip

    @property
    def variance_U(self) -> NDArray[np.float64]:
        """Sample variances; NaN for fewer than two images."""
        return np.where(self.count_U > 1, self.m2_U / np.maximum(self.count_U - 1, 1), np.nan)

    @property
    def sparsity_U(self) -> NDArray[np.float64]:
        """Share of the images on which the unit is 0 or below; NaN without images."""
        return np.where(self.count_U > 0, self.inactive_U / np.maximum(self.count_U, 1), np.nan)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Attribute name → array."""
        return {name: getattr(self, name) for name in self.names()}

    @classmethod
    def names(cls) -> list[str]:
        """The names of the attributes."""
        return [field.name for field in fields(cls)]

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> UnitStatistics:
        """The inverse of `arrays`."""
        return cls(**{name: arrays[name] for name in cls.names()})  # type: ignore[arg-type]


def _top(a_NU: NDArray[np.float32], first_row: int, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k largest of each column and their rows, the earlier row first for equal ones."""
    N, U = a_NU.shape
    kept = min(k, N)
    activation_UK = np.full((U, k), np.nan, np.float32)
    image_UK = np.full((U, k), -1, np.int64)
    backwards_N = np.arange(N, dtype=np.uint64)[::-1]
    for start in range(0, U, _UNITS_AT_ONCE):
        a_un = np.ascontiguousarray(a_NU[:, start : start + _UNITS_AT_ONCE].T)
        # One integer orders by activation, then by row: no two are equal, so the partition is unique.
        key_un = (order_keys(a_un).astype(np.uint64) << np.uint64(32)) | backwards_N
        best_uk = np.sort(np.partition(key_un, N - kept, axis=1)[:, N - kept :], axis=1)[:, ::-1]
        row_uk = N - 1 - (best_uk & np.uint64(0xFFFFFFFF)).astype(np.int64)
        value_uk = np.take_along_axis(a_un, row_uk, 1)
        activation_UK[start : start + len(a_un), :kept] = value_uk
        image_UK[start : start + len(a_un), :kept] = np.where(np.isnan(value_uk), -1, row_uk + first_row)
    return activation_UK, image_UK


def order_keys(a: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Whole numbers in the order of the values, NaN lowest; equal values have equal ones."""
    bits = a.view(np.uint32)
    order = np.where(bits >> 31, ~bits, bits | np.uint32(0x80000000))
    return np.where(np.isnan(a), np.uint32(0), order).astype(np.uint32)


def _histogram(a_NU: NDArray[np.float32]) -> NDArray[np.int64]:
    """Images in each bin, from the exponent and the first two bits of each number's mantissa."""
    U, B = a_NU.shape[1], 2 * _ZERO + 1
    histogram_UB = np.empty((U, B), np.int64)
    lowest = ((OCTAVES[0] + 127) * BINS_PER_OCTAVE) - 1
    for start in range(0, U, _UNITS_AT_ONCE):
        a_Nu = np.ascontiguousarray(a_NU[:, start : start + _UNITS_AT_ONCE])
        bits_Nu = a_Nu.view(np.int32)
        magnitude_Nu = np.clip(((bits_Nu & 0x7FFFFFFF) >> 21) - lowest, 0, _MAGNITUDES + 1)
        bin_Nu = _ZERO + np.where(bits_Nu < 0, -magnitude_Nu, magnitude_Nu)
        place_Nu = bin_Nu + B * np.arange(a_Nu.shape[1])
        counted = np.bincount(place_Nu[~np.isnan(a_Nu)], minlength=B * a_Nu.shape[1])
        histogram_UB[start : start + a_Nu.shape[1]] = counted.reshape(-1, B)
    return histogram_UB
