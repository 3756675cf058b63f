"""What a bundle is asked for: files, and how much of them the pages show."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from Activation_Extraction.base.errors import InputError, shown

Path = str | os.PathLike[str]

MOST_TILES = 400
"""Of a unit."""
_STRATA = re.compile(r"(\d{1,3})x(\d{1,3})")


@dataclass(frozen=True)
class Files:
    """What a bundle is made from besides the stores; each adds what it has, and without it that is not measured.

    Attributes:
        images: the pictures, as `interpscore extract` takes them.
        renders: folders of `interpscore dream`; labels: tables of `interpscore label`; profile: of `interpscore profile`.
        results: of `interpscore score`, CSV or JSON; effects: of `interpscore causality`.
        neuron_map: unit → concept; published: scores that someone published of the same units or concepts.
        embedding: a complete store of embeddings of the same images.
        model: the network of the stores, for weights and effects; weights: its weights file.
        words: a vocabulary, one a line, for a network with a text tower.
    """

    images: Sequence[str] = ()
    renders: Sequence[Path] = ()
    labels: Sequence[Path] = ()
    profile: Sequence[Path] = ()
    results: Sequence[Path] = ()
    effects: Sequence[Path] = ()
    neuron_map: Path | None = None
    published: Path | None = None
    embedding: Path | None = None
    model: str | None = None
    weights: str | None = None
    words: Path | None = None


@dataclass(frozen=True)
class Options:
    """How much is shown.

    Attributes:
        layers: of the stores; none means all but those of the embedding.
        title: of the bundle; None is the networks and layers.
        top: pictures of a unit, best first.
        strata, per_stratum: ranges of quantiles of the same width, and pictures sampled from each.
        tile: pixels per side of a picture.
        effect_images: on which units are ablated, with a model.
        template: of words.
        seed: of all chance.
    """

    layers: Sequence[str] = ()
    title: str | None = None
    top: int = 30
    strata: int = 6
    per_stratum: int = 4
    tile: int = 96
    effect_images: int = 32
    template: str = "a photo of a {word}"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("top", self.top, 1, 200), ("tile", self.tile, 16, 512), ("effect-images", self.effect_images, 2, 10_000),
            ("strata", self.strata, 1, 50), ("strata", self.per_stratum, 1, 50),
        ):  # fmt: skip
            if not least <= value <= most:
                raise InputError(f"--{name}: found {value}; expected {least} to {most:,}")
        if self.top + self.strata * self.per_stratum > MOST_TILES:
            raise InputError(f"--top, --strata: {self.top + self.strata * self.per_stratum} pictures a unit; expected up to {MOST_TILES}")  # fmt: skip
        if "{word}" not in self.template:
            raise InputError(f"--template: found {shown(self.template)}; expected a text with {{word}} in it")


def strata_of(text: str) -> tuple[int, int]:
    """Ranges and pictures of each, as a command takes them.

    Raises:
        InputError: something else.

    >>> strata_of("6x4")
    (6, 4)
    """
    if not (found := _STRATA.fullmatch(text)):
        raise InputError(f"--strata: found {shown(text)}; expected ranges x pictures of each, such as 6x4")
    return int(found[1]), int(found[2])
