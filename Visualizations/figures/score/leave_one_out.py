"""The ranking without each component: how well it agrees with the whole, and which neurons move."""

from __future__ import annotations

import numpy as np
import pandas as pd

from InterpScore.helpers import competition_ranks
from Visualizations.figures.score.agreement import kendall_interval
from Visualizations.figures.score.drawing import MOST, diverging, left_out, name_rows, on, page
from Visualizations.figures.score.ranked import Ranked, ranked, resting_on
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import DRAWS
from Visualizations.run import Run
from Visualizations.styles import Style


def draw(run: Run, style: Style) -> Drawing:
    """Above, τ of each reduced ranking; below, a row a neuron with its rank without each component."""
    neurons = Ranked.of(run)
    k, shown = len(neurons.components), min(MOST, len(neurons.rows))
    whole = neurons.score_of(np.ones(k, dtype=bool))
    taus, ranks = [], []
    for left in range(k):
        without = neurons.score_of(np.arange(k) != left)
        taus.append(kendall_interval((whole[0], without[0]), (whole[1], without[1]), run.options.confidence))
        ranks.append(competition_ranks(without[0][:, None])[:, 0])
    tau_K3, rank_NK = np.array(taus), np.stack(ranks, axis=1)
    rank_N = competition_ranks(whole[0][:, None])[:, 0]
    moved_NK = rank_N[:, None] - rank_NK
    figure = page(style, 1.75, shown)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.0, 0.2 + 0.155 * shown))
    at = np.arange(1, k + 1)
    above.vlines(at, tau_K3[:, 1], tau_K3[:, 2], color=style.ink, linewidth=1.2)
    above.plot(at, tau_K3[:, 0], "o", color=style.ink)
    above.axhline(1, color=style.faint, linewidth=0.6)
    above.set_ylim(min(-0.05, float(np.nanmin(tau_K3)) - 0.05), 1.08)
    above.set_ylabel("Kendall's τ\nwith all")
    above.grid(axis="y")
    above.tick_params(axis="x", length=0)
    shades = diverging(style)
    most = max(1.0, float(np.nanmax(np.abs(moved_NK[:shown]))))
    rgba = shades(0.5 + 0.45 * np.nan_to_num(np.hstack([np.zeros((shown, 1)), moved_NK[:shown]])) / most)
    below.imshow(rgba, aspect="auto", interpolation="nearest")
    for row in range(shown):
        for column, rank in enumerate((rank_N[row], *rank_NK[row])):
            below.text(column, row, _said(rank, rank_N[row]), ha="center", va="center", color=on(rgba[row, column]),
                       fontsize=style.text - 1)  # fmt: skip
    name_rows(below, neurons.rows["name"].head(shown).tolist())
    below.set_xticks(range(k + 1), ["all", *(f"without {name}" for name in neurons.components)])
    below.tick_params(axis="x", length=0)
    below.set_ylabel("Rank (▲ rises, ▼ falls)")
    for spine in below.spines.values():
        spine.set_visible(False)
    return Drawing(figure, _values(neurons, rank_N, rank_NK, tau_K3, shown), _caption(run, neurons, moved_NK),
                   (*left_out(run, shown), *run.people))  # fmt: skip


def _said(rank: float, before: float) -> str:
    if np.isnan(rank):
        return "–"
    return f"{rank:,.0f}" + (" ▲" if rank < before else " ▼" if rank > before else "")


def _values(neurons: Ranked, rank_N: np.ndarray, rank_NK: np.ndarray, tau_K3: np.ndarray, shown: int) -> pd.DataFrame:
    parts = [
        pd.DataFrame({
            "without": name, "name": neurons.rows["name"].head(shown), "rank": rank_N[:shown], "rank_without": rank_NK[:shown, k],
            "tau": tau_K3[k, 0], "tau_low": tau_K3[k, 1], "tau_high": tau_K3[k, 2],
        })
        for k, name in enumerate(neurons.components)
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _caption(run: Run, neurons: Ranked, moved_NK: np.ndarray) -> str:
    size = np.abs(np.nan_to_num(moved_NK))
    row, column = np.unravel_index(int(size.argmax()), size.shape)
    most = (
        f" Farthest moves {neurons.rows['name'][row]}, by {size.max():,.0f} ranks without {neurons.components[column]}."
        if size.max()
        else ""
    )
    return (
        f"Rank of each neuron without one component at a time, the other weights kept, and (above) Kendall's τ with the whole ranking "
        f"over {len(neurons.rows):,} neurons, {run.options.confidence:.0%} intervals from resamples of images and participants.{most}"
    )


FIGURE = FigureKind(
    "leave_one_out", "Ranking without each component, and who moves", draw, (ranked(3), resting_on(2), DRAWS)
)
