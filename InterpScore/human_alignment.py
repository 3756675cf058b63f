"""Human alignment H: do people recognise what activates a unit?

METRICS.md, section 4. Shapes: U units, N images of the concept, M clean images of other concepts,
B draws, K permutations.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from InterpScore.errors import TableWarning
from InterpScore.helpers import Bools, Floats, spearman, weighted_quantile
from InterpScore.metric import Metric, SignificanceTest
from InterpScore.options import ScoringOptions

if TYPE_CHECKING:
    from InterpScore.resampling import DrawWeights
    from InterpScore.scoring.blocks import Block

NO_HIGH = "no rated image of the concept above the activation threshold"


def calculate_human_consistency_score(
    activations: ArrayLike,
    human_scores: ArrayLike,
    *,
    non_target_activations: ArrayLike | None = None,
    threshold: float | None = None,
    threshold_percentile: float = ScoringOptions.threshold_percentile,
) -> float:
    """Mean recognition of the ratings whose image activates the unit strongly.

    Args:
        activations: the unit's activation behind each rating of its concept.
        human_scores: how well each rating recognised the concept, in [0, 1]; NaN where not rated.
        non_target_activations: activations on the clean images of other concepts; the threshold is
            their `threshold_percentile` quantile.
        threshold: the threshold itself, instead of those activations. With neither, every rating counts.
        threshold_percentile: a fraction between 0 and 1.

    Returns:
        In [0, 1]; NaN when no rating lies above the threshold.

    Raises:
        ValueError: lengths that differ, scores or a percentile outside [0, 1].

    Warns:
        TableWarning: neither a threshold nor activations to take it from.

    Source: METRICS.md, section 4.

    >>> calculate_human_consistency_score([.1, .9, .8], [0, 1, .5], threshold=.5)
    0.75
    """
    activation_N = np.asarray(activations, dtype=float).ravel()
    score_N = np.asarray(human_scores, dtype=float).ravel()
    if activation_N.shape != score_N.shape:
        raise ValueError(
            f"{activation_N.size} activations but {score_N.size} human scores; expected one per activation"
        )
    if ((score_N < 0) | (score_N > 1)).any():
        raise ValueError(f"human scores from {np.nanmin(score_N)} to {np.nanmax(score_N)}; expected 0 to 1")
    if not 0 <= threshold_percentile <= 1:
        raise ValueError(f"threshold_percentile {threshold_percentile}; expected a fraction between 0 and 1")
    rated = np.isfinite(activation_N) & np.isfinite(score_N)
    if threshold is None and non_target_activations is None:
        message = "H without a threshold: every rating counts as high-activation; set one by non_target_activations= or threshold="
        warnings.warn(message, TableWarning, stacklevel=2)
        threshold = -np.inf
    elif threshold is None:
        reference = np.asarray(non_target_activations, dtype=float).ravel()
        reference = reference[np.isfinite(reference)]
        if reference.size == 0:
            return float("nan")
        threshold = float(weighted_quantile(reference[None], np.ones((reference.size, 1)), threshold_percentile)[0, 0])
    weights = rated[rated].astype(float)[:, None]
    score = score_N[rated][:, None]
    return float(recognition_above(activation_N[rated][None], np.array([[threshold]]), weights, score)[0, 0])


def recognition_above(target_UN: Floats, threshold_UB: Floats, rating_NB: Floats, score_NB: Floats) -> Floats:
    """`H`: mean score of the ratings whose image lies above the unit's threshold, `(U, B)`.

    Args:
        target_UN: activation on each image of the concept.
        threshold_UB: the activation threshold θ in each draw.
        rating_NB: weight of each image's ratings in each draw.
        score_NB: the same, each rating times its score.

    Returns:
        NaN where nothing lies above.
    """
    if target_UN.shape[1] == 0:
        return np.full(threshold_UB.shape, np.nan)
    lowest_U1, highest_U1 = (end.reduce(threshold_UB, axis=1, keepdims=True) for end in (np.fmin, np.fmax))
    always_UN = target_UN > highest_U1
    between_UN = (target_UN > lowest_U1) & ~always_UN
    n_between_U = between_UN.sum(axis=1)
    order_U = np.argsort(-n_between_U)
    target_UN, threshold_UB = target_UN[order_U], threshold_UB[order_U]
    image_UN = np.argsort(~between_UN[order_U], axis=1, kind="stable")
    # Images above every threshold of a unit count in all draws, those between its thresholds in some.
    rated_UB, score_UB = (always_UN[order_U].astype(float) @ weights_NB for weights_NB in (rating_NB, score_NB))
    for k in range(n_between_U.max(initial=0)):
        n = int((n_between_U > k).sum())  # the first units: those with most such images
        images = image_UN[:n, k]
        above = target_UN[np.arange(n), images][:, None] > threshold_UB[:n]
        rated_UB[:n] += above * rating_NB[images]
        score_UB[:n] += above * score_NB[images]
    H_UB = np.empty(threshold_UB.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        H_UB[order_U] = np.where((rated_UB > 0) & ~np.isnan(threshold_UB), score_UB / rated_UB, np.nan)
    return H_UB


def permutation_p_value(high_UN: Bools, rate_N: Floats, permuted_rates: Iterable[Floats]) -> Floats:
    """One-sided p that high-activation images are recognised more than the others, `(U,)`.

    Args:
        high_UN: which images of the concept lie above the unit's threshold.
        rate_N: each image's recognition rate.
        permuted_rates: the rates reordered within level, batches of `(N, K)`.

    Returns:
        `(1 + #{permutations at least as high}) / (K + 1)`; NaN where no image or every image is high.
    """
    high = high_UN.astype(float)
    observed_U = high @ rate_N
    as_high_U, n_permutations = np.zeros(len(high)), 0
    for rates_NK in permuted_rates:
        as_high_U += ((high @ rates_NK) >= observed_U[:, None] - 1e-9).sum(axis=1)
        n_permutations += rates_NK.shape[1]
    testable = high_UN.any(axis=1) & ~high_UN.all(axis=1) & (n_permutations > 0)
    return np.where(testable, (1 + as_high_U) / (n_permutations + 1), np.nan)


# H in a scoring run -------------------------------------------------------------------------------------------------


def _threshold(block: Block, draws: DrawWeights) -> Floats:
    """θ of every unit in every draw, `(U, B)`; NaN without a clean image of another concept."""
    clean = block.sides(draws)
    others = clean.other_NB.any(axis=1)
    if not others.any():
        return np.full((len(clean.activation_UN), clean.other_NB.shape[1]), np.nan)
    n = None if clean.count_N is None else clean.count_N[others].sum()
    percentile = block.options.threshold_percentile
    return weighted_quantile(clean.activation_UN[:, others], clean.other_NB[others], percentile, n)


def _compute(block: Block, draws: DrawWeights) -> Floats:
    counted_I, theta_UB = block.counted_I, _threshold(block, draws)
    rating_NB, score_NB = draws.rating_IB[counted_I], draws.score_IB[counted_I]
    H_UB = recognition_above(block.activation_UI[:, counted_I], theta_UB, rating_NB, score_NB)
    return H_UB if draws.pseudo_2B is None else draws.smoothed(H_UB, _independent_ratings(block))


def _independent_ratings(block: Block) -> Floats:
    """Of high activation, `(U,)`: halfway between as many as ratings and as images, on a logarithmic scale."""
    counted_I, high_UN = _high_images(block)
    return np.asarray(np.sqrt(high_UN.sum(axis=1) * (high_UN @ block.study.design.raters_I[counted_I])))


def _base_rate(block: Block, draws: DrawWeights) -> Floats:
    """Mean recognition of all ratings of the concept, whatever the activation."""
    counted_I = block.counted_I
    with np.errstate(invalid="ignore", divide="ignore"):
        rate_B = draws.score_IB[counted_I].sum(axis=0) / draws.rating_IB[counted_I].sum(axis=0)
    return np.broadcast_to(rate_B, (len(block.activation_UI), len(rate_B)))


def _why_missing(block: Block, u: int) -> str:
    if not block.sample.rating_IB[block.counted_I].any():
        return "no rated image of the concept"
    if not (block.other_I & block.clean_I).any():
        return "no clean image of another concept to set the threshold by"
    return NO_HIGH


def _high_images(block: Block) -> tuple[Bools, Bools]:
    """Rated images of the concept that count, `(I,)`, and which of them lie above each unit's threshold, `(U, N)`."""
    counted_I = block.counted_I & block.study.rated_I
    return counted_I, block.activation_UI[:, counted_I] > _threshold(block, block.sample)


def _p_value(block: Block) -> Floats:
    counted_I, high_UN = _high_images(block)
    permuted = (rate_IB[counted_I] for rate_IB in block.study.permuted_rates)
    return permutation_p_value(high_UN, block.study.rate_I[counted_I], permuted)


def _behind(block: Block, column: str) -> Mapping[str, Any]:
    """High images and those that set the threshold, and the raters of the former."""
    counted_I, high_UN = _high_images(block)
    others = int(block.sides(block.sample).other_NB.any(axis=1).sum())
    return {"image": np.minimum(high_UN.sum(axis=1), others), "rater": block.study.raters(counted_I, high_UN)}


def _statistics(block: Block) -> Mapping[str, Floats]:
    counted_I, high_UN = _high_images(block)
    rating_I = block.sample.rating_IB[:, 0]
    return {
        "H_base": _base_rate(block, block.sample)[:, 0],
        "H_rho": spearman(block.activation_UI[:, counted_I], block.study.rate_I[counted_I]),
        "H_ceiling": np.array(block.study.noise_ceiling(block.counted_I)),
        "threshold": _threshold(block, block.sample)[:, 0],
        "n_ratings": np.array(rating_I[block.counted_I].sum()),
        "n_high_images": high_UN.sum(axis=1).astype(float),
        "n_high_ratings": high_UN @ rating_I[counted_I],
    }


METRIC = Metric(
    name="H",
    weight=0.2,
    compute=_compute,
    null=_base_rate,
    why_missing=_why_missing,
    statistics=_statistics,
    behind=_behind,
    test=SignificanceTest(_p_value, "recognised above its concept's other images"),
    draws_with_value="in which an image lies above the threshold",
    columns={
        "H": "human alignment: mean recognition of high-activation ratings, 0 to 1 (METRICS 4)",
        "H_excess": "H minus H_base; 0 is chance (METRICS 4)",
        "H_p": "one-sided permutation p within level: high-activation images are recognised more; empty where all or none are high",
        "H_base": "mean recognition of all ratings of the concept that count in H",
        "H_rho": "Spearman's correlation over images of activation and recognition rate; empty where either is constant",
        "H_ceiling": "the highest H_rho that the ratings' reliability allows; empty where that is 0 or not estimable",
        "threshold": "activation above which a rating is high-activation",
        "n_ratings": "ratings of the concept that count in H",
        "n_high_images": "its rated images above the threshold",
        "n_high_ratings": "their ratings",
    },
)
