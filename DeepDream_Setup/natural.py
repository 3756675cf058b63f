"""Your own pictures: natural images to compare with, and labelled pictures for facets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.images.reading import read_image
from Activation_Extraction.images.sets import ImageSet
from DeepDream_Setup.quality import network_pixels


def pixels_of_set(
    images: ImageSet, image_input: ImageInput, advance: Callable[[int], None] = lambda count: None
) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a set as the network sees them, H × W × C.

    Raises:
        ImageError: a picture cannot be read.
    """
    for row in range(len(images)):
        yield network_pixels(read_image(images.read(row), name=images.name(row)), image_input)
        advance(1)


def labels_of_set(images: ImageSet) -> list[str]:
    """The column `concept` of a set; for folders, the subfolder's name.

    Raises:
        InputError: no such column, or a picture without a concept.
    """
    found = images.table["concept"].to_pylist() if "concept" in images.table.column_names else []
    if not found or None in found:
        raise InputError(
            "facet images: no concept; expected a subfolder for each facet, or a table with the column concept"
        )
    return [str(concept) for concept in found]
