"""Where the bytes of an image are, and reading them: a file, a part of a file, or the bytes themselves; without Pillow."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from Activation_Extraction.base.errors import InputError, Problem

AN_IMAGE = "a JPEG, PNG, WebP, GIF, BMP, TIFF or PPM image"

MAX_BYTES = 2**31
"""Larger files are refused before they are read: no image that is small enough to be decoded is that large."""


class FilePart(NamedTuple):
    """A file, or `size` bytes of it from `offset` on."""

    path: str
    offset: int | None = None
    size: int | None = None


class ImageError(InputError):
    """An image that cannot be read: `source` names it, `found` says what is wrong, `expected` what would be right."""

    def __init__(self, source: str, found: str, expected: str) -> None:
        self.source, self.found, self.expected = source, found, expected
        super().__init__([Problem(source, found, expected)])

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str, str]]:
        return ImageError, (self.source, self.found, self.expected)  # so that it can pass between processes


def bytes_of(place: FilePart | bytes, name: str) -> bytes:
    """The bytes of an image, from where an image set says that they are.

    Args:
        name: what messages call the image.

    Raises:
        ImageError: a file that is missing, not a regular file, too large or cannot be read, because of an `OSError`; a
            file that ends before the part of it does, because of an `EOFError`.
    """
    if isinstance(place, bytes):
        return place
    try:
        mode = os.stat(place.path).st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            raise ImageError(name, "is a folder" if stat.S_ISDIR(mode) else "is a pipe, socket or device", AN_IMAGE)
        with open(place.path, "rb") as file:
            wanted = os.fstat(file.fileno()).st_size if place.size is None else place.size
            if wanted > MAX_BYTES:
                raise ImageError(name, f"is a file of {wanted:,} bytes", f"{AN_IMAGE} of at most {MAX_BYTES:,}")
            file.seek(place.offset or 0)
            data = file.read(-1 if place.size is None else place.size)
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
