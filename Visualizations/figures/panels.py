"""Small multiples: a panel a neuron, as many in a row as the page has room for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from Visualizations.styles import KIND_MARKS, KINDS, Style, label

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from InterpScore.helpers import Floats

MOST = 12
"""Neurons with a panel: the best, of more."""
_NARROWEST = 1.25
"""Inches of a panel, at text of 7 points."""


def panels(style: Style, count: int, height: float, legend: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of the page's width with `count` panels of a height in inches, besides titles and ticks.

    Args:
        legend: leave room for a legend on top.
    """
    scale = style.text / 7
    across = max(1, min(count, int(style.page / (_NARROWEST * scale))))
    down = -(-count // across)
    figure = Figure(figsize=(style.page, scale * (down * (height + 0.48) + 0.3 + 0.25 * legend)))
    axes = list(figure.subplots(down, across, squeeze=False).ravel())
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def entitle(axis: Axes, style: Style, name: str, about: str) -> None:
    """A panel's title: the neuron, and a line of numbers below it."""
    figure = axis.get_figure(root=True)
    assert figure is not None
    across = axis.get_subplotspec().get_gridspec().ncols  # type: ignore[union-attr]
    letters = int(figure.get_size_inches()[0] / across * 72 / (0.72 * style.text)) - 1
    axis.set_title(label(name, letters), pad=style.text + 3)
    axis.annotate(about, (0, 1), (0, 2.5), "axes fraction", "offset points", fontsize=style.text - 1, va="bottom")


def name_axes(figure: Figure, x: str, y: str = "") -> None:
    """Names that all panels share."""
    figure.supxlabel(x, fontsize="medium")
    if y:
        figure.supylabel(y, fontsize="medium")


def spread(values: Floats, width: float = 0.3) -> Floats:
    """Offsets for points on a line, so that equal ones lie side by side: alternately above and below in order of value."""
    order = np.argsort(values, kind="stable")
    steps = (np.arange(len(values)) * 0.618034) % 1 * 2 - 1  # the golden ratio: neighbours lie far apart
    offsets = np.empty(len(values))
    offsets[order] = steps * width
    return offsets


def kind_legend(figure: Figure, style: Style, kinds: Sequence[str], more: Sequence[Artist] = ()) -> None:
    """What marks of levels mean, on top."""
    from matplotlib.lines import Line2D

    marks: list[Any] = [
        Line2D([], [], linestyle="", marker=KIND_MARKS[kind], color=KINDS[kind], label=kind) for kind in kinds
    ]
    handles = [*marks, *more]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), handletextpad=0.3, columnspacing=1.2)


def not_shown(total: int, shown: int, what: str = "neurons") -> list[str]:
    """A note where a figure shows the best alone."""
    hidden = total - shown
    return [f"{hidden:,} more {what} are not shown"] if hidden else []
