"""Pairwise differences of InterpScore, with p-values from the draws, adjusted over all pairs of ranked neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from InterpScore.helpers import Ints
from InterpScore.resampling import adjusted_p_values
from Visualizations.figures.score.drawing import diverging, name_rows, on, page, signed
from Visualizations.figures.score.ranked import Ranked, p_of_pairs, pairs_of, ranked
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import DRAWS
from Visualizations.run import Run
from Visualizations.styles import Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 14
"""Neurons whose pairs fit a page with their numbers: the best, of more."""
ADJUSTED = {
    "bh": "Benjamini-Hochberg", "by": "Benjamini-Yekutieli", "holm": "Holm", "none": "no adjustment",
}  # fmt: skip


def draw(run: Run, style: Style) -> Drawing:
    """Differences below the diagonal, adjusted p above it, significant ones bold."""
    neurons = Ranked.of(run)
    n = len(neurons.rows)
    difference_P, spread_P, p_P = p_of_pairs(neurons.score_N, neurons.draws("InterpScore"))
    adjusted_P = adjusted_p_values(p_P, run.options.adjust)
    significant = int((adjusted_P <= run.options.min_p_value).sum())
    shown = min(SHOWN, n)
    first, second = pairs_of(n)
    there = second < shown
    names = neurons.rows["name"].head(shown)
    values = pd.DataFrame({
        "name": names.to_numpy()[first[there]], "other": names.to_numpy()[second[there]], "difference": difference_P[there],
        "sd": spread_P[there], "p": p_P[there], "p_adjusted": adjusted_P[there],
        "significant": adjusted_P[there] <= run.options.min_p_value,
    })  # fmt: skip
    figure = page(style, 0.65 + 0.24 * shown)
    axes = figure.subplots()
    _cells(axes, first[there], second[there], values, run.options.min_p_value, style)
    ranks = neurons.rows["Rank"].head(shown).astype(int)
    name_rows(axes, [f"{name}  {rank}" for name, rank in zip(names, ranks)])
    axes.set_xticks(range(shown), [f"{rank:,}" for rank in ranks])
    axes.set_xlim(-0.5, shown - 0.5)
    axes.set_ylim(shown - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.set_xlabel("Rank of the other neuron")
    for spine in axes.spines.values():
        spine.set_visible(False)
    tested = int(np.isfinite(p_P).sum())
    caption = (
        f"Pairwise differences of InterpScore: below the diagonal the neuron of the column minus that of the row, above it the two-sided "
        f"p from the draws, adjusted ({ADJUSTED[run.options.adjust]}) over {tested:,} pairs. Bold: at most {run.options.min_p_value:g}. "
        f"{significant:,} of {tested:,} pairs differ significantly."
    )
    notes = [f"the best {shown} of {n:,} ranked neurons are shown"] if n > shown else []
    notes += [f"{len(p_P) - tested:,} pairs have no test, as a neuron has no draws"] if tested < len(p_P) else []
    return Drawing(figure, values, caption, (*notes, *run.people))


def _cells(axes: Axes, first: Ints, second: Ints, values: pd.DataFrame, level: float, style: Style) -> None:
    shades = diverging(style)
    most = max(float(values["difference"].abs().max()), 1e-9)
    size = style.text - 1
    for i, j, pair in zip(first, second, values.itertuples()):
        shade = shades(0.5 + 0.4 * pair.difference / most)
        axes.fill_between([i - 0.5, i + 0.5], j - 0.5, j + 0.5, color=shade, linewidth=0)
        weight = "bold" if pair.significant else "normal"
        axes.text(
            i,
            j,
            _short(signed(pair.difference)),
            ha="center",
            va="center",
            fontsize=size,
            color=on(shade),
            weight=weight,
        )
        axes.text(j, i, p_text(pair.p_adjusted), ha="center", va="center", fontsize=size, weight=weight,
                  color=style.ink if pair.significant else style.faint)  # fmt: skip


def _short(number: str) -> str:
    return number.replace("0.", ".")


def p_text(p: float) -> str:
    """A p-value in at most five characters.

    >>> p_text(0.0004), p_text(0.034), p_text(1.0), p_text(float("nan"))
    ('<.001', '.034', '1', '–')
    """
    if np.isnan(p):
        return "–"
    if p < 0.001:
        return "<.001"
    return "1" if p >= 0.995 else _short(f"{p:.3f}" if p < 0.1 else f"{p:.2f}")


FIGURE = FigureKind("pairwise", "Pairwise differences of the score, with adjusted p", draw, (ranked(2), DRAWS))
