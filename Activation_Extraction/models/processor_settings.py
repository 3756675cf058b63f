"""Preprocessing from the settings of a transformers image processor (`preprocessor_config.json`), with Pillow alone.

Settings beyond resizing, cropping, rescaling and normalising are refused, not skipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from Activation_Extraction.base.errors import InputError, shown

SUPPORTED = {
    "size", "resample", "crop_pct", "crop_size", "rescale_factor", "image_mean", "image_std",
    "do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb",
}  # fmt: skip
LARGEST_CROP = 384
"""From this size on, ConvNeXt's processor stretches images instead of cropping them by `crop_pct`."""


def preprocessing_of(settings: Mapping[str, Any], name: str) -> Callable[[Image.Image], Tensor]:
    """A function from an image to a tensor 3 × H × W.

    Args:
        settings: of an image processor that resizes (`size` has height and width, or the shortest edge), crops the
            center, rescales and normalises, in this order; also ConvNeXt's, with `crop_pct`.
        name: of the model, for messages.

    Raises:
        InputError: a setting that is missing, wrong or not supported.
    """
    if extra := [key for key, value in settings.items() if key.startswith("do_") and value and key not in SUPPORTED]:
        raise InputError(f"{name}: image processor with {', '.join(extra)}; expected resizing, cropping, normalising")
    resize = _resizing(settings, name) if settings.get("do_resize", True) else None
    crop = _sides(settings, "crop_size", name) if settings.get("do_center_crop") else None
    if resize is None and crop is None:
        raise InputError(f"{name}: image processor that neither resizes nor crops; expected one size for all images")
    factor = float(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale", True) else 1.0
    normalize = bool(settings.get("do_normalize", True))
    mean, std = (
        torch.tensor(_colours(settings, key, name) if normalize else [value] * 3)[:, None, None]
        for key, value in (("image_mean", 0.0), ("image_std", 1.0))
    )

    def preprocess(image: Image.Image) -> Tensor:
        image = image.convert("RGB")
        if resize is not None:
            image = resize(image)
        if crop is not None:
            image = _centre(image, *crop)
        x_CHW = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() * factor
        return (x_CHW - mean) / std

    return preprocess


def _resizing(settings: Mapping[str, Any], name: str) -> Callable[[Image.Image], Image.Image]:
    size, crop_pct = settings.get("size"), settings.get("crop_pct")
    try:
        resample = Image.Resampling(settings.get("resample", Image.Resampling.BILINEAR))
    except ValueError:
        found = shown(settings["resample"])
        raise InputError(f"{name}: image processor with resample {found}; expected 0 to 5") from None
    shortest = size.get("shortest_edge") if isinstance(size, Mapping) else None
    if isinstance(size, int) and (settings.get("do_center_crop") or crop_pct):
        shortest = size  # the format of older versions
    if shortest is None:
        height, width = _sides(settings, "size", name)
        return lambda image: image.resize((width, height), resample)
    side = int(shortest)
    if isinstance(size, Mapping) and set(size) != {"shortest_edge"}:
        raise InputError(f"{name}: image processor of size {shown(dict(size))}; expected shortest_edge alone")
    if not crop_pct:
        return lambda image: image.resize(_covering(image, side), resample)
    if side >= LARGEST_CROP:
        return lambda image: image.resize((side, side), resample)
    larger = int(side / crop_pct)
    return lambda image: _centre(image.resize(_covering(image, larger), resample), side, side)


def _covering(image: Image.Image, shortest: int) -> tuple[int, int]:
    width, height = image.size
    return (shortest, int(shortest * height / width)) if width <= height else (int(shortest * width / height), shortest)


def _centre(image: Image.Image, height: int, width: int) -> Image.Image:
    """The center of an image, padded with black where the image is smaller."""
    left, top = math.floor((image.width - width) / 2), math.floor((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _sides(settings: Mapping[str, Any], key: str, name: str) -> tuple[int, int]:
    value = settings.get(key)
    if isinstance(value, int):
        value = {"height": value, "width": value}
    if not isinstance(value, Mapping) or not {"height", "width"} <= set(value):
        raise InputError(f"{name}: image processor with {key} {shown(value)}; expected a height and a width in pixels")
    return int(value["height"]), int(value["width"])


def _colours(settings: Mapping[str, Any], key: str, name: str) -> list[float]:
    value = settings.get(key)
    values = [value] * 3 if isinstance(value, int | float) else value
    if not isinstance(values, list | tuple) or len(values) != 3:
        raise InputError(f"{name}: image processor with {key} {shown(value)}; expected three numbers")
    return [float(number) for number in values]
