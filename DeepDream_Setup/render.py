"""Rendering of many units: images optimised until their units respond most.

Images are optimised in tiles of one size, since kernels may round differently for other batch sizes and Adam amplifies
that. Random numbers come from one stream for each (seed, unit, image). So a unit's image depends neither on which other
units are rendered nor on their order, and on their number only as the batch size rounds.

Shapes: N images of a tile, C = 3 colours, S pixels per side, U units.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.files import as_bytes
from Activation_Extraction.base.progress import Advance
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.resources import limited_threads
from Activation_Extraction.models.units import Unit
from DeepDream_Setup.facets import FacetProbes, facet
from DeepDream_Setup.network import CutNetwork
from DeepDream_Setup.objectives import (
    ForwardPass,
    Objective,
    channel,
    cosine,
    directions,
    diversity,
    l2_to_grey,
    layer_energy,
    neuron,
    total_variation,
)
from DeepDream_Setup.parametrization import Fourier, ImageStatistics, Maco, Parametrization, Pixel
from DeepDream_Setup.recipes import Recipe
from DeepDream_Setup.starts import start_named
from DeepDream_Setup.transforms import DRAWS, Transforms, resample

TILE = 8
"""Images optimised together, about as many as large networks are fastest with."""

LOSSES = 9
"""Values of the objective recorded for each image, evenly spaced from the first step to the last."""

READINGS: dict[str, Callable[[Tensor], Objective]] = {"channel": channel, "neuron": neuron, "cosine": cosine}


@dataclass(frozen=True, eq=False)
class Render:
    """One image of a unit.

    Attributes:
        unit: the unit.
        start: name of the starting image.
        facet: label of the facet, or None.
        pixels_SSC: uint8.
        objective: its values from the first step to the last; higher is better.
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
    together: int | None = None,
    advance: Advance | None = None,
) -> Iterator[list[Render]]:
    """Render units, tile by tile.

    Args:
        model: the network; it is not modified and no hook remains on it.
        layer: in either scheme.
        units: from `models.units.parse_units`.
        recipe: from `read_recipe`.
        seed: random seed.
        precision: "fp32", "bf16" or "fp64"; see `models.resources.best_precision`.
        statistics: of natural images at the rendered size; for MACO.
        probes: of facets; each unit gets one image per probe.
        together: units a tile; those that `units_together` gives if it is None.
        advance: called after each step of a tile with its number of images.

    Yields:
        The images of a tile, ordered by unit, facet and start.

    Raises:
        InputError: an unknown layer; MACO without statistics; a term `facet` without probes, or the reverse.
    """
    if ("facet" in recipe.objective) != (probes is not None):
        found = "a term facet without facet probes" if probes is None else "facet probes without a term facet"
        raise InputError(f"objective: found {found}; expected both or neither")
    network = CutNetwork(model, [layer] if probes is None else [layer, probes.layer], precision)
    size = recipe.side(network.input_size[0])
    parametrization = _parametrization(recipe, size, statistics)
    variants = [(name, start) for name in (probes.names if probes else [None]) for start in recipe.starts]
    starts = {name: start_named(name) for name in recipe.starts}
    vectors = directions(units, network.units).to(model.device)
    together = together or units_together(len(units), len(variants))
    for first in range(0, len(units), together):
        tile = units[first : first + together]
        count = len(tile) * len(variants)
        rows = [min(first + i, len(units) - 1) for i in range(together)]  # the last tile is padded to full size
        jobs = [(row, name, start) for row in rows for name, start in variants]
        streams = [stream_of(seed, units[row].name, name, start) for row, name, start in jobs]
        draws_TND = np.stack([stream.random((recipe.steps, DRAWS)) for stream in streams], axis=1)
        start_NCSS = np.stack([starts[start](stream, size) for stream, (_, _, start) in zip(streams, jobs)])
        vectors_NU = vectors[[row for row, _, _ in jobs]]
        objective = _objective(recipe, vectors_NU, len(variants))
        if probes is not None:
            probes_NM = torch.stack([probes.vector(name) for _, name, _ in jobs]).to(model.device)
            reading = READINGS[recipe.reading](vectors_NU)
            objective = objective + recipe.objective["facet"] * facet(reading, network.layers[-1], probes_NM)
        with limited_threads(model.threads):
            x_NCSS, values_LN = optimise(
                network, parametrization, objective, torch.from_numpy(start_NCSS).to(model.device, network.dtype),
                recipe.transforms, draws_TND, learning_rate=recipe.learning_rate, rescue_steps=recipe.rescue_steps,
                stepped=partial(advance, count) if advance else None,
            )  # fmt: skip
        pixels = (x_NCSS * 255).round().clamp(0, 255).byte().movedim(1, -1).cpu().numpy()
        yield [
            Render(units[row], start, name, pixels[i], tuple(values_LN[:, i].tolist()))
            for i, (row, name, start) in enumerate(jobs[:count])
        ]


def units_together(n_units: int, n_variants: int) -> int:
    """Units a tile: as many tiles as `TILE` needs, and all about equally full.

    >>> units_together(1, 1), units_together(9, 1), units_together(2560, 1), units_together(5, 3)
    (1, 5, 8, 2)
    """
    n_tiles = -(-n_units // max(1, TILE // n_variants))
    return -(-n_units // max(1, n_tiles))


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
    """Maximise each image's objective with Adam.

    Args:
        network: gives the layers that the objective names.
        parametrization: of the images.
        objective: to maximise.
        start_NCSS: images from 0 to 1.
        transforms: of the views that the network is given.
        draws_TND: from 0 to 1, `transforms.DRAWS` for each of the T steps and each image.
        learning_rate: of Adam.
        rescue_steps: initial steps in which gradients pass through inactive ReLUs.
        stepped: called after each step.

    Returns:
        The images, and the objective at evenly spaced steps, `(min(LOSSES, T), N)`.
    """
    size, steps = start_NCSS.shape[-1], len(draws_TND)
    parameters = parametrization.parameters(start_NCSS).requires_grad_()
    adam = torch.optim.Adam([parameters], lr=learning_rate)
    recorded = set(np.linspace(0, steps - 1, LOSSES).round().astype(int).tolist())
    values = []
    for step, draws_ND in enumerate(draws_TND):
        x_NCSS = parametrization.image(parameters)
        view = resample(x_NCSS, torch.from_numpy(transforms.maps(draws_ND, size)), *network.input_size)
        activations = network(view, rescue=step < rescue_steps)
        value_N = objective.values(ForwardPass(x_NCSS, activations, network.layers[0]))
        adam.zero_grad()
        (-value_N.sum()).backward()  # type: ignore[no-untyped-call]
        adam.step()
        if step in recorded:
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
        raise InputError("parametrization maco: found no images; expected natural images, whose spectrum it uses")
    return Maco(statistics)


def _objective(recipe: Recipe, vectors_NU: Tensor, images: int) -> Objective:
    """The recipe's objective without its facet term; each unit has `images` images."""
    terms: dict[str, Callable[[], Objective]] = {
        recipe.reading: partial(READINGS[recipe.reading], vectors_NU),
        "diversity": partial(diversity, images),
        "layer_energy": layer_energy,
        "l2_to_grey": l2_to_grey,
        "total_variation": total_variation,
    }
    return reduce(add, (weight * terms[term]() for term, weight in recipe.objective.items() if term in terms))


def stream_of(seed: int, *names: str | None) -> np.random.Generator:
    """A generator for one purpose, from the seed and the names that identify it, independent of all other draws.

    The layer's name is none of them: a frozen graph has another for the same layer.
    """
    text = "\0".join([str(seed), *(name or "" for name in names)])
    return np.random.default_rng(np.frombuffer(hashlib.sha256(as_bytes(text)).digest(), np.uint32))
