"""Reads a TensorFlow GraphDef from its bytes: nodes, inputs, attributes and tensors.

The file is mapped into memory and its protocol-buffer wire format walked over once; large tensors stay views
of the file. Nothing in a file is executed, and every length is held against the bytes that are there.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.errors import InputError, Problem, shown
from Activation_Extraction.models.frozen_graph.wire_format import (
    BYTES,
    FIXED32,
    CutOffError,
    Field,
    MalformedError,
    fields,
    floats,
    varints,
)

MAX_RANK = 32
"""More axes than any operation takes, and as many as every NumPy allows."""

MAX_ELEMENTS = 1 << 40
"""Of a constant that has one value for all its elements."""

MAX_GROWTH = 256
"""How many times the values it lists a constant may hold, the last of them repeated."""

NODE_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
"""The names that TensorFlow gives nodes. None holds a colon, a caret or a per cent sign."""

EXPECTED = "a TensorFlow GraphDef (a frozen .pb file)"


@dataclass(frozen=True)
class DataType:
    """A TensorFlow type by NumPy's name (`float32`, `bfloat16`), or `DT_<number>` for one without numbers."""

    name: str


@dataclass(frozen=True)
class Shape:
    """A shape; an axis of unknown length is `None`, and `lengths` is `None` where not even the rank is known."""

    lengths: tuple[int | None, ...] | None


@dataclass(frozen=True, eq=False)
class Tensor:
    """A constant. `values` is read-only, `None` for strings and other non-numbers.

    bfloat16 stands as its bits in uint16, and bool as uint8.

    A value that stands once for many elements is one element in memory, with strides of zero.
    """

    dtype: DataType
    shape: tuple[int, ...]
    values: NDArray[Any] | None


@dataclass(frozen=True)
class Unread:
    """An attribute that only names something (a function, a placeholder); nothing here follows it."""

    kind: str


Attribute = bytes | int | float | bool | DataType | Shape | Tensor | Unread | list[Any]


@dataclass(frozen=True, eq=False)
class Node:
    """A node as it stands: `inputs` are names, `name:1` for a second output, `^name` for mere order."""

    name: str
    operation: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


def read_graph_def(path: str | os.PathLike[str], *, sha256: str | None = None) -> dict[str, Node]:
    """Read the nodes of a GraphDef file.

    Args:
        path: a binary GraphDef, as `SerializeToString` writes it.
        sha256: the file's SHA-256 in hexadecimal, checked before anything is parsed.

    Returns:
        The nodes by name, in the file's order. The function library and versions are passed over.

    Raises:
        InputError: no such file, wrong hash, cut off or damaged (at which byte), not a GraphDef, a name twice.
    """
    data = _mapped(Path(path))
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256.lower():
        raise InputError([Problem(str(path), f"SHA-256 {found}", f"SHA-256 {sha256.lower()}; nothing of it was read")])
    return parse_graph_def(data, str(path))


def parse_graph_def(data: bytes | memoryview, source: str) -> dict[str, Node]:
    """As `read_graph_def`, from bytes; `source` names them in messages."""
    view = memoryview(data)
    nodes: dict[str, Node] = {}
    try:
        for field in fields(view, 0, len(view)):
            if field.number == 1:
                node = _node(view, *field.span())
                if node.name in nodes:
                    raise MalformedError(field.begin, f"a second node {shown(node.name)}")
                nodes[node.name] = node
            elif field.number > 5:
                raise MalformedError(field.begin, f"field {field.number}, which no GraphDef has")
            elif field.number != 3:
                field.span()
    except CutOffError as error:
        what = "cut off" if nodes else "cut off, or of another kind"
        raise InputError([Problem(source, f"{what}: at byte {error.at:,} {error.what}", EXPECTED)]) from None
    except MalformedError as error:
        what = "damaged" if nodes else "not a GraphDef"
        raise InputError([Problem(source, f"{what}: at byte {error.at:,} {error.what}", EXPECTED)]) from None
    if not nodes:
        raise InputError([Problem(source, "no node in it", EXPECTED)])
    return nodes


def _mapped(path: Path) -> memoryview:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise InputError([Problem(str(path), "the file is empty", EXPECTED)])
            # The map lives as long as a tensor that views it.
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        raise InputError([Problem(str(path), "no such file", EXPECTED)]) from None
    except OSError as error:
        raise InputError([Problem(str(path), f"cannot be read ({error.strerror})", EXPECTED)]) from None


# The messages, by the field numbers of TensorFlow's .proto files.


def _text(data: memoryview, field: Field, what: str) -> str:
    start, stop = field.span()
    try:
        return bytes(data[start:stop]).decode()
    except UnicodeDecodeError:
        raise MalformedError(field.begin, f"{what} that is not UTF-8") from None


def _node(data: memoryview, start: int, stop: int) -> Node:
    name, operation = "", ""
    inputs: list[str] = []
    attributes: dict[str, Attribute] = {}
    for field in fields(data, start, stop):
        if field.number == 1:
            name = _text(data, field, "a node's name")
        elif field.number == 2:
            operation = _text(data, field, "an operation")
        elif field.number == 3:
            inputs.append(_text(data, field, "an input"))
        elif field.number == 5:
            key, value = _attribute_entry(data, field)
            attributes[key] = value
    if not NODE_NAME.fullmatch(name):
        raise MalformedError(start, f"a node named {shown(name)}, which TensorFlow does not allow")
    return Node(name, operation, tuple(inputs), attributes)


def _attribute_entry(data: memoryview, entry: Field) -> tuple[str, Attribute]:
    key, value = "", None
    for field in fields(data, *entry.span()):
        if field.number == 1:
            key = _text(data, field, "an attribute's name")
        elif field.number == 2:
            value = _attribute(data, *field.span())
    return key, Unread("nothing") if value is None else value


def _attribute(data: memoryview, start: int, stop: int) -> Attribute | None:
    value: Attribute | None = None
    for field in fields(data, start, stop):
        if field.number == 1:
            value = _list(data, *field.span())
        elif 2 <= field.number <= 8:
            value = _scalar(data, field)
        else:
            value = Unread("a placeholder" if field.number == 9 else "a function")
    return value


def _scalar(data: memoryview, field: Field) -> Attribute:
    if field.number == 2:
        start, stop = field.span()
        return bytes(data[start:stop])
    if field.number == 3:
        return field.integer()
    if field.number == 4:
        return float(np.frombuffer(data[slice(*field.span(FIXED32))], "<f4")[0])
    if field.number == 5:
        return bool(field.integer())
    if field.number == 6:
        return _data_type(field.integer())
    return _shape(data, field) if field.number == 7 else _tensor(data, field)


def _list(data: memoryview, start: int, stop: int) -> list[Any]:
    values: list[Any] = []
    for field in fields(data, start, stop):
        packed = field.wire == BYTES
        if field.number == 4 and packed:
            values += floats(data, field, 4).tolist()
        elif field.number in (3, 5, 6) and packed:
            numbers: list[int] = varints(data, field.start, field.stop).tolist()
            values += [_data_type(n) if field.number == 6 else bool(n) if field.number == 5 else n for n in numbers]
        elif 2 <= field.number <= 7:
            values.append(_scalar(data, field))
        else:
            values.append(Unread("a list of tensors or functions"))
    return values


def _shape(data: memoryview, message: Field) -> Shape:
    lengths: list[int | None] = []
    unknown = False
    for field in fields(data, *message.span()):
        if field.number == 2:
            length = 0
            for part in fields(data, *field.span()):
                length = part.integer() if part.number == 1 else length
            lengths.append(length if length >= 0 else None)
        elif field.number == 3:
            unknown = bool(field.integer())
    return Shape(None if unknown else tuple(lengths))


_NAMES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 9: "int64", 10: "bool",
    14: "bfloat16", 17: "uint16", 19: "float16", 22: "uint32", 23: "uint64",
}  # fmt: skip
_BITS = {"bfloat16": "uint16", "bool": "uint8"}
_IN_MEMORY = {name: np.dtype(_BITS.get(name, name)).newbyteorder("<") for name in _NAMES.values()}
_FLOAT_FIELDS = {5: 4, 6: 8}
_INTEGER_FIELDS = (7, 10, 11, 13, 16, 17)
_FIELD_OF = {
    "float32": 5, "float64": 6, "int64": 10, "bool": 11, "float16": 13, "bfloat16": 13, "uint32": 16, "uint64": 17,
}  # fmt: skip
"""Where a type lists its values; field 7 for all whole numbers of fewer bits."""


def _data_type(number: int) -> DataType:
    # TensorFlow adds 100 for a reference to a variable of the type.
    number = number - 100 if 100 < number < 200 else number
    return DataType(_NAMES.get(number, f"DT_{number}"))


def _tensor(data: memoryview, message: Field) -> Tensor:
    dtype, shape, content = DataType("DT_0"), Shape(()), None
    pieces: dict[int, list[NDArray[Any]]] = {}
    for field in fields(data, *message.span()):
        if field.number == 1:
            dtype = _data_type(field.integer())
        elif field.number == 2:
            shape = _shape(data, field)
        elif field.number == 4:
            content = field.span()
        elif field.number in _FLOAT_FIELDS:
            pieces.setdefault(field.number, []).append(floats(data, field, _FLOAT_FIELDS[field.number]))
        elif field.number in _INTEGER_FIELDS:
            packed = field.wire == BYTES
            piece = varints(data, field.start, field.stop) if packed else np.array([field.integer()], dtype=np.int64)
            pieces.setdefault(field.number, []).append(piece)
    if shape.lengths is None or None in shape.lengths or len(shape.lengths) > MAX_RANK:
        raise MalformedError(message.begin, "a tensor whose shape is not known")
    lengths = tuple(length or 0 for length in shape.lengths)
    kind = _IN_MEMORY.get(dtype.name)
    if kind is None:
        return Tensor(dtype, lengths, None)
    count = math.prod(lengths)
    if content is not None and content[0] < content[1]:
        if content[1] - content[0] != count * kind.itemsize:
            what = f"{content[1] - content[0]:,} bytes of content for {count:,} elements of {dtype.name}"
            raise MalformedError(message.begin, f"a tensor with {what}")
        return Tensor(dtype, lengths, np.frombuffer(data[slice(*content)], kind).reshape(lengths))
    return Tensor(dtype, lengths, _filled(message.begin, pieces.get(_FIELD_OF.get(dtype.name, 7), []), kind, lengths))


def _filled(at: int, pieces: list[NDArray[Any]], kind: np.dtype[Any], lengths: tuple[int, ...]) -> NDArray[Any]:
    """The values of a tensor that lists them: the last one stands for all that are not there, zero if none is."""
    count = math.prod(lengths)
    listed = np.concatenate(pieces) if pieces else np.zeros(0, kind)
    if listed.size > count:
        raise MalformedError(at, f"a tensor with {listed.size:,} values for {count:,} elements")
    # One value for all costs no memory, however many elements; but several that go on do.
    limit = MAX_ELEMENTS if listed.size <= 1 else MAX_GROWTH * (listed.size + 16)
    if math.prod(max(length, 1) for length in lengths) > limit and listed.size < max(count, 1):
        raise MalformedError(at, f"a tensor of {count:,} elements that lists {listed.size:,}")
    if kind == np.float16 and pieces:
        listed = listed.astype(np.uint16).view(np.float16)  # halves are listed by their bits
    listed = listed.astype(kind, copy=False) if listed.size or not count else np.zeros(1, kind)
    if listed.size == 1:
        values = np.broadcast_to(listed.reshape((1,) * len(lengths)), lengths)
    else:
        values = np.concatenate([listed, np.repeat(listed[-1:], count - listed.size)]).reshape(lengths)
    values.flags.writeable = False
    return values
