"""Activations from stores in place of columns: which unit of which layer a neuron is, and its values by image.

Shapes: U neurons, I images of the table, F of them found in a store, N rows of a store.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from Activation_Extraction.base.errors import did_you_mean
from Activation_Extraction.base.files import sha256_of
from InterpScore.errors import InputError, Problem, shown
from InterpScore.helpers import Floats, Ints
from InterpScore.tables.image_names import rows_of_images
from InterpScore.tables.neuron_map import Concepts

SHOWN_IMAGES = 3
"""How many images of each kind are named; the rest are counted."""
UNITS_AT_ONCE = 64
"""Of a store with a million images these take 256 MB."""

_UNIT = re.compile(r"[0-9]{1,18}")


class Store(Protocol):
    """What is read of `Activation_Extraction.store.reader.ActivationStore`."""

    path: Path
    identity: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]

    def __len__(self) -> int: ...

    @property
    def is_complete(self) -> bool: ...

    @property
    def images(self) -> pd.DataFrame: ...

    def missing_shards(self) -> Sequence[Any]: ...

    def resolve_layer(self, name: str) -> str: ...

    def units(self, layer: str, units: Sequence[int]) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class StoredLayer:
    """A layer of a store, and what the results call it."""

    store: Store
    layer: str
    label: str

    def answers_to(self, name: str) -> bool:
        """Whether a name is one of this layer's."""
        if name == self.label:
            return True
        try:
            return self.store.resolve_layer(name) == self.layer
        except InputError:
            return False


@dataclass(frozen=True)
class StoredNeurons:
    """The neurons of a map, in stores.

    Attributes:
        layers: the layers that are scored.
        concepts_of: neuron → its concepts. A neuron is called by its unit, or `layer:unit` where there are several layers.
        layer_of: neuron → the layer's name in the results.
        place_of: neuron → its layer and unit.
        absent: neuron that no layer has → why.
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
    def source(self) -> str:
        """The stores, for messages."""
        return ", ".join(dict.fromkeys(str(layer.store.path) for layer in self.layers))

    def unit_of(self, neuron: str) -> str:
        """A neuron's unit, without its layer."""
        return neuron.removeprefix(f"{self.layer_of[neuron]}:")

    def activations(self, images: Sequence[str], source: str) -> tuple[Floats, list[str]]:
        """Activations of `units` on the images of a table, `(U, I)`, and remarks on those that are missing, NaN.

        Args:
            images: their names, each once.
            source: what to call the table in a message.

        Raises:
            InputError: no image of the table is in a store, or a name that fits several.
        """
        activation_UI = np.full((len(self.place_of), len(images)), np.nan)
        stores = {id(layer.store): layer.store for layer in self.layers}
        remarks: list[str] = []
        row_of = {key: _rows(store, images, source, remarks) for key, store in stores.items()}
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
                remarks.append(
                    f"{layer.store.path}: {odd} activations of {layer.layer} are not finite; they count as missing"
                )
        return activation_UI, remarks

    def signature(self) -> list[dict[str, Any]]:
        """What each store says of where its activations come from, which of its layers are scored, and its hash.

        The hash is of the file that vouches for all others of a store, so it is that of every number in it.
        """
        from Activation_Extraction.store.files import COMPLETE  # late: tables alone are scored without

        said: dict[int, dict[str, Any]] = {}
        for layer in self.layers:
            store, complete = layer.store, layer.store.path / COMPLETE
            if id(store) not in said:
                sha256 = sha256_of(complete) if complete.is_file() else None  # None of one that is not on disk
                said[id(store)] = {"path": str(store.path), "sha256": sha256, **store.identity, "layers": []}
            said[id(store)]["layers"].append(layer.layer)
        return list(said.values())


def neurons_in_stores(
    stores: Iterable[str | os.PathLike[str] | Store], layers: Sequence[str], concepts_of: Mapping[str, Concepts]
) -> StoredNeurons:
    """Find the neurons of a map in stores.

    Args:
        stores: paths of stores, or open ones.
        layers: the layers to score, by any of their names; none means all.
        concepts_of: unit → concepts, for every layer; `layer:unit` for one of them.

    Raises:
        InputError: no store there, an unfinished one, the same twice, a layer that none has, a neuron twice.
    """
    opened = [_opened(store) for store in stores]
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
                raise InputError(
                    [Problem("the neuron map", f"neuron {key} is named more than once", "each neuron once")]
                )
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


def _rows(store: Store, images: Sequence[str], source: str, remarks: list[str]) -> Ints:
    """The row of each image of the table, `(I,)`; -1 where its activations are missing, and remarks say why."""
    table = store.images
    row_I = rows_of_images(images, table["image"].astype(str).tolist(), source, str(store.path))
    _refuse_different_twins(store, table[table["image"].isin(table["image"].iloc[row_I[row_I >= 0]])])
    absent = [name for name, row in zip(images, row_I, strict=True) if row < 0]
    if absent:
        remarks.append(
            f"{store.path}: {len(absent)} of {len(images)} images of {source} are not in the store "
            f"({_first(absent)}); their activations are missing"
        )
    error_N = table["error"].fillna("").astype(str).to_numpy()
    broken_I = (row_I >= 0) & (error_N[row_I] != "")
    if broken_I.any():
        remarks.append(
            f"{store.path}: {int(broken_I.sum())} of {len(images)} images of {source} could not be read when it was "
            f"made ({_first(error_N[row_I[broken_I]])}); their activations are missing"
        )
    return np.where(broken_I, -1, row_I)


def _refuse_different_twins(store: Store, table: pd.DataFrame) -> None:
    """Of rows with the same name the first counts, which is a guess where the files differ."""
    twins = table[table["image"].duplicated(keep=False) & table["sha256"].notna()]
    for name, sha256 in twins.groupby("image", sort=False)["sha256"]:
        if sha256.nunique() > 1:
            other = sha256.index[sha256 != sha256.iloc[0]][0]
            raise InputError(
                f"{store.path}: rows {sha256.index[0]} and {other} are both called {shown(name)} and are different "
                "images; expected a name for each"
            )


def _opened(store: str | os.PathLike[str] | Store) -> Store:
    """A store that is complete."""
    if isinstance(store, str | os.PathLike):
        from Activation_Extraction.store.files import zarr_package
        from Activation_Extraction.store.reader import ActivationStore  # late: tables alone are scored without

        zarr_package()  # says how to get it where it is not installed
        store = ActivationStore.open(store)
    if not store.is_complete:
        missing = sum(len(shard.rows) for shard in store.missing_shards())
        raise InputError(
            f"{store.path}: unfinished, {missing:,} of {len(store):,} images are still to be computed; expected a "
            "complete store (the same `interpscore extract` command again goes on with it)"
        )
    return store


def _chosen_layers(stores: Sequence[Store], names: Sequence[str]) -> list[StoredLayer]:
    """The layers to score in the order of the stores, each with a name of its own for the results."""
    chosen: list[tuple[Store, str]] = []
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

    def label(store: Store, layer: str) -> str:
        if count[layer] == 1:
            return layer
        return f"{store.path.name if name_count[store.path.name, layer] == 1 else store.path}:{layer}"

    return [StoredLayer(store, layer, label(store, layer)) for store, layer in chosen]


def _first(names: Iterable[object]) -> str:
    words = [str(name) for name in names]
    return ", ".join(words[:SHOWN_IMAGES]) + (", …" if len(words) > SHOWN_IMAGES else "")
