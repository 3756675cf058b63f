"""Activations of the units of stores that are of the same images. Shapes: U units, N images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from InterpScore.errors import InputError, shown
from InterpScore.helpers import Ints
from InterpScore.tables.from_stores import StoredLayer

if TYPE_CHECKING:
    from Activation_Extraction.store.reader import ActivationStore


def refuse_different_images(stores: Sequence[ActivationStore]) -> None:
    """See to it that stores are of the same images.

    Raises:
        InputError: they are not.
    """
    first = stores[0]
    for store in stores[1:]:
        ours, theirs = first.images, store.images
        if len(ours) != len(theirs):
            raise InputError(
                f"{store.path}: {len(theirs):,} images, and {len(ours):,} in {first.path}; expected stores of the same images"
            )
        for column in ("image", "sha256"):
            differ = np.flatnonzero(ours[column].fillna("").to_numpy() != theirs[column].fillna("").to_numpy())
            if len(differ):
                row = int(differ[0])
                found = f"row {row} is {shown(theirs['image'].iloc[row])}"
                other = "another picture" if column == "sha256" else shown(ours["image"].iloc[row])
                raise InputError(f"{store.path}: {found}, in {first.path} {other}; expected stores of the same images")


def activations_of(layers: Sequence[StoredLayer], rows: Ints, advance: Callable[[int], None]) -> NDArray[np.float32]:
    """The units of layers on some rows of their stores, `(U, N)`.

    Args:
        advance: called with the number of images read.
    """
    from Activation_Extraction.store.files import spatial_mean

    counts = [layer.store.shapes[layer.layer][0] for layer in layers]
    a_UN = np.empty((sum(counts), len(rows)), dtype=np.float32)
    start = 0
    for layer, count in zip(layers, counts, strict=True):
        for shard in layer.store.shards():
            here = np.flatnonzero((rows >= shard.rows.start) & (rows < shard.rows.stop))
            if len(here):
                block = spatial_mean(layer.store.block(layer.layer, shard))
                a_UN[start : start + count, here] = block[rows[here] - shard.rows.start].T
            advance(len(shard.rows))
        start += count
    return a_UN
