"""Selectivity S: how well a unit's activation separates its concept from other concepts.

METRICS.md, section 1. Shapes: U units, N clean images, B draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import comb, ndtr

from InterpScore.helpers import PROBIT, Bools, Floats, Link, average_ranks, ranked_separation, sides
from InterpScore.metric import PERMUTED_LABELS, Metric, SignificanceTest
from InterpScore.options import ScoringOptions
from InterpScore.pairs.metrics import HEAVY_TAILS, IN_PLACE_OF_S
from InterpScore.pairs.moments import Sides

if TYPE_CHECKING:
    from InterpScore.resampling import DrawWeights
    from InterpScore.scoring.blocks import Block

MIN_IMAGES_PER_SIDE = 2


def calculate_selectivity_score(target_activations: ArrayLike, non_target_activations: ArrayLike) -> float:
    """Common-language effect size of target against non-target activations, `S = Φ(g/√2)`.

    Args:
        target_activations: the unit's activation on each clean image of its concept.
        non_target_activations: the same on the clean images of every other concept.

    Returns:
        In [0, 1]: the probability that a random target image activates the unit more than a random
        other image, if both are normal with equal variance. ½ means no selectivity. NaN with fewer
        than two images on a side. With no variance at all: ½ if the means agree, else 1 or 0.

    Raises:
        ValueError: an activation that is not a finite number.

    Source: METRICS.md, section 1; Hedges 1981; McGraw & Wong 1992.

    >>> round(calculate_selectivity_score([5, 6, 7], [1, 2, 3, 2]), 4)
    0.9961
    >>> calculate_selectivity_score([1, 1], [1, 1, 1])
    0.5
    """
    target, other = _finite(target_activations, "target"), _finite(non_target_activations, "non_target")
    is_target = np.arange(target.size + other.size) < target.size
    clean = np.concatenate([target, other])[None]
    return float(selectivity("cles", clean, *sides(is_target))[0, 0])


def selectivity(
    measure: Literal["cles", "auroc", "ap"],
    clean_UN: Floats,
    target_NB: Floats,
    other_NB: Floats,
    count_N: Floats | None = None,
) -> Floats:
    """The selectivity that enters the score, `(U, B)` in [0, 1]; NaN with fewer than two images a side.

    Args:
        measure: `cles` is S of METRICS.md; `auroc` and `ap`, average precision, take its place on request.
        clean_UN: activation on every clean image, finite.
        target_NB, other_NB: what each image counts for on its side in each draw, 0 on the other side.
        count_N: what each image counts for in the sample that the draws reweight; without it the
            weights are themselves such counts.
    """
    if measure == "cles":
        return common_language_effect(hedges_g(clean_UN, target_NB, other_NB, count_N))
    if min(_images_counted(target_NB), _images_counted(other_NB)) < MIN_IMAGES_PER_SIDE:
        return np.full((len(clean_UN), target_NB.shape[1]), np.nan)
    auroc, precision = ranked_separation(clean_UN, target_NB, other_NB)
    return auroc if measure == "auroc" else precision


def hedges_g(clean_UN: Floats, target_NB: Floats, other_NB: Floats, count_N: Floats | None = None) -> Floats:
    """Standardised mean difference with Hedges' small-sample factor, `(U, B)`.

    NaN with fewer than two images on a side; 0 or ±∞ where the pooled variance is zero.
    """
    return hedges_g_of(Sides(clean_UN, target_NB, other_NB, count_N))


def hedges_g_of(clean: Sides) -> Floats:
    """The same of both sides at once, whose moments other scores share."""
    if min(_images_counted(clean.target_NB), _images_counted(clean.other_NB)) < MIN_IMAGES_PER_SIDE:
        return np.full((len(clean.activation_UN), clean.target_NB.shape[1]), np.nan)
    target, other = clean.moments
    n_target, n_other = target.size_B, other.size_B
    enough = np.minimum(n_target, n_other) >= MIN_IMAGES_PER_SIDE
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = ((n_target - 1) * target.variance_UB + (n_other - 1) * other.variance_UB) / (n_target + n_other - 2)
        difference = target.mean_UB - other.mean_UB
        d = np.where(difference == 0, 0.0, difference / np.sqrt(pooled))
        return np.asarray(np.where(enough, d * hedges_factor(n_target, n_other), np.nan))


def hedges_factor(n_target: Any, n_other: Any) -> Any:
    """Hedges' correction `1 − 3/(4(n_X + n_other) − 9)`, which turns Cohen's d into g."""
    return 1 - 3 / (4 * (n_target + n_other) - 9)


def common_language_effect(g: Floats) -> Floats:
    """`Φ(g/√2)`: an effect size as a probability of superiority under normality."""
    return np.asarray(ndtr(g / np.sqrt(2)))


def _images_counted(weights_NB: Floats) -> int:
    return int(weights_NB.any(axis=1).sum())


def mann_whitney_p(clean_UN: Floats, is_target_N: Bools) -> Floats:
    """One-sided p that target images activate a unit more, `(U,)`.

    Normal approximation with tie and continuity correction, as
    `scipy.stats.mannwhitneyu(target, other, alternative="greater", method="asymptotic")`.
    Never below 1 / C(n + m, n), the smallest that so few images allow: at 2 and 2 the approximation has .12 where 1/6 is
    exact. 1 where every value is the same; NaN with fewer than two images on a side.
    """
    n, m = int(is_target_N.sum()), int((~is_target_N).sum())
    if min(n, m) < MIN_IMAGES_PER_SIDE:
        return np.full(len(clean_UN), np.nan)
    ranks = average_ranks(clean_UN)
    statistic = ranks[:, is_target_N].sum(axis=1) - n * (n + 1) / 2
    total = n + m
    # Σ rank² falls short of its tie-free value by Σ(t³ − t)/12, which is the tie correction.
    spread = (ranks**2).sum(axis=1) - total * (total + 1) ** 2 / 4
    deviation = np.sqrt(n * m / (total * (total - 1)) * np.maximum(spread, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (statistic - n * m / 2 - 0.5) / deviation
    return np.where(deviation == 0, 1.0, np.maximum(ndtr(-z), 1 / comb(total, n)))


def _finite(values: ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=float).ravel()
    if not np.isfinite(array).all():
        odd = int((~np.isfinite(array)).sum())
        raise ValueError(f"{name} activations: {odd} of {array.size} are not finite; expected numbers")
    return array


# S in a scoring run -------------------------------------------------------------------------------------------------


def _compute(block: Block, draws: DrawWeights) -> Floats:
    measure, clean = block.options.selectivity, block.sides(draws)
    if measure == "cles":
        return common_language_effect(hedges_g_of(clean))
    if measure == "auroc" or measure == "ap":
        S_UB = selectivity(measure, clean.activation_UN, clean.target_NB, clean.other_NB, clean.count_N)
        return draws.smoothed(S_UB, np.array([2.0 * _behind(block, "S")["image"]]))
    return np.asarray(np.maximum(IN_PLACE_OF_S[measure].compute(block, draws), 0))


def _link(options: ScoringOptions) -> Link:
    of_pairs = IN_PLACE_OF_S.get(options.selectivity)
    return PROBIT if of_pairs is None else of_pairs.link_with(options) or PROBIT


def _caveat(block: Block, u: int) -> str:
    options = block.options
    if options.selectivity in IN_PLACE_OF_S:
        metric = IN_PLACE_OF_S[options.selectivity]
        value = float(metric.compute(block, block.sample)[u, 0])
        return f"{metric.name} {value:.2f} counts as 0" if value < 0 else metric.caveat(block, u)
    if options.selectivity != "cles" or options.resamples == 0 or not block.excess_kurtosis_U[u] > HEAVY_TAILS:
        return ""
    kurtosis = f"excess kurtosis {block.excess_kurtosis_U[u]:.0f}"
    return f"heavy tails ({kurtosis}): its interval may be too narrow, that of --selectivity auroc is not"


def _why_missing(block: Block, u: int) -> str:
    if block.options.selectivity in IN_PLACE_OF_S:
        return IN_PLACE_OF_S[block.options.selectivity].why_missing(block, u)
    for side_I, whose in ((block.target_I, "the concept"), (block.other_I, "other concepts")):
        n = int((side_I & block.clean_I).sum())
        if n < MIN_IMAGES_PER_SIDE:
            return f"{n} clean image{'' if n == 1 else 's'} of {whose} (needs {MIN_IMAGES_PER_SIDE})"
    return "too few rated clean images"


def _behind(block: Block, column: str) -> Mapping[str, Any]:
    if block.options.selectivity in IN_PLACE_OF_S:
        return IN_PLACE_OF_S[block.options.selectivity].behind(block, column)
    clean = block.sides(block.sample)
    return {"image": min(_images_counted(clean.target_NB), _images_counted(clean.other_NB))}


def _statistics(block: Block) -> Mapping[str, Floats]:
    clean_UN, is_target = block.activation_UI[:, block.clean_I], block.target_I[block.clean_I]
    n, m = int(is_target.sum()), int((~is_target).sum())
    g = hedges_g(clean_UN, *sides(is_target))[:, 0]
    auroc, precision = ranked_separation(clean_UN, *sides(is_target))
    return {
        "d": g / hedges_factor(n, m) if n and m else g,
        "g": g,
        "AUROC": auroc[:, 0],
        "AP": precision[:, 0],
        "prevalence": np.array(n / (n + m) if n + m else np.nan),
        "n_target_images": np.array(n),
        "n_other_images": np.array(m),
    }


METRIC = Metric(
    name="S",
    weight=0.3,
    compute=_compute,
    null=PERMUTED_LABELS,
    link=_link,
    why_missing=_why_missing,
    caveat=_caveat,
    statistics=_statistics,
    behind=_behind,
    test=SignificanceTest(
        lambda block: mann_whitney_p(block.activation_UI[:, block.clean_I], block.target_I[block.clean_I]), "selective"
    ),
    columns={
        "S": "selectivity, 0 to 1; ½ is none (METRICS 1)",
        "S_p": "one-sided Mann-Whitney p over clean images: the concept activates the unit more",
        "d": "Cohen's d of target against other clean images",
        "g": "d with Hedges' small-sample factor",
        "AUROC": "area under the ROC curve on clean images, ties ½",
        "AP": "average precision of the concept's clean images ranked by activation",
        "prevalence": "share of the concept among them: AP at chance",
        "n_target_images": "clean images of the concept",
        "n_other_images": "clean images of other concepts",
    },
)
