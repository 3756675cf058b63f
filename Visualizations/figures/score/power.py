"""How large a study must be: the difference that it detects at other sizes, and which component the uncertainty is from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import ndtri

from Activation_Extraction.base.errors import InputError
from InterpScore.helpers import Floats
from InterpScore.scoring.draws import draws_path
from Visualizations.figures.score.drawing import left_out, name_rows, page
from Visualizations.figures.score.ranked import Ranked, p_of_pairs, ranked
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import DRAWS
from Visualizations.run import Run
from Visualizations.styles import COMPONENT_MARKS, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POWER = 0.8
SIZES = 2.0 ** np.arange(-2, 5)
"""Sizes of a study, as multiples of this one."""
_MOST = 24


def draw(run: Run, style: Style) -> Drawing:
    """Left, the detectable difference against the size of the study; right, shares of the variance of each score."""
    neurons = Ranked.of(run)
    difference_P, spread_P, _ = p_of_pairs(neurons.score_N, neurons.draws("InterpScore"))
    if not np.isfinite(spread_P).any():
        raise InputError(
            f"{draws_path(run.path)}: no two scores whose difference varies over 20 draws; score again with more --draws"
        )
    curves = detectable(spread_P[np.isfinite(spread_P)], run.options.min_p_value)
    share_NK = shares_of_variance(neurons)
    shown = min(_MOST, len(neurons.rows))
    figure = page(style, 1.0, shown, least=2.6)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    _curves(left, curves, np.abs(difference_P[np.isfinite(spread_P)]), run, style)
    _shares(right, neurons, share_NK[:shown], style)
    shares = pd.DataFrame(share_NK[:shown], columns=[f"share_{name}" for name in neurons.components])
    values = pd.concat([curves.assign(mark="curve"), shares.assign(name=neurons.rows["name"].head(shown), mark="variance")],
                       ignore_index=True)  # fmt: skip
    caption = (
        f"Left: difference of two InterpScores that is detected with {POWER:.0%} power, two-sided at {run.options.min_p_value:g} for one pair "
        f"and over all {len(spread_P):,} pairs (Bonferroni), median and middle half over pairs. Standard deviations are those of the draws, "
        f"and shrink with the square root of the size: images and participants grow together. Dotted: median and largest difference found. "
        f"Right: share of each component in the variance of the score over resamples."
    )
    notes = ["other sizes are extrapolated, none was measured"]
    return Drawing(figure, values, caption, (*left_out(run, shown), *notes, *run.people))


def detectable(spread_P: Floats, level: float) -> pd.DataFrame:
    """Detectable differences at each size: (z of the level + z of the power) · SD / √size; quartiles over pairs."""
    rows, quartiles = [], np.quantile(spread_P, [0.25, 0.5, 0.75])
    for tests, alpha in ((1, level), (len(spread_P), level / len(spread_P))):
        z = float(ndtri(1 - alpha / 2) + ndtri(POWER))
        rows += [(tests, size, *(z * quartiles / np.sqrt(size))) for size in SIZES]
    return pd.DataFrame(rows, columns=["tests", "size", "detectable_25", "detectable", "detectable_75"])


def shares_of_variance(neurons: Ranked) -> Floats:
    """Covariance of each weighted component with the score over its variance, `(N, K)`; each row sums to 1."""
    present_NK = np.isfinite(neurons.estimate_NK)
    weight_NK = present_NK * neurons.weight_K
    parts_KNB = np.stack([neurons.draws(name) for name in neurons.components])
    parts_KNB = np.where(present_NK.T[:, :, None], parts_KNB, 0.0) * weight_NK.T[:, :, None]
    there_NB = np.isfinite(parts_KNB).all(0)
    n_N = np.maximum(there_NB.sum(1), 1)
    parts_KNB = np.where(there_NB, parts_KNB, 0.0)
    parts_KNB = np.where(there_NB, parts_KNB - parts_KNB.sum(2, keepdims=True) / n_N[:, None], 0.0)
    covariance_NK = (parts_KNB * parts_KNB.sum(0)).sum(2).T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(covariance_NK / covariance_NK.sum(1, keepdims=True))


def _curves(axes: Axes, curves: pd.DataFrame, found: Floats, run: Run, style: Style) -> None:
    tests = curves["tests"].drop_duplicates().tolist()
    for count, color, dashes, name in zip(
        tests, (style.color("S"), style.color("C")), ("-", (0, (4, 2))), ("one pair", "all pairs")
    ):
        rows = curves[curves["tests"] == count]
        axes.fill_between(
            rows["size"], rows["detectable_25"], rows["detectable_75"], color=color, alpha=0.2, linewidth=0
        )
        axes.plot(rows["size"], rows["detectable"], color=color, linestyle=dashes, label=name)
    for value, name in ((np.median(found), "found"), (found.max(), "_")):
        axes.axhline(value, color=style.ink, linewidth=0.8, linestyle=(0, (1, 1.5)), label=name)
    axes.axvline(1, color=style.faint, linewidth=0.6)
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(SIZES, ["¼", "½", *(f"{size:g}" for size in SIZES[2:])])
    axes.set_xlabel("Size of the study, 1: this one" + _size_of(run))
    axes.set_ylabel("Detectable difference of InterpScore")
    axes.set_ylim(0, None)
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, handlelength=1.6, columnspacing=0.8, borderpad=0
    )


def _size_of(run: Run) -> str:
    """What the study has now, where the run says so."""
    rows = run.table[run.table["Rank"].notna()]
    said = [f"{rows[column].median():,.0f} {what}" for column, what in
            (("n_target_images", "images"), ("n_ratings", "ratings")) if column in rows and rows[column].notna().any()]  # fmt: skip
    return f"\n(median a concept: {', '.join(said)})" if said else ""


def _shares(axes: Axes, neurons: Ranked, share_NK: Floats, style: Style) -> None:
    y = np.arange(len(share_NK))
    for column, name in enumerate(neurons.components):
        axes.plot(
            share_NK[:, column], y, COMPONENT_MARKS.get(name, "o"), color=style.color(name), label=name, alpha=0.9
        )
    axes.axvline(0, color=style.faint, linewidth=0.6)
    name_rows(axes, neurons.rows["name"].head(len(share_NK)).tolist(), 24)
    axes.set_xlabel("Share of the variance of the score")
    axes.grid()
    axes.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=len(neurons.components),
        handletextpad=0.1,
        columnspacing=0.8,
        borderpad=0,
    )


FIGURE = FigureKind("power", "Detectable differences at other sizes of the study", draw, (ranked(2), DRAWS))
