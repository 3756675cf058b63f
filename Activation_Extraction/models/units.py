"""The syntax of units in every command: `5,12`, `0:64`, `:`, `5+9` for two jointly, `layer4.5:89`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from Activation_Extraction.base.errors import InputError, shown

EXPECTED = "numbers, ranges and joint units such as 5,12, 0:64, 5+9 or layer4.5:89, separated by commas or spaces"

_NUMBER = "[0-9]{1,9}"
_PART = re.compile(
    rf"(?:(?P<layer>.*[^0-9:].*?):)?(?:(?P<range>({_NUMBER})?:({_NUMBER})?)|{_NUMBER}(\+{_NUMBER})*)", re.ASCII
)


@dataclass(frozen=True)
class Unit:
    """One channel of a layer, or several as one unit."""

    channels: tuple[int, ...]

    @property
    def name(self) -> str:
        """`5`, or `5+9`; also the name of its folder."""
        return "+".join(map(str, self.channels))


def parse_units(text: str, count: int) -> list[Unit]:
    """The units in a text, each once, in its order; `layer_of_units` gives the layer in it.

    Args:
        text: such as `0:64,70,5+9`; ranges exclude their end, and `:` is all.
        count: number of the layer's units.

    Raises:
        InputError: wrong syntax, or no such unit.

    >>> [unit.name for unit in parse_units("2:4 layer4:5+9", 10)]
    ['2', '3', '5+9']
    """
    units: list[Unit] = []
    for _, part in _parts(text):
        start, colon, end = part.partition(":")
        if colon:
            first, last = int(start or 0), int(end or count)
            if not first < last <= count:
                raise InputError(f"units: found {shown(part)}; expected a range within 0:{count}")
            units += [Unit((number,)) for number in range(first, last)]
        else:
            units.append(Unit(tuple(int(number) for number in part.split("+"))))
    if wrong := [number for unit in units for number in unit.channels if number >= count]:
        raise InputError(f"units: found {wrong[0]}; expected 0 to {count - 1}, the units of the layer")
    return list(dict.fromkeys(units))


def layer_of_units(text: str, layer: str | None, resolve: Callable[[str], str]) -> str | None:
    """The canonical name of a command's layer, from its option or its units.

    Args:
        text: the units, as in `parse_units`.
        layer: the command's option, if given.
        resolve: any name of a layer → its canonical name.

    Raises:
        InputError: wrong syntax, an unknown layer, or more than one layer.

    >>> layer_of_units("layer4.5:89", None, str.lower)
    'layer4.5'
    """
    named = [] if layer is None else [layer]
    named += [found for found, _ in _parts(text) if found is not None]
    layers = list(dict.fromkeys(resolve(name) for name in named))
    if len(layers) > 1:
        raise InputError(f"units: found units of {' and of '.join(layers)}; expected units of one layer")
    return layers[0] if layers else None


def _parts(text: str) -> list[tuple[str | None, str]]:
    """Each part's layer, or None, and the rest of it."""
    parts = []
    for part in re.split(r"\s*,\s*|\s+", text.strip()):
        found = _PART.fullmatch(part)
        if found is None:
            raise InputError(f"units: found {shown(part)}; expected {EXPECTED}")
        layer: str | None = found["layer"]
        parts.append((layer, part if layer is None else part[len(layer) + 1 :]))
    return parts
