"""What was rated: images, ratings and recognition at each level of the experiment table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from InterpScore.options import ScoringOptions
from InterpScore.scoring.results import listed
from Visualizations.run import Run


@dataclass(frozen=True)
class Level:
    """A level of the table.

    Attributes:
        kind: clean, benign, adversarial, synthetic or exemplar.
        images: distinct images; ratings: of them; recognised: mean score of the ratings, NaN without any.
        counts_in: the components that it enters.
    """

    level: int
    kind: str
    images: int
    ratings: int
    recognised: float
    counts_in: str


def levels(run: Run) -> list[Level]:
    """The levels of the run's table, the clean one first, then from high to low."""
    table, options = run.data, run.options
    level_R = table.level_I[table.image_R]
    in_R = {level for group in options.robustness_groups().values() for level in group}
    found = []
    for level in sorted(np.unique(table.level_I).tolist(), key=lambda each: (each != options.clean_level, -each)):
        score_R = table.score_R[level_R == level]
        known_R = score_R[np.isfinite(score_R)]
        enters = ["S", "C", "R"] if level == options.clean_level else ["R"] if level in in_R else []
        enters += ["H"] if options.counts_in_H(level) else []
        found.append(
            Level(
                level, options.kind_of(level), int((table.level_I == level).sum()), len(score_R),
                float(known_R.mean()) if len(known_R) else float("nan"), ", ".join(enters) or "none",
            )
        )  # fmt: skip
    return found


def group_of_levels(name: str, levels: Sequence[int], options: ScoringOptions) -> str:
    """A group of R in words: "level 3 (adversarial)", "benign levels 1 and 2"."""
    if name == str(levels[0]):
        return f"level {name} ({options.kind_of(levels[0])})"
    return f"{name} level{'s' * (len(levels) > 1)} {listed(list(map(str, levels)))}"
