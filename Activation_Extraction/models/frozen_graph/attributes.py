"""Reads a node's attributes as the types and values that an operation allows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NoReturn

import torch

from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.models.frozen_graph.graph_def import Constant, Node, constant, lengths, type_name

_KINDS = {
    "i": "a whole number", "f": "a float", "b": "a bool", "s": "text", "list": "a list", "type": "a type",
    "shape": "a shape", "tensor": "a tensor",
}  # fmt: skip


class Attributes:
    """The attributes of one node, each marked as read when it is asked for; `source` is the file, for messages.

    Every method raises InputError when the attribute has another type, or a value that is not supported.
    """

    def __init__(self, node: Node, source: str) -> None:
        self.node, self.source = node, source
        self._values = node.attributes()
        self._read: set[str] = set()

    def integer(self, name: str, default: int = 0) -> int:
        return int(self._given(name, "i", default))

    def number(self, name: str, default: float) -> float:
        return float(self._given(name, "f", default))

    def flag(self, name: str, default: bool = False) -> bool:
        return bool(self._given(name, "b", default))

    def integers(self, name: str, default: Collection[int] = ()) -> tuple[int, ...]:
        if (values := self._given(name, "list", None)) is None:
            return tuple(default)
        if any(field.name != "i" for field, _ in values.ListFields()):
            self.refuse(name, "whole numbers")
        return tuple(values.i)

    def text(self, name: str, default: str = "") -> str:
        value: bytes = self._given(name, "s", default.encode())
        try:
            return value.decode()
        except UnicodeDecodeError:
            self.refuse(name, "text")

    def choice(self, name: str, allowed: Collection[str], default: str = "") -> str:
        if (value := self.text(name, default)) not in allowed:
            self.refuse(name, " or ".join(allowed))
        return value

    def torch_type(self, name: str, default: torch.dtype = torch.float32) -> torch.dtype:
        if (number := self._given(name, "type", None)) is None:
            return default
        if type_name(number).startswith("DT_"):
            self.refuse(name, "a type of numbers")
        dtype: torch.dtype = getattr(torch, type_name(number))
        return dtype

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """Length of each axis (None: unknown), or None for a shape of unknown rank."""
        value = self._given(name, "shape", None)
        return None if value is None else lengths(value)

    def tensor(self, name: str) -> Constant:
        value = self._given(name, "tensor", None)
        values = None if value is None else constant(value)
        if values is None:
            self.refuse(name, "a tensor of numbers")
        return values

    def must_be_off(self, name: str, default: bool, why: str) -> None:
        """Refuse a flag that is on."""
        if self.flag(name, default):
            self.refuse(name, f"false; {why}")

    def ignore(self, *names: str) -> None:
        """Mark as read attributes that change no value: hints on speed, what the inputs tell anyway."""
        self._read.update(names)

    def unread(self) -> list[str]:
        """A problem for each attribute not read, but for types and TensorFlow's own (`_class`), which change no values."""
        return [
            self._problem(name, "an operation without it")
            for name, value in self._values.items()
            if name not in self._read and not name.startswith("_") and not _is_type(value)
        ]

    def refuse(self, name: str, expected: str) -> NoReturn:
        """Raise the InputError of an attribute that is not supported."""
        raise InputError(self._problem(name, expected))

    def _given(self, name: str, kind: str, default: Any) -> Any:
        self._read.add(name)
        if name not in self._values:
            return default
        if self._values[name].WhichOneof("value") != kind:
            self.refuse(name, "a tensor of numbers" if kind == "tensor" else _KINDS[kind])
        return getattr(self._values[name], kind)

    def _problem(self, name: str, expected: str) -> str:
        value = _described(self._values[name]) if name in self._values else "missing"
        node = f"node {shown(self.node.name, 120)} ({self.node.operation})"
        return f"{self.source}: {node}: attribute {shown(name)} is {value}; expected {expected}"


def _described(value: Any) -> str:
    kind = value.WhichOneof("value")
    if kind in ("i", "f", "b"):
        return shown(getattr(value, kind))
    if kind == "s":
        return shown(value.s.decode(errors="replace"))
    if kind == "type":
        return type_name(value.type)
    if kind == "list" and value.list.i:
        return shown(list(value.list.i))
    return _KINDS.get(kind, "of an unsupported kind")


def _is_type(value: Any) -> bool:
    """A type, a list of types, or an empty list, which is how a list of no types is written."""
    kind = value.WhichOneof("value")
    return kind == "type" or (kind == "list" and all(field.name == "type" for field, _ in value.list.ListFields()))
