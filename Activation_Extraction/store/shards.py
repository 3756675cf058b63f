"""A shard of an activation store, read straight from its file.

The file is one of Zarr's sharding codec (Zarr v3, codec `sharding_indexed`): chunks of all images and a few units each,
one behind the other and uncompressed, then an index with the offset and length of each, and a checksum. Every value lies
at a known place, so what is asked for is read and no more. Zarr itself reads chunk by chunk, and whole ones, which takes
some 25 times as long for a unit, 100 times for rows (`benchmarks/store.py`).

Shapes: R images of a shard, n of what is asked for, U units, C chunks, V units of a chunk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

CHUNK_UNITS, CHUNK_MAPS = 32, 8
"""Most units of a chunk, without and with positions: fewer make units faster to read and rows slower."""

_NUMBER, _CHECKSUM = 4, 4
_WHOLE = 8
"""From this part of a shard's rows on, the whole file is read."""


SHARD_BYTES = 64_000_000
"""A shard of all layers together is at most about so large."""

MOST_ROWS, FEWEST_ROWS = 2048, 16


def default_shard_rows(rows: int, shapes: Iterable[Sequence[int]]) -> int:
    """Images of a shard: a power of two, by the size of a row of all layers, and no more than there are images."""
    row = _NUMBER * sum(int(np.prod(shape)) for shape in shapes)
    fitting = min(MOST_ROWS, max(FEWEST_ROWS, SHARD_BYTES // row))
    power = 1 << (fitting.bit_length() - 1)
    while power // 2 >= max(rows, FEWEST_ROWS):
        power //= 2
    return power


@dataclass(frozen=True)
class Layout:
    """How the shards of a layer are cut.

    Attributes:
        rows: R.
        shape: of the layer behind the images: (U,), (U, y, x) or (U, token).
    """

    rows: int
    shape: tuple[int, ...]

    @property
    def chunks(self) -> int:
        return -(-self.shape[0] // (CHUNK_UNITS if len(self.shape) == 1 else CHUNK_MAPS))

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """(R, V, …positions)."""
        return (self.rows, -(-self.shape[0] // self.chunks), *self.shape[1:])

    @property
    def shard_shape(self) -> tuple[int, ...]:
        """(R, C · V, …positions): that of a chunk, for every chunk."""
        rows, units, *positions = self.chunk_shape
        return (rows, self.chunks * units, *positions)

    @property
    def row_bytes(self) -> int:
        """Bytes of an image in a chunk."""
        return _NUMBER * int(np.prod(self.chunk_shape[1:]))


def read_rows(file: Path, layout: Layout, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
    """Every unit on some images of a shard, counted from its first: (n, U, …positions).

    Raises:
        OSError: cannot be read; ValueError: damaged.
    """
    if len(rows) >= max(2, layout.rows // _WHOLE):
        whole: NDArray[np.float32] = read_shard(file, layout)[np.asarray(rows)]
        return whole
    chunk, row = layout.rows * layout.row_bytes, layout.row_bytes
    places = [c * chunk + int(r) * row for r in rows for c in range(layout.chunks)]
    values = np.empty((len(rows), *layout.shard_shape[1:]), "<f4")
    content = _bytes_of(values)
    with _opened(file, layout) as handle:
        if hasattr(os, "posix_fadvise"):  # a disk fetches many places at once sooner than one after the other
            for place in places:
                os.posix_fadvise(handle.fileno(), place, row, os.POSIX_FADV_WILLNEED)
        for i, place in enumerate(places):
            _read(handle, place, content[i * row : (i + 1) * row])
    return values[:, : layout.shape[0]]


def read_units(file: Path, layout: Layout, units: NDArray[np.int64]) -> NDArray[np.float32]:
    """Some units on every image of a shard: (R, n, …positions).

    Raises:
        OSError: cannot be read; ValueError: damaged.
    """
    values = np.empty((layout.rows, len(units), *layout.shape[1:]), np.float32)
    chunk_RV = np.empty(layout.chunk_shape, "<f4")
    chunk_n, unit_n = np.divmod(units, layout.chunk_shape[1])
    with _opened(file, layout) as handle:
        for chunk in np.unique(chunk_n):
            _read(handle, int(chunk) * chunk_RV.nbytes, _bytes_of(chunk_RV))
            here = chunk_n == chunk
            values[:, here] = chunk_RV[:, unit_n[here]]
    return values


def read_shard(file: Path, layout: Layout) -> NDArray[np.float32]:
    """A whole shard: (R, U, …positions).

    Raises:
        OSError: cannot be read; ValueError: damaged.
    """
    chunk_CRV = np.empty((layout.chunks, *layout.chunk_shape), "<f4")
    with _opened(file, layout) as handle:
        _read(handle, 0, _bytes_of(chunk_CRV))
    return np.moveaxis(chunk_CRV, 0, 1).reshape(layout.shard_shape)[:, : layout.shape[0]]


@contextmanager
def _opened(file: Path, layout: Layout) -> Iterator[FileIO]:
    """The file, once its index says that the chunks lie where they are expected."""
    chunk = layout.rows * layout.row_bytes
    expected = np.array([(c * chunk, chunk) for c in range(layout.chunks)], "<u8").tobytes()
    with open(file, "rb", buffering=0) as handle:
        handle.seek(layout.chunks * chunk)
        if handle.read(len(expected) + _CHECKSUM)[:-_CHECKSUM] != expected:
            raise ValueError(f"{file}: its index is damaged")
        yield handle


def _read(handle: FileIO, place: int, into: memoryview) -> None:
    handle.seek(place)
    while into:
        count = handle.readinto(into)
        if not count:
            raise ValueError(f"{handle.name}: ends early")
        into = into[count:]


def _bytes_of(values: NDArray[Any]) -> memoryview:
    return values.reshape(-1).data.cast("B")
