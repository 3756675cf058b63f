"""Do intervals of the scores of METRICS.md, section 8, cover the truth? Many simulated studies at once.

Each unit of a simulated table is a study of its own. Shapes: U studies, N images.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from InterpScore.helpers import Floats
from InterpScore.options import scoring_options
from InterpScore.pairs.formulas import auprc, f1, iou
from InterpScore.pairs.metrics import METRICS
from InterpScore.pairs.moments import Sides, correlation, cosine
from InterpScore.sanity.coverage import Scored, scored
from InterpScore.sanity.ends import DRAWS, OTHERS, Covered, Tails, activations_of, clean_table, covered
from InterpScore.scoring.blocks import Row, blocks_of
from InterpScore.scoring.evidence import LEAST
from InterpScore.scoring.study import Study

POPULATION = 200_000
"""Images of the concept in the sample that truths are taken from."""


def pair_coverage(tails: Tails, strength: float, images: int, studies: int, seed: int) -> dict[str, Covered]:
    """Of each score, with so many images of the concept and nine times as many of others.

    The truth is the population's at the same share of the concept; of AUPRC, F1 and IoU with the threshold of each study,
    which is part of the score. Studies without an interval (fewer than five top images of the concept) are left out.
    """
    generator = np.random.default_rng((seed, 83, images, round(1e6 * strength)))
    shapes = ((studies, images), (studies, OTHERS * images))
    sides = [
        activations_of(tails, effect, shape, generator) for effect, shape in zip((strength, 0.0), shapes, strict=True)
    ]
    table = clean_table(np.concatenate(sides, axis=1), images)
    study = Study(table, scoring_options())
    parts: dict[str, list[tuple[Floats, ...]]] = {metric.name: [] for metric in METRICS}
    for block in blocks_of(study, [Row(unit, ("concept",)) for unit in table.units]):
        batches = list(study.design.bootstrap(DRAWS, seed))
        truths = _truths(tails, strength, block.activation_UI, images)
        for metric in METRICS:
            found = scored(block, batches, {metric.name: 1.0})[metric.name]
            hits_U = np.broadcast_to(metric.behind(block, metric.name).get("hit", np.inf), len(block.rows))
            told = hits_U >= LEAST["hit"]
            ends = found.point_U, found.draws_UB, found.low_U, found.high_U, truths[metric.name]
            parts[metric.name].append(tuple(values[told] for values in ends))
    out = {}
    for name, of_blocks in parts.items():
        *found_parts, truth_U = (np.concatenate(part) for part in zip(*of_blocks, strict=True))
        out[name] = covered(truth_U, Scored(*found_parts), found_parts[1])
    return out


def _truths(tails: Tails, strength: float, activation_UI: Floats, images: int) -> dict[str, Floats]:
    """Of the population, at each study's threshold, `(U,)` each."""
    target, other = _population(tails, strength), _population(tails, 0.0)
    every_N = np.concatenate([target, other])
    weight_N = np.repeat([1.0, OTHERS], [len(target), len(other)])
    is_target = np.arange(len(every_N)) < len(target)
    both = Sides(every_N[None], (weight_N * is_target)[:, None], (weight_N * ~is_target)[:, None]).moments
    highest_UI = -np.sort(-activation_UI, axis=1)
    threshold_U = highest_UI[:, images - 1 : images + 1].mean(axis=1)
    on_U, off_U = (1 - np.searchsorted(side, threshold_U, "right") / len(side) for side in (target, other))
    hits_U, top_U = on_U, on_U + OTHERS * off_U
    ones_U = np.ones(len(activation_UI))
    return {
        "correlation": correlation(*both)[0, 0] * ones_U,
        "cosine": cosine(*both)[0, 0] * ones_U,
        "AUPRC": auprc(hits_U, 1.0, top_U, 1.0 + OTHERS),
        "F1_images": f1(hits_U, 1.0, top_U),
        "IoU_images": iou(hits_U, 1.0, top_U),
    }


@cache
def _population(tails: Tails, strength: float) -> Floats:
    """A large sample of activations, sorted."""
    generator = np.random.default_rng(20_002)
    return np.sort(activations_of(tails, strength, (1, POPULATION), generator)[0])
