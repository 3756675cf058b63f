"""Reads a shard of an activation store directly from its file.

The file has the format of Zarr v3's codec `sharding_indexed`: consecutive uncompressed chunks, each with all images and
a few units, then an index with the offset and length of each, and a checksum. Every value is at a known offset, so only
the requested values are read. Zarr itself reads complete chunks, one by one, which takes some 25 times as long for a
unit, 100 times for rows (`benchmarks/store.py`).

Shapes: R images in a shard, n requested images or units, U units, C chunks, V units in a chunk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

CHUNK_UNITS, CHUNK_MAPS = 32, 8
"""Most units in a chunk, without and with positions: with fewer, units are faster to read and rows slower."""

_NUMBER, _CHECKSUM, _INDEX_ENTRY = 4, 4, 16
_READ_ALL = 8
"""If at least one row in so many is requested, the complete file is read."""

SHARD_BYTES = 64_000_000
"""Approximate maximum size of a shard, all layers together."""

MOST_ROWS, FEWEST_ROWS = 2048, 16


def default_shard_rows(rows: int, shapes: Iterable[Sequence[int]]) -> int:
    """Images in a shard: a power of two, by the size of a row of all layers, for `rows` images in all."""
    row = _NUMBER * sum(map(prod, shapes))
    fitting = min(MOST_ROWS, max(FEWEST_ROWS, SHARD_BYTES // row))
    needed = (max(rows, FEWEST_ROWS) - 1).bit_length()
    return 1 << min(fitting.bit_length() - 1, needed)


@dataclass(frozen=True)
class Layout:
    """The dimensions of a layer's shards.

    Attributes:
        rows: R.
        shape: of the layer for one image: (U,), (U, y, x) or (U, token).
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
        """(R, C · V, …positions)."""
        rows, units, *positions = self.chunk_shape
        return (rows, self.chunks * units, *positions)

    @property
    def row_bytes(self) -> int:
        """Bytes of an image in a chunk."""
        return _NUMBER * prod(self.chunk_shape[1:])


def read_rows(file: Path, layout: Layout, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
    """Every unit on some images of a shard, counted from its first: (n, U, …positions).

    Raises:
        OSError: cannot be read; ValueError: damaged.
    """
    if len(rows) >= max(2, layout.rows // _READ_ALL):
        taken: NDArray[np.float32] = read_shard(file, layout)[np.asarray(rows)]
        return taken
    chunk, row = layout.rows * layout.row_bytes, layout.row_bytes
    with _opened(file, layout) as handle:
        values = np.empty((len(rows), *layout.shard_shape[1:]), "<f4")
        content = _bytes_of(values)
        places = [c * chunk + int(r) * row for r in rows for c in range(layout.chunks)]
        if hasattr(os, "posix_fadvise"):  # a disk reads many places faster if it knows them all beforehand
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
    chunk_n, unit_n = np.divmod(units, layout.chunk_shape[1])
    with _opened(file, layout) as handle:
        values = np.empty((layout.rows, len(units), *layout.shape[1:]), np.float32)
        chunk_RV = np.empty(layout.chunk_shape, "<f4")
        for chunk in np.unique(chunk_n):
            _read(handle, int(chunk) * chunk_RV.nbytes, _bytes_of(chunk_RV))
            here = chunk_n == chunk
            values[:, here] = chunk_RV[:, unit_n[here]]
    return values


def read_shard(file: Path, layout: Layout) -> NDArray[np.float32]:
    """A complete shard: (R, U, …positions).

    Raises:
        OSError: cannot be read; ValueError: damaged.
    """
    with _opened(file, layout) as handle:
        chunk_CRV = np.empty((layout.chunks, *layout.chunk_shape), "<f4")
        _read(handle, 0, _bytes_of(chunk_CRV))
    return np.moveaxis(chunk_CRV, 0, 1).reshape(layout.shard_shape)[:, : layout.shape[0]]


@contextmanager
def _opened(file: Path, layout: Layout) -> Iterator[FileIO]:
    """The file, after checking the offsets of chunks in its index."""
    chunk = layout.rows * layout.row_bytes
    size = layout.chunks * (chunk + _INDEX_ENTRY) + _CHECKSUM
    if (found := file.stat().st_size) != size:  # before anything of that size is made
        raise ValueError(f"{file}: {found:,} bytes; expected {size:,}")
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
