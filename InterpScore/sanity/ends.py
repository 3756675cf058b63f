"""Do intervals cover truths near the ends of a scale, and where activations have heavy tails? Many simulated studies at once.

METRICS.md, section 6. Each unit of a simulated table is a study of its own. Shapes: U studies, N images, G groups of
levels, B draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, ndtr

from InterpScore.helpers import Floats, Ints, competition_ranks, percentile_interval, weighted_mean
from InterpScore.intervals import Folded, Part, around_estimate, mean_of_folds, score_interval
from InterpScore.options import SelectivityName, scoring_options
from InterpScore.sanity.coverage import CONFIDENCE, Scored, scored
from InterpScore.sanity.simulation import CLEAN
from InterpScore.scoring.blocks import Row, blocks_of
from InterpScore.scoring.ranks import rank_interval
from InterpScore.scoring.study import Study
from InterpScore.tables.experiment_table import ExperimentTable

Tails = Literal["normal", "gamma", "sparse", "lognormal"]
Place = Literal["first", "last"]
DRAWS = 400
OTHERS = 9
"""How many images of other concepts a table has for each one of the concept."""
WEIGHT_OF_R, REST = 0.2, 0.7
"""R in a weighted score, and the true mean of its other components."""
SKILL_SPREAD, EASE_SPREAD = 0.6, 1.5
"""Standard deviations of log-odds over participants and images, as in the published study."""


class Covered(NamedTuple):
    """How often intervals cover a truth."""

    truth: float
    share: float
    percentiles: float
    """The share that plain percentiles cover."""
    wider: float
    """Mean width as a multiple of that of percentiles."""


def covered(truth: float | Floats, found: Scored, plain_UB: Floats) -> Covered:
    """How often intervals of many studies cover their truth, and percentiles of plain draws for comparison.

    Raises:
        AssertionError: an interval excludes its own estimate.
    """
    assert ((found.low_U <= found.point_U) & (found.high_U >= found.point_U)).all(), "an interval excludes its estimate"
    low, high = percentile_interval(plain_UB, CONFIDENCE)
    with np.errstate(divide="ignore", invalid="ignore"):
        wider = float((found.high_U - found.low_U).mean() / (high - low).mean())
    return Covered(float(np.mean(truth)), _share(found.low_U, truth, found.high_U), _share(low, truth, high), wider)


def _share(low_U: Floats, truth: float | Floats, high_U: Floats) -> float:
    return float(((low_U <= truth + 1e-12) & (truth <= high_U + 1e-12)).mean())


# S, AUROC and average precision ---------------------------------------------------------------------------------------


def activations_of(tails: Tails, strength: float, shape: tuple[int, int], generator: np.random.Generator) -> Floats:
    """Of images of a concept that adds `strength` standard deviations (to the sparse unit before its threshold)."""
    if tails == "gamma":
        return np.asarray(generator.gamma(4, 0.5, shape) + strength)
    normal = generator.standard_normal(shape)
    if tails == "sparse":
        return np.asarray(np.maximum(normal + strength - 1, 0))
    if tails == "lognormal":
        return np.asarray(np.exp(normal) / np.sqrt((np.e - 1) * np.e) + strength)
    return np.asarray(normal + strength)


@cache
def true_selectivity(tails: Tails, strength: float, measure: SelectivityName = "cles", n: int = 400_000) -> float:
    """S from means and standard deviations of the population; the AUROC of a large sample, exact for normal units."""
    if measure == "cles" and tails == "sparse":  # moments of a rectified normal variable
        mean_2 = np.array([strength, 0.0]) - 1
        density_2 = np.exp(-(mean_2**2) / 2) / np.sqrt(2 * np.pi)
        first_2 = mean_2 * ndtr(mean_2) + density_2
        variance_2 = (mean_2**2 + 1) * ndtr(mean_2) + mean_2 * density_2 - first_2**2
        return float(ndtr(-np.diff(first_2)[0] / np.sqrt(2 * np.average(variance_2, weights=[1, OTHERS]))))
    if measure == "cles" or tails == "normal":
        return float(ndtr(strength / np.sqrt(2)))
    generator = np.random.default_rng(20_001)
    target, other = (activations_of(tails, effect, (1, n), generator)[0] for effect in (strength, 0.0))
    below, up_to = (np.searchsorted(np.sort(other), target, side) for side in ("left", "right"))
    return float((below + up_to).mean() / 2 / n)


def selectivity_coverage(
    tails: Tails, strength: float, images: int, studies: int, seed: int, measure: SelectivityName = "cles"
) -> Covered:
    """Of S (or AUROC in its place), with so many images of the concept and nine times as many of others."""
    generator = np.random.default_rng((seed, 79, images, round(1e6 * strength)))
    shapes = ((studies, images), (studies, OTHERS * images))
    activation_UI = np.concatenate(
        [
            activations_of(tails, effect, shape, generator)
            for effect, shape in zip((strength, 0.0), shapes, strict=True)
        ],
        axis=1,
    )
    found = _scored(clean_table(activation_UI, images), "S", seed, measure)
    return covered(true_selectivity(tails, strength, measure), *found)


def rank_coverage(place: Place, gap: float, images: int, studies: int, seed: int) -> Covered:
    """Of the rank, by S, of the first or last of ten neurons whose true effect sizes are `gap` apart."""
    generator = np.random.default_rng((seed, 80, images, round(100 * gap)))
    strength_U = np.tile(1.5 + gap * np.arange(10)[::-1], studies)
    activation_UI = generator.standard_normal((10 * studies, (1 + OTHERS) * images))
    activation_UI[:, :images] += strength_U[:, None]
    found, _ = _scored(clean_table(activation_UI, images), "S", seed)
    truth = 1 if place == "first" else 10
    pairs = list(zip(np.split(found.point_U, studies), np.split(found.draws_UB, studies), strict=True))
    ends = np.array([rank_interval(point, draws, CONFIDENCE) for point, draws in pairs])[:, :, truth - 1].T
    rank_U = np.array([competition_ranks(point[:, None])[truth - 1, 0] for point, _ in pairs])
    ranks_UB = np.array([competition_ranks(around_estimate(*pair))[truth - 1] for pair in pairs])
    return covered(truth, Scored(rank_U, ranks_UB, *ends), ranks_UB)


# C and H ------------------------------------------------------------------------------------------------------------


def causality_coverage(truth: float, images: int, studies: int, seed: int, spread: float = 0.35) -> Covered:
    """Of C, where effects are gamma over images with `spread` as their coefficient of variation."""
    generator = np.random.default_rng((seed, 81, images, round(1e6 * truth)))
    shape = spread**-2
    effect_UN = -np.log1p(-truth) * generator.gamma(shape, 1 / shape, (studies, images))
    effect_UI = np.concatenate([effect_UN, np.full((studies, images), np.nan)], axis=1)
    table = clean_table(np.zeros_like(effect_UI), images, effect_UI=effect_UI)
    return covered(truth, *_scored(table, "C", seed))


def recognition_coverage(
    truth: float, images: int, raters: int, studies: int, seed: int, participants: int = 40
) -> Covered:
    """Of H over high-activation images of different ease, rated by people of different skill."""
    generator = np.random.default_rng((seed, 82, images, raters, round(1e6 * truth)))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    spread = np.hypot(SKILL_SPREAD, EASE_SPREAD)
    odds = brentq(lambda mean: expit(mean + spread * nodes) @ weights / weights.sum() - truth, -20, 20)
    out: list[tuple[Floats, ...]] = []
    for _ in range(studies):
        image_R = np.repeat(np.arange(images), raters)
        participant_R = np.concatenate([generator.choice(participants, raters, replace=False) for _ in range(images)])
        ease_R = EASE_SPREAD * generator.standard_normal(images)[image_R]
        skill_R = SKILL_SPREAD * generator.standard_normal(participants)[participant_R]
        score_R = (odds + ease_R + skill_R + generator.logistic(size=len(image_R)) > 0).astype(float)
        activation_1I = np.repeat([2.0, 1.0], [images, 2])[None]
        found, plain_UB = _scored(
            clean_table(activation_1I, images, ratings=(image_R, participant_R, score_R)), "H", len(out)
        )
        out.append((found.point_U, found.draws_UB, found.low_U, found.high_U, plain_UB))
    *parts, plain_UB = (np.concatenate(part) for part in zip(*out, strict=True))
    return covered(truth, Scored(*parts), plain_UB)


def clean_table(
    activation_UI: Floats,
    images: int,
    *,
    effect_UI: Floats | None = None,
    ratings: tuple[Ints, Ints, Floats] | None = None,
) -> ExperimentTable:
    """Clean images, the first so many of the concept, the rest of another one."""
    n = activation_UI.shape[1]
    effects = np.full(activation_UI.shape, np.nan) if effect_UI is None else effect_UI
    image_R, participant_R, score_R = ratings or (np.arange(n), np.arange(n) % 40, np.ones(n))
    return ExperimentTable(
        source="the simulated table", images=[f"{i}.png" for i in range(n)], concepts=["concept", "others"],
        concept_I=(np.arange(n) >= images).astype(int), level_I=np.full(n, CLEAN), partner_I=np.full(n, -1),
        units=[str(u) for u in range(len(activation_UI))], activation_UI=activation_UI, ablation_UI=effects,
        amplification_UI=effects, image_R=image_R, participant_R=participant_R, score_R=score_R, simulated=True,
    )  # fmt: skip


def _scored(table: ExperimentTable, metric: str, seed: int, measure: SelectivityName = "cles") -> tuple[Scored, Floats]:
    """One metric of all units of a table, as the benchmark computes it, and its draws without pseudo-observations."""
    study = Study(table, scoring_options(selectivity=measure))
    batches = list(study.design.bootstrap(DRAWS, seed))
    plain = [replace(batch, pseudo_2B=None) for batch in batches]
    smoothed = metric == "H" or measure != "cles"
    found, plain_UB = list[Scored](), list[Floats]()
    for block in blocks_of(study, [Row(unit, ("concept",)) for unit in table.units]):
        found.append(scored(block, batches, {metric: 1.0})[metric])
        without = scored(block, plain, {metric: 1.0}, projected=False)[metric] if smoothed else found[-1]
        plain_UB.append(without.draws_UB)
    ends = ([getattr(part, name) for part in found] for name in ("point_U", "draws_UB", "low_U", "high_U"))
    return Scored(*(np.concatenate(parts) for parts in ends)), np.concatenate(plain_UB)


# R and scores that contain it -----------------------------------------------------------------------------------------


def stability_coverage(
    truths: Sequence[float], studies: int, seed: int, images: int = 12, *, lognormal: bool = False
) -> tuple[Covered, Covered, Covered]:
    """Of R with a true stability for each group of levels; of a score whose other components are fixed, or vary as well.

    Activations are gamma (shape 4) or lognormal (σ = .6), independent over images, every image recognised.
    """
    generator = np.random.default_rng((seed, 77, len(truths)))

    def activations(mean: float) -> Floats:
        if lognormal:
            return np.asarray(mean * np.exp(generator.normal(-0.18, 0.6, (studies, images))))
        return np.asarray(mean * generator.gamma(4, 0.25, (studies, images)))

    def weights() -> Floats:  # as the crossed bootstrap draws them for a cell of so many images
        return np.asarray(generator.gamma(max(1 - 2 / images, 1 / 3), size=(images, DRAWS)))

    def log_mean(a_UN: Floats, weight_NB: Floats) -> Floats:
        return np.asarray(np.log(weighted_mean(a_UN, weight_NB)))

    once = np.ones((images, 1))
    clean_UN, clean_NB = activations(1.0), weights()
    perturbed = [activations(truth) for truth in truths]
    point_GU = np.stack([log_mean(a_UN, once) - log_mean(clean_UN, once) for a_UN in perturbed])[:, :, 0]
    draws_GUB = np.stack([log_mean(a_UN, weights()) - log_mean(clean_UN, clean_NB) for a_UN in perturbed])
    R_U, R_UB, every_U = mean_of_folds(point_GU[:, :, None])[:, 0], mean_of_folds(draws_GUB), np.ones(studies)
    R = Part(R_U, R_UB, every_U, folded=Folded(point_GU, draws_GUB, images * every_U))
    rest_UN = generator.normal(REST, 0.15, (studies, images))
    fixed = Part(REST * every_U, np.full(R_UB.shape, REST), every_U)
    varying = Part(rest_UN.mean(axis=1), weighted_mean(rest_UN, clean_NB), every_U)
    truth, out = float(np.mean(truths)), [covered(float(np.mean(truths)), Scored(R_U, R_UB, *_ends(R)), R_UB)]
    for rest in (fixed, varying):
        parts = [replace(part, weight_U=w * every_U) for part, w in ((R, WEIGHT_OF_R), (rest, 1 - WEIGHT_OF_R))]
        I_U, I_UB = (
            WEIGHT_OF_R * of_R + (1 - WEIGHT_OF_R) * of_rest
            for of_R, of_rest in ((R_U, rest.value_U), (R_UB, rest.draws_UB))
        )
        found = Scored(I_U, I_UB, *score_interval(I_U, I_UB, parts, CONFIDENCE))
        out.append(covered(WEIGHT_OF_R * truth + (1 - WEIGHT_OF_R) * REST, found, I_UB))
    return out[0], out[1], out[2]


def _ends(part: Part) -> tuple[Floats, Floats]:
    return score_interval(part.value_U, part.draws_UB, [part], CONFIDENCE)
