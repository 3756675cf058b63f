"""Labels: the best of them with intervals, and how the scores of all units lie, with and without a label."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from Visualizations.figures.panels import not_shown
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import LABELS, Need
from Visualizations.run import Run
from Visualizations.styles import Style, label

MOST = 30


def draw(run: Run, style: Style) -> Drawing:
    """Left: the units with the best labels. Right: the scores of all units."""
    table = run.labels
    labelled = table[table["concept"].notna()].sort_values("score", ascending=False, kind="stable")
    shown = labelled.head(MOST)
    layers = "layer" in table and table["layer"].nunique() > 1
    names = [_name(row, layers) for row in shown.to_dict("records")]
    figure = Figure(figsize=(style.page, 0.75 + 1.55 * style.text / 72 * max(len(shown), 9)))
    axes = figure.subplots(1, 2, width_ratios=(3, 2))
    y = np.arange(len(shown))
    axes[0].hlines(y, shown["score_low"], shown["score_high"], color=style.color("S"), linewidth=1.2, alpha=0.75)
    axes[0].plot(shown["score"].to_numpy(), y, "o", color=style.color("S"))
    axes[0].set_yticks(y, [label(name, 30) for name in names])
    axes[0].set_ylim(max(len(shown), 1) - 0.4, -0.6)
    axes[0].set_xlabel("score of the label, above chance")
    axes[0].grid(axis="x")
    bins = list(np.histogram_bin_edges(table["score"].dropna(), bins=30))
    without = table.loc[table["concept"].isna(), "score"].dropna()
    axes[1].hist(
        [labelled["score"], without], bins=bins, stacked=True, color=[style.color("S"), style.faint],
        label=["label better than chance", "none better than chance"],
    )  # fmt: skip
    axes[1].set_xlabel("score of the best concept, above chance")
    axes[1].set_ylabel("units")
    axes[1].legend()
    values = shown.assign(name=names)[["name", "unit", "concept", "score", "score_low", "score_high", "p_adjusted", "polysemy", "n_images", "n_top"]]  # fmt: skip
    images = table["n_images"].max()
    caption = (
        f"Left: the {len(shown)} best labels, scored on images that they were not chosen on, with intervals from resampled "
        f"images. Right: the best concept of all {len(table):,} units, {len(labelled):,} of which have a label better than chance "
        f"(adjusted p)."
    )  # fmt: skip
    notes = not_shown(len(labelled), len(shown), "units with a label")
    notes += [f"scored on {images:.0f} images"] if np.isfinite(images) else []
    if uncertain := int(shown["score_low"].isna().sum()):
        notes.append(f"{uncertain} labels have no interval: fewer than five of the unit's top images show the concept")
    if (table["split"] == "none").any():
        notes.append("labels were chosen and scored on the same images, which flatters them")
    return Drawing(figure, values, caption, tuple(notes))


def _name(row: dict[str, object], layers: bool) -> str:
    return f"{row['concept']} · {row['layer']}:{row['unit']}" if layers else f"{row['concept']} · {row['unit']}"


def _no_label(run: Run) -> str:
    return "" if run.labels["concept"].notna().any() else "no unit has a label better than chance"


FIGURE = FigureKind(
    "labels", "Labels of units, and their scores", draw, (LABELS, Need("a label", _no_label, (LABELS,)))
)
