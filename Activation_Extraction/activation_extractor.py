"""Activations of a layer on a list of images, as a labelled array.

For whole layers over more images than memory holds, activations belong into a store on disk instead.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice

import numpy as np
import torch
import xarray as xr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from Activation_Extraction.backends.batch_sizes import check_batch_size, largest_batch
from Activation_Extraction.backends.plain_network import PlainNetwork, running
from Activation_Extraction.base.errors import InputError, UnreadableImageWarning
from Activation_Extraction.clip_helpers import ImageError, ImageSource, listed, read_images
from Activation_Extraction.images.reading import name_of
from Activation_Extraction.models.registry import Model, load_model
from Activation_Extraction.models.surgery.pooling import check_pooling

BATCH_SIZE = 16
"""Images at a time, unless a memory limit asks for fewer."""

_SHOWN_ERRORS = 5


def extract_activations(
    image_paths: Sequence[str | os.PathLike[str]],
    layer_name: str,
    model_type: str = "clip",
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    threads: int | None = None,
    memory_limit: int | str | None = None,
    pooling: str = "mean",
    preprocessing: str | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> xr.DataArray:
    """Activations of every unit of a layer on image files.

    `extract_activations(["cat.jpg"], "image_block_4/5/Relu_2")` reads layer4.5 of CLIP RN50x4.

    Args:
        image_paths: image files; row i of the result is always the i-th of them, duplicates included.
        layer_name: in either scheme, such as `image_block_4/5/Relu_2`, `layer4.5`, `block_4`.
        model_type: a name of `available_models()`; "clip" is CLIP RN50x4, "clip-mini" works offline.
        weights, device, threads, memory_limit: see `load_model`.
        pooling, preprocessing, batch_size, progress: see `extract_layer_activations`.

    Returns:
        What `extract_layer_activations` returns.

    Raises:
        InputError: also what `load_model` raises.
    """
    model = load_model(model_type, weights=weights, device=device, threads=threads, memory_limit=memory_limit)
    return _extracted(image_paths, layer_name, model, pooling, preprocessing, batch_size, progress)


def extract_layer_activations(
    images: Sequence[ImageSource] | ImageSource,
    layer: str,
    model: Model | str = "clip",
    *,
    pooling: str = "mean",
    preprocessing: str | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> xr.DataArray:
    """Activations of every unit of a layer on images of any kind.

    Args:
        images: paths, bytes of image files, PIL images, or arrays (H, W, 3) of bytes or of floats from 0 to 1; one
            alone, too.
        layer: its name; a wrong one is answered with the nearest.
        model: what `load_model` returned, or a name for it.
        pooling: over the positions of a map, or the tokens of a sequence: "mean", "max", or "none" to keep them.
        preprocessing: "clip" (scale and centre crop), "published" (squash, as the 2025 study), "own" (a network's own
            function, where it has one) or None: what the model was trained with.
        batch_size: images at a time; None takes 16, or fewer where the model's memory limit asks for it.
        progress: show a bar on a terminal when there is more than one batch.

    Returns:
        float32, dimensions (image, unit); with pooling "none" also y and x, or token. Coordinates: `image` its name,
        `unit` its number, `error` why an image could not be read (else ""), whose row is NaN. Attributes: model,
        weights and their hash, layer, pooling, preprocessing, precision, versions.

    Raises:
        InputError: no images, none readable, an unknown layer, pooling or preset, or a layer whose output has no units.

    Warns:
        UnreadableImageWarning: names the images that could not be read.
    """
    model = load_model(model) if isinstance(model, str) else model
    return _extracted(images, layer, model, pooling, preprocessing, batch_size, progress)


def _extracted(
    images: Sequence[ImageSource] | ImageSource,
    layer: str,
    model: Model,
    pooling: str,
    preprocessing: str | None,
    batch_size: int | None,
    progress: bool,
) -> xr.DataArray:
    name = model.layers.resolve(layer)
    check_pooling(pooling)
    preset = model.image_input.preset if preprocessing is None else preprocessing
    sources = list(listed(images))
    if not sources:
        raise InputError("images: none given; expected at least one")
    size = _size(batch_size, model)
    network = PlainNetwork(model, [name], pooling)
    prepared = read_images(sources, model.image_input, preset)
    rows: list[Tensor | None] = []
    errors: list[str] = []
    with _bar(len(sources), shown=progress and len(sources) > size) as advance:
        for batch in _batches(prepared, size):
            good = [image for image in batch if isinstance(image, Tensor)]
            kept = iter(_run(network, model, good))
            rows += [next(kept) if isinstance(image, Tensor) else None for image in batch]
            errors += [str(image) if isinstance(image, ImageError) else "" for image in batch]
            advance(len(batch))
    unreadable = [error for error in errors if error]
    if len(unreadable) == len(sources):
        raise InputError(unreadable)
    if unreadable:
        warnings.warn(UnreadableImageWarning(_summary(unreadable, len(sources))), stacklevel=3)
    names = [name_of(source, i) for i, source in enumerate(sources)]
    attributes = {
        **{f"model_{key}": value for key, value in model.provenance.items()},
        "model": model.name,
        "layer": name,
        "pooling": pooling,
        "preprocessing": preset,
        "input": f"{model.image_input.height}x{model.image_input.width}",
        "precision": "float32",
        "device": str(model.device),
        "interpscore": version("interpscore"),
    }
    return _labelled(rows, names, errors, attributes)


# Running ------------------------------------------------------------------------------------------------------------


def _run(network: PlainNetwork, model: Model, images: Sequence[Tensor]) -> Iterable[Tensor]:
    """What is kept of a layer for each image, on the CPU."""
    if not images:
        return ()
    with running(model):
        (kept,) = network(torch.stack(list(images)).to(model.device))
        return kept.cpu()  # type: ignore[no-any-return]


def _size(wanted: int | None, model: Model) -> int:
    if wanted is not None:
        return check_batch_size(wanted)
    return BATCH_SIZE if model.memory_limit is None else min(BATCH_SIZE, largest_batch(model))


def _batches(items: Iterable[Tensor | ImageError], size: int) -> Iterator[list[Tensor | ImageError]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


@contextmanager
def _bar(total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, where that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task("Extracting", total=total)
        yield lambda count: bar.advance(task, count)


# The result ---------------------------------------------------------------------------------------------------------


def _labelled(
    rows: Sequence[Tensor | None], names: Sequence[str], errors: Sequence[str], attributes: Mapping[str, str]
) -> xr.DataArray:
    shape = next(row.shape for row in rows if row is not None)
    values = np.full((len(rows), *shape), np.nan, np.float32)
    for i, row in enumerate(rows):
        if row is not None:
            values[i] = row.numpy()
    positions = {1: (), 2: ("token",), 3: ("y", "x")}[len(shape)]
    return xr.DataArray(
        values,
        dims=("image", "unit", *positions),
        coords={"image": list(names), "unit": np.arange(shape[0]), "error": ("image", list(errors))},
        name="activation",
        attrs=dict(attributes),
    )


def _summary(unreadable: Sequence[str], count: int) -> str:
    more = f"; and {len(unreadable) - _SHOWN_ERRORS} more" if len(unreadable) > _SHOWN_ERRORS else ""
    return f"{len(unreadable)} of {count} images not read, their rows are NaN: {'; '.join(unreadable[:_SHOWN_ERRORS])}{more}"
