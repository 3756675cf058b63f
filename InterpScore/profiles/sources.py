"""Where activations and embeddings come from: arrays, or stores of the same images, which are matched by hash.

Shapes: N images of the scored layer, U units, D dimensions, n some images, u some units.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.errors import listed_up_to
from InterpScore.errors import InputError
from InterpScore.helpers import Bools, Ints
from InterpScore.tables.from_stores import complete_store

if TYPE_CHECKING:
    from Activation_Extraction.store.reader import ActivationStore

_SHOWN_IMAGES = 3
_ROWS_AT_ONCE = 1024
HASHES = ("weights_sha256", "state_sha256", "file_sha256")
"""What a store says of its network's weights."""


class Layer(Protocol):
    """A layer whose activations are read by unit and by image."""

    @property
    def shape(self) -> tuple[int, int]:
        """Images, and units or dimensions."""

    @property
    def rows_at_once(self) -> int:
        """Consecutive images that are best read together."""

    def of_units(self, units: range) -> NDArray[Any]:
        """Some units on all images, `(N, u)`."""

    def of_rows(self, rows: Ints) -> NDArray[Any]:
        """All units on some images, `(n, U)`."""


@dataclass(frozen=True, eq=False)
class ArrayLayer:
    """A layer in memory, `(N, U)`."""

    values_NU: NDArray[Any]

    @property
    def shape(self) -> tuple[int, int]:
        n_images, n_units = self.values_NU.shape
        return n_images, n_units

    @property
    def rows_at_once(self) -> int:
        return _ROWS_AT_ONCE

    def of_units(self, units: range) -> NDArray[Any]:
        found: NDArray[Any] = self.values_NU[:, units.start : units.stop]
        return found

    def of_rows(self, rows: Ints) -> NDArray[Any]:
        found: NDArray[Any] = self.values_NU[rows]
        return found


@dataclass(frozen=True, eq=False)
class LayerOfStore:
    """A layer of a complete store; positions are averaged."""

    store: ActivationStore
    layer: str

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.store), self.store.shapes[self.layer][0]

    @property
    def rows_at_once(self) -> int:
        return int(self.store.identity["shard_rows"])

    def of_units(self, units: range) -> NDArray[np.float32]:
        return self.store.units(self.layer, units)

    def of_rows(self, rows: Ints) -> NDArray[np.float32]:
        from Activation_Extraction.store.files import spatial_mean

        return spatial_mean(self.store.rows(self.layer, rows))  # type: ignore[arg-type]

    @property
    def about(self) -> dict[str, Any]:
        """What a signature says of it."""
        from Activation_Extraction.base.files import sha256_of
        from Activation_Extraction.store.files import COMPLETE

        complete = self.store.path / COMPLETE
        return {
            "store": self.store.path.name, "sha256": sha256_of(complete, self.store.path),
            "layer": self.layer, **self.store.identity,
        }  # fmt: skip

    @property
    def network(self) -> str:
        """The name of its network."""
        return str(self.store.identity.get("model", "?"))

    def same_network(self, other: LayerOfStore) -> bool:
        """Whether both layers are of one network: of one name, or with the same weights."""
        mine, theirs = (layer.store.identity.get("provenance") or {} for layer in (self, other))
        alike = any(name in mine and mine[name] == theirs.get(name) for name in HASHES)
        return alike or self.network == other.network


def layer_of_store(source: str | os.PathLike[str] | ActivationStore, layer: str | None, option: str) -> LayerOfStore:
    """A layer of a complete store.

    Args:
        layer: by any of its names; None for the only one.
        option: what names the layer, for messages.

    Raises:
        InputError: no store, an unfinished one, no such layer, several to choose from.
    """
    store = complete_store(source)
    if layer is None and len(store.layers) > 1:
        raise InputError(f"{option}: none given; {store.path} has {', '.join(store.layers)}; expected one of them")
    return LayerOfStore(store, store.resolve_layer(layer or store.layers[0]))


def matched_rows(scored: LayerOfStore, other: LayerOfStore) -> Ints:
    """The row in another store of each image of a store, `(N,)`, by SHA-256; −1 for images that one of them could not read.

    Raises:
        InputError: the other store lacks some of the images.
    """
    row_of: dict[str, int] = {}
    broken = set()
    for row, (name, sha256, error) in enumerate(_images(other)):
        if error:
            broken.add(name)
        elif sha256:
            row_of.setdefault(sha256, row)
    mine = _images(scored)
    row_N, lost = np.full(len(mine), -1, np.int64), []
    for i, (name, sha256, error) in enumerate(mine):
        if error:
            continue
        if sha256 in row_of:
            row_N[i] = row_of[sha256]
        elif name not in broken:
            lost.append(name)
    if lost:
        named = ", ".join(listed_up_to(lost, _SHOWN_IMAGES))
        raise InputError(
            f"{other.store.path}: {len(lost):,} of the {len(mine):,} images of {scored.store.path} are not in it, by "
            f"hash ({named}); expected a store of the same images"
        )
    return row_N


def _images(layer: LayerOfStore) -> list[tuple[str, str, str]]:
    """Name, SHA-256 and error of each image; both of the latter may be empty."""
    table = layer.store.images
    columns = (table[name].fillna("").astype(str).tolist() for name in ("image", "sha256", "error"))
    return list(zip(*columns, strict=True))


def rows_without_values(layer: Layer) -> Bools:
    """Images on which every unit is NaN, `(N,)`."""
    missing_N = np.isnan(layer.of_units(range(1))[:, 0])
    candidates = np.flatnonzero(missing_N)
    for at in range(0, len(candidates), _ROWS_AT_ONCE):
        rows = candidates[at : at + _ROWS_AT_ONCE]
        missing_N[rows] = np.isnan(layer.of_rows(rows)).all(1)
    return np.asarray(missing_N)


def batches(layer: Layer, counts_N: Bools) -> Iterator[Ints]:
    """The images that count, in the batches in which a layer is best read."""
    for at in range(0, len(counts_N), layer.rows_at_once):
        yield at + np.flatnonzero(counts_N[at : at + layer.rows_at_once])
