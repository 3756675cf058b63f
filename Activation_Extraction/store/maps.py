"""Where in its top images a unit is active: the maps that `interpscore extract --maps` keeps in a store.

They are a job of their own in the folder `__maps__` of the store: each part is a file with the maps of some images. Maps
are kept as 8-bit steps between the smallest and the largest value of each. Shapes: U units, K top images, h × w positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.documents import parse_npz, read_json
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.files import read_bytes, sha256_of
from Activation_Extraction.base.run_folder import RECORDS
from Activation_Extraction.store.files import COMPLETE, group_name
from Activation_Extraction.store.reader import ActivationStore

FOLDER = "__maps__"
"""In the store; no layer has a folder of that name."""
IDENTITY = "identity.json"
FORMAT = "interpscore top maps 1"
_STEPS = 255


@dataclass(frozen=True, eq=False)
class TopMaps:
    """Maps of a layer's units on their top images.

    Attributes:
        rows_UK: rows of the images in the store, as in its statistics; −1 where there is no map.
        steps_UKhw: 8-bit steps from `low_UK` to `high_UK`.
        low_UK, high_UK: the smallest and the largest activation in each map; NaN where there is none.
    """

    rows_UK: NDArray[np.int64]
    steps_UKhw: NDArray[np.uint8]
    low_UK: NDArray[np.float32]
    high_UK: NDArray[np.float32]

    def values(self, unit: int, rank: int) -> NDArray[np.float32]:
        """The activations of a map, `(h, w)`, to within half a step; NaN where there is none."""
        low, high = self.low_UK[unit, rank], self.high_UK[unit, rank]
        return np.asarray(low + (high - low) * (self.steps_UKhw[unit, rank] / np.float32(_STEPS)), np.float32)


def in_steps(map_Mhw: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Maps as a part keeps them: `steps`, `low` and `high`."""
    low_M, high_M = map_Mhw.min((1, 2)), map_Mhw.max((1, 2))
    span_M = np.where(high_M > low_M, high_M - low_M, 1)
    steps = np.rint((map_Mhw - low_M[:, None, None]) / span_M[:, None, None] * _STEPS).astype(np.uint8)
    return {"steps": steps, "low": low_M, "high": high_M}


def as_part(layers: Mapping[str, Mapping[str, NDArray[Any]]]) -> bytes:
    """The file of a part: of each layer `unit`, `rank`, `row`, `steps`, `low`, `high`."""
    buffer = BytesIO()
    arrays = {f"{group_name(layer)}/{name}": array for layer, of in layers.items() for name, array in of.items()}
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def maps_identity(store: ActivationStore, k: int) -> dict[str, Any]:
    """What the maps of a complete store are of."""
    return {"format": FORMAT, "store": sha256_of(store.path / COMPLETE, store.path), "k": k}


def top_maps(store: ActivationStore, layer: str) -> TopMaps | None:
    """The maps of a layer; None where the store keeps none.

    Raises:
        InputError: no such layer; maps that are unfinished, damaged, or of the store before it grew.
    """
    name, folder = store.resolve_layer(layer), store.path / FOLDER
    identity = read_json(folder / IDENTITY, store.path)
    if identity is None:
        return None
    again = "run `interpscore extract --maps` again"
    if identity.get("format") != FORMAT or identity.get("store") != sha256_of(store.path / COMPLETE, store.path):
        raise InputError(f"{folder}: maps of this store before it changed; {again}")
    records = sorted((folder / RECORDS).glob("*.json"))
    if len(records) != identity.get("parts"):
        raise InputError(f"{folder}: unfinished, {len(records)} of {identity.get('parts')} parts; {again}")
    statistics, group = store.statistics(name), group_name(name)
    try:
        k = int(identity["k"])
        rows_UK = statistics.top_image_UK[:, :k]
        parts = [_part(folder, record) for record in records]
        of_layer = [{key: part[f"{group}/{key}"] for key in ("unit", "rank", "row", "steps", "low", "high")} for part in parts if f"{group}/unit" in part]  # fmt: skip
        if not of_layer:
            return None
        of = {key: np.concatenate([part[key] for part in of_layer]) for key in of_layer[0]}
        found = TopMaps(
            np.full(rows_UK.shape, -1, np.int64), np.zeros((*rows_UK.shape, *of["steps"].shape[1:]), np.uint8),
            np.full(rows_UK.shape, np.nan, np.float32), np.full(rows_UK.shape, np.nan, np.float32),
        )  # fmt: skip
        at = of["unit"], of["rank"]
        if not np.array_equal(rows_UK[at], of["row"]):
            raise ValueError("other images than the statistics name")
        found.rows_UK[at], found.steps_UKhw[at] = of["row"], of["steps"]
        found.low_UK[at], found.high_UK[at] = of["low"], of["high"]
    except (ValueError, LookupError, TypeError, OSError) as error:
        raise InputError(f"{folder}: damaged ({error}); {again}") from None
    return found


def _part(folder: Path, record: Path) -> dict[str, NDArray[Any]]:
    stated = (read_json(record, folder) or {})["files"]
    ((name, about),) = stated.items()
    content = read_bytes(folder / name, folder)
    if sha256(content).hexdigest() != about["sha256"]:
        raise ValueError(f"{name} is not what was written")
    return parse_npz(content)
