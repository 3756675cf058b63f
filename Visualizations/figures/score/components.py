"""Distributions of the components and of the score over neurons: every neuron a point, a density where there are many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from InterpScore.helpers import Floats
from Visualizations.figures.panels import counted
from Visualizations.figures.score.drawing import density_of, page, spread_sideways
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import several
from Visualizations.run import Run
from Visualizations.styles import COMPONENT_MARKS, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DENSE = 150
"""Neurons from which on a density stands behind the points."""


def draw(run: Run, style: Style) -> Drawing:
    """A lane for each component and the score: points, median and quartiles, and the mean with its interval."""
    names = [name for name in (*run.component_names, "InterpScore") if run.table[name].notna().any()]
    figure = page(style, 0.6 + 0.5 * len(names))
    axes = figure.subplots()
    points = []
    for lane, name in enumerate(names):
        there = run.table[run.table[name].notna()]
        value = there[name].to_numpy(dtype=float)
        _lane(axes, lane, name, value, style)
        mean, low, high = run.mean_of(name)
        axes.hlines(lane + 0.38, low, high, color=style.ink, linewidth=0.8)
        axes.plot(mean, lane + 0.38, "d", color=style.ink, markersize=4)
        points.append(pd.DataFrame({"component": name, "name": there["name"], "value": value, "lane_mean": mean,
                                    "lane_mean_low": low, "lane_mean_high": high}))  # fmt: skip
    counts = [int(run.table[name].notna().sum()) for name in names]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("Value of a neuron")
    axes.grid(axis="x")
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(range(len(names)), [f"n = {count:,}" for count in counts])
    beside.tick_params(length=0)
    beside.spines["right"].set_visible(False)
    absent = [name for name in run.component_names if name not in names]
    notes = [f"{name} is missing for all neurons" for name in absent]
    notes += [f"{name} is missing for {counted(len(run.table) - count, 'neuron')}"
              for name, count in zip(names, counts) if count < len(run.table)]  # fmt: skip
    caption = (
        f"Components and InterpScore of {counted(len(run.table), 'neuron')}; each point is one. Bar: quartiles and median over "
        f"neurons; diamond: their mean{_about_mean(run)}."
    )
    return Drawing(figure, pd.concat(points, ignore_index=True), caption, (*notes, *run.people))


def _about_mean(run: Run) -> str:
    if not run.has_draws:
        return ", without an interval, as there are no draws"
    return f" with the {run.options.confidence:.0%} interval that the draws of images and participants give it, neurons fixed"


def _lane(axes: Axes, lane: int, name: str, value: Floats, style: Style) -> None:
    color = style.color(name)
    middle = lane - 0.12
    if len(value) >= DENSE:
        grid, height = density_of(value)
        height = height / height.max() * 0.27
        axes.fill_between(grid, middle - height, middle + height, color=color, alpha=0.25, linewidth=0)
    size, alpha = (9.0, 0.75) if len(value) < DENSE else (1.5, 0.5)
    axes.scatter(value, middle + spread_sideways(value, 0.25), s=size, marker=COMPONENT_MARKS.get(name, "o"), color=color,
                 alpha=alpha, linewidths=0, rasterized=len(value) >= DENSE)  # fmt: skip
    low, median, high = np.quantile(value, [0.25, 0.5, 0.75])
    axes.hlines(lane + 0.24, low, high, color=color, linewidth=2.0)
    axes.vlines(median, lane + 0.18, lane + 0.30, color=style.ink, linewidth=1.2, zorder=3)


FIGURE = FigureKind("components", "Distributions of the components and of the score over neurons", draw, (several(2),))
