"""The table of labels: a row for each unit, with everything that is known about its label. METRICS.md, section 10.

Shapes: U units, D candidates of a unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from InterpScore.helpers import Floats, Ints
from InterpScore.labelling.bootstrap.intervals import FEWEST_HITS, Intervals
from InterpScore.labelling.options import LabellingOptions
from InterpScore.labelling.pair_scores import Images, PairScores
from InterpScore.labelling.presence import GradedPresence
from InterpScore.labelling.ranking import order_of
from InterpScore.pairs import formulas

RUNNERS_UP = 5
BEST_IN = 0.05
"""Share of the draws in which concepts of the prediction set are best."""
NO_LABEL = "none better than chance"

COLUMNS = {
    "layer": "the layer of the unit; only of stores",
    "unit": "the unit",
    "concept": "its label; empty where none is better than chance",
    "score": "what concepts were chosen by, on the evaluation half: AUPRC or F1 above chance, correlation, or soft-WPMI",
    "score_low": "its interval, lower end; empty without a label or with fewer than five hits",
    "score_high": "upper end",
    "p": "probability of an AUPRC as high by chance, on the evaluation half",
    "p_adjusted": "p adjusted over all units of the run",
    "chosen": "the unit is the best of its concept, on the selection half: it is in the neuron map",
    "candidate": "the best concept on the selection half, whether or not it became the label; the scores are of it",
    "selection_score": "what concepts were chosen by, on the selection half; it flatters the label",
    "concepts": "the concepts that the unit needs, its label first",
    "polysemy": "how many those are; 0 without a label; empty without a split",
    "prediction_set": "the concepts that are best in at least 5% of resamples",
    "runners_up": "the next five concepts of the selection half with their scores on the evaluation half",
    "AUPRC": "average precision of images ranked by the concept, truth: the unit's top images (METRICS 8)",
    "AUPRC_low": "its interval, lower end",
    "AUPRC_high": "upper end",
    "AUPRC_chance": "its mean over permutations of the labels",
    "F1": "F1 of being a top image and showing the concept; empty with words",
    "F1_low": "its interval, lower end",
    "F1_high": "upper end",
    "F1_chance": "its mean over permutations of the labels",
    "IoU": "intersection over union of top images and images of the concept; empty with words",
    "IoU_low": "its interval, lower end",
    "IoU_high": "upper end",
    "IoU_chance": "its mean over permutations of the labels",
    "correlation": "Pearson correlation of activation and presence of the concept",
    "correlation_low": "its interval, lower end",
    "correlation_high": "upper end",
    "cosine": "cosine of the angle between activations and presence of the concept",
    "cosine_low": "its interval, lower end",
    "cosine_high": "upper end",
    "cosine_chance": "its mean over permutations of the labels; far above 0 where activations are mostly above 0",
    "n_images": "images that the scores are of",
    "n_concept": "of these, images that show the concept; with words, in which it has at least 1/2",
    "n_top": "number of top images",
    "n_hits": "top images that show the concept; with words, the sum of its presence in them",
    "permutations": "permutations behind p; 0 where it is exact",
    "split": "half: chosen on one half, scored on the other; none: both on all images",
    "reason": "why there is no label, or no interval",
}
"""Column → its meaning, in order."""


@dataclass(frozen=True, eq=False)
class Found:
    """What a run found; units are those that vary.

    Attributes:
        images: those that labels are tested on.
        chosen_by, scores: scores of all pairs on the images that labels are chosen on, and tested on.
        candidate_UD: the best concepts, the best first.
        test: how the best concept is tested; p_U, adjusted_U, permutations_U: its p-value, and what is behind it.
        labelled: units whose best concept is their label.
        drawn: intervals of units with a label; sets: the concepts that they need.
    """

    images: Images
    chosen_by: PairScores
    scores: PairScores
    candidate_UD: Ints
    test: str
    p_U: Floats
    adjusted_U: Floats
    permutations_U: Ints
    labelled: Ints
    drawn: Mapping[int, Intervals]
    sets: Mapping[int, list[int]]


def labels_table(
    units: pd.DataFrame, reason_U: NDArray[Any], live: Ints, found: Found, options: LabellingOptions
) -> pd.DataFrame:
    """A row for each unit.

    Args:
        units: names of all units; reason_U: why some cannot be labelled, `live` those that can.
    """
    rows: list[dict[str, Any]] = [{"reason": reason, "polysemy": 0, "concepts": [], "prediction_set": [], "runners_up": []} for reason in reason_U]  # fmt: skip
    for at, u in enumerate(live):
        rows[u] = _row(at, found)
    best_of: dict[str, int] = {}
    for u, row in enumerate(rows):
        name = row.get("concept")
        if name is not None and (name not in best_of or row["selection_score"] > rows[best_of[name]]["selection_score"]):  # fmt: skip
            best_of[name] = u
    for u, row in enumerate(rows):
        row |= {"chosen": u in best_of.values(), "split": options.split}
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in ("layer", "unit")])
    table["polysemy"] = pd.array(table["polysemy"], dtype="Int64")
    for name in ("n_images", "n_concept", "n_top", "permutations"):
        table[name] = pd.array(table[name], dtype="Int64")
    for name in ("concept", "candidate"):
        table[name] = table[name].astype(object).where(table[name].notna(), None)
    return pd.concat([units.reset_index(drop=True), table], axis=1)


def _row(u: int, found: Found) -> dict[str, Any]:
    """What is known of a unit that varies."""
    names = found.images.presence.concepts
    candidate_D = found.candidate_UD[u]
    c = int(candidate_D[0])
    is_label = u in found.labelled
    row: dict[str, Any] = {
        "concept": names[c] if is_label else None, "candidate": names[c],
        "score": found.scores.score_UC[u, c], "selection_score": found.chosen_by.score_UC[u, c],
        "p": found.p_U[u], "p_adjusted": found.adjusted_U[u], "permutations": found.permutations_U[u],
        **_scores(u, c, found), "reason": "" if is_label else NO_LABEL,
        "polysemy": 0, "concepts": [], "prediction_set": [], "runners_up": [],
    }  # fmt: skip
    if not is_label:
        return row
    needed = found.sets.get(u, [c])
    row |= {"concepts": [names[at] for at in needed], "polysemy": len(needed) if u in found.sets else None}
    others = [int(d) for d in candidate_D[1 : RUNNERS_UP + 1]]
    low, high = np.full((2, len(candidate_D)), np.nan)
    if (drawn := found.drawn.get(u)) is not None:
        estimate_D = found.scores.score_UC[u, candidate_D]
        certain_D = np.array([_hits(u, int(d), found) >= FEWEST_HITS for d in candidate_D])
        low = np.where(certain_D, np.minimum(drawn.low_D, estimate_D), np.nan)
        high = np.where(certain_D, np.maximum(drawn.high_D, estimate_D), np.nan)
        row["prediction_set"] = [names[int(candidate_D[d])] for d in best_in(drawn.best_D)]
        if certain_D[0]:
            for name, ends in drawn.label.items():
                row[f"{name}_low"], row[f"{name}_high"] = min(ends[0], row[name]), max(ends[1], row[name])
        else:
            row["reason"] = f"no interval: fewer than {FEWEST_HITS} of its top images show the concept"
    row |= {"score_low": low[0], "score_high": high[0]}
    row["runners_up"] = [
        {
            "concept": names[d],
            "score": float(found.scores.score_UC[u, d]),
            "low": float(low[at]),
            "high": float(high[at]),
        }
        for at, d in enumerate(others, 1)
    ]
    return row


def _scores(u: int, c: int, found: Found) -> dict[str, Any]:
    """Every score of a unit and its best concept, with its value at chance."""
    images, scores, presence = found.images, found.scores, found.images.presence
    positives, top = int(presence.positives_C[c]), int(presence.top_C[c])
    hits, a_N, y_N = _hits(u, c, found), images.a_UN[u].astype(float), presence.of(c)
    row = {
        "AUPRC": scores.auprc_UC[u, c], "AUPRC_chance": scores.auprc_at_chance_C[c],
        "correlation": formulas.correlation(a_N, y_N),
        "cosine": formulas.cosine(a_N, y_N), "cosine_chance": formulas.cosine_at_chance(a_N, y_N),
        "n_images": images.n, "n_concept": positives, "n_top": top, "n_hits": hits,
    }  # fmt: skip
    if not isinstance(presence, GradedPresence):
        row |= {"F1": formulas.f1(hits, positives, top), "F1_chance": formulas.f1_at_chance(images.n, positives, top)}
        row |= {
            "IoU": formulas.iou(hits, positives, top),
            "IoU_chance": formulas.iou_at_chance(images.n, positives, top),
        }
    return row


def _hits(u: int, c: int, found: Found) -> float:
    """Presence of a concept in a unit's top images, in all."""
    if found.scores.hits_UC is not None:
        return float(found.scores.hits_UC[u, c])
    presence = found.images.presence
    return float(presence.of(c)[order_of(found.images.a_UN[u], int(presence.top_C[c]))].sum())


def best_in(share_D: Floats) -> list[int]:
    """Candidates that are best in at least `BEST_IN` of the draws, the most frequent first."""
    return [int(d) for d in np.argsort(-share_D, kind="stable") if share_D[d] >= BEST_IN]
