"""The decoding process: reads requests for images on standard input and answers with their pixels, without torch.

A request is a line of JSON, followed by the image's bytes if it has no path. The answer is a line of JSON, followed by
the pixels, H × W × C 8-bit integers, unless the image is broken. Nothing in them is executed. The process ends with its
input, however its parent ended.
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
from Activation_Extraction.images.reading import has_more_pictures, read_image

FILE_MISSING = (errno.ENOENT, errno.ENOTDIR)
"""Error numbers of a missing file or folder."""

_STORAGE = (
    "EIO", "ESTALE", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ECONNRESET",
    "ECONNABORTED", "EREMOTEIO", "ENODEV", "ENXIO", "EMFILE", "ENFILE", "ENOMEM",
)  # fmt: skip
STORAGE_FAILS = frozenset(getattr(errno, name) for name in _STORAGE if hasattr(errno, name))
"""Error numbers of a failing disk, network or machine, as opposed to a broken image."""


class Settings(NamedTuple):
    """Settings of a decoding process; without a preset, images are converted to RGB only."""

    preset: str | None
    height: int
    width: int
    max_pixels: int
    niceness: int


class Answer(NamedTuple):
    """The answer to a request.

    Attributes:
        sha256: of the image's file; None if it could not be read.
        error: why the image is broken, else "".
        shape: of the pixels that follow; None if none do.
        errno: the system's error number for the file.
        is_cut: whether the file ends before the requested part of it does.
        several: whether the file has more pictures than the one that is read.
    """

    sha256: str | None = None
    error: str = ""
    shape: tuple[int, ...] | None = None
    errno: int | None = None
    is_cut: bool = False
    several: bool = False


READY = b'{"ready": true}\n'


def main(settings_json: str) -> None:
    """Answer requests until the input ends."""
    settings = Settings(*json.loads(settings_json))
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b") as nothing:
        for stream in (0, 1, 2):  # so that decoders cannot print between the answers
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
    name, path, offset, size = (question[key] for key in ("name", "path", "offset", "size"))
    sha256 = None
    try:
        if path is None:
            data = questions.read(size)
        else:
            data = bytes_of(FilePart(os.fsdecode(path.encode("latin-1")), offset, size), name)
        sha256 = hashlib.sha256(data).hexdigest()
        image = read_image(data, max_pixels=settings.max_pixels, name=name)
        if settings.preset is None:
            pixels_HWC = np.asarray(image.convert("RGB"))
        else:
            pixels_HWC = pixels_of(image, settings.preset, settings.height, settings.width)
    except ImageError as error:
        cause = error.__cause__
        number = cause.errno if isinstance(cause, OSError) else None
        return Answer(sha256, str(error), errno=number, is_cut=isinstance(cause, EOFError)), None
    return Answer(sha256, shape=pixels_HWC.shape, several=has_more_pictures(image)), pixels_HWC
