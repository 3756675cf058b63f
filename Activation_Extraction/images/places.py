"""Where the bytes of an image are, and how they are read: a file, a part of a file, or bytes; without Pillow."""

from __future__ import annotations

import os
from typing import NamedTuple

from Activation_Extraction.base.errors import InputError, Problem
from Activation_Extraction.base.files import NotAFileError, open_file

AN_IMAGE = "a JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, JPEG 2000 or AVIF image"

MAX_BYTES = 2**29
"""Larger files are refused before they are read: 100 million pixels of 4 bytes are smaller, and not compressed."""
HUGGING_FACE = "hf:"
"""Before the name of a dataset, where others have a path."""


class FilePart(NamedTuple):
    """A file, or `size` bytes of it from `offset` on."""

    path: str
    offset: int | None = None
    size: int | None = None


class ImageError(InputError):
    """An image that cannot be read: `source` is its name, `found` what is wrong with it."""

    def __init__(self, source: str, found: str, expected: str) -> None:
        self.source, self.found, self.expected = source, found, expected
        super().__init__([Problem(source, found, expected)])

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str, str]]:
        return ImageError, (self.source, self.found, self.expected)  # for passing between processes


def bytes_of(place: FilePart | bytes, name: str) -> bytes:
    """The bytes of an image, from the place that an image set gives.

    Args:
        name: the image's name in messages.

    Raises:
        ImageError: the file is missing, not a regular file, too large or unreadable (with an `OSError` as its cause), or
            ends before the part of it does (with an `EOFError` as its cause).
    """
    if isinstance(place, bytes):
        _check_size(len(place), name)
        return place
    try:
        with open_file(place.path) as file:
            size = os.fstat(file.fileno()).st_size if place.size is None else place.size
            _check_size(size, name)
            file.seek(place.offset or 0)
            data = file.read(size)
    except NotAFileError as error:
        raise ImageError(name, str(error.strerror), AN_IMAGE) from None
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        found = "no such file" if missing else f"cannot be read ({error.strerror or error})"
        raise ImageError(name, found, AN_IMAGE) from error
    if place.size is not None and len(data) < place.size:
        raise ImageError(name, "the file ends before it does", AN_IMAGE) from EOFError()
    return data


def _check_size(size: int, name: str) -> None:
    if size > MAX_BYTES:
        raise ImageError(name, f"is a file of {size:,} bytes", f"{AN_IMAGE} of at most {MAX_BYTES:,}")
