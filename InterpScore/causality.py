"""Causality C: how far the image embedding moves when a unit is ablated or amplified.

METRICS.md, section 2. This file turns measured effects into the score. An effect is
`Δ_λ(i) = ‖E_λ(i) − E(i)‖ / ‖E(i)‖` of one unit on one image, with the unit scaled by λ: 0 ablates,
2 amplifies. Shapes: U units, N clean images of the concept, B draws.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import pandas as pd

from InterpScore.arrays import Floats
from InterpScore.errors import MissingScoreWarning
from InterpScore.experiment_table import one_unit_table
from InterpScore.options import scoring_options
from InterpScore.statistics import weighted_mean

NOT_MEASURED = "no measured effects (columns ablation_effect_<neuron> and amplification_effect_<neuron>)"


def calculate_causality_score(
    df: pd.DataFrame,
    neuron_id: int | str,
    concept_name: str,
    activation_col: str,
    *,
    effects: str | os.PathLike[str] | pd.DataFrame | None = None,
    **options: Any,
) -> float:
    """`C = 1 − exp(−C_raw)` from effects that were measured before.

    Args:
        df: an experiment table with the columns `ablation_effect_<neuron>` (Δ_0) and
            `amplification_effect_<neuron>` (Δ_2), both 0 or more.
        neuron_id: the unit.
        concept_name: its concept; effects count on the clean images of it.
        activation_col: its activation column, which must be in the table.
        effects: the effects in a table of their own, one row an image (Data/README.md), a file or a
            DataFrame.
        **options: `clean_level` and `human_score_col` of `InterpScore.options.ScoringOptions`.

    Returns:
        In [0, 1): 0 when intervening moves nothing. NaN, with a `MissingScoreWarning` that says
        why, when the effects of any clean image of the concept are absent.

    Raises:
        InputError: a table that cannot be read, or no such activation column.

    Source: METRICS.md, section 2.
    """
    unit = str(neuron_id)
    settings = scoring_options(**options)
    table = one_unit_table(df, activation_col, settings.human_score_col, unit, effects)
    chosen = table.images_of(concept_name) & (table.level_I == settings.clean_level)
    score = float(
        causality(table.ablation_UI[:, chosen], table.amplification_UI[:, chosen], np.ones((chosen.sum(), 1)))[0, 0]
    )
    if np.isnan(score):
        reason = NOT_MEASURED if chosen.any() else f"no clean image of '{concept_name}'"
        warnings.warn(f"C of neuron {unit} is NaN: {reason}", MissingScoreWarning, stacklevel=2)
    return score


def causality(ablation_UN: Floats, amplification_UN: Floats, weights_NB: Floats) -> Floats:
    """`C` of every unit in every draw, `(U, B)`; NaN where an effect is missing or N is 0."""
    raw = (weighted_mean(ablation_UN, weights_NB) + weighted_mean(amplification_UN, weights_NB)) / 2
    return 1 - np.exp(-raw)
