"""The neuron map: the concept or concepts of each unit, `{"89": ["trump", "politician"], "355": "puppies"}`."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import listed_up_to
from Activation_Extraction.tables.identifiers import unit_number, visible
from InterpScore.errors import InputError, Problem, shown

EXPECTED = 'a JSON object such as {"89": "trump", "355": "puppies"}'

SHOWN_NEURONS = 4
"""Neurons named in a note; the rest are counted."""
LARGEST = 16 * 2**20
"""Bytes; a line a unit is some 30."""

Concepts = tuple[str, ...]
"""The concepts of one neuron."""


@lru_cache(maxsize=2**16)
def normalised(concept: str) -> str:
    """A concept for comparison, without regard to case, surrounding space and Unicode form."""
    return unicodedata.normalize("NFC", " ".join(concept.split())).casefold()


def read_neuron_map(neuron_map: str | os.PathLike[str] | Mapping[Any, Any]) -> dict[str, Concepts]:
    """Read and check a neuron map.

    Args:
        neuron_map: a JSON file or a mapping from neuron to concept or list of concepts.

    Returns:
        Neuron (as in the column `activation_<neuron>`) → its concepts, in the order given.

    Raises:
        InputError: not JSON, not an object, empty, a repeated neuron or concept, a concept that is not text.

    >>> read_neuron_map({89: ["cat", "tiger"], 156: " dog "})
    {'89': ('cat', 'tiger'), '156': ('dog',)}
    >>> read_neuron_map({"22.0": "cat"})
    {'22': ('cat',)}
    """
    return neuron_map_and_notes(neuron_map)[0]


def neuron_map_and_notes(
    neuron_map: str | os.PathLike[str] | Mapping[Any, Any],
) -> tuple[dict[str, Concepts], list[str]]:
    """`read_neuron_map`, and a note where a neuron is read otherwise than it is written.

    >>> neuron_map_and_notes({"22.0": "cat"})[1]
    ["the neuron map: read as: neuron '22.0' as 22"]
    """
    if not isinstance(neuron_map, Mapping | str | os.PathLike):
        raise InputError(f"the neuron map: found {type(neuron_map).__name__}; expected {EXPECTED} or the path of one")
    found: Mapping[Any, Any] | None = neuron_map if isinstance(neuron_map, Mapping) else None
    source = "the neuron map"
    if not isinstance(neuron_map, Mapping):
        source, found = str(neuron_map), read_json(Path(neuron_map), expected=EXPECTED, largest=LARGEST)
    if found is None:
        raise InputError([Problem(source, "no such file", EXPECTED)])
    other = {str(key): _neuron(key) for key in found if _neuron(key) != visible(str(key))}
    pairs = [f"neuron {shown(key)} as {neuron}" for key, neuron in other.items()]
    notes = [f"{source}: read as: {', '.join(listed_up_to(pairs, SHOWN_NEURONS))}"] if pairs else []
    return _checked(source, found.items()), notes


def _is_one_line(text: str) -> bool:
    """No control characters and no lone surrogates, which a results file could not hold."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def _neuron(key: object) -> str:
    """A neuron as the map writes it; `22.0` is 22."""
    name = visible(str(key))
    return name if name.rpartition(":")[2].isdecimal() else unit_number(name)


def _checked(source: str, pairs: Iterable[tuple[Any, Any]]) -> dict[str, Concepts]:
    concepts: dict[str, Concepts] = {}
    numbers: dict[str, str] = {}
    problems: list[Problem] = []
    for key, value in pairs:
        neuron = _neuron(key)
        several = list(value) if isinstance(value, list | tuple) else [value]
        words = [visible(concept) if isinstance(concept, str) else "" for concept in several]
        if not neuron:
            problems.append(Problem(source, "a neuron without a name", "its number, as in activation_<number>"))
        elif (number := unit_number(neuron)) in numbers:
            same = "" if numbers[number] == neuron else f", as {shown(numbers[number])} and {shown(neuron)},"
            problems.append(Problem(source, f"neuron {number}{same} appears more than once", "each neuron once"))
        elif not all(words):
            found = f"neuron {neuron} has the concept {shown(several[words.index('')])}"
            problems.append(Problem(source, found, "a word or phrase"))
        elif not words:
            problems.append(Problem(source, f"neuron {neuron} has no concept", "a word or phrase, or a list of them"))
        elif len({normalised(word) for word in words}) < len(words):
            problems.append(Problem(source, f"neuron {neuron} has a concept twice", "each of its concepts once"))
        elif not _is_one_line(neuron + "".join(words)):
            found = f"neuron {shown(neuron)} has the concept {shown(', '.join(words))}"
            problems.append(Problem(source, found, "printable text in one line"))
        concepts[neuron] = tuple(words)
        numbers.setdefault(unit_number(neuron), neuron)
    if problems:
        raise InputError(problems)
    if not concepts:
        raise InputError([Problem(source, "no neuron in it", EXPECTED)])
    return concepts
