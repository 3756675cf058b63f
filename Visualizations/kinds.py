"""A figure is one thing: a name, what it needs, and a function of the run to a Matplotlib figure; and the registry of all.

Ours are modules of `Visualizations.figures`; packages add theirs by an entry point of the group `interpscore.figures`
whose object is a `FigureKind` (docs/figures.md).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from Activation_Extraction.base.errors import InputError, did_you_mean
from Activation_Extraction.base.extensions import registered

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from Visualizations.needs import Need
    from Visualizations.run import Run
    from Visualizations.styles import Style

ENTRY_POINT_GROUP = "interpscore.figures"
BUILT_IN = (
    "ranking",
    *(f"responses.{name}" for name in ("heatmap", "selectivity", "robustness", "alignment", "dose")),
    *(f"score.{name}" for name in ("components", "correlation", "rank_uncertainty", "leave_one_out", "weights")),
    *(f"score.{name}" for name in ("dimensions", "pairwise", "power")),
    *(f"comparisons.{name}" for name in ("untrained", "published", "layers", "labels", "label_tests", "sanity")),
)
"""Modules of `Visualizations.figures` that hold a `FIGURE`, in the order of the gallery."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Drawing:
    """A drawn figure.

    Attributes:
        figure: at its final size; its texts come through `styles.label` where they are from outside.
        values: what is plotted, one row a mark, written beside the figure as CSV.
        caption: what is shown, with n and what intervals are; two or three sentences, ready for a paper.
        notes: what the data impose: what is missing, left out, not significant, simulated.
    """

    figure: Figure
    values: pd.DataFrame
    caption: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FigureKind:
    """A kind of figure.

    Attributes:
        name: of its files: lower case, digits and underscores.
        title: what it shows, for listings and the gallery.
        draw: from a run that meets the needs, under the style's `rc` settings.
        needs: without one of them it is listed with the reason, and not drawn.
    """

    name: str
    title: str
    draw: Callable[[Run, Style], Drawing]
    needs: tuple[Need, ...] = ()

    def missing(self, run: Run) -> list[str]:
        """Why it cannot be drawn from a run; empty where it can."""
        missing: dict[Need, str] = {}
        for need in self.needs:
            if not set(need.after) & set(missing) and (why := need.missing(run)):
                missing[need] = why
        return list(missing.values())

    @property
    def is_ours(self) -> bool:
        """Whether it is one of this package: an error in another's code is that package's."""
        return getattr(self.draw, "__module__", "").partition(".")[0] == __name__.partition(".")[0]


def figure_kinds() -> tuple[FigureKind, ...]:
    """Every kind: ours in the order of the gallery, then those of packages by name.

    Raises:
        InputError: a package's figure that cannot be loaded, is none, or takes the name of another.
    """
    return _all(tuple(sys.path))


@cache
def _all(path: tuple[str, ...]) -> tuple[FigureKind, ...]:
    """`path` is where packages are looked for; a longer one is looked through again."""
    found: list[FigureKind] = [import_module(f"Visualizations.figures.{module}").FIGURE for module in BUILT_IN]
    for _, source, kind in registered(ENTRY_POINT_GROUP, "figure"):
        if not isinstance(kind, FigureKind):
            raise InputError(f"{source}: found {type(kind).__name__}; expected a FigureKind")
        if not _NAME.fullmatch(kind.name):
            raise InputError(f"{source}: name {kind.name!r}; expected lower-case letters, digits and underscores")
        if any(kind.name == other.name for other in found):
            raise InputError(f"{source}: the name {kind.name} is taken; expected another")
        found.append(kind)
    return tuple(found)


def chosen_kinds(names: tuple[str, ...] | list[str]) -> tuple[FigureKind, ...]:
    """The kinds of some names; all where none are named.

    Raises:
        InputError: no such figure.
    """
    kinds = {kind.name: kind for kind in figure_kinds()}
    for name in names:
        if name not in kinds:
            raise InputError(
                f"figure {name!r}: unknown{did_you_mean(name, kinds)}; expected some of {', '.join(kinds)}"
            )
    return tuple(kinds[name] for name in dict.fromkeys(names)) if names else tuple(kinds.values())
