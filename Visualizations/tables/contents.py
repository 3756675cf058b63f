"""What the tables hold: the ranking, a summary of the components, and the settings of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from Visualizations.run import Run
from Visualizations.tables.digits import rounded
from Visualizations.tables.latex import MISSING, in_latex, marked, table

SHOWN = 40
"""Neurons in the LaTeX table: the best, of more; the CSV has all."""
ADJUSTMENTS = {"bh": "Benjamini-Hochberg", "by": "Benjamini-Yekutieli", "holm": "Holm", "none": "unadjusted"}


@dataclass(frozen=True)
class Table:
    """A table in both forms.

    Attributes:
        name: of its files.
        caption: what it shows.
        latex: the LaTeX.
        values: the CSV, the digits as in the LaTeX.
    """

    name: str
    caption: str
    latex: str
    values: pd.DataFrame


def _made(name: str, alignment: str, head: list[str], rows: list[list[str]], caption: str, notes: list[str],
          values: pd.DataFrame) -> Table:  # fmt: skip
    shown = [in_latex(text) for text in head]
    return Table(name, caption, table(name, alignment, shown, rows, in_latex(caption), notes), values)


def _cell(value: str, low: str, high: str) -> str:
    return f"{value} {{[}}{low}, {high}{{]}}" if low and high else value


class _Reasons:
    """Numbered footnotes, one for each reason."""

    def __init__(self) -> None:
        self._found: dict[str, int] = {}

    def mark(self, reason: str) -> str:
        return str(self._found.setdefault(reason, len(self._found) + 1)) if reason else ""

    @property
    def notes(self) -> list[str]:
        return [f"\\textsuperscript{{{number}}} {in_latex(reason)}." for reason, number in self._found.items()]


def reason_of(notes: object, name: str) -> str:
    """Why a neuron lacks a value, from its notes: `H: no rated image …`; "" where they do not say.

    >>> reason_of("S: heavy tails; H: no recognised image; selective (p=0.01)", "H")
    'H: no recognised image'
    """
    said = str(notes).split("; ")
    return next((part for part in said if part.startswith(f"{name}: ")), "")


# The ranking ----------------------------------------------------------------------------------------------------------


def ranking(run: Run) -> Table:
    """Every neuron, best first: components and score with intervals, the rank and its interval, marks of significance."""
    names = [*run.component_names, "InterpScore"]
    reasons = _Reasons()
    records = run.table.to_dict("records")
    cells, values = [], []
    for position, row in enumerate(records):
        plain, texed = _identity(run, row)
        for name in names:
            shown = rounded(*(_number(row, f"{name}{end}") for end in ("", "_low", "_high")))
            significant = row.get(f"{name}_significant")
            plain |= dict(zip((name, f"{name}_low", f"{name}_high"), shown))
            plain |= {f"{name}_significant": bool(significant)} if significant is not None else {}
            if shown[0]:
                texed.append(marked(_cell(*shown), "*" if significant is True else ""))
            else:
                plain[f"{name}_missing"] = reason_of(row.get("Notes"), name)
                texed.append(marked(MISSING, reasons.mark(plain[f"{name}_missing"]) if position < SHOWN else ""))
        values.append(plain)
        cells.append(texed)
    tested = [name for name in names if f"{name}_significant" in run.table]
    layered = run.several_layers
    caption = f"Ranking of {len(records):,} neurons by InterpScore{_with_intervals(run)}."
    notes = reasons.notes
    if tested:
        legend = f"Significant {' or '.join(tested)}: p {_adjusted(run)} at most {run.options.min_p_value:g}"
        notes = [f"\\textsuperscript{{*}} {in_latex(legend)}.", *notes]
    notes += [in_latex(text) for text in _remarks(run, len(records))]
    head = ["Rank", "Concept", *(["Layer"] if layered else []), "Neuron", *names]
    frame = pd.DataFrame(values)
    frame = frame[
        [name for name in frame if not name.endswith("_missing")]
        + [name for name in frame if name.endswith("_missing")]
    ]
    return _made("ranking", "lll" + "l" * (layered + len(names)), head, cells[:SHOWN], caption, notes, frame)


def _identity(run: Run, row: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Rank and names of a neuron, for the CSV and for LaTeX."""
    rank, low, high = (
        f"{v:.0f}" if np.isfinite(v := _number(row, name)) else "" for name in ("Rank", "Rank_low", "Rank_high")
    )
    layer = {"Layer": str(row["Layer"])} if run.several_layers else {}
    plain: dict[str, Any] = {
        "Rank": rank,
        "Rank_low": low,
        "Rank_high": high,
        "Concept": row["Concept"],
        **layer,
        "Neuron": row["Neuron"],
    }
    return plain, [_cell(rank, low, high) or MISSING, *map(in_latex, (row["Concept"], *layer.values(), row["Neuron"]))]


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    return float("nan") if value is None else float(value)


def _with_intervals(run: Run) -> str:
    if not run.options.resamples:
        return ", without intervals, as the run has no resamples"
    return f", with {run.options.confidence:.0%} intervals from {run.options.resamples:,} resamples of images and participants"


def _adjusted(run: Run) -> str:
    method = ADJUSTMENTS[run.options.adjust]
    return method if run.options.adjust == "none" else f"adjusted over the neurons ({method})"


def _remarks(run: Run, n: int) -> list[str]:
    said = ["Digits are those that the interval supports; without brackets: no interval."]
    said += [f"The {n - SHOWN:,} other neurons are in the CSV."] if n > SHOWN else []
    return said + [f"{note[0].upper()}{note[1:]}." for note in run.people]


# The summary ----------------------------------------------------------------------------------------------------------


def summary(run: Run) -> Table:
    """A row a component and the score: over how many neurons, mean with interval, spread, and how many are significant."""
    rows, values = [], []
    for name in (*run.component_names, "InterpScore"):
        value_N = run.table[name].dropna().to_numpy(dtype=float)
        mean = rounded(*run.mean_of(name))
        significant = run.table.get(f"{name}_significant")
        of = {
            "Component": name, "Neurons": f"{len(value_N):,}", "Mean": mean[0], "Mean_low": mean[1], "Mean_high": mean[2],
            "SD": f"{value_N.std(ddof=1):.3f}" if len(value_N) > 1 else "",
            **{label: f"{number:.3f}" if len(value_N) else "" for label, number in
               zip(("Lowest", "Median", "Highest"), np.quantile(value_N, [0, 0.5, 1]) if len(value_N) else [0.0] * 3)},
            "Significant": "" if significant is None else f"{int(significant.eq(True).sum()):,}",
        }  # fmt: skip
        values.append(of)
        after = [of[key] or MISSING for key in ("SD", "Lowest", "Median", "Highest", "Significant")]
        rows.append([in_latex(name), of["Neurons"], _cell(*mean) or MISSING, *after])
    about = (
        "intervals are of images and participants, the neurons fixed" if run.has_draws else "no draws, so no intervals"
    )
    caption = f"Components and InterpScore over {len(run.table):,} neurons; {about}."
    head = ["Component", "Neurons", "Mean", "SD", "Lowest", "Median", "Highest", "Significant"]
    notes = [in_latex(f"Significant: p {_adjusted(run)} at most {run.options.min_p_value:g}.")]
    notes += [in_latex(text) for text in _remarks(run, 0)[1:]]
    return _made("summary", "lrlrrrrr", head, rows, caption, notes, pd.DataFrame(values))


# The settings ---------------------------------------------------------------------------------------------------------


def settings(run: Run) -> Table:
    """What the run was asked for, what it rests on, and with what it was made."""
    found = [(name, text) for name, text in _settings(run) if text]
    rows = [[in_latex(name), in_latex(text)] for name, text in found]
    caption = "Settings of the scoring run."
    values = pd.DataFrame(found, columns=["Setting", "Value"])
    return _made("settings", "lp{0.7\\linewidth}", ["Setting", "Value"], rows, caption, [], values)


def _settings(run: Run) -> list[tuple[str, str]]:
    options, signature = run.options, run.signature
    kinds: dict[str, list[str]] = {"clean": [str(options.clean_level)]}
    for level, kind in sorted(options.level_kinds.items()):
        kinds.setdefault(kind, []).append(str(level))
    counts = {name: f"{number:,}" for name, number in signature.get("n", {}).items()}
    if run.simulated and "participants" in counts:
        counts["participants"] += ", simulated"
    weights = ", ".join(f"{name} {weight:g}" for name, weight in zip(run.component_names, options.weights))
    groups = ", ".join(f"{name} (levels {', '.join(map(str, levels))})" if name != str(levels[0]) else f"level {name}"
                       for name, levels in options.robustness_groups().items())  # fmt: skip
    causality = "; ".join(
        f"{each.get('model')}, {each.get('layer')}: {', '.join(map(str, each.get('interventions', [])))}"
        for each in signature.get("causality") or []
        if isinstance(each, dict)
    )
    return [
        ("Formula", str(signature.get("formula", ""))),
        ("Preset", options.preset),
        ("Weights", weights),
        ("Levels", "; ".join(f"{kind} {', '.join(levels)}" for kind, levels in kinds.items()) + "; others benign"),
        ("Recognizable levels", ", ".join(map(str, options.recognizable_levels))),
        ("Groups of R", groups),
        ("Selectivity", options.selectivity),
        ("Recognition score", options.human_score_col),
        ("Recognized from", f"{options.recognised_at:g}"),
        ("Threshold of H", f"quantile {options.threshold_percentile:g}"),
        ("Causality", causality),
        ("Unit of analysis", options.unit_of_analysis),
        ("Missing components", options.on_missing),
        ("Intervals", f"{options.confidence:.0%}, {options.resamples:,} resamples, seed {options.seed}"),
        ("Adjustment of p", f"{ADJUSTMENTS[options.adjust]}, significant at {options.min_p_value:g}"),
        *((name.capitalize(), text) for name, text in counts.items()),
        *((f"SHA-256 of {name.replace('_', ' ')}", f"{each['sha256'][:16]} ({Path(str(each.get('path', ''))).name})")
          for name, each in signature.get("inputs", {}).items() if isinstance(each, dict) and isinstance(each.get("sha256"), str)),
        ("Versions", ", ".join(f"{name} {version}" for name, version in signature.get("versions", {}).items())),
    ]  # fmt: skip


TABLES: tuple[Callable[[Run], Table], ...] = (ranking, summary, settings)
"""Every table, in order."""
