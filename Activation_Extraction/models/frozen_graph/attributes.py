"""Reads a node's attributes as the types and values that an operation allows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NoReturn, TypeVar

import torch

from Activation_Extraction.base.errors import InputError, Problem, shown
from Activation_Extraction.models.frozen_graph.graph_def import Attribute, DataType, Node, Shape, Tensor

T = TypeVar("T")

TORCH_TYPES = {
    name: getattr(torch, name)
    for name in (
        "float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64",
        "uint8", "uint16", "uint32", "uint64", "bool",
    )
}  # fmt: skip


class Attributes:
    """The attributes of one node. Every one that is asked for is noted, so that none is left unread.

    Args:
        node: as the file has it.
        source: the file, for messages.

    Every method raises InputError when the attribute has another type, or a value that is not supported.
    """

    def __init__(self, node: Node, source: str) -> None:
        self.node, self.source = node, source
        self._read: set[str] = set()

    def integer(self, name: str, default: int = 0) -> int:
        return int(self._typed(name, int, default))

    def number(self, name: str, default: float) -> float:
        return float(self._typed(name, float, default))

    def flag(self, name: str, default: bool = False) -> bool:
        return bool(self._typed(name, bool, default))

    def integers(self, name: str, default: Collection[int] = ()) -> tuple[int, ...]:
        values = self._typed(name, list, list(default))
        if not all(type(value) is int for value in values):
            self.refuse(name, "whole numbers")
        return tuple(values)

    def text(self, name: str, default: str = "") -> str:
        value = self._typed(name, bytes, default.encode())
        try:
            return value.decode()
        except UnicodeDecodeError:
            self.refuse(name, "text")

    def choice(self, name: str, allowed: Collection[str], default: str = "") -> str:
        value = self.text(name, default)
        if value not in allowed:
            self.refuse(name, " or ".join(allowed))
        return value

    def torch_type(self, name: str, default: str = "float32") -> torch.dtype:
        value = self._typed(name, DataType, DataType(default))
        if value.name not in TORCH_TYPES:
            self.refuse(name, "a type of numbers")
        dtype: torch.dtype = TORCH_TYPES[value.name]
        return dtype

    def shape(self, name: str) -> Shape:
        return self._typed(name, Shape, Shape(None))

    def tensor(self, name: str) -> Tensor:
        value = self._typed(name, Tensor, None)
        if value is None or value.values is None:
            self.refuse(name, "a tensor of numbers")
        return value

    def must_be_off(self, name: str, default: bool, why: str) -> None:
        """Refuse a flag that is on."""
        if self.flag(name, default):
            self.refuse(name, f"false; {why}")

    def ignore(self, *names: str) -> None:
        """Note attributes that change no value: how fast to run, what the inputs tell anyway."""
        self._read.update(names)

    def unread(self) -> list[Problem]:
        """What the operation did not ask for. Types, and notes of TensorFlow's own (`_class`), change no values."""
        return [
            self._problem(name, "an operation without it")
            for name, value in self.node.attributes.items()
            if name not in self._read and not name.startswith("_") and not _is_type(value)
        ]

    def refuse(self, name: str, expected: str) -> NoReturn:
        """Raise the InputError of an attribute that cannot be followed."""
        raise InputError([self._problem(name, expected)])

    def _typed(self, name: str, kind: type[T], default: Any) -> T:
        self._read.add(name)
        value = self.node.attributes.get(name, default)
        # An empty list is written as a list of nothing; True is an int to Python and not to TensorFlow.
        if value is not None and type(value) is not kind:
            self.refuse(name, {list: "a list", bytes: "text", int: "a whole number"}.get(kind, f"a {kind.__name__}"))
        return value  # type: ignore[return-value]

    def _problem(self, name: str, expected: str) -> Problem:
        value = self.node.attributes.get(name)
        text = "nothing" if value is None else shown(value.decode(errors="replace") if type(value) is bytes else value)
        found = f"node {shown(self.node.name, 120)} ({self.node.operation}): attribute {shown(name)} is {text}"
        return Problem(self.source, found, expected)


def _is_type(value: Attribute) -> bool:
    return isinstance(value, DataType) or (
        isinstance(value, list) and all(isinstance(item, DataType) for item in value)
    )
