"""Robustness R: how stable a unit's activation is across perturbation levels.

METRICS.md, section 3. Shapes: U units, N perturbed images, M clean images, B draws.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from InterpScore.errors import MissingScoreWarning
from InterpScore.helpers import Bools, Floats, Ints, weighted_mean
from InterpScore.options import ScoringOptions, scoring_options
from InterpScore.resampling import DrawWeights
from InterpScore.tables.experiment_table import one_unit_table

NO_CLEAN = "no clean image of the concept"


def calculate_robustness_score(df: pd.DataFrame, concept_name: str, activation_col: str, **options: Any) -> float:
    """Mean over groups of levels of `min(r, 1/r)`, r = activation at the level ÷ clean activation.

    Args:
        df: an experiment table (Data/README.md describes its columns).
        concept_name: the unit's concept.
        activation_col: the column with its activations.
        **options: `protocol`, `clean_level`, `recognizable_levels`, `human_score_col`,
            `unit_of_analysis`, `level_kinds` of `InterpScore.options.ScoringOptions`.

    Returns:
        In [0, 1]: 1 when recognised perturbed images activate the unit as much as clean ones. NaN (0 under
        the published protocol), with a `MissingScoreWarning` that says why, when that cannot be computed.

    Raises:
        InputError: a table that cannot be read, or no such column.

    Source: METRICS.md, section 3.
    """
    chosen = scoring_options(**options)
    table = one_unit_table(df, activation_col, chosen.human_score_col)
    of_concept = table.images_of(concept_name) & np.isfinite(table.activation_UI[0])
    draw = table.rating_design(chosen.recognised_at).unit_weights()
    score = float(robustness(table.activation_UI, of_concept, table.level_I, draw, chosen)[0, 0])
    if np.isnan(score):
        score = chosen.fill_missing.get("R", score)
        value = "NaN" if np.isnan(score) else f"{score:g}"
        reason = why_no_robustness(of_concept, table.level_I, draw, chosen)
        warnings.warn(f"R of {activation_col} is {value}: {reason}", MissingScoreWarning, stacklevel=2)
    return score


def robustness(
    activation_UI: Floats, of_concept_I: Bools, level_I: Ints, draws: DrawWeights, options: ScoringOptions
) -> Floats:
    """`R` of every unit in every draw, `(U, B)`; NaN where no group of levels has a value.

    Args:
        activation_UI: finite on the images of the concept.
        of_concept_I: which images show the units' concept.
        level_I: level of each image.
        draws: what images and ratings count for.
        options: levels, their grouping, and whether clean images or their ratings are averaged.
    """
    clean = of_concept_I & (level_I == options.clean_level)
    stabilities = [np.full((len(activation_UI), draws.image_IB.shape[1]), np.nan)]
    for levels in options.robustness_groups().values():
        perturbed = of_concept_I & np.isin(level_I, levels)
        if perturbed.any() and clean.any():
            ratio = activation_ratio(
                activation_UI[:, perturbed],
                draws.recognised_IB[perturbed],
                activation_UI[:, clean],
                draws.analysed(options)[clean],
                options.ratio_epsilon,
            )
            stabilities.append(stability(ratio))
    return mean_over_groups(stabilities)


def why_no_robustness(of_concept_I: Bools, level_I: Ints, draw: DrawWeights, options: ScoringOptions) -> str:
    """The reason for an R that is NaN."""
    clean = of_concept_I & (level_I == options.clean_level)
    if not clean.any():
        return NO_CLEAN
    if not draw.analysed(options)[clean].any():
        return "no rated clean image of the concept"
    levels = [level for group in options.robustness_groups().values() for level in group]
    perturbed = of_concept_I & np.isin(level_I, levels)
    named = f"level{'s' if len(levels) > 1 else ''} {', '.join(map(str, levels))}"
    if not levels:
        return "no recognizable level besides the clean one"
    if not perturbed.any():
        return f"no image of the concept at {named}"
    if not draw.recognised_IB[perturbed].any():
        return f"no recognised image at {named}"
    return "the unit is silent on every clean and perturbed image of its concept"


def activation_ratio(
    perturbed_UN: Floats,
    perturbed_weights_NB: Floats,
    clean_UM: Floats,
    clean_weights_MB: Floats,
    epsilon: float = 0.0,
) -> Floats:
    """`r`: mean |activation| of the perturbed images over that of the clean ones, `(U, B)`.

    NaN where either side has no weight, and where both means are 0.
    """
    top = weighted_mean(np.abs(perturbed_UN), perturbed_weights_NB)
    bottom = weighted_mean(np.abs(clean_UM), clean_weights_MB)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return np.asarray((top + epsilon) / (bottom + epsilon))


def stability(ratio: Floats) -> Floats:
    """`σ(r) = min(r, 1/r)`: 1 where activation is unchanged, 0 where it vanishes or explodes."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.minimum(ratio, 1 / ratio)


def mean_over_groups(stabilities: Sequence[Floats]) -> Floats:
    """Mean of σ over the groups that have a value, `(U, B)`; NaN where none has."""
    stacked = np.stack(stabilities)
    present = np.isfinite(stacked)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(present, stacked, 0).sum(axis=0) / present.sum(axis=0))


def paired_stability(perturbed_UN: Floats, clean_UN: Floats) -> Floats:
    """`R_paired` of one level: mean over pairs of `σ(|perturbed| / |its own clean image|)`, `(U,)`.

    Pairs whose clean activation and perturbed activation are both 0 say nothing and are left out.
    """
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        sigma = stability(np.abs(perturbed_UN) / np.abs(clean_UN))
    present = np.isfinite(sigma)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(present, sigma, 0).sum(axis=1) / present.sum(axis=1))
