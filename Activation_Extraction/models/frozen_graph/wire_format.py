"""The wire format of protocol buffers: the fields of a message, numbers and packed numbers, held against their bounds.

Source: https://protobuf.dev/programming-guides/encoding. Groups, long out of use, are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class MalformedError(Exception):
    """What is wrong with a message, and at which byte of the file."""

    def __init__(self, at: int, what: str) -> None:
        self.at, self.what = at, what


class CutOffError(MalformedError):
    """Bytes are missing at the end of the file, not within a message."""


class Field(NamedTuple):
    """One field. A varint's `value` is its 64 bits, unsigned; all others lie at `start:stop`."""

    begin: int
    number: int
    wire: int
    start: int
    stop: int
    value: int

    def span(self, wire: int = BYTES) -> tuple[int, int]:
        """Where its bytes lie, once it is known to be of the expected kind."""
        if self.wire != wire:
            raise MalformedError(self.begin, f"field {self.number} has wire type {self.wire}; expected {wire}")
        return self.start, self.stop

    def integer(self) -> int:
        """A varint as a signed number of 64 bits."""
        self.span(VARINT)
        return self.value - (1 << 64) if self.value >> 63 else self.value


def fields(data: memoryview, start: int, stop: int) -> Iterator[Field]:
    """The fields of the message at `start:stop`, in the order of the bytes."""
    at = start
    while at < stop:
        begin = at
        key, at = _varint(data, at, stop)
        number, wire, value = key >> 3, key & 7, 0
        if number == 0 or wire not in (VARINT, FIXED64, BYTES, FIXED32):
            raise MalformedError(begin, f"field {number} of wire type {wire}, which there is not")
        if wire == VARINT:
            first = at
            value, at = _varint(data, at, stop)
            yield Field(begin, number, wire, first, at, value)
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(wire, 0)
        if wire == BYTES:
            size, at = _varint(data, at, stop)
        if size > stop - at:
            problem = CutOffError if stop == len(data) and start == 0 else MalformedError
            raise problem(begin, f"begins a field of {size:,} bytes, of which {stop - at:,} are there")
        yield Field(begin, number, wire, at, at + size, value)
        at += size


def _varint(data: memoryview, at: int, stop: int) -> tuple[int, int]:
    value = 0
    for shift, position in enumerate(range(at, min(at + 10, stop))):
        byte = data[position]
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position + 1
    if stop - at < 10:
        raise (CutOffError if stop == len(data) else MalformedError)(at, "begins a number that does not end")
    raise MalformedError(at, "begins a number of more than ten bytes")


def varints(data: memoryview, start: int, stop: int) -> NDArray[np.int64]:
    """Numbers packed one after the other, all at once."""
    bytes_ = np.frombuffer(data[start:stop], np.uint8)
    ends = np.flatnonzero(bytes_ < 0x80)
    if bytes_.size and (not ends.size or ends[-1] != bytes_.size - 1):
        raise MalformedError(start, "packs numbers of which the last does not end")
    starts = np.concatenate([np.zeros(min(1, ends.size), np.int64), ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max(initial=0) > 10:
        raise MalformedError(start, "packs a number of more than ten bytes")
    values = np.zeros(ends.size, np.uint64)
    for k in range(int(lengths.max(initial=0))):
        has = lengths > k
        values[has] |= (bytes_[starts[has] + k] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * k)
    return values.view(np.int64)


def floats(data: memoryview, field: Field, size: int) -> NDArray[Any]:
    """Floats of 4 or 8 bytes, packed together or one in a field of its own."""
    start, stop = field.span() if field.wire == BYTES else field.span(FIXED32 if size == 4 else FIXED64)
    if (stop - start) % size:
        raise MalformedError(field.begin, f"packs {stop - start:,} bytes, which are no floats of {size}")
    return np.frombuffer(data[start:stop], f"<f{size}")
