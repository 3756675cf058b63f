"""What a build needs, what it will write, and whether a folder can hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Activation_Extraction.base.errors import InputError, OutputError
from Activation_Extraction.base.files import check_writable
from Activation_Extraction.base.run_folder import is_leftover
from Human_Experiment_Setup.stimuli.inputs import Source, rank
from Human_Experiment_Setup.stimuli.manifest import PICTURES, PROVENANCE
from Human_Experiment_Setup.stimuli.protocol import AdversarialLevel, ExemplarLevel, Protocol, SyntheticLevel

NAME_LENGTH = 12
"""Hexadecimal digits of a file's name."""


@dataclass(frozen=True)
class Stimulus:
    """One file of a study: its name, which tells nothing, and what it is made from.

    Attributes:
        image: the file, relative to the study's folder.
        clean_image: the same of the clean stimulus that it is a version of; "" where it is none's.
    """

    level: int
    source: Source
    image: str
    clean_image: str = ""


# What goes in -------------------------------------------------------------------------------------------------------


def _about_units(protocol: Protocol) -> bool:
    """Whether a level needs activations of the concepts' units."""
    return protocol.has(ExemplarLevel) or any(
        isinstance(level, AdversarialLevel) and level.target == "unit" for level in protocol.levels.values()
    )


def needs_network(protocol: Protocol, layer: str | None) -> bool:
    """Whether a network is read: for a level, or for the activations of a layer's units."""
    return protocol.has(AdversarialLevel, ExemplarLevel) or layer is not None


def check_needs(protocol: Protocol, layer: str | None, given: Mapping[str, object]) -> None:
    """Refuse what a level lacks, and what no level takes."""
    network, synthetic, exemplar = (
        needs_network(protocol, layer),
        protocol.has(SyntheticLevel),
        protocol.has(ExemplarLevel),
    )
    needed = {
        "neuron-map": synthetic or layer is not None or _about_units(protocol),
        "layer": _about_units(protocol),
        "model": network,
        "renders": synthetic,
        "exemplars": exemplar,
    }
    taken = {**needed, "layer": True, "store": exemplar, "preprocessing": network}
    problems = [
        f"{option}: none given; protocol {protocol.name} needs it{' with a layer' * (layer is not None and option == 'neuron-map')}"
        for option, is_needed in needed.items()
        if is_needed and given[option] is None
    ]
    problems += [
        f"{option}: found one, but no level of protocol {protocol.name} takes it"
        for option, is_taken in taken.items()
        if not is_taken and given[option] is not None
    ]
    if problems:
        raise InputError(problems)


# The folder ---------------------------------------------------------------------------------------------------------


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else, or that cannot be written."""
    is_filled = folder.is_dir() and not all(map(is_leftover, folder.iterdir()))
    if is_filled and not (folder / PROVENANCE).is_file():
        raise OutputError(f"{folder}: holds other files; expected a new or empty folder, or one with a {PROVENANCE}")
    check_writable(folder / PROVENANCE if folder.is_dir() else folder)


def identity(
    protocol: Protocol, seed: int, units: Mapping[str, int], network: Mapping[str, Any] | None, sources: Sequence[Source],
    by_level: Mapping[int, Sequence[Source]],
) -> dict[str, Any]:  # fmt: skip
    """What is built."""
    return {
        "protocol": protocol.as_dict(),
        "seed": seed,
        "units": dict(units),
        "network": network,
        "inputs": {
            str(level): [{"image": s.name, "concept": s.concept, "split": s.split, "sha256": s.sha256} for s in found]
            for level, found in {protocol.clean_level: sources, **by_level}.items()
        },
    }


def planned(
    protocol: Protocol, sources: Sequence[Source], by_level: Mapping[int, Sequence[Source]], seed: int
) -> list[Stimulus]:
    """Every file of the study, ordered by level as in the protocol."""

    def image(level: int, source: Source) -> str:
        digits = f"{rank('file', seed, level, source.concept, source.name):064x}"
        return f"{PICTURES}/{digits[:NAME_LENGTH]}.png"

    clean = {source.name: image(protocol.clean_level, source) for source in sources}
    stimuli = []
    for level in protocol.levels:
        for source in by_level.get(level, sources):
            base = "" if level in by_level or level == protocol.clean_level else clean[source.name]
            stimuli.append(Stimulus(level, source, image(level, source), base))
    assert len({stimulus.image for stimulus in stimuli}) == len(stimuli)
    return stimuli
