"""Activations of a layer on a list of images, as a labelled array.

For whole layers over more images than memory holds, activations belong into a store on disk instead.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.metadata import version
from itertools import islice
from math import prod
from numbers import Integral

import numpy as np
import torch
import xarray as xr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from Activation_Extraction.clip_helpers import ImageError, ImageSource, listed, read_images
from Activation_Extraction.errors import InputError, UnreadableImageWarning, shown
from Activation_Extraction.image_files import name_of
from Activation_Extraction.models.registry import Model, load_model
from Activation_Extraction.models.resources import limited_threads, weight_bytes
from Activation_Extraction.models.trace import trace

BATCH_SIZE = 16
_WORKING_SET = 6
"""Bytes that an image adds to a batch's peak, in sizes of the largest layer output of one image.

Measured with CLIP RN50x4 (6.6 MB): 4.3 to 5.4, as a network and as a frozen graph. Up to 100 MB more, of code, scratch
space and an allocator that gives back late, do not grow with the batch.
"""

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
    pool = _pooling(pooling)
    preset = model.image_input.preset if preprocessing is None else preprocessing
    sources = list(listed(images))
    if not sources:
        raise InputError("images: none given; expected at least one")
    size = _batch_size(batch_size, model)
    prepared = read_images(sources, model.image_input, preset)
    rows: list[Tensor | None] = []
    errors: list[str] = []
    with _bar(len(sources), shown=progress and len(sources) > size) as advance:
        for batch in _batches(prepared, size):
            good = [image for image in batch if isinstance(image, Tensor)]
            kept = iter(_forward(model, name, torch.stack(good), pool) if good else ())
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

Pool = Callable[[Tensor], Tensor]
"""Activations (N, units, …) to what is kept of them."""

POOLINGS: Mapping[str, Pool] = {
    "mean": lambda a: a.flatten(2).mean(2) if a.ndim > 2 else a,
    "max": lambda a: a.flatten(2).amax(2) if a.ndim > 2 else a,
    "none": lambda a: a,
}


def _pooling(name: str) -> Pool:
    if name not in POOLINGS:
        near = get_close_matches(str(name), POOLINGS, n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise InputError(f"pooling: found {shown(name)}; expected mean, max or none{hint}")
    return POOLINGS[name]


def _forward(model: Model, layer: str, x: Tensor, pool: Pool) -> Tensor:
    """What is kept of a layer on a batch, on the CPU, images first and units second."""

    def units_second(a: Tensor) -> Tensor:
        axis = model.layers.unit_axis(layer, a.shape)
        if axis is None or a.ndim < 2 or len(a) != len(x):
            raise InputError(
                f"layer {shown(layer)} of {model.name}: output of shape {tuple(a.shape)} for {len(x)} images; "
                "expected one with an axis of units (`interpscore models layers` lists them)"
            )
        return pool(a.movedim(axis, 1)).float()

    with (
        torch.inference_mode(),
        limited_threads(model.threads),
        trace(model.image_tower, layer, reduce=units_second) as retained,
    ):
        retained.run(x.to(model.device))
    return retained[layer].cpu()


def _batch_size(wanted: int | None, model: Model) -> int:
    if wanted is not None:
        if not isinstance(wanted, Integral) or wanted < 1:
            raise InputError(f"batch_size: found {shown(wanted)}; expected a whole number of at least 1")
        return int(wanted)
    if model.memory_limit is None:
        return BATCH_SIZE
    room = model.memory_limit - weight_bytes(model.module)
    example = model.example()
    # A frozen graph lists its weights, too, as nodes without units.
    outputs = [prod(layer.shape) for layer in model.layers.listing(example) if layer.units is not None]
    largest = 4 * max(example.numel(), *outputs)
    fitting = room // (_WORKING_SET * largest)
    if fitting < 1:
        raise InputError(
            f"{model.name}: one image needs about {_WORKING_SET * largest:,} bytes beside the weights; "
            f"the memory limit of {model.memory_limit:,} leaves {max(room, 0):,}"
        )
    return min(BATCH_SIZE, fitting)


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
