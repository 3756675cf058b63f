"""Activations from stores instead of columns: the layer and unit of each neuron, and its values by image.

Shapes: U neurons, I images of the table, F of them found in a store, N rows of a store.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from Activation_Extraction.base.errors import did_you_mean, listed_up_to
from Activation_Extraction.base.files import sha256_of
from InterpScore.errors import InputError, shown
from InterpScore.helpers import Floats, Ints
from InterpScore.tables.experiment_rows import SHA256_COLUMN
from InterpScore.tables.image_names import rows_of_images
from InterpScore.tables.neuron_map import Concepts

if TYPE_CHECKING:
    from Activation_Extraction.store.reader import ActivationStore

SHOWN_IMAGES = 3
"""Images named in a message; the rest are counted."""
UNITS_AT_ONCE = 64
"""256 MB for a million images."""

_UNIT = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class StoredLayer:
    """A layer of a store, and its name in the results."""

    store: ActivationStore
    layer: str
    label: str

    def answers_to(self, name: str) -> bool:
        """Whether this layer has a name."""
        try:
            return name == self.label or self.store.resolve_layer(name) == self.layer
        except InputError:
            return False


@dataclass(frozen=True)
class StoredNeurons:
    """The neurons of a map, in stores.

    Attributes:
        layers: the layers that are scored.
        concepts_of: neuron → its concepts. A neuron is named by its unit, or `layer:unit` with several layers.
        layer_of: neuron → the layer's name in the results.
        place_of: neuron → its layer and unit.
        absent: neuron that no layer has → the reason.
    """

    layers: list[StoredLayer]
    concepts_of: dict[str, Concepts] = field(default_factory=dict)
    layer_of: dict[str, str] = field(default_factory=dict)
    place_of: dict[str, tuple[StoredLayer, int]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def units(self) -> list[str]:
        """The neurons that have activations."""
        return list(self.place_of)

    @property
    def layer_units(self) -> dict[str, int]:
        """The layer's name in the results → how many units it has."""
        return {layer.label: layer.store.shapes[layer.layer][0] for layer in self.layers}

    @property
    def source(self) -> str:
        """The stores, for messages."""
        return ", ".join(dict.fromkeys(str(layer.store.path) for layer in self.layers))

    def unit_of(self, neuron: str) -> str:
        """A neuron's unit, without its layer."""
        return neuron.removeprefix(f"{self.layer_of[neuron]}:")

    def activations(
        self, images: Sequence[str], source: str, sha256_I: Sequence[str] | None = None
    ) -> tuple[Floats, list[str]]:
        """Activations of `units` on the named images of a table, `(U, I)`, NaN where missing, and remarks on those.

        Args:
            sha256_I: of the images' files, if the table has them; "" where it is not known.

        Raises:
            InputError: no image of the table is in a store, an ambiguous name, or an image that is another file there.
        """
        activation_UI = np.full((len(self.place_of), len(images)), np.nan)
        stores = {id(layer.store): layer.store for layer in self.layers}
        remarks: list[str] = []
        row_of = {key: _rows(store, images, source, remarks, sha256_I) for key, store in stores.items()}
        for layer in self.layers:
            mine = [(u, unit) for u, (place, unit) in enumerate(self.place_of.values()) if place is layer]
            row_I = row_of[id(layer.store)]
            found_I, odd = row_I >= 0, 0
            mine.sort(key=lambda pair: pair[1])
            for start in range(0, len(mine), UNITS_AT_ONCE):
                at, units = zip(*mine[start : start + UNITS_AT_ONCE], strict=True)
                values_UF = layer.store.units(layer.layer, list(units))[row_I[found_I]].T.astype(np.float64)
                odd += int((~np.isfinite(values_UF)).sum())
                activation_UI[np.ix_(at, found_I)] = np.where(np.isfinite(values_UF), values_UF, np.nan)
            if odd:
                remarks.append(f"{layer.store.path}: {odd} activations of {layer.layer} are not finite; they count as missing")  # fmt: skip
        return activation_UI, remarks

    def signature(self) -> list[dict[str, Any]]:
        """Provenance, scored layers and hash of each store.

        The hash is that of the file with the hashes of all others.
        """
        from Activation_Extraction.store.files import COMPLETE  # late: tables alone are scored without

        said: dict[int, dict[str, Any]] = {}
        for layer in self.layers:
            store, complete = layer.store, layer.store.path / COMPLETE
            if id(store) not in said:
                # None of one that is not on disk
                sha256 = sha256_of(complete, store.path) if complete.is_file() else None
                said[id(store)] = {**store.identity, "name": store.path.name, "sha256": sha256, "layers": []}
            said[id(store)]["layers"].append(layer.layer)
        return list(said.values())


def neurons_in_stores(
    stores: Iterable[str | os.PathLike[str] | ActivationStore],
    layers: Sequence[str],
    concepts_of: Mapping[str, Concepts],
) -> StoredNeurons:
    """Find the neurons of a map in stores.

    Args:
        stores: paths or open stores.
        layers: the layers to score, by any of their names; none means all.
        concepts_of: `unit`, of every layer, or `layer:unit` → concepts.

    Raises:
        InputError: no store, an unfinished one, the same twice, a layer that none has, a neuron twice.
    """
    opened = [complete_store(store) for store in stores]
    twice = [path for path, n in Counter(os.path.realpath(store.path) for store in opened).items() if n > 1]
    if twice:
        raise InputError(f"--store: found {twice[0]} more than once; expected each store once")
    found = StoredNeurons(_chosen_layers(opened, layers))
    labels = [layer.label for layer in found.layers]
    for key, concepts in concepts_of.items():
        named, colon, unit = key.rpartition(":")
        answering = [layer for layer in found.layers if not colon or layer.answers_to(named)]
        for layer in answering:
            neuron = f"{layer.label}:{unit}" if len(labels) > 1 else unit
            if neuron in found.concepts_of:
                raise InputError(f"the neuron map: neuron {key} is named more than once; expected each neuron once")
            found.concepts_of[neuron], found.layer_of[neuron] = concepts, layer.label
            units = layer.store.shapes[layer.layer][0]
            if _UNIT.fullmatch(unit) and int(unit) < units:
                found.place_of[neuron] = layer, int(unit)
            else:
                found.absent[neuron] = (
                    f"no unit {unit} in {layer.layer} of {layer.store.path}, which has 0 to {units - 1}"
                )
        if not answering:
            hint = did_you_mean(named, labels)
            found.concepts_of[key], found.layer_of[key] = concepts, named
            found.absent[key] = f"no layer '{named}' among those scored{hint}"
    return found


def _rows(
    store: ActivationStore, images: Sequence[str], source: str, remarks: list[str], sha256_I: Sequence[str] | None
) -> Ints:
    """The row of each image of the table, `(I,)`; -1 where its activations are missing, with the reason in `remarks`."""
    table = store.images
    row_I = rows_of_images(images, table["image"].astype(str).tolist(), source, str(store.path))
    if sha256_I is not None:
        _refuse_other_files(store, images, row_I, sha256_I, source)
    _refuse_different_twins(store, table[table["image"].isin(table["image"].iloc[row_I[row_I >= 0]])])
    absent = [name for name, row in zip(images, row_I, strict=True) if row < 0]
    if absent:
        remarks.append(
            f"{store.path}: {len(absent)} of {len(images)} images of {source} are not in the store "
            f"({', '.join(listed_up_to(absent, SHOWN_IMAGES))}); their activations are missing"
        )
    error_N = table["error"].fillna("").astype(str).to_numpy()
    broken_I = (row_I >= 0) & (error_N[row_I] != "")
    if broken_I.any():
        why = [error.partition("; expected ")[0] for error in error_N[row_I[broken_I]]]
        remarks.append(
            f"{store.path}: {int(broken_I.sum())} of {len(images)} images of {source} could not be read when it was "
            f"made ({'; '.join(listed_up_to(why, SHOWN_IMAGES))}); their activations are missing"
        )
    return np.where(broken_I, -1, row_I)


def _refuse_other_files(
    store: ActivationStore, images: Sequence[str], row_I: Ints, sha256_I: Sequence[str], source: str
) -> None:
    """Refuse images of a table that have the name of an image in the store, and are other files."""
    stored = store.images["sha256"].fillna("").astype(str).tolist()
    pairs = zip(images, row_I.tolist(), sha256_I, strict=True)
    others = [image for image, row, sha256 in pairs if row >= 0 and sha256 and stored[row] and stored[row] != sha256]
    if others:
        raise InputError(
            f"{source}: {len(others)} of its images are other files in {store.path} "
            f"({', '.join(listed_up_to(others, SHOWN_IMAGES))}; their SHA-256 differs from {SHA256_COLUMN}); expected the "
            "activations of these images: extract again"
        )


def _refuse_different_twins(store: ActivationStore, table: pd.DataFrame) -> None:
    """Refuse rows with the same name and different contents."""
    twins = table[table["image"].duplicated(keep=False) & table["sha256"].notna()]
    for name, sha256 in twins.groupby("image", sort=False)["sha256"]:
        if sha256.nunique() > 1:
            other = sha256.index[sha256 != sha256.iloc[0]][0]
            raise InputError(
                f"{store.path}: rows {sha256.index[0]} and {other} are both called {shown(name)} and are different "
                "images; expected a name for each"
            )


def complete_store(store: str | os.PathLike[str] | ActivationStore) -> ActivationStore:
    """A store that is complete; raises `InputError` for one that is not."""
    if isinstance(store, str | os.PathLike):
        from Activation_Extraction.store.files import zarr_package
        from Activation_Extraction.store.reader import ActivationStore  # late: tables alone are scored without

        zarr_package()  # says how to get it where it is not installed
        store = ActivationStore.open(store)
    if not store.is_complete:
        missing = sum(len(shard.rows) for shard in store.missing_shards())
        raise InputError(
            f"{store.path}: unfinished, {missing:,} of {len(store):,} images are still to be computed; expected a "
            "complete store (the same `interpscore extract` command again resumes it)"
        )
    return store


def _chosen_layers(stores: Sequence[ActivationStore], names: Sequence[str]) -> list[StoredLayer]:
    """The layers to score in the order of the stores, each with a unique name for the results."""
    chosen: list[tuple[ActivationStore, str]] = []
    refused: dict[str, list[str]] = {name: [] for name in names}
    for store in stores:
        wanted = [] if names else list(store.shapes)
        for name in names:
            try:
                wanted.append(store.resolve_layer(name))
            except InputError as error:
                refused[name] += error.problems
        if not wanted and len(stores) > 1:
            raise InputError(f"{store.path}: has none of the layers {', '.join(names)}; expected at least one of them")
        chosen += [(store, layer) for layer in dict.fromkeys(wanted)]
    nowhere = [problems for problems in refused.values() if len(problems) == len(stores)]
    if nowhere:
        raise InputError([problem for problems in nowhere for problem in problems])
    count = Counter(layer for _, layer in chosen)
    name_count = Counter((store.path.name, layer) for store, layer in chosen)

    def label(store: ActivationStore, layer: str) -> str:
        if count[layer] == 1:
            return layer
        return f"{store.path.name if name_count[store.path.name, layer] == 1 else store.path}:{layer}"

    return [StoredLayer(store, layer, label(store, layer)) for store, layer in chosen]
