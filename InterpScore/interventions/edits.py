"""Interventions on a unit: functions of its activations, over the complete map or at chosen positions.

    ablate(), amplify(3), scale(0.5)            multiplied
    replace(mean_U1), replace(other_UP)         mean- and resample-ablation
    clamp(0, 2), add(1.5), at(ablate(), mask)   clamped, shifted, at some positions only

Shapes: U units, P positions of the map (1 where a layer has none).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from InterpScore.errors import InputError, shown

Intervention: TypeAlias = Callable[[Tensor], Tensor]
"""Maps the activations of the units on one image, `(U, P)`, to new ones; never changes its input."""


class Scale:
    """Multiplication by one number; a class, because effects of many factors are computed at once."""

    def __init__(self, by: float) -> None:
        self.by = _finite("scale", by)

    def __call__(self, a_UP: Tensor) -> Tensor:
        return a_UP * self.by

    def __repr__(self) -> str:
        return f"scale({self.by:g})"


def scale(by: float) -> Scale:
    """Activations times λ: 0 ablates, 1 changes nothing, 2 amplifies (METRICS.md, section 2)."""
    return Scale(by)


def ablate() -> Scale:
    """Zero-ablation: activations become 0."""
    return Scale(0.0)


def amplify(by: float = 2.0) -> Scale:
    """Activations times `by`."""
    return Scale(by)


def replace(values: Tensor) -> Intervention:
    """Replacement by other values: means `(U, 1)` for mean-ablation, another image's `(U, P)` for resample-ablation."""

    def replaced(a_UP: Tensor) -> Tensor:
        try:
            return values.to(a_UP).expand_as(a_UP)
        except RuntimeError:
            raise InputError(f"replace: values of shape {tuple(values.shape)}; expected a shape that fits {tuple(a_UP.shape)}") from None  # fmt: skip

    return replaced


def clamp(low: float | None = None, high: float | None = None) -> Intervention:
    """Activations clamped to `low` to `high`.

    Raises:
        InputError: neither, a number that is not finite, or `low` above `high`.
    """
    if low is None and high is None:
        raise InputError("clamp: neither low nor high; expected at least one of them")
    low, high = (None if bound is None else _finite("clamp", bound) for bound in (low, high))
    if low is not None and high is not None and low > high:
        raise InputError(f"clamp: found low {low:g} above high {high:g}; expected low ≤ high")
    return lambda a_UP: a_UP.clamp(low, high)


def add(value: float) -> Intervention:
    """The same number added at every position."""
    value = _finite("add", value)
    return lambda a_UP: a_UP + value


def at(intervention: Intervention, positions_P: Tensor) -> Intervention:
    """An intervention at some positions of the map only: booleans, one per position in row-major order, of any shape."""
    chosen_P = positions_P.flatten()
    if chosen_P.dtype != torch.bool:
        raise InputError(f"at: positions of type {chosen_P.dtype}; expected booleans, one a position")

    def there(a_UP: Tensor) -> Tensor:
        if len(chosen_P) != a_UP.shape[1]:
            raise InputError(f"at: {len(chosen_P)} positions; the layer's map has {a_UP.shape[1]}")
        return torch.where(chosen_P.to(a_UP.device), intervention(a_UP), a_UP)

    return there


def _finite(what: str, number: float) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise InputError(f"{what}: found {shown(number)}; expected a finite number")
    return float(number)
