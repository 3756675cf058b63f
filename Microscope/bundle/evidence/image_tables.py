"""What the tables of `--images` say of pictures, where the store's own table does not: concepts, sources, licences."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.images.places import ImageError
from Activation_Extraction.images.sets import ImageSet
from Microscope.bundle.layers import TOLD, SourceLayer
from Microscope.bundle.pictures import Wanted, candidates_of

Columns = Mapping[str, Sequence[object]]


def with_image_tables(layers: Sequence[SourceLayer], images: ImageSet) -> list[SourceLayer]:
    """Layers that know what an image set says of their pictures, which are found by name and SHA-256 as tiles are.

    Raises:
        InputError: a name with two values in a column that is needed.
    """
    told: dict[int, Columns] = {}
    for layer in layers:
        if id(layer.store) not in told:
            told[id(layer.store)] = _told(layer, images)
    return [replace(layer, told=told[id(layer.store)]) for layer in layers]


def _told(layer: SourceLayer, images: ImageSet) -> Columns:
    needed = [name for name in TOLD if name in images.table.column_names and name not in layer.store.images]
    if not needed:
        return {}
    table = images.table.select(["image", *needed]).to_pandas()
    for name in needed:
        if (several := table.groupby("image", sort=False)[name].nunique() > 1).any():
            raise InputError(f"--images: image {shown(several.idxmax())} has more than one {name}; expected one")

    @cache
    def sha256(row: int) -> str:
        try:
            return hashlib.sha256(images.read(row)).hexdigest()
        except ImageError:
            return "unreadable"

    wanted = [Wanted(name, digest) for name, digest in zip(layer.names, layer.hashes, strict=True)]
    rows = [
        next((row for row in candidates if one.sha256 and sha256(row) == one.sha256), None)
        for one, candidates in zip(wanted, candidates_of(images, wanted), strict=True)
    ]
    cells = {name: table[name].tolist() for name in needed}
    return {name: [None if row is None else cells[name][row] for row in rows] for name in needed}
