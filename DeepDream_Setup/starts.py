"""Starting images of an optimisation, `(3, S, S)` from 0 to 1: `STARTS`, or any photograph.

`grey`, `perlin`, `gradient` and `structured_noise` are those of the published study's level 4. The same generator gives
the same image.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from Activation_Extraction.base.errors import InputError, did_you_mean, shown
from Activation_Extraction.images.presets import pixels_of
from Activation_Extraction.images.reading import read_image

Start = Callable[[np.random.Generator, int], NDArray[np.float64]]


def fourier(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Grey with faint 1/f noise."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    noise = np.fft.rfft2(rng.standard_normal((3, size, size))) / np.maximum(frequency, 1 / size)
    return 0.5 + 0.02 * _standardized(np.fft.irfft2(noise, (size, size)))


def grey(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Mid-grey."""
    return np.full((3, size, size), 0.5)


def perlin(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Coloured clouds: gradient noise of four octaves (Perlin 1985)."""
    octaves = [_gradient_noise(rng, size, 2 ** (octave + 1)) / 2**octave for octave in range(4)]
    return np.clip(0.5 + 0.15 * _standardized(np.sum(octaves, axis=0)), 0, 1)


def gradient(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """A gradient between two random colours, in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    first, second = rng.uniform(0.2, 0.8, (2, 3, 1, 1))
    side = np.linspace(-1, 1, size)
    along = np.cos(angle) * side + np.sin(angle) * side[:, None]
    return np.asarray(first + (second - first) * (along / np.abs(along).max() + 1) / 2)


def structured_noise(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Square patches of random colour, of five sizes added up."""
    total = np.zeros((3, size, size))
    for cells in (2, 4, 8, 16, 32):
        index = np.arange(size) * cells // size
        total += rng.standard_normal((3, cells, cells))[:, index[:, None], index] / np.sqrt(cells)
    return np.clip(0.5 + 0.15 * _standardized(total), 0, 1)


STARTS: dict[str, Start] = {
    "fourier": fourier, "grey": grey, "perlin": perlin, "gradient": gradient, "structured_noise": structured_noise,
}  # fmt: skip


def start_named(name: str) -> Start:
    """A start by its name, or a photograph by its path, scaled and center-cropped to the image.

    Raises:
        InputError: neither a name nor a file.
        ImageError: the photograph cannot be read.
    """
    if name in STARTS:
        return STARTS[name]
    if not os.path.isfile(name):
        hint = did_you_mean(name, STARTS)
        raise InputError(f"start: found {shown(name)}; expected {', '.join(STARTS)}, or a photograph{hint}")
    photograph: Image.Image = read_image(name)
    return lambda rng, size: pixels_of(photograph, "clip", size, size).transpose(2, 0, 1) / 255


def _standardized(x_CHW: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((x_CHW - x_CHW.mean()) / x_CHW.std())


def _gradient_noise(rng: np.random.Generator, size: int, cells: int) -> NDArray[np.float64]:
    """One octave, `(3, S, S)`: random slopes at cell corners, smoothly interpolated."""
    angles = rng.uniform(0, 2 * np.pi, (3, cells + 1, cells + 1))
    place = (np.arange(size) + 0.5) * cells / size
    cell, inside = place.astype(int), place % 1
    smooth = inside**3 * (inside * (6 * inside - 15) + 10)
    total = np.zeros((3, size, size))
    for down, across in itertools.product((0, 1), repeat=2):
        at = angles[:, (cell + down)[:, None], cell + across]
        slope = np.cos(at) * (inside - across) + np.sin(at) * (inside - down)[:, None]
        total += np.abs(1 - down - smooth)[:, None] * np.abs(1 - across - smooth) * slope
    return total
