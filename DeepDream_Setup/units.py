"""Which units are rendered: numbers, ranges, and several units jointly, as one writes them in a command."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from Activation_Extraction.base.errors import InputError, shown

EXPECTED = "numbers, ranges and joint units such as 5,12, 0:64 or 5+9, separated by commas"


@dataclass(frozen=True)
class Unit:
    """One channel of a layer, or several that are to be active together.

    Attributes:
        channels: their numbers.
    """

    channels: tuple[int, ...]

    @property
    def name(self) -> str:
        """`5`, or `5+9`: the name of its folder, too."""
        return "+".join(map(str, self.channels))


def parse_units(text: str, count: int) -> list[Unit]:
    """The units that a text names, each once, in its order.

    Args:
        text: such as `0:64,70,5+9`; the end of a range is not part of it, and `:` is all.
        count: of the layer's units.

    Raises:
        InputError: what is no such text; a unit that the layer does not have.

    >>> [unit.name for unit in parse_units("2:4,5+9", 10)]
    ['2', '3', '5+9']
    """
    units: list[Unit] = []
    for part in text.split(","):
        part = part.strip()
        if found := re.fullmatch(r"(\d*):(\d*)", part):
            start, end = int(found[1] or 0), int(found[2] or count)
            if not start < end <= count:
                raise InputError(f"units: found {shown(part)}; expected a range within 0:{count}")
            units += [Unit((number,)) for number in range(start, end)]
        elif re.fullmatch(r"\d+(\+\d+)*", part):
            units.append(Unit(tuple(int(number) for number in part.split("+"))))
        else:
            raise InputError(f"units: found {shown(part)}; expected {EXPECTED}")
    if wrong := [number for unit in units for number in unit.channels if number >= count]:
        raise InputError(f"units: found {wrong[0]}; expected 0 to {count - 1}, the units of the layer")
    return list(dict.fromkeys(units))


def directions(units: Sequence[Unit], count: int) -> Tensor:
    """Each unit as a direction of a layer with that many units, `(len(units), count)`: 1 at each of its channels."""
    vectors = torch.zeros(len(units), count)
    for row, unit in enumerate(units):
        vectors[row, list(unit.channels)] = 1
    return vectors
