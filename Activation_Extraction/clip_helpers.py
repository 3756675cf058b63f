"""What a network takes, and the preprocessing presets that make it of an image: "clip" and "published".

Shapes: H height, W width, C = 3 channels (red, green, blue).
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from PIL import Image

from Activation_Extraction.errors import InputError, shown
from Activation_Extraction.image_files import MAX_PIXELS, ImageError, ImageSource, name_of, read_image

__all__ = [
    "CLIP_MEAN",
    "CLIP_STD",
    "MAX_PIXELS",
    "PRESETS",
    "ImageError",
    "ImageInput",
    "ImageSource",
    "check_preset",
    "prepare",
    "read_image",
    "read_images",
]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""What CLIP's inputs are normalised with, red, green, blue (OpenAI, clip/clip.py)."""


@dataclass(frozen=True)
class ImageInput:
    """What a network takes.

    Args:
        size: side in pixels, or (height, width).
        mean, std: three numbers each, in units of `value_range`; None when the network normalises by itself.
        value_range: of the numbers before they are normalised.
        layout: order of the axes of a batch.
        preset: the preprocessing that the network was trained with.
        resize: preset "clip" scales the shortest side to this before it crops (None: to what the crop needs).
        resample: preset "clip" scales with this filter.
    """

    size: int | tuple[int, int]
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    value_range: Literal["0-1", "0-255"] = "0-1"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    preset: str = "clip"
    resize: int | None = None
    resample: Image.Resampling = Image.Resampling.BICUBIC

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise InputError(f"ImageInput: size is {shown(self.size)}; expected at least one pixel a side")
        if self.resize is not None and self.resize < max(self.height, self.width):
            raise InputError(f"ImageInput: resize is {self.resize}; expected at least the size, {shown(self.size)}")
        if (self.mean is None) != (self.std is None):
            raise InputError("ImageInput: mean without std, or std without mean; expected both or neither")
        for name, allowed in (("value_range", ("0-1", "0-255")), ("layout", ("NCHW", "NHWC"))):
            if getattr(self, name) not in allowed:
                raise InputError(f"ImageInput: {name} is {shown(getattr(self, name))}; expected {' or '.join(allowed)}")
        check_preset(self.preset)

    @property
    def height(self) -> int:
        return self.size if isinstance(self.size, int) else self.size[0]

    @property
    def width(self) -> int:
        return self.size if isinstance(self.size, int) else self.size[1]


def prepare(image: ImageSource, image_input: ImageInput, preset: str | None = None) -> torch.Tensor:
    """One image as the network takes it, through `read_image` and a preset.

    Args:
        preset: "clip" scales to cover the input and cuts out its centre, then converts to RGB, as OpenAI's and
            torchvision's Resize and CenterCrop do, to the last bit; "published" converts to RGB and squashes to the
            input's size with LANCZOS, as the InterpScore study of 2025 did; None takes the network's own.

    Returns:
        float32, C × H × W, or H × W × C for the layout NHWC.

    Raises:
        ImageError: what `read_image` raises.
        InputError: no such preset.
    """
    arrange = check_preset(image_input.preset if preset is None else preset)
    return _tensor(arrange(read_image(image), image_input), image_input)


def read_images(
    sources: Iterable[ImageSource],
    image_input: ImageInput,
    preset: str | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[torch.Tensor | ImageError]:
    """`prepare` for many images: for each source in turn its tensor, or the error that tells why there is none.

    Raises:
        InputError: no such preset, or one image where a list is expected (at once, not while iterating).
    """
    arrange = check_preset(image_input.preset if preset is None else preset)
    if isinstance(sources, str | bytes | os.PathLike | Image.Image):
        raise InputError(f"images: one {type(sources).__name__} ({shown(sources)}); expected a list of images")

    def each() -> Iterator[torch.Tensor | ImageError]:
        for position, source in enumerate(sources):
            try:
                image = read_image(source, max_pixels=max_pixels, name=name_of(source, position))
                yield _tensor(arrange(image, image_input), image_input)
            except ImageError as error:
                yield error

    return each()


def check_preset(name: str) -> Callable[[Image.Image, ImageInput], Image.Image]:
    """The preset of that name; raises `InputError` with the nearest name when there is none."""
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(str(name), PRESETS, n=1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    raise InputError(f"preset: {shown(name)}; expected {' or '.join(PRESETS)}{hint}")


# Presets ------------------------------------------------------------------------------------------------------------


def _clip(image: Image.Image, image_input: ImageInput) -> Image.Image:
    height, width = image_input.height, image_input.width
    cover_width, cover_height = (image_input.resize,) * 2 if image_input.resize else (width, height)
    if image.width * cover_height <= image.height * cover_width:
        size = cover_width, int(cover_width * image.height / image.width)
    else:
        size = int(cover_height * image.width / image.height), cover_height
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    window = left, top, left + width, top + height
    if math.prod(size) <= LARGEST_RESIZED:
        return image.resize(size, image_input.resample).crop(window).convert("RGB")
    return _resized_window(image, size, window, image_input.resample).convert("RGB")


def _published(image: Image.Image, image_input: ImageInput) -> Image.Image:
    return image.convert("RGB").resize((image_input.width, image_input.height), Image.Resampling.LANCZOS)


PRESETS: Mapping[str, Callable[[Image.Image, ImageInput], Image.Image]] = MappingProxyType(
    {"clip": _clip, "published": _published}
)

LARGEST_RESIZED = 2**25
"""A scaled picture of more pixels (sides beyond 1 to 400 at 288 px) is not made whole: its window is made alone."""

WIDEST_FILTER = 3
"""Source pixels that the widest filter, LANCZOS, reaches to each side, at its own scale."""


def _resized_window(
    image: Image.Image, size: tuple[int, int], window: tuple[int, int, int, int], resample: Image.Resampling
) -> Image.Image:
    """A window of the resized image without the rest of it; equal to within one level, where box ends are rounded."""
    cut, box = [0, 0, 0, 0], [0.0, 0.0, 0.0, 0.0]
    for axis in (0, 1):
        scale = image.size[axis] / size[axis]
        margin = math.ceil(WIDEST_FILTER * max(scale, 1)) + 1
        start, end = window[axis] * scale, window[axis + 2] * scale
        cut[axis] = max(0, math.floor(start) - margin)
        cut[axis + 2] = min(image.size[axis], math.ceil(end) + margin)
        box[axis], box[axis + 2] = start - cut[axis], end - cut[axis]
    left, top, right, bottom = cut
    return image.crop((left, top, right, bottom)).resize(
        (window[2] - window[0], window[3] - window[1]), resample, box=(box[0], box[1], box[2], box[3])
    )


def _tensor(image: Image.Image, image_input: ImageInput) -> torch.Tensor:
    x_HWC = torch.from_numpy(np.array(image)).float()
    if image_input.value_range == "0-1":
        x_HWC = x_HWC.div(255)
    if image_input.mean is not None and image_input.std is not None:
        x_HWC = x_HWC.sub(torch.tensor(image_input.mean)).div(torch.tensor(image_input.std))
    return x_HWC.permute(2, 0, 1).contiguous() if image_input.layout == "NCHW" else x_HWC
