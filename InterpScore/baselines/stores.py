"""The folder of a baseline: an activation store for each untrained copy of a network, found and checked.

    untrained_stores("untrained/", ActivationStore.open("acts.zarr"))

`baseline.json` lists the seeds; `seed_0.zarr` is the store of seed 0, and `effects_0.parquet`, where it was measured, what its
units do to the embedding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import shown
from Activation_Extraction.base.run_folder import UNTRAINED
from Activation_Extraction.base.validation import validated
from InterpScore.errors import InputError

if TYPE_CHECKING:
    from Activation_Extraction.store.reader import ActivationStore

MANIFEST = "baseline.json"
FORMAT: Literal["interpscore-baseline/1"] = "interpscore-baseline/1"
MOST_SEEDS = 1000
_ALIKE = ("model", "preprocessing", "pooling", "input")
"""What the identities of all stores have in common."""
RESUMES = "the same `interpscore baseline` command again completes it"


class Manifest(BaseModel):
    """`baseline.json`."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["interpscore-baseline/1"] = FORMAT
    seeds: list[Annotated[StrictInt, Field(ge=0)]] = Field(
        min_length=1, max_length=MOST_SEEDS, description="a list of seeds, whole numbers, at least one"
    )


def store_path(folder: Path, seed: int) -> Path:
    """Where the activations of an untrained copy are."""
    return folder / f"seed_{seed}.zarr"


def effects_path(folder: Path, seed: int) -> Path:
    """Where the effects of its units are, if they were measured."""
    return folder / f"effects_{seed}.parquet"


def seeds_of(folder: str | os.PathLike[str]) -> list[int]:
    """The seeds that the manifest of a baseline lists.

    Raises:
        InputError: no such folder, or none that `interpscore baseline` wrote.
    """
    path = Path(folder)
    if not path.is_dir():
        found = "is a file" if path.exists() else "no such folder"
        raise InputError(f"{path}: {found}; expected a folder that `interpscore baseline` wrote")
    content = read_json(path / MANIFEST, path)
    if content is None:
        raise InputError(f"{path}: has no {MANIFEST}; expected a folder that `interpscore baseline` wrote")
    seeds = validated(Manifest, content, str(path / MANIFEST)).seeds
    if len(set(seeds)) < len(seeds):
        raise InputError(f"{path / MANIFEST}, seeds: found {shown(seeds)}; expected each seed once")
    return seeds


def untrained_stores(
    folder: str | os.PathLike[str], trained: ActivationStore | None = None, layers: Sequence[str] = ()
) -> list[ActivationStore]:
    """The stores of a baseline in the order of their seeds: complete, of the same images and layers, of different weights.

    Args:
        folder: as `interpscore baseline` writes it.
        trained: the store that it is the baseline of; None checks the stores against each other alone.
        layers: those of `trained` that are needed; none means all.

    Raises:
        InputError: a line for the first thing that is missing or differs, with where, found and expected.
    """
    from Activation_Extraction.store.reader import ActivationStore  # late: tables alone are scored without

    path = Path(folder)
    seeds = seeds_of(path)
    stores = []
    for seed in seeds:
        place = store_path(path, seed)
        if not place.is_dir():
            raise InputError(f"{path}: has no {place.name}, though {MANIFEST} lists seed {seed}; {RESUMES}")
        store = ActivationStore.open(place)
        if not store.is_complete:
            missing = sum(len(shard.rows) for shard in store.missing_shards())
            raise InputError(f"{place}: unfinished, {missing:,} of {len(store):,} images are missing; {RESUMES}")
        stated = _weights(store)
        if stated != f"{UNTRAINED}{seed}":
            raise InputError(
                f"{place}: weights {shown(stated)}; expected those of an untrained copy, '{UNTRAINED}{seed}'"
            )
        stores.append(store)
    for other in stores[1:]:
        _refuse_different(other, stores[0], list(stores[0].shapes))
    _refuse_same_weights(stores)
    if trained is not None:
        if str(_weights(trained)).startswith(UNTRAINED):
            raise InputError(f"{trained.path}: is itself of an untrained network; expected the trained network's store")
        _refuse_different(stores[0], trained, [trained.resolve_layer(name) for name in layers or trained.shapes])
    return stores


def _weights(store: ActivationStore) -> Any:
    return (store.identity.get("provenance") or {}).get("weights")


def _refuse_same_weights(stores: Sequence[ActivationStore]) -> None:
    """Refuse two stores of the same weights, whatever seeds they state."""
    place_of: dict[Any, Path] = {}
    for store in stores:
        digest = (store.identity.get("provenance") or {}).get("state_sha256")
        if digest in place_of:
            raise InputError(f"{store.path}: has the weights of {place_of[digest]}; expected those of another seed")
        if digest is not None:
            place_of[digest] = store.path


def _refuse_different(store: ActivationStore, like: ActivationStore, layers: Sequence[str]) -> None:
    """Refuse a store of another network, other settings, layers or images than another."""
    for found, expected in _differences(store, like, layers):
        raise InputError(f"{store.path}: {found}; expected {expected}, as {like.path} has")


def _differences(store: ActivationStore, like: ActivationStore, layers: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What is found, and what is expected."""
    for name in _ALIKE:
        found, expected = store.identity.get(name), like.identity.get(name)
        if found != expected:
            yield f"{name} {shown(found)}", shown(expected)
    for layer in layers:
        if layer not in store.shapes:
            yield f"has layers {', '.join(store.shapes)}", f"{layer} among them"
        elif store.shapes[layer] != like.shapes[layer]:
            shapes = ["×".join(map(str, one.shapes[layer])) for one in (store, like)]
            yield f"layer {layer} of {shapes[0]} units", shapes[1]
    if len(store) != len(like):
        yield f"{len(store):,} images", f"{len(like):,}"
    ours, theirs = store.images, like.images
    for column, what in (("image", "is"), ("sha256", "has the contents")):
        pairs = zip(ours[column].astype(str), theirs[column].astype(str), strict=True)
        for row, (found, expected) in enumerate(pairs):
            if found != expected:
                named = "" if column == "image" else f" ({shown(ours['image'][row])})"
                yield f"image {row}{named} {what} {shown(found)}", shown(expected)
