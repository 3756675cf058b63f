"""The heatmap: mean activation of every neuron on every concept, a panel a level, relative to the neuron's own largest clean mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from InterpScore.helpers import Floats
from Visualizations.figures.panels import not_shown
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import DATA, several
from Visualizations.responses import KINDS, Response, Study
from Visualizations.run import Run
from Visualizations.styles import Style, label

MOST_UNITS, MOST_CONCEPTS, MOST_LEVELS = 24, 24, 6
_OTHERS = "other concepts"


def draw(run: Run, style: Style) -> Drawing:
    """Panels of neurons × concepts; cells above 1 say how much where there is room."""
    study = Study.of(run)
    shown = study.responses(run.table.head(MOST_UNITS))
    values = _values(study, shown)
    units, concepts = [r.name for r in shown], list(values["concept"].unique())
    groups = list(values["panel"].unique())
    pitch = 1.5 * style.text / 72
    width = len(concepts) * pitch + 0.12
    names = 0.6 * style.text / 72 * min(max(map(len, units)), 22) + 0.2
    across = max(1, min(len(groups), int((style.page - names - 0.5) / width)))
    down = -(-len(groups) // across)
    below = 0.6 * style.text / 72 * min(max(map(len, concepts)), 16) + 0.1
    pitch_x = min(3 * pitch, (style.page - names - 0.6 - 0.12 * across) / across / len(concepts))
    figure = Figure(figsize=(style.page, 0.55 + below + down * (len(units) * pitch + 0.3)))
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    lowest = -1.0 if (values["relative"] < -0.05).any() else 0.0
    colors, norm = _colors(style, lowest < 0), Normalize(lowest, 1)
    for axis, group in zip(axes.ravel(), groups):
        cells = values[values["panel"] == group].pivot_table("relative", "name", "concept", dropna=False, sort=False)
        shown_UC = cells.reindex(index=units, columns=concepts).to_numpy(float)
        image = axis.imshow(shown_UC, cmap=colors, norm=norm, aspect="auto", interpolation="nearest")
        axis.set_title(group)
        _mark(axis, style, shown_UC, shown, concepts, pitch_x)
    for axis in axes.ravel()[len(groups) :]:
        axis.set_axis_off()
    _name(axes, groups, units, concepts)
    bar = figure.colorbar(image, ax=axes, extend="max" if lowest == 0 else "both", aspect=30, fraction=0.04, pad=0.02)
    bar.set_label("mean activation ÷ largest on clean images")
    bar.outline.set_visible(False)
    caption = (
        f"Mean activation of {len(units)} neurons on the images of {len(concepts)} concepts by level, divided by the neuron's "
        "own largest mean over concepts on clean images: 1 is its strongest clean response. Frames: the neuron's concept. "
        "Numbers: cells above 1.05, beyond the scale. Hatched: no image."
    )  # fmt: skip
    notes = not_shown(len(run.table), len(units))
    return Drawing(figure, values, caption, tuple(notes))


def _values(study: Study, shown: list[Response]) -> pd.DataFrame:
    """A row a neuron, panel and concept."""
    table, owned = study.table, np.zeros(len(study.table.concepts), bool)
    first: list[int] = []
    for response in shown:  # in the order of the neurons, so that their own concepts lie along the diagonal
        mine = np.unique(table.concept_I[response.target_I]).tolist()
        first += [c for c in mine if not owned[c]]
        owned[mine] = True
    order = [*first, *(c for c in range(len(table.concepts)) if not owned[c])][:MOST_CONCEPTS]
    names = [table.concepts[c] for c in order]
    column_I = np.full(len(table.images), len(order))
    for at, c in enumerate(order):
        column_I[table.concept_I == c] = at
    if (column_I == len(order)).any():
        names.append(_OTHERS)
    panel_I, panels = _panels(study)
    rows: list[dict[str, Any]] = []
    for response in shown:
        means = _means(response, column_I, panel_I, len(names), len(panels))
        clean = np.abs(_means(response, column_I, np.where(response.clean_I, 0, -1), len(names), 1)[0])
        largest = np.nanmax(clean) if np.isfinite(clean).any() else np.nan
        for p, panel in enumerate(panels):
            for c, concept in enumerate(names):
                relative = means[p, c] / largest if largest > 0 else np.nan
                rows.append({"name": response.name, "panel": panel, "concept": concept, "mean": means[p, c], "relative": relative})  # fmt: skip
    return pd.DataFrame(rows)


def _panels(study: Study) -> tuple[Any, list[str]]:
    """The panel of each image, and their names: a level each, or a kind of level where there are many."""
    levels = study.levels
    if len(levels) <= MOST_LEVELS:
        of = {level: at for at, level in enumerate(levels)}
        names = [f"{study.kind_of(level)} (level {level})" for level in levels]
    else:
        kinds = [kind for kind in KINDS if any(study.kind_of(level) == kind for level in levels)]
        of = {level: kinds.index(study.kind_of(level)) for level in levels}
        names = [f"{kind} levels" for kind in kinds]
    return np.array([of[level] for level in study.table.level_I.tolist()]), names


def _means(response: Response, column_I: Any, panel_I: Any, columns: int, panels: int) -> Floats:
    """Mean activation by panel and concept; NaN without an image."""
    kept = np.isfinite(response.activation_I) & (panel_I >= 0)
    cell = panel_I[kept] * columns + column_I[kept]
    size = panels * columns
    with np.errstate(invalid="ignore"):
        mean = np.bincount(cell, response.activation_I[kept], size) / np.bincount(cell, minlength=size)
    return np.asarray(mean).reshape(panels, columns)


def _colors(style: Style, signed: bool) -> LinearSegmentedColormap:
    """From the paper to dark blue (light where the paper is dark), monotone in grey; to red below 0."""
    above = ["#9ecae1", "#2b7bba", "#08306b"] if style.theme == "light" else ["#1f4e79", "#4f9fd8", "#d6ecff"]
    below = ["#7f2704", "#e6852d"] if style.theme == "light" else ["#ffd9b0", "#a85a1a"]
    scale = LinearSegmentedColormap.from_list("activation", [*(below if signed else ()), style.paper, *above])
    scale.set_bad(style.paper)
    return scale


def _mark(axis: Axes, style: Style, shown_UC: Floats, shown: list[Response], concepts: list[str], pitch: float) -> None:
    """Frames around each neuron's own concepts, numbers where the scale ends, hatching where nothing was measured."""
    own = [set(_own(response)) for response in shown]
    for (u, c), value in np.ndenumerate(shown_UC):
        corner = (c - 0.5, u - 0.5)
        if np.isnan(value):
            axis.add_patch(Rectangle(corner, 1, 1, fill=False, hatch="////", edgecolor=style.faint, linewidth=0))
        if concepts[c] in own[u]:
            axis.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=style.ink, linewidth=0.8, clip_on=False))
        text = f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
        if value > 1.05 and pitch * 72 > 0.62 * (style.text - 1) * len(text):
            axis.text(c, u, text, ha="center", va="center", fontsize=max(style.text - 1, 6), color=style.paper)
    axis.set_frame_on(False)
    axis.tick_params(length=0)


def _own(response: Response) -> list[str]:
    concept = str(response.row["Concept"])
    return [concept, concept.casefold(), *concept.split(" | ")]


def _name(axes: Any, groups: list[str], units: list[str], concepts: list[str]) -> None:
    """Names of neurons at the left, of concepts below the lowest panel of each column."""
    for row in axes:
        row[0].set_yticks(range(len(units)), [label(name, 22) for name in units])
    across = axes.shape[1]
    for at, axis in enumerate(axes.ravel()[: len(groups)]):
        axis.set_xticks(range(len(concepts)), [label(name, 16) for name in concepts], rotation=90)
        axis.tick_params(labelbottom=at + across >= len(groups))


FIGURE = FigureKind("heatmap", "Activation of neurons on concepts, by level", draw, (DATA, several(1)))
