"""Do intervals of a label's score cover it? `python benchmarks/labelling_coverage.py [units]` simulates units and prints a table.

A unit is standard normal noise, shifted on the images of its concept by d' standard deviations. The truth is its AUPRC above
chance where images are endless and as many as show the concept count as top images.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from InterpScore.labelling.bootstrap.intervals import FEWEST_HITS, Bootstrap, weights
from InterpScore.labelling.pair_scores import Images, scores_of_pairs
from InterpScore.labelling.presence import shown_pairs
from InterpScore.pairs import formulas

PREVALENCES, IMAGES, SHIFTS = (0.05, 0.01), (10, 20, 50, 200), (1.0, 2.0, 3.0)


def true_score(shift: float, prevalence: float, n: int) -> float:
    """AUPRC above chance of a shifted unit, of which the share `prevalence` of all images are top images."""

    def excess(threshold: float) -> float:
        return float(prevalence * norm.sf(threshold - shift) + (1 - prevalence) * norm.sf(threshold) - prevalence)

    hit_rate = norm.sf(brentq(excess, -10, 10) - shift)
    positives = prevalence * n
    auprc = formulas.auprc(hit_rate * positives, positives, positives, n)
    return float(auprc - formulas.auprc_at_chance(n, positives, positives))


def coverage(
    images: int, shift: float, prevalence: float, units: int, draws: int, seed: int = 0
) -> tuple[float, float]:
    """Share of units that have an interval, and share of these whose interval covers the truth.

    Args:
        images: that show the concept; `prevalence`: their share of all.
    """
    n, generator = round(images / prevalence), np.random.default_rng(seed)
    a_UN = generator.standard_normal((units, n), dtype=np.float32)
    shown = np.sort(generator.choice(n, images, replace=False))
    a_UN[:, shown] += shift
    presence = shown_pairs(["concept"], n, np.zeros(images), shown)
    some = Images(a_UN, presence, np.arange(n), np.arange(n))
    scores = scores_of_pairs(some, "auprc")
    bootstrap = Bootstrap(some, scores, "auprc", weights(some.group_N, draws, seed), 0.95)
    found = bootstrap.of_units(np.zeros((units, 1), dtype=int), np.arange(units))
    ends_U2 = np.array([[found[u].low_D[0], found[u].high_D[0]] for u in range(units)])
    assert scores.hits_UC is not None
    has_U = scores.hits_UC[:, 0] >= FEWEST_HITS
    estimate_U, truth = scores.score_UC[:, 0], true_score(shift, prevalence, n)
    covers_U = (np.minimum(ends_U2[:, 0], estimate_U) <= truth) & (truth <= np.maximum(ends_U2[:, 1], estimate_U))
    return float(has_U.mean()), float(covers_U[has_U].mean()) if has_U.any() else float("nan")


def main(units: int) -> None:
    print(f"{units:,} units a cell, 1,000 resamples: coverage (units with an interval)\n")
    print("| images of the concept | " + " | ".join(f"d' = {shift:g}" for shift in SHIFTS) + " |")
    print("|---|" + "---|" * len(SHIFTS))
    for prevalence in PREVALENCES:
        for images in IMAGES:
            cells = []
            for shift in SHIFTS:
                has, covered = coverage(images, shift, prevalence, units, 1000)
                cells.append(f"{covered:.1%} ({has:.0%})" if has else "none")
            print(f"| {images}, {prevalence:.0%} of all | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
