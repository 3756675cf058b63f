"""Robustness: activation on perturbed images relative to clean ones, by level; each perturbed image against its own clean one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from InterpScore.helpers import Floats
from InterpScore.options import CHOSEN_BY_ACTIVATION
from Visualizations.figures.panels import (
    best,
    counted,
    entitle,
    kind_legend,
    left_alone,
    levels_named,
    name_axes,
    not_shown,
    panels,
    spread,
)
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import DATA, Need, several
from Visualizations.responses import KINDS, Response, Study
from Visualizations.run import Run
from Visualizations.styles import KIND_MARKS, Style

FLOOR = 0.01
"""The lowest ratio on the scale; lower ones lie on its edge."""
_DODGE = 0.16


def draw(run: Run, style: Style) -> Drawing:
    """A panel a neuron, a column a perturbed level."""
    study = Study.of(run)
    shown = [r for r in study.responses(best(run.table)) if r.clean_mean > 0]
    levels = [level for level in study.levels if level != run.options.clean_level]
    values = pd.concat([_ratios(study, response, levels) for response in shown], ignore_index=True)
    figure, axes = panels(style, len(shown), 0.95, legend=True)
    top = max(2.0, float(values["ratio"].max(skipna=True)) * 1.5)
    bottom = max(FLOOR, min(0.5, float(values["ratio"].where(values["ratio"] > 0).min()) / 1.5))
    for axis, response in zip(axes, shown):
        _panel(axis, style, study, values[values["name"] == response.name], levels, bottom)
        axis.set_ylim(bottom / 1.25, top)
        entitle(axis, style, response.name, _score(run, response.row))
    left_alone(axes)
    name_axes(figure, "level", "activation ÷ clean activation")
    kinds = [kind for kind in KINDS if any(study.kind_of(level) == kind for level in levels)]
    pairs = int(values["image"].notna().sum())
    more = [
        Line2D([], [], color=style.ink, marker="_", markersize=9, linestyle="", label="ratio of means"),
        *([Line2D([], [], color=style.faint, marker=".", linestyle="", label="an image pair")] if pairs else []),
    ]
    kind_legend(figure, style, kinds, more)
    unpaired = [level for level in levels if study.kind_of(level) in CHOSEN_BY_ACTIVATION]
    below = int((values["ratio"] < bottom).sum())
    notes = [
        *not_shown(len(run.table), len(shown)),
        *([] if pairs else ["no pairs of images are known: only means are compared"]),
        *([f"{counted(below, 'ratio')} below {bottom:.2g} at the lower edge"] if below else []),
        *(
            [f"{levels_named(unpaired)}: made or chosen by activation, no perturbation of a clean image"]
            if unpaired
            else []
        ),
    ]
    in_R = [level for group in run.options.robustness_groups().values() for level in group]
    caption = (
        "Activation on perturbed images relative to clean ones of the same concept, on a logarithmic scale; 1 is unchanged. "
        f"Bars and marks: mean |activation| of all images of the level ÷ that of the clean images. {_points(pairs)}"
        f"R: robustness with its {run.options.confidence:.0%} interval, from recognised images of {levels_named(in_R)}."
    )  # fmt: skip
    return Drawing(figure, values, caption, (*notes, *run.people))


def _points(pairs: int) -> str:
    return f"Points: {pairs:,} images, each ÷ its own clean image. " if pairs else ""


def _ratios(study: Study, response: Response, levels: list[int]) -> pd.DataFrame:
    """Ratios of means (without an image) and of pairs, with level and kind."""
    table, size_I = study.table, np.abs(response.activation_I)
    rows: list[dict[str, Any]] = []
    for level in levels:
        about = {"name": response.name, "level": level, "kind": study.kind_of(level)}
        at_I = response.target_I & (table.level_I == level)
        mean = float(size_I[at_I].mean()) / response.clean_mean if at_I.any() else np.nan
        rows.append({**about, "image": None, "ratio": mean, "n": int(at_I.sum())})
        for i in np.flatnonzero(at_I & (table.partner_I >= 0)):
            own = size_I[table.partner_I[i]]
            if np.isfinite(own) and own > 0:
                rows.append({**about, "image": table.images[i], "ratio": float(size_I[i] / own), "n": 1})
    return pd.DataFrame(rows)


def _panel(axis: Axes, style: Style, study: Study, values: pd.DataFrame, levels: list[int], bottom: float) -> None:
    axis.set_yscale("log")
    axis.axhline(1, color=style.faint, linewidth=0.6, linestyle=":")
    for at, level in enumerate(levels):
        rows = values[values["level"] == level]
        kind = study.kind_of(level)
        paired: Floats = rows.loc[rows["image"].notna(), "ratio"].to_numpy(float)
        axis.plot(
            at + _DODGE + spread(paired, 0.14), np.maximum(paired, bottom), ".",
            color=style.kind_color(kind), markersize=2.5, alpha=0.55, markeredgewidth=0,
        )  # fmt: skip
        mean = np.maximum(rows.loc[rows["image"].isna(), "ratio"].to_numpy(float), bottom)
        axis.plot([at - _DODGE], mean, marker="_", markersize=11, color=style.ink, markeredgewidth=1.2)
        axis.plot(
            [at - _DODGE], mean, marker=KIND_MARKS[kind], markersize=4, color=style.kind_color(kind), linestyle=""
        )
    axis.set_xticks(range(len(levels)), [str(level) for level in levels])
    axis.set_xlim(-0.6, len(levels) - 0.3)
    axis.yaxis.set_major_locator(LogLocator(numticks=4))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, at: f"{value:g}"))
    axis.tick_params(axis="x", length=0)


def _score(run: Run, row: dict[str, Any]) -> str:
    R, low, high = (row.get(name, np.nan) for name in ("R", "R_low", "R_high"))
    if not np.isfinite(R):
        return "R: not computed"
    return f"R {R:.2f}" + (f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) else "")


def _no_perturbed(run: Run) -> str:
    study = Study.of(run)
    if len(study.levels) < 2:
        return f"images of level {study.levels[0]} alone; expected perturbed ones"
    return (
        "" if any(r.clean_mean > 0 for r in study.responses(best(run.table))) else "no neuron responds to clean images"
    )


FIGURE = FigureKind(
    "robustness",
    "Robustness across perturbation levels",
    draw,
    (DATA, several(1), Need("perturbed images", _no_perturbed, (DATA,))),
)
