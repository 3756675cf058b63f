"""What a text probe on the server reads of a bundle: the words of its layers, and the units that are closest to a text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.files import read_bytes
from Activation_Extraction.base.validation import validated
from Microscope.bundle.format import Concepts, Index, Layer, Words
from Microscope.serving.opening import open_bundle

if TYPE_CHECKING:
    from Activation_Extraction.models.registry import Model

LONGEST = 200
"""Characters of a text."""


def words_by_layer(folder: Path) -> dict[str, Words]:
    """Layer → its words, of those that keep what other texts are compared with."""
    found = {}
    for entry in open_bundle(folder).layers:
        name = _layer(folder, entry.key).concepts
        words = validated(Concepts, read_json(folder / entry.key / name, folder), name).words if name else None
        if words is not None and words.embedding is not None:
            found[entry.key] = words
    return found


def labelled_units(
    folder: Path, key: str, words: Words, model: Model, text: str
) -> list[tuple[int, str | None, float]]:
    """The units that are closest to a text, best first: number, label, and cosine above the mean over units.

    Raises:
        InputError: the bundle's embeddings are missing, damaged or of another network.
    """
    from Microscope.bundle.evidence.texts import units_of_text  # late: other visitors need no arrays

    name = _layer(folder, key).index
    labels = validated(Index, read_json(folder / key / name, folder), name).label
    try:
        embedding = read_bytes(folder / key / str(words.embedding), folder)
    except OSError as error:
        raise InputError(f"{words.embedding}: cannot be read ({error.strerror}); expected it since the bundle names it") from None  # fmt: skip
    found = units_of_text(words, embedding, model, " ".join(text.split())[:LONGEST])
    if any(unit >= len(labels) for unit, _ in found):
        raise InputError(f"{words.embedding}: has other units than {name}; expected those of the layer")
    return [(unit, labels[unit], score) for unit, score in found]


def _layer(folder: Path, key: str) -> Layer:
    return validated(Layer, read_json(folder / key / "layer.json", folder), "layer.json")
