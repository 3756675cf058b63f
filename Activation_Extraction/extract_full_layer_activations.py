"""Streams whole layers of an image set into an activation store: interrupted runs resume, memory stays flat.

    extract_full_layer_activations("photos/", ["layer4.5", "layer3.9"], "acts.zarr", "clip-rn50x4")

A shard of images is a part of the job. Decoding processes read and arrange images ahead of the network, the network runs
on batches that always have the same shape, and a thread of its own writes a shard while the next one is computed. A
batch never crosses a shard, so what a row holds does not depend on which others were computed.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.backends.runner import AUTO, Runner, prepare_runner
from Activation_Extraction.base.engine import Engine, local
from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.base.progress import Advance, doing, image_progress
from Activation_Extraction.base.run_folder import remarks_on
from Activation_Extraction.clip_helpers import preparation
from Activation_Extraction.decoding.decoders import Decoders, PixelBatch, default_workers
from Activation_Extraction.images.sets import ImageSet, image_set
from Activation_Extraction.images.twins import copies_of, remark_on_copies, remark_on_several
from Activation_Extraction.models.registry import Model, load_model
from Activation_Extraction.models.resources import devices_named
from Activation_Extraction.store.files import Shard
from Activation_Extraction.store.growth import changes, refuse_changes
from Activation_Extraction.store.reader import ActivationStore
from Activation_Extraction.store.writer import StoreWriter, recorded_identity

KEEP, DROP = "keep", "drop"
"""What to do with byte-identical images."""


@dataclass(frozen=True)
class ExtractionReport:
    """What a run did.

    Attributes:
        store: the complete store.
        computed: images that this run computed; the others were there.
        unreadable: lines that name images and say why they could not be read; their rows are NaN.
        seconds: of computing, without preparing the network.
        batch_size: images at a time.
        remarks: what a reader should know.
    """

    store: ActivationStore
    computed: int
    unreadable: Sequence[str]
    seconds: float
    batch_size: int
    remarks: Sequence[str] = ()


def extract_full_layer_activations(
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | ImageSet,
    layers: str | Sequence[str],
    output: str | os.PathLike[str],
    model: Model | str = "clip",
    *,
    weights: str | os.PathLike[str] | None = None,
    pooling: str = "mean",
    preprocessing: str | None = None,
    backend: str = AUTO,
    precision: str = "fp32",
    devices: str | None = None,
    threads: int | None = None,
    memory_limit: int | str | None = None,
    batch_size: int | Literal["auto"] | None = None,
    workers: int | None = None,
    top_k: int | None = None,
    shard_rows: int | None = None,
    duplicates: str = KEEP,
    append: bool = False,
    progress: bool = True,
    engine: Engine = local,
) -> ExtractionReport:
    """Activations of every unit of some layers on an image set, in a store on disk; interrupted runs resume.

    Args:
        images: what `image_set` takes, or its result.
        layers: names in either scheme; all are read in one pass.
        output: the store, a folder such as `acts.zarr`; one that a stopped run left is completed.
        model: a name of `available_models()`, loaded on each device, or what `load_model` returned.
        weights, threads, memory_limit: see `load_model`; for a model by name.
        pooling: over the positions of a map, or the tokens of a sequence: "mean", "max", or "none" to keep them.
        preprocessing: "clip", "published", "own", or None: what the model was trained with.
        backend, precision: how the network is run, see `prepare_runner`; "auto" takes what the store was begun with,
            else OpenVINO where it is installed and runs this network on a CPU, else "eager".
        devices: "cpu", "cuda" (every GPU), or a list such as "cuda:0,cuda:1"; each computes shards of its own. GPUs are
            written for but were never tested. None: the model's own, else the CPU.
        batch_size: images at a time on each device; None takes what the store was begun with, else 8 or what the memory
            limit has room for; "auto" what the store was begun with, else the fastest of a short trial.
        workers: decoding processes of all devices together; None takes one a processor.
        top_k: images kept for each unit; None takes 100.
        shard_rows: images in a shard, the unit of work; None chooses by the size of a row.
        duplicates: "keep" takes byte-identical images as independent ones, and says how many there are; "drop" leaves out
            all but the first of each.
        append: images that a store does not have yet are added at its end; those that it has keep their rows. None of them
            may be gone, or have other columns.
        progress: show how far the run is, on standard error.
        engine: where shards are computed.

    Returns:
        The store and what the run did. Images that could not be read are rows of NaN with their reason.

    Raises:
        InputError: wrong input; a store of something else or of other images (each difference is named); an input folder that went away
            (what is computed stays, and the same call goes on).
        OutputError: the store cannot be written, or another run is writing it.
    """
    image_list = images if isinstance(images, ImageSet) else image_set(images)
    if duplicates not in (KEEP, DROP):
        raise InputError(f"duplicates: found {shown(duplicates)}; expected '{KEEP}' or '{DROP}'")
    with doing(f"Loading {model if isinstance(model, str) else model.name}", shown=progress):
        replicas = _replicas(model, weights, devices, threads, memory_limit)
    first = replicas[0]
    wanted = [layers] if isinstance(layers, str) else list(layers)
    if not wanted:
        raise InputError("layers: none given; expected at least one, such as layer4.5")
    names = list(dict.fromkeys(first.layers.resolve(layer) for layer in wanted))
    preset = first.image_input.preset if preprocessing is None else preprocessing
    preparation(first.image_input, preset)  # refuses an unknown one before anything is measured
    identity = {
        **first.identity,
        "preprocessing": preset,
        "input": f"{first.image_input.height}x{first.image_input.width}",
        "pooling": pooling,
        "backend": None if backend == AUTO else backend,
        "precision": precision,
        "batch_size": None if batch_size == AUTO else batch_size,
    }
    asked: dict[str, Any] = {**identity, "layers": names, "shard_rows": shard_rows, "top_k": top_k}
    remarks = list(image_list.remarks)
    if append and (found := changes(Path(output), image_list)) is not None:
        image_list = found.arranged(image_list)  # so that of copies the one in the store is kept
    if duplicates == DROP:
        with doing("Looking for copies", shown=progress):
            image_list, left_out = _without_copies(image_list)
        remarks += left_out
    image_list, grows = _as_in_store(Path(output), image_list, asked, append)
    if not grows:
        asked |= {"images": image_list.fingerprint, "rows": len(image_list)}
    recorded = recorded_identity(output, asked)  # a store of something else is refused before anything is prepared
    if recorded is not None and None in (recorded.get("backend"), recorded.get("batch_size")):
        raise InputError(f"{output}: names no backend or batch size; expected another store (-o)")
    if recorded is not None and not grows and (store := ActivationStore.open(output)).is_complete:
        return ExtractionReport(store, 0, _unreadable(store), 0.0, recorded["batch_size"], [*remarks, *_remarks(store)])
    if recorded is not None:
        backend, batch_size = recorded["backend"], recorded["batch_size"]
    elif backend == AUTO and any(replica.device.type != "cpu" for replica in replicas):
        backend = "eager"
    runners: list[Runner] = []
    with doing("Preparing the network" + (", timing batches" if batch_size == AUTO else ""), shown=progress):
        for replica in replicas:
            runners.append(
                prepare_runner(
                    replica, names, pooling=pooling, backend=backend, precision=precision, batch_size=batch_size,
                    images=len(image_list),
                )
            )  # fmt: skip
            backend, batch_size = runners[0].provenance["backend"], runners[0].batch_size
    with StoreWriter(
        output,
        {**identity, "backend": backend, "batch_size": batch_size},
        image_list,
        runners[0].shapes,
        aliases={alias: name for name in names for alias in first.layers.aliases_of(name)},
        shard_rows=shard_rows,
        top_k=top_k,
        grows=grows,
        made_with={**first.made_with, **runners[0].provenance},
        settings={"devices": [str(replica.device) for replica in replicas]},
    ) as writer:
        left = sum(len(shard.rows) for shard in writer.missing)
        begun = monotonic()
        if left:
            per_device = -(-(workers or default_workers()) // len(runners))
            jobs = [Extraction(runner, image_list, preset, per_device) for runner in runners]
            with image_progress("Extracting", len(image_list), done=len(image_list) - left, shown=progress) as advance:
                engine(jobs, writer.missing, lambda shard, rows: writer.commit(shard, *rows), advance)
        seconds = monotonic() - begun
        store = writer.finish()
    unreadable = _unreadable(store)
    if len(unreadable) == len(store):
        raise InputError(f"none of the {len(store):,} images could be read: {unreadable[0]}")
    return ExtractionReport(store, left, unreadable, seconds, runners[0].batch_size, [*remarks, *_remarks(store)])


def _replicas(
    model: Model | str,
    weights: str | os.PathLike[str] | None,
    devices: str | None,
    threads: int | None,
    memory_limit: int | str | None,
) -> list[Model]:
    """The model on each device."""
    if isinstance(model, str):
        places = devices_named(devices or "cpu")
        return [
            load_model(model, weights=weights, device=place, threads=threads, memory_limit=memory_limit)
            for place in places
        ]
    given = {"weights": weights, "devices": devices, "threads": threads, "memory_limit": memory_limit}
    if unused := [name for name, value in given.items() if value is not None]:
        raise InputError(f"{unused[0]}: found with a model that is loaded already; expected them with a model's name")
    return [model]


def _as_in_store(output: Path, images: ImageSet, asked: dict[str, Any], append: bool) -> tuple[ImageSet, bool]:
    """The images in the order of a store that is there, and whether some are new in it.

    Raises:
        InputError: a store of something else, or of images that are gone, new (without `append`) or labelled otherwise.
    """
    found = changes(output, images)
    if found is None:
        return images, False
    problems: list[str] = []
    checks: list[Callable[[], object]] = [
        partial(recorded_identity, output, asked),
        partial(refuse_changes, output, found, images, append=append),
    ]
    for check in checks:
        try:
            check()
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return found.arranged(images), bool(found.new)


def _without_copies(images: ImageSet) -> tuple[ImageSet, list[str]]:
    """The first of the images that are the same byte for byte, and a remark on the others."""
    copies = copies_of(images)
    if not copies:
        return images, []
    row, first = next(iter(copies.items()))
    left_out = f"{len(copies):,} byte-identical {'copies are' if len(copies) > 1 else 'copy is'} left out"
    remark = f"{left_out}, such as {shown(images.name(row))} of {shown(images.name(first))}"
    return images.chosen([row for row in range(len(images)) if row not in copies]), [remark]


def _remarks(store: ActivationStore) -> list[str]:
    """What a reader of a complete store should know of its images, and of what it was made with."""
    images = store.images
    names = images["image"].tolist()
    concepts = images["concept"].tolist() if "concept" in images else None
    sha256 = [x if isinstance(x, str) else None for x in images["sha256"]]
    copies = remark_on_copies(names, sha256, concepts, " (--duplicates drop leaves copies out)")
    several = remark_on_several([names[row] for row in store.several_pictures()])
    return [*copies, *several, *remarks_on(store.made_with)]


def _unreadable(store: ActivationStore) -> list[str]:
    errors = store.images["error"]
    return [str(error) for error in errors[errors.fillna("") != ""]]


# Running ------------------------------------------------------------------------------------------------------------


Rows: TypeAlias = "tuple[dict[str, NDArray[np.float32]], list[str | None], list[str], list[int]]"
"""Of a shard: the activations of each layer, of each image the SHA-256 and what is wrong with it, and the rows whose files
have several pictures."""


@dataclass(frozen=True, eq=False)
class Extraction:
    """The job whose parts are shards.

    Attributes:
        runner: what runs the network.
        images, preset: what it is run on, and how they are arranged for it.
        workers: decoding processes.
    """

    runner: Runner
    images: ImageSet
    preset: str
    workers: int

    def compute(self, parts: Iterator[Shard], advance: Advance) -> Generator[tuple[Shard, Rows]]:
        """Run the network on shards, one after another, while images of the next batches are decoded."""
        image_input, size = self.runner.model.image_input, self.runner.batch_size
        begun: deque[Shard] = deque()

        def spans() -> Iterator[range]:
            for shard in parts:
                begun.append(shard)
                for start in range(shard.rows.start, shard.rows.stop, size):
                    yield range(start, min(start + size, shard.rows.stop))

        rows: Rows | None = None
        with Decoders(self.images, image_input, self.preset, batch_size=size, workers=self.workers) as decoders:
            for batch in decoders.batches(spans()):
                shard = begun[0]
                if rows is None:
                    rows = self._empty(len(shard.rows))
                self._add(batch, batch.rows.start - shard.rows.start, rows)
                advance(len(batch.rows))
                if batch.rows.stop == shard.rows.stop:
                    yield begun.popleft(), rows
                    rows = None

    def _empty(self, count: int) -> Rows:
        return {layer: np.empty((count, *shape), np.float32) for layer, shape in self.runner.shapes.items()}, [], [], []

    def _add(self, batch: PixelBatch, start: int, rows: Rows) -> None:
        """Run the network on a batch, whose first image is the shard's image number `start`."""
        values_of, sha256, errors, several = rows
        place = slice(start, start + len(batch.rows))
        unreadable = np.array([bool(error) for error in batch.errors])
        computed = {} if unreadable.all() else self.runner(batch.pixels_NHWC)
        for layer, values in values_of.items():
            if computed:
                values[place] = computed[layer][: len(batch.rows)]
            values[place][unreadable] = np.nan
        sha256 += batch.sha256
        errors += batch.errors
        several += batch.several
