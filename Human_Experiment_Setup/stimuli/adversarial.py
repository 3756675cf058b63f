"""Projected gradient descent on a picture as it will be saved: 8-bit integers, within a norm bound, seen by the network.

Source: Madry et al. 2018. Differences are on the scale of 0 to 255, at the study's picture size. The network's resizing
is part of what is differentiated (`Preprocessing`), so bound and effect both hold for the saved file.

Shapes: N starts, C = 3 channels, S side.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from Human_Experiment_Setup.stimuli.differentiable import Preprocessing, Score, rounded
from Human_Experiment_Setup.stimuli.perturbations import Pixels
from Human_Experiment_Setup.stimuli.protocol import AdversarialLevel

_HALVINGS = 30


def attacked(
    clean_SSC: Pixels,
    score: Score,
    preprocessing: Preprocessing,
    level: AdversarialLevel,
    generator: np.random.Generator,
) -> Pixels:
    """The picture with the lowest (or highest) score that the descent finds within the bound.

    Args:
        clean_SSC: the clean picture.
        score: lowered or raised; a function of the image tower's input.
        preprocessing: from pictures to that input.
        level: norm, radius, direction and steps.
        generator: draws the starting points.
    """
    clean_1CSS = torch.from_numpy(clean_SSC.astype(np.float32)).permute(2, 0, 1)[None]
    sign = 1.0 if level.direction == "lower" else -1.0

    def losses(d_NCSS: Tensor) -> Tensor:
        return sign * score(preprocessing(rounded(clean_1CSS + d_NCSS)))

    d_NCSS = _start(clean_1CSS, level, generator)
    best_NCSS, lowest = d_NCSS, torch.full((level.starts,), math.inf)
    for step in range(level.steps):
        with torch.enable_grad():
            d_NCSS = d_NCSS.detach().requires_grad_()
            loss = losses(d_NCSS)
            (slope_NCSS,) = torch.autograd.grad(loss.sum(), d_NCSS)
        better = loss.detach() < lowest
        best_NCSS = torch.where(_column(better), d_NCSS.detach(), best_NCSS)
        lowest = torch.where(better, loss.detach(), lowest)
        if not slope_NCSS.any():
            break  # no gradient anywhere, as behind an inactive ReLU
        share = 1.0 if level.schedule == "constant" else (1 + math.cos(math.pi * (step / level.steps))) / 2
        length = level.radius * level.step * share
        d_NCSS = _projected(d_NCSS.detach() - length * _direction(level.norm, slope_NCSS), clean_1CSS, level)
    with torch.no_grad():
        ends_NCSS = torch.cat([_quantized(best_NCSS, level), _quantized(d_NCSS, level)])
        best = ends_NCSS[losses(ends_NCSS).argmin()]
    return (clean_1CSS[0] + best).permute(1, 2, 0).numpy().astype(np.uint8)


def _size(norm: str, difference_NCSS: Tensor) -> Tensor:
    """Size of each difference, `(N,)`: its maximum ("linf"), or its RMS over pixels and channels ("l2")."""
    flat = difference_NCSS.flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.square().mean(1).sqrt()


def _start(clean_1CSS: Tensor, level: AdversarialLevel, generator: np.random.Generator) -> Tensor:
    """Random points within the bound; for "l2", at a random distance in a random direction."""
    shape = (level.starts, *clean_1CSS.shape[1:])
    if level.norm == "linf":
        d_NCSS = torch.from_numpy(generator.uniform(-level.radius, level.radius, shape).astype(np.float32))
    else:
        d_NCSS = torch.from_numpy(generator.standard_normal(shape).astype(np.float32))
        distance = torch.from_numpy(generator.uniform(0, level.radius, level.starts).astype(np.float32))
        d_NCSS = d_NCSS * _column(distance / _size("l2", d_NCSS))
    return _projected(d_NCSS, clean_1CSS, level)


def _direction(norm: str, slope_NCSS: Tensor) -> Tensor:
    """The steepest difference of size 1; 0 where the slope is 0."""
    if norm == "linf":
        return slope_NCSS.sign()
    slope_NCSS = slope_NCSS / _column(_size("linf", slope_NCSS).clamp(min=1e-30))  # or squares would underflow
    return slope_NCSS / _column(_size("l2", slope_NCSS).clamp(min=1e-30))


def _projected(d_NCSS: Tensor, clean_1CSS: Tensor, level: AdversarialLevel) -> Tensor:
    """The nearest difference within the bound, with the picture clipped to 0 to 255."""
    if level.norm == "linf":
        d_NCSS = d_NCSS.clamp(-level.radius, level.radius)
    else:
        d_NCSS = d_NCSS * _column(level.radius / _size("l2", d_NCSS).clamp(min=level.radius))
    return (clean_1CSS + d_NCSS).clamp(0, 255) - clean_1CSS


def _quantized(d_NCSS: Tensor, level: AdversarialLevel) -> Tensor:
    """The difference scaled down as little as possible for it to round to integers within the bound."""
    within = math.floor(level.radius) if level.norm == "linf" else level.radius
    low, high = torch.zeros(len(d_NCSS)), torch.ones(len(d_NCSS))
    share = high
    for _ in range(_HALVINGS):
        fits = _size(level.norm, (_column(share) * d_NCSS).round()) <= within
        low, high = torch.where(fits, share, low), torch.where(fits, high, share)
        share = (low + high) / 2
    return (_column(low) * d_NCSS).round()


def _column(x_N: Tensor) -> Tensor:
    """`(N, 1, 1, 1)`, to be combined with pictures."""
    return x_N[:, None, None, None]
