"""Objectives: one number for each image of a batch, larger is better; they add up.

    channel(5) - 0.1 * diversity(4) - 0.01 * total_variation()

An image's number depends on that image alone (with `diversity`, on its group), so maximising the sum over a batch
optimises each image independently.

Shapes: N images, C = 3 colours, H and W space, U units, and the positions … of a layer's map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.models.units import Unit

Target: TypeAlias = "int | Sequence[int] | Tensor"
"""A unit for all images or one for each; or a direction of floats, `(U,)` for all images or `(N, U)`."""


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """What objectives are computed from.

    Attributes:
        images_NCHW: from 0 to 1, before any transform.
        activations: layer → its activations on the transformed images, `(N, U, …)`.
        layer: the layer of objectives that name none.
    """

    images_NCHW: Tensor
    activations: Mapping[str, Tensor]
    layer: str

    def at(self, layer: str | None) -> Tensor:
        """Activations `(N, U, …)` of a layer; None is `self.layer`."""
        return self.activations[self.layer if layer is None else layer]


@dataclass(frozen=True, eq=False)
class Objective:
    """A number for each image, `(N,)`; objectives can be added, subtracted, negated and multiplied by numbers."""

    values: Callable[[ForwardPass], Tensor]

    def __add__(self, other: Objective) -> Objective:
        return Objective(lambda state: self.values(state) + other.values(state))

    def __sub__(self, other: Objective) -> Objective:
        return self + -other

    def __neg__(self) -> Objective:
        return -1.0 * self

    def __mul__(self, factor: float) -> Objective:
        return Objective(lambda state: factor * self.values(state))

    __rmul__ = __mul__


# Of units; `layer` None is the layer being rendered -----------------------------------------------------------------


def channel(target: Target, layer: str | None = None) -> Objective:
    """Mean activation of a unit or direction over all positions.

    Raises:
        InputError: when computed: the layer has no such unit, or another number of units than the direction.
    """
    return _of_layer(lambda a: _mean(along(a, target)), layer)


def neuron(target: Target, layer: str | None = None) -> Objective:
    """Activation of a unit or direction at the centre of its map; raises as `channel`."""
    return _of_layer(lambda a: centre(along(a, target)), layer)


def cosine(direction: Tensor, power: float = 2.0, layer: str | None = None) -> Objective:
    """`channel` of a direction, with each position weighted by its cosine with the direction, to a power.

    Cosines below 0.1 count as 0.1, so that every position has a gradient.
    """

    def values(a: Tensor) -> Tensor:
        product = along(a, direction)
        lengths = a.norm(dim=1) * direction.norm(dim=-1).reshape(-1, *[1] * (a.ndim - 2))
        cosines = product / lengths.clamp(min=1e-6)
        return _mean(product * cosines.clamp(min=0.1) ** power)

    return _of_layer(values, layer)


def directions(units: Sequence[Unit], count: int) -> Tensor:
    """Units as directions in a layer of `count` channels, `(len(units), count)`: 1 at each channel of the unit."""
    vectors = torch.zeros(len(units), count)
    for row, unit in enumerate(units):
        vectors[row, list(unit.channels)] = 1
    return vectors


def layer_energy(layer: str | None = None) -> Objective:
    """Mean square of all activations, which DeepDream maximises (Mordvintsev et al. 2015)."""
    return _of_layer(lambda a: _mean(a.square()), layer)


# Of images ----------------------------------------------------------------------------------------------------------


def diversity(images: int, layer: str | None = None) -> Objective:
    """Similarity of an image to the others of its group; subtract it to make them differ.

    Mean cosine between their Gram matrices over positions; from 0 to 1 behind a ReLU. A group is `images` successive
    images. Source: Olah et al. 2017, "Feature Visualization".
    """

    def values(a: Tensor) -> Tensor:
        if images < 2 or len(a) % images:
            raise InputError(f"diversity: {len(a)} images in groups of {images}; expected whole groups of two or more")
        a_NUP = _positions(a)
        gram = F.normalize((a_NUP @ a_NUP.mT).flatten(1), dim=1, eps=1e-6).reshape(len(a) // images, images, -1)
        cosines = gram @ gram.mT
        alike: Tensor = (cosines.sum(2) - cosines.diagonal(dim1=1, dim2=2)) / (images - 1)
        return alike.flatten()

    return _of_layer(values, layer)


def l2_to_grey() -> Objective:
    """Mean square distance of an image from mid-grey; subtract it."""
    return Objective(lambda state: _mean((state.images_NCHW - 0.5).square()))


def total_variation() -> Objective:
    """Mean distance between neighbouring pixels, down and across; subtract it."""

    def values(state: ForwardPass) -> Tensor:
        down, across = (_mean(state.images_NCHW.diff(dim=axis).abs()) for axis in (2, 3))
        return down + across

    return Objective(values)


# Maps ---------------------------------------------------------------------------------------------------------------


def along(a: Tensor, target: Target) -> Tensor:
    """The map of each image's unit, or its dot product with a direction: `(N, U, …)` to `(N, …)`."""
    if isinstance(target, Tensor) and target.is_floating_point():
        if target.shape[-1] != a.shape[1]:
            raise InputError(f"direction: {target.shape[-1]} numbers; expected one for each of {a.shape[1]} units")
        subscripts = "nup,u->np" if target.ndim == 1 else "nup,nu->np"
        return torch.einsum(subscripts, _positions(a), target.to(a)).reshape(len(a), *a.shape[2:])
    index = torch.as_tensor(target, device=a.device).expand(len(a))
    if len(wrong := index[(index < 0) | (index >= a.shape[1])]):
        raise InputError(f"unit {shown(int(wrong[0]))}: the layer has units 0 to {a.shape[1] - 1}")
    return a[torch.arange(len(a), device=a.device), index]


def centre(maps: Tensor) -> Tensor:
    """The middle position of maps `(N, …)`; for an even side, the one after the middle."""
    for side in maps.shape[1:]:
        maps = maps.select(1, side // 2)
    return maps


def _mean(x: Tensor) -> Tensor:
    """Mean of each image's numbers, `(N, …)` to `(N,)`."""
    return x.reshape(len(x), -1).mean(1)


def _of_layer(values: Callable[[Tensor], Tensor], layer: str | None) -> Objective:
    return Objective(lambda state: values(state.at(layer)))


def _positions(a: Tensor) -> Tensor:
    """`(N, U, P)`: positions flattened into one axis, of length 1 where a layer has none."""
    return a.flatten(2) if a.ndim > 2 else a.unsqueeze(2)
