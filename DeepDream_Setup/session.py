"""One run of `interpscore dream`: from a request to renders and their manifest; it goes on where a stopped run ended."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.progress import image_progress
from Activation_Extraction.images.sets import ImageSet, image_set
from Activation_Extraction.models.registry import Model, load_model
from Activation_Extraction.models.resources import best_precision, check_precision
from Activation_Extraction.models.units import layer_of_units, parse_units
from DeepDream_Setup.facets import FacetProbes, train_probes
from DeepDream_Setup.manifest import Renders
from DeepDream_Setup.natural import labels_of_set, pixels_of_set
from DeepDream_Setup.objectives import directions
from DeepDream_Setup.parametrization import ImageStatistics, image_statistics
from DeepDream_Setup.quality import VIEWS, Judge, NaturalImages, Quality, as_images, batches_of
from DeepDream_Setup.recipes import Recipe, read_recipe
from DeepDream_Setup.render import Render, render_units, stream_of
from DeepDream_Setup.starts import start_named
from DeepDream_Setup.transforms import DRAWS, plainly, resample


@dataclass(frozen=True)
class Request:
    """What was asked for, as the options of the command have it."""

    model: str
    layer: str | None
    units: str
    recipe: str
    output: Path
    weights: str | None = None
    starts: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    facet_images: tuple[str, ...] = ()
    facets: tuple[str, ...] = ()
    seed: int = 0
    precision: str | None = None
    device: str = "cpu"
    threads: int | None = None


@dataclass(frozen=True)
class Report:
    """What came of it: where it lies, units made now and found there, and what the manifest says of every image."""

    folder: Path
    made: int
    found: int
    seconds: float
    entries: list[dict[str, Any]]


def run_session(request: Request, *, progress: bool = True) -> Report:
    """Render what is asked for and not there yet, measure it, and write it.

    Raises:
        InputError: anything wrong in the request; all of it is checked before the first image is made.
        OutputError: the folder cannot be written.
    """
    recipe = read_recipe(request.recipe)
    if request.starts:
        recipe = recipe.with_starts(list(request.starts))
    for start in recipe.starts:
        start_named(start)
    natural_set = image_set(request.images) if request.images else None
    facet_set = image_set(request.facet_images) if request.facet_images else None
    if recipe.parametrization == "maco" and natural_set is None:
        raise InputError("parametrization maco: found no images; expected --images, whose spectrum it keeps to")
    if ("facet" in recipe.objective) != (facet_set is not None):
        found = "facet images without a term facet in it" if facet_set else "a term facet without --facet-images"
        raise InputError(f"recipe {request.recipe}, objective: found {found}; expected both or neither")
    model = load_model(request.model, weights=request.weights, device=request.device, threads=request.threads)
    layer = layer_of_units(request.units, request.layer, model.layers.resolve)
    if layer is None:
        raise InputError("layer: none given; expected one (`interpscore models layers` lists them)")
    precision = request.precision or best_precision(model.device)
    check_precision(precision, model.device)
    judge = Judge(model, layer, recipe.reading)
    units = parse_units(request.units, judge.network.units)
    facets = None if facet_set is None else _facets(model, facet_set, request, recipe, progress)
    identity = {
        "model": model.name, "layer": layer, "provenance": dict(model.provenance),
        "recipe": {"name": Path(request.recipe).stem, **recipe.as_json()},
        "seed": request.seed, "precision": precision, "processor": _processor(model),
        "images": None if natural_set is None else natural_set.fingerprint,
        "facets": None if facets is None else facets.described,
        "versions": {name: version(name) for name in ("interpscore", "torch", "numpy", "pillow")},
    }  # fmt: skip
    renders = Renders(request.output, identity)
    missing = [unit for unit in units if not renders.has(unit.name)]
    started = time.monotonic()
    if missing:
        vectors = directions(missing, judge.network.units)
        natural, statistics = _natural(model, natural_set, recipe, judge, vectors, progress)
        if natural is not None:
            renders.note("natural_images", {"images": natural.images, "thresholds": asdict(natural.thresholds)})
        takes = len(recipe.starts) * (len(facets.probes.names) if facets else 1)
        row_of = {unit: row for row, unit in enumerate(missing)}
        steps = len(missing) * takes * recipe.steps
        with image_progress("Rendering", steps, shown=progress, counted="steps") as advance:
            for tile in render_units(
                model, layer, missing, recipe, seed=request.seed, precision=precision, statistics=statistics,
                probes=facets.probes if facets else None, advance=advance,
            ):  # fmt: skip
                rows = [row_of[render.unit] for render in tile]
                qualities = judge.qualities(
                    [render.pixels_SSC for render in tile], vectors[rows], recipe.transforms,
                    _fresh_draws(request.seed, layer, tile), None if natural is None else natural.best_U[rows],
                    None if natural is None else natural.thresholds,
                )  # fmt: skip
                _keep(renders, tile, qualities, facets)
    seconds = time.monotonic() - started
    return Report(renders.folder, len(missing), len(units) - len(missing), seconds, renders.entries)


def _keep(renders: Renders, tile: Sequence[Render], qualities: Sequence[Quality], facets: _Facets | None) -> None:
    """Write the images of a tile, then the manifest."""
    scores = facets.scores(tile) if facets else [{}] * len(tile)
    images: dict[str, dict[str, NDArray[np.uint8]]] = {}
    entries: dict[str, list[dict[str, Any]]] = {}
    for render, quality, score in zip(tile, qualities, scores):
        unit, values = render.unit.name, [_short(value) for value in render.objective]
        images.setdefault(unit, {})[_file_name(render)] = render.pixels_SSC
        entries.setdefault(unit, []).append(
            {"start": render.start, "facet": render.facet, "objective": values, **quality.as_json(), **score}
        )
    for unit in images:
        renders.add(unit, images[unit], entries[unit])
    renders.commit()


def _fresh_draws(seed: int, layer: str, tile: Sequence[Render]) -> NDArray[np.float64]:
    """Of views that optimisation did not see."""
    streams = [stream_of(seed, "fresh views", layer, each.unit.name, each.facet, each.start) for each in tile]
    return np.stack([stream.random((VIEWS, DRAWS)) for stream in streams], axis=1)


# Natural images -----------------------------------------------------------------------------------------------------


def _natural(
    model: Model, images: ImageSet | None, recipe: Recipe, judge: Judge, vectors: Tensor, progress: bool
) -> tuple[NaturalImages | None, ImageStatistics | None]:
    """What natural images do, and, for MACO, their colours and spectrum at the size that is rendered."""
    if images is None:
        return None, None
    with image_progress("Natural images", len(images), shown=progress) as advance:
        natural = judge.natural(batches_of(pixels_of_set(images, model.image_input, advance)), vectors)
    if recipe.parametrization != "maco":
        return natural, None
    size = recipe.side(model.image_input.height)

    def at_size() -> Iterator[Tensor]:
        for pixels in batches_of(pixels_of_set(images, model.image_input)):
            yield resample(as_images(pixels), plainly(len(pixels)), size, size)

    return natural, image_statistics(at_size())


# Facets -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Facets:
    """Probes, and what reads the layer that they are of."""

    probes: FacetProbes
    judge: Judge
    described: dict[str, Any]

    def scores(self, tile: Sequence[Render]) -> list[dict[str, Any]]:
        """What each probe says of each image as it is saved: 1 as the mean picture of the label, -1 as that of the rest."""
        x = as_images(np.stack([render.pixels_SSC for render in tile]))
        shown = resample(x, plainly(len(x)), *self.judge.network.input_size)
        scores = self.probes.scores(self.judge.activations(shown, torch.eye(self.judge.network.units)))
        return [{"facet_scores": {n: _short(v) for n, v in zip(self.probes.names, row)}} for row in scores]


def _facets(model: Model, images: ImageSet, request: Request, recipe: Recipe, progress: bool) -> _Facets:
    if recipe.facet_layer is None:
        raise InputError(f"recipe {request.recipe}: no facet_layer; expected a layer below the one that is rendered")
    layer, labels = model.layers.resolve(recipe.facet_layer), labels_of_set(images)
    judge = Judge(model, layer, "channel")
    every = torch.eye(judge.network.units)
    with image_progress("Labelled pictures", len(images), shown=progress) as advance:
        batches = batches_of(pixels_of_set(images, model.image_input, advance))
        means = [judge.activations(as_images(pixels), every) for pixels in batches]
    probes = train_probes(layer, np.concatenate(means), labels, request.facets)
    auroc = {name: round(float(value), 4) for name, value in zip(probes.names, probes.auroc_K)}
    return _Facets(probes, judge, {"layer": layer, "images": images.fingerprint, "auroc": auroc})


# Small --------------------------------------------------------------------------------------------------------------


def _file_name(render: Render) -> str:
    start = Path(render.start).stem
    return start if render.facet is None else f"{render.facet}_{start}"


def _short(value: float) -> float:
    return float(f"{value:.7g}")


def _processor(model: Model) -> str:
    return f"{model.device.type} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
