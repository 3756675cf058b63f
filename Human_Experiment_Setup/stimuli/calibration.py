"""Strength of a perturbation: measuring it, and finding the amount that gives a declared strength.

Strength is measured on 8-bit pixels, as saved, against the clean picture of the same size.

Shapes: H height, W width, C = 3 channels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from Human_Experiment_Setup.stimuli.perturbations import Floats, Knob, Pixels, pixels

TOLERANCE = 0.02
"""Largest relative error in the size of a change for a declared strength to count as reached."""

MEASURES = ("snr_db", "rms", "ssim")
"""Measures that a strength can be declared in; see `measured`."""

_CLOSE_ENOUGH = 0.001
_TURNS = 24
_SSIM_SIGMA, _SSIM_REACH = 1.5, 5


class Calibrated(NamedTuple):
    """A picture and the strength measured on it."""

    pixels_HWC: Pixels
    measured: float


def signal(clean_HWC: Pixels) -> float:
    """RMS of a picture about each channel's mean, as a share of the value range; 0 for a flat colour."""
    return float(np.sqrt(np.mean(clean_HWC.var(axis=(0, 1), dtype=np.float64))) / 255)


def rms(clean_HWC: Pixels, changed_HWC: Pixels) -> float:
    """RMS of the difference over pixels and channels, as a share of the value range."""
    return float(np.sqrt(np.mean((changed_HWC / 255.0 - clean_HWC / 255.0) ** 2)))


def ssim(clean_HWC: Pixels, changed_HWC: Pixels) -> float:
    """Mean structural similarity over channels, 1 for equal pictures; only windows that fit the picture count.

    Source: Wang, Bovik, Sheikh & Simoncelli 2004: Gaussian windows, σ 1.5 pixels, K1 0.01, K2 0.03.
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
    """The strength of a change.

    | measure | strength |
    |---|---|
    | `snr_db` | 20 · log10 of `signal` ÷ `rms` |
    | `rms`, `ssim` | see there |
    | `linf`, `l2` | largest difference of any value; RMS of the difference; both on the scale of 0 to 255 |

    >>> clean = np.array([[[0, 0, 0], [200, 200, 200]]], np.uint8)
    >>> round(measured("snr_db", clean, clean + np.uint8(10)), 3)
    20.0
    """
    if measure == "ssim":
        return ssim(clean_HWC, changed_HWC)
    if measure == "linf":
        return float(np.abs(changed_HWC.astype(int) - clean_HWC).max())
    difference = rms(clean_HWC, changed_HWC)
    if measure == "snr_db":
        return 20 * math.log10(signal(clean_HWC) / difference) if difference else math.inf
    return difference * (255 if measure == "l2" else 1)


def excess(measure: str, declared: float, found: float) -> float:
    """How much larger a change is than declared, as a share of its amplitude (not of decibels).

    >>> round(excess("snr_db", 6.0, 5.9), 4), excess("rms", 0.1, 0.05), round(excess("ssim", 0.8, 0.7), 4)
    (0.0116, -0.5, 0.5)
    """
    return _size(measure, found) / _size(measure, declared) - 1


def calibrated(knob: Knob, largest: float, clean_HWC: Pixels, measure: str, declared: float) -> Calibrated:
    """The picture with the strength nearest to the declared one, by bisection on the pixels that would be saved.

    Clipping or 8-bit rounding may keep the strength from being reached: see `TOLERANCE`.

    Args:
        knob: amount → picture, from 0 to 1.
        largest: largest amount to try.
        clean_HWC: the clean picture.
        measure: one of `MEASURES`.
        declared: the strength to reach.
    """
    low, high = 0.0, 1.0
    best, error = Calibrated(clean_HWC, math.nan), math.inf
    for _ in range(_TURNS):
        middle = (low + high) / 2
        changed_HWC = pixels(knob(largest * middle**3))  # finer steps at small amounts
        found = measured(measure, clean_HWC, changed_HWC)
        above = excess(measure, declared, found)
        if abs(above) < error:
            best, error = Calibrated(changed_HWC, found), abs(above)
        if error <= _CLOSE_ENOUGH:
            break
        low, high = (low, middle) if above > 0 else (middle, high)
    return best


def _size(measure: str, strength: float) -> float:
    """The amplitude of a change of some strength."""
    return {"snr_db": 10 ** (-strength / 20), "rms": strength, "ssim": 1 - strength}[measure]
