"""Units that do the same: the largest similarity of each unit with another one, a block of units at a time. METRICS.md, section 9.

Shapes: U units, u of a block, D dimensions, K places of the top.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from InterpScore.helpers import Floats, Ints, in_shares

_BLOCK = 256
_ZERO = 1e-6
"""Length of a difference of mean embeddings that is nothing but rounding."""


def redundancy(mean_UD: NDArray[Any], overall_D: NDArray[Any]) -> tuple[Floats, Ints]:
    """The largest cosine of a unit's mean embedding, the overall mean subtracted, with another unit's; and which unit that is.

    Args:
        mean_UD: the mean embedding of each unit's top images; NaN for units without.

    Returns:
        `(U,)` and `(U,)`; NaN and −1 where the unit has none, its difference is zero, or no other unit has one.
    """
    away_UD = mean_UD - overall_D
    length_U = np.linalg.norm(away_UD, axis=1)
    with np.errstate(invalid="ignore"):
        has_U = length_U > _ZERO
    away_UD = np.where(has_U[:, None], away_UD, 0) / np.where(has_U, length_U, 1)[:, None]
    return _largest(has_U, lambda units: away_UD[units] @ away_UD.T)


def overlap(top_UK: Ints) -> tuple[Floats, Ints]:
    """The largest Jaccard index of a unit's top images with another unit's; and which unit that is.

    Args:
        top_UK: rows of images, −1 for none; units with fewer than two are left out.

    Returns:
        As of `redundancy`.
    """
    count_U = (top_UK >= 0).sum(1)
    _, place_UK = np.unique(top_UK, return_inverse=True)
    unit_C, column_C = np.nonzero(top_UK >= 0)
    image_C = place_UK.reshape(top_UK.shape)[unit_C, column_C]
    member_UI = sparse.csr_array(
        (np.ones(len(unit_C), np.int32), (unit_C, image_C)), (len(top_UK), image_C.max(initial=0) + 1)
    )
    members_IU = member_UI.T.tocsr()

    def jaccard(units: slice) -> Floats:
        both_uU = (member_UI[units] @ members_IU).toarray()
        return np.asarray(both_uU / np.maximum(count_U[units, None] + count_U - both_uU, 1))

    return _largest(count_U > 1, jaccard)


def _largest(has_U: NDArray[np.bool_], similar: Callable[[slice], Any]) -> tuple[Floats, Ints]:
    """The largest value of each unit that has one with another that does; the first of equal ones."""
    value_U, unit_U = np.full(len(has_U), np.nan), np.full(len(has_U), -1, np.int64)
    if has_U.sum() < 2:
        return value_U, unit_U
    for units in in_shares(len(has_U), _BLOCK):
        value_uU = np.where(has_U, similar(units), -np.inf)
        own = np.arange(units.start, units.stop)
        value_uU[own - units.start, own] = -np.inf
        unit_U[units] = value_uU.argmax(1)
        value_U[units] = value_uU.max(1)
    return np.where(has_U, np.minimum(value_U, 1), np.nan), np.where(has_U, unit_U, -1)
