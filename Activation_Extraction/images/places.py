"""Where the bytes of an image are, and how they are read: a file, a part of a file, or bytes; without Pillow."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from Activation_Extraction.base.errors import InputError, Problem

AN_IMAGE = "a JPEG, PNG, WebP, GIF, BMP, TIFF or PPM image"

MAX_BYTES = 2**31
"""Larger files are refused before they are read: no image of a supported size is that large."""


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
        return place
    try:
        mode = os.stat(place.path).st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            raise ImageError(name, "is a folder" if stat.S_ISDIR(mode) else "is a pipe, socket or device", AN_IMAGE)
        with open(place.path, "rb") as file:
            size = os.fstat(file.fileno()).st_size if place.size is None else place.size
            if size > MAX_BYTES:
                raise ImageError(name, f"is a file of {size:,} bytes", f"{AN_IMAGE} of at most {MAX_BYTES:,}")
            file.seek(place.offset or 0)
            data = file.read(-1 if place.size is None else size)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        found = "no such file" if missing else f"cannot be read ({error.strerror or error})"
        raise ImageError(name, found, AN_IMAGE) from error
    except InputError:
        raise
    except ValueError as error:  # a zero byte in the name
        raise ImageError(name, f"is no file name ({error})", AN_IMAGE) from None
    if place.size is not None and len(data) < place.size:
        raise ImageError(name, "the file ends before it does", AN_IMAGE) from EOFError()
    return data
