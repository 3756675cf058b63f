"""A layer of an untrained network on the images of a table: its activations and effects, read some units at a time.

Shapes: U units, I images of the table, M images that effects were measured on, N rows of the store.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from Activation_Extraction.base.documents import parquet_file
from Activation_Extraction.base.errors import shown
from InterpScore.baselines.stores import effects_path, seeds_of, untrained_stores
from InterpScore.errors import InputError
from InterpScore.helpers import Floats, Ints
from InterpScore.tables.effects import EFFECTS, IMAGE_COLUMNS, provenance_of_effects, unit_column
from InterpScore.tables.from_stores import StoredNeurons
from InterpScore.tables.image_names import rows_of_images

if TYPE_CHECKING:
    from Activation_Extraction.store.reader import ActivationStore


@dataclass(frozen=True)
class UntrainedLayer:
    """One layer of one untrained network.

    Attributes:
        store, layer, seed: where its activations are.
        row_I: the row of each image of the table; -1 where there is none, or it could not be read.
        images: their names.
        effects: the file of its units' effects; None where they were not measured.
    """

    store: ActivationStore
    layer: str
    seed: int
    row_I: Ints
    images: Sequence[str] = field(repr=False)
    effects: Path | None = None

    @property
    def units(self) -> int:
        return self.store.shapes[self.layer][0]

    def activations(self, units: Sequence[int], rows: Ints) -> Floats:
        """Of some units on rows of the store, `(U, N)`; NaN where a row is -1 or a value is missing."""
        values_NU = self.store.units(self.layer, units)[rows].astype(np.float64)
        values_NU[rows < 0] = np.nan
        return np.where(np.isfinite(values_NU), values_NU, np.nan).T

    def effects_of(self, units: Sequence[int]) -> list[Floats]:
        """Effects of ablating and of amplifying some units on the images of the table, `(U, I)` each; NaN where unknown."""
        if self.effects is None:
            return [np.full((len(units), len(self.images)), np.nan) for _ in EFFECTS]
        with parquet_file(self.effects, "effects of an untrained network") as file:
            out = []
            for kind in EFFECTS:
                read = file.read(columns=[unit_column(kind, unit) for unit in units])
                values_UM = np.stack([column.to_numpy(zero_copy_only=False) for column in read.columns])
                out.append(np.where(self._effect_row_I >= 0, values_UM[:, self._effect_row_I].astype(float), np.nan))
        return out

    @cached_property
    def _effect_row_I(self) -> Ints:
        assert self.effects is not None
        with parquet_file(self.effects, "effects of an untrained network") as file:
            names = file.read(columns=[IMAGE_COLUMNS[0]])[IMAGE_COLUMNS[0]].to_pylist()
        return rows_of_images(self.images, names, "the table", str(self.effects))


def untrained_layers(
    folder: str | os.PathLike[str], stored: StoredNeurons | None, images: Sequence[str], source: str
) -> dict[str, list[UntrainedLayer]]:
    """Layer of the neurons ("" without stores) → that layer of each untrained network of a baseline.

    Args:
        folder: as `interpscore baseline` writes it.
        stored: the trained units' stores, which the baseline must fit; None where a table has their activations.
        images: of the table `source`.

    Raises:
        InputError: what `untrained_stores` refuses; several layers to choose from; effects of another network.
    """
    path = Path(folder)
    if stored is None:
        stores = untrained_stores(path)
        if len(stores[0].layers) > 1:
            named = ", ".join(stores[0].layers)
            raise InputError(f"--baseline {path}: has layers {named}, and the table does not say which one its units are of; expected --store, the trained network's store")  # fmt: skip
        wanted = {"": stores[0].layers[0]}
    else:
        for store in {id(one.store): one.store for one in stored.layers}.values():
            stores = untrained_stores(path, store, [one.layer for one in stored.layers if one.store is store])
        wanted = {one.label: one.layer for one in stored.layers}
    seeds, row_I = seeds_of(path), _rows(stores[0], images, source)
    return {
        label: [
            UntrainedLayer(store, layer, seed, row_I, images, _effects(path, seed, store, layer))
            for seed, store in zip(seeds, stores, strict=True)
        ]
        for label, layer in wanted.items()
    }


def _rows(store: ActivationStore, images: Sequence[str], source: str) -> Ints:
    row_I = rows_of_images(images, store.images["image"].astype(str).tolist(), source, str(store.path))
    unread_N = (store.images["error"].fillna("") != "").to_numpy()
    return np.where(unread_N[row_I], -1, row_I)


def _effects(folder: Path, seed: int, store: ActivationStore, layer: str) -> Path | None:
    """The effects of the units of a layer, if they were measured in the network of a store."""
    path = effects_path(folder, seed)
    if not path.is_file():
        return None
    about = provenance_of_effects(path)
    ours: dict[str, Any] = store.identity.get("provenance") or {}
    theirs: dict[str, Any] = about.get("provenance") or {}
    for name in ("weights", "state_sha256"):
        if ours.get(name) != theirs.get(name):
            raise InputError(f"{path}: {name} {shown(theirs.get(name))}; expected {shown(ours.get(name))}, as {store.path} has")  # fmt: skip
    return path if about.get("layer") == layer else None
