"""The pictures that units are shown with: found by name and hash, decoded once into small tiles, joined into sprites.

Tiles are center crops, T × T × 3 bytes, in files of `AT_ONCE`; sprites read the few that they need.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from Activation_Extraction.base.files import open_file
from Activation_Extraction.base.progress import Advance
from Activation_Extraction.images.places import ImageError
from Activation_Extraction.images.presets import pixels_of
from Activation_Extraction.images.reading import read_image
from Activation_Extraction.images.sets import ImageSet

AT_ONCE = 512
"""Pictures of a part of the job, and of a file of tiles."""
COLUMNS = 10
"""Of a sprite."""
_BATCH = 64
_PRESET = "clip"
QUALITY, EFFORT = 80, 2
"""Of WebP: sprites of 54 tiles of 96 px have 50 to 150 kB; more effort takes twice the time for 4% of the bytes."""


@dataclass(frozen=True)
class Wanted:
    """A picture, by its name in the store's image table and the SHA-256 of its file."""

    name: str
    sha256: str


# Decoding -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TilesJob:
    """The job whose parts are ranges of the pictures that are wanted; a part's result is its tiles, and which were found."""

    images: ImageSet
    wanted: Sequence[Wanted]
    candidates: Sequence[Sequence[int]]
    """Of each picture: rows of the image set that have its name, the likeliest first."""
    tile: int
    processes: int | None = None
    """That decode; None takes one a processor."""

    def compute(self, parts: Iterator[range], advance: Advance) -> Generator[tuple[range, tuple[bytes, list[bool]]]]:
        """Decode pictures in the processes of `decoding`, which a damaged file cannot harm."""
        from Activation_Extraction.clip_helpers import ImageInput  # late: these load torch, which sprites do without
        from Activation_Extraction.decoding.decoders import Decoders

        spans = list(parts)
        there = [i for i in chain.from_iterable(spans) if self.candidates[i]]
        place = {i: at for at, i in enumerate(there)}
        batches = [range(at, min(at + _BATCH, len(there))) for at in range(0, len(there), _BATCH)]
        if not there:
            yield from ((span, self._of(span, {}, advance)) for span in spans)
            return
        chosen = self.images.chosen([self.candidates[i][0] for i in there])
        workers = 1 if len(there) <= _BATCH else self.processes
        with Decoders(chosen, ImageInput(self.tile), _PRESET, batch_size=_BATCH, workers=workers) as decoders:
            decoded = decoders.batches(batches)
            ahead: dict[int, NDArray[np.uint8]] = {}
            through = 0
            for span in spans:
                last = max((place[i] for i in span if i in place), default=-1)
                while through <= last:
                    batch = next(decoded)
                    for at, row in enumerate(batch.rows):
                        i = there[row]
                        if not batch.errors[at] and batch.sha256[at] == self.wanted[i].sha256:
                            ahead[i] = batch.pixels_NHWC[at]
                    through = batch.rows.stop
                yield span, self._of(span, ahead, advance)

    def _of(self, span: range, decoded: dict[int, NDArray[np.uint8]], advance: Advance) -> tuple[bytes, list[bool]]:
        tiles = np.zeros((len(span), self.tile, self.tile, 3), np.uint8)
        found = []
        for at, i in enumerate(span):
            pixels = decoded.pop(i, None)
            pixels = self._another(i) if pixels is None else pixels
            found.append(pixels is not None)
            if pixels is not None:
                tiles[at] = pixels
        advance(len(span))
        return tiles.tobytes(), found

    def _another(self, i: int) -> NDArray[np.uint8] | None:
        """The picture from another row of its name."""
        for row in self.candidates[i][1:]:
            try:
                data = self.images.read(row)
                if hashlib.sha256(data).hexdigest() == self.wanted[i].sha256:
                    return pixels_of(read_image(data), _PRESET, self.tile, self.tile)
            except ImageError:
                continue
        return None


def candidates_of(images: ImageSet, wanted: Sequence[Wanted]) -> list[list[int]]:
    """For each picture, the rows of an image set with its name, those that share most folders with it first."""
    rows: dict[str, list[int]] = {}
    names = images.table["image"].to_pylist()
    for row, name in enumerate(names):
        rows.setdefault(_parts(name)[-1], []).append(row)
    return [
        sorted(rows.get(_parts(one.name)[-1], []), key=lambda row, one=one: -_shared(names[row], one.name))  # type: ignore[misc]
        for one in wanted
    ]


def _parts(name: str) -> list[str]:
    return name.replace("\\", "/").split("/")


def _shared(one: str, other: str) -> int:
    """Parts at the end that two paths share."""
    pairs = list(zip(reversed(_parts(one)), reversed(_parts(other))))
    return next((at for at, (a, b) in enumerate(pairs) if a != b), len(pairs))


# Sprites --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tiles:
    """Files of tiles: tile i is in file i div `AT_ONCE`."""

    files: Sequence[Path]
    tile: int

    def read(self, places: Sequence[int]) -> NDArray[np.uint8]:
        """Some tiles, `(n, T, T, 3)`; a tile at a time, so that files larger than memory do not fill it."""
        size = self.tile * self.tile * 3
        tiles = np.empty((len(places), self.tile, self.tile, 3), np.uint8)
        for at, place in enumerate(places):
            file = self.files[place // AT_ONCE]
            with open_file(file, file.parent) as opened:
                data = os.pread(opened.fileno(), size, place % AT_ONCE * size)
            tiles[at] = np.frombuffer(data, np.uint8).reshape(tiles.shape[1:])
        return tiles


class Sprites(NamedTuple):
    """Of a unit, in WebP: its first tiles, the others, and its first tile alone."""

    sprite: bytes
    rest: bytes | None
    thumb: bytes


@dataclass(frozen=True)
class SpriteMaker:
    """Sprites of a block of units, in WebP; can be pickled."""

    tiles: Tiles
    first: int
    """Tiles of a unit's first sprite, at most."""

    def __call__(self, block: Sequence[Sequence[int]]) -> list[Sprites | None]:
        """The sprites of each unit; None without a tile.

        Args:
            block: of each unit, the places of its tiles.
        """
        return [self._of(places) if places else None for places in block]

    def _of(self, places: Sequence[int]) -> Sprites:
        tiles = self.tiles.read(places)
        rest = tiles[self.first :]
        return Sprites(webp(sprite(tiles[: self.first])), webp(sprite(rest)) if len(rest) else None, webp(tiles[0]))


def sprite(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Tiles `(n, T, T, 3)` side by side: tile t is at column t mod `COLUMNS`, row t div `COLUMNS`."""
    n, side = len(tiles), tiles.shape[1]
    columns, rows = min(n, COLUMNS), -(-n // COLUMNS)
    grid = np.full((rows * columns, side, side, 3), 255, np.uint8)
    grid[:n] = tiles
    return grid.reshape(rows, columns, side, side, 3).swapaxes(1, 2).reshape(rows * side, columns * side, 3)


def webp(pixels: NDArray[np.uint8] | Image.Image) -> bytes:
    """A picture in WebP, without metadata."""
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.ascontiguousarray(pixels))
    content = BytesIO()
    picture.save(content, "WEBP", quality=QUALITY, method=EFFORT)
    return content.getvalue()


def ordered(wanted: Mapping[str, str], images: ImageSet | None) -> tuple[list[Wanted], list[list[int]]]:
    """Pictures in the order in which an image set is best read, those that it does not name last; and their candidates.

    Args:
        wanted: SHA-256 → name.
    """
    found = [Wanted(name, sha256) for sha256, name in sorted(wanted.items())]
    if images is None:
        return found, [[] for _ in found]
    candidates = candidates_of(images, found)
    order = sorted(range(len(found)), key=lambda i: (candidates[i][0] if candidates[i] else len(images), i))
    return [found[i] for i in order], [candidates[i] for i in order]
