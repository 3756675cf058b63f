"""Which components are needed: how many pairs of neurons each set of them tells apart, and how well it keeps the ranking."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from InterpScore.helpers import Floats
from InterpScore.resampling import adjusted_p_values
from Visualizations.figures.score.agreement import kendall_interval
from Visualizations.figures.score.drawing import page
from Visualizations.figures.score.pairwise import ADJUSTED
from Visualizations.figures.score.ranked import Ranked, listed, p_of_pairs, ranked, resting_on, subsets
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import DRAWS
from Visualizations.run import Run
from Visualizations.styles import Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COMPARED = 320
"""Neurons whose pairs are tested: of more, so many, evenly spaced over the ranking."""
KEEPS = 0.9
"""A set of components keeps the ranking from this τ on."""
_MOST_SETS = 31


def draw(run: Run, style: Style) -> Drawing:
    """A column a set of components: pairs told apart, τ with the whole ranking, and which components are in it."""
    everyone = Ranked.of(run)
    neurons = everyone.spaced(COMPARED)
    values, alone = _values(neurons, run)
    total = len(neurons.rows) * (len(neurons.rows) - 1) // 2
    k, x = len(neurons.components), np.arange(float(len(values)))
    figure = page(style, 3.2 + 0.17 * k)
    pairs, agreement, members = figure.subplots(3, 1, sharex=True, height_ratios=(1.5, 1, 0.17 * k))
    chosen = [values["fewest_pairs"], values["fewest_ranking"]]
    pairs.bar(x, values["told_apart"], width=0.7, facecolor=np.where(chosen[0], style.color("S"), style.faint))
    pairs.axhline(alone, color=style.ink, linewidth=0.8, linestyle=(0, (3, 2)))
    pairs.set_ylim(0, max(1.0, 1.18 * max(values["told_apart"].max(), alone)))
    for at, count in zip(x, values["told_apart"]):
        pairs.annotate(
            f"{count:,}",
            (at, count),
            (0, 1.5),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=style.text - 1,
        )
    pairs.locator_params(axis="y", nbins=4)
    pairs.yaxis.set_major_formatter("{x:,.0f}")
    pairs.set_ylabel(f"Pairs told apart\n(of {total:,})")
    pairs.set_title(f"dashed: the score alone, {alone:,}", loc="right", weight="normal", fontsize=style.text - 1, pad=2)
    _agreement(agreement, x, values, style)
    _members(members, values["components"], neurons, style)
    fewest = ", ".join(values.loc[chosen[0], "components"]), ", ".join(values.loc[chosen[1], "components"])
    caption = (
        f"Pairs of neurons that a set of components tells apart: at least one of its components differs, two-sided p from the draws times "
        f"the size of the set, adjusted ({ADJUSTED[run.options.adjust]}) over {total:,} pairs, at most {run.options.min_p_value:g}. "
        f"Middle: Kendall's τ of the ranking by the set with that by all, with {run.options.confidence:.0%} intervals. Blue: the smallest sets "
        f"that tell apart as many pairs as all together ({fewest[0]}), and that keep the ranking, τ ≥ {KEEPS:g} ({fewest[1]})."
    )
    notes = []
    if len(neurons.rows) < len(everyone.rows):
        notes.append(
            f"{len(neurons.rows):,} of {len(everyone.rows):,} ranked neurons are compared, evenly spaced over the ranking"
        )
    if 2**k - 1 > len(values):
        notes.append(f"the {len(values)} smallest and largest sets of components")
    return Drawing(figure, values, caption, (*notes, *run.people))


def _values(neurons: Ranked, run: Run) -> tuple[pd.DataFrame, int]:
    """A row a set, the smallest first, and the number of pairs that the score alone tells apart."""
    k = len(neurons.components)
    p_KP = np.stack([p_of_pairs(neurons.estimate_NK[:, i], neurons.draws(neurons.components[i]))[2] for i in range(k)])
    whole = neurons.score_of(np.ones(k, dtype=bool))
    sets = subsets(k)
    if len(sets) > _MOST_SETS:
        sets = [chosen for chosen in sets if len(chosen) in (1, k - 1, k)]
    rows = []
    for chosen in sets:
        part = neurons.score_of(np.isin(np.arange(k), chosen))
        tau = kendall_interval((whole[0], part[0]), (whole[1], part[1]), run.options.confidence)
        rows.append((listed([neurons.components[i] for i in chosen]), len(chosen), told_apart(p_KP[chosen], run), *tau))
    values = pd.DataFrame(rows, columns=["components", "size", "told_apart", "tau", "tau_low", "tau_high"])
    values["fewest_pairs"] = _fewest(values, values["told_apart"] >= values["told_apart"].iloc[-1], "told_apart")
    values["fewest_ranking"] = _fewest(values, values["tau"] >= KEEPS, "tau")
    alone = told_apart(p_of_pairs(neurons.score_N, neurons.draws("InterpScore"))[2][None], run)
    return values, alone


def told_apart(p_KP: Floats, run: Run) -> int:
    """How many pairs at least one of K components tells apart: the smallest p times K, adjusted over the pairs."""
    there_P = np.isfinite(p_KP).any(0)
    smallest_P = np.where(np.isfinite(p_KP), p_KP, np.inf).min(0) * len(p_KP)
    p_P = np.where(there_P, np.minimum(smallest_P, 1.0), np.nan)
    return int((adjusted_p_values(p_P, run.options.adjust) <= run.options.min_p_value).sum())


def _fewest(values: pd.DataFrame, enough: pd.Series, by: str) -> pd.Series:
    """Marks the best of the smallest sets that are enough."""
    among = values[enough]
    best = among.sort_values(["size", by], ascending=[True, False], kind="stable").index[0]
    return values.index == best


def _agreement(axes: Axes, x: Floats, values: pd.DataFrame, style: Style) -> None:
    axes.axhline(KEEPS, color=style.faint, linewidth=0.6, linestyle=(0, (3, 2)))
    color = np.where(values["fewest_ranking"], style.color("S"), style.ink)
    axes.vlines(x, values["tau_low"], values["tau_high"], color=color, linewidth=1.0)
    axes.scatter(x, values["tau"], color=color, s=10, zorder=3)
    axes.set_ylim(min(-0.05, float(values[["tau", "tau_low"]].min().min()) - 0.05), 1.08)
    axes.set_ylabel("Kendall's τ\nwith all")
    axes.grid(axis="y")


def _members(axes: Axes, sets: pd.Series, neurons: Ranked, style: Style) -> None:
    k = len(neurons.components)
    axes.set_yticks(range(k), neurons.components)
    axes.set_ylim(k - 0.5, -0.5)
    axes.set_xlim(-0.6, len(sets) - 0.4)
    axes.tick_params(length=0, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for at, names in enumerate(sets):
        within = np.isin(neurons.components, names.split("+"))
        chosen, others = np.flatnonzero(within), np.flatnonzero(~within)
        axes.plot(np.full(len(others), at), others, "o", color=style.faint, alpha=0.35, markersize=3.5)
        axes.plot(np.full(len(chosen), at), chosen, "o-", color=style.ink, markersize=4.5)


FIGURE = FigureKind(
    "dimensions",
    "Which components tell neurons apart, and the fewest that suffice",
    draw,
    (ranked(3), resting_on(2), DRAWS),
)
