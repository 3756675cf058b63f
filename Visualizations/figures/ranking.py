"""The ranking: InterpScore of each neuron with its interval, and S alone beside it, which ranks differently."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import several
from Visualizations.run import Run
from Visualizations.styles import COMPONENT_MARKS, Style, label

MOST = 40
"""Neurons shown: the best, of more."""


def draw(run: Run, style: Style) -> Drawing:
    """A row a neuron, best on top."""
    rows = run.scored.head(MOST)
    columns = [c for name in ("InterpScore", "S") for c in (name, f"{name}_low", f"{name}_high")]
    values = rows[["name", "Rank", *columns]].copy()
    figure = Figure(figsize=(style.page, 0.7 + 0.155 * len(rows)))
    axes = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    y = np.arange(len(rows))
    for axis, name in zip(axes, ("InterpScore", "S")):
        value, low, high = (rows[column].astype(float).to_numpy() for column in (name, f"{name}_low", f"{name}_high"))
        axis.hlines(y, low, high, color=style.color(name), linewidth=1.2, alpha=0.75)
        axis.plot(value, y, COMPONENT_MARKS[name], color=style.color(name))
        axis.set_xlabel(name if name != "S" else "S alone")
        axis.set_xlim(-0.02, 1.02)
        axis.grid(axis="x")
    axes[0].set_yticks(y, [label(name) for name in rows["name"]])
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    axes[1].tick_params(axis="y", length=0)
    hidden, unscored = len(run.scored) - len(rows), len(run.table) - len(run.scored)
    notes = [f"{hidden:,} more neurons are not shown"] if hidden else []
    notes += [f"{unscored:,} neurons have no score"] if unscored else []
    caption = f"InterpScore (left) and selectivity S alone (right) of {len(rows)} neurons, best first. {run.intervals}."
    return Drawing(figure, values, caption, (*notes, *run.people))


FIGURE = FigureKind("ranking", "Ranking: the whole score against S alone", draw, (several(2),))
