"""Do scores notice labels that are missing, and labels that are wrong? METRICS.md, section 7.4; Oikarinen et al. 2025.

Shapes: U units (`UNITS`), N images, B the three `LABELS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from InterpScore.helpers import Floats, ranked_separation
from InterpScore.pairs.formulas import auprc, auprc_at_chance, f1, f1_at_chance, iou, iou_at_chance, top_count
from InterpScore.pairs.moments import Sides, correlation, cosine, cosine_at_chance
from InterpScore.pairs.top_images import Counts, counts, top_images
from InterpScore.sanity.verdict import Check, judged
from InterpScore.selectivity import common_language_effect, hedges_g_of

PREVALENCES = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.499)
IMAGES, POSITIVES = 4000, 20
"""At least so many images, and so many that show the concept."""
FEWEST = 4
"""Cells with fewer images of the concept are skipped."""
CORRUPTIONS = 50
DROP = 0.001
"""How much of its range a score must fall by."""
LABELS = ("true", "half of the labels missing", "as many labels too many")
UNITS = ("ideal", "d' = 2", "d' = 2, offset")
"""The concept itself; the concept and noise; the same where the mean activation off the concept is half of that on it."""
OF_RANKS = 2
"""The first units: an offset changes no other score than cosine."""
RANGE = {"correlation": 2.0, "cosine": 2.0, "cosine above chance": 2.0}
"""1 for other scores."""
SHOWN_ONLY = ("S", "AUROC", "AP", "cosine")
"""Scores that do not notice everywhere, which is known."""
CHECK = "{labels}, prevalence {prevalence}, {unit}"


@dataclass(frozen=True)
class Fall:
    """By how much of its range a score falls, as a mean over corruptions."""

    score: str
    unit: str
    labels: str
    prevalence: float
    value: float
    fall: float

    @property
    def passes(self) -> bool:
        """Whether the score notices."""
        return self.fall > DROP + 1e-9


def label_falls(
    seed: int = 0, prevalences: Sequence[float] = PREVALENCES, corruptions: int = CORRUPTIONS
) -> Iterator[Fall]:
    """Every score of every unit under labels that are missing or too many.

    Args:
        seed: of activations and corruptions, which are drawn together.
        prevalences: shares of images that show the concept.
        corruptions: how many the falls are means of.
    """
    for prevalence in prevalences:
        n = max(IMAGES, round(POSITIVES / prevalence))
        positives = int(prevalence * n)
        if positives < FEWEST:
            continue
        generator = np.random.default_rng((seed, 76, round(1e4 * prevalence)))
        rounds = [_scores(*_study(n, positives, generator), positives) for _ in range(corruptions)]
        for score in rounds[0]:
            values_UB = np.mean([found[score] for found in rounds], axis=0)
            for unit, value_B in zip(UNITS, values_UB, strict=False):
                for labels, value in zip(LABELS[1:], value_B[1:], strict=True):
                    fall = float(value_B[0] - value) / RANGE.get(score, 1.0)
                    yield Fall(score, unit, labels, prevalence, float(value_B[0]), fall)


def _study(n: int, positives: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Activations `(U, N)` and labels `(N, B)`; the first images show the concept."""
    shows = (np.arange(n) < positives).astype(float)
    noisy = 2 * shows + generator.standard_normal(n)
    missing, added = shows.copy(), shows.copy()
    missing[generator.choice(positives, positives // 2, replace=False, shuffle=False)] = 0
    added[positives + generator.choice(n - positives, positives, replace=False, shuffle=False)] = 1
    return np.stack([shows, noisy, noisy + 2]), np.stack([shows, missing, added], axis=1)


def _scores(activation_UN: Floats, label_NB: Floats, positives: int) -> Mapping[str, Floats]:
    """Every score, `(U, B)`, of the first units where an offset changes nothing."""
    sides = Sides(activation_UN, label_NB, 1 - label_NB)
    ranked_UN = activation_UN[:OF_RANKS]
    auroc_UB, precision_UB = ranked_separation(ranked_UN, sides.target_NB, sides.other_NB)
    top_UN = top_images(ranked_UN, top_count(len(label_NB), positives))  # which are fixed before labels are wrong
    cosine_UB = cosine(*sides.moments)
    return {
        "S": common_language_effect(hedges_g_of(sides))[:OF_RANKS],
        "AUROC": auroc_UB,
        "AP": precision_UB,
        "cosine": cosine_UB,
        "cosine above chance": cosine_UB - cosine_at_chance(*sides.moments),
        "correlation": correlation(*sides.moments)[:OF_RANKS],
        **_of_counts(counts(top_UN, sides)),
    }


def _of_counts(c: Counts) -> dict[str, Floats]:
    n, top = round(float(c.n_B[0])), round(float(c.top_UB[0, 0]))
    iou_by_chance_B = np.array([iou_at_chance(n, round(float(positives)), top) for positives in c.positives_B])
    value_and_chance = {
        "AUPRC": (auprc(c.hits_UB, c.positives_B, c.top_UB, c.n_B), auprc_at_chance(c.n_B, c.positives_B, top)),
        "F1_images": (f1(c.hits_UB, c.positives_B, c.top_UB), f1_at_chance(c.n_B, c.positives_B, top)),
        "IoU_images": (iou(c.hits_UB, c.positives_B, c.top_UB), iou_by_chance_B),
    }
    above = {f"{name} above chance": value_UB - chance for name, (value_UB, chance) in value_and_chance.items()}
    return {name: value_UB for name, (value_UB, _) in value_and_chance.items()} | above


def check_labels(
    seed: int, prevalences: Sequence[float] = PREVALENCES, corruptions: int = CORRUPTIONS
) -> Iterator[Check]:
    """7.4: with half of the positive labels dropped, or as many added as there are, the score must fall."""
    for found in label_falls(seed, prevalences, corruptions):
        check = CHECK.format(labels=found.labels, prevalence=found.prevalence, unit=found.unit)
        figure = f"falls by {found.fall:.4f} of its range from {found.value:.4f}"
        required = found.score not in SHOWN_ONLY
        yield judged("7.4", check, found.score, figure, f"> {DROP}", found.passes, required)


def label_table(checks: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Who passes, by what is wrong with the labels: a row a score, a column a prevalence, a mark for each unit."""
    told = checks.loc[checks["section"] == "7.4", ["check", "variant", "passed", "required"]]
    parts = told["check"].str.extract(
        CHECK.format(labels="(?P<labels>.+)", prevalence="(?P<prevalence>.+?)", unit="(?P<unit>.+)")
    )
    told = told.join(parts)
    offset = told["unit"] == UNITS[-1]
    told["score"] = told["variant"].where(~offset, told["variant"] + ", offset")
    marks = told["passed"].map({True: "✓", False: "✗"})
    return {
        str(labels): rows.assign(mark=marks).pivot_table("mark", "score", "prevalence", "".join, sort=False)
        for labels, rows in told.groupby("labels", sort=False)
    }
