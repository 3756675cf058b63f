"""Units as people write them, in every command alike: `5,12`, `0:64`, `:`, `5+9` for two jointly, `layer4.5:89`."""

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
    """One channel of a layer, or several that are meant together.

    Attributes:
        channels: their numbers.
    """

    channels: tuple[int, ...]

    @property
    def name(self) -> str:
        """`5`, or `5+9`: the name of its folder, too."""
        return "+".join(map(str, self.channels))


def parse_units(text: str, count: int) -> list[Unit]:
    """The units that a text names, each once, in its order; `layer_of_units` has the layer that it names.

    Args:
        text: such as `0:64,70,5+9`; the end of a range is not part of it, and `:` is all.
        count: of the layer's units.

    Raises:
        InputError: what is no such text; a unit that the layer does not have.

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
    """The canonical name of the layer that a command is about: the one it was given, or that its units name.

    Args:
        text: the units, as in `parse_units`.
        layer: what the command was given; None leaves it to the units.
        resolve: any name of a layer → its canonical name.

    Raises:
        InputError: what is no such text; an unknown layer; more than one layer.

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
    """Each part's layer, None where it names none, and what is left of it."""
    parts = []
    for part in re.split(r"\s*,\s*|\s+", text.strip()):
        found = _PART.fullmatch(part)
        if found is None:
            raise InputError(f"units: found {shown(part)}; expected {EXPECTED}")
        layer: str | None = found["layer"]
        parts.append((layer, part if layer is None else part[len(layer) + 1 :]))
    return parts
