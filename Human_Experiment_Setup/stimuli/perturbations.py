"""Families of perturbations: functions of a picture and an amount that is continuously adjustable.

A family draws its random numbers first and then gives the picture for any amount, so that the amount for a declared
strength can be searched for. After Hendrycks & Dietterich 2019 (ImageNet-C), with continuous amounts. Other packages add
families through the entry-point group `interpscore.perturbations`.

Shapes: H height, W width, C = 3 channels (red, green, blue); values from 0 to 1, not yet clipped. Lengths are shares of
the longer side, so an amount means the same at any size.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve
from scipy.special import gammaln

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.extensions import registered

ENTRY_POINT_GROUP = "interpscore.perturbations"

Floats: TypeAlias = NDArray[np.float64]
Pixels: TypeAlias = NDArray[np.uint8]
Knob: TypeAlias = Callable[[float], Floats]
"""Amount, above 0 → the picture H × W × C."""


@dataclass(frozen=True)
class Family:
    """A kind of perturbation.

    Attributes:
        about: one line for people.
        draw: from an 8-bit picture ÷ 255, H × W × C, and a random generator to its `Knob`.
        largest: the amount at which the change is about as strong as it gets.
    """

    about: str
    draw: Callable[[Floats, np.random.Generator], Knob]
    largest: float


def pixels(x_HWC: Floats) -> Pixels:
    """A picture as saved: clipped, as 8-bit integers."""
    return np.rint(255 * np.clip(x_HWC, 0, 1)).astype(np.uint8)


# Noise --------------------------------------------------------------------------------------------------------------


def _gaussian_noise(x_HWC: Floats, generator: np.random.Generator) -> Knob:
    z_HWC = generator.standard_normal(x_HWC.shape)
    return lambda amount: x_HWC + amount * z_HWC


def _speckle_noise(x_HWC: Floats, generator: np.random.Generator) -> Knob:
    z_HWC = generator.standard_normal(x_HWC.shape)
    return lambda amount: x_HWC + amount * x_HWC * z_HWC


def _impulse_noise(x_HWC: Floats, generator: np.random.Generator) -> Knob:
    order_HWC, extreme_HWC = generator.random(x_HWC.shape), generator.integers(0, 2, x_HWC.shape)

    def picture(amount: float) -> Floats:
        part_HWC = np.clip((amount - order_HWC) * x_HWC.size, 0, 1)  # the last one in part, to be continuous
        return x_HWC + part_HWC * (extreme_HWC - x_HWC)

    return picture


_POISSON_REACH = 9.0
"""Standard deviations around the mean that tables of counts cover."""


def _shot_noise(x_HWC: Floats, generator: np.random.Generator) -> Knob:
    """Photon counts by inverting the Poisson distribution at fixed random numbers, with one table per gray value."""
    u = generator.random(x_HWC.size)
    level_of = np.rint(255 * x_HWC).astype(int).ravel()
    places = np.split(np.argsort(level_of, kind="stable"), np.cumsum(np.bincount(level_of, minlength=256))[:-1])

    def picture(amount: float) -> Floats:
        photon = amount**2  # brightness of one; white is 1 / photon on average
        y = np.zeros(x_HWC.size)
        for level, where in enumerate(places[1:], start=1):
            mean = level / 255 / photon
            reach = _POISSON_REACH * (math.sqrt(mean) + 1)
            counts = np.arange(max(0, math.floor(mean - reach)), math.ceil(mean + reach))
            up_to = np.cumsum(np.exp(counts * math.log(mean) - mean - gammaln(counts + 1.0)))
            found = np.searchsorted(up_to, u[where])
            y[where] = photon * counts[np.minimum(found, len(counts) - 1)]
        return y.reshape(x_HWC.shape)

    return picture


# Blur ---------------------------------------------------------------------------------------------------------------


def _gaussian_blur(x_HWC: Floats, generator: np.random.Generator) -> Knob:
    def picture(amount: float) -> Floats:
        sigma = amount * max(x_HWC.shape)
        return np.asarray(gaussian_filter(x_HWC, (sigma, sigma, 0)))

    return picture


def _defocus_blur(x_HWC: Floats, generator: np.random.Generator) -> Knob:
    def picture(amount: float) -> Floats:
        radius = amount * max(x_HWC.shape)
        offsets = np.arange(-math.ceil(radius), math.ceil(radius) + 1)
        distance = np.hypot(offsets[:, None], offsets)
        return _convolved(x_HWC, np.clip(radius + 0.5 - distance, 0, 1))  # a disk with a soft edge

    return picture


def _motion_blur(x_HWC: Floats, generator: np.random.Generator) -> Knob:
    angle = generator.uniform(0, math.pi)

    def picture(amount: float) -> Floats:
        length = amount * max(x_HWC.shape)
        half = math.ceil(length / 2) + 1
        kernel = np.zeros((2 * half + 1, 2 * half + 1))
        along = np.linspace(-length / 2, length / 2, 4 * half + 1)
        y, x = half + along * math.sin(angle), half + along * math.cos(angle)
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):  # bilinear
            near_y, near_x = np.floor(y).astype(int) + row, np.floor(x).astype(int) + column
            np.add.at(kernel, (near_y, near_x), (1 - np.abs(y - near_y)) * (1 - np.abs(x - near_x)))
        return _convolved(x_HWC, kernel)

    return picture


def _convolved(x_HWC: Floats, kernel: Floats) -> Floats:
    """A picture, mirrored at its edges, convolved with a kernel of odd sides, scaled to sum to 1."""
    reach = kernel.shape[0] // 2
    wide_HWC = np.pad(x_HWC, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    return np.asarray(fftconvolve(wide_HWC, (kernel / kernel.sum())[:, :, None], mode="valid", axes=(0, 1)))


# Light, weather, files ----------------------------------------------------------------------------------------------


def _contrast(x_HWC: Floats, generator: np.random.Generator) -> Knob:
    mean_C = x_HWC.mean(axis=(0, 1))
    return lambda amount: mean_C + (1 - amount) * (x_HWC - mean_C)


def _brightness(x_HWC: Floats, generator: np.random.Generator) -> Knob:
    return lambda amount: x_HWC + amount


_FOG_SLOPE = 1.75
"""Exponent of the fog's spectrum: large banks with ragged edges."""


def _fog(x_HWC: Floats, generator: np.random.Generator) -> Knob:
    height, width = x_HWC.shape[:2]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width) * width)
    spectrum = np.fft.rfft2(generator.standard_normal((height, width))) / np.maximum(frequency, 1) ** _FOG_SLOPE
    fog_HW = np.fft.irfft2(spectrum, (height, width))
    fog_HW1 = ((fog_HW - fog_HW.min()) / np.ptp(fog_HW))[:, :, None]
    brightest = max(float(x_HWC.max()), 1 / 255)
    return lambda amount: (x_HWC + amount * fog_HW1) * brightest / (brightest + amount)


def _pixelate(x_HWC: Floats, generator: np.random.Generator) -> Knob:
    def picture(amount: float) -> Floats:
        cell = max(1.0, amount * max(x_HWC.shape))
        rows_HH, columns_WW = (_cell_means(length, cell) for length in x_HWC.shape[:2])
        return np.asarray(np.einsum("hi,ijc,wj->hwc", rows_HH, x_HWC, columns_WW, optimize=True))

    return picture


def _cell_means(length: int, cell: float) -> Floats:
    """Matrix that replaces each pixel of an axis by the mean of its cell; a pixel across an edge mixes both cells."""
    first, start = np.arange(length)[:, None], cell * np.arange(math.ceil(length / cell - 1e-9))
    overlap_LK = np.clip(np.minimum(first + 1, start + cell) - np.maximum(first, start), 0, 1)
    return np.asarray(overlap_LK @ (overlap_LK / overlap_LK.sum(axis=0)).T)


def _jpeg(x_HWC: Floats, generator: np.random.Generator) -> Knob:
    def saved(image: Image.Image, **options: object) -> Image.Image:
        image.save(file := BytesIO(), "JPEG", subsampling=0, **options)
        return Image.open(file)

    image = Image.fromarray(pixels(x_HWC))
    tables = saved(image, quality=50).quantization  # type: ignore[attr-defined]  # the unscaled example tables of JPEG

    def picture(amount: float) -> Floats:
        scaled = [[min(max(round(amount * step), 1), 255) for step in table] for table in tables.values()]
        return np.asarray(saved(image, qtables=scaled).convert("RGB")) / 255

    return picture


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "gaussian_noise": Family("normal noise, the same everywhere", _gaussian_noise, 8),
        "shot_noise": Family("photon noise, which grows with the square root of brightness", _shot_noise, 4),
        "impulse_noise": Family("a share of all values turned to 0 or 255", _impulse_noise, 1),
        "speckle_noise": Family("normal noise that grows with brightness", _speckle_noise, 8),
        "gaussian_blur": Family("a soft blur", _gaussian_blur, 0.25),
        "defocus_blur": Family("out of focus: each point becomes a disk", _defocus_blur, 0.25),
        "motion_blur": Family("camera motion in a random direction", _motion_blur, 1),
        "contrast": Family("faded towards its mean colour", _contrast, 1),
        "brightness": Family("brightened by the same amount everywhere", _brightness, 1),
        "fog": Family("patchy fog", _fog, 16),
        "pixelate": Family("coarse square pixels", _pixelate, 1),
        "jpeg": Family("compressed as JPEG with coarse tables", _jpeg, 255),
    }
)


def families() -> Mapping[str, Family]:
    """Families by name: ours, then those of other packages.

    Raises:
        InputError: another package's family cannot be loaded, or has the name of one of ours.
    """
    return _registered(tuple(sys.path))


@cache
def _registered(path: tuple[str, ...]) -> Mapping[str, Family]:
    """Cached by `sys.path`, which changes what is installed."""
    found = dict(FAMILIES)
    for name, source, family in registered(ENTRY_POINT_GROUP, "perturbation"):
        if not isinstance(family, Family):
            raise InputError(f"{source}: found {family!r:.60}; expected a Family")
        if name in found:
            raise InputError(f"{source}: the name is taken; expected another one")
        found[name] = family
    return found
