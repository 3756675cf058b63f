"""Do intervals cover the truth? Simulated studies, the crossed bootstrap, and independent ratings for comparison.

METRICS.md, section 7. Shapes: I images, R ratings, B draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from Activation_Extraction.base.progress import StageProgress
from InterpScore.aggregated_measure import weighted_components
from InterpScore.helpers import Floats, percentile_interval, weighted_mean
from InterpScore.intervals import Folded, Part, mean_of_folds, score_interval
from InterpScore.metric import metrics
from InterpScore.options import scoring_options
from InterpScore.resampling import DrawWeights
from InterpScore.sanity.simulation import PlantedUnit, StudyDesign, simulate_table, true_scores
from InterpScore.scoring.blocks import Block, Row, Study, blocks_of
from InterpScore.tables.experiment_table import ExperimentTable

CONFIDENCE = 0.95
CROSSED_DRAWS, INDEPENDENT_DRAWS = 1000, 500
INDEPENDENT_EVERY = 5
"""Of how many studies one is also analysed by the usual mistake, which misses the truth by tens of percent."""
FOLD_DRAWS = 300
"""Resamples behind intervals of R in `stability_coverage`."""
AT_ONCE = 50
"""Draws over single ratings, whose weighted ratings then stay in a processor's cache."""


@dataclass(frozen=True)
class Coverage:
    """How often the intervals of one score, made in one way, covered its truth."""

    way: str
    """`crossed`, as the benchmark makes them, or `independent`, every rating on its own."""
    score: str
    truth: float
    share: float
    studies: int
    """How many the share is of."""


def interval_coverage(
    design: StudyDesign,
    unit: PlantedUnit,
    studies: int,
    seed: int = 0,
    progress: StageProgress | None = None,
) -> list[Coverage]:
    """Simulate studies of one unit and count how often 95% intervals of the metrics whose truth is known cover it.

    Args:
        design, unit: what is simulated; the unit must be one that `true_scores` knows.
        studies: how many; every fifth is analysed with independent ratings, too.
        seed: of all of them.
        progress: called after each study.
    """
    truth = true_scores(design, unit)
    truth["InterpScore"] = float(_combined(truth, truth)[0])
    covered = {(way, name): list[bool]() for name in truth for way in ("crossed", "independent")}
    for study in range(studies):
        table = simulate_table(design, {"1": unit}, np.random.default_rng((seed, 74, study)))
        ways = {"crossed": _crossed(table, unit, study)}
        if study % INDEPENDENT_EVERY == 0:
            ways["independent"] = _independent(table, unit, study)
        for way, (block, batches) in ways.items():
            for name, (low, high) in _intervals(block, batches, truth, projected=way == "crossed").items():
                covered[way, name].append(bool(low <= truth[name] <= high))
        if progress:
            progress("coverage of intervals", study + 1, studies)
    return [Coverage(way, name, truth[name], float(np.mean(hits)), len(hits)) for (way, name), hits in covered.items()]


def _crossed(table: ExperimentTable, unit: PlantedUnit, seed: int) -> tuple[Block, Iterable[DrawWeights]]:
    """Draws as the benchmark makes them."""
    study = Study(table, scoring_options())
    (block,) = blocks_of(study, [Row("1", (unit.concept,))])
    return block, study.design.bootstrap(CROSSED_DRAWS, seed)


def _independent(table: ExperimentTable, unit: PlantedUnit, seed: int) -> tuple[Block, Iterable[DrawWeights]]:
    """Draws that reweight every rating by itself, as if no image and no participant came back."""
    options = scoring_options(unit_of_analysis="rating")
    (block,) = blocks_of(Study(table, options), [Row("1", (unit.concept,))])
    order = np.argsort(table.image_R, kind="stable")
    starts = np.searchsorted(table.image_R[order], np.arange(len(table.images)))
    score_R1 = table.score_R[order, None]
    recognised_R1 = score_R1 >= options.recognised_at
    weight_RB = np.random.default_rng(seed).standard_exponential((len(order), INDEPENDENT_DRAWS))[order]

    def some_draws(first: int) -> DrawWeights:
        some_RB = weight_RB[:, first : first + AT_ONCE]
        rating_IB, recognised_IB, score_IB = (
            np.add.reduceat(values_RB, starts, axis=0)
            for values_RB in (some_RB, some_RB * recognised_R1, some_RB * score_R1)
        )
        return DrawWeights(rating_IB, rating_IB, recognised_IB, score_IB)

    return block, map(some_draws, range(0, INDEPENDENT_DRAWS, AT_ONCE))


def _intervals(
    block: Block, batches: Iterable[DrawWeights], truth: Mapping[str, float], projected: bool
) -> dict[str, tuple[float, float]]:
    """Intervals of the metrics whose truth is known and of their weighted mean; `projected` where they are folded."""
    known = [metric for metric in metrics() if metric.name in truth]
    points = {metric.name: metric.compute(block, block.sample)[:, 0] for metric in known}
    draws: dict[str, list[Floats]] = {metric.name: [] for metric in known}
    ratios: dict[str, list[Floats]] = {metric.name: [] for metric in known if metric.folds and projected}
    for batch in batches:
        for metric in known:
            if metric.name in ratios:
                assert metric.folds is not None
                ratios[metric.name].append(metric.folds.log_ratios(block, batch))
                draws[metric.name].append(mean_of_folds(ratios[metric.name][-1]))
            else:
                draws[metric.name].append(metric.compute(block, batch))
    joined = {name: np.concatenate(values, axis=1) for name, values in draws.items()}
    parts, weights = {}, _weights(truth)
    for metric in known:
        folded = None
        if metric.name in ratios:
            assert metric.folds is not None
            point_GU = metric.folds.log_ratios(block, block.sample)[:, :, 0]
            images_U = np.full(len(block.rows), float(metric.folds.images(block)))
            folded = Folded(point_GU, np.concatenate(ratios[metric.name], axis=2), images_U)
        weight_U = np.full(len(block.rows), weights[metric.name] / sum(weights.values()))
        parts[metric.name] = Part(points[metric.name], joined[metric.name], weight_U, folded=folded)
    out = {}
    for name, scored in {**{name: [part] for name, part in parts.items()}, "InterpScore": list(parts.values())}.items():
        alone = [replace(part, weight_U=np.ones_like(part.weight_U)) for part in scored] if name in parts else scored
        point_U = points[name] if name in points else _combined(points, truth)
        draws_UB = joined[name] if name in joined else _combined(joined, truth)
        low, high = score_interval(point_U, draws_UB, alone, CONFIDENCE)
        out[name] = float(low[0]), float(high[0])
    return out


def _weights(truth: Mapping[str, float]) -> dict[str, float]:
    return {m.name: w for m, w in zip(metrics(), scoring_options().weights, strict=True) if m.name in truth}


def _combined(values: Mapping[str, Any], truth: Mapping[str, float]) -> Floats:
    """The InterpScore of the metrics whose truth is known."""
    weights = _weights(truth)
    stacked = np.stack([np.atleast_1d(values[name]) for name in weights])
    return weighted_components(stacked, np.isfinite(stacked), list(weights.values()), "renormalise")


# Stabilities near 1 -----------------------------------------------------------------------------------------------------


def stability_coverage(
    truth: float, groups: int, studies: int, seed: int, images: int = 12, *, lognormal: bool = False
) -> tuple[float, float, float]:
    """How often intervals of R cover a truth that is the same in some groups of levels, in simulated activations.

    Activations are gamma (shape 4) or lognormal (σ = .6), independent over images, every image recognised.

    Returns:
        The share covered by projected intervals, the share covered by percentiles of the folded draws, and the mean
        width of the former as a multiple of that of the latter.
    """
    generator = np.random.default_rng((seed, 77, groups))

    def activations(mean: float) -> Floats:
        if lognormal:
            return np.asarray(mean * np.exp(generator.normal(-0.18, 0.6, (studies, images))))
        return np.asarray(mean * generator.gamma(4, 0.25, (studies, images)))

    def weights() -> Floats:  # as the crossed bootstrap draws them for a cell of so many images
        return np.asarray(generator.gamma(max(1 - 2 / images, 1 / 3), size=(images, FOLD_DRAWS)))

    def log_mean(a_UN: Floats, weight_NB: Floats) -> Floats:
        return np.asarray(np.log(weighted_mean(a_UN, weight_NB)))

    once = np.ones((images, 1))
    clean_UN, clean_NB = activations(1.0), weights()
    perturbed = [activations(truth) for _ in range(groups)]
    point_GU = np.stack([log_mean(a_UN, once) - log_mean(clean_UN, once) for a_UN in perturbed])[:, :, 0]
    draws_GUB = np.stack([log_mean(a_UN, weights()) - log_mean(clean_UN, clean_NB) for a_UN in perturbed])
    R_U, R_UB = mean_of_folds(point_GU[:, :, None])[:, 0], mean_of_folds(draws_GUB)
    part = Part(R_U, R_UB, np.ones(studies), folded=Folded(point_GU, draws_GUB, np.full(studies, float(images))))
    low, high = score_interval(R_U, R_UB, [part], CONFIDENCE)
    assert ((low <= R_U) & (high >= R_U)).all(), "an interval excludes its own estimate"
    naive_low, naive_high = percentile_interval(R_UB, CONFIDENCE)
    covered = ((low <= truth) & (truth <= high)).mean(), ((naive_low <= truth) & (truth <= naive_high)).mean()
    return float(covered[0]), float(covered[1]), float((high - low).mean() / (naive_high - naive_low).mean())
