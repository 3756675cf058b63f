"""A decoding process: asked for images on its standard input, it answers with their pixels, without torch.

A question is a line of JSON, and behind it the image's bytes where it holds their number. The answer is a line of JSON,
and behind it the pixels, H × W × C whole numbers, unless the image is broken. Nothing but these passes, so neither side
can make the other execute anything. The process ends when its input does, however its parent ended.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.images.places import FilePart, ImageError, bytes_of
from Activation_Extraction.images.presets import pixels_of
from Activation_Extraction.images.reading import read_image

GONE = (errno.ENOENT, errno.ENOTDIR)
"""What the system says of a file that is not there, or whose folder is not."""

_OF_STORAGE = (
    "EIO", "ESTALE", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ECONNRESET",
    "ECONNABORTED", "EREMOTEIO", "ENODEV", "ENXIO", "EMFILE", "ENFILE", "ENOMEM",
)  # fmt: skip
STORAGE = frozenset(getattr(errno, name) for name in _OF_STORAGE if hasattr(errno, name))
"""What the system says when the fault is not with one image but with a disk, a network or the machine."""


class Settings(NamedTuple):
    """What a decoding process is told when it starts; without a preset it shows images whole, in RGB."""

    preset: str | None
    height: int
    width: int
    max_pixels: int
    niceness: int


class Answer(NamedTuple):
    """What is said of an image.

    Attributes:
        sha256: of its file; None where that could not be read.
        error: why the image is broken, else "".
        shape: of the pixels that follow; None when none do.
        errno: what the system said when it did not read the file.
        is_cut: whether the file ended before the part of it that was asked for.
    """

    sha256: str | None = None
    error: str = ""
    shape: tuple[int, ...] | None = None
    errno: int | None = None
    is_cut: bool = False


READY = b'{"ready": true}\n'


def main(settings_json: str) -> None:
    """Answer questions until there are no more."""
    settings = Settings(*json.loads(settings_json))
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b") as nothing:
        for stream in (0, 1, 2):  # nothing that a decoder prints gets between the answers
            os.dup2(nothing.fileno(), stream)
    if hasattr(os, "nice"):
        os.nice(settings.niceness)
    answers.write(READY)
    answers.flush()
    while line := questions.readline():
        answer, pixels_HWC = _answer(json.loads(line), questions, settings)
        answers.write(json.dumps(answer._asdict()).encode() + b"\n")
        if pixels_HWC is not None:
            answers.write(np.ascontiguousarray(pixels_HWC).data)
        answers.flush()


def _answer(
    question: dict[str, Any], questions: BinaryIO, settings: Settings
) -> tuple[Answer, NDArray[np.uint8] | None]:
    name, path, size, sha256 = question["name"], question["path"], question["size"], None
    try:
        is_file = path is not None
        place = (
            FilePart(os.fsdecode(path.encode("latin-1")), question["offset"], size) if is_file else questions.read(size)
        )
        data = bytes_of(place, name)
        sha256 = hashlib.sha256(data).hexdigest()
        image = read_image(data, max_pixels=settings.max_pixels, name=name)
        if settings.preset is None:
            pixels_HWC = np.asarray(image.convert("RGB"))
        else:
            pixels_HWC = pixels_of(image, settings.preset, settings.height, settings.width)
    except ImageError as error:
        cause = error.__cause__
        errno = cause.errno if isinstance(cause, OSError) else None
        return Answer(sha256, str(error), errno=errno, is_cut=isinstance(cause, EOFError)), None
    return Answer(sha256, shape=pixels_HWC.shape), pixels_HWC
