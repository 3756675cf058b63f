"""The presets "clip" and "published": an image as the 8-bit pixels that a network gets, without torch.

Shapes: H height, W width, C = 3 channels (red, green, blue).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Preset = Callable[[Image.Image, int, int], Image.Image]
"""(image from `read_image`, height, width) → the image in RGB, of that size."""


def pixels_of(image: Image.Image, preset: str, height: int, width: int) -> NDArray[np.uint8]:
    """An image from `read_image`, prepared by a preset of `PRESETS`: H × W × C, from 0 to 255."""
    return np.asarray(PRESETS[preset](image, height, width))


def _clip(image: Image.Image, height: int, width: int) -> Image.Image:
    if image.width * height <= image.height * width:
        size = width, int(width * image.height / image.width)
    else:
        size = int(height * image.width / image.height), height
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    window = left, top, left + width, top + height
    if math.prod(size) <= LARGEST_RESIZED:
        return image.resize(size, Image.Resampling.BICUBIC).crop(window).convert("RGB")
    return _resized_window(image, size, window).convert("RGB")


def _published(image: Image.Image, height: int, width: int) -> Image.Image:
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


PRESETS: Mapping[str, Preset] = MappingProxyType({"clip": _clip, "published": _published})

LARGEST_RESIZED = 2**25
"""If scaling would give more pixels (aspect ratios beyond 1:400 at 288 px), only the crop is computed."""

BICUBIC_REACH = 2
"""Support of the bicubic filter: pixels to each side, in the coarser of the two scales."""


def _resized_window(image: Image.Image, size: tuple[int, int], window: tuple[int, int, int, int]) -> Image.Image:
    """A crop of the resized image; equal to resize-then-crop within one level, as Pillow rounds the box."""
    cut, box = [0, 0, 0, 0], [0.0, 0.0, 0.0, 0.0]
    for axis in (0, 1):
        scale = image.size[axis] / size[axis]
        margin = math.ceil(BICUBIC_REACH * max(scale, 1)) + 1
        start, end = window[axis] * scale, window[axis + 2] * scale
        cut[axis] = max(0, math.floor(start) - margin)
        cut[axis + 2] = min(image.size[axis], math.ceil(end) + margin)
        box[axis], box[axis + 2] = start - cut[axis], end - cut[axis]
    left, top, right, bottom = cut
    return image.crop((left, top, right, bottom)).resize(
        (window[2] - window[0], window[3] - window[1]), Image.Resampling.BICUBIC, box=(box[0], box[1], box[2], box[3])
    )
