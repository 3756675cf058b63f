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
from InterpScore.helpers import IDENTITY, Floats
from InterpScore.intervals import Folded, Part, mean_of_folds, score_interval
from InterpScore.metric import components, metrics
from InterpScore.options import scoring_options
from InterpScore.resampling import DrawWeights
from InterpScore.sanity.simulation import PlantedUnit, StudyDesign, simulate_table, true_scores
from InterpScore.scoring.blocks import Block, Row, blocks_of
from InterpScore.scoring.study import Study
from InterpScore.tables.experiment_table import ExperimentTable

CONFIDENCE = 0.95
CROSSED_DRAWS, INDEPENDENT_DRAWS = 1000, 500
INDEPENDENT_EVERY = 5
"""Of how many studies one is also analysed by the usual mistake, which misses the truth by tens of percent."""
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
    weights = default_weights(truth)
    truth["InterpScore"] = float(_combined(truth, weights)[0])
    covered = {(way, name): list[bool]() for name in truth for way in ("crossed", "independent")}
    for study in range(studies):
        table = simulate_table(design, {"1": unit}, np.random.default_rng((seed, 74, study)))
        ways = {"crossed": _crossed(table, unit, study)}
        if study % INDEPENDENT_EVERY == 0:
            ways["independent"] = _independent(table, unit, study)
        for way, (block, batches) in ways.items():
            for name, found in scored(block, batches, weights, projected=way == "crossed").items():
                covered[way, name].append(bool(found.low_U[0] <= truth[name] <= found.high_U[0]))
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


@dataclass(frozen=True)
class Scored:
    """The units of a block by one metric or by their weighted mean: estimates, draws and intervals."""

    point_U: Floats
    draws_UB: Floats
    low_U: Floats
    high_U: Floats


def scored(
    block: Block, batches: Iterable[DrawWeights], weights: Mapping[str, float], *, projected: bool = True
) -> dict[str, Scored]:
    """Some metrics of a block and their weighted mean as `InterpScore`, with intervals.

    Args:
        weights: of each metric.
        projected: intervals as the benchmark makes them, else percentiles.
    """
    known, batches = [metric for metric in metrics() if metric.name in weights], list(batches)
    values: dict[str, tuple[Floats, Floats]] = {}
    parts: dict[str, Part] = {}
    for metric in known:
        folded, images_U = None, None
        if metric.folds and projected:
            theta = [metric.folds.log_ratios(block, batch) for batch in batches]
            fewest_U = np.full(len(block.rows), float(metric.folds.images(block)))
            folded = Folded(
                metric.folds.log_ratios(block, block.sample)[:, :, 0], np.concatenate(theta, axis=2), fewest_U
            )
            draws_UB = mean_of_folds(folded.draws_GUB)
        else:
            draws_UB = np.concatenate([metric.compute(block, batch) for batch in batches], axis=1)
        link = metric.link_with(block.options)
        if link and projected:
            images_U = np.broadcast_to(metric.behind(block, metric.name)["image"], len(block.rows)).astype(float)
        point_U, weight_U = metric.compute(block, block.sample)[:, 0], np.full(len(block.rows), weights[metric.name])
        values[metric.name] = point_U, draws_UB
        parts[metric.name] = Part(point_U, draws_UB, weight_U, 0.0, 1.0, folded, images_U, link or IDENTITY)
    out = {
        name: Scored(
            *values[name],
            *score_interval(*values[name], [replace(part, weight_U=np.ones_like(part.weight_U))], CONFIDENCE),
        )
        for name, part in parts.items()
    }
    point_U, draws_UB = (_combined({name: both[k] for name, both in values.items()}, weights) for k in (0, 1))
    total = sum(weights.values())
    shares = [replace(part, weight_U=part.weight_U / total) for part in parts.values()]
    return out | {"InterpScore": Scored(point_U, draws_UB, *score_interval(point_U, draws_UB, shares, CONFIDENCE))}


def default_weights(names: Iterable[str]) -> dict[str, float]:
    """Of some metrics in the InterpScore."""
    return {m.name: w for m, w in zip(components(), scoring_options().weights, strict=True) if m.name in set(names)}


def _combined(values: Mapping[str, Any], weights: Mapping[str, float]) -> Floats:
    """The weighted mean of some metrics."""
    stacked = np.stack([np.atleast_1d(values[name]) for name in weights])
    return weighted_components(stacked, np.isfinite(stacked), list(weights.values()), "renormalise")
