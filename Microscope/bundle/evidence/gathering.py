"""All files about units, read, checked against the stores, and gathered by layer; and why the rest is not measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from Activation_Extraction.base.errors import InputError
from InterpScore.labelling.sources.words import read_words
from Microscope.bundle.evidence.effects import add_effects
from Microscope.bundle.evidence.known import Known
from Microscope.bundle.evidence.labels import add_labels, add_neuron_map
from Microscope.bundle.evidence.maps import add_maps
from Microscope.bundle.evidence.profiles import add_profile
from Microscope.bundle.evidence.renders import add_renders
from Microscope.bundle.evidence.scores import add_published, add_results
from Microscope.bundle.layers import SourceLayer
from Microscope.bundle.options import Files, Options

_OF: dict[str, tuple[str, tuple[str, ...]]] = {
    "labels": ("labels", ("label", "polysemy")), "results": ("results", ("scores",)), "profile": ("profile", ("profile", "redundancy")),
    "effects": ("effects", ("dose",)), "renders": ("renders", ("renders",)), "published": ("published scores", ("published",)),
    "embedding": ("embeddings", ("clusters",)), "words": ("words", ("words",)),
}  # fmt: skip
"""Option → what it takes, and the fields that it gives."""


def gathered(layers: Sequence[SourceLayer], files: Files, options: Options) -> dict[str, Known]:
    """What files say of the units of each layer, by its key.

    Raises:
        InputError: a file that cannot be read, or is of other stores or units than these.
    """
    known = {layer.key: Known(layer.units) for layer in layers}
    add_maps(layers, known)
    for path in map(Path, files.labels):
        add_labels(layers, known, path)
    if files.neuron_map is not None:
        add_neuron_map(layers, known, Path(files.neuron_map))
    for path in map(Path, files.results):
        add_results(layers, known, path)
    for path in map(Path, files.profile):
        add_profile(layers, known, path)
    for path in map(Path, files.effects):
        add_effects(layers, known, path, options.seed)
    for path in map(Path, files.renders):
        add_renders(layers, known, path, options.tile)
    if files.weights is not None and files.model is None:
        raise InputError(f"--weights: found {files.weights}; expected the network that they are of (--model)")
    if files.words is not None:
        if files.embedding is None:
            raise InputError(
                "--words: no --embedding given; expected a store of embeddings by a network with a text tower"
            )
        read_words(Path(files.words))
    if files.published is not None:
        add_published(layers, known, Path(files.published))
    for layer in layers:
        _say_why(known[layer.key], files)
    return known


def _say_why(known: Known, files: Files) -> None:
    """Why no unit of a layer has what it lacks."""
    has = {
        "labels": bool(known.labels), "results": any("InterpScore" in scores for scores in known.scores.values()),
        "profile": "kurtosis" in known.values, "effects": bool(known.dose), "renders": bool(known.renders),
        "published": any(name.startswith("published_") for name in known.columns),
        "embedding": files.embedding is not None, "words": files.words is not None,
    }  # fmt: skip
    for option, (what, fields) in _OF.items():
        given = bool(getattr(files, option))
        reason = f"--{option} has nothing of this layer" if given else f"no {what} given (--{option})"
        for field in () if has[option] else fields:
            known.not_measured.setdefault(field, reason)
