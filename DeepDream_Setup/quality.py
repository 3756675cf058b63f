"""Whether an image can be trusted, in numbers, and where natural images say that a number is out of line.

| number | what it tells |
|---|---|
| `activation` | what is read of the unit on the image as it was saved: no augmentation, the network's own preprocessing |
| `times_natural` | that, over the largest of the natural images; up to 1, a photograph does as well |
| `jittered` | mean of the activation over fresh random views, of which optimisation saw none |
| `contrast` | standard deviation of all pixel values, from 0 to 1; near 0 the image is grey |
| `saturation` | share of pixel values within 1% of black or white |
| `slope` | of the logarithm of power against that of frequency: about -2 in photographs, 0 in noise |

| flag | raised when |
|---|---|
| `dead` | `activation` is not above 0, or nothing natural activates the unit either |
| `weak` | `activation` does not exceed the largest of the natural images |
| `fragile` | `jittered` is less than a quarter of `activation`: the unit hangs on single pixels |
| `grey` | `contrast` is below that of 99 in 100 natural images |
| `saturated` | `saturation` is above that of 99 in 100 natural images, and above 5% |
| `noisy` | `slope` is nearer to noise than to the flattest in 100 natural images |

Without natural images only `dead` and `fragile` are told. Shapes: N images, C = 3 colours, H = W = S pixels, U units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
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
"""Fresh views that `jittered` is the mean of."""

FRAGILE = 0.25
LEAST_SATURATION = 0.05
EXTREME = 1.0
"""Per cent of the natural images on either side that count as extreme."""

FLAGS = ("dead", "weak", "fragile", "grey", "saturated", "noisy")


@dataclass(frozen=True)
class Thresholds:
    """Where a number of an image is out of line with natural images."""

    contrast: float
    saturation: float
    slope: float


@dataclass(frozen=True, eq=False)
class NaturalImages:
    """What natural images do, for comparison.

    Attributes:
        images: how many there were.
        best_U: the largest value of each unit asked for, on any of them.
        thresholds: by their own statistics.
    """

    images: int
    best_U: NDArray[np.float64]
    thresholds: Thresholds


@dataclass(frozen=True)
class Quality:
    """The numbers of one image, as at the top of this file; None where there are no natural images."""

    activation: float
    best_natural: float | None
    times_natural: float | None
    jittered: float
    contrast: float
    saturation: float
    slope: float
    flags: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Rounded to seven digits, which is what float32 holds."""
        return {
            name: float(f"{value:.7g}") if isinstance(value, float) else value for name, value in asdict(self).items()
        }


class Judge:
    """Measures images with a network in fp32, as it was trained to see them.

    Args:
        model: the network.
        layer: in either scheme.
        reading: "neuron" reads the centre of a map, anything else its mean.
    """

    def __init__(self, model: Model, layer: str, reading: str) -> None:
        self.network = CutNetwork(model, [layer])
        self._model, self._reading = model, reading

    def __reduce__(self) -> Any:
        """Pickled as what it was made from."""
        return Judge, (self._model, self.network.layers[0], self._reading)

    def activations(self, x: Tensor, vectors_JU: Tensor) -> NDArray[np.float64]:
        """What is read of each of J directions, `(N, J)`, on images from 0 to 1, `(N, C, H, W)`."""
        with running(self._model):
            (a,) = self.network(x.to(self._model.device)).values()
            if self._reading == "neuron":
                a_NU = centre(a.flatten(0, 1)).reshape(a.shape[:2])
            else:
                a_NU = a.flatten(2).mean(2) if a.ndim > 2 else a
            return (a_NU @ vectors_JU.to(a_NU).T).double().cpu().numpy()

    def natural(self, batches: Iterable[NDArray[np.uint8]], vectors_JU: Tensor) -> NaturalImages:
        """Measure natural images, given as batches of pixels `(N, H, W, C)` of the network's size."""
        best, statistics = [], []
        for pixels in batches:
            best.append(self.activations(as_images(pixels), vectors_JU).max(0))
            statistics += [image_numbers(one) for one in pixels]
        low = np.percentile(statistics, EXTREME, axis=0)
        high = np.percentile(statistics, 100 - EXTREME, axis=0)
        thresholds = Thresholds(float(low[0]), max(float(high[1]), LEAST_SATURATION), float(high[2]) / 2)
        return NaturalImages(len(statistics), np.max(best, axis=0), thresholds)

    def qualities(
        self,
        pixels_NSSC: Sequence[NDArray[np.uint8]],
        vectors_NU: Tensor,
        transforms: Transforms,
        draws_VND: NDArray[np.float64],
        best_N: NDArray[np.float64] | None = None,
        thresholds: Thresholds | None = None,
    ) -> list[Quality]:
        """The numbers of images, each with its unit's direction.

        Args:
            pixels_NSSC: as they are saved.
            transforms: of the fresh views.
            draws_VND: of these, from 0 to 1, `DRAWS` for each view and image.
            best_N: what the unit of each reaches on natural images.
        """
        wanted = self._model.image_input
        shown = as_images(np.stack([network_pixels(Image.fromarray(one), wanted) for one in pixels_NSSC]))
        x = as_images(np.stack(pixels_NSSC))
        plain_N = self.activations(shown, vectors_NU).diagonal()
        jittered_N = np.zeros(len(x))
        for draws_ND in draws_VND:
            maps = transforms.maps(draws_ND, x.shape[-1])
            view = resample(x, torch.from_numpy(maps), *self.network.input_size)
            jittered_N += self.activations(view, vectors_NU).diagonal() / len(draws_VND)
        numbers = [image_numbers(one) for one in pixels_NSSC]
        bests = [None] * len(x) if best_N is None else [float(best) for best in best_N]
        return [
            _judged(float(plain), best, float(jittered), *number, thresholds)
            for plain, best, jittered, number in zip(plain_N, bests, jittered_N, numbers)
        ]


def image_numbers(pixels_SSC: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Contrast, saturation and slope of the spectrum of one image, which needs no network."""
    x = pixels_SSC / 255
    saturation = ((pixels_SSC <= 2) | (pixels_SSC >= 253)).mean()
    return float(x.std()), float(saturation), spectrum_slope(x.mean(2))


def spectrum_slope(x_SS: NDArray[np.float64]) -> float:
    """Slope of log power against log frequency, from two cycles an image to half the highest frequency.

    Each octave counts alike: power is averaged over rings of frequencies, a third of an octave wide. 0 for an image of
    one colour.
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
    """An image brought to a network's size by its own preset; scaled and cropped where that is no preset of ours."""
    preset = image_input.preset if image_input.preset in PRESETS else "clip"
    return pixels_of(image, preset, image_input.height, image_input.width)


def _judged(
    activation: float, best: float | None, jittered: float, contrast: float, saturation: float, slope: float,
    thresholds: Thresholds | None,
) -> Quality:  # fmt: skip
    raised: dict[str, Callable[[], bool]] = {
        "dead": lambda: activation <= 0 or (best is not None and best <= 0),
        "weak": lambda: best is not None and 0 < activation <= best,
        "fragile": lambda: activation > 0 and jittered < FRAGILE * activation,
        "grey": lambda: thresholds is not None and contrast < thresholds.contrast,
        "saturated": lambda: thresholds is not None and saturation > thresholds.saturation,
        "noisy": lambda: thresholds is not None and slope > thresholds.slope,
    }
    return Quality(
        activation, best, activation / best if best else None, jittered, contrast, saturation, slope,
        tuple(flag for flag, test in raised.items() if test()),
    )  # fmt: skip


def batches_of(pixels: Iterable[NDArray[np.uint8]], size: int = 32) -> Iterator[NDArray[np.uint8]]:
    """Images one after another, as arrays of up to `size` of them."""
    held: list[NDArray[np.uint8]] = []
    for one in pixels:
        held.append(one)
        if len(held) == size:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)
