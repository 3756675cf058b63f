"""Causality C: how far the image embedding moves when a unit is ablated or amplified.

METRICS.md, section 2. The effect of a unit on an image is `Δ_λ(i) = ‖E_λ(i) − E(i)‖ / ‖E(i)‖`, with the unit scaled by λ:
0 ablates, 2 amplifies. This file turns effects into the score.
Shapes: U units, V units of a layer, N images, M measured images, B draws.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from Activation_Extraction.base.extras import naming_extras
from Activation_Extraction.tables.identifiers import unit_number
from InterpScore.errors import InputError, MissingScoreWarning
from InterpScore.helpers import ALIKE, COMPLEMENTARY_LOG_LOG, FEWEST, IDENTITY, Bools, Floats, weighted_mean
from InterpScore.intervals import interval_of_draws
from InterpScore.metric import Metric
from InterpScore.options import ScoringOptions, scoring_options
from InterpScore.tables.effects import (
    ACTIVATION,
    EFFECTS,
    MEAN_ABLATION,
    RESAMPLE_ABLATION,
    TOWARD,
    EffectsSource,
    LayerEffects,
    strength_of,
    unit_column,
)
from InterpScore.tables.experiment_table import ExperimentTable, one_unit_table, with_effects

if TYPE_CHECKING:
    from Activation_Extraction.clip_helpers import ImageSource
    from Activation_Extraction.models.registry import Model
    from InterpScore.interventions.trial import NeuronIntervention
    from InterpScore.resampling import DrawWeights
    from InterpScore.scoring.blocks import Block

NOT_MEASURED = (
    "no measured effects (--causality, columns ablation_effect_<neuron> and amplification_effect_<neuron>, or --images)"
)
MATCHED = 100
"""How many units of the layer a unit is compared with: those nearest in mean activation."""


class CausalityScore(float):
    """C of one unit: a float with details as attributes.

    Attributes:
        low, high: interval of C over images (crossed bootstrap, METRICS.md, section 6); NaN from fewer than two images.
        specific, specific_low, specific_high: C_raw on the concept's clean images minus that on other concepts', and its
            interval; NaN without measured images of other concepts.
        toward: mean cosine of embedding and concept's text, minus the same with the unit ablated; NaN without a text
            tower.
        percentile: share of the layer's units nearest in mean activation with a lower C_raw; NaN unless the complete
            layer was measured.
        dose_curve: λ → mean effect on the concept's clean images; mean_ablated, resampled: the same for mean- and
            resample-ablation. Empty and NaN where the effects were read.
        n_images: clean images of the concept that C was measured on; missing: names of the others.
    """

    low: float
    high: float
    specific: float
    specific_low: float
    specific_high: float
    toward: float
    percentile: float
    dose_curve: dict[float, float]
    mean_ablated: float
    resampled: float
    n_images: int
    missing: tuple[str, ...]

    def __new__(cls, value: float, **parts: Any) -> CausalityScore:
        score = super().__new__(cls, value)
        vars(score).update(parts)
        return score

    def __getnewargs_ex__(self) -> tuple[tuple[float], dict[str, Any]]:
        return (float(self),), dict(vars(self))


@naming_extras()
def calculate_causality_score(
    df: pd.DataFrame,
    neuron_id: int | str,
    concept_name: str,
    activation_col: str,
    *,
    effects: EffectsSource | None = None,
    model: Model | str | None = None,
    images: Any = None,
    layer: str | None = None,
    **options: Any,
) -> CausalityScore:
    """`C = 1 − exp(−C_raw)` over the clean images of a concept, from a network or from effects measured before.

        calculate_causality_score(df, 185, "fire", "activation_185", model="clip-mini", images="pictures/")

    Args:
        df: an experiment table. Without a model or `effects` it has the columns `ablation_effect_<neuron>` (Δ_0) and
            `amplification_effect_<neuron>` (Δ_2), both 0 or more.
        neuron_id: the unit; with a model its number in the layer.
        concept_name: its concept.
        activation_col: its activation column.
        effects: the effects as a separate table, a file or DataFrame with one row per image (Data/README.md).
        model: a network, or its name, to measure them with; needs `images`.
        images: the folder of the table's images, or anything else that `image_set` takes.
        layer: of the unit; None is the layer that feeds the attention pool of a CLIP.
        **options: `clean_level`, `human_score_col`, `resamples`, `confidence`, `seed` of `ScoringOptions`.

    Returns:
        A float in [0, 1), 0 without any effect; NaN, with a `MissingScoreWarning`, when no clean image was measured.

    Raises:
        InputError: a wrong table; no such column, unit, layer or model; no image found; a model or images alone.

    Source: METRICS.md, section 2.
    """
    unit = str(neuron_id)
    settings = scoring_options(**options)
    if (model is None) != (images is None):
        raise InputError("calculate_causality_score: model and images go together; expected both or neither")
    if model is not None and effects is not None:
        raise InputError("calculate_causality_score: found effects and a model; expected one of them")
    table = one_unit_table(df, activation_col, settings.human_score_col, unit, effects)
    others: dict[str, float] = {}
    if model is not None:
        table, others = _measured(table, concept_name, images, model, layer, settings)
    score = _of_table(table, concept_name, settings, others)
    if np.isnan(score):
        shown = (table.images_of(concept_name) & (table.level_I == settings.clean_level)).any()
        reason = NOT_MEASURED if shown else f"no clean image of '{concept_name}'"
        warnings.warn(f"C of neuron {unit} is NaN: {reason}", MissingScoreWarning, stacklevel=2)
    return score


@naming_extras()
def test_neuron_intervention(
    model: Model | str,
    neuron_id: int,
    intervention_type: str = "ablate",
    images: Sequence[ImageSource] | ImageSource | None = None,
    layer: str | None = None,
    **value: Any,
) -> NeuronIntervention:
    """Intervene on one unit and measure how far the image embedding moves.

        test_neuron_intervention("clip-mini", 185, "amplify", by=3)

    Args:
        model: a network or its name.
        neuron_id: the unit's number in the layer.
        intervention_type: "ablate", "amplify" (`by`, default 2), "scale" (`by`), "clamp" (`low`, `high`), "add"
            (`value`), "mean" (the unit's mean over the images) or "resample" (its map on the next image).
        images: image files, PIL images or arrays; None draws 31 pictures, one per concept.
        layer: None is the layer that feeds the attention pool of a CLIP.
        **value: parameters of the intervention.

    Returns:
        The effect on each image, and the mean.

    Raises:
        InputError: no such model, layer, unit, intervention or parameter; unreadable images; fewer than two images for
            "mean" and "resample".

    Source: METRICS.md, section 2.
    """
    from InterpScore.interventions.trial import intervention_on_images

    return intervention_on_images(model, neuron_id, intervention_type, images, layer, value)


test_neuron_intervention.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test


# From effects to scores ---------------------------------------------------------------------------------------------


def causality(ablation_UN: Floats, amplification_UN: Floats, weights_NB: Floats) -> Floats:
    """`C` of every unit in every draw, `(U, B)`, over the images with both effects; NaN where there are none."""
    return np.asarray(1 - np.exp(-mean_of_measured((ablation_UN + amplification_UN) / 2, weights_NB)))


def specificity(raw_UN: Floats, target_NB: Floats, other_NB: Floats) -> Floats:
    """C_raw on the images of the concept minus C_raw on those of others, `(U, B)`; NaN unless both were measured."""
    return mean_of_measured(raw_UN, target_NB) - mean_of_measured(raw_UN, other_NB)


def mean_of_measured(values_UN: Floats, weights_NB: Floats) -> Floats:
    """Weighted mean over the images with a value, `(U, B)`; NaN where there are none."""
    measured_UN = np.isfinite(values_UN)
    if (measured_UN == measured_UN[:1]).all():
        chosen = measured_UN[0] if len(measured_UN) else np.ones(values_UN.shape[1], dtype=bool)
        return weighted_mean(values_UN[:, chosen], weights_NB[chosen])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(measured_UN, values_UN, 0) @ weights_NB / (measured_UN @ weights_NB))


def layer_statistics(layer: LayerEffects, units: Sequence[str], images_I: Bools) -> dict[str, Floats]:
    """Supplementary statistics of units from the effects of their layer on some images, each `(U,)`; NaN if not measured.

    `C_toward`; `C_percentile`: of the `MATCHED` units of the layer nearest in mean activation, the share with a lower
    C_raw, ties ½, if the complete layer was measured; `effect_<kind>`: mean effects of other interventions.
    """
    chosen_M = images_I[layer.image_M]
    position = {unit: v for v, unit in enumerate(layer.units)}
    v_U = np.array([position.get(unit_number(unit), -1) for unit in units])

    def means(values_VM: Floats) -> Floats:
        return mean_of_measured(values_VM[:, chosen_M], np.ones((int(chosen_M.sum()), 1)))[:, 0]

    def mean_of(values_VM: Floats) -> Floats:
        return np.asarray(np.append(means(values_VM), np.nan)[v_U])  # -1, not measured, takes the NaN

    others = [kind for kind in layer.values_VM if kind not in (*EFFECTS, TOWARD, ACTIVATION)]
    statistics = {f"effect_{kind}": mean_of(layer.values_VM[kind]) for kind in others}
    if TOWARD in layer.values_VM:
        statistics["C_toward"] = mean_of(layer.values_VM[TOWARD])
    if layer.whole and ACTIVATION in layer.values_VM and chosen_M.any():
        raw_V, activation_V = means(layer.raw_VM), means(layer.values_VM[ACTIVATION])
        statistics["C_percentile"] = np.array([_percentile(raw_V, activation_V, v) if v >= 0 else np.nan for v in v_U])
    return statistics


def _percentile(raw_V: Floats, activation_V: Floats, v: int) -> float:
    others = np.flatnonzero(np.isfinite(raw_V) & np.isfinite(activation_V) & (np.arange(len(raw_V)) != v))
    if not len(others) or not np.isfinite([raw_V[v], activation_V[v]]).all():
        return float("nan")
    nearest = others[np.argsort(np.abs(activation_V[others] - activation_V[v]), kind="stable")[:MATCHED]]
    return float((raw_V[nearest] < raw_V[v]).mean() + (raw_V[nearest] == raw_V[v]).mean() / 2)


def _measured(
    table: ExperimentTable, concept: str, images: Any, model: Model | str, layer: str | None, options: ScoringOptions
) -> tuple[ExperimentTable, dict[str, float]]:
    """The table of one unit with effects from a network, and the mean effects of other interventions."""
    from Activation_Extraction.models.registry import load_model
    from InterpScore.interventions.layer import LayerInterventions
    from InterpScore.interventions.of_tables import measured_for_table, other_interventions

    network = load_model(model) if isinstance(model, str) else model
    (measured,) = measured_for_table(table, options.clean_level, images, network, layer)
    mean = float(measured.frame[unit_column(ACTIVATION, table.units[0])].mean())
    alone = LayerInterventions(network, measured.about["layer"], [int(table.units[0])])
    others = other_interventions(table, options.clean_level, images, alone, concept, mean)
    return with_effects(table, measured), others


def _of_table(
    table: ExperimentTable, concept: str, options: ScoringOptions, others: Mapping[str, float]
) -> CausalityScore:
    """C of the only unit of a table, with its intervals; `others` are mean effects by kind of intervention."""
    clean_I = table.level_I == options.clean_level
    target_I, other_I = clean_I & table.images_of(concept), clean_I & ~table.images_of(concept)
    raw_1I = (table.ablation_UI + table.amplification_UI) / 2
    measured_I = np.isfinite(raw_1I[0])

    def scores(weights_IB: Floats) -> tuple[Floats, Floats]:
        raw = mean_of_measured(raw_1I[:, target_I], weights_IB[target_I])
        return 1 - np.exp(-raw), specificity(raw_1I, weights_IB * target_I[:, None], weights_IB * other_I[:, None])

    (value,), (specific,) = (part[0] for part in scores(np.ones((len(clean_I), 1))))
    design = table.rating_design(options.recognised_at)
    drawn = [scores(draws.image_IB) for draws in design.bootstrap(options.resamples, options.seed)]
    draws_2B = np.concatenate([np.empty((2, 0)), *(np.concatenate(parts) for parts in drawn)], axis=1)
    n_target, n_other = (int((side_I & measured_I).sum()) for side_I in (target_I, other_I))
    behind = {COMPLEMENTARY_LOG_LOG: n_target, IDENTITY: min(n_target, n_other)}
    ends = [
        interval_of_draws(np.array([point]), draws_B[None], options.confidence, np.array([float(n)]), link)
        for point, draws_B, (link, n) in zip((value, specific), draws_2B, behind.items(), strict=True)
    ]
    (low, high), (specific_low, specific_high) = (
        (float(a[0]), float(b[0])) if n >= FEWEST and b[0] - a[0] > ALIKE else (math.nan, math.nan)
        for (a, b), n in zip(ends, behind.values(), strict=True)
    )
    layer = table.layer_effects.get("")
    statistics = layer_statistics(layer, table.units, target_I) if layer else {}
    toward, percentile = (float(statistics.get(name, [math.nan])[0]) for name in ("C_toward", "C_percentile"))
    strengths = {kind: strength_of(kind) for kind in others}
    missing = tuple(name for name, absent in zip(table.images, target_I & ~measured_I, strict=True) if absent)
    return CausalityScore(
        float(value), low=low, high=high, specific=float(specific), specific_low=specific_low,
        specific_high=specific_high, toward=toward, percentile=percentile,
        dose_curve={strength: others[kind] for kind, strength in strengths.items() if strength is not None},
        mean_ablated=others.get(MEAN_ABLATION, math.nan), resampled=others.get(RESAMPLE_ABLATION, math.nan),
        n_images=n_target, missing=missing,
    )  # fmt: skip


# C in a scoring run -------------------------------------------------------------------------------------------------


def _compute(block: Block, draws: DrawWeights) -> Floats:
    clean_I = block.clean_target_I
    ablation_UI, amplification_UI = block.effects
    return causality(ablation_UI[:, clean_I], amplification_UI[:, clean_I], draws.image_IB[clean_I])


def _specific(block: Block, draws: DrawWeights) -> Floats:
    clean_I = block.clean_I
    target_NB, other_NB = (
        draws.image_IB[clean_I] * side_I[clean_I, None] for side_I in (block.target_I, block.other_I)
    )
    return specificity(block.raw_UI[:, clean_I], target_NB, other_NB)


def _why_missing(block: Block, u: int) -> str:
    if not block.clean_target_I.any():
        return "no clean image of the concept"
    one = any(np.isfinite(effect_UI[u, block.clean_target_I]).any() for effect_UI in block.effects)
    return "no image with both effects, of ablation and of amplification" if one else NOT_MEASURED


def _caveat(block: Block, u: int) -> str:
    n, measured = int(block.clean_target_I.sum()), int(np.isfinite(block.raw_UI[u, block.clean_target_I]).sum())
    return f"from {measured} of {n} clean images" if 0 < measured < n else ""


def _behind(block: Block, column: str) -> Mapping[str, Any]:
    sides = [block.target_I, block.other_I] if column == "C_specific" else [block.target_I]
    measured = (np.isfinite(block.raw_UI[:, block.study.clean_I & side_I]).sum(axis=1) for side_I in sides)
    return {"image": np.min(list(measured), axis=0)}


def _statistics(block: Block) -> Mapping[str, Floats]:
    """NaN for units of layers that have no such measurement."""
    clean_I, table = block.clean_target_I, block.table
    names = [table.units[u] for u in block.units]
    label_U = np.array([table.layer_of.get(name, "") for name in names])
    out = {
        "C_raw": mean_of_measured(block.raw_UI[:, clean_I], np.ones((clean_I.sum(), 1)))[:, 0],
        "n_C_images": np.isfinite(block.raw_UI[:, clean_I]).sum(axis=1).astype(float),
    }
    out |= {name: np.full(len(names), np.nan) for name in ("C_toward", "C_percentile")}
    for label, layer in table.layer_effects.items():
        mine = np.flatnonzero(label_U == label)
        for name, values in layer_statistics(layer, [table.unit_of(names[u]) for u in mine], clean_I).items():
            out.setdefault(name, np.full(len(names), np.nan))[mine] = values
    return out


METRIC = Metric(
    name="C",
    weight=0.3,
    compute=_compute,
    further={"C_specific": _specific},
    link=COMPLEMENTARY_LOG_LOG,
    why_missing=_why_missing,
    caveat=_caveat,
    statistics=_statistics,
    behind=_behind,
    columns={
        "C": "causality, 0 to 1; 0 is none (METRICS 2)",
        "C_raw": "mean relative change of the embedding, before C = 1 − exp(−C_raw)",
        "C_specific": "C_raw on the concept's clean images minus C_raw on those of other concepts (METRICS 2)",
        "C_toward": "mean cosine of its clean images and the concept's text, minus the same with the unit ablated; empty without a text tower",
        "C_percentile": "share of the 100 units of the layer nearest in mean activation with a lower C_raw; empty unless the complete layer was measured",
        "n_C_images": "clean images of the concept that C was measured on",
        "effect_<intervention>": "mean relative change of the embedding under another intervention on the concept's clean images: `scale_<λ>`, `mean_ablation`, `resample_ablation` (METRICS 2)",
    },
)
