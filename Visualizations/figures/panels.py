"""Small multiples: a panel a neuron, as many in a row as the page has room for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from Visualizations.fonts import families
from Visualizations.styles import KIND_MARKS, LONGEST, Style, label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from InterpScore.helpers import Floats

MOST = 16
"""Neurons with a panel each; of more, the `FIRST` best."""
FIRST = 11
_NARROWEST = 1.25
"""Inches of a panel, at text of 7 points."""
_BESIDE, _APART = 0.45, 0.15
"""Inches at the left of all panels, and between two."""


def best(rows: pd.DataFrame) -> pd.DataFrame:
    """The neurons that get a panel."""
    return rows if len(rows) <= MOST else rows.head(FIRST)


def panels(style: Style, count: int, height: float, legend: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of the page's width with `count` panels of a height in inches, besides titles and ticks.

    Args:
        legend: leave room for a legend on top.
    """
    scale = style.text / 7
    across = max(1, min(count, int(style.page / (_NARROWEST * scale))))
    down = -(-count // across)
    figure = Figure(figsize=(style.page, scale * (down * (height + 0.5) + 0.3 + 0.25 * legend)))
    axes = list(figure.subplots(down, across, squeeze=False).ravel())
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def entitle(axis: Axes, style: Style, name: str, about: str) -> None:
    """A panel's title: the neuron, and a line of numbers below it."""
    figure, place = axis.get_figure(root=True), axis.get_subplotspec()
    assert figure is not None
    assert place is not None
    room = (figure.get_size_inches()[0] - _BESIDE) / place.get_gridspec().ncols - _APART
    axis.set_title(_fitting(name, style, room), pad=style.text + 4.5)
    about = about.replace("-", "\N{MINUS SIGN}")
    axis.annotate(about, (0, 1), (0, 2.5), "axes fraction", "offset points", fontsize=style.text - 1, va="bottom")


def _fitting(name: str, style: Style, room: float) -> str:
    """A name, shortened to the room in inches that a bold title has."""
    bold = FontProperties(family=list(families()), weight="bold", size=style.text)
    for longest in range(LONGEST, 4, -1):
        shown = label(name, longest)
        if TextToPath().get_text_width_height_descent(shown, bold, ismath=False)[0] <= 72 * room:
            break
    return shown


def left_alone(axes: Sequence[Axes]) -> None:
    """Names of ticks at the left of each row of panels alone, where all have the same scale."""
    for axis in axes:
        place = axis.get_subplotspec()
        axis.tick_params(labelleft=place is not None and place.is_first_col())


def density(axis: Axes, style: Style, values: pd.Series[Any], name: str) -> None:
    """A panel with the values of all neurons, beside those of the best."""
    found = values.astype(float).dropna()
    axis.hist(found, bins=30, color=style.faint)
    axis.locator_params(axis="x", nbins=3)
    axis.locator_params(axis="y", nbins=3, integer=True)
    axis.tick_params(axis="y", labelleft=True)
    axis.set_xlabel(name)
    axis.set_ylabel("neurons")
    entitle(axis, style, f"all {len(found):,} neurons", "")


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
        Line2D([], [], linestyle="", marker=KIND_MARKS[kind], color=style.kind_color(kind), label=kind)
        for kind in kinds
    ]
    handles = [*marks, *more]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), handletextpad=0.3, columnspacing=1.2)


def not_shown(total: int, shown: int, what: str = "neurons") -> list[str]:
    """A note where a figure shows the best alone."""
    hidden = total - shown
    return [f"the best {shown:,} of {total:,} {what} are shown"] if hidden else []


def counted(n: int, noun: str) -> str:
    """A number and what it counts.

    >>> counted(1, "neuron"), counted(2000, "image")
    ('1 neuron', '2,000 images')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def between(values: Iterable[float]) -> str:
    """The range of whole numbers.

    >>> between([8, 8]), between([5, 16, 7])
    ('8', '5 to 16')
    """
    low, high = min(found := list(values), default=0), max(found, default=0)
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def levels_named(levels: Iterable[int]) -> str:
    """Levels in a sentence.

    >>> levels_named([3]), levels_named([1, 2])
    ('level 3', 'levels 1, 2')
    """
    names = list(map(str, levels))
    return f"level{'s' * (len(names) != 1)} {', '.join(names) or 'none'}"
