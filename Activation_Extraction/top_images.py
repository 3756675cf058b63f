"""What units like best: their top images in a store, found again by name and hash, as a wall of pictures.

pixels_HWC = top_images_wall(ActivationStore.open("acts.zarr"), "layer4.5", [22, 52], image_set("photos/"))
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from Activation_Extraction.base.errors import InputError, listed_up_to
from Activation_Extraction.images.places import ImageError
from Activation_Extraction.images.reading import read_image
from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.images.wall import Row, Tile, draw_wall, in_digits
from Activation_Extraction.store.reader import ActivationStore

_SHOWN = 5


@dataclass(frozen=True)
class TopImages:
    """The images that activate a unit most, best first.

    Attributes:
        rows_k: their rows in the store; activation_k: the unit's activation.
    """

    unit: int
    rows_k: Sequence[int]
    activation_k: Sequence[float]


def top_images(store: ActivationStore, layer: str, units: Sequence[int], k: int) -> list[TopImages]:
    """The k images that activate each unit most, over the images computed so far; fewer where there are fewer.

    Raises:
        InputError: no such unit; more images than the store keeps.
    """
    statistics = store.statistics(layer)
    count, kept = statistics.top_image_UK.shape
    if k > kept and kept < len(store):
        raise InputError(f"-k: found {k}; {store.path} keeps {kept} images for each unit (extract with --top-k {k})")
    if wrong := [unit for unit in units if not 0 <= unit < count]:
        raise InputError(f"units: found {wrong[0]}; expected 0 to {count - 1}, the units of {layer}")
    found = []
    for unit in units:
        row_k = statistics.top_image_UK[unit, :k]
        is_image = row_k >= 0
        activation_k = statistics.top_activation_UK[unit, :k]
        found.append(TopImages(unit, row_k[is_image].tolist(), activation_k[is_image].astype(float).tolist()))
    return found


def top_images_wall(
    store: ActivationStore,
    layer: str,
    units: Sequence[int],
    images: ImageSet,
    *,
    k: int = 9,
    concepts: Mapping[int, str] | None = None,
    heading: str | None = None,
) -> NDArray[np.uint8]:
    """A row for each unit: its name, its concept where known, and the images that activate it most, best first.

    Below an image stand its rank and the unit's activation, and its own concept where the store's image table has one.

    Args:
        layer: by any of its names.
        images: where the pictures are.
        concepts: unit → its concept.
        heading: above the rows; None is the model and the layer.

    Returns:
        The pixels of an RGB image, H × W × 3.

    Raises:
        InputError: pictures that are not found, or are others than those the store was made from; each is named.
    """
    layer = store.resolve_layer(layer)
    found = top_images(store, layer, units, k)
    pictures = pictures_of(store, images, (row for one in found for row in one.rows_k))
    known = store.images["concept"] if "concept" in store.images else pd.Series([None] * len(store))
    rows = [
        Row(
            f"unit {one.unit}",
            (concepts or {}).get(one.unit, ""),
            [
                Tile(pictures[row], f"{rank}  {_text(known[row])}".rstrip(), activation)
                for rank, (row, activation) in enumerate(zip(one.rows_k, in_digits(one.activation_k)), start=1)
            ],
        )
        for one in found
    ]
    title = f"{store.identity.get('model', 'network')} · {layer}" if heading is None else heading
    return draw_wall(rows, title, f"the images that activate a unit most, of {len(store):,}; rank, concept, activation")


def pictures_of(store: ActivationStore, images: ImageSet, rows: Iterable[int]) -> dict[int, Image.Image]:
    """The pictures of rows of a store, found in an image set by name, up to folders in front, and by hash.

    Raises:
        InputError: pictures that are not found, or are others than those the store was made from; each is named.
    """
    table = store.images
    in_set: dict[str, list[int]] = {}
    for i, name in enumerate(images.table["image"].to_pylist()):
        in_set.setdefault(_base(name), []).append(i)
    pictures: dict[int, Image.Image] = {}
    absent: list[str] = []
    different: list[str] = []
    for row in dict.fromkeys(rows):
        name, sha256 = str(table["image"][row]), table["sha256"][row]
        candidates = in_set.get(_base(name), [])
        for i in sorted(candidates, key=lambda i, name=name: images.name(i) != name):  # type: ignore[misc]
            try:
                data = images.read(i)
            except ImageError:
                continue
            if hashlib.sha256(data).hexdigest() == sha256:
                pictures[row] = read_image(data, name=name)
                break
        else:
            (different if candidates else absent).append(name)
    problems = []
    for names, what in ((absent, "not found"), (different, "found by name, with other contents")):
        if names:
            problems.append(
                f"images: {len(names)} of the pictures of {store.path} are {what} "
                f"({', '.join(listed_up_to(names, _SHOWN))}); expected those that it was made from"
            )
    if problems:
        raise InputError(problems)
    return pictures


def _base(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _text(value: object) -> str:
    return "" if value is None or (isinstance(value, float) and np.isnan(value)) else str(value)
