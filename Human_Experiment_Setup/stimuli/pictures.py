"""Pictures of a study: square, of one size, in sRGB, without metadata.

Shapes: S side, C = 3 channels.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from Activation_Extraction.images.reading import read_image
from Human_Experiment_Setup.stimuli.perturbations import Pixels


def study_picture(data: bytes, name: str, side: int) -> Pixels:
    """The bytes of an image file as S × S × C: upright, in sRGB, center-cropped to a square, resized with LANCZOS.

    A colour profile is applied, as in a browser, since the saved file has none; damaged profiles are ignored.

    Raises:
        ImageError: as `read_image`.
    """
    picture = _in_srgb(read_image(data, name=name), data)
    short = min(picture.size)
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    square = (left, top, left + short, top + short)
    return np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS, box=square))


def saved_picture(path: Path) -> Pixels:
    """The pixels of a saved picture."""
    return np.asarray(read_image(path).convert("RGB"))


def _in_srgb(picture: Image.Image, data: bytes) -> Image.Image:
    with Image.open(BytesIO(data)) as file:
        profile = file.info.get("icc_profile")
    if not profile:
        return picture.convert("RGB")
    try:
        coloured = picture.convert("RGB") if picture.mode in ("1", "P") else picture
        converted = ImageCms.profileToProfile(
            coloured, ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):  # damaged, or of another colour mode
        converted = None
    return picture.convert("RGB") if converted is None else converted
