"""What is kept of a layer's output: one number a unit, or its whole map."""

from __future__ import annotations

import torch
from torch import Tensor

from Activation_Extraction.base.errors import InputError, did_you_mean, shown

POOLINGS = ("mean", "max", "none")
"""Over the positions of a map, or the tokens of a sequence; "none" keeps them."""


def pooled(a: Tensor, axis: int, pooling: str) -> Tensor:
    """What is kept of an output, in memory of its own.

    Args:
        a: output of a layer for a batch, the images first, of any floating type.
        axis: which of its axes holds the units.
        pooling: of `POOLINGS`.

    Returns:
        float32, (image, unit) or, where positions are kept, (image, unit, position…); sums are made in float32.
    """
    a = a.movedim(axis, 1)
    positions = tuple(range(2, a.ndim))
    if not positions or pooling == "none":
        return a.to(torch.float32, copy=True)
    if pooling == "max":
        return a.amax(positions).float()
    return a.mean(positions, dtype=torch.float32)


def check_pooling(name: str) -> None:
    """Refuse a name that is no pooling.

    Raises:
        InputError: with the nearest name.
    """
    if name not in POOLINGS:
        hint = did_you_mean(str(name), POOLINGS)
        raise InputError(f"pooling: found {shown(name)}; expected mean, max or none{hint}")
