"""InterpScore: the weighted mean of the metrics, of S, C, R and H unless others are registered.

METRICS.md, section 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from Activation_Extraction.base.errors import did_you_mean
from InterpScore.errors import InputError
from InterpScore.helpers import Bools, Floats
from InterpScore.metric import components
from InterpScore.options import OnMissing, scoring_options

ROUNDING = 1e-9
"""How far outside [0, 1] a component may lie by rounding."""


def calculate_interpretability_score(
    S: Any,
    C: Any,
    R: Any,
    H: Any,
    weights: Sequence[float] | Mapping[str, float] | None = None,
    on_missing: OnMissing = "renormalise",
    **others: Any,
) -> Any:
    """`I = Σ w_k X_k / Σ w_k` over the components that are not NaN.

    Args:
        S, C, R, H: scores in [0, 1], or arrays of them that broadcast together; NaN is missing.
        weights: of S, C, R and H, in this order, or by name; they need not sum to 1. None: .3, .3, .2, .2.
        on_missing: `renormalise` leaves a missing component and its weight out, `nan` makes the
            score NaN, `zero` counts it as 0.
        **others: components of packages, by name.

    Returns:
        A float, or an array of the broadcast shape, in [0, 1]; NaN when no weighted component is there (0 with `zero`).

    Raises:
        InputError: weights that are not four non-negative numbers, an unknown `on_missing` or metric, or a
            component outside [0, 1].

    Source: METRICS.md, section 5.

    >>> round(calculate_interpretability_score(1.0, 0.5, 0.5, 0.0), 3)
    0.55
    >>> calculate_interpretability_score(1.0, float("nan"), 1.0, 1.0)
    1.0
    """
    options = scoring_options(weights=weights, on_missing=on_missing)
    values = {"S": S, "C": C, "R": R, "H": H, **others}
    names = [metric.name for metric in components()]
    for name in others:
        if name not in names:
            raise InputError(f"{name}: no such metric{did_you_mean(name, names)}; expected one of {', '.join(names)}")
    columns = [np.asarray(values.get(name, np.nan), dtype=float) for name in names]
    stacked = np.stack(np.broadcast_arrays(*columns))
    for name, component in zip(names, stacked, strict=True):
        if ((component < -ROUNDING) | (component > 1 + ROUNDING)).any():
            raise InputError(f"{name} from {np.nanmin(component):g} to {np.nanmax(component):g}; expected 0 to 1")
    stacked = np.clip(stacked, 0, 1)
    combined = weighted_components(stacked, np.isfinite(stacked), options.weights, options.on_missing)
    return float(combined) if combined.ndim == 0 else combined


def weighted_components(stacked_K: Floats, present_K: Bools, weights: Sequence[float], on_missing: OnMissing) -> Floats:
    """Combine components stacked on the first axis.

    `present_K` says which count as there; it may come from the point estimate, so that a draw in
    which a component is NaN is NaN rather than a score of other components.
    """
    weight_K = (np.asarray(weights, dtype=float) / (max(weights) or 1.0)).reshape(-1, *[1] * (stacked_K.ndim - 1))
    weight_K = np.broadcast_to(weight_K, stacked_K.shape)
    present_K = np.broadcast_to(present_K, stacked_K.shape)
    counted_K = weight_K if on_missing == "zero" else weight_K * present_K
    # A component of no weight never makes a score missing.
    terms_K = np.where(present_K & (weight_K > 0), stacked_K, 0.0) * weight_K
    total = counted_K.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        combined = terms_K.sum(axis=0) / total
    if on_missing == "nan":
        combined = np.where(((weight_K > 0) & ~present_K).any(axis=0), np.nan, combined)
    return np.asarray(combined)
