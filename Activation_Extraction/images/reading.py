"""Reading one image safely, as a browser shows it: from a file, bytes, a PIL image or an array.

Networks and people get the same picture: upright (EXIF orientation), transparency over white, the first frame of an
animation. An image that cannot be read completely is an `ImageError`; nothing is guessed or half-read.
"""

from __future__ import annotations

import math
import os
import re
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from io import BytesIO
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin  # noqa: F401 (it registers)

from Activation_Extraction.base.extras import install_command
from Activation_Extraction.base.text import printable
from Activation_Extraction.images.formats import AVIF, HEIF, JPEG_2000, is_installed
from Activation_Extraction.images.places import AN_IMAGE, FilePart, ImageError, bytes_of

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", *filter(is_installed, (JPEG_2000, AVIF, HEIF)))
"""Only Pillow's decoders of these formats are used; others can start programs (EPS starts Ghostscript)."""

MAX_PIXELS = 100_000_000
"""Larger images are refused before decoding, by their header: a decoded pixel takes up to 4 bytes."""

if HEIF in FORMATS:
    import_module("pillow_heif").register_heif_opener()

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]"


def read_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS, name: str | None = None) -> Image.Image:
    """Read one image as a browser shows it.

    Args:
        source: a file, the bytes of a file, a PIL image, or an array: height × width, or height × width × 1, 3 or 4
            channels (the fourth is alpha), uint8 or floats from 0 to 1.
        max_pixels: larger images are refused.
        name: the image's name in messages (None: its path, or its kind).

    Returns:
        A PIL image to be converted with `convert("RGB")`. It keeps the file's mode where that loses nothing (1, L, P,
        RGB, CMYK, YCbCr), so that a preset can scale before it converts, as OpenAI's does.

        - transparent parts are blended over white;
        - 16-bit grey (also 12-bit and integer TIFF) is scaled by 255 / 65535 (4095 for 12 bits), not clipped;
        - float grey must be in 0 to 1, integers in 0 to 65535: the scale of other ranges is unknown;
        - animations and multi-page files give their first picture;
        - EXIF orientation is applied; colour profiles are not (CLIP was trained without).

        `image.info["notes"]` lists which of these were applied.

    Raises:
        ImageError: the image is missing, cut off, damaged or too large, or it is no regular file or no image.
    """
    name = name_of(source) if name is None else name
    if isinstance(source, np.ndarray):
        return _as_shown(_from_array(source, name, max_pixels), name)
    if isinstance(source, Image.Image):
        return _decoded(lambda: source, name, max_pixels)
    if isinstance(source, bytes | str | os.PathLike):
        place = source if isinstance(source, bytes) else FilePart(os.fsdecode(source))
        return _from_bytes(bytes_of(place, name), name, max_pixels)
    raise ImageError(name, "is not an image", "a path, the bytes of an image file, a PIL image or an array")


def has_more_pictures(image: Image.Image) -> bool:
    """Whether the file that `read_image` gave this picture of has more: frames of an animation, pages."""
    return any(note.endswith(_OF_SEVERAL) for note in image.info["notes"])


def holds_several(data: bytes) -> bool:
    """Whether a file has several pictures: frames of an animation, pages. Nothing is decoded; False where it is no image."""
    with _strict_pillow():
        try:
            return _has_more(Image.open(BytesIO(data), formats=FORMATS))
        except Exception:  # as in `_decoded`; who reads the image says what is wrong with it
            return False


def png_bytes(pixels_HWC: NDArray[np.uint8]) -> bytes:
    """A PNG file without metadata: the same pixels give the same bytes."""
    data = BytesIO()
    Image.fromarray(pixels_HWC).save(data, "PNG")
    return data.getvalue()


def name_of(source: object, position: int | None = None) -> str:
    """A source's name in messages: one printable line, whatever characters a file name has."""
    if isinstance(source, str | os.PathLike):
        return printable(os.fsdecode(source)) or "''"
    place = "" if position is None else f"image {position}, "
    return f"{place}{type(source).__name__}"


_OF_SEVERAL = "of several"
COMPLETE = f"a complete file: {AN_IMAGE}"
AN_ARRAY = "height × width × 3 (or × 1, × 4, or no third axis), uint8 or floats from 0 to 1"

OTHER_FILES = (
    (b"<svg", "an SVG drawing, which is not supported (draw it to PNG first)"),
    (b"<html", "a web page"),
    (b"<!doctype html", "a web page"),
    (b"ftyphei", f"a HEIC photo, which needs {install_command('heif')}"),
    (b"ftypmif1", f"a HEIC photo, which needs {install_command('heif')}"),
    (b"ftypavif", "an AVIF image, which needs Pillow 11.3 with AVIF"),
    (b"jp  \r\n\x87\n", "a JPEG 2000 image, which needs Pillow with OpenJPEG"),
    (b"%pdf", "a PDF document"),
    (b"%!ps", "a PostScript drawing, which is not supported"),
)

BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6")


def _from_bytes(data: bytes, name: str, max_pixels: int) -> Image.Image:
    if not data:
        raise ImageError(name, "is empty (0 bytes)", AN_IMAGE)
    try:
        picture = _decoded(lambda: Image.open(BytesIO(data), formats=FORMATS), name, max_pixels)
    except UnidentifiedImageError:
        raise ImageError(name, _kind(data[:1024]), AN_IMAGE) from None
    for beginning, is_complete in ((b"\xff\xd8", _jpeg_is_complete), (b"\x89PNG", _png_is_complete)):
        if data.startswith(beginning) and not is_complete(data):
            raise ImageError(name, "cut off or damaged (its end is missing)", COMPLETE)
    return picture


JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


def _jpeg_is_complete(data: bytes) -> bool:
    """Whether the end marker follows the scans; interrupted downloads may be padded with zeros, and still decode."""
    place = 2
    while marker := JPEG_MARKER.search(data, place):
        if marker.group() == b"\xff\xd9":
            return True
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return False


def _png_is_complete(data: bytes) -> bool:
    """Whether the checksum of every chunk is right; Pillow does not check those of the pixels."""
    place = len(b"\x89PNG\r\n\x1a\n")
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        if data[place + 4 : place + 8] == b"IEND":
            return True
        place = end + 4
    return False


def _kind(head: bytes) -> str:
    """What a file that no decoder accepts is."""
    if head.startswith(BEGINNINGS):
        return "begins as an image but is cut off or damaged"
    for mark, kind in OTHER_FILES:
        if mark in head.lower():
            return f"is {kind}"
    text = not set(head) - set(range(32, 256)) - set(b"\t\n\r\f")
    return "is text, not an image" if text else "is no image of a known format"


_alone = threading.Lock()


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Set Pillow's global switches for reading, then restore them; one reader at a time.

    Cut-off images are always errors, sizes are checked here, and Pillow's warnings about metadata (malformed EXIF, odd
    TIFF tags) concern no pixel.
    """
    with _alone, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, None
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before


def _decoded(opened: Callable[[], Image.Image], name: str, max_pixels: int) -> Image.Image:
    with _strict_pillow():
        try:
            image = opened()
            _check_size(image.size, name, max_pixels)
            image.load()
            picture = _as_shown(image, name)
            if _has_more(image):
                picture.info["notes"] += (f"picture {image.tell() + 1} {_OF_SEVERAL}",)
            return picture
        except (ImageError, UnidentifiedImageError):
            raise
        except Exception as error:  # a damaged file can break a decoder anywhere, in any way
            raise ImageError(name, f"cut off or damaged ({str(error) or type(error).__name__})", COMPLETE) from None


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    if min(size) < 1:
        raise ImageError(name, f"{size[0]} × {size[1]} pixels", "at least one pixel")
    if math.prod(size) > max_pixels:
        raise ImageError(name, f"{size[0]} × {size[1]} pixels", f"at most {max_pixels:,} pixels in all (max_pixels)")


def _from_array(array: NDArray[Any], name: str, max_pixels: int) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(name, f"shape {array.shape}", AN_ARRAY)
    _check_size((array.shape[1], array.shape[0]), name, max_pixels)
    if array.dtype != np.uint8:
        if not np.issubdtype(array.dtype, np.floating):
            raise ImageError(name, f"numbers of type {array.dtype}", AN_ARRAY)
        array = _scaled(array, 1, name)
    return Image.fromarray(np.ascontiguousarray(array))


def _has_more(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # the second picture is damaged; the first is fine
        return True


# As a browser shows it ----------------------------------------------------------------------------------------------

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""EXIF orientation → the transformation that sets the picture upright (EXIF 2.3, tag 0x0112)."""

RIGHT_TO_CONVERT = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")


def _as_shown(image: Image.Image, name: str) -> Image.Image:
    notes: tuple[str, ...] = ()
    picture = image
    if image.mode.startswith("I") or image.mode == "F":
        picture = _eight_bits(image, name)
        notes += (f"{image.mode} scaled to 8 bits",)
    if picture.has_transparency_data:
        picture = _over_white(picture)
        notes += ("alpha blended over white",)
    if picture.mode not in RIGHT_TO_CONVERT:
        raise ImageError(name, f"colours in {picture.mode}", "grey, palette, RGB, CMYK or YCbCr colours")
    if (turn := TURNS.get(_orientation(image))) is not None:
        picture = picture.transpose(turn)
        notes += ("turned upright",)
    picture = picture.copy() if picture is image else picture
    picture.info = {"notes": notes}
    return picture


def _orientation(image: Image.Image) -> Any:
    try:
        return image.getexif().get(0x0112)
    except Exception:  # viewers do not turn a picture with damaged EXIF
        return None


def _over_white(image: Image.Image) -> Image.Image:
    # Converting a premultiplied mode to RGBA in one step, Pillow would drop the alpha.
    straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)
    rgba = (image.convert(straight) if straight else image).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    values_HW = np.asarray(image)
    largest = 1 if image.mode == "F" else 4095 if tags.get(TiffImagePlugin.BITSPERSAMPLE) == (12,) else 65535
    grey_HW = _scaled(values_HW, largest, name)
    if image.mode.startswith("I;16") and tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
        grey_HW = 255 - grey_HW  # white is zero; Pillow inverts that for 8 bits only
    grey = Image.fromarray(grey_HW)
    if not isinstance(transparent := image.info.get("transparency"), int):
        return grey
    return Image.merge("LA", (grey, Image.fromarray(np.where(values_HW == transparent, 0, 255).astype(np.uint8))))


def _scaled(values: NDArray[Any], largest: int, name: str) -> NDArray[np.uint8]:
    """Numbers from 0 to `largest` as 8-bit integers, to the nearest."""
    lowest, highest = values.min(), values.max()
    if not (lowest >= 0 and highest <= largest):
        raise ImageError(name, f"values from {lowest} to {highest}", f"values from 0 to {largest}")
    if np.issubdtype(values.dtype, np.integer):
        level_of: NDArray[np.uint8] = np.rint(np.arange(largest + 1) * (255 / largest)).astype(np.uint8)
        return np.take(level_of, values)
    levels = np.multiply(values, 255, dtype=np.promote_types(values.dtype, np.float32))
    return np.asarray(np.rint(levels, out=levels), dtype=np.uint8)
