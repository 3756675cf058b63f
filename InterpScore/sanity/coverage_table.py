"""The coverage of 95% intervals at the ends of every scale and under heavy tails, as rows of a table. METRICS.md, section 6."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
from scipy.special import ndtri

from InterpScore.options import SelectivityName
from InterpScore.sanity.ends import (
    Covered,
    Place,
    Tails,
    causality_coverage,
    rank_coverage,
    recognition_coverage,
    selectivity_coverage,
    stability_coverage,
)
from InterpScore.sanity.pair_coverage import pair_coverage
from InterpScore.sanity.verdict import Check, judged

LEAST = 0.92
"""What intervals should cover in every cell."""
SELECTIVITIES = (0.5, 0.8, 0.95, 0.99, 0.999)
MEASURES: dict[str, SelectivityName] = {"S": "cles", "AUROC": "auroc"}
HEAVY: tuple[tuple[Tails, int], ...] = (("sparse", 12), ("sparse", 24), ("lognormal", 12), ("lognormal", 24))
PLACES: tuple[Place, ...] = ("first", "last")
STRENGTHS = {"no effect": 0.0, "1.2 SD": 1.2, "2.4 SD": 2.4}
"""Standard deviations of noise that a concept adds: S from .5 to .95 for a normal unit."""
CAUSALITIES = (0.005, 0.02, 0.1, 0.5)
RECOGNITIONS = (0.02, 0.05, 0.5, 0.95, 0.98)
STABILITIES = (0.3, 0.5, 0.8, 0.95, 0.98, 1.0)
MIXED = {"1 and .5": (1.0, 0.5), "1, 1, .95 and .3": (1.0, 1.0, 0.95, 0.3)}
SCORES = ("R", "InterpScore, only R varies", "InterpScore")
GAPS = (0.05, 0.1, 0.2, 0.5)
FEW_IMAGES, IMAGES = 12, 24
PAIR_TAILS: tuple[Tails, ...] = ("normal", "gamma", "lognormal")
PAIR_IMAGES = (24, 48, 100)
PAIR_STRENGTHS = {"no effect": 0.0, "1 SD": 1.0, "2 SD": 2.0, "4 SD": 4.0, "8 SD": 8.0}
"""The last sets a normal unit's concept apart from all other images: an ideal unit."""
HEAVY_TAILS_MATTER = ("correlation", "cosine")
PAIR_TABLES = {
    "Correlation and cosine": (HEAVY_TAILS_MATTER, list(PAIR_STRENGTHS)),
    "AUPRC, F1 and IoU of images": (("AUPRC", "F1_images", "IoU_images"), list(PAIR_STRENGTHS)[1:]),
}
FALL_SHORT: tuple[Tails, ...] = ("sparse", "lognormal")
"""Tails under which no interval of S that we know reaches `LEAST` (nor that of AUROC on 12 images of a sparse unit); those
of correlation and cosine do not either."""


@dataclass(frozen=True)
class CoverageRow:
    """Cells of one line of the table."""

    table: str
    """What the intervals are of."""
    label: str
    """What tells the line from others of the table."""
    cells: Mapping[str, Covered] = field(repr=False)
    """By what tells the column from others."""
    falls_short: bool = False
    """Whether it is known not to reach `LEAST`."""


def coverage_rows(studies: int, seed: int) -> Iterator[CoverageRow]:
    """Simulate every cell.

    Args:
        studies: simulated studies a cell.
        seed: of all of them.
    """
    for tails in get_args(Tails):
        for images in (FEW_IMAGES, IMAGES, 2 * IMAGES):
            of_S = {told: selectivity_coverage(tails, beta, images, studies, seed) for told, beta in STRENGTHS.items()}
            yield CoverageRow("S by tails of the activations", f"{tails}, {images} images", of_S, tails in FALL_SHORT)
    for name, measure in MEASURES.items():
        near_1 = {
            _number(S): selectivity_coverage("normal", float(np.sqrt(2) * ndtri(S)), IMAGES, studies, seed, measure)
            for S in SELECTIVITIES
        }
        yield CoverageRow("S and AUROC near 1", f"{name}, {IMAGES} images", near_1)
    for tails, images in HEAVY:
        of_A = {t: selectivity_coverage(tails, beta, images, studies, seed, "auroc") for t, beta in STRENGTHS.items()}
        yield CoverageRow("AUROC by tails of the activations", f"{tails}, {images} images", of_A, images == FEW_IMAGES)
    for images in (6, FEW_IMAGES, IMAGES):
        of_C = {_number(C): causality_coverage(C, images, studies, seed) for C in CAUSALITIES}
        yield CoverageRow("C near 0", f"{images} images", of_C)
    for images, raters in ((FEW_IMAGES, 4), (IMAGES, 10)):
        of_H = {_number(H): recognition_coverage(H, images, raters, studies, seed) for H in RECOGNITIONS}
        yield CoverageRow("H near 0 and 1", f"{images} images, {raters} ratings each", of_H)
    yield from _of_stabilities(studies, seed)
    yield from _of_pairs(studies, seed)
    for place in PLACES:
        of_rank = {_number(gap): rank_coverage(place, gap, IMAGES, studies, seed) for gap in GAPS}
        yield CoverageRow("Rank by gap in d", f"{place} of 10 neurons", of_rank)


def _of_stabilities(studies: int, seed: int) -> Iterator[CoverageRow]:
    for lognormal in (False, True):
        tails = "lognormal" if lognormal else "gamma"
        cells = {
            (groups, R): stability_coverage([R] * groups, studies, seed, FEW_IMAGES, lognormal=lognormal)
            for groups in (1, 2, 4)
            for R in STABILITIES
        }
        for k, name in enumerate(SCORES):
            for groups in (1, 2, 4):
                row = {_number(R): cells[groups, R][k] for R in STABILITIES}
                yield CoverageRow("R up to 1", f"{name}, {groups} group{'s' * (groups > 1)}, {tails}", row)
        mixed = {
            told: stability_coverage(truths, studies, seed, FEW_IMAGES, lognormal=lognormal)
            for told, truths in MIXED.items()
        }
        for k, name in enumerate(SCORES):
            row = {told: both[k] for told, both in mixed.items()}
            yield CoverageRow("R of groups that differ", f"{name}, {tails}", row)


def _of_pairs(studies: int, seed: int) -> Iterator[CoverageRow]:
    for tails in PAIR_TAILS:
        for images in PAIR_IMAGES:
            cells = {told: pair_coverage(tails, beta, images, studies, seed) for told, beta in PAIR_STRENGTHS.items()}
            for table, (names, told) in PAIR_TABLES.items():
                for name in names:
                    row = {strength: cells[strength][name] for strength in told}
                    short = tails in FALL_SHORT and name in HEAVY_TAILS_MATTER
                    yield CoverageRow(table, f"{name}, {tails}, {images} images", row, short)


def check_ends(studies: int, seed: int) -> Iterator[Check]:
    """7.2: 95% intervals cover truths at the ends of their scales, where percentiles do not."""
    slack = 2.6 * np.sqrt((1 - LEAST) * LEAST / studies)
    share_of: dict[str, Callable[[Covered], float]] = {
        "default": lambda cell: cell.share,
        "published": lambda cell: cell.percentiles,
    }
    for row in coverage_rows(studies, seed):
        for variant, share in share_of.items():
            shares = [share(cell) for cell in row.cells.values()]
            told = ", ".join(f"{covered:.0%} at {name}" for name, covered in zip(row.cells, shares, strict=True))
            figure = f"{told}{', percentiles' * (variant == 'published')} (n = {studies} each)"
            good = min(shares) >= LEAST - slack
            must = variant == "default" and not row.falls_short
            yield judged(
                "7.2", f"95% intervals of {row.table}: {row.label}", variant, figure, "92% and more", good, must
            )


def _number(value: float) -> str:
    return f"{value:g}".removeprefix("0")
