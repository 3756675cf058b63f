"""The result of a scoring run: a ranked table with its signature, and its files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from Activation_Extraction.base.files import check_writable, write_together
from Activation_Extraction.base.text import as_csv, html_table
from InterpScore.errors import OutputError
from InterpScore.metric import PERMUTED_LABELS, Metric, components, metrics
from InterpScore.scoring.draws import Draws, draws_path

_SHOWN_NEURONS = 40
"""In a notebook."""


def columns() -> dict[str, str]:
    """Column of the results → its meaning, in order; names with `<…>` represent several, at the end."""
    registered, beside = components(), [metric for metric in metrics() if metric.weight is None]
    names = [metric.name for metric in registered]
    above_chance = [f"{metric.name}_excess" for metric in registered if metric.null]
    own = {column: text for metric in metrics() for column, text in metric.columns.items()}
    out = {
        "Neuron": "the unit, as in the neuron map",
        "Layer": "the layer of the unit; only with activations from stores",
        "Concept": "its concept, as in the neuron map; several, which count as one, are joined by a bar",
        **{name: own[name] for name in names},
        "InterpScore": f"weighted mean of {listed(names)} (METRICS 5)",
        "Rank": "1 is the highest InterpScore; ties share a rank; empty where components are missing that others have, unless with --rank-all, and in the rows that --per-concept adds",
        "Notes": "why a value or an interval is missing, what the score rests on, and what is significant",
        "InterpScore_low": "interval of InterpScore, lower end (crossed bootstrap, METRICS 6); empty where a component has too few images or raters for one",
        "InterpScore_high": "upper end",
        "Rank_low": "interval of Rank among those ranked, best end",
        "Rank_high": "worst end",
    }
    for name in names:
        out |= {f"{name}_low": f"interval of {name}, lower end", f"{name}_high": "upper end"}
    for metric in registered:
        if metric.null == PERMUTED_LABELS:
            text = f"{metric.name} minus its mean under labels permuted within level; 0 is chance (METRICS 5)"
        elif metric.null:
            text = f"{metric.name} minus what chance gives"
        else:
            continue
        out[f"{metric.name}_excess"] = own.get(f"{metric.name}_excess", text)
    out |= {
        "I_excess": f"weighted mean of {listed(above_chance)}; 0 is chance (METRICS 5); empty where none has weight",
        "I_excess_low": "its interval, lower end",
        "I_excess_high": "upper end",
    }
    for metric in registered:
        out |= _of_test(metric, own)
    for metric in beside:
        name = metric.name
        out |= {name: own[name], f"{name}_low": f"interval of {name}, lower end", f"{name}_high": "upper end"}
        out |= ({f"{name}_excess": own[f"{name}_excess"]} if metric.null else {}) | _of_test(metric, own)
    further = {column for metric in metrics() for column in metric.further}
    for is_count in (False, True):
        for column, text in own.items():
            if column not in out and "<" not in column and column.startswith("n_") == is_count:
                out[column] = text
                if column in further:
                    out |= {f"{column}_low": "its interval, lower end", f"{column}_high": "upper end"}
    out |= {f"<score>_{end}": text for end, text in UNTRAINED.items()}
    return out | {column: text for column, text in own.items() if "<" in column}


UNTRAINED = {
    "evaluation": "a component, a score of METRICS 8 or InterpScore of the neuron, on the images that the next columns are of (METRICS 13); with --baseline",
    "untrained": "its mean over all units of the untrained networks, for the same concept",
    "untrained_sd": "its standard deviation over them",
    "untrained_higher": "share of them that score higher than the neuron, ties ½; descriptive, not a test",
    "untrained_best": "that of the unit of each untrained network that was chosen for the concept on other images; mean over networks",
    "untrained_best_sd": "its standard deviation over networks; empty for one",
}
"""Ends of the columns of a run with `--baseline` → their meaning."""


def untrained_columns() -> list[str]:
    """The columns that `--baseline` adds."""
    scores = [*(metric.name for metric in metrics()), "InterpScore"]
    return [f"{score}_{end}" for score in scores for end in UNTRAINED]


def _of_test(metric: Metric, own: Mapping[str, str]) -> dict[str, str]:
    """The columns of a metric's test, if it has one."""
    if metric.test is None:
        return {}
    p = f"{metric.name}_p"
    adjusted = {p: own[p], f"{p}_adjusted": f"{p} adjusted over all neurons of the run"}
    return adjusted | {f"{metric.name}_significant": f"{p}_adjusted is at most --min-p-value"}


def listed(names: Sequence[str]) -> str:
    """Names as in a sentence.

    >>> listed(["S", "C", "R"])
    'S, C and R'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


@dataclass(frozen=True)
class BenchmarkResult:
    """A ranked table of neurons and its provenance.

    Attributes:
        table: one row per neuron, best first; see `columns`.
        signature: versions, options, seed, the SHA-256 of every input, counts.
        warnings: what changes how the table should be read.
        layers: with several layers, one row per layer: numbers of neurons and of scored ones, of units of the layer, and the
            share of them that neurons of the map are; median, standard deviation and mean InterpScore, and mean I_excess,
            means with intervals from the same resamples; and the number significant in each test.
        draws: resamples of every component, for figures and comparisons; None without resampling.
    """

    table: pd.DataFrame
    signature: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    layers: pd.DataFrame | None = None
    draws: Draws | None = None

    def save(self, path: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write the table as CSV, and beside it everything as JSON and the draws; return the paths.

        Draws of earlier results of that name are removed where these have none.

        Raises:
            OutputError: they cannot be written; existing files are unchanged.
        """
        csv_path, json_path, npz_path = result_paths(path)
        check_writable(csv_path)
        written: dict[Path, str | bytes] = {csv_path: as_csv(self.table, index=False), json_path: self.to_json()}
        write_together(written | ({npz_path: self.draws.file} if self.draws else {}))
        if self.draws is None:
            npz_path.unlink(missing_ok=True)
            return csv_path, json_path
        return csv_path, json_path, npz_path

    def to_frame(self) -> pd.DataFrame:
        """The table, as a copy: one row per neuron, best first; `columns` tells what each column means."""
        return self.table.copy()

    def _repr_html_(self) -> str:
        """The ranking in a notebook: values with their intervals, notes of each neuron, and the warnings."""
        names = [*(metric.name for metric in components()), "InterpScore", "I_excess"]
        of_neuron = [name for name in ("Rank", "Neuron", "Layer", "Concept") if name in self.table]
        records = _records(self.table.head(_SHOWN_NEURONS))
        rows = [
            [
                *("–" if row[name] is None else row[name] for name in of_neuron),
                *(_with_interval(row, n) for n in names),
                row["Notes"],
            ]
            for row in records
        ]
        hidden = len(self.table) - len(records)
        notes = [*([f"{hidden:,} more neurons are in to_frame()"] if hidden else []), *self.warnings]
        return html_table([*of_neuron, *names, "Notes"], rows, f"{len(self.table):,} neurons, best first", notes)

    def to_json(self) -> str:
        """Signature, warnings, what each column means, and the table; missing values are null."""
        signature = self.signature | ({"draws": self.draws.description} if self.draws else {})
        described = {name: text for name, text in columns().items() if name in self.table or "<" in name}
        document: dict[str, Any] = {"signature": signature, "warnings": self.warnings, "columns": described}
        document |= {} if self.layers is None else {"layers": _records(self.layers)}
        document |= {"neurons": _records(self.table)}
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    """A value with its interval: `0.286 [0.230, 0.340]`."""
    value, low, high = (row.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    if value is None:
        return "–"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def result_paths(path: str | os.PathLike[str]) -> tuple[Path, Path, Path]:
    """The paths of the table, the JSON and the draws.

    Raises:
        OutputError: a folder, or a name that ends in `.json` and leaves none for the table.
    """
    path = Path(path)
    if not path.name or os.path.isdir(path):
        raise OutputError(f"{path}: is a folder; expected the name of a file to write")
    if path.suffix.lower() == ".json":
        raise OutputError(
            f"{path}: the JSON of the same name is written as well; expected a name such as {path.stem}.csv"
        )
    return path, path.with_suffix(".json"), draws_path(path)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): _plain(value) for key, value in row.items()} for row in table.to_dict(orient="records")]


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
