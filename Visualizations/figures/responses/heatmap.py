"""The heatmap: mean activation of every neuron on every concept, a panel a level, relative to the neuron's own largest clean mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from InterpScore.helpers import Bools, Floats, Ints
from Visualizations.figures.panels import not_shown
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import DATA, several
from Visualizations.responses import KINDS, Response, Study
from Visualizations.run import Run
from Visualizations.styles import Style, label

MOST_UNITS, MOST_CONCEPTS, MOST_LEVELS = 24, 24, 6
_OTHERS = "other concepts"
_TALLEST = 8.5
"""Inches of the panels; fewer neurons are shown where they would be taller."""
_NARROWEST = 0.72
"""Inches of a panel at text of 7 points, which its name needs."""
_TOO_MUCH = 1.05


def draw(run: Run, style: Style) -> Drawing:
    """Panels of neurons × concepts; cells above 1 say how much where there is room."""
    study = Study.of(run)
    panel_I, groups = _panels(study)
    letter, pitch = 0.6 * style.text / 72, 1.5 * style.text / 72
    names = letter * min(int(run.table["name"].str.len().max()), 22) + 0.2
    columns = min(len(study.table.concepts), MOST_CONCEPTS + 1)
    across = max(
        1,
        min(len(groups), int((style.page - names - 0.5) / (max(columns * pitch, _NARROWEST * style.text / 7) + 0.12))),
    )
    down = -(-len(groups) // across)
    shown = study.responses(run.table.head(min(MOST_UNITS, int((_TALLEST / down - 0.25) / pitch - 1))))
    values = _values(study, shown, panel_I, groups)
    units, concepts = [r.name for r in shown], list(values["concept"].unique())
    above = letter * min(max(map(len, concepts)), 16) + 0.1
    width = min(3 * pitch, (style.page - names - 0.6 - 0.12 * across) / across / len(concepts))
    height = 0.2 + above + down * (len(units) * pitch + 0.25 + pitch)
    figure = Figure(figsize=(style.page, height))
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    signed = bool((values["relative"] < -0.05).any())
    colors, norm = _colors(style, signed), Normalize(-1.0 if signed else 0.0, 1)
    for axis, group in zip(axes.ravel(), groups):
        cells = values[values["panel"] == group]
        shown_UC, own_UC = (cells[name].to_numpy().reshape(len(units), -1) for name in ("relative", "own"))
        image = axis.imshow(shown_UC.astype(float), cmap=colors, norm=norm, aspect="auto", interpolation="nearest")
        axis.set_xlabel(group.replace(", ", "\n"), labelpad=2)
        _mark(axis, style, shown_UC.astype(float), own_UC.astype(bool), width)
    for axis in axes.ravel()[len(groups) :]:
        axis.set_axis_off()
    _name(axes, units, concepts)
    bar = figure.colorbar(
        image, ax=axes, extend="both" if signed else "max", aspect=16, fraction=0.05, pad=0.02,
        shrink=min(1, 2 / height), anchor=(0, 1),
    )  # fmt: skip
    bar.set_label("relative activation")
    bar.outline.set_visible(False)
    caption = (
        f"Mean activation of {len(units)} neurons on the images of {len(concepts)} concepts by level, divided by the neuron's "
        "own largest mean over concepts on clean images: 1 is its strongest clean response. Frames: the neuron's concept. "
        f"Numbers: values above {_TOO_MUCH}, where there is room. Hatched: no image."
    )  # fmt: skip
    return Drawing(figure, values, caption, tuple(not_shown(len(run.table), len(units))))


def _values(study: Study, shown: list[Response], panel_I: Ints, panels: list[str]) -> pd.DataFrame:
    """A row a panel, neuron and concept, in this order."""
    table = study.table
    of = [set(table.concept_I[response.target_I].tolist()) for response in shown]
    # In the order of the neurons, so that their own concepts lie along the diagonal.
    order = list(dict.fromkeys([c for mine in of for c in sorted(mine)] + list(range(len(table.concepts)))))[
        :MOST_CONCEPTS
    ]
    column_C = np.full(len(table.concepts), len(order))
    column_C[order] = np.arange(len(order))
    names = [table.concepts[c] for c in order]
    names += [_OTHERS] if len(order) < len(table.concepts) else []
    column_I = column_C[table.concept_I]
    rows: list[dict[str, Any]] = []
    for response, mine in zip(shown, of):
        means = _means(response, column_I, panel_I, len(names), len(panels))
        clean = np.abs(_means(response, column_I, np.where(response.clean_I, 0, -1), len(names), 1))
        largest = float(clean[np.isfinite(clean)].max(initial=0))
        rows += [
            {
                "panel": panel, "name": response.name, "concept": concept, "own": c < len(order) and order[c] in mine,
                "mean": means[p, c], "relative": means[p, c] / largest if largest else np.nan,
            }
            for p, panel in enumerate(panels) for c, concept in enumerate(names)
        ]  # fmt: skip
    return pd.DataFrame(rows).sort_values("panel", key=lambda names: names.map(panels.index), kind="stable")


def _panels(study: Study) -> tuple[Ints, list[str]]:
    """The panel of each image, and their names: a level each, or a kind of level where there are many."""
    levels = study.levels
    if len(levels) <= MOST_LEVELS:
        of = {level: at for at, level in enumerate(levels)}
        names = [f"{study.kind_of(level)}, level {level}" for level in levels]
    else:
        kinds = [kind for kind in KINDS if any(study.kind_of(level) == kind for level in levels)]
        of = {level: kinds.index(study.kind_of(level)) for level in levels}
        names = [f"{kind} levels" for kind in kinds]
    return np.array([of[level] for level in study.table.level_I.tolist()]), names


def _means(response: Response, column_I: Ints, panel_I: Ints, columns: int, panels: int) -> Floats:
    """Mean activation by panel and concept; NaN without an image."""
    kept = np.isfinite(response.activation_I) & (panel_I >= 0)
    cell = panel_I[kept] * columns + column_I[kept]
    size = panels * columns
    with np.errstate(invalid="ignore"):
        mean = np.bincount(cell, response.activation_I[kept], size) / np.bincount(cell, minlength=size)
    return np.asarray(mean).reshape(panels, columns)


def _colors(style: Style, signed: bool) -> Colormap:
    """From the paper to dark blue (light where the paper is dark), monotone in grey; to red below 0."""
    above = ["#9ecae1", "#2b7bba", "#08306b"] if style.theme == "light" else ["#1f4e79", "#4f9fd8", "#d6ecff"]
    below = ["#7f2704", "#e6852d"] if style.theme == "light" else ["#ffd9b0", "#a85a1a"]
    scale = LinearSegmentedColormap.from_list("activation", [*(below if signed else ()), style.paper, *above])
    return scale.with_extremes(bad=style.paper)


def _mark(axis: Axes, style: Style, shown_UC: Floats, own_UC: Bools, width: float) -> None:
    """Frames around neurons' own concepts, numbers where the scale ends, hatching where nothing was measured."""
    small = style.text - 1
    for (u, c), value in np.ndenumerate(shown_UC):
        corner = (c - 0.5, u - 0.5)
        if np.isnan(value):
            axis.add_patch(Rectangle(corner, 1, 1, fill=False, hatch="////", edgecolor=style.faint, linewidth=0))
        if own_UC[u, c]:
            axis.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=style.ink, linewidth=0.8, clip_on=False))
        text = f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
        if value > _TOO_MUCH and width * 72 > 0.62 * small * len(text) + 1:
            axis.text(c, u, text, ha="center", va="center", fontsize=small, color=style.paper)
    axis.set_frame_on(False)
    axis.tick_params(length=0, labelbottom=False)


def _name(axes: Any, units: list[str], concepts: list[str]) -> None:
    """Names of neurons at the left, of concepts on top."""
    for row in axes:
        row[0].set_yticks(range(len(units)), [label(name, 22) for name in units])
    for axis in axes[0]:
        axis.set_xticks(range(len(concepts)), [label(name, 16) for name in concepts], rotation=90)
        axis.tick_params(labeltop=True)


FIGURE = FigureKind("heatmap", "Activation of neurons on concepts, by level", draw, (DATA, several(1)))
