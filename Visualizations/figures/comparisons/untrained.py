"""Scores against an untrained network of the same architecture: the neuron, the mean of its units, and the best chosen one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from Visualizations.figures.panels import not_shown
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import Need
from Visualizations.run import Run
from Visualizations.styles import COMPONENT_MARKS, Style, label

MOST = 40
_SMALL = 0.4
"""Where all values of a score are below, its scale ends with them."""
ENDS = ("evaluation", "untrained", "untrained_sd", "untrained_best", "untrained_higher")


def draw(run: Run, style: Style) -> Drawing:
    """A row a neuron, a panel for InterpScore and each component."""
    shown = run.table.head(MOST)
    scores = _scores(run)
    pitch = 1.55 * style.text / 72
    figure = Figure(figsize=(style.page, 0.95 + pitch * len(shown)))
    axes = figure.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    values = pd.concat([_of_score(shown, score) for score in scores], ignore_index=True)
    for axis, score in zip(axes, scores):
        _panel(axis, style, values[values["score"] == score], score)
    axes[0].set_yticks(range(len(shown)), [label(name, 26) for name in shown["name"]])
    axes[0].set_ylim(len(shown) - 0.4, -0.6)
    marks: list[Any] = [
        Line2D([], [], marker="o", color=style.ink, linestyle="", label="this network"),
        Line2D([], [], marker="|", color=style.faint, label="untrained units (mean ± SD)"),
        Line2D([], [], marker="D", color=style.ink, markerfacecolor="none", linestyle="", label="best untrained unit"),
    ]
    figure.legend(handles=marks, loc="outside upper left", ncols=3, columnspacing=1.2)
    about = run.signature.get("baseline", {})
    networks = len(about.get("networks", ()))
    caption = (
        f"Scores of {len(shown)} neurons on {_counted(about)}, against {networks} untrained networks of the same architecture: "
        "all their units for the same concept (mean ± standard deviation), and the unit of each that was chosen for the "
        "concept on other images, as the neuron was."
    )  # fmt: skip
    notes = [*not_shown(len(run.table), len(shown)), *map(str, about.get("notes", ()))]
    return Drawing(figure, values, caption, (*notes, *run.people))


def _counted(about: dict[str, Any]) -> str:
    count = about.get("compared_on")
    return (
        f"the {count:,} images that nothing was chosen on"
        if isinstance(count, int)
        else "images that nothing was chosen on"
    )


def _scores(run: Run) -> list[str]:
    names = ("InterpScore", *run.component_names)
    return [name for name in names if f"{name}_untrained" in run.table and run.table[f"{name}_untrained"].notna().any()]


def _of_score(shown: pd.DataFrame, score: str) -> pd.DataFrame:
    columns = {end: shown.get(f"{score}_{end}", np.nan) for end in ENDS}
    return pd.DataFrame({"name": shown["name"], "score": score, **columns}).astype(dict.fromkeys(ENDS, float))


def _panel(axis: Axes, style: Style, values: pd.DataFrame, score: str) -> None:
    y = np.arange(len(values))
    mean, sd = values["untrained"].to_numpy(), values["untrained_sd"].to_numpy()
    axis.hlines(y, np.maximum(mean - sd, 0), np.minimum(mean + sd, 1), color=style.faint, linewidth=3, alpha=0.6)
    axis.plot(mean, y, "|", color=style.faint, markersize=6, markeredgewidth=1.2)
    axis.plot(values["untrained_best"].to_numpy(), y, "D", color=style.ink, markerfacecolor="none", markersize=3, markeredgewidth=0.8, clip_on=False)  # fmt: skip
    axis.plot(
        values["evaluation"].to_numpy(),
        y,
        COMPONENT_MARKS.get(score, "o"),
        color=style.color(score),
        markersize=4,
        clip_on=False,
    )
    axis.set_xlabel(score)
    axis.grid(axis="x")
    largest = float(np.nanmax(values[["evaluation", "untrained", "untrained_best"]].to_numpy(), initial=0))
    axis.set_xlim(0, 1.02 if largest > _SMALL else 1.08 * largest)
    axis.locator_params(axis="x", nbins=3)
    axis.tick_params(axis="y", length=0)


def _no_baseline(run: Run) -> str:
    return (
        ""
        if _scores(run)
        else "no untrained baseline in the results; score again with --baseline (interpscore baseline)"
    )


FIGURE = FigureKind(
    "untrained", "Scores against untrained networks", draw, (Need("an untrained baseline", _no_baseline),)
)
