"""Who passes the label tests: does a score fall when labels go missing or wrong ones are added? METRICS.md, section 7.4."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from InterpScore.sanity.labels import CHECK, DROP, UNITS
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import SANITY, Need
from Visualizations.run import Run
from Visualizations.styles import Style, label

SECTION = "7.4"
_PLACE = re.compile(CHECK.format(labels="(?P<labels>.+)", prevalence="(?P<prevalence>.+?)", unit="(?P<unit>.+)"))
_FALL = re.compile(r"falls by (-?[\d.]+) of its range")
OFFSET = ", offset"
_STEP = 0.5
"""Between the two units of a score and prevalence."""


def draw(run: Run, style: Style) -> Drawing:
    """A row a score, a column a prevalence, two marks a cell: an ideal and a noisy unit."""
    values = _values(run)
    scores, labels = list(values["score"].unique()), list(values["labels"].unique())
    prevalences = list(values["prevalence"].unique())
    pitch = 1.7 * style.text / 72
    figure = Figure(figsize=(style.page, 1.25 + pitch * len(scores)))
    axes = figure.subplots(1, len(labels), sharey=True, squeeze=False)[0]
    for axis, wrong in zip(axes, labels):
        _panel(axis, style, values[values["labels"] == wrong], scores, prevalences)
        axis.set_title(label(wrong))
    axes[0].set_yticks(range(len(scores)), [label(score) for score in scores])
    axes[0].set_ylim(len(scores) - 0.4, -0.6)
    good, bad = style.color("S"), style.color("C")
    marks = [
        Line2D([], [], marker="o", color=good, linestyle="", label="falls"),
        Line2D([], [], marker="X", color=bad, linestyle="", label="does not fall"),
    ]
    figure.legend(handles=marks, loc="outside upper left", ncols=2)
    figure.supxlabel("share of images that show the concept", fontsize="medium")
    of_score = values.groupby(values["score"].str.removesuffix(OFFSET), sort=False)["passed"].all()
    passing = [str(score) for score, passed in of_score.items() if passed]
    caption = (
        f"Does a score fall by more than {DROP:g} of its range when labels are wrong? Each cell: an {UNITS[0]} unit (left) and a noisy "
        f"one, {UNITS[1]} (right); offset: the noisy one, whose mean off the concept is half of that on it. Scores that always "
        f"fall: {', '.join(passing) or 'none'}."
    )  # fmt: skip
    return Drawing(
        figure, values, caption, ("from simulated units of interpscore sanity, not from this run's neurons",)
    )


def _values(run: Run) -> pd.DataFrame:
    """A row a score, kind of wrong labels, prevalence and unit."""
    rows: list[dict[str, Any]] = []
    for check in run.checks[run.checks["section"] == SECTION].to_dict("records"):
        if (place := _PLACE.fullmatch(check["check"])) is None:
            continue
        offset = place["unit"] == UNITS[-1]
        fall = _FALL.match(check["figure"])
        rows.append(
            {
                "score": f"{check['variant']}{OFFSET}" if offset else check["variant"], **place.groupdict(),
                "fall": float(fall[1]) if fall else np.nan, "passed": bool(check["passed"]), "required": bool(check["required"]),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["score", "labels", "prevalence", "unit", "fall", "passed", "required"])


def _panel(axis: Axes, style: Style, values: pd.DataFrame, scores: list[str], prevalences: list[str]) -> None:
    x = values["prevalence"].map(prevalences.index) + np.where(values["unit"] == UNITS[0], -_STEP / 2, _STEP / 2)
    x = x.where(~values["score"].str.endswith(OFFSET), values["prevalence"].map(prevalences.index))
    y = values["score"].map(scores.index)
    for passed, mark, color in ((True, "o", style.color("S")), (False, "X", style.color("C"))):
        chosen = values["passed"] == passed
        axis.plot(x[chosen].to_numpy(), y[chosen].to_numpy(), mark, color=color, markersize=3.2)
    axis.set_xticks(range(len(prevalences)), [value.removeprefix("0") for value in prevalences], rotation=90)
    axis.set_xlim(-0.6, len(prevalences) - 0.4)
    axis.tick_params(length=0)
    axis.grid(axis="y")


def _no_tests(run: Run) -> str:
    return "" if len(_values(run)) else f"no check of section {SECTION} in {run.sources.sanity}"


FIGURE = FigureKind(
    "label_tests",
    "Which scores notice missing and wrong labels",
    draw,
    (SANITY, Need("label tests", _no_tests, (SANITY,))),
)
