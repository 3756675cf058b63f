"""How strong a perturbation is, and how far its knob must be turned to make it so.

Everything is measured on whole levels from 0 to 255, as they are saved, against the clean picture of the same size.

Shapes: H height, W width, C = 3 channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from Human_Experiment_Setup.stimuli.perturbations import Floats, Knob, Pixels, pixels

TOLERANCE = 0.02
"""Relative error of the size of a change up to which a declared strength counts as reached."""

MEASURES: Mapping[str, str] = MappingProxyType(
    {
        "snr_db": "20 · log10 of the RMS of the clean picture about each channel's mean ÷ RMS of the difference",
        "rms": "RMS of the difference over pixels and channels, as a share of the whole range",
        "ssim": "mean structural similarity (Wang et al. 2004: Gaussian windows, σ 1.5 pixels), over channels",
    }
)
"""What a strength can be declared in, and what exactly is measured."""

NORMS: Mapping[str, str] = MappingProxyType(
    {
        "linf": "the largest difference of any value, in levels of 255",
        "l2": "RMS of the difference over pixels and channels, in levels of 255",
    }
)
"""What an adversarial picture can be bounded in."""

_CLOSE_ENOUGH = 0.001
_TURNS = 24
_SSIM_SIGMA, _SSIM_REACH = 1.5, 5


class Calibrated(NamedTuple):
    """A picture, and the strength that is measured on it."""

    pixels_HWC: Pixels
    measured: float


def signal(clean_HWC: Pixels) -> float:
    """RMS of a picture about the mean of each channel, as a share of the whole range; 0 of a flat colour."""
    return float(np.sqrt(np.mean(clean_HWC.var(axis=(0, 1), dtype=np.float64))) / 255)


def rms(clean_HWC: Pixels, changed_HWC: Pixels) -> float:
    """RMS of the difference over pixels and channels, as a share of the whole range."""
    return float(np.sqrt(np.mean((changed_HWC / 255.0 - clean_HWC / 255.0) ** 2)))


def ssim(clean_HWC: Pixels, changed_HWC: Pixels) -> float:
    """Mean structural similarity of two pictures, 1 when they are the same; windows that leave the picture are left out.

    Source: Wang, Bovik, Sheikh & Simoncelli 2004, with K1 .01 and K2 .03; mean over channels.
    """

    def local(x_HWC: Floats) -> Floats:
        return np.asarray(gaussian_filter(x_HWC, (_SSIM_SIGMA, _SSIM_SIGMA, 0), radius=(_SSIM_REACH, _SSIM_REACH, 0)))

    x_HWC, y_HWC = clean_HWC.astype(np.float64), changed_HWC.astype(np.float64)
    mean_x, mean_y = local(x_HWC), local(y_HWC)
    var_x, var_y = local(x_HWC**2) - mean_x**2, local(y_HWC**2) - mean_y**2
    cov = local(x_HWC * y_HWC) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    map_HWC = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    inside = slice(_SSIM_REACH, -_SSIM_REACH)
    return float(map_HWC[inside, inside].mean())


def measured(measure: str, clean_HWC: Pixels, changed_HWC: Pixels) -> float:
    """The strength of a change in one of `MEASURES`, or its size in one of `NORMS`.

    >>> clean = np.array([[[0, 0, 0], [200, 200, 200]]], np.uint8)
    >>> round(measured("snr_db", clean, clean + np.uint8(10)), 3)
    20.0
    """
    if measure == "ssim":
        return ssim(clean_HWC, changed_HWC)
    if measure == "linf":
        return float(np.abs(changed_HWC.astype(int) - clean_HWC).max())
    difference = rms(clean_HWC, changed_HWC)
    if measure in ("rms", "l2"):
        return difference * (255 if measure == "l2" else 1)
    return 20 * math.log10(signal(clean_HWC) / difference) if difference else math.inf


def excess(measure: str, declared: float, found: float) -> float:
    """By which share a change is larger than declared; the error is of amplitudes, not of decibels.

    >>> round(excess("snr_db", 6.0, 5.9), 4), excess("rms", 0.1, 0.05), round(excess("ssim", 0.8, 0.7), 4)
    (0.0116, -0.5, 0.5)
    """
    return _size(measure, found) / _size(measure, declared) - 1


def calibrated(knob: Knob, largest: float, clean_HWC: Pixels, measure: str, declared: float) -> Calibrated:
    """The picture whose change comes nearest to a declared strength, by bisection on what would be saved.

    Args:
        knob: amount → picture, from 0 to 1.
        largest: the amount to search up to.
        clean_HWC: what the change is measured against.
        measure: of `MEASURES`.
        declared: the strength that is wanted.

    Returns:
        The best of all that were tried. Where clipping, or whole levels, allow no more (or no less), its strength is
        another one than declared: see `TOLERANCE`.
    """
    low, high = 0.0, 1.0
    best, error = Calibrated(clean_HWC, math.nan), math.inf
    for _ in range(_TURNS):
        middle = (low + high) / 2
        changed_HWC = pixels(knob(largest * middle**3))  # small amounts lie close together
        found = measured(measure, clean_HWC, changed_HWC)
        above = excess(measure, declared, found)
        if abs(above) < error:
            best, error = Calibrated(changed_HWC, found), abs(above)
        if error <= _CLOSE_ENOUGH:
            break
        low, high = (low, middle) if above > 0 else (middle, high)
    return best


def _size(measure: str, strength: float) -> float:
    """A strength as the size of the change: twice of it is twice the change."""
    return {"snr_db": 10 ** (-strength / 20), "rms": strength, "ssim": 1 - strength}[measure]
