"""A network's input format, and the preprocessing of images for it: "clip", "published", or the network's own.

Shapes: H height, W width, C = 3 channels (red, green, blue).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from Activation_Extraction.base.errors import InputError, did_you_mean, shown
from Activation_Extraction.images.places import ImageError
from Activation_Extraction.images.presets import PRESETS, pixels_of
from Activation_Extraction.images.reading import MAX_PIXELS, ImageSource, name_of, read_image

__all__ = [
    "CLIP_MEAN", "CLIP_STD", "MAX_PIXELS", "OWN", "PRESETS", "ImageError", "ImageInput", "ImageSource",
    "listed", "network_input", "preparation", "prepare", "read_image", "read_images",
]  # fmt: skip

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Normalisation of CLIP's inputs: red, green, blue (OpenAI, clip/clip.py)."""

OWN = "own"
"""The preset of a network with its own transform."""


@dataclass(frozen=True)
class ImageInput:
    """A network's input format.

    Args:
        size: side in pixels, or (height, width).
        mean, std: three numbers each, in units of `value_range`; None if the network normalises its input itself.
        value_range: of the values before normalisation.
        layout: order of the axes of a batch.
        preset: the preprocessing that the network was trained with: of `PRESETS`, or "own" for its `transform`.
        transform: RGB image → the network's input as floats, of this size and layout.
    """

    size: int | tuple[int, int]
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    value_range: Literal["0-1", "0-255"] = "0-1"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    preset: str = "clip"
    transform: Callable[[Image.Image], Tensor] | None = None

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise InputError(f"ImageInput: size is {shown(self.size)}; expected at least one pixel a side")
        if (self.mean is None) != (self.std is None):
            raise InputError("ImageInput: mean without std, or std without mean; expected both or neither")
        for name, allowed in (("value_range", ("0-1", "0-255")), ("layout", ("NCHW", "NHWC"))):
            if getattr(self, name) not in allowed:
                raise InputError(f"ImageInput: {name} is {shown(getattr(self, name))}; expected {' or '.join(allowed)}")
        preparation(self)

    @property
    def height(self) -> int:
        return self.size if isinstance(self.size, int) else self.size[0]

    @property
    def width(self) -> int:
        return self.size if isinstance(self.size, int) else self.size[1]


def prepare(image: ImageSource, image_input: ImageInput, preset: str | None = None) -> Tensor:
    """One image as the network takes it, read by `read_image` and preprocessed by a preset.

    Args:
        preset: "clip" scales to cover the input (bicubic) and crops its centre, then converts to RGB, identical to
            OpenAI's preprocessing and to torchvision's Resize and CenterCrop; "published" converts to RGB and squashes
            to the input's size with LANCZOS, as the InterpScore study of 2025 did; "own" is the network's transform;
            None takes what the network was trained with.

    Returns:
        float32, C × H × W, or H × W × C for the layout NHWC.

    Raises:
        ImageError: see `read_image`; or the network's transform gives another shape.
        InputError: no such preset.
    """
    return preparation(image_input, preset)(read_image(image), name_of(image))


def read_images(
    sources: Iterable[ImageSource] | ImageSource,
    image_input: ImageInput,
    preset: str | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Tensor | ImageError]:
    """`prepare` for many images: the tensor of each source, or its error.

    Raises:
        InputError: no such preset, or no list of images (at once, not while iterating).
    """
    as_tensor, images = preparation(image_input, preset), listed(sources)

    def each() -> Iterator[Tensor | ImageError]:
        for position, source in enumerate(images):
            try:
                name = name_of(source, position)
                yield as_tensor(read_image(source, max_pixels=max_pixels, name=name), name)
            except ImageError as error:
                yield error

    return each()


def network_input(pixels_NHWC: Tensor, image_input: ImageInput, white: Literal[1, 255] = 255) -> Tensor:
    """A batch of pixels as the network takes it, on the same device; differentiable.

    Args:
        pixels_NHWC: integers or floats, N × H × W × C, of the network's size.
        white: the largest value of a pixel.

    Returns:
        float32, or float64 of float64, N × C × H × W (a view, channels last in memory), or N × H × W × C for the layout NHWC.
    """
    x_NHWC = pixels_NHWC if pixels_NHWC.dtype == torch.float64 else pixels_NHWC.float()
    # Divisors are tensors on the device, since CUDA would multiply by the inverse of a plain number.
    if image_input.value_range == "0-1" and white == 255:
        x_NHWC = x_NHWC / x_NHWC.new_tensor(255)
    elif image_input.value_range == "0-255" and white == 1:
        x_NHWC = 255 * x_NHWC
    if image_input.mean is not None and image_input.std is not None:
        x_NHWC = (x_NHWC - x_NHWC.new_tensor(image_input.mean)) / x_NHWC.new_tensor(image_input.std)
    return x_NHWC.permute(0, 3, 1, 2) if image_input.layout == "NCHW" else x_NHWC


def listed(images: Iterable[ImageSource] | ImageSource) -> Iterable[ImageSource]:
    """The images as an iterable; a single one (such as an array of up to three axes) becomes a list."""
    if isinstance(images, str | bytes | os.PathLike | Image.Image) or (
        isinstance(images, np.ndarray) and images.ndim < 4 and images.dtype.kind in "biuf"
    ):
        return [images]
    if isinstance(images, Iterable):
        return images
    raise InputError(f"images: {type(images).__name__}; expected a list of paths, bytes, PIL images or arrays")


def preparation(image_input: ImageInput, preset: str | None = None) -> Callable[[Image.Image, str], Tensor]:
    """The function that preprocesses an image from `read_image`, given its name for messages.

    Raises:
        InputError: no such preset.
    """
    name = image_input.preset if preset is None else preset
    if name == OWN and (transform := image_input.transform) is not None:
        return lambda image, source: _checked(transform(image.convert("RGB")), image_input, source)
    if name in PRESETS:
        height, width = image_input.height, image_input.width
        return lambda image, source: _tensor(pixels_of(image, name, height, width), image_input)
    known = [*PRESETS, *([OWN] if image_input.transform else [])]
    raise InputError(f"preset: found {shown(name)}; expected {' or '.join(known)}{did_you_mean(name, known)}")


def _tensor(pixels_HWC: NDArray[np.uint8], image_input: ImageInput) -> Tensor:
    return network_input(torch.from_numpy(pixels_HWC[None].copy()), image_input)[0].contiguous()


def _checked(x: Tensor, image_input: ImageInput, source: str) -> Tensor:
    height, width = image_input.height, image_input.width
    expected = (3, height, width) if image_input.layout == "NCHW" else (height, width, 3)
    if tuple(x.shape) != expected:
        raise ImageError(source, f"the network's own preprocessing made the shape {tuple(x.shape)}", f"{expected}")
    return x.float()
