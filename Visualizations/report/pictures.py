"""Pictures within the page: small copies as data, the pictures that activate a unit most, and what it was rendered to prefer."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pandas as pd
from PIL import Image

from Activation_Extraction.base.names import without_folders
from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.images.wall import in_digits
from Activation_Extraction.store.reader import ActivationStore
from Activation_Extraction.top_images import pictures_of, top_images
from Visualizations.report.network import check_network
from Visualizations.run import Run

TOP = 9
"""Pictures of a unit."""
SMALL, LARGE = 176, 320
"""Pixels of the longer side of the copies of pictures and of renders: twice what they are shown at."""
_QUALITY = 78


@dataclass(frozen=True)
class Shown:
    """A picture of the page.

    Attributes:
        source: its bytes as a `data:` address; width, height: of the copy.
        alt: what it is, in words; caption: below it; value: beside the caption.
        of_concept: whether it shows the neuron's concept, where that is known.
    """

    source: str
    width: int
    height: int
    alt: str
    caption: str
    value: str = ""
    of_concept: bool | None = None


@dataclass(frozen=True)
class Pictures:
    """Pictures of one unit, and a line on what they are."""

    shown: Sequence[Shown]
    about: str


def small_copy(picture: Image.Image, side: int) -> tuple[str, int, int]:
    """A picture as a `data:` address, WebP, its longer side at most so many pixels; and the size of the copy."""
    copy = picture.convert("RGB")
    copy.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = BytesIO()
    copy.save(file, "WEBP", quality=_QUALITY, method=4)
    return f"data:image/webp;base64,{b64encode(file.getvalue()).decode()}", copy.width, copy.height


class TopPictures:
    """The pictures that activate units most, by the statistics of stores; compared by hash.

    Raises:
        InputError: stores that cannot be read, are unfinished, or of another network; of `of`, pictures that are not found or
            are others.
    """

    def __init__(self, run: Run, images: ImageSet) -> None:
        from InterpScore.tables.from_stores import neurons_in_stores

        self._images, self._paths = images, run.sources.stores
        self._named = {row["row"]: row["Neuron"] for row in run.table.to_dict("records")}
        if "Layer" in run.table:
            self._named = {row["row"]: f"{row['Layer']}:{row['Neuron']}" for row in run.table.to_dict("records")}
            layers = list(run.table["Layer"].unique())
        else:
            layers = list(dict.fromkeys(str(one["layer"]) for one in run.measured if "layer" in one))
        concepts_of = dict.fromkeys(self._named.values(), ("",))
        self._stored = neurons_in_stores(run.sources.stores, layers, concepts_of)
        for layer in self._stored.layers:
            check_network(run, layer.store.identity, str(layer.store.path))

    def of(self, row: Mapping[str, Any]) -> Pictures | str:
        """The pictures of a row of the results, or why there are none."""
        name = self._named[row["row"]]
        found = {
            neuron: place
            for neuron, place in self._stored.place_of.items()
            if neuron in (name, name.rpartition(":")[2]) or neuron.endswith(f":{name}")
        }
        if len(found) != 1:
            many = "a unit of several layers of the store; the results name none" if found else "not in the store"
            return str(without_folders(self._stored.absent.get(name, many), self._paths))
        ((place, unit),) = found.values()
        return _top(place.store, place.layer, unit, row["Concept"], self._images)


def _top(store: ActivationStore, layer: str, unit: int, concept: str, images: ImageSet) -> Pictures | str:
    kept = store.statistics(layer).top_image_UK.shape[1]
    (best,) = top_images(store, layer, [unit], min(TOP, kept))
    if not best.rows_k:
        return "the store has no activation of it"
    pictures = pictures_of(store, images, best.rows_k)
    known = store.images["concept"] if "concept" in store.images else pd.Series([None] * len(store))
    wanted = {each.strip() for each in concept.split("|")}
    shown = []
    for row, activation in zip(best.rows_k, in_digits(best.activation_k), strict=True):
        has = isinstance(known[row], str) and known[row] != ""
        what = str(known[row]) if has else str(store.images["image"][row])
        shown.append(
            Shown(
                *small_copy(pictures[row], SMALL), f"{what}, activation {activation}", what, activation,
                known[row] in wanted if has else None,
            )
        )  # fmt: skip
    about = f"The {len(shown)} of {len(store):,} images that activate it most, with the activation"
    hits = [each.of_concept for each in shown if each.of_concept is not None]
    return Pictures(shown, f"{about}; {sum(hits)} of {len(hits)} show its concept." if hits else f"{about}.")
