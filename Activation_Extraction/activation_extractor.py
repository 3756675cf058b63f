"""Activations of a layer on a list of images, as a labelled array.

For more images than fit into memory, `extract_full_layer_activations` writes a store on disk instead.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from itertools import islice

import numpy as np
import xarray as xr
from torch import Tensor

from Activation_Extraction.backends.runner import prepare_runner
from Activation_Extraction.base.errors import InputError, UnreadableImageWarning, listed_up_to
from Activation_Extraction.base.progress import image_progress
from Activation_Extraction.clip_helpers import ImageSource, listed, preparation, read_images
from Activation_Extraction.images.reading import name_of
from Activation_Extraction.models.registry import Model, load_model

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
        image_paths: image files; row i of the result is always image i.
        layer_name: in either scheme, such as `image_block_4/5/Relu_2`, `layer4.5`, `block_4`.
        model_type: a name of `available_models()`; "clip" is CLIP RN50x4, "clip-mini" works offline.
        weights, device, threads, memory_limit: see `load_model`.
        pooling, preprocessing, batch_size, progress: see `extract_layer_activations`.

    Returns, raises and warns as `extract_layer_activations` does; raises also what `load_model` raises.
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
        images: paths, bytes of image files, PIL images, or arrays (H, W, 3), uint8 or floats from 0 to 1; or one of these.
        layer: its name.
        model: from `load_model`, or a name for it.
        pooling: over the positions of a map, or the tokens of a sequence: "mean", "max", or "none" to keep them.
        preprocessing: "clip" (scale and centre crop), "published" (squash, as the 2025 study), "own" (a network's own
            function, where it has one) or None: what the model was trained with.
        batch_size: None takes 8, or fewer if the model's memory limit requires it.
        progress: show progress on standard error if there is more than one batch.

    Returns:
        float32, dimensions (image, unit); with pooling "none" also y and x, or token. Coordinates: the image's name, the
        unit's number, and `error`, why an image could not be read (else ""); its row is NaN. Attributes: model,
        weights and their hash, layer, pooling, preprocessing, backend, precision, versions.

    Raises:
        InputError: no readable images, an unknown layer, pooling or preset, or a layer without units.

    Warns:
        UnreadableImageWarning: lists the images that could not be read.
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
    preset = model.image_input.preset if preprocessing is None else preprocessing
    preparation(model.image_input, preset)  # rejects an unknown preset before the network is prepared
    sources = list(listed(images))
    if not sources:
        raise InputError("images: none given; expected at least one")
    runner = prepare_runner(
        model, [layer], pooling=pooling, backend="eager", batch_size=batch_size, images=len(sources), rewrite=False
    )
    ((name, shape),) = runner.shapes.items()
    values = np.full((len(sources), *shape), np.nan, np.float32)
    errors = [""] * len(sources)
    prepared = read_images(sources, model.image_input, preset)
    batch = np.zeros((runner.batch_size, *model.example().shape[1:]), np.float32)
    with image_progress("Extracting", len(sources), shown=progress and len(sources) > len(batch)) as advance:
        for start in range(0, len(sources), len(batch)):
            good: list[int] = []
            for i, image in enumerate(islice(prepared, len(batch))):
                if isinstance(image, Tensor):
                    batch[len(good)] = image
                    good.append(start + i)
                else:
                    errors[start + i] = str(image)
            if good:
                values[good] = runner(batch)[name][: len(good)]
            advance(min(len(batch), len(sources) - start))
    unreadable = [error for error in errors if error]
    if len(unreadable) == len(sources):
        raise InputError(unreadable)
    if unreadable:
        listing = "; ".join(listed_up_to(unreadable, _SHOWN_ERRORS))
        message = f"{len(unreadable)} of {len(sources)} images not read, their rows are NaN: {listing}"
        warnings.warn(UnreadableImageWarning(message), stacklevel=3)
    names = [name_of(source, i) for i, source in enumerate(sources)]
    attributes = {
        **{f"model_{key}": value for key, value in model.provenance.items()},
        **runner.provenance,
        "model": model.name,
        "layer": name,
        "pooling": pooling,
        "preprocessing": preset,
        "input": f"{model.image_input.height}x{model.image_input.width}",
        "device": str(model.device),
        "interpscore": version("interpscore"),
    }
    positions = {2: (), 3: ("token",), 4: ("y", "x")}[values.ndim]
    coordinates = {"image": names, "unit": np.arange(values.shape[1]), "error": ("image", errors)}
    return xr.DataArray(values, coordinates, ("image", "unit", *positions), name="activation", attrs=attributes)
