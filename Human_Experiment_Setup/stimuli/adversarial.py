"""Projected gradient descent on a picture as it will be saved: whole levels, within a norm bound, read by the network.

Source: Madry et al. 2018. Differences are in levels of 255, on the picture of the study's size; the network's scaling is
part of what is descended (`NetworkReading`), so that bound and effect both hold for the file.

Shapes: N starts, C = 3 channels, S side.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from Human_Experiment_Setup.stimuli.network_reading import NetworkReading, Score
from Human_Experiment_Setup.stimuli.perturbations import Pixels
from Human_Experiment_Setup.stimuli.protocol import AdversarialLevel

_HALVINGS = 30


def size_of(norm: str, difference_NCSS: Tensor) -> Tensor:
    """The size of each difference, `(N,)`: its largest ("linf"), or its RMS over pixels and channels ("l2")."""
    flat = difference_NCSS.flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.square().mean(1).sqrt()


def attacked(
    clean_SSC: Pixels, score: Score, reading: NetworkReading, level: AdversarialLevel, generator: np.random.Generator
) -> Pixels:
    """The picture within the bound whose score is the lowest (or highest) that the descent comes by.

    Args:
        clean_SSC: the picture, in levels.
        score: what is lowered or raised, of what the image tower takes.
        reading: what it takes of a picture.
        level: norm, radius, direction and steps.
        generator: where the starts come from.

    Returns:
        Whole levels; their difference from the clean picture is within the radius.
    """
    clean_1CSS = torch.from_numpy(clean_SSC.astype(np.float32)).permute(2, 0, 1)[None]
    sign = 1.0 if level.direction == "lower" else -1.0

    def losses(d_NCSS: Tensor) -> Tensor:
        return sign * score(reading(_as_if_whole(clean_1CSS + d_NCSS)))

    d_NCSS = _start(clean_1CSS, level, generator)
    best_NCSS, lowest = d_NCSS, torch.full((level.starts,), math.inf)
    for step in range(level.steps):
        with torch.enable_grad():
            d_NCSS = d_NCSS.detach().requires_grad_()
            loss = losses(d_NCSS)
            (slope_NCSS,) = torch.autograd.grad(loss.sum(), d_NCSS)
        better = loss.detach() < lowest
        best_NCSS = torch.where(_each(better), d_NCSS.detach(), best_NCSS)
        lowest = torch.where(better, loss.detach(), lowest)
        if not slope_NCSS.any():
            break  # nowhere to go, as below a ReLU
        length = level.radius * level.step * _share(level.schedule, step / level.steps)
        d_NCSS = _projected(d_NCSS.detach() - length * _direction(level.norm, slope_NCSS), clean_1CSS, level)
    with torch.no_grad():
        ends_NCSS = torch.cat([_saved(each, clean_1CSS, level) for each in (best_NCSS, d_NCSS)])
        best = ends_NCSS[losses(ends_NCSS).argmin()]
    return (clean_1CSS[0] + best).permute(1, 2, 0).numpy().astype(np.uint8)


def _start(clean_1CSS: Tensor, level: AdversarialLevel, generator: np.random.Generator) -> Tensor:
    """Random points within the bound; under "l2" at a random distance in a random direction."""
    shape = (level.starts, *clean_1CSS.shape[1:])
    if level.norm == "linf":
        d_NCSS = torch.from_numpy(generator.uniform(-level.radius, level.radius, shape).astype(np.float32))
    else:
        d_NCSS = torch.from_numpy(generator.standard_normal(shape).astype(np.float32))
        distance = torch.from_numpy(generator.uniform(0, level.radius, level.starts).astype(np.float32))
        d_NCSS = d_NCSS * _each(distance / size_of("l2", d_NCSS))
    return _projected(d_NCSS, clean_1CSS, level)


def _direction(norm: str, slope_NCSS: Tensor) -> Tensor:
    """The steepest difference of size 1; none where the slope is 0."""
    if norm == "linf":
        return slope_NCSS.sign()
    slope_NCSS = slope_NCSS / _each(size_of("linf", slope_NCSS).clamp(min=1e-30))  # squares of tiny ones would be 0
    return slope_NCSS / _each(size_of("l2", slope_NCSS).clamp(min=1e-30))


def _share(schedule: str, done: float) -> float:
    return 1.0 if schedule == "constant" else (1 + math.cos(math.pi * done)) / 2


def _projected(d_NCSS: Tensor, clean_1CSS: Tensor, level: AdversarialLevel) -> Tensor:
    """The difference brought into the bound, and the picture into 0 to 255 (which makes no difference larger)."""
    if level.norm == "linf":
        d_NCSS = d_NCSS.clamp(-level.radius, level.radius)
    else:
        d_NCSS = d_NCSS * _each(level.radius / size_of("l2", d_NCSS).clamp(min=level.radius))
    return (clean_1CSS + d_NCSS).clamp(0, 255) - clean_1CSS


def _saved(d_NCSS: Tensor, clean_1CSS: Tensor, level: AdversarialLevel) -> Tensor:
    """The difference in whole levels and still within the bound: shortened until rounding leaves it there."""
    within = math.floor(level.radius) if level.norm == "linf" else level.radius
    low, high = torch.zeros(len(d_NCSS)), torch.ones(len(d_NCSS))
    share = high
    for _ in range(_HALVINGS):
        fits = size_of(level.norm, (_each(share) * d_NCSS).round()) <= within
        low, high = torch.where(fits, share, low), torch.where(fits, high, share)
        share = (low + high) / 2
    return (_each(low) * d_NCSS).round()


def _as_if_whole(x: Tensor) -> Tensor:
    return x + (x.round() - x).detach()


def _each(x_N: Tensor) -> Tensor:
    """A number for each picture, to be combined with pictures."""
    return x_N[:, None, None, None]
