"""Where the bytes of an image are, and reading them: a file, a part of a file, or the bytes themselves; without Pillow."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO, NamedTuple

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
        with open_regular(place.path, name) as file:
            wanted = os.fstat(file.fileno()).st_size if place.size is None else place.size
            if wanted > MAX_BYTES:
                raise ImageError(name, f"is a file of {wanted:,} bytes", f"{AN_IMAGE} of at most {MAX_BYTES:,}")
            file.seek(place.offset or 0)
            data = file.read(-1 if place.size is None else place.size)
    except OSError as error:
        raise unreadable(name, error) from error
    if place.size is not None and len(data) < place.size:
        raise ImageError(name, "the file ends before it does", AN_IMAGE) from EOFError()
    return data


def open_regular(path: str | os.PathLike[str], name: str) -> BinaryIO:
    """Open a file of bytes, but nothing that could make the reader wait.

    Raises:
        OSError: what the system says.
        ImageError: no regular file, or no name of one.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):  # opening a pipe would wait for ever
            return open(path, "rb")
        found = "is a folder" if stat.S_ISDIR(mode) else "is a pipe, socket or device"
    except ValueError as error:  # a zero byte in the name
        found = f"is no file name ({error})"
    raise ImageError(name, found, AN_IMAGE)


def unreadable(name: str, error: OSError) -> ImageError:
    """What to say of an image whose file the system does not open or read."""
    missing = isinstance(error, FileNotFoundError)
    return ImageError(name, "no such file" if missing else f"cannot be read ({error.strerror or error})", AN_IMAGE)
