"""How sure the ranks are: the probability of each rank for each neuron over the draws, and the rank's interval."""

from __future__ import annotations

import numpy as np
import pandas as pd

from InterpScore.helpers import Floats, competition_ranks
from Visualizations.figures.panels import counted
from Visualizations.figures.score.drawing import MOST, left_out, name_rows, page, rank_axis, sequential
from Visualizations.figures.score.ranked import Ranked, ranked
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import DRAWS
from Visualizations.run import Run
from Visualizations.styles import Style


def draw(run: Run, style: Style) -> Drawing:
    """A row a neuron, a column a rank or a group of ranks; darker is more probable."""
    neurons = Ranked.of(run)
    n, shown = len(neurons.rows), min(MOST, len(neurons.rows))
    ranks_NB = ranks_in_draws(neurons)[:shown]
    edges = _edges(n)
    share_NG = shares(ranks_NB, edges)
    rows = neurons.rows.head(shown)
    figure = page(style, 0.85, shown)
    axes = figure.subplots()
    grouped = len(edges) - 1 < n
    most = float(np.nanmax(share_NG)) if np.isfinite(share_NG).any() else 1.0
    mesh = axes.pcolormesh(
        edges, np.arange(shown + 1) - 0.5, share_NG, cmap=sequential(style), vmin=0, vmax=most, rasterized=grouped
    )
    low, high, rank = (rows[name].to_numpy(dtype=float) for name in ("Rank_low", "Rank_high", "Rank"))
    y = np.arange(shown)
    axes.hlines(y, low, high, color=style.ink, linewidth=0.7)
    for ends in (low, high):
        axes.plot(ends, y, "|", color=style.ink, markersize=3.5)
    axes.plot(rank, y, "o", color=style.ink, markerfacecolor=style.paper, markersize=3.5)
    name_rows(axes, rows["name"].tolist())
    rank_axis(axes, n, grouped)
    axes.set_xlim(edges[0], edges[-1])
    bar = figure.colorbar(mesh, ax=axes, fraction=0.04, pad=0.02)
    bar.set_label("Probability of the ranks in a column" if grouped else "Probability")
    bar.outline.set_visible(False)
    values = _values(rows, share_NG, edges)
    unknown = int((~np.isfinite(neurons.draws("InterpScore")).any(1)).sum())
    caption = (
        f"Probability of each rank over {ranks_NB.shape[1]:,} resamples of images and participants, each neuron's scores shifted to "
        f"their estimate. Circle: its rank; line: {run.options.confidence:.0%} interval of the rank, from pairwise differences."
    )
    notes = [f"{counted(unknown, 'neuron')} without an interval: at the estimate in every resample"] if unknown else []
    return Drawing(figure, values, caption, (*left_out(run, shown), *notes, *run.people))


def ranks_in_draws(neurons: Ranked) -> Floats:
    """The rank of each neuron in the draws in which it has a score, `(N, B)`; elsewhere others meet it at its estimate."""
    draws_NB = neurons.draws("InterpScore")
    there_NB = np.isfinite(draws_NB)
    return np.where(there_NB, competition_ranks(np.where(there_NB, draws_NB, neurons.score_N[:, None])), np.nan)


def _values(rows: pd.DataFrame, share_NG: Floats, edges: Floats) -> pd.DataFrame:
    """A row a neuron and group of ranks that it may have; one without any for a neuron without draws."""
    at, group = np.nonzero(share_NG > 0)
    about = rows[["name", "Rank", "Rank_low", "Rank_high"]]
    found = pd.DataFrame({
        "at": at, "from": np.ceil(edges[group]).astype(int), "to": np.ceil(edges[group + 1]).astype(int) - 1,
        "probability": share_NG[at, group],
    })  # fmt: skip
    return about.merge(found, how="left", left_index=True, right_on="at").drop(columns="at").reset_index(drop=True)


def _edges(n: int) -> Floats:
    """Of the columns: a rank each up to 60, else groups whose size grows with the rank."""
    if n <= 60:
        return np.linspace(0.5, n + 0.5, n + 1)
    starts = np.unique(np.geomspace(1, n + 1, 48).round())
    return np.asarray(starts - 0.5)


def shares(ranks_NB: Floats, edges: Floats) -> Floats:
    """The share of its draws in which each neuron's rank lies between edges, `(N, edges - 1)`; NaN without draws."""
    counts = np.stack([np.histogram(ranks[np.isfinite(ranks)], edges)[0] for ranks in ranks_NB])
    drawn_N1 = np.isfinite(ranks_NB).sum(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.asarray(counts / drawn_N1)


FIGURE = FigureKind("rank_uncertainty", "Probability of each rank", draw, (ranked(2), DRAWS))
