"""Correlation, cosine, AUPRC, F1 and IoU of images in a scoring run: shown beside the InterpScore, which they enter on request.

METRICS.md, section 8. Shapes: U units of a block, B draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from InterpScore.helpers import FISHER, PROBIT, Bools, Floats
from InterpScore.metric import Metric, SignificanceTest
from InterpScore.pairs import moments
from InterpScore.pairs.formulas import auprc, auprc_at_chance, f1, f1_at_chance, iou, iou_at_chance
from InterpScore.pairs.permutation import Permutations, p_of_hits, p_of_sums
from InterpScore.pairs.top_images import Counts, counts

if TYPE_CHECKING:
    from InterpScore.resampling import DrawWeights
    from InterpScore.scoring.blocks import Block

    Score = Callable[[moments.Moments, moments.Moments], Floats]
    CountScore = Callable[[Counts], Any]
    Values = Callable[[Block, DrawWeights], Floats]

HEAVY_TAILS = 6.0
"""Excess kurtosis, that of an exponential distribution, above which intervals that rest on moments cover too rarely."""


def _has_both_sides(block: Block) -> bool:
    return bool(block.clean_target_I.any() and (block.clean_I & block.other_I).any())


def _varies(block: Block) -> Bools:
    clean_UN = block.activation_UI[:, block.clean_I]
    return np.asarray((clean_UN != clean_UN[:, :1]).any(axis=1))


def _nothing(block: Block, draws: DrawWeights) -> Floats:
    return np.full((len(block.rows), draws.image_IB.shape[1]), np.nan)


def _of_moments(score: Score) -> Values:
    """A score of the moments of both sides."""

    def compute(block: Block, draws: DrawWeights) -> Floats:
        return score(*block.image_sides(draws).moments) if _has_both_sides(block) else _nothing(block, draws)

    return compute


def _counts(block: Block, draws: DrawWeights) -> Counts:
    return block.once(draws, "counts", lambda: counts(block.top_UN, block.image_sides(draws)))


def _of_counts(score: CountScore, observations: float | None = None) -> Values:
    """A score of the counts of top images; NaN for units that do not vary.

    Args:
        observations: how many of those that the score is a proportion of there are for each image of the concept.
    """

    def compute(block: Block, draws: DrawWeights) -> Floats:
        if not _has_both_sides(block):
            return _nothing(block, draws)
        found = _counts(block, draws)
        value_UB = np.asarray(score(found))
        if observations is not None:
            value_UB = draws.smoothed(value_UB, np.array([observations * block.study.n_sources(block.clean_target_I)]))
        varies_U = _varies(block)
        return value_UB if varies_U.all() else np.where(varies_U[:, None], value_UB, np.nan)

    return compute


def _iou_at_chance(found: Counts) -> Floats:
    n, positives, top = (int(np.round(values.flat[0])) for values in (found.n_B, found.positives_B, found.top_UB))
    return np.full(found.hits_UB.shape, iou_at_chance(n, positives, top))


def _why_missing(block: Block, u: int) -> str:
    if not block.clean_target_I.any():
        return "no clean image of the concept"
    if not _has_both_sides(block):
        return "no clean image of another concept"
    return "the same activation on every clean image"


def _tails(block: Block, u: int) -> str:
    kurtosis = block.excess_kurtosis_U[u]
    if block.options.resamples == 0 or not kurtosis > HEAVY_TAILS:
        return ""
    return f"heavy tails (excess kurtosis {kurtosis:.0f}): intervals may be too narrow, that of AUPRC is not"


def _images(block: Block) -> int:
    """Images of the smaller side, those of one source counted once."""
    return min(block.study.n_sources(block.clean_target_I), block.study.n_sources(block.clean_I & block.other_I))


def _hits(block: Block) -> Floats:
    return np.asarray(block.top_UN[:, block.target_I[block.clean_I]].sum(axis=1), dtype=float)


def _statistics(block: Block) -> Mapping[str, Floats]:
    return {"n_top_images": block.top_UN.sum(axis=1).astype(float), "n_top_of_concept": _hits(block)}


# p-values, which several scores share ---------------------------------------------------------------------------------


def _p_of_sums(block: Block) -> Floats:
    return block.once(
        block.sample, "p of sums", lambda: p_of_sums(block.activation_UI[:, block.clean_I], *_labels(block))
    )


def _p_of_hits(block: Block) -> Floats:
    p_U = block.once(block.sample, "p of hits", lambda: p_of_hits(block.top_UN, *_labels(block)))
    return np.where(_varies(block), p_U, np.nan)


def _labels(block: Block) -> tuple[Bools, Permutations]:
    return block.target_I[block.clean_I], block.study.permutations(block.clean_I)


# The metrics ----------------------------------------------------------------------------------------------------------


def _described(name: str, text: str, p: str) -> dict[str, str]:
    exact = f"{name} minus its mean over all permutations of the labels; 0 is chance (METRICS 8)"
    return {name: f"{text} (METRICS 8)", f"{name}_excess": exact, f"{name}_p": p}


def _moment_metric(name: str, text: str, score: Score, chance: Score) -> Metric:
    p = "one-sided permutation p: clean images of the concept activate the unit more; the same for correlation and cosine"
    return Metric(
        name=name,
        weight=None,
        compute=_of_moments(score),
        null=_of_moments(chance),
        link=FISHER,
        why_missing=_why_missing,
        caveat=_tails,
        behind=lambda block, column: {"image": _images(block)},
        test=SignificanceTest(_p_of_sums),
        columns=_described(name, text, p),
    )


def _count_metric(
    name: str, text: str, score: CountScore, chance: CountScore, observations: float, **further: Any
) -> Metric:
    p = "one-sided p that as many top images show the concept by chance, exact; the same for AUPRC, F1_images and IoU_images"
    return Metric(
        name=name,
        weight=None,
        compute=_of_counts(score, observations),
        null=_of_counts(chance),
        link=PROBIT,
        why_missing=_why_missing,
        behind=lambda block, column: {"image": _images(block), "hit": _hits(block)},
        test=SignificanceTest(_p_of_hits),
        columns=_described(name, text, p) | further.pop("columns", {}),
        **further,
    )


_TOP = "of the unit's top images and the concept's clean images"
CORRELATION = _moment_metric(
    "correlation",
    "Pearson's r of activation and presence of the concept over clean images",
    moments.correlation,
    lambda target, other: 0 * moments.correlation(target, other),
)
COSINE = _moment_metric(
    "cosine", "cosine of activation and presence of the concept", moments.cosine, moments.cosine_at_chance
)
AUPRC = _count_metric(
    "AUPRC",
    "area under the precision-recall curve of top images ranked by presence of the concept; AP is the reverse, presence ranked by activation",
    lambda c: auprc(c.hits_UB, c.positives_B, c.top_UB, c.n_B),
    lambda c: auprc_at_chance(c.n_B, c.positives_B, c.top_UB),
    0.5,
    statistics=_statistics,
    columns={
        "n_top_images": "top images of the unit: as many as show the concept, at least .5% (METRICS 8)",
        "n_top_of_concept": "those that show the concept",
    },
)
F1 = _count_metric(
    "F1_images",
    f"F1 {_TOP}",
    lambda c: f1(c.hits_UB, c.positives_B, c.top_UB),
    lambda c: f1_at_chance(c.n_B, c.positives_B, c.top_UB),
    1.0,
)
IOU = _count_metric(
    "IoU_images",
    f"intersection over union {_TOP}, not of pixels",
    lambda c: iou(c.hits_UB, c.positives_B, c.top_UB),
    _iou_at_chance,
    0.5,
)
METRICS = (CORRELATION, COSINE, AUPRC, F1, IOU)
IN_PLACE_OF_S = {
    "correlation": CORRELATION,
    "cosine": COSINE,
    "auprc_images": AUPRC,
    "f1_images": F1,
    "iou_images": IOU,
}
"""What `--selectivity` calls them."""
