"""Where in its top pictures a unit fires, from the maps that `interpscore extract --maps` kept in the store."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from Activation_Extraction.store.maps import TopMaps, top_maps
from Microscope.bundle.evidence.known import Known
from Microscope.bundle.layers import SourceLayer

LARGEST = 24
"""Positions per side of a map in a bundle; finer ones are averaged."""
_SQUEEZED = "published"
"""The preprocessing that squeezes the whole picture into the network's square, of which tiles show the center."""


def add_maps(layers: Sequence[SourceLayer], known: Mapping[str, Known]) -> None:
    """Note the maps of each layer's units, or why there are none.

    Raises:
        InputError: maps that are unfinished, damaged, or of the store before it grew.
    """
    for layer in layers:
        of, maps = known[layer.key], top_maps(layer.store, layer.layer)
        if layer.store.identity.get("preprocessing") == _SQUEEZED:
            of.not_measured["heat"] = "the network saw whole pictures squeezed, of which the center is shown"
        elif maps is None:
            of.not_measured["heat"] = "the store keeps no maps (interpscore extract --maps 16)"
        else:
            of.heat = {unit: dict(_heat_of(maps, unit)) for unit in range(layer.units)}


def _heat_of(maps: TopMaps, unit: int) -> list[tuple[int, tuple[str, tuple[int, int]]]]:
    """Row of an image → its map as the bundle keeps it: base64 of h × w values, and h and w."""
    ranks = np.nonzero(maps.rows_UK[unit] >= 0)[0].tolist()
    return [(int(maps.rows_UK[unit, rank]), as_heat(maps.values(unit, rank))) for rank in ranks]


def as_heat(activation_hw: NDArray[np.float32]) -> tuple[str, tuple[int, int]]:
    """A map in steps from 0 (the unit is at 0 or below) to 255 (its largest activation in this picture)."""
    side = max(activation_hw.shape)
    if side > LARGEST:
        size = tuple(max(1, round(length * LARGEST / side)) for length in activation_hw.shape[::-1])
        activation_hw = np.asarray(Image.fromarray(activation_hw).resize(size, Image.Resampling.BOX))
    largest = float(activation_hw.max())
    share_hw = np.clip(activation_hw / largest, 0, 1) if largest > 0 else np.zeros_like(activation_hw)
    h, w = activation_hw.shape
    return b64encode(np.rint(share_hw * 255).astype(np.uint8).tobytes()).decode(), (h, w)
