"""One run of `interpscore dream`: from a request to renders and their manifest; interrupted runs resume."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from Activation_Extraction.base.engine import Engine, local
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.names import file_names
from Activation_Extraction.base.progress import Advance, doing, image_progress
from Activation_Extraction.base.run_folder import remarks_on
from Activation_Extraction.images.sets import ImageSet, image_set
from Activation_Extraction.models.registry import Model, load_model
from Activation_Extraction.models.resources import DOUBLE, PRECISIONS, best_precision, check_precision
from Activation_Extraction.models.units import Unit, layer_of_units, parse_units
from Activation_Extraction.tables.dialects.options import table_options
from DeepDream_Setup.facets import FacetProbes, train_probes
from DeepDream_Setup.manifest import Picture, Renders
from DeepDream_Setup.natural import labels_of_set, pixels_of_set
from DeepDream_Setup.objectives import directions
from DeepDream_Setup.parametrization import ImageStatistics, image_statistics
from DeepDream_Setup.quality import VIEWS, Judge, NaturalImages, as_images, batches_of
from DeepDream_Setup.recipes import Recipe, read_recipe
from DeepDream_Setup.render import Render, render_units, stream_of, units_together
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
    csv: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What came of it: where it lies, units made now and found there, what the manifest says of every image, and remarks."""

    folder: Path
    made: int
    found: int
    seconds: float
    entries: list[dict[str, Any]]
    remarks: list[str]


def run_session(request: Request, *, progress: bool = True, engine: Engine = local) -> Report:
    """Render what is asked for and not there yet, measure it, and write it.

    Raises:
        InputError: anything wrong in the request; all of it is checked before the first image is made.
        OutputError: the folder cannot be written, or another run is writing it.
    """
    recipe = read_recipe(request.recipe)
    if request.starts:
        recipe = recipe.with_starts(list(request.starts))
    for start in recipe.starts:
        start_named(start)
    told = table_options(request.csv)
    natural_set = image_set(request.images, csv=told) if request.images else None
    facet_set = image_set(request.facet_images, csv=told) if request.facet_images else None
    told.refuse_unused([path for images in (natural_set, facet_set) if images for path in images.text_tables])
    if recipe.parametrization == "maco" and natural_set is None:
        raise InputError("parametrization maco: found no images; expected --images, whose spectrum it keeps to")
    if ("facet" in recipe.objective) != (facet_set is not None):
        found = "facet images without a term facet in it" if facet_set else "a term facet without --facet-images"
        raise InputError(f"recipe {request.recipe}, objective: found {found}; expected both or neither")
    with doing(f"Loading {request.model}", shown=progress):
        model = load_model(request.model, weights=request.weights, device=request.device, threads=request.threads)
    layer = layer_of_units(request.units, request.layer, model.layers.resolve)
    if layer is None:
        raise InputError("layer: none given; expected one (`interpscore models layers` lists them)")
    precision = request.precision or best_precision(model.device)
    check_precision(precision, model.device, (*PRECISIONS, DOUBLE))
    with doing("Preparing the network", shown=progress):
        judge = Judge(model, layer, recipe.reading)
    units = parse_units(request.units, judge.network.units)
    facets = None if facet_set is None else _facets(model, facet_set, request, recipe, progress)
    names = _file_names(recipe, facets)
    identity = {
        **model.identity, "layer": layer,
        "recipe": {"name": Path(request.recipe).stem, **recipe.as_json()},
        "seed": request.seed, "precision": precision,
        "images": None if natural_set is None else natural_set.fingerprint,
        "facets": None if facets is None else facets.described,
    }  # fmt: skip
    with Renders(request.output, identity, model.made_with) as renders:
        missing = renders.missing(units)
        started = time.monotonic()
        if missing:
            natural, statistics = _natural(model, natural_set, recipe, judge, units, progress)
            if natural is not None:
                renders.note("natural_images", {"images": natural.images, "thresholds": asdict(natural.thresholds)})
            job = RenderingJob(
                model, layer, recipe, request.seed, precision, judge, units, natural, statistics, facets, names
            )
            steps = len(missing) * job.variants * recipe.steps
            with image_progress("Rendering", steps, shown=progress, counted="steps") as advance:
                engine([job], missing, renders.add, advance)
        seconds = time.monotonic() - started
    entries = [entry for unit in renders.content["units"].values() for entry in unit]
    remarks = [line for images in (natural_set, facet_set) if images is not None for line in images.remarks]
    remarks += remarks_on(renders.content["made_with"])
    return Report(renders.folder, len(missing), len(units) - len(missing), seconds, entries, remarks)


@dataclass(frozen=True, eq=False)
class RenderingJob:
    """The job whose parts are units: see `render_units`.

    Attributes:
        units: all that are asked for; natural images were measured with them, and they decide how many are rendered together.
        file_names: facet and start → the name of the image's file in the folder of its unit, without the suffix.
    """

    model: Model
    layer: str
    recipe: Recipe
    seed: int
    precision: str
    judge: Judge
    units: Sequence[Unit]
    natural: NaturalImages | None
    statistics: ImageStatistics | None
    facets: _Facets | None
    file_names: Mapping[tuple[str | None, str], str]

    @property
    def variants(self) -> int:
        """Images a unit."""
        return len(self.file_names)

    def compute(self, parts: Iterator[Unit], advance: Advance) -> Generator[tuple[Unit, list[Picture]]]:
        """Render units, as many together as fit a tile, and measure each unit's images."""
        tiles = render_units(
            self.model, self.layer, list(parts), self.recipe, seed=self.seed, precision=self.precision,
            statistics=self.statistics, probes=self.facets.probes if self.facets else None,
            together=units_together(len(self.units), self.variants), advance=advance,
        )  # fmt: skip
        for tile in tiles:
            for unit, renders in groupby(tile, lambda render: render.unit):
                yield unit, self._pictures(unit, list(renders))

    def _pictures(self, unit: Unit, renders: Sequence[Render]) -> list[Picture]:
        """A unit's images with their numbers; always measured as many at a time, as sums are rounded by the batch."""
        natural = self.natural
        qualities = self.judge.qualities(
            [render.pixels_SSC for render in renders],
            directions([unit] * len(renders), self.judge.network.units),
            self.recipe.transforms,
            _fresh_draws(self.seed, renders),
            None if natural is None else natural.best_U[[self.units.index(unit)] * len(renders)],
            None if natural is None else natural.thresholds,
        )
        scores = self.facets.scores(renders) if self.facets else [{}] * len(renders)
        return [
            Picture(
                self.file_names[render.facet, render.start], render.pixels_SSC,
                {"start": render.start, "facet": render.facet, "objective": [_short(value) for value in render.objective], **quality.as_json(), **score},
            )
            for render, quality, score in zip(renders, qualities, scores)
        ]  # fmt: skip


def _fresh_draws(seed: int, tile: Sequence[Render]) -> NDArray[np.float64]:
    """Of views that optimisation did not see."""
    streams = [stream_of(seed, "fresh views", each.unit.name, each.facet, each.start) for each in tile]
    return np.stack([stream.random((VIEWS, DRAWS)) for stream in streams], axis=1)


# Natural images -----------------------------------------------------------------------------------------------------


def _natural(
    model: Model, images: ImageSet | None, recipe: Recipe, judge: Judge, units: Sequence[Unit], progress: bool
) -> tuple[NaturalImages | None, ImageStatistics | None]:
    """What natural images do, and, for MACO, their colours and spectrum at the size that is rendered."""
    if images is None:
        return None, None
    with image_progress("Natural images", len(images), shown=progress) as advance:
        vectors = directions(units, judge.network.units)
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


def _file_names(recipe: Recipe, facets: _Facets | None) -> dict[tuple[str | None, str], str]:
    variants = [(facet, start) for facet in (facets.probes.names if facets else [None]) for start in recipe.starts]
    stems = {(facet, start): Path(start).stem for facet, start in variants}
    return file_names({key: stem if key[0] is None else f"{key[0]}_{stem}" for key, stem in stems.items()})


def _short(value: float) -> float:
    return float(f"{value:.7g}")
