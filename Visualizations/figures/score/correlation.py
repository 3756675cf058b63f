"""How the components go together over neurons: scatter, distribution, and Spearman's ρ with its interval from the draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from Visualizations.figures.panels import counted
from Visualizations.figures.score.agreement import spearman_interval
from Visualizations.figures.score.drawing import diverging, limits, on, signed
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import DRAWS, Need, several
from Visualizations.run import Run
from Visualizations.styles import COMPONENT_MARKS, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST = 4
"""Neurons with both components, for a correlation."""
_MANY = 500


def _present(run: Run) -> list[str]:
    return [name for name in run.component_names if run.table[name].notna().sum() >= FEWEST]


def draw(run: Run, style: Style) -> Drawing:
    """A square: scatter below the diagonal, distributions on it, correlations above."""
    names = _present(run)
    figure = Figure(figsize=(style.page, style.page * (0.22 * len(names) + 0.06)))
    grid = figure.subplots(len(names), len(names), squeeze=False)
    found = []
    for row, y in enumerate(names):
        for column, x in enumerate(names):
            axes = grid[row, column]
            if row == column:
                _distribution(axes, run, x, style)
            elif row > column:
                _scatter(axes, run, x, y, style)
            else:
                found.append(_correlation(axes, run, x, y, style))
            axes.tick_params(labelbottom=row == len(names) - 1, labelleft=column == 0 and row > 0)
            if row == len(names) - 1:
                axes.set_xlabel(x)
            if column == 0:
                axes.set_ylabel(y)
    caption = (
        f"Components of {counted(len(run.table), 'neuron')}: each point is a neuron. Above the diagonal: Spearman's ρ over "
        f"neurons, with {run.options.confidence:.0%} intervals from {run.draws.values_NCB.shape[2]:,} resamples of images and participants, neurons fixed."
    )
    notes = [f"{name} is missing for {'all neurons' if run.table[name].isna().all() else 'too many neurons'}"
             for name in run.component_names if name not in names]  # fmt: skip
    notes.append("measurement error of the components pulls ρ toward 0")
    return Drawing(figure, pd.DataFrame(found), caption, (*notes, *run.people))


def _ends(run: Run, name: str) -> tuple[float, float]:
    return limits(run.table[name].to_numpy(dtype=float), 0.05)


def _scatter(axes: Axes, run: Run, x: str, y: str, style: Style) -> None:
    many = len(run.table) > _MANY
    axes.scatter(run.table[x].astype(float), run.table[y].astype(float), s=2 if many else 8, color=style.ink,
                 alpha=0.3 if many else 0.75, linewidths=0, rasterized=many)  # fmt: skip
    axes.set_xlim(*_ends(run, x))
    axes.set_ylim(*_ends(run, y))
    axes.locator_params(nbins=3)
    axes.grid()


def _distribution(axes: Axes, run: Run, name: str, style: Style) -> None:
    counts, _, _ = axes.hist(run.table[name].dropna().astype(float), bins=20, color=style.color(name), alpha=0.85)
    axes.set_xlim(*_ends(run, name))
    axes.set_ylim(0, 1.35 * np.max(counts))
    axes.locator_params(axis="x", nbins=3)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.plot(
        0.1, 0.88, COMPONENT_MARKS.get(name, "o"), color=style.color(name), transform=axes.transAxes, clip_on=False
    )
    axes.text(0.2, 0.88, name, transform=axes.transAxes, va="center", weight="bold")


def _correlation(axes: Axes, run: Run, x: str, y: str, style: Style) -> dict[str, object]:
    points = run.table[x].to_numpy(dtype=float), run.table[y].to_numpy(dtype=float)
    there = np.isfinite(points[0]) & np.isfinite(points[1])
    draws = run.draws.around(x)[there], run.draws.around(y)[there]
    n = int(there.sum())
    rho = low = high = float("nan")
    if n >= FEWEST:
        rho, low, high = spearman_interval((points[0][there], points[1][there]), draws, run.options.confidence)
    shade = diverging(style)(0.5 + 0.4 * (0.0 if np.isnan(rho) else rho))
    axes.set_facecolor(shade)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    said = signed(rho) if np.isfinite(rho) else "–"
    axes.text(0.5, 0.58, said, ha="center", va="center", color=on(shade), fontsize=style.text + 1, weight="bold")
    interval = f"[{signed(low)}, {signed(high)}]" if np.isfinite(low) else "no interval"
    axes.text(0.5, 0.32, interval, ha="center", va="center", color=on(shade), fontsize=style.text - 1)
    return {"x": x, "y": y, "neurons": n, "rho": rho, "low": low, "high": high}


FIGURE = FigureKind(
    "correlation",
    "Correlation of the components over neurons",
    draw,
    (
        several(FEWEST),
        Need(
            "2 components",
            lambda run: "" if len(_present(run)) > 1 else f"fewer than 2 components of {FEWEST} or more neurons",
        ),
        DRAWS,
    ),
)
