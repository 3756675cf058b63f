"""Many units at once: images that grow until their units like them best.

Images are optimised in tiles of a fixed number, since a processor's kernels may round differently for another number,
and Adam would make that grow. Everything that is random comes from one stream for each (seed, layer, unit, image). So a
unit's image depends neither on how many units are rendered nor on which.

Shapes: N images of a tile, C = 3 colours, S pixels a side, U units.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.progress import Advance
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.resources import limited_threads
from Activation_Extraction.models.units import Unit
from DeepDream_Setup.facets import FacetProbes, facet
from DeepDream_Setup.network import CutNetwork
from DeepDream_Setup.objectives import (
    Objective,
    Seen,
    centre_direction,
    cosine_direction,
    direction,
    directions,
    diversity,
    l2_to_grey,
    layer_energy,
    total_variation,
)
from DeepDream_Setup.parametrization import Fourier, ImageStatistics, Maco, Parametrization, Pixel
from DeepDream_Setup.recipes import Recipe
from DeepDream_Setup.starts import start_named
from DeepDream_Setup.transforms import DRAWS, Transforms, resample

TILE = 8
"""Images that are optimised together, however many there are to make: large networks are fastest with about as many."""

LOSSES = 9
"""Values of the objective that are kept of each image, from the first step to the last, evenly spaced."""

READINGS: dict[str, Callable[[Tensor], Objective]] = {
    "channel": direction, "neuron": centre_direction, "cosine": cosine_direction,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Render:
    """One image of a unit.

    Attributes:
        unit: what it is of.
        start: name of what it was started from; facet: the facet it was drawn to, or None.
        pixels_SSC: uint8.
        objective: its values from the first step to the last, higher being better.
    """

    unit: Unit
    start: str
    facet: str | None
    pixels_SSC: NDArray[np.uint8]
    objective: tuple[float, ...]


def render_units(
    model: Model,
    layer: str,
    units: Sequence[Unit],
    recipe: Recipe,
    *,
    seed: int = 0,
    precision: str = "fp32",
    statistics: ImageStatistics | None = None,
    probes: FacetProbes | None = None,
    advance: Advance | None = None,
) -> Iterator[list[Render]]:
    """Render units one tile after another.

    Args:
        model: the network; it is left as it is, and no hook stays behind.
        layer: in either scheme.
        units: `models.units.parse_units` makes them.
        recipe: `read_recipe` reads it.
        seed: of all that is random.
        precision: "fp32" or "bf16"; see `models.resources.best_precision`.
        statistics: of natural images at the size that is rendered; MACO needs them.
        probes: of facets; a unit gets an image for each, and the recipe's objective weighs them.
        advance: called after each step of a tile with the number of its images.

    Yields:
        All images of each unit of a tile: unit by unit, facet by facet, start by start.

    Raises:
        InputError: an unknown layer; MACO without statistics; a term `facet` without probes, or the reverse.
    """
    if ("facet" in recipe.objective) != (probes is not None):
        found = "a term facet without facet probes" if probes is None else "facet probes without a term facet"
        raise InputError(f"objective: found {found}; expected both or neither")
    layers = [layer] if probes is None else [layer, probes.layer]
    network = CutNetwork(model, layers, precision)
    size = recipe.side(network.input_size[0])
    parametrization = _parametrization(recipe, size, statistics)
    takes = [(name, start) for name in (probes.names if probes else [None]) for start in recipe.starts]
    starts = {name: start_named(name) for name in recipe.starts}
    vectors = directions(units, network.units)
    units_a_tile = max(1, TILE // len(takes))
    for first in range(0, len(units), units_a_tile):
        here = list(range(first, min(first + units_a_tile, len(units))))
        rows = here + [here[-1]] * (units_a_tile - len(here))  # always as many, whatever there is to do
        jobs = [(row, name, start) for row in rows for name, start in takes]
        streams = [stream_of(seed, network.layers[0], units[row].name, name, start) for row, name, start in jobs]
        draws_TND = np.stack([stream.random((recipe.steps, DRAWS)) for stream in streams], axis=1)
        begin = np.stack([starts[start](stream, size) for stream, (_, _, start) in zip(streams, jobs)])
        objective = _objective(recipe, vectors[[row for row, _, _ in jobs]].to(model.device), len(takes))
        if probes is not None:
            facets_NM = torch.stack([probes.vector(name) for _, name, _ in jobs]).to(model.device)
            objective = objective + recipe.objective["facet"] * facet(
                _reading(recipe, vectors[[row for row, _, _ in jobs]].to(model.device)), network.layers[-1], facets_NM
            )
        with limited_threads(model.threads):
            x_NCSS, values_LN = optimise(
                network, parametrization, objective, torch.from_numpy(begin).float().to(model.device), recipe.transforms,
                draws_TND, learning_rate=recipe.learning_rate, rescue_steps=recipe.rescue_steps,
                stepped=partial(advance, len(here) * len(takes)) if advance else None,
            )  # fmt: skip
        pixels = (x_NCSS * 255).round().clamp(0, 255).byte().movedim(1, -1).cpu().numpy()
        yield [
            Render(units[row], start, name, pixels[i], tuple(values_LN[:, i].tolist()))
            for i, (row, name, start) in enumerate(jobs[: len(here) * len(takes)])
        ]


def optimise(
    network: CutNetwork,
    parametrization: Parametrization,
    objective: Objective,
    start_NCSS: Tensor,
    transforms: Transforms,
    draws_TND: NDArray[np.float64],
    *,
    learning_rate: float,
    rescue_steps: int = 0,
    stepped: Callable[[], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Make each image's objective large, by Adam.

    Args:
        network: reads the layers that the objective names.
        start_NCSS: images from 0 to 1.
        transforms: of the views that the network is shown.
        draws_TND: from 0 to 1, `transforms.DRAWS` for each step and image; the steps are as many as there are here.
        rescue_steps: first steps in which gradients reach dead units.
        stepped: called after each step.

    Returns:
        The images, and values of the objective on the way, `(LOSSES, N)` or for fewer steps one for each.
    """
    size, steps = start_NCSS.shape[-1], len(draws_TND)
    parameters = parametrization.parameters(start_NCSS).requires_grad_()
    adam = torch.optim.Adam([parameters], lr=learning_rate)
    noted = set(np.linspace(0, steps - 1, LOSSES).round().astype(int).tolist())
    values = []
    for step, draws_ND in enumerate(draws_TND):
        x_NCSS = parametrization.image(parameters)
        view = resample(x_NCSS, torch.from_numpy(transforms.maps(draws_ND, size)), *network.input_size)
        activations = network(view, rescue=step < rescue_steps)
        value_N = objective.values(Seen(x_NCSS, activations, network.layers[0]))
        adam.zero_grad()
        (-value_N.sum()).backward()  # type: ignore[no-untyped-call]
        adam.step()
        if step in noted:
            values.append(value_N.detach().cpu())
        if stepped:
            stepped()
    with torch.no_grad():
        return parametrization.image(parameters), torch.stack(values)


def _parametrization(recipe: Recipe, size: int, statistics: ImageStatistics | None) -> Parametrization:
    if recipe.parametrization == "pixel":
        return Pixel()
    if recipe.parametrization == "fourier":
        return Fourier(size)
    if statistics is None:
        raise InputError("parametrization maco: found no images; expected natural images, whose spectrum it keeps to")
    return Maco(statistics)


def _reading(recipe: Recipe, vectors_NU: Tensor) -> Objective:
    return READINGS[recipe.reading](vectors_NU)


def _objective(recipe: Recipe, vectors_NU: Tensor, images: int) -> Objective:
    """What the recipe asks for, but for its facets; `images` are there of each unit."""
    terms: dict[str, Callable[[], Objective]] = {
        recipe.reading: lambda: _reading(recipe, vectors_NU),
        "diversity": lambda: diversity(images),
        "layer_energy": layer_energy,
        "l2_to_grey": l2_to_grey,
        "total_variation": total_variation,
    }
    parts = [weight * terms[term]() for term, weight in recipe.objective.items() if term in terms]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def stream_of(seed: int, *names: str | None) -> np.random.Generator:
    """The random numbers of one purpose, whatever else is drawn: from a seed and what the purpose is called."""
    text = "\0".join([str(seed), *(name or "" for name in names)])
    return np.random.default_rng(np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint32))
