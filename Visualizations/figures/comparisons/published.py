"""A published board beside this run: each score as published and as recomputed, and which conventions differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from Activation_Extraction.base.errors import listed_up_to
from InterpScore.options import ScoringOptions, scoring_options
from Visualizations.beside import SCORES
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import PUBLISHED, Need
from Visualizations.run import Run
from Visualizations.styles import COMPONENT_MARKS, Style, label

MOST = 40


def draw(run: Run, style: Style) -> Drawing:
    """A row a neuron that both have, a panel a score; lines lead from the published to the recomputed value."""
    both = _both(run).head(MOST)
    scores = [score for score in SCORES if score in run.published and score in run.table]
    pitch = 1.7 * style.text / 72
    figure = Figure(figsize=(style.page, 0.95 + pitch * len(both)))
    axes = figure.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    values = pd.concat([_of_score(both, score) for score in scores], ignore_index=True)
    for axis, score in zip(axes, scores):
        _panel(axis, style, values[values["score"] == score], score)
    axes[0].set_yticks(range(len(both)), [label(name, 26) for name in both["name"]])
    axes[0].set_ylim(len(both) - 0.4, -0.6)
    marks: list[Any] = [
        Line2D(
            [],
            [],
            marker="o",
            color=style.ink,
            markerfacecolor="none",
            markersize=5.5,
            linestyle="",
            label="as published",
        ),
        Line2D([], [], marker="o", color=style.ink, label="this run, with its interval"),
    ]
    figure.legend(handles=marks, loc="outside upper left", ncols=2)
    caption = (
        f"Scores as published and as recomputed in this run, of the {len(both)} neurons that both have. {run.intervals}. "
        f"{_differs(run.options)}"
    )
    return Drawing(figure, values, caption, (*_notes(run, both, values), *run.people))


def _both(run: Run) -> pd.DataFrame:
    """Rows of the run whose neuron was published, with the published scores in columns `<score>_published`."""
    theirs = run.published.rename(columns={score: f"{score}_published" for score in SCORES})
    kept = ["neuron", *(f"{score}_published" for score in SCORES if f"{score}_published" in theirs)]
    return run.table.merge(theirs[kept], left_on="Neuron", right_on="neuron")


def _of_score(both: pd.DataFrame, score: str) -> pd.DataFrame:
    columns = {"published": f"{score}_published", "recomputed": score, "low": f"{score}_low", "high": f"{score}_high"}
    found = {name: both[column].astype(float) if column in both else np.nan for name, column in columns.items()}
    return pd.DataFrame({"name": both["name"], "score": score, **found})


def _panel(axis: Axes, style: Style, values: pd.DataFrame, score: str) -> None:
    y, color = np.arange(len(values)), style.color(score)
    published, recomputed = values["published"].to_numpy(), values["recomputed"].to_numpy()
    axis.hlines(y, values["low"], values["high"], color=color, linewidth=2.6, alpha=0.35)
    axis.hlines(y, published, recomputed, color=style.faint, linewidth=0.7)
    axis.plot(recomputed, y, COMPONENT_MARKS[score], color=color, markersize=3.5, clip_on=False)
    axis.plot(
        published, y, "o", color=style.ink, markerfacecolor="none", markersize=5.5, markeredgewidth=0.8, clip_on=False
    )
    if not np.isfinite(recomputed).any():
        axis.text(0.5, 0.5, "not in\nthis run", transform=axis.transAxes, ha="center", va="center", color=style.faint)
    axis.set_xlabel(score)
    axis.set_xlim(-0.04, 1.04)
    axis.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    axis.grid(axis="x")
    axis.tick_params(axis="y", length=0)


def _differs(options: ScoringOptions) -> str:
    """Which conventions of the run are not the published ones."""
    theirs = scoring_options("published")
    told = {
        "weights": f"weights {_listed(options.weights)} (published {_listed(theirs.weights)})",
        "unit_of_analysis": f"S and clean activation over {options.unit_of_analysis}s (published: over {theirs.unit_of_analysis}s)",
        "synthetic_counts_in_H": "H without DeepDream images (published: with them)",
        "recognised_at": f"R over images recognised by at least {options.recognised_at:g} (published: {theirs.recognised_at:g})",
        "pool_levels_by_kind": "R by level (published: by kind of level)",
        "recognizable_levels": f"R over levels {_listed(options.recognizable_levels)} (published: {_listed(theirs.recognizable_levels)})",
    }
    found = [text for name, text in told.items() if getattr(options, name) != getattr(theirs, name)]
    if not found:
        return "Both by the published formulas: what differs is the data, or how R and H were computed for publication."
    return f"This run differs in convention: {'; '.join(found)}."


def _listed(values: Any) -> str:
    return " ".join(f"{value:g}" for value in values)


def _notes(run: Run, both: pd.DataFrame, values: pd.DataFrame) -> list[str]:
    absent = [str(neuron) for neuron in run.published["neuron"] if neuron not in set(run.table["Neuron"])]
    notes = [f"published and not in this run: {', '.join(listed_up_to(absent, 6))}"] if absent else []
    missing = [s for s, rows in values.groupby("score", sort=False) if rows["recomputed"].isna().all()]
    notes += [f"{', '.join(missing)}: not computed in this run, so InterpScore rests on the others"] if missing else []
    if "S_published" in both and (both["S_published"] > 0.98).all():
        notes.append("S as published is at its ceiling for every neuron, so it ranks nothing")
    outside = values[(values["published"] < values["low"]) | (values["published"] > values["high"])]
    counts = outside.groupby("score", sort=False).size()
    notes += [
        f"{score}: {n} of {len(both)} published values lie outside this run's interval" for score, n in counts.items()
    ]
    return notes


def _none_shared(run: Run) -> str:
    return "" if len(_both(run)) else f"no neuron of this run is in {run.sources.published}"


FIGURE = FigureKind(
    "published",
    "Published scores beside recomputed ones",
    draw,
    (PUBLISHED, Need("neurons in both", _none_shared, (PUBLISHED,))),
)
