"""What data are good for: each score, labels and renders, with what is missing and the command to type next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from InterpScore.journey.kinds import Item

MODEL, LAYER = "MODEL", "LAYER"
"""What a reader fills in, where no store names them."""


@dataclass(frozen=True)
class Use:
    """Something that data may be good for.

    Attributes:
        name: as shown; missing: what it needs, empty if it can be had now; step: what to do next, mostly a command.
    """

    name: str
    missing: str
    step: str


@dataclass(frozen=True)
class Data:
    """The items of a folder, as commands name them."""

    items: Sequence[Item]
    folder: Path

    def having(self, *offers: str) -> Item | None:
        """The first item that offers all of these."""
        return next((item for item in self.items if item.offers >= set(offers)), None)

    def path(self, *offers: str, otherwise: str) -> str:
        """The path of such an item, else of one of this name that may be made."""
        return quoted(found.path if (found := self.having(*offers)) else self.folder / otherwise)

    def new(self, name: str) -> str:
        """The path of something that a command makes."""
        return quoted(self.folder / name)

    @property
    def network(self) -> str:
        """The options that name a network and a layer."""
        names = store.names if (store := self.having("store")) else {}
        return f"--model {quoted(names.get('model', MODEL))} --layer {quoted(names.get('layer', LAYER))}"


def quoted(path: object) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(path))


def uses(data: Data) -> list[Use]:
    """What the items of a folder are good for."""
    return [
        Use("S  selectivity", *_selectivity(data)),
        Use("C  causality", *_causality(data)),
        Use("R  robustness", *_robustness(data)),
        Use("H  human alignment", *_human_alignment(data)),
        Use("labels of units", *_labels(data)),
        Use("renders", *_renders(data)),
    ]


def next_step(item: Item, data: Data) -> str:
    """What to type next with one item."""
    if "concepts" in item.offers and "images" in item.offers and data.having("store"):
        return _table(data, item)
    if "images" in item.offers:
        store = quoted(f"{item.path.with_suffix('') if item.path.is_file() else item.path}.zarr")
        return f"interpscore extract {quoted(item.path)} {data.network} -o {store}"
    if "store" in item.offers:
        images = data.path("images", otherwise="photos")
        return f"interpscore top {quoted(item.path)} --units 0:8 --images {images} -o {data.new('top.png')}"
    if "table" in item.offers:
        return _score(data, quoted(item.path))
    if "map" in item.offers:
        return _score(data, data.path("table", otherwise="table.csv"), quoted(item.path))
    if "effects" in item.offers:
        return f"{_score(data, data.path('table', otherwise='table.csv'))} --causality {quoted(item.path)}"
    if "renders" in item.offers:
        return f"interpscore dream check {quoted(item.path)}"
    if "results" in item.offers:
        return "read the JSON beside it, which says what each column means"
    return item.otherwise


def _score(data: Data, table: str, neuron_map: str = "") -> str:
    neuron_map = neuron_map or data.path("map", otherwise="neuron_map.json")
    stored = data.having("store") if data.having("table", "units") is None else None
    with_store = f" --store {quoted(stored.path)}" if stored else ""
    return f"interpscore score {table} {neuron_map} {data.new('results.csv')}{with_store}"


def _before_scoring(data: Data) -> tuple[str, str] | None:
    """What is missing on the way to a table that can be scored, and the next step; None if nothing is."""
    if data.having("table", "units") or (data.having("table") and data.having("store")):
        if data.having("map"):
            return None
        return (
            "a neuron map",
            f'write which unit stands for which concept to {data.new("neuron_map.json")}: {{"89": "fire"}}',
        )
    if (missing := _before_concepts(data)) is not None:
        needs, step = missing
        return (f"{needs}, or an experiment table" if data.having("images") is None else needs), step
    images = data.having("images", "concepts")
    assert images is not None
    return "an experiment table", _table(data, images)


def _before_concepts(data: Data) -> tuple[str, str] | None:
    """What is missing on the way to activations of images whose concepts are known; None if nothing is."""
    images = data.having("images", "concepts")
    if images is None and data.having("images"):
        return (
            "concepts of the images",
            "put them into a subfolder for each concept, or write images.csv: image,concept",
        )
    if images is None:
        return "images with concepts", "see `interpscore extract --help`"
    if data.having("store") is None:
        return "activations of the images", next_step(images, data)
    return None


def _table(data: Data, images: Item) -> str:
    store = data.path("store", otherwise="acts.zarr")
    return f"interpscore table --images {quoted(images.path)} --store {store} -o {data.new('table.csv')}"


def _selectivity(data: Data) -> tuple[str, str]:
    return _scored(data, "concepts") or ("images of several concepts", "add images of other concepts to compare with")


def _robustness(data: Data) -> tuple[str, str]:
    if (scored := _scored(data, "levels", "ratings")) is not None:
        return scored
    if data.having("levels"):
        return _human_alignment(data)
    images, needs = data.having("images"), "perturbed images, and ratings"
    if images is None:
        return needs, "see `interpscore stimuli --help`"
    return needs, f"interpscore stimuli build {quoted(images.path)} --protocol noise -o {data.new('stimuli')}"


def _human_alignment(data: Data) -> tuple[str, str]:
    needs = "ratings", "write a row for each rating of an image, with soft_correct and participant"
    return _scored(data, "ratings") or needs


def _scored(data: Data, *offers: str) -> tuple[str, str] | None:
    """What a score needs of a table; None where the tables lack one of these."""
    if (table := data.having("table", *offers)) is not None:
        return _before_scoring(data) or ("", _score(data, quoted(table.path)))
    return None if data.having("table") or "ratings" in offers else _before_scoring(data)


def _causality(data: Data) -> tuple[str, str]:
    effects, images = data.having("effects"), data.having("images")
    if effects is None:
        step = "see `interpscore causality --help`"
        if images is not None:
            step = f"interpscore causality {quoted(images.path)} {data.network} -o {data.new('effects.parquet')}"
        return "measured effects", step
    if (missing := _before_scoring(data)) is not None:
        return missing
    if "table" in effects.offers:
        return "", next_step(effects, data)
    return "", f"{_score(data, data.path('table', otherwise=''))} --causality {quoted(effects.path)}"


def _labels(data: Data) -> tuple[str, str]:
    if (missing := _before_concepts(data)) is not None:
        return missing
    store, images = data.path("store", otherwise=""), data.path("images", "concepts", otherwise="")
    outputs = f"-o {data.new('labels.parquet')} --map-out {data.new('map.json')}"
    return "", f"interpscore label {store} --concepts {images} {outputs}"


def _renders(data: Data) -> tuple[str, str]:
    if (renders := data.having("renders")) is not None:
        return "", next_step(renders, data)
    return "a network and a layer", f"interpscore dream {data.network} --units 0:8 -o {data.new('renders')}"
