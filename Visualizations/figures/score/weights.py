"""What other weights would give: the ranks of each neuron over all weightings, and which neuron is first where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from InterpScore.helpers import Floats, Ints, competition_ranks
from Visualizations.figures.score.drawing import left_out, name_rows, on, page, rank_axis
from Visualizations.figures.score.ranked import Ranked, ranked, resting_on
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.run import Run
from Visualizations.styles import Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAMPLED = 2000
"""Weightings, uniform over all that sum to 1."""
TOP = 3
SLICES = (0.0, 0.25, 0.5, 0.75)
"""Weights of the fourth component at which a triangle shows those of the other three."""
_MOST, _WIDE, _STEPS = 24, 100, 32
_WINNERS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def draw(run: Run, style: Style) -> Drawing:
    """Left, a row a neuron; right, triangles of weights where there are three or four components."""
    neurons = Ranked.of(run)
    k, n = len(neurons.components), len(neurons.rows)
    rank_NW = competition_ranks(neurons.scores(sampled(k)))
    table = _table(neurons, rank_NW)
    shown = min(_MOST, n)
    triangles = k in (3, 4)
    figure = page(style, 0.85, shown, least=(3.3 if k == 4 else 2.4) if triangles else 0)
    rows, *triangle_axes = _parts(figure, k)
    winners, colors = pd.DataFrame(), {}
    if triangles:
        winners = _winners(neurons)
        colors = dict(zip(winners["name"].drop_duplicates(), _WINNERS))
        _fill(triangle_axes, neurons, winners, colors, style)
    _rows(rows, table.head(shown), n, colors, style)
    values = pd.concat([table.head(shown).assign(mark="neuron"), winners.assign(mark="weights")], ignore_index=True)
    caption = (
        f"Left: ranks of each neuron over {SAMPLED:,} weightings of {', '.join(neurons.components)}, uniform over all that sum to 1 "
        f"(thin: all, thick: middle 90%, circle: with the weights of the run), and the share of them in which it is first or among the "
        f"first {TOP}."
    )
    if triangles:
        caption += f" Right: the rank, with the weights of the run, of the neuron that is first at each weighting{_about(neurons)}; grey: others."
    return Drawing(
        figure, values, caption, (*left_out(run, shown), "estimates alone: resampling is left out", *run.people)
    )


def sampled(k: int) -> Floats:
    """The weightings, `(W, K)`, the same in every run."""
    return np.random.default_rng(0).dirichlet(np.ones(k), SAMPLED)


def _about(neurons: Ranked) -> str:
    if len(neurons.components) == 3:
        return "; cross: the weights of the run"
    return f", for four weights of {neurons.components[3]}"


def _table(neurons: Ranked, rank_NW: Floats) -> pd.DataFrame:
    best, low, high, worst = np.nanquantile(rank_NW, [0, 0.05, 0.95, 1], axis=1)
    return pd.DataFrame({
        "name": neurons.rows["name"], "Rank": neurons.rows["Rank"].astype(float), "rank_best": best, "rank_5": low, "rank_95": high,
        "rank_worst": worst, "share_first": (rank_NW == 1).mean(1), "share_top_3": (rank_NW <= TOP).mean(1),
    })  # fmt: skip


def _parts(figure: Figure, k: int) -> list[Axes]:
    """The axes of the rows, and those of the triangles: one, or four in a square."""
    if k not in (3, 4):
        return [figure.subplots()]
    grid = figure.add_gridspec(2, 3, width_ratios=(1.7, 1.2, 1.2))
    places = [grid[:, 0], grid[:, 1:]] if k == 3 else [grid[:, 0], *(grid[i, j] for i in (0, 1) for j in (1, 2))]
    return [figure.add_subplot(place) for place in places]


def _rows(axes: Axes, rows: pd.DataFrame, n: int, colors: dict[str, str], style: Style) -> None:
    y = np.arange(len(rows))
    tone = [colors.get(name, style.faint) for name in rows["name"]]
    axes.hlines(y, rows["rank_best"], rows["rank_worst"], color=tone, linewidth=0.8)
    axes.hlines(y, rows["rank_5"], rows["rank_95"], color=tone, linewidth=3.2, alpha=0.8)
    axes.plot(rows["Rank"], y, "o", color=style.ink, markerfacecolor=style.paper, markersize=3.5)
    name_rows(axes, rows["name"].tolist(), 18)
    rank_axis(axes, n, n > _WIDE, 8)
    axes.grid(axis="x")
    aside: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "fontsize": style.text - 1}
    for letters, column, title in ((4.5, "share_first", "first"), (9, "share_top_3", f"top {TOP}")):
        at = letters * style.text, 0
        axes.annotate(title, (1, 1.01), at, xycoords="axes fraction", va="bottom", **aside)
        for row, share in enumerate(rows[column]):
            axes.annotate(f"{share:.0%}", (1, row), at, xycoords=axes.get_yaxis_transform(), va="center", **aside)


# Triangles ------------------------------------------------------------------------------------------------------------


def lattice(steps: int) -> Floats:
    """The corners of small triangles that fill the triangle of three weights, `(T, 3, 3)`: triangle, corner, weight."""
    corners = []
    for i in range(steps):
        for j in range(steps - i):
            a, b, c = (i, j), (i + 1, j), (i, j + 1)
            corners.append((a, b, c))
            if i + j < steps - 1:
                corners.append((b, c, (i + 1, j + 1)))
    ij = np.array(corners) / steps
    return np.concatenate([ij, 1 - ij.sum(2, keepdims=True)], axis=2)


def _flat(weights: Floats) -> Floats:
    """Weights of three components → places in a triangle: the first at the left, the second at the right, the third on top."""
    return np.stack([weights[..., 1] + weights[..., 2] / 2, weights[..., 2] * np.sqrt(3) / 2], axis=-1)


def _slices(neurons: Ranked) -> tuple[float, ...]:
    return SLICES if len(neurons.components) == 4 else (0.0,)


def _winners(neurons: Ranked) -> pd.DataFrame:
    """The neuron that is first at the centre of each small triangle; those that are so most often come first."""
    centre_T3 = lattice(_STEPS).mean(1)
    parts = []
    for number, fourth in enumerate(_slices(neurons)):
        weights = np.hstack([centre_T3 * (1 - fourth), np.full((len(centre_T3), 1), fourth)])[
            :, : len(neurons.components)
        ]
        score_NT = np.nan_to_num(neurons.scores(weights), nan=-1.0)
        first = score_NT.argmax(0)
        made = pd.DataFrame(weights, columns=[f"weight_{name}" for name in neurons.components])
        parts.append(made.assign(slice=number, place=first))
    winners = pd.concat(parts, ignore_index=True)
    often: Ints = winners["place"].value_counts(sort=True).index.to_numpy()
    winners["name"] = neurons.rows["name"].to_numpy()[winners["place"]]
    winners["Rank"] = neurons.rows["Rank"].to_numpy(dtype=float)[winners["place"]]
    order = winners["place"].map({place: i for i, place in enumerate(often)})
    return winners.assign(order=order).sort_values(["order", "slice"], kind="stable").drop(columns=["order", "place"])


def _fill(grid: Sequence[Axes], neurons: Ranked, winners: pd.DataFrame, colors: dict[str, str], style: Style) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb

    corners = _flat(lattice(_STEPS))
    for number, (axes, fourth) in enumerate(zip(grid, _slices(neurons))):
        here = winners[winners["slice"] == number].sort_index()
        tone = [colors.get(name, style.faint) for name in here["name"]]
        axes.add_collection(PolyCollection(list(corners), facecolors=tone, edgecolors=tone, linewidths=0.2))
        centres = corners.mean(1)
        for name, rows in here.groupby("name", sort=False):
            places = centres[rows.index - here.index[0]]
            if len(places) < 0.06 * len(centres) or name not in colors:
                continue
            middle = places[((places - places.mean(0)) ** 2).sum(1).argmin()]
            axes.text(middle[0], middle[1], f"{rows['Rank'].iloc[0]:.0f}", ha="center", va="center", weight="bold",
                      color=on(to_rgb(colors.get(str(name), style.faint))))  # fmt: skip
        _corners(axes, neurons, fourth, style)


def _corners(axes: Axes, neurons: Ranked, fourth: float, style: Style) -> None:
    for name, at, side in zip(neurons.components, _flat(np.eye(3)), ("right", "left", "center")):
        shift = {"right": (-0.03, -0.02), "left": (0.03, -0.02), "center": (0.0, 0.03)}[side]
        axes.text(
            at[0] + shift[0],
            at[1] + shift[1],
            name,
            ha=side,
            va="bottom" if side == "center" else "center",
            weight="bold",
            color=style.ink,
        )
    if len(neurons.components) == 4:
        axes.set_title(
            f"weight of {neurons.components[3]}: {fourth:g}", loc="center", weight="normal", fontsize=style.text - 1
        )
    else:
        own = _flat((neurons.weight_K / neurons.weight_K.sum())[None])[0]
        axes.plot(*own, "x", color=style.ink, markersize=5, markeredgewidth=1.4)
    axes.set_xlim(-0.12, 1.12)
    axes.set_ylim(-0.08, 1.0)
    axes.set_aspect("equal")
    axes.axis("off")


FIGURE = FigureKind("weights", "Ranks under other weights, and who is first where", draw, (ranked(3), resting_on(2)))
