"""What a layer's activations alone say of each unit: read by unit, some units at a time.

Shapes: N images of the layer, I of them that count, U units, K places of the top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.progress import StageProgress
from InterpScore.helpers import Bools, Floats, Ints, on_all_cores
from InterpScore.profiles import formulas
from InterpScore.profiles.sources import Layer

_CHUNK_UNITS = 32
_UNITS_BYTES, _CACHE_BYTES = 64_000_000, 1_000_000
"""Of activations that are read at once by unit; and of those that are computed with at once."""
_TILE = 256


@dataclass(frozen=True, eq=False)
class Units:
    """What is known of units before the product: how they are scaled, the scores that take no embedding, sums, top images."""

    minimum_U: NDArray[Any]
    range_U: NDArray[Any]
    odd_U: Ints
    quantile_U: Floats
    sums_PU: Floats
    top_sums_PU: Floats
    sparsity_U: Floats
    entropy_U: Floats
    kurtosis_U: Floats
    top_UK: Ints

    @property
    def varies_U(self) -> Bools:
        return np.asarray((self.range_U > 0) & (self.odd_U == 0))


def units_of(activations: Layer, rows: Ints, tell: StageProgress) -> Units:
    count, width = activations.shape
    step = max(_UNITS_BYTES // (4 * count * _CHUNK_UNITS), 1) * _CHUNK_UNITS
    share = max(_CACHE_BYTES // (4 * count), 1)
    parts: list[Units] = []
    for at in range(0, width, step):
        a_UI = _transposed(activations.of_units(range(at, min(at + step, width))), rows)
        parts += on_all_cores(_block_of, [a_UI[u : u + share] for u in range(0, len(a_UI), share)])
        tell("Units", min(at + step, width), width)
    names = Units.__dataclass_fields__
    joined = {name: [getattr(part, name) for part in parts] for name in names}
    return Units(
        **{name: np.concatenate(arrays, axis=1 if name.endswith("PU") else 0) for name, arrays in joined.items()}
    )


def _transposed(a_NU: NDArray[Any], rows: Ints) -> NDArray[Any]:
    """Some rows, `(U, I)`; a tile at a time, which is several times as fast."""
    a_UI = np.empty((a_NU.shape[1], len(rows)), a_NU.dtype)
    for at in range(0, len(rows), _TILE):
        a_UI[:, at : at + _TILE] = a_NU[rows[at : at + _TILE]].T
    return a_UI


def _block_of(a_UI: NDArray[Any]) -> Units:
    n, minimum_U, maximum_U = a_UI.shape[1], a_UI.min(1), a_UI.max(1)
    odd_U = np.zeros(len(a_UI), np.int64)
    for u in np.flatnonzero(~(np.isfinite(minimum_U) & np.isfinite(maximum_U))):
        odd_U[u], minimum_U[u], maximum_U[u] = (~np.isfinite(a_UI[u])).sum(), 0, 0
        a_UI[u] = 0
    with np.errstate(over="ignore"):
        range_U = maximum_U - minimum_U
    constant_U = range_U <= formulas.CONSTANT * np.maximum(np.abs(minimum_U), np.abs(maximum_U))
    range_U[constant_U] = 0
    scaled_UI = scaled(a_UI, minimum_U[:, None], range_U[:, None])
    upper, sums_PU = formulas.Upper.of(scaled_UI), formulas.power_sums(scaled_UI)
    with np.errstate(invalid="ignore", divide="ignore"):  # of constant units
        return Units(
            minimum_U, range_U, odd_U, upper.quantile_U, sums_PU, upper.sums_PU,
            formulas.sparsity(n, sums_PU, minimum_U, range_U), formulas.entropy(scaled_UI),
            formulas.kurtosis(n, sums_PU), formulas.top_images(scaled_UI, upper.least_U),
        )  # fmt: skip


def scaled(a: NDArray[Any], minimum: NDArray[Any], width: NDArray[Any]) -> NDArray[Any]:
    """Activations from 0 at each unit's minimum to 1 at its maximum, in place; 0 for constant units."""
    a -= minimum
    a *= np.where(width > 0, 1 / np.where(width > 0, width, 1), 0).astype(a.dtype)
    return a
