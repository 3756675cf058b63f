"""Alignment: activation against recognition, image by image, with the noise ceiling that the ratings' reliability sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from Visualizations.figures.panels import (
    best,
    between,
    counted,
    density,
    entitle,
    kind_legend,
    left_alone,
    levels_named,
    name_axes,
    not_shown,
    panels,
)
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import DATA, columns
from Visualizations.responses import KINDS, Response, Study
from Visualizations.run import Run
from Visualizations.styles import KIND_MARKS, Style


def draw(run: Run, style: Style) -> Drawing:
    """A panel a neuron; a last one of all neurons where there are more."""
    study = Study.of(run)
    shown = study.responses(best(run.table))
    everyone = len(run.table) > len(shown)
    figure, axes = panels(style, len(shown) + everyone, 0.85, legend=True)
    rows: list[dict[str, Any]] = []
    for axis, response in zip(axes, shown):
        rows += _scatter(axis, style, study, response)
        entitle(axis, style, response.name, _correlation(response.row))
    left_alone(axes)
    if everyone:
        density(axes[-1], style, run.table["H_rho"], "ρ")
    name_axes(figure, "activation (a.u.)", "recognition rate")
    values = pd.DataFrame(rows, columns=["name", "image", "level", "kind", "activation", "recognition", "ratings"])
    kinds = [kind for kind in KINDS if (values["kind"] == kind).any()]
    kind_legend(figure, style, kinds, [Line2D([], [], color=style.faint, linestyle="--", label="threshold of H")])
    ratings = values.groupby("image")["ratings"].first()
    caption = (
        "Recognition rate against activation; every point is an image of the neuron's concept that counts in H. "
        "ρ: Spearman's correlation over these images; ≤: its noise ceiling, the square root of the ratings' split-half "
        f"reliability. Ratings an image: {between(ratings)}."
    )  # fmt: skip
    left_out = [level for level in study.levels if not run.options.counts_in_H(level)]
    notes = [
        *not_shown(len(run.table), len(shown)),
        *(
            [f"images of {levels_named(left_out)} were made or chosen by activation and do not count"]
            if left_out
            else []
        ),
    ]
    if few := sum(not np.isfinite(r.row.get("H_ceiling", np.nan)) for r in shown):
        notes.append(
            f"no noise ceiling for {counted(few, 'neuron')}: the ratings' reliability is 0 or cannot be estimated"
        )
    return Drawing(figure, values, caption, (*notes, *run.people))


def _scatter(axis: Axes, style: Style, study: Study, response: Response) -> list[dict[str, Any]]:
    """One neuron, and the rows of what is plotted."""
    table, rows = study.table, []
    rated_I = response.target_I & (study.ratings_I > 0)
    for level in study.levels:
        if not study.options.counts_in_H(level):
            continue
        kind, images = study.kind_of(level), np.flatnonzero(rated_I & (table.level_I == level))
        axis.plot(
            response.activation_I[images], study.rate_I[images], KIND_MARKS[kind], color=style.kind_color(kind),
            markersize=3, alpha=0.7, markeredgewidth=0, clip_on=False,
        )  # fmt: skip
        rows += [
            {
                "name": response.name, "image": table.images[i], "level": level, "kind": kind,
                "activation": response.activation_I[i], "recognition": study.rate_I[i], "ratings": study.ratings_I[i],
            }
            for i in images
        ]  # fmt: skip
    threshold = response.row.get("threshold", np.nan)
    if np.isfinite(threshold):
        axis.axvline(threshold, color=style.faint, linewidth=0.8, linestyle="--", zorder=0)
    axis.set_ylim(-0.06, 1.06)
    axis.set_yticks([0, 0.5, 1], ["0", ".5", "1"])
    axis.locator_params(axis="x", nbins=3)
    return rows


def _correlation(row: dict[str, Any]) -> str:
    rho, ceiling = row.get("H_rho", np.nan), row.get("H_ceiling", np.nan)
    if not np.isfinite(rho):
        return "ρ: not computed"
    return f"ρ {rho:.2f}" + (f" (≤ {ceiling:.2f})" if np.isfinite(ceiling) else "")


FIGURE = FigureKind(
    "alignment",
    "Human–model alignment: recognition against activation",
    draw,
    (DATA, columns("H_rho", what="no neuron has rated images that differ in activation and recognition")),
)
