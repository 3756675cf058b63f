"""Labels: the best unit of each concept with its interval, and how the scores of all units lie, with and without a label."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from Visualizations.figures.panels import between, counted, not_shown
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import LABELS, Need
from Visualizations.run import Run
from Visualizations.styles import Style, label

MOST = 30


def draw(run: Run, style: Style) -> Drawing:
    """Left: the best unit of each concept. Right: the scores of all units."""
    table = run.labels
    labelled = table[table["concept"].notna()].sort_values("score", ascending=False, kind="stable")
    of_concept = labelled.groupby("concept", sort=False).size()
    first = labelled[~labelled["concept"].duplicated()]
    shown = first.head(MOST)
    layers = "layer" in table and table["layer"].nunique() > 1
    names = [_name(row, layers) for row in shown.to_dict("records")]
    counts = of_concept[shown["concept"]].to_numpy()
    figure = Figure(figsize=(style.page, 0.75 + 1.6 * style.text / 72 * max(len(shown), 9)))
    axes = figure.subplots(1, 2, width_ratios=(3, 2))
    y = np.arange(len(shown))
    axes[0].hlines(y, shown["score_low"], shown["score_high"], color=style.color("S"), linewidth=1.2, alpha=0.75)
    axes[0].plot(shown["score"].to_numpy(), y, "o", color=style.color("S"), clip_on=False)
    axes[0].set_yticks(y, [f"{label(name, 26)} ({counted(n, 'unit')})" for name, n in zip(names, counts)])
    axes[0].set_ylim(len(shown) - 0.4, -0.6)
    axes[0].set_xlim(0, 1)
    axes[0].set_xlabel("score above chance")
    axes[0].grid(axis="x")
    without = table.loc[table["concept"].isna(), "score"].dropna()
    axes[1].hist(
        [labelled["score"], without], bins=list(np.histogram_bin_edges(table["score"].dropna(), bins=30)), stacked=True,
        color=[style.color("S"), style.faint], label=["label better than chance", "none better than chance"],
    )  # fmt: skip
    axes[1].set_xlabel("score above chance")
    axes[1].set_ylabel("units")
    axes[1].locator_params(nbins=5)
    figure.legend(loc="outside upper right", ncols=2)
    values = shown.assign(name=names, units=counts)[["name", "unit", "concept", "units", "score", "score_low", "score_high", "p_adjusted", "polysemy", "n_images", "n_top"]]  # fmt: skip
    caption = (
        f"Left: the best unit of each of {len(of_concept):,} concepts, and how many units have that label; scored on images that "
        f"labels were not chosen on, with intervals from resampled images. Right: the best concept of all {len(table):,} units, "
        f"{len(labelled):,} of which have a label better than chance (adjusted p)."
    )  # fmt: skip
    notes = not_shown(len(first), len(shown), "concepts")
    notes += [f"scored on {between(table['n_images'].dropna().unique())} images"]
    if uncertain := int(shown["score_low"].isna().sum()):
        notes.append(
            f"{counted(uncertain, 'label')} without an interval: fewer than five of the unit's top images show the concept"
        )
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
