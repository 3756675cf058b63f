"""Reads a TensorFlow GraphDef from its bytes: nodes, inputs, attributes and tensors.

The file is memory-mapped and protobuf parses one node at a time, so the file is never copied. Nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.base.files import open_file
from Activation_Extraction.models.frozen_graph.messages import NODE, misread

MAX_RANK = 32
"""More axes than any operation takes; every NumPy allows as many."""

MAX_ELEMENTS = 1 << 40
"""Largest size of a constant that has one value for all its elements."""

MAX_GROWTH = 256
"""Largest ratio of a constant's elements to the values it lists; the last value is repeated."""

NODE_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
"""TensorFlow's node names; none contains a colon, a caret or a percent sign."""

EXPECTED = "a TensorFlow GraphDef (a frozen .pb file)"

_VARINT, _BYTES = 0, 2
_TOP_LEVEL = {1: _BYTES, 2: _BYTES, 3: _VARINT, 4: _BYTES, 5: _BYTES}
"""The fields of a GraphDef and their wire types; 1 is a node."""


class MalformedError(Exception):
    """What is wrong with a file."""


class CutOffError(MalformedError):
    """Bytes are missing at the end of the file."""


@dataclass(frozen=True, eq=False)
class Node:
    """A node as in the file: `inputs` are names, `name:1` for a second output, `^name` for a control input."""

    name: str
    operation: str
    inputs: tuple[str, ...]
    message: memoryview

    def attributes(self) -> dict[str, Any]:
        """Name → `messages.Value`; parsed at each call, so that the node keeps no tensor in memory."""
        return {attribute.key: attribute.value for attribute in NODE.FromString(self.message).attr}


class Constant(NamedTuple):
    """A constant: a read-only array, with bfloat16 as its bits in uint16 and bool as uint8."""

    dtype: str
    values: NDArray[Any]


def read_graph_def(path: str | os.PathLike[str], *, sha256: str | None = None) -> dict[str, Node]:
    """Read the nodes of a GraphDef file.

    Args:
        path: a binary GraphDef, as `SerializeToString` writes it.
        sha256: the file's SHA-256 in hexadecimal, checked before anything is parsed.

    Returns:
        The nodes by name, in the file's order, without the function library and versions.

    Raises:
        InputError: no such file, wrong hash, truncated or damaged (at which byte), not a GraphDef, a repeated name.
    """
    data = _mapped(Path(path))
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256.lower():
        raise InputError(f"{path}: SHA-256 {found}; expected SHA-256 {sha256.lower()}; nothing of it was parsed")
    return parse_graph_def(data, str(path))


def parse_graph_def(data: bytes | memoryview, source: str) -> dict[str, Node]:
    """As `read_graph_def`, from bytes; `source` names them in messages."""
    view = memoryview(data)
    nodes: dict[str, Node] = {}
    begin = at = 0
    try:
        while at < len(view):
            begin = at
            key, at = _varint(view, at)
            number, wire = key >> 3, key & 7
            if _TOP_LEVEL.get(number) != wire:
                raise MalformedError(f"field {number} of wire type {wire}, which no GraphDef has")
            size, at = _varint(view, at)
            if wire == _VARINT:
                continue
            if size > len(view) - at:
                raise CutOffError(f"begins a field of {size:,} bytes, of which {len(view) - at:,} are there")
            if number == 1:
                node = _node(view[at : at + size])
                if node.name in nodes:
                    raise MalformedError(f"a second node {shown(node.name)}")
                nodes[node.name] = node
            at += size
    except MalformedError as error:
        if isinstance(error, CutOffError):
            what = "cut off" if nodes else "cut off, or not a GraphDef"
        else:
            what = "damaged" if nodes else "not a GraphDef"
        raise InputError(f"{source}: {what}: at byte {begin:,} {error}; expected {EXPECTED}") from None
    if not nodes:
        raise InputError(f"{source}: contains no nodes; expected {EXPECTED}")
    return nodes


def _mapped(path: Path) -> memoryview:
    try:
        with open_file(path) as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise InputError(f"{path}: the file is empty; expected {EXPECTED}")
            # The map lives as long as a node that views it.
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise InputError(f"{path}: {found}; expected {EXPECTED}") from None


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, and the offset of its end."""
    value = 0
    for shift, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, at + shift + 1
    if len(data) - at < 10:
        raise CutOffError("begins a number that does not end")
    raise MalformedError("begins a number of more than ten bytes")


def _node(data: memoryview) -> Node:
    try:
        message = NODE.FromString(data)
    except DecodeError:
        raise MalformedError("a node that cannot be parsed") from None
    if not NODE_NAME.fullmatch(message.name):
        raise MalformedError(f"a node named {shown(message.name)}, which TensorFlow does not allow")
    try:
        if found := misread(message):
            raise MalformedError(f"a field {found}")
        for attribute in message.attr:
            if attribute.value.HasField("tensor"):
                constant(attribute.value.tensor)
    except MalformedError as error:
        raise MalformedError(f"node {shown(message.name, 120)}: {error}") from None
    return Node(message.name, message.op, tuple(message.input), data)


# Types and tensors --------------------------------------------------------------------------------------------------

_TYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 9: "int64", 10: "bool",
    14: "bfloat16", 17: "uint16", 19: "float16", 22: "uint32", 23: "uint64",
}  # fmt: skip
_IN_MEMORY = {
    name: np.dtype({"bfloat16": "uint16", "bool": "uint8"}.get(name, name)).newbyteorder("<")
    for name in _TYPES.values()
}
_LISTED = {
    "float32": "float_val", "float64": "double_val", "int64": "int64_val", "bool": "bool_val", "float16": "half_val",
    "bfloat16": "half_val", "uint32": "uint32_val", "uint64": "uint64_val",
}  # fmt: skip
"""The field that lists the values of a type; `int_val` for all shorter integers."""


def type_name(number: int) -> str:
    """A TensorFlow type by NumPy's name (`float32`, `bfloat16`), or `DT_<number>` for one without numbers."""
    # TensorFlow adds 100 for a reference to a variable.
    number = number - 100 if 100 < number < 200 else number
    return _TYPES.get(number, f"DT_{number}")


def lengths(shape: Any) -> tuple[int | None, ...] | None:
    """Axis lengths of a `messages.Shape` (None: unknown), or None for a shape of unknown rank."""
    return None if shape.unknown_rank else tuple(dim.size if dim.size >= 0 else None for dim in shape.dim)


def constant(tensor: Any) -> Constant | None:
    """The value of a `messages.Tensor`; None for strings and other non-numbers.

    One value listed for many elements takes the memory of one, with strides of zero.

    Raises:
        MalformedError: unknown shape, or values that do not fit it.
    """
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0 or len(shape) > MAX_RANK:
        raise MalformedError("a tensor whose shape is not known")
    dtype, count = type_name(tensor.dtype), math.prod(shape)
    if (kind := _IN_MEMORY.get(dtype)) is None:
        return None
    if content := tensor.tensor_content:
        if len(content) != count * kind.itemsize:
            raise MalformedError(f"a tensor with {len(content):,} bytes of content for {count:,} elements of {dtype}")
        return Constant(dtype, np.frombuffer(content, kind).reshape(shape))
    return Constant(dtype, _filled(getattr(tensor, _LISTED.get(dtype, "int_val")), kind, shape))


def _filled(numbers: Any, kind: np.dtype[Any], shape: list[int]) -> NDArray[Any]:
    """The values of a tensor that lists them: the last one (zero if there is none) is repeated to the end."""
    size, count = len(numbers), math.prod(shape)
    if size > count:
        raise MalformedError(f"a tensor with {size:,} values for {count:,} elements")
    # One value for all elements costs no memory; several values with the last repeated do.
    limit = MAX_ELEMENTS if size <= 1 else MAX_GROWTH * (size + 16)
    if math.prod(max(length, 1) for length in shape) > limit and size < max(count, 1):
        raise MalformedError(f"a tensor of {count:,} elements that lists {size:,}")
    if kind == np.float16:  # halves are listed by their bits
        listed = np.fromiter(numbers or [0], np.int64, size or 1).astype(np.uint16).view(kind)
    else:
        wide = kind if kind.itemsize == 8 or kind.kind == "f" else np.int64
        listed = np.fromiter(numbers or [0], wide, size or 1).astype(kind)
    if size <= 1:
        return np.broadcast_to(listed.reshape((1,) * len(shape)), shape)
    values = np.concatenate([listed, np.repeat(listed[-1:], count - size)]).reshape(shape)
    values.flags.writeable = False
    return values
