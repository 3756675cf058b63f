"""The layers of a bundle, in their stores, and what their image tables say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.files import sha256_of
from Activation_Extraction.base.names import file_names
from Activation_Extraction.store.files import COMPLETE
from Activation_Extraction.store.reader import ActivationStore
from InterpScore.tables.from_stores import neurons_in_stores
from Microscope.bundle.format import Rights, Source
from Microscope.bundle.options import Path

MOST_UNITS = 10_000
TOLD = ("concept", "source", "licence")
"""Columns of image tables that bundles show."""


@dataclass(frozen=True, eq=False)
class SourceLayer:
    """A layer of a complete store.

    Attributes:
        key: its folder in the bundle; label: its name in results and maps of several layers.
        told: column of `TOLD` → what tables of `--images` say of each image, for columns that the store's table lacks.
    """

    key: str
    label: str
    store: ActivationStore
    layer: str
    told: Mapping[str, Sequence[object]] = field(default_factory=dict)

    @property
    def units(self) -> int:
        return self.store.shapes[self.layer][0]

    @property
    def model(self) -> str:
        return str(self.store.identity.get("model", "network"))

    @cached_property
    def sha256(self) -> str:
        """Of the store: of the file with the hashes of all others, as signatures state it."""
        return sha256_of(self.store.path / COMPLETE, self.store.path)

    def answers_to(self, name: object) -> bool:
        """Whether this layer has a name, of those of the store or of results."""
        try:
            return name == self.label or self.store.resolve_layer(str(name)) == self.layer
        except InputError:
            return False

    @property
    def source(self) -> Source:
        """The store, as the bundle states it."""
        told = (
            "model",
            "weights_sha256",
            "preprocessing",
            "input",
            "pooling",
            "precision",
            "backend",
            "images",
            "rows",
        )
        said = {**self.store.identity, **(self.store.identity.get("provenance") or {})}
        about = {name: said[name] for name in told if isinstance(said.get(name), str | int | float | bool)}
        return Source(kind="store", name=self.store.path.name, sha256=self.sha256, about=about)

    # Images

    @cached_property
    def names(self) -> list[str]:
        """Of the images, without folders of the machine that listed them."""
        return [shown_name(str(name)) for name in self.store.images["image"]]

    @cached_property
    def hashes(self) -> list[str]:
        """SHA-256 of every image; "" where it could not be read."""
        return [str(value or "") for value in self.store.images["sha256"].fillna("")]

    @cached_property
    def concepts(self) -> list[str | None]:
        """What the image tables say that each image shows."""
        return self._column("concept")

    @cached_property
    def rights(self) -> tuple[list[Rights], list[int | None]]:
        """Sources and licences of the images, and the place of each image among them."""
        pairs = list(zip(self._column("source"), self._column("licence"), strict=True))
        known = dict.fromkeys(pair for pair in pairs if pair != (None, None))
        place = {pair: at for at, pair in enumerate(known)}
        count = Counter(pairs)
        rights = [Rights(source=a, licence=b, images=count[a, b]) for a, b in known]
        return rights, [place.get(pair) for pair in pairs]

    def _column(self, name: str) -> list[str | None]:
        table = self.store.images
        cells = table[name] if name in table else self.told.get(name, [None] * len(self.store))
        return [str(value) if _is_there(value) else None for value in cells]


def _is_there(value: Any) -> bool:
    return value is not None and value == value and not np.ndim(value) and str(value) != ""


def shown_name(name: str) -> str:
    """An image's name; of absolute paths the last part.

    >>> shown_name("cats/1.jpg"), shown_name("/home/me/cats/1.jpg")
    ('cats/1.jpg', '1.jpg')
    """
    is_absolute = name.startswith(("/", "\\", "~")) or bool(PureWindowsPath(name).drive)
    return PurePosixPath(name.replace("\\", "/")).name if is_absolute else name


def source_layers(stores: Sequence[Path], layers: Sequence[str]) -> list[SourceLayer]:
    """The layers of a bundle, in the order of the stores.

    Args:
        layers: by any of their names; none means all.

    Raises:
        InputError: no store, an unfinished one, the same twice, a layer that none has.
    """
    if not stores:
        raise InputError("STORE: none given; expected activation stores")
    found = neurons_in_stores(stores, layers, {}).layers
    keys = file_names({at: one.label.replace("/", ".") for at, one in enumerate(found)})
    layers_found = [SourceLayer(keys[at], one.label, one.store, one.layer) for at, one in enumerate(found)]
    for layer in layers_found:
        if layer.units > MOST_UNITS:
            raise InputError(f"{layer.store.path}: {layer.units:,} units in {layer.label}; expected up to {MOST_UNITS:,}, whose correlations fit into memory")  # fmt: skip
    return layers_found
