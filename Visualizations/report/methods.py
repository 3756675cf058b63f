"""What the methods text of a run needs to know: which formula each component had, weights, groups of images, kinds of levels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as validated_dataclass

from Activation_Extraction.base.validation import validated
from InterpScore.metric import components
from InterpScore.options import CHOSEN_BY_ACTIVATION
from InterpScore.scoring.results import listed
from Visualizations.report.levels import group_of_levels
from Visualizations.report.summary import ADJUSTMENTS
from Visualizations.run import Run

BUILT_IN = ("S", "C", "R", "H")


@dataclass(frozen=True)
class Weight:
    """A component, its weight, and what it is."""

    name: str
    weight: float
    about: str


@validated_dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class Untrained:
    """What a run with `--baseline` says of the untrained networks."""

    model: str
    networks: list[Any]
    chosen_by: str
    chosen_on: str
    compared_on: int
    notes: list[str] = field(default_factory=list)


def _untrained(run: Run) -> Untrained | None:
    said = run.signature.get("baseline")
    return None if said is None else validated(Untrained, said, f"{run.path}, signature, baseline")


def methods(run: Run) -> dict[str, Any]:
    """What the template says of the run, by the names that it uses."""
    options = run.options
    metrics = components()
    total = sum(options.weights)
    weights = [Weight(m.name, w, m.columns.get(m.name, "")) for m, w in zip(metrics, options.weights)]
    used = [each for each in weights if each.weight]
    untrained = _untrained(run)
    kinds = dict(sorted(options.level_kinds.items()))
    return {
        "options": options,
        "weights": weights,
        "formula": " + ".join(f"{each.weight:g} {each.name}" for each in used),
        "total": "" if abs(total - 1) < 1e-9 else f"{total:g}",
        "kinds": ", ".join(f"{level} {kind}" for level, kind in kinds.items()),
        "groups": [group_of_levels(name, levels, options) for name, levels in options.robustness_groups().items()],
        "not_in_H": listed([str(level) for level, kind in kinds.items() if kind in CHOSEN_BY_ACTIVATION])
        if any(kind in CHOSEN_BY_ACTIVATION for kind in kinds.values()) and not options.synthetic_counts_in_H
        else "",
        "recognised": "h = 1" if options.recognised_at == 1 else "h ≥ ½" if options.recognised_at == 0.5 else f"h ≥ {options.recognised_at:g}",
        "adjusted": ADJUSTMENTS[options.adjust],
        "tests": [metric.name for metric in metrics if metric.test is not None],
        "causality": _measured(run),
        "has_C": "C" in run.table and bool(run.table["C"].notna().any()),
        "others": [each for each in weights if each.name not in BUILT_IN],
        "baseline": untrained,
        "baseline_notes": untrained.notes if untrained else [],
        "filled": ", ".join(f"{name} = {value:g}" for name, value in options.fill_missing.items()),
    }  # fmt: skip


def _measured(run: Run) -> list[str]:
    """Where effects were measured: model, layer and method of each layer."""
    return [
        f"{one['layer']} of {one.get('model')}" + (f" ({one['method']})" if one.get("method") else "")
        for one in run.measured
        if "layer" in one and "name" not in one
    ]
