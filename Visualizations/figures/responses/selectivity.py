"""Selectivity: activations on clean images of the concept against those of other concepts, every image a point, with effect size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.stats import norm

from Visualizations.figures.panels import (
    best,
    between,
    counted,
    density,
    entitle,
    left_alone,
    name_axes,
    not_shown,
    panels,
    spread,
)
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import DATA, columns
from Visualizations.responses import Response, Study
from Visualizations.run import Run
from Visualizations.styles import Style

TARGET, OTHER = "concept", "others"
_FEW = 5
_RUNAWAY = 12.0
"""Effect sizes above this cannot be told apart from S, which is 1 there to machine precision."""


def draw(run: Run, style: Style) -> Drawing:
    """A panel a neuron; a last one of all neurons where there are more."""
    study = Study.of(run)
    shown = study.responses(best(run.table))
    everyone = len(run.table) > len(shown)
    figure, axes = panels(style, len(shown) + everyone, 0.55)
    rows: list[dict[str, Any]] = []
    for axis, response in zip(axes, shown):
        rows += _strip(axis, style, study, response)
        entitle(axis, style, response.name, _effect(run, response.row))
    left_alone(axes)
    if everyone:
        density(axes[-1], style, run.table["g"], "g")
    name_axes(figure, "activation (a.u.)")
    measured = run.options.selectivity
    caption = (
        f"Activations on clean images, every image a point: of the neuron's concept ({TARGET}) and of all other concepts ({OTHER}). "
        f"Bars: means. {_counts(shown)} g: Hedges' effect size{_interval_is(run)}."
    )  # fmt: skip
    notes = [*not_shown(len(run.table), len(shown))]
    if measured != "cles":
        notes.append(f"the run measured selectivity by {measured}; g has no interval then")
    if few := sum((r.target_I & r.clean_I).sum() < _FEW for r in shown):
        notes.append(f"{counted(few, 'neuron')} with fewer than {_FEW} clean images of the concept")
    return Drawing(figure, pd.DataFrame(rows), caption, tuple(notes))


def _counts(shown: list[Response]) -> str:
    sides = [((r.target_I & r.clean_I).sum(), (r.clean_I & ~r.target_I).sum()) for r in shown]
    return f"n = {between(n for n, _ in sides)} images of the concept and {between(n for _, n in sides)} others."


def _strip(axis: Axes, style: Style, study: Study, response: Response) -> list[dict[str, Any]]:
    """Both sides of one neuron, and the rows of what is plotted."""
    rows = []
    others_I = response.clean_I & ~response.target_I
    for at, (side, chosen_I, color) in enumerate(
        [(TARGET, response.clean_I & response.target_I, style.color("S")), (OTHER, others_I, style.faint)]
    ):
        images = np.flatnonzero(chosen_I)
        x = response.activation_I[images]
        axis.plot(x, at + spread(x), ".", color=color, markersize=3, alpha=0.7, markeredgewidth=0)
        if len(x):
            axis.plot([x.mean()], [at], "|", color=style.ink, markersize=14, markeredgewidth=1.4)
        rows += [
            {
                "name": response.name,
                "image": study.table.images[i],
                "side": side,
                "activation": response.activation_I[i],
            }
            for i in images
        ]
    axis.set_yticks([0, 1], [TARGET, OTHER])
    axis.set_ylim(1.6, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.locator_params(axis="x", nbins=3)
    return rows


def effect_interval(row: dict[str, Any]) -> tuple[float, float]:
    """The interval of g that S's stands for: S = Φ(g/√2), so g = √2 Φ⁻¹(S). An end is NaN where S is 0 or 1 to precision."""
    ends = (math.sqrt(2) * float(norm.ppf(row.get(f"S_{end}", np.nan))) for end in ("low", "high"))
    low, high = (end if abs(end) < _RUNAWAY else math.nan for end in ends)
    return low, high


def _effect(run: Run, row: dict[str, Any]) -> str:
    g = row.get("g", math.nan)
    if g is None or not math.isfinite(g):
        return "g: not computed"
    told = f"g {g:.1f}"
    if run.options.selectivity == "cles" and run.options.resamples:
        low, high = effect_interval(row)
        if math.isfinite(low):
            told += f" [{low:.1f}, {high:.1f}]" if math.isfinite(high) else f" [{low:.1f}, –)"
    return told if row.get("S_significant", True) else f"{told}, n.s."


def _interval_is(run: Run) -> str:
    if run.options.selectivity != "cles" or not run.options.resamples:
        return ""
    return f" with the {run.options.confidence:.0%} interval of S on its scale (–: no bound to machine precision); n.s.: adjusted p > {run.options.min_p_value:g}"


FIGURE = FigureKind(
    "selectivity",
    "Selectivity: the concept against others, image by image",
    draw,
    (DATA, columns("g", what="no neuron has two clean images of its concept and of others")),
)
