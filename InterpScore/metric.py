"""A metric is one thing: name, weight, formula, chance level, reasons and columns; and the registry that everything loops over.

S, C, R and H are registered beside their formulas; packages add metrics by an entry point of the group
`interpscore.metrics` (docs/EXTENDING_METRICS.md). Shapes: U units of a block, B draws.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from Activation_Extraction.base.extensions import registered
from InterpScore.errors import InputError
from InterpScore.helpers import Floats, Link

if TYPE_CHECKING:
    from InterpScore.options import ScoringOptions
    from InterpScore.resampling import DrawWeights
    from InterpScore.scoring.blocks import Block

    Values = Callable[[Block, DrawWeights], Floats]

ENTRY_POINT_GROUP = "interpscore.metrics"
BUILT_IN = ("selectivity", "causality", "robustness", "human_alignment")
"""Modules of this package that hold a `METRIC`, a component of the InterpScore, in the order of the results."""
SUPPLEMENTARY = ("pairs.metrics",)
"""Modules of this package that hold `METRICS`, which are shown beside the components."""
PERMUTED_LABELS: Literal["permuted labels"] = "permuted labels"
RESERVED = ("Neuron", "Layer", "Concept", "InterpScore", "Rank", "Notes", "I")
"""Names of columns that no metric may take."""


@dataclass(frozen=True)
class SignificanceTest:
    """A test of every unit; p-values become the column `<metric>_p` and are adjusted over the neurons of a run."""

    p_value: Callable[[Block], Floats]
    """`(U,)`; NaN where a unit cannot be tested."""
    claim: str = ""
    """What a significant unit is, for the notes: "selective"; without it they leave the test out."""


@dataclass(frozen=True)
class Folds:
    """The log ratios θ of which a metric is the mean of exp(-|θ|); intervals are projected from them (METRICS.md, 6)."""

    log_ratios: Values
    """`(G, U, B)`; NaN for groups without a value."""
    images: Callable[[Block], int]
    """The smallest number of images behind one of them."""
    groups: Callable[[ScoringOptions], Sequence[str]]
    """What each of them is of, for the notes."""


@dataclass(frozen=True)
class Metric:
    """One component of the InterpScore, or a score that is shown beside the components."""

    name: str
    """Its column: a letter or a short identifier."""
    compute: Values
    """Its value in [0, 1] for every unit in every draw, `(U, B)`; NaN where it cannot be computed. Scores without a weight
    may be negative."""
    why_missing: Callable[[Block, int], str]
    """The reason for the NaN of one unit of a block, for the notes."""
    columns: Mapping[str, str]
    """Column → its documentation: of the metric itself, of `further`, of `statistics` (`<…>` stands for what varies)."""
    weight: float | None = 0.0
    """Its weight where none are given; 0 shows the metric and leaves the InterpScore as it is. None: it never has any, and
    is in the files alone, not on the terminal."""
    null: Literal["permuted labels"] | Values | None = None
    """What chance gives: the mean of `compute` over permutations of the concept labels within each level, or a function
    of the draw; None where there is no chance level. `<metric>_excess` is the value minus this."""
    further: Mapping[str, Values] = field(default_factory=dict)
    """Quantities beside the metric that get an interval as well: column → value in every draw."""
    statistics: Callable[[Block], Mapping[str, Floats]] = lambda block: {}
    """Supplementary statistics, each `(U,)` or a single number."""
    behind: Callable[[Block, str], Mapping[str, Any]] = lambda block, column: {}
    """How many of what draws reweight, "image" and "rater", stand behind the values of the metric or of a quantity of
    `further`, each `(U,)` or a single number; below two there is no interval. "hit": top images of the concept, at least
    five."""
    caveat: Callable[[Block, int], str] = lambda block, u: ""
    """What to note of one unit's value; nothing where there is nothing to say."""
    test: SignificanceTest | None = None
    link: Link | Callable[[ScoringOptions], Link] | None = None
    """The scale on which its draws are closest to normal, by the options where it depends on them. Its interval is
    Student's there, with the images that are `behind` it; None: percentiles of the draws."""
    folds: Folds | None = None
    """Where the metric is a mean of folded ratios."""
    draws_with_value: str = "in which it can be computed"
    """Which resamples an interval is from, noted where more than 1% have no value."""

    def link_with(self, options: ScoringOptions) -> Link | None:
        """The scale of its intervals under some options."""
        return self.link if self.link is None or isinstance(self.link, Link) else self.link(options)


def components() -> tuple[Metric, ...]:
    """The metrics that may have a weight in the InterpScore: S, C, R and H, then those of packages by name."""
    return tuple(metric for metric in metrics() if metric.weight is not None)


def metrics() -> tuple[Metric, ...]:
    """Every registered metric: S, C, R and H, those of pairs of a unit and a concept, then those of packages by name.

    Raises:
        InputError: a package's metric that cannot be loaded or takes the name of another column.
    """
    return _registered(tuple(sys.path))


@cache
def _registered(path: tuple[str, ...]) -> tuple[Metric, ...]:
    """`path` is where packages are looked for; a longer one is looked through again."""
    found: list[Metric] = [import_module(f"InterpScore.{module}").METRIC for module in BUILT_IN]
    found += [metric for module in SUPPLEMENTARY for metric in import_module(f"InterpScore.{module}").METRICS]
    taken = dict.fromkeys(RESERVED, "the results") | {column: m.name for m in found for column in (m.name, *m.columns)}
    for name, source, metric in registered(ENTRY_POINT_GROUP, "metric"):
        if not isinstance(metric, Metric) or metric.name != name or not name.isidentifier():
            raise InputError(f"{source}: found {metric!r:.60}; expected a Metric whose name is that of its entry point")
        for column in dict.fromkeys((metric.name, *metric.columns)):
            if column in taken:
                raise InputError(f"{source}: its column '{column}' is one of {taken[column]}; expected another name")
            taken[column] = metric.name
        found.append(metric)
    return tuple(found)
