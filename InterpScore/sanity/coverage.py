"""Do intervals cover the truth? Simulated studies, the crossed bootstrap, and the usual mistake beside it.

METRICS.md, section 7. Shapes: I images, R ratings, B draws.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from Activation_Extraction.base.progress import StageProgress
from InterpScore.aggregated_measure import calculate_interpretability_score
from InterpScore.helpers import Floats, percentile_interval
from InterpScore.options import scoring_options
from InterpScore.resampling import DrawWeights
from InterpScore.sanity.simulation import PlantedUnit, StudyDesign, simulate_table, true_scores
from InterpScore.scoring.components import Block, blocks_of, components
from InterpScore.tables.experiment_table import ExperimentTable

CONFIDENCE = 0.95
CROSSED_DRAWS, INDEPENDENT_DRAWS = 1000, 500
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


def interval_coverage(
    design: StudyDesign,
    unit: PlantedUnit,
    studies: int,
    seed: int = 0,
    progress: StageProgress | None = None,
) -> list[Coverage]:
    """Simulate studies of one unit and count how often 95% intervals of S, R, H and InterpScore cover the truth.

    Args:
        design, unit: what is simulated; the unit must be one that `true_scores` knows.
        studies: how many.
        seed: of all of them.
        progress: called after each study.
    """
    truth = true_scores(design, unit)
    truth["InterpScore"] = calculate_interpretability_score(truth["S"], np.nan, truth["R"], truth["H"])
    covered = {(way, name): 0 for name in truth for way in ("crossed", "independent")}
    for study in range(studies):
        table = simulate_table(design, {"1": unit}, np.random.default_rng((seed, 74, study)))
        for way, draws in (
            ("crossed", _crossed(table, unit, study)),
            ("independent", _independent(table, unit, study)),
        ):
            for name, values in draws.items():
                low, high = percentile_interval(values, CONFIDENCE)
                covered[way, name] += int(low[0] <= truth[name] <= high[0])
        if progress:
            progress("coverage of intervals", study + 1, studies)
    return [Coverage(way, name, truth[name], count / studies) for (way, name), count in covered.items()]


def _crossed(table: ExperimentTable, unit: PlantedUnit, seed: int) -> dict[str, Floats]:
    """Draws as the benchmark makes them."""
    options = scoring_options()
    (block,) = blocks_of(table, {"1": unit.concept}, options)
    return _scores(block, table.rating_design(options.recognised_at).bootstrap(CROSSED_DRAWS, seed))


def _independent(table: ExperimentTable, unit: PlantedUnit, seed: int) -> dict[str, Floats]:
    """Draws that reweight every rating by itself, as if no image and no participant came back."""
    options = scoring_options(unit_of_analysis="rating")
    (block,) = blocks_of(table, {"1": unit.concept}, options)
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

    return _scores(block, map(some_draws, range(0, INDEPENDENT_DRAWS, AT_ONCE)))


def _scores(block: Block, batches: Iterable[DrawWeights]) -> dict[str, Floats]:
    sample = block.table.rating_design(block.options.recognised_at).unit_weights()
    parts = [components(block, draws, sample) for draws in batches]
    out = {name: np.concatenate([part[name] for part in parts], axis=1) for name in ("S", "R", "H")}
    out["InterpScore"] = calculate_interpretability_score(out["S"], np.nan, out["R"], out["H"])
    return out
