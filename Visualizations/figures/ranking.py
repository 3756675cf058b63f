"""The ranking: InterpScore of each neuron with its interval, S alone beside it, and how differently the two rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from InterpScore.helpers import competition_ranks
from InterpScore.scoring.ranks import rank_interval
from Visualizations.figures.score.agreement import kendall_interval
from Visualizations.figures.score.drawing import MOST, left_out, limits, name_rows, page, rank_axis
from Visualizations.figures.score.ranked import Ranked, ranked
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import columns
from Visualizations.run import Run
from Visualizations.styles import COMPONENT_MARKS, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE = 100
"""Ranks beyond which their axis is logarithmic."""


def draw(run: Run, style: Style) -> Drawing:
    """A row a neuron, best on top: score, S, and the ranks that each gives."""
    neurons = Ranked.of(run)
    values, agreement = _values(neurons)
    shown = values.head(MOST)
    figure = page(style, 0.75, len(shown))
    score, selectivity, ranks = figure.subplots(1, 3, sharey=True, width_ratios=(3, 2, 2))
    _forest(score, shown, "InterpScore", style)
    _forest(selectivity, shown, "S", style)
    selectivity.set_xlabel("S alone")
    _ranks(ranks, shown, len(values), style)
    name_rows(score, shown["name"].tolist())
    for axes in (selectivity, ranks):
        axes.tick_params(axis="y", length=0)
    caption = (
        f"InterpScore (left) and selectivity S alone (middle) of {len(shown)} neurons, best first, and their ranks by each "
        f"(right; line: rank interval by S). {run.intervals}. {agreement}"
    )
    return Drawing(figure, shown, caption, (*left_out(run, len(shown)), *run.people))


def _values(neurons: Ranked) -> tuple[pd.DataFrame, str]:
    """The marks of all ranked neurons, and what to say of the agreement of both rankings."""
    ends = [name for column in ("InterpScore", "S") for name in (column, f"{column}_low", f"{column}_high")]
    rows = neurons.rows.reindex(columns=["name", "Rank", *ends])
    s_N, run = rows["S"].to_numpy(dtype=float), neurons.run
    rows["Rank_S"] = competition_ranks(s_N[:, None])[:, 0]
    rows["Rank_S_low"] = rows["Rank_S_high"] = np.nan
    if not run.has_draws:
        return rows, ""
    s_NB = neurons.draws("S")
    low, high = rank_interval(s_N, s_NB, run.options.confidence)
    known = np.isfinite(rows["S_low"].to_numpy(dtype=float))
    rows["Rank_S_low"] = np.where(known, np.fmin(low, rows["Rank_S"]), np.nan)
    rows["Rank_S_high"] = np.where(known, np.fmax(high, rows["Rank_S"]), np.nan)
    there = np.isfinite(s_N)
    if there.sum() < 3:
        return rows, ""
    tau, *ends_of_tau = kendall_interval(
        (neurons.score_N[there], s_N[there]), (neurons.draws("InterpScore")[there], s_NB[there]), run.options.confidence
    )
    return rows, f"Kendall's τ of both rankings is {tau:.2f} [{ends_of_tau[0]:.2f}, {ends_of_tau[1]:.2f}]."


def _forest(axes: Axes, rows: pd.DataFrame, name: str, style: Style) -> None:
    value, low, high = (rows[column].to_numpy(dtype=float) for column in (name, f"{name}_low", f"{name}_high"))
    y = np.arange(len(rows))
    axes.hlines(y, low, high, color=style.color(name), linewidth=1.2, alpha=0.75)
    axes.plot(value, y, COMPONENT_MARKS[name], color=style.color(name))
    axes.set_xlabel(name)
    axes.set_xlim(*limits(np.concatenate([value, low, high])))
    axes.grid(axis="x")


def _ranks(axes: Axes, rows: pd.DataFrame, n: int, style: Style) -> None:
    y, color = np.arange(len(rows)), style.color("S")
    axes.hlines(y, rows["Rank_S_low"], rows["Rank_S_high"], color=color, linewidth=1.2, alpha=0.45)
    axes.hlines(y, rows["Rank"], rows["Rank_S"], color=style.ink, linewidth=0.6, linestyle=(0, (1, 1.2)))
    axes.plot(rows["Rank_S"], y, "s", color=color, markerfacecolor=style.paper, label="by S")
    axes.plot(rows["Rank"], y, COMPONENT_MARKS["InterpScore"], color=style.ink, label="by score", markersize=3)
    rank_axis(axes, n, n > _WIDE, 8)
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, handletextpad=0.1, columnspacing=0.8, borderpad=0
    )
    axes.grid(axis="x")


FIGURE = FigureKind(
    "ranking",
    "Ranking: the score against S alone",
    draw,
    (ranked(2), columns("S", "InterpScore", what="score the neurons with clean images of their concepts")),
)
