"""Pools a layer's output to one number per unit, or keeps its map."""

from __future__ import annotations

import torch
from torch import Tensor

from Activation_Extraction.base.errors import InputError, did_you_mean, shown

POOLINGS = ("mean", "max", "none")
"""Over the positions of a map, or the tokens of a sequence; "none" keeps them."""


def pooled(a: Tensor, axes: tuple[int, int], pooling: str) -> Tensor:
    """A pooled copy of a layer's output.

    Args:
        a: output for a batch, of any floating type.
        axes: of images and of units; see `models.axes.Axes`.
        pooling: of `POOLINGS`.

    Returns:
        float32, or float64 of float64, (image, unit), or with "none" (image, unit, position…); sums are of that type.
    """
    a = a.permute(*axes, *(axis for axis in range(a.ndim) if axis not in axes))
    positions, kind = tuple(range(2, a.ndim)), torch.promote_types(a.dtype, torch.float32)
    if not positions or pooling == "none":
        return a.to(kind, copy=True)
    if pooling == "max":
        return a.amax(positions).to(kind)
    return a.mean(positions, dtype=kind)


def check_pooling(name: str) -> None:
    """Raise an `InputError` unless the name is a pooling."""
    if name not in POOLINGS:
        raise InputError(f"pooling: found {shown(name)}; expected mean, max or none{did_you_mean(name, POOLINGS)}")
