"""Robustness R: how stable a unit's activation is across perturbation levels.

METRICS.md, section 3. Shapes: U units, N perturbed images, M clean images, B draws.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from InterpScore.errors import MissingScoreWarning
from InterpScore.helpers import Bools, Floats, Ints, ranked_separation, sides, spearman, weighted_mean
from InterpScore.metric import PERMUTED_LABELS, Folds, Metric
from InterpScore.options import ScoringOptions, scoring_options
from InterpScore.resampling import DrawWeights
from InterpScore.tables.experiment_table import one_unit_table

if TYPE_CHECKING:
    from InterpScore.scoring.blocks import Block

NO_CLEAN = "no clean image of the concept"
_SILENT = 50.0
"""Log ratio of a response that vanishes or explodes; its fold is 0 to rounding."""


def calculate_robustness_score(df: pd.DataFrame, concept_name: str, activation_col: str, **options: Any) -> float:
    """Mean over groups of levels of `min(r, 1/r)`, r = activation at the level ÷ clean activation.

    Args:
        df: an experiment table (Data/README.md describes its columns).
        concept_name: the unit's concept.
        activation_col: the column with its activations.
        **options: `preset`, `clean_level`, `recognizable_levels`, `human_score_col`,
            `unit_of_analysis`, `level_kinds` of `InterpScore.options.ScoringOptions`.

    Returns:
        In [0, 1]: 1 when recognised perturbed images activate the unit as much as clean ones. NaN (0 under
        the preset `published`), with a `MissingScoreWarning` that says why, when that cannot be computed.

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
    return mean_over_groups(stability(group_ratios(activation_UI, of_concept_I, level_I, draws, options)))


def group_ratios(
    activation_UI: Floats, of_concept_I: Bools, level_I: Ints, draws: DrawWeights, options: ScoringOptions
) -> Floats:
    """`r` of each group of levels, `(G, U, B)`, at least one; NaN where a group has no value. Arguments as `robustness`."""
    clean = of_concept_I & (level_I == options.clean_level)
    groups = options.robustness_groups().values()
    ratios = np.full((max(len(groups), 1), len(activation_UI), draws.image_IB.shape[1]), np.nan)
    for g, levels in enumerate(groups):
        perturbed = of_concept_I & np.isin(level_I, levels)
        if perturbed.any() and clean.any():
            ratios[g] = activation_ratio(
                activation_UI[:, perturbed],
                draws.recognised_IB[perturbed],
                activation_UI[:, clean],
                draws.analysed(options)[clean],
                options.ratio_epsilon,
            )
    return ratios


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


def mean_over_groups(stability_GUB: Floats) -> Floats:
    """Mean of σ over the groups that have a value, `(U, B)`; NaN where none has."""
    present = np.isfinite(stability_GUB)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(present, stability_GUB, 0).sum(axis=0) / present.sum(axis=0))


def paired_stability(perturbed_UN: Floats, clean_UN: Floats) -> Floats:
    """`R_paired` of one level: mean over pairs of `σ(|perturbed| / |its own clean image|)`, `(U,)`.

    Pairs whose clean activation and perturbed activation are both 0 say nothing and are left out.
    """
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        sigma = stability(np.abs(perturbed_UN) / np.abs(clean_UN))
    present = np.isfinite(sigma)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(present, sigma, 0).sum(axis=1) / present.sum(axis=1))


# R in a scoring run -------------------------------------------------------------------------------------------------


def _compute(block: Block, draws: DrawWeights) -> Floats:
    of_concept_I, draws = block.of_concept(draws)
    return robustness(block.activation_UI, of_concept_I, block.table.level_I, draws, block.options)


def _log_ratios(block: Block, draws: DrawWeights) -> Floats:
    of_concept_I, draws = block.of_concept(draws)
    ratios = group_ratios(block.activation_UI, of_concept_I, block.table.level_I, draws, block.options)
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(np.log(ratios), -_SILENT, _SILENT))


def _images(block: Block) -> int:
    """The fewest images in a group: the clean ones, or the recognised ones of a group that has any."""
    recognised_I = block.target_I & (block.sample.recognised_IB[:, 0] > 0)
    sizes = [
        int((recognised_I & np.isin(block.table.level_I, levels)).sum())
        for levels in block.options.robustness_groups().values()
    ]
    return min([int(block.clean_target_I.sum()), *(size for size in sizes if size)])


def _behind(block: Block, column: str) -> Mapping[str, Any]:
    """The fewest images in a group, and the fewest who recognised those of a group that anyone did."""
    level_I, groups = block.table.level_I, block.options.robustness_groups().values()
    of_groups = [block.target_I & np.isin(level_I, levels) for levels in groups]
    raters = [int(block.study.raters(at_I, np.ones((1, at_I.sum()), bool), recognised=True)[0]) for at_I in of_groups]
    fewest = min((n for n in raters if n), default=0)
    return {"image": _images(block) if fewest else 0, "rater": fewest}


def _groups(options: ScoringOptions) -> list[str]:
    return [name if options.pool_levels_by_kind else f"level {name}" for name in options.robustness_groups()]


def _why_missing(block: Block, u: int) -> str:
    return why_no_robustness(block.target_I, block.table.level_I, block.sample, block.options)


def _statistics(block: Block) -> Mapping[str, Floats]:
    """Activation ratio by group, and what survives at each perturbed level without regard to recognition."""
    options, a_UI, draw = block.options, block.activation_UI, block.sample
    level_I, partner_I, clean_I = block.table.level_I, block.table.partner_I, block.clean_target_I
    paired_I = block.target_I & (partner_I >= 0) & clean_I[partner_I]  # their own clean image is known and measured
    out: dict[str, Floats] = {}
    stabilities = []
    for name, levels in options.robustness_groups().items():
        at_I = block.target_I & np.isin(level_I, levels)
        out[f"n_R_{name}"] = np.array(float((at_I & (draw.recognised_IB[:, 0] > 0)).sum()))
        if at_I.any() and clean_I.any():
            perturbed = a_UI[:, at_I], draw.recognised_IB[at_I]
            clean = a_UI[:, clean_I], draw.analysed(options)[clean_I]
            out[f"ratio_{name}"] = activation_ratio(*perturbed, *clean, options.ratio_epsilon)[:, 0]
        pairs_I = at_I & paired_I
        if pairs_I.any():
            stabilities.append(paired_stability(a_UI[:, pairs_I], a_UI[:, partner_I[pairs_I]])[:, None])
    out["R_paired"] = mean_over_groups(np.stack(stabilities))[:, 0] if stabilities else np.array(np.nan)
    for level in np.unique(level_I[level_I != options.clean_level]):
        at_I = (level_I == level) & block.measured_I
        out[f"AUROC_level_{level}"] = ranked_separation(a_UI[:, at_I], *sides(block.target_I[at_I]))[0][:, 0]
        pairs_I = (level_I == level) & paired_I
        out[f"rho_level_{level}"] = spearman(a_UI[:, pairs_I], a_UI[:, partner_I[pairs_I]])
    return out


METRIC = Metric(
    name="R",
    weight=0.2,
    compute=_compute,
    null=PERMUTED_LABELS,
    folds=Folds(_log_ratios, _images, _groups),
    why_missing=_why_missing,
    statistics=_statistics,
    behind=_behind,
    columns={
        "R": "robustness, 0 to 1 (METRICS 3)",
        "R_paired": "R over image pairs (perturbed and its own clean image), recognised or not; empty without known pairs",
        "ratio_<group>": "mean activation of recognised images of the group of levels ÷ clean activation (METRICS 3)",
        "n_R_<group>": "recognised images of the concept in the group of levels, on which R rests",
        "AUROC_level_<level>": "AUROC that the unit retains at the level",
        "rho_level_<level>": "Spearman's correlation of perturbed and own clean image's activation at the level; empty below three pairs",
    },
)
