"""The sanity checks: how many pass, by section and convention, and what intervals cover in simulated studies."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from Visualizations.figures.panels import between, spread
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import SANITY, Need
from Visualizations.run import Run
from Visualizations.styles import Style, label

SECTIONS = {
    "7.1": "noise scores nothing", "7.2": "planted units are found", "7.3": "selective is not causal",
    "7.4": "wrong labels are noticed", "7.5": "invariance", "7.6": "untrained networks", "7.7": "DeepDream gains no H",
}  # fmt: skip
"""Section of METRICS.md → what its checks are of."""
WHOSE = {"InterpScore": ("default", "ours"), "published conventions": ("published",)}
"""Columns of the figure → the variants that they sum up; of section 7.4 the required scores are ours."""
_COVERAGE = re.compile(
    r"^(?P<level>\d+)% intervals of (?P<of>.+?)(?: by .+?| near .+?| up to .+?| of groups that differ)?(?:: (?P<cell>.+?))?(?: cover the truth)?$"
)
_STUDIES = re.compile(r"\(n = (\d+)")
_SHARE = re.compile(r"([\d.]+)% (?:at|of)")
NOMINAL = 95


def draw(run: Run, style: Style) -> Drawing:
    """Left: checks that pass, by section. Right: coverage of 95% intervals, a point a simulated case."""
    passed, covered = _passed(run.checks), _covered(run.checks)
    figure = Figure(figsize=(style.page, 0.4 * style.page))
    axes = figure.subplots(1, 1 + bool(len(covered)), width_ratios=(4, 5)[: 1 + bool(len(covered))], squeeze=False)[0]
    _bars(axes[0], style, passed)
    if len(covered):
        _points(axes[1], style, covered)
    required = run.checks[run.checks["required"]]
    failing = int((~required["passed"]).sum())
    values = pd.concat([passed.assign(panel="passed"), covered.assign(panel="coverage")], ignore_index=True)
    caption = (
        f"Ground truth that the metrics must pass (METRICS, section 7): {len(run.checks):,} checks, of which {len(required):,} are required "
        f"and {failing} of these fail. Left: checks that pass. Right: share of simulated studies whose {NOMINAL}% interval covers the "
        "truth, a point a case; hollow: cases of InterpScore that are known and not required, such as few images with heavy tails. "
        "Published conventions take ratings as independent."
    )  # fmt: skip
    notes = ["from simulated studies and edited networks of interpscore sanity, not from this run's neurons"]
    studies = [
        int(n)
        for n in run.checks.loc[run.checks["check"].str.match(_COVERAGE), "figure"].str.extract(_STUDIES)[0].dropna()
    ]
    notes += [f"each point is of {between(studies)} simulated studies"] if studies else []
    notes += [f"required and failing: {check}" for check in required.loc[~required["passed"], "check"].unique()[:5]]
    return Drawing(figure, values, caption, tuple(notes))


def _passed(checks: pd.DataFrame) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for section, about in SECTIONS.items():
        of_section = checks[checks["section"] == section]
        for whose, variants in WHOSE.items():
            mine = of_section[of_section["variant"].isin(variants)]
            if section == "7.4":  # variants are scores there
                mine = of_section[of_section["required"]] if whose == "InterpScore" else mine
            elif whose == "InterpScore":
                mine = mine[mine["required"]]
            if len(mine):
                rows.append(
                    {
                        "section": f"{section} {about}",
                        "whose": whose,
                        "passed": int(mine["passed"].sum()),
                        "checks": len(mine),
                    }
                )
    return pd.DataFrame(rows, columns=["section", "whose", "passed", "checks"])


def _covered(checks: pd.DataFrame) -> pd.DataFrame:
    """A row a share of simulated studies in which an interval covers the truth."""
    rows: list[dict[str, Any]] = []
    for check in checks.to_dict("records"):
        found = _COVERAGE.match(check["check"])
        if found is None or int(found["level"]) != NOMINAL:
            continue
        of = (
            (found["cell"] or found["of"]).partition(",")[0]
            if " and " in found["of"] or found["of"] in ("R",)
            else found["of"]
        )
        whose = next((name for name, variants in WHOSE.items() if check["variant"] in variants), None)
        shares = [float(share) for share in _SHARE.findall(check["figure"])]
        rows += [
            {"of": of, "check": check["check"], "whose": whose, "covered": share, "required": check["required"]}
            for share in shares
        ]
    return pd.DataFrame(rows, columns=["of", "check", "whose", "covered", "required"])


def _colors(style: Style) -> dict[str, tuple[str, str]]:
    return dict(zip(WHOSE, ((style.color("S"), "o"), (style.color("C"), "X"))))


def _bars(axis: Axes, style: Style, passed: pd.DataFrame) -> None:
    sections, colors = list(passed["section"].unique()), _colors(style)
    for at, (whose, (color, _)) in enumerate(colors.items()):
        mine = passed[passed["whose"] == whose]
        y = mine["section"].map(sections.index) + (at - 0.5) * 0.38
        axis.barh(y, mine["passed"] / mine["checks"], 0.34, color=color)
        for place, row in zip(y, mine.to_dict("records")):
            axis.text(
                1.02, place, f"{row['passed']}/{row['checks']}", va="center", fontsize=style.text - 1, color=style.ink
            )
    axis.set_yticks(range(len(sections)), [label(section, 30) for section in sections])
    axis.set_ylim(len(sections) - 0.5, -0.5)
    axis.set_xlim(0, 1.3)
    axis.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    axis.set_xlabel("share of checks that pass")
    axis.tick_params(axis="y", length=0)


def _points(axis: Axes, style: Style, covered: pd.DataFrame) -> None:
    quantities, colors = list(covered["of"].unique()), _colors(style)
    for at, (whose, (color, mark)) in enumerate(colors.items()):
        for y, of in enumerate(quantities):
            mine = covered[(covered["of"] == of) & (covered["whose"] == whose)]
            shares, required = mine["covered"].to_numpy(float), mine["required"].to_numpy(bool)
            place = y + (at - 0.5) * 0.4 + spread(shares, 0.12)
            hollow = ~required & (mark == "o")  # cases of ours that are known to fail
            axis.plot(shares[~hollow], place[~hollow], mark, color=color, markersize=2.6, alpha=0.65, markeredgewidth=0)
            axis.plot(
                shares[hollow],
                place[hollow],
                mark,
                color=color,
                markersize=2.2,
                markerfacecolor="none",
                markeredgewidth=0.5,
            )
    axis.axvline(NOMINAL, color=style.ink, linewidth=0.8, linestyle="--")
    axis.set_yticks(range(len(quantities)), [label(of, 20) for of in quantities])
    axis.set_ylim(len(quantities) - 0.5, -0.5)
    axis.set_xlim(min(50, float(np.floor(covered["covered"].min() / 10) * 10)) - 2, 102)
    axis.set_xlabel(f"coverage of {NOMINAL}% intervals (%)")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")
    marks = [
        Line2D([], [], marker=mark, color=color, linestyle="", label=whose) for whose, (color, mark) in colors.items()
    ]
    figure = axis.get_figure(root=True)
    assert figure is not None
    figure.legend(handles=marks, loc="outside upper left", ncols=2)


def _no_checks(run: Run) -> str:
    return (
        ""
        if run.checks["section"].isin(list(SECTIONS)).any()
        else f"no check of METRICS, section 7, in {run.sources.sanity}"
    )


FIGURE = FigureKind(
    "sanity",
    "Sanity checks: what passes, and what intervals cover",
    draw,
    (SANITY, Need("checks of section 7", _no_checks, (SANITY,))),
)
