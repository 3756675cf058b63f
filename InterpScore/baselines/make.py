"""Making a baseline: untrained copies of a network, each run on the same images as the trained one.

make_baseline(image_set("photos/"), ["layer4.5"], "untrained/", load_model("clip-rn50x4"))
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Activation_Extraction.base.errors import OutputError, shown
from Activation_Extraction.base.files import as_json, write_together
from Activation_Extraction.base.progress import doing, image_progress
from Activation_Extraction.clip_helpers import ImageError, read_images
from Activation_Extraction.extract_full_layer_activations import extract_full_layer_activations
from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.models.clip import CONFIGS
from Activation_Extraction.models.own_file import FILE_SHA256, names_a_file
from Activation_Extraction.models.registry import RANDOM, Model, find_spec, load_model
from Activation_Extraction.models.untrained import measure_batch_norms, rows_to_measure, untrained
from Activation_Extraction.store.growth import changes
from Activation_Extraction.store.reader import ActivationStore
from InterpScore.baselines.halves import is_clean, is_for_selection
from InterpScore.baselines.stores import FORMAT, MANIFEST, MOST_SEEDS, effects_path, store_path, untrained_stores
from InterpScore.errors import InputError
from InterpScore.interventions.files import measure_to_file
from InterpScore.interventions.layer import feeds_attention_pool
from InterpScore.interventions.measurement import ImagesOfSet, prepare_layer
from InterpScore.tables.from_images import refuse_changed

if TYPE_CHECKING:
    from torch import Tensor

SEEDS = 3
"""Untrained copies of a baseline."""


@dataclass(frozen=True)
class BaselineReport:
    """What a run did.

    Attributes:
        stores: a complete store for each seed.
        computed: images that this run computed, of all seeds together.
        measured_on: images that BatchNorm statistics are from; 0 for a network without BatchNorm.
        effects: the layer whose effects are in the folder; None where they were not measured.
        effects_on: images that they were measured on.
        unreadable: lines on images that could not be read.
        remarks: what a reader should know.
    """

    stores: list[ActivationStore]
    computed: int
    measured_on: int
    effects: str | None
    effects_on: int
    unreadable: Sequence[str]
    remarks: Sequence[str]


def make_baseline(
    images: ImageSet,
    layers: Sequence[str],
    output: str | os.PathLike[str],
    model: Model,
    *,
    seeds: int = SEEDS,
    effects: bool | None = None,
    clean_level: int = 5,
    preprocessing: str | None = None,
    progress: bool = True,
    **options: Any,
) -> BaselineReport:
    """Activations of untrained copies of a network, a store a seed, and what their units do to the embedding.

    Args:
        images: those of the trained network's store, in its order.
        layers: by any of their names.
        output: the folder; an interrupted run is completed.
        model: the network, trained or not: its weights are not used.
        seeds: how many copies; seeds 0 to `seeds` − 1.
        effects: whether to measure them, for C; None measures them where all units are computed at once, at the input of
            CLIP's attention pool. They are measured on clean images that nothing is chosen on, where the columns `level`
            and `split` tell.
        clean_level: level of unperturbed images.
        preprocessing, **options: as `extract_full_layer_activations` takes them.

    Raises:
        InputError: wrong input; a network of which there is no untrained copy, with the module that prevents it; a folder
            of another baseline, each difference named.
        OutputError: the folder cannot be written.

    Source: METRICS.md, section 13.
    """
    folder = Path(output)
    if not 1 <= seeds <= MOST_SEEDS:
        raise InputError(f"--seeds: found {seeds}; expected 1 to {MOST_SEEDS}")
    layer = _layer_of_effects(model, layers, effects)
    measured = rows_to_measure(model, len(images))
    stated = f"statistics of {len(measured)} of {len(images)} images {images.fingerprint[:16]}" if measured else ""
    network = untrained(model, 0, measured_on=stated)  # refused before anything is written
    rows, remarks = ([], []) if layer is None else _rows_of_effects(images, clean_level, effects)
    layer = layer if rows else None
    _begin(folder, seeds)
    sample: list[Tensor] = []
    computed, unreadable = 0, list[str]()
    for seed in range(seeds):
        place, target = store_path(folder, seed), effects_path(folder, seed)
        if seed:
            network = untrained(model, seed, measured_on=stated)
        if measured and not (_is_complete(place) and (layer is None or target.is_file())):
            with doing(f"Measuring BatchNorm statistics, seed {seed}", shown=progress):
                sample = sample or _read(images, measured, model, preprocessing)
                measure_batch_norms(network.image_tower, sample, model.threads)
        report = extract_full_layer_activations(
            images, layers, place, network, preprocessing=preprocessing, progress=progress, **options
        )
        computed, unreadable = computed + report.computed, list(report.unreadable)
        remarks += [remark for remark in report.remarks if remark not in remarks]
        if layer is not None:
            names = [images.name(row) for row in rows]
            _measure_effects(target, names, ImagesOfSet(images, rows), network, layer, progress)
    stores = untrained_stores(folder)
    return BaselineReport(stores, computed, len(measured), layer, len(rows), unreadable, remarks)


def _begin(folder: Path, seeds: int) -> None:
    """Write the manifest of a new folder, or of one that is a baseline."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise InputError(f"{folder}: is no baseline, and not empty; expected a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from None
    write_together({folder / MANIFEST: as_json({"format": FORMAT, "seeds": list(range(seeds))})})


def _layer_of_effects(model: Model, layers: Sequence[str], effects: bool | None) -> str | None:
    """The layer to intervene on: the one that feeds the attention pool, or the only one if effects are asked for."""
    names = list(dict.fromkeys(model.layers.resolve(layer) for layer in layers))
    fast = [name for name in names if feeds_attention_pool(model, name)]
    if effects is False or not (fast or effects):
        return None
    if not fast and len(names) > 1:
        raise InputError(f"--effects: found {len(names)} layers; expected one (--layer)")
    return (fast or names)[0]


def _rows_of_effects(images: ImageSet, clean_level: int, effects: bool | None) -> tuple[list[int], list[str]]:
    """Clean images that nothing is chosen on, as far as the image table tells; none of ambiguous names, with a remark."""
    table, rows = images.table, range(len(images))
    levels = table["level"].to_pylist() if "level" in table.column_names else [None] * len(images)
    splits = table["split"].to_pylist() if "split" in table.column_names else [None] * len(images)
    chosen = [r for r in rows if is_clean(levels[r], clean_level) and not is_for_selection(splits[r])] or list(rows)
    if len({images.name(row) for row in chosen}) == len(chosen):
        return chosen, []
    if effects:
        raise InputError("--effects: two images have the same name; expected each image once")
    return [], ["effects are not measured: two images have the same name"]


def _is_complete(place: Path) -> bool:
    return place.is_dir() and ActivationStore.open(place).is_complete


def _read(images: ImageSet, rows: Sequence[int], model: Model, preset: str | None) -> list[Tensor]:
    """The readable ones of some images, as the image tower takes them."""
    found = list(read_images((images.source(row) for row in rows), model.image_input, preset))
    readable = [image for image in found if not isinstance(image, ImageError)]
    if not readable:
        raise InputError(f"none of {len(rows)} images could be read: {found[0]}")
    return readable


def _measure_effects(
    target: Path, names: Sequence[str], images: ImagesOfSet, model: Model, layer: str, progress: bool
) -> None:
    with ExitStack() as shown:

        def advancing(done: int) -> Callable[[int], None]:
            return shown.enter_context(image_progress("Intervening", len(names), done=done, shown=progress))

        measure_to_file(target, names, images, prepare_layer(model, layer), progress=advancing)


# The trained network's store -----------------------------------------------------------------------------------------


def architecture(name: str, device: str = "cpu") -> Model:
    """A network whose weights do not count: of ours they need not be on this machine.

    Raises:
        InputError: as `load_model`.
    """
    ours = not names_a_file(name) and find_spec(name).name in CONFIGS
    return load_model(name, weights=RANDOM if ours else None, device=device)


def architecture_of(store: ActivationStore, model: str | None, device: str = "cpu") -> Model:
    """The architecture of a store's network.

    Args:
        model: its name where that is a Python file, which is run only if it is named here.

    Raises:
        InputError: another model, or a frozen graph, of which there is no untrained copy.
    """
    held, provenance = str(store.identity.get("model")), store.identity.get("provenance") or {}
    if "format" in provenance:
        raise InputError(f"{store.path}: is of a {provenance['format']}, whose weights are constants without an initializer; expected a store of the weights for PyTorch")  # fmt: skip
    if names_a_file(held) and model is None:
        raise InputError(f"--model: not given, and {store.path} is of the model {shown(held)}; expected --model with this file's path, as a file that a store names is never run")  # fmt: skip
    found = architecture(held if model is None else model, device)
    files = [name for name in {**provenance, **found.provenance} if name.startswith(FILE_SHA256)]
    for what, ours, theirs in (
        ("model", found.name, held), *((name, found.provenance.get(name), provenance.get(name)) for name in files)
    ):  # fmt: skip
        if ours != theirs:
            raise InputError(
                f"--model {shown(model)}: {what} {shown(ours)}; expected {shown(theirs)}, as {store.path} has"
            )
    return found


def images_of(
    store: ActivationStore, images: ImageSet, source: str, advance: Callable[[int], None] = lambda count: None
) -> ImageSet:
    """The images of a store, in its order, compared with it by hash.

    Raises:
        InputError: images that are new, gone or other ones than in the store; a store that is not complete.
    """
    if missing := sum(len(shard.rows) for shard in store.missing_shards()):
        raise InputError(f"{store.path}: unfinished, {missing:,} of {len(store):,} images are still to be computed; expected a complete store (the same `interpscore extract` command again resumes it)")  # fmt: skip
    found = changes(store.path, images)
    if found is not None:
        if found.new or found.gone:
            lines = found.lines(images)
            raise InputError(f"{source}: {lines[0]}; expected the images of {store.path}")
        images = found.arranged(images)
    refuse_changed(images, range(len(images)), store.images["sha256"], source, store, advance)
    return images
