"""What figures of the score share: rows of neurons, shades of values, text on them, and what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from InterpScore.helpers import Floats
from Visualizations.figures.panels import counted
from Visualizations.run import Run
from Visualizations.styles import Style, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

MOST = 40
"""Neurons that have a row: the best, of more."""
_ROW = 0.155
"""Inches of a row, at text of 7 points."""


def page(style: Style, height: float, rows: int = 0, least: float = 0.0) -> Figure:
    """A figure as wide as the page, of a height in inches and rows of neurons, all for text of 7 points."""
    from matplotlib.figure import Figure

    return Figure(figsize=(style.page, style.text / 7 * max(height + _ROW * rows, least)))


def name_rows(axes: Axes, names: Sequence[str], longest: int = 34) -> None:
    """A row a neuron, the first on top."""
    axes.set_yticks(np.arange(len(names)), [label(name, longest) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def left_out(run: Run, shown: int, of: int | None = None) -> list[str]:
    """Notes on the neurons that a figure does not show: further ones, and those without a rank."""
    ranked = int(run.table["Rank"].notna().sum()) if of is None else of
    hidden, unranked = ranked - shown, len(run.table) - ranked
    notes = [f"{counted(hidden, 'more ranked neuron')} not shown"] if hidden else []
    return notes + ([f"{counted(unranked, 'neuron')} without a rank not shown"] if unranked else [])


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, as text is set: `+0.25`, `−0.10`.

    >>> signed(-0.1), signed(0.001)
    ('−0.10', '0.00')
    """
    rounded = round(value, digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"


def rank_axis(axes: Axes, n: int, grouped: bool, room: int = 20) -> None:
    """Ranks from 1 to n across, on a logarithmic axis where many are grouped; at most `room` of them are named."""
    axes.set_xlabel(f"Rank of {n:,}")
    if grouped:
        axes.set_xscale("log")
        axes.minorticks_off()
        ticks = [10**power for power in range(len(str(n)))]
    else:
        step = next(step for step in (1, 5, 10, 20, 50, n) if n / step <= room or step == n)
        ticks = sorted({1, *range(step, n + 1, step)})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xlim(0.5, n + (n / 5 if grouped else 0.5))


def limits(values: Floats, step: float = 0.1) -> tuple[float, float]:
    """Ends of an axis that holds values between 0 and 1, at multiples of a step, with room for a mark."""
    finite = values[np.isfinite(values)]
    low, high = np.floor(finite.min() / step) * step, np.ceil(finite.max() / step) * step
    room = 0.03 * max(high - low, step)
    return float(low - room), float(max(high, low + step) + room)


def sequential(style: Style) -> Colormap:
    """From the paper to blue: lightness runs one way, so that grey shows the same order."""
    from matplotlib.colors import LinearSegmentedColormap

    ends = ("#9ccbe8", "#0072B2", "#00304d") if style.theme == "light" else ("#134a6b", "#2780b8", "#62b4e4")
    return LinearSegmentedColormap.from_list("sequential", (style.paper, *ends))


def diverging(style: Style) -> Colormap:
    """From orange over the paper to blue; in grey both ends are alike, so cells carry their number as well."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("diverging", ("#D55E00", style.paper, "#0072B2"))


def on(color: tuple[float, ...]) -> str:
    """Black or white, whichever has more contrast on a color."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    return "#000000" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.18 else "#ffffff"


def spread_sideways(values: Floats, width: float = 0.36) -> Floats:
    """Offsets that spread points with near values, `(N,)`: within a multiple of their density, the same for the same values."""
    if len(values) < 2 or np.ptp(values) < 1e-12:
        return np.linspace(-width, width, len(values)) if len(values) > 1 else np.zeros(len(values))
    grid, density = density_of(values)
    height = np.interp(values, grid, density / density.max())
    order = np.argsort(values, kind="stable")
    sequence = np.empty(len(values))
    sequence[order] = (np.arange(1, len(values) + 1) * 0.6180339887498949) % 1  # low discrepancy
    crowd = min(1.0, len(values) / 30)
    return np.asarray((2 * sequence - 1) * height * width * max(crowd, 0.5))


def density_of(values: Floats) -> tuple[Floats, Floats]:
    """A density of values: a histogram smoothed by a Gaussian of Silverman's width. Grid and heights."""
    spread = min(values.std(), (np.quantile(values, 0.75) - np.quantile(values, 0.25)) / 1.34 or values.std())
    width = max(0.9 * spread * len(values) ** -0.2, 1e-3 * max(np.ptp(values), 1e-9))
    grid = np.linspace(values.min(), values.max(), 200)
    counts, edges = np.histogram(values, bins=400)
    centers = (edges[1:] + edges[:-1]) / 2
    return grid, np.exp(-0.5 * ((grid[:, None] - centers) / width) ** 2) @ counts
