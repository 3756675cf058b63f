"""Layers: InterpScore and its value above chance of each layer's neurons, every neuron a point, means with intervals."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from Visualizations.figures.panels import spread
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import LAYERS, Need
from Visualizations.run import Run
from Visualizations.styles import Style, label

SCORES = {"InterpScore": "InterpScore", "I_excess": "InterpScore above chance"}


def draw(run: Run, style: Style) -> Drawing:
    """A row a layer, in the order of the results' comparison."""
    assert run.layers is not None
    layers = run.layers.sort_values("Layer", key=lambda names: names.map(_in_order), kind="stable").reset_index(
        drop=True
    )
    names = [str(name) for name in layers["Layer"]]
    figure = Figure(figsize=(style.page, style.text / 7 * (0.7 + 0.5 * len(names))))
    axes = figure.subplots(1, 2, sharey=True)
    for axis, (score, called) in zip(axes, SCORES.items()):
        _panel(axis, style, run.table, layers, score)
        axis.set_xlabel(called)
    counts = layers["neurons"].to_numpy()
    axes[0].set_yticks(range(len(names)), [f"{label(name, 24)}\nn = {n:.0f}" for name, n in zip(names, counts)])
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    axes[1].axvline(0, color=style.faint, linewidth=0.8, linestyle=":")
    means = layers.melt("Layer", [c for s in SCORES for c in (s, f"{s}_low", f"{s}_high")], "column", "value")
    points = run.table.melt(["Layer", "name"], [s for s in SCORES if s in run.table], "column", "value")
    caption = (
        f"InterpScore of the neurons of {len(names)} layers, every neuron a point, and above chance (right; 0 is what permuted concept "
        f"labels give). Bars: means with {run.options.confidence:.0%} intervals, from the same resampled images and participants."
    )  # fmt: skip
    notes = [
        f"{name}: neurons are {share:.0%} of the layer's units, which were chosen; other units may differ"
        for name, share in zip(names, layers["share"])
        if np.isfinite(share) and share < 1
    ]
    return Drawing(figure, pd.concat([means, points], ignore_index=True), caption, (*notes, *run.people))


def _in_order(name: object) -> str:
    """A layer's name to sort by: layer2 before layer10."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(8), str(name))


def _panel(axis: Axes, style: Style, table: pd.DataFrame, layers: pd.DataFrame, score: str) -> None:
    for y, layer in enumerate(layers["Layer"]):
        value = (
            table.loc[table["Layer"] == layer, score].astype(float).dropna().to_numpy()
            if score in table
            else np.array([])
        )
        axis.plot(
            value,
            y - 0.12 + spread(value, 0.16),
            ".",
            color=style.color("S"),
            markersize=4,
            alpha=0.6,
            markeredgewidth=0,
        )
    y_L = np.arange(len(layers)) + 0.25
    low, high = (layers[f"{score}_{end}"].astype(float).to_numpy() for end in ("low", "high"))
    axis.hlines(y_L, low, high, color=style.ink, linewidth=1.4)
    axis.plot(layers[score].astype(float).to_numpy(), y_L, "D", color=style.ink, markersize=4)
    axis.grid(axis="x")
    axis.locator_params(axis="x", nbins=5)
    axis.tick_params(axis="y", length=0)


def _no_comparison(run: Run) -> str:
    return "" if run.layers is not None else "the results do not compare their layers; score again"


FIGURE = FigureKind(
    "layers", "Layers compared", draw, (LAYERS, Need("the comparison of layers", _no_comparison, (LAYERS,)))
)
