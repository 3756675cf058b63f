"""S, C, R and H of many neurons at once, and what is told beside them.

Neurons that share a concept and the images they were measured on form a block; every metric is one
call a block. Shapes: U units of a block, I images, B draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from InterpScore.causality import NOT_MEASURED, beside_causality, causality, mean_of_measured, specificity
from InterpScore.helpers import Bools, Floats, Ints, spearman, weighted_quantile
from InterpScore.human_alignment import NO_HIGH, recognition_above
from InterpScore.options import MIN_IMAGES_PER_SIDE, ScoringOptions
from InterpScore.resampling import DrawWeights
from InterpScore.robustness import activation_ratio, mean_over_groups, paired_stability, robustness, why_no_robustness
from InterpScore.selectivity import hedges_factor, hedges_g, mann_whitney_p, ranked_separation, selectivity, sides
from InterpScore.tables.experiment_table import ExperimentTable


@dataclass(frozen=True)
class Block:
    """Neurons with the same concept, measured on the same images."""

    table: ExperimentTable
    options: ScoringOptions
    concept: str
    neurons: Ints
    """Positions in the run's list of neurons."""
    activation_UI: Floats
    units: Ints
    """Positions in the table's list of units."""
    target_I: Bools
    """Images of the concept that have activations."""
    other_I: Bools

    @cached_property
    def clean_I(self) -> Bools:
        return np.asarray(self.table.level_I == self.options.clean_level)

    @cached_property
    def counted_I(self) -> Bools:
        """Images of the concept whose ratings enter H."""
        levels = np.unique(self.table.level_I)
        counted = [level for level in levels if self.options.counts_in_H(int(level))]
        return np.asarray(self.target_I & np.isin(self.table.level_I, counted))

    @cached_property
    def effects(self) -> tuple[Floats, Floats]:
        """Of ablation and of amplification, `(U, I)`; NaN where not measured."""
        return self.table.ablation_UI[self.units], self.table.amplification_UI[self.units]

    @cached_property
    def raw_UI(self) -> Floats:
        """Their mean."""
        return np.asarray(sum(self.effects) / 2)

    def sides(self, draws: DrawWeights) -> tuple[Bools, Floats, Floats]:
        """Clean images with activations, and their weights as target and as other, `(I,)`, `(N, B)`, `(N, B)`."""
        clean = self.clean_I & (self.target_I | self.other_I)
        weights = draws.analysed(self.options)[clean]
        return clean, weights * self.target_I[clean, None], weights * self.other_I[clean, None]


def blocks_of(table: ExperimentTable, concept_of: Mapping[str, str], options: ScoringOptions) -> Iterator[Block]:
    """Group the neurons of the map that have activations and a concept that the table shows."""
    position = {unit: u for u, unit in enumerate(table.units)}
    measured_UI = np.isfinite(table.activation_UI)
    groups: dict[tuple[bytes, bytes], list[tuple[int, int, str]]] = {}
    for neuron, (unit, concept) in enumerate(concept_of.items()):
        shown = table.images_of(concept)
        if unit in position and shown.any():
            u = position[unit]
            groups.setdefault((shown.tobytes(), measured_UI[u].tobytes()), []).append((neuron, u, concept))
    for members in groups.values():
        units = np.array([u for _, u, _ in members])
        measured, shown = measured_UI[units[0]], table.images_of(members[0][2])
        yield Block(
            table, options, members[0][2], np.array([n for n, _, _ in members]),
            np.where(measured, table.activation_UI[units], 0.0), units, shown & measured, ~shown & measured,
        )  # fmt: skip


def components(block: Block, draws: DrawWeights, sample: DrawWeights) -> dict[str, Floats]:
    """S, C, R, H, the base rate and the threshold of H of every unit in every draw, `(U, B)`.

    `sample` is the data as it is: it sets the sample sizes. NaN where something cannot be computed.
    """
    options, a_UI = block.options, block.activation_UI
    clean, target_NB, other_NB = block.sides(draws)
    count_N = sample.analysed(options)[clean, 0]
    n_draws = draws.image_IB.shape[1]
    out = {"S": selectivity(options.selectivity, a_UI[:, clean], target_NB, other_NB, count_N)}
    clean_target = block.target_I & block.clean_I
    ablation, amplification = block.effects
    out["C"] = causality(ablation[:, clean_target], amplification[:, clean_target], draws.image_IB[clean_target])
    whose_NB = [draws.image_IB[clean] * side_I[clean, None] for side_I in (block.target_I, block.other_I)]
    out["C_specific"] = specificity(block.raw_UI[:, clean], *whose_NB)
    out["R"] = robustness(a_UI, block.target_I, block.table.level_I, draws, options)
    others = other_NB.any(axis=1)
    if others.any():
        out["threshold"] = weighted_quantile(
            a_UI[:, clean][:, others], other_NB[others], options.threshold_percentile, count_N[others].sum()
        )
    else:
        out["threshold"] = np.full((len(a_UI), n_draws), np.nan)
    counted = block.counted_I
    rating, score = draws.rating_IB[counted], draws.score_IB[counted]
    out["H"] = recognition_above(a_UI[:, counted], out["threshold"], rating, score)
    with np.errstate(invalid="ignore", divide="ignore"):
        out["H_base"] = np.broadcast_to(score.sum(axis=0) / rating.sum(axis=0), out["H"].shape)
    return out


def reasons_missing(block: Block, point: Mapping[str, Floats], sample: DrawWeights) -> list[dict[str, str]]:
    """For each unit of a block, why each component that is NaN is NaN."""
    why: dict[str, Callable[[int], str]] = {
        "S": lambda u: _why_no_selectivity(block),
        "C": lambda u: _why_no_causality(block, u),
        "R": lambda u: why_no_robustness(block.target_I, block.table.level_I, sample, block.options),
        "H": lambda u: _why_no_alignment(block, sample),
    }
    if not block.target_I.any():
        why = dict.fromkeys(why, lambda u: "no activation on any image of the concept")
    missing = {name: np.isnan(point[name][:, 0]) for name in why}
    return [{name: reason(u) for name, reason in why.items() if missing[name][u]} for u in range(len(block.units))]


def _why_no_selectivity(block: Block) -> str:
    for side_I, whose in ((block.target_I, "the concept"), (block.other_I, "other concepts")):
        n = int((side_I & block.clean_I).sum())
        if n < MIN_IMAGES_PER_SIDE:
            return f"{n} clean image{'' if n == 1 else 's'} of {whose} (needs {MIN_IMAGES_PER_SIDE})"
    return "too few rated clean images"


def _why_no_causality(block: Block, u: int) -> str:
    clean_target = block.target_I & block.clean_I
    if not clean_target.any():
        return "no clean image of the concept"
    one = np.isfinite(block.effects)[:, u][:, clean_target].any()
    return "no image with both effects, of ablation and of amplification" if one else NOT_MEASURED


def partly_measured(block: Block) -> list[dict[str, str]]:
    """For each unit of a block, what to note where C is from some of the concept's clean images only."""
    clean_target = block.target_I & block.clean_I
    n, measured_U = int(clean_target.sum()), np.isfinite(block.raw_UI[:, clean_target]).sum(axis=1)
    return [{"C": f"from {k} of {n} clean images"} if 0 < k < n else {} for k in measured_U]


def _why_no_alignment(block: Block, sample: DrawWeights) -> str:
    if not sample.rating_IB[block.counted_I].any():
        return "no rated image of the concept"
    if not (block.other_I & block.clean_I).any():
        return "no clean image of another concept to set the threshold by"
    return NO_HIGH


def beside_scores(block: Block, point: Mapping[str, Floats], sample: DrawWeights, ceiling: float) -> dict[str, Floats]:
    """What is told of every unit beside its scores, each `(U,)` or a single number."""
    a_UI = block.activation_UI
    clean = block.clean_I & (block.target_I | block.other_I)
    clean_target = block.target_I & block.clean_I
    is_target = block.target_I[clean]
    n, m = int(is_target.sum()), int((~is_target).sum())
    g = hedges_g(a_UI[:, clean], *sides(is_target))[:, 0]
    auroc, precision = ranked_separation(a_UI[:, clean], *sides(is_target))
    counted = block.counted_I & (sample.rating_IB[:, 0] > 0)
    high_UN = a_UI[:, counted] > point["threshold"]
    rates = sample.score_IB[counted, 0] / sample.rating_IB[counted, 0]
    out: dict[str, Floats] = {
        "d": g / hedges_factor(n, m) if n and m else g,
        "g": g,
        "AUROC": auroc[:, 0],
        "AP": precision[:, 0],
        "prevalence": np.array(n / (n + m) if n + m else np.nan),
        "S_p": mann_whitney_p(a_UI[:, clean], is_target),
        "C_raw": mean_of_measured(block.raw_UI[:, clean_target], np.ones((clean_target.sum(), 1)))[:, 0],
        "H_base": point["H_base"][:, 0],
        "H_rho": spearman(a_UI[:, counted], rates),
        "H_ceiling": np.array(ceiling),
        "threshold": point["threshold"][:, 0],
        "n_target_images": np.array(n),
        "n_other_images": np.array(m),
        "n_ratings": np.array(sample.rating_IB[block.counted_I].sum()),
        "n_high_images": high_UN.sum(axis=1),
        "n_high_ratings": high_UN @ sample.rating_IB[counted, 0],
    }
    out.update(_beside_causality(block))
    out.update(_by_level(block, sample))
    return out


def _beside_causality(block: Block) -> dict[str, Floats]:
    """What the measured layers say beside C, `(U,)` each; NaN for units of layers that say nothing of it."""
    clean_target = block.target_I & block.clean_I
    table, names = block.table, [block.table.units[u] for u in block.units]
    label_U = np.array([table.layer_of.get(name, "") for name in names])
    out = {"n_C_images": np.isfinite(block.raw_UI[:, clean_target]).sum(axis=1)}
    out |= {name: np.full(len(names), np.nan) for name in ("C_toward", "C_percentile")}
    for label, layer in table.layer_effects.items():
        mine = np.flatnonzero(label_U == label)
        told = beside_causality(layer, [table.unit_of(names[u]) for u in mine], clean_target)
        for name, values in told.items():
            out.setdefault(name, np.full(len(names), np.nan))[mine] = values
    return out


def _by_level(block: Block, sample: DrawWeights) -> dict[str, Floats]:
    """Activation ratio by group, and what survives at each perturbed level without regard to recognition."""
    options, table, a_UI = block.options, block.table, block.activation_UI
    clean_target = block.target_I & block.clean_I
    out: dict[str, Floats] = {}
    paired = []
    for name, levels in options.robustness_groups().items():
        at = block.target_I & np.isin(table.level_I, levels)
        if at.any() and clean_target.any():
            weights = sample.recognised_IB[at], sample.analysed(options)[clean_target]
            out[f"ratio_{name}"] = activation_ratio(
                a_UI[:, at], weights[0], a_UI[:, clean_target], weights[1], options.ratio_epsilon
            )[:, 0]
        pairs = at & _has_clean(block)
        if pairs.any():
            paired.append(paired_stability(a_UI[:, pairs], a_UI[:, table.partner_I[pairs]])[:, None])
    out["R_paired"] = mean_over_groups(paired)[:, 0] if paired else np.array(np.nan)
    for level in np.unique(table.level_I[~block.clean_I]):
        at = (table.level_I == level) & (block.target_I | block.other_I)
        out[f"AUROC_level_{level}"] = ranked_separation(a_UI[:, at], *sides(block.target_I[at]))[0][:, 0]
        pairs = (table.level_I == level) & block.target_I & _has_clean(block)
        out[f"rho_level_{level}"] = spearman(a_UI[:, pairs], a_UI[:, table.partner_I[pairs]])
    return out


def _has_clean(block: Block) -> Bools:
    """Images whose own clean image is known and measured."""
    partner = block.table.partner_I
    return (partner >= 0) & (block.target_I & block.clean_I)[partner]


def expected_under_null(block: Block, order_IB: Ints, sample: DrawWeights) -> dict[str, Floats]:
    """S and R in draws that hand out the concept labels anew within each level, `(U, B)`.

    A label keeps its ratings; `order_IB` says which image each image gets its label from.
    """
    options, a_UI = block.options, block.activation_UI
    measured = (block.target_I | block.other_I)[:, None]
    shown = block.target_I[order_IB] & measured
    others = block.other_I[order_IB] & measured
    draws = DrawWeights(
        *(
            np.take(weights[:, 0], order_IB) * shown
            for weights in (sample.image_IB, sample.rating_IB, sample.recognised_IB, sample.score_IB)
        )
    )
    clean = block.clean_I & measured[:, 0]
    analysed = np.take(sample.analysed(options)[:, 0], order_IB[clean])
    out = {"R": robustness(a_UI, measured[:, 0], block.table.level_I, draws, options)}
    out["S"] = selectivity(options.selectivity, a_UI[:, clean], analysed * shown[clean], analysed * others[clean])
    return out
