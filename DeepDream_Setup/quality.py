"""Quality of an image: numbers that say whether to trust it, with thresholds taken from natural images.

| number | meaning |
|---|---|
| `activation` | the unit's activation on the saved image: no augmentation, the network's own preprocessing |
| `times_natural` | `activation` ÷ the highest of any natural image; up to 1, a photograph does as well |
| `jittered` | mean activation over random views that optimisation did not use |
| `contrast` | standard deviation of all pixel values, from 0 to 1; near 0 the image is grey |
| `saturation` | share of pixel values within 1% of black or white |
| `slope` | slope of log power against log frequency: about -2 in photographs, 0 in noise |

| flag | raised when |
|---|---|
| `dead` | `activation` is not above 0, or no natural image activates the unit |
| `weak` | some natural image reaches `activation` |
| `fragile` | `jittered` is less than a quarter of `activation`: the effect depends on single pixels |
| `grey` | `contrast` is below that of 99 in 100 natural images |
| `saturated` | `saturation` is above that of 99 in 100 natural images, and above 5% |
| `noisy` | `slope` is nearer to noise than to the flattest in 100 natural images |

Without natural images only `dead` and `fragile` are raised. Shapes: N images, C = 3 colours, H = W = S pixels, U units.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from Activation_Extraction.backends.plain_network import running
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.images.presets import PRESETS, pixels_of
from Activation_Extraction.models.registry import Model
from DeepDream_Setup.network import CutNetwork
from DeepDream_Setup.objectives import centre
from DeepDream_Setup.transforms import Transforms, resample

VIEWS = 8
"""Random views that `jittered` averages over."""

FRAGILE = 0.25
LEAST_SATURATION = 0.05
EXTREME = 1.0
"""Percentage of natural images, at either end, that counts as extreme."""

FLAGS = ("dead", "weak", "fragile", "grey", "saturated", "noisy")


@dataclass(frozen=True)
class Thresholds:
    """Limits beyond which contrast (below), saturation and slope (above) are flagged; NaN never is."""

    contrast: float = math.nan
    saturation: float = math.nan
    slope: float = math.nan


@dataclass(frozen=True, eq=False)
class NaturalImages:
    """Natural images to compare with: how many, the highest activation of each unit, and thresholds."""

    images: int
    best_U: NDArray[np.float64]
    thresholds: Thresholds


@dataclass(frozen=True)
class Quality:
    """The numbers of one image, as at the top of this file; None without natural images."""

    activation: float
    best_natural: float | None
    times_natural: float | None
    jittered: float
    contrast: float
    saturation: float
    slope: float
    flags: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Rounded to the seven digits of float32."""
        return {name: float(f"{x:.7g}") if isinstance(x, float) else x for name, x in asdict(self).items()}


class Judge:
    """Measures images with a network in fp32, preprocessed as in training.

    Args:
        model: the network.
        layer: its name, in either scheme.
        reading: "neuron" takes the centre of a map, anything else its mean.
    """

    def __init__(self, model: Model, layer: str, reading: str) -> None:
        self.network = CutNetwork(model, [layer])
        self._model, self._reading = model, reading

    def __reduce__(self) -> Any:
        """Pickled as what it was made from."""
        return Judge, (self._model, self.network.layers[0], self._reading)

    def activations(self, x: Tensor, vectors_JU: Tensor) -> NDArray[np.float64]:
        """Activations of J directions, `(N, J)`, on images from 0 to 1, `(N, C, H, W)`."""
        with running(self._model):
            (a,) = self.network(x.to(self._model.device)).values()
            if self._reading == "neuron":
                a_NU = centre(a.flatten(0, 1)).reshape(a.shape[:2])
            else:
                a_NU = a.flatten(2).mean(2) if a.ndim > 2 else a
            return (a_NU @ vectors_JU.to(a_NU).T).double().cpu().numpy()

    def natural(self, batches: Iterable[NDArray[np.uint8]], vectors_JU: Tensor) -> NaturalImages:
        """Measure natural images, given as batches of pixels `(N, H, W, C)` of the network's size."""
        best, numbers = [], []
        for pixels in batches:
            best.append(self.activations(as_images(pixels), vectors_JU).max(0))
            numbers += [image_numbers(each) for each in pixels]
        low, high = np.percentile(numbers, (EXTREME, 100 - EXTREME), axis=0)
        thresholds = Thresholds(float(low[0]), max(float(high[1]), LEAST_SATURATION), float(high[2]) / 2)
        return NaturalImages(len(numbers), np.max(best, axis=0), thresholds)

    def qualities(
        self,
        pixels_NSSC: Sequence[NDArray[np.uint8]],
        vectors_NU: Tensor,
        transforms: Transforms,
        draws_VND: NDArray[np.float64],
        best_N: NDArray[np.float64] | None = None,
        thresholds: Thresholds | None = None,
    ) -> list[Quality]:
        """Measure images, each with its unit's direction.

        Args:
            pixels_NSSC: the images as saved.
            vectors_NU: their units' directions.
            transforms: how the random views vary.
            draws_VND: numbers from 0 to 1, `DRAWS` for each view and image.
            best_N: highest activation of each image's unit on natural images.
            thresholds: from natural images.
        """
        wanted, limits = self._model.image_input, thresholds or Thresholds()
        resized = as_images(np.stack([network_pixels(Image.fromarray(each), wanted) for each in pixels_NSSC]))
        x = as_images(np.stack(pixels_NSSC))
        plain_N = self.activations(resized, vectors_NU).diagonal()
        jittered_N = np.zeros(len(x))
        for draws_ND in draws_VND:
            maps = torch.from_numpy(transforms.maps(draws_ND, x.shape[-1]))
            view = resample(x, maps, *self.network.input_size)
            jittered_N += self.activations(view, vectors_NU).diagonal() / len(draws_VND)
        qualities = []
        for i, (activation, jittered) in enumerate(zip(plain_N.tolist(), jittered_N.tolist())):
            contrast, saturation, slope = image_numbers(pixels_NSSC[i])
            best = None if best_N is None else float(best_N[i])
            is_raised = (
                activation <= 0 or (best is not None and best <= 0),
                best is not None and 0 < activation <= best,
                activation > 0 and jittered < FRAGILE * activation,
                contrast < limits.contrast,
                saturation > limits.saturation,
                slope > limits.slope,
            )
            flags = tuple(flag for flag, raised in zip(FLAGS, is_raised, strict=True) if raised)
            times = activation / best if best else None
            qualities.append(Quality(activation, best, times, jittered, contrast, saturation, slope, flags))
        return qualities


def image_numbers(pixels_SSC: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Contrast, saturation and slope of the spectrum of an image."""
    x = pixels_SSC / 255
    saturation = ((pixels_SSC <= 2) | (pixels_SSC >= 253)).mean()
    return float(x.std()), float(saturation), spectrum_slope(x.mean(2))


def spectrum_slope(x_SS: NDArray[np.float64]) -> float:
    """Slope of log power against log frequency, from two cycles per image to half the highest frequency.

    Power is averaged over rings a third of an octave wide, so every octave weighs the same. 0 for a flat colour.
    """
    size = len(x_SS)
    window = np.hanning(size)[:, None] * np.hanning(size)
    power = np.abs(np.fft.fft2((x_SS - x_SS.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    edges = np.arange(np.log2(2 / size), -2 + 1e-9, 1 / 3)
    ring = np.digitize(np.log2(np.maximum(frequency, 1e-9)), edges)
    rings = [i for i in range(1, len(edges)) if (ring == i).any()]
    means = np.array([power[ring == i].mean() for i in rings])
    if not (means > 1e-12).all() or len(rings) < 2:
        return 0.0
    centres = np.array([np.log2(frequency[ring == i]).mean() for i in rings])
    return float(np.polyfit(centres, np.log2(means), 1)[0])


def as_images(pixels_NHWC: NDArray[np.uint8]) -> Tensor:
    """Pixels from 0 to 255 as images from 0 to 1, `(N, C, H, W)`."""
    return torch.from_numpy(pixels_NHWC).movedim(-1, 1).float() / 255


def network_pixels(image: Image.Image, image_input: ImageInput) -> NDArray[np.uint8]:
    """An image at the network's size: by its own preset, or scaled and cropped ("clip") where it has a transform of its own."""
    preset = image_input.preset if image_input.preset in PRESETS else "clip"
    return pixels_of(image, preset, image_input.height, image_input.width)


def batches_of(pixels: Iterable[NDArray[np.uint8]], size: int = 32) -> Iterator[NDArray[np.uint8]]:
    """Stack successive images into arrays of up to `size`."""
    remaining = iter(pixels)
    while batch := list(islice(remaining, size)):
        yield np.stack(batch)
