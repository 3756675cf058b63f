"""The dose curve: how far the embedding moves as a unit is scaled from 0 to several times its activation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from Activation_Extraction.base.errors import InputError
from InterpScore.helpers import Floats
from InterpScore.tables.effects import LayerEffects, strength_of
from Visualizations.figures.panels import FIRST, MOST, between, entitle, name_axes, not_shown, panels
from Visualizations.kinds import Drawing, FigureKind
from Visualizations.needs import DATA, EFFECTS, Need
from Visualizations.responses import Response, Study
from Visualizations.run import Run
from Visualizations.styles import Style

_FEWEST = 3
_IN_C = (0.0, 2.0)


def draw(run: Run, style: Style) -> Drawing:
    """A panel a neuron: lines of the images of its concept, their mean, and the mean of other concepts' images."""
    study = Study.of(run)
    curves: list[tuple[Response, pd.DataFrame]] = []
    for response in study.responses(run.table):
        if len(curves) == (MOST if len(run.table) <= MOST else FIRST + 1):
            break
        if (found := _curve(run, study, response)) is not None and found.notna()["effect"].any():
            curves.append((response, found))
    if not curves:
        raise InputError("no neuron of the run has measured effects; expected effects of its units")
    values = pd.concat([found for _, found in curves], ignore_index=True)
    figure, axes = panels(style, len(curves), 0.85, legend=True)
    for axis, (response, found) in zip(axes, curves):
        _panel(axis, style, found)
        C = response.row.get("C", np.nan)
        entitle(axis, style, response.name, f"C {C:.2f}" if np.isfinite(C) else "C: not computed")
    name_axes(figure, "scale λ of the unit (0 ablates, 1 leaves it)", "change of the embedding Δ")
    marks = [
        Line2D([], [], color=style.color("C"), marker="s", label="its concept (mean; thin: an image)"),
        Line2D([], [], color=style.faint, marker="o", linestyle="--", label="other concepts (mean)"),
    ]
    figure.legend(handles=marks, loc="outside upper left", ncols=2)
    n = values[values["image"].notna()].groupby("name")["image"].nunique()
    caption = (
        "Relative change of the image embedding, Δ = ‖E_λ − E‖ / ‖E‖, on clean images as the unit is scaled by λ; λ = 1 is the "
        f"network itself. Squares at 0 and 2 enter C. Images of the concept: {between(n)}."
    )  # fmt: skip
    return Drawing(figure, values, caption, tuple(not_shown(len(run.table), len(curves))))


def _doses(effects: LayerEffects) -> dict[float, str]:
    found = {strength_of(kind): kind for kind in effects.values_VM}
    return dict(sorted((s, k) for s, k in found.items() if s is not None))


def _curve(run: Run, study: Study, response: Response) -> pd.DataFrame | None:
    """Rows of one neuron: each image of its concept, the mean of these, and that of other concepts (`side`)."""
    table = run.with_effects
    layer = response.row.get("Layer", "") if table.layer_of else ""
    effects = table.layer_effects.get(layer)
    if effects is None or response.row["Neuron"] not in effects.units:
        return None
    v = effects.units.index(response.row["Neuron"])
    clean_M = response.clean_I[effects.image_M]
    target_M = response.target_I[effects.image_M] & clean_M
    rows: list[dict[str, Any]] = []
    for strength, kind in {**_doses(effects), 1.0: ""}.items():
        change_M: Floats = effects.values_VM[kind][v] if kind else np.zeros(len(clean_M))  # λ = 1 changes nothing
        about = {"name": response.name, "scale": strength}
        for side, chosen_M in (("concept", target_M), ("others", clean_M & ~target_M)):
            measured = change_M[chosen_M & np.isfinite(change_M)]
            mean = float(measured.mean()) if len(measured) else np.nan
            rows.append({**about, "side": side, "image": None, "effect": mean})
        images = effects.image_M[target_M]
        rows += [
            {**about, "side": "concept", "image": table.images[i], "effect": d}
            for i, d in zip(images, change_M[target_M])
        ]
    return pd.DataFrame(rows).sort_values("scale", kind="stable")


def _panel(axis: Axes, style: Style, values: pd.DataFrame) -> None:
    of_images = values[values["image"].notna()].pivot_table("effect", "scale", "image", sort=False)
    axis.plot(of_images.index.to_numpy(), of_images.to_numpy(), color=style.color("C"), linewidth=0.4, alpha=0.45)
    for side, color, line in (("others", style.faint, "--"), ("concept", style.color("C"), "-")):
        mean = values[values["image"].isna() & (values["side"] == side)]
        axis.plot(mean["scale"].to_numpy(), mean["effect"].to_numpy(), line, color=color, linewidth=1.4)
        in_C = mean[mean["scale"].isin(_IN_C)] if side == "concept" else mean
        axis.plot(
            in_C["scale"].to_numpy(),
            in_C["effect"].to_numpy(),
            "s" if side == "concept" else "o",
            color=color,
            markersize=3,
        )
    axis.set_ylim(bottom=0)
    axis.locator_params(nbins=3, axis="y")
    axis.locator_params(nbins=5, axis="x", integer=True)


def _few_doses(run: Run) -> str:
    doses = {strength for effects in run.with_effects.layer_effects.values() for strength in _doses(effects)} - {1.0}
    if len(doses) >= _FEWEST:
        return ""
    found = ", ".join(f"{strength:g}" for strength in sorted(doses)) or "none"
    return f"measured at λ = {found}; expected at least {_FEWEST} doses: interpscore causality --also '0.5 1.5 4'"


FIGURE = FigureKind(
    "dose", "Dose curve of interventions", draw, (DATA, EFFECTS, Need(f"{_FEWEST} doses", _few_doses, (DATA, EFFECTS)))
)
