"""Scores of units: results of `interpscore score` with their baseline, and scores that someone published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import InputError
from InterpScore.metric import components
from InterpScore.scoring.draws import LARGEST_RESULTS
from InterpScore.tables.neuron_map import normalised
from Microscope.bundle import columns
from Microscope.bundle.evidence.known import Known, number
from Microscope.bundle.evidence.labels import give
from Microscope.bundle.evidence.matching import (
    refuse_other_store,
    refuse_other_weights,
    source_of,
    the_layer,
    unit_in,
    without_folders,
)
from Microscope.bundle.format import Interval
from Microscope.bundle.layers import SourceLayer

_EXPECTED = "the results of `interpscore score`"
BOARD = ("S", "C", "R", "H", "InterpScore")
_COUNTS = {
    "S": "{n_target_images} images of the concept, {n_other_images} others",
    "C": "{n_C_images} images of the concept",
    "R": "{n_target_images} clean images of the concept and their versions",
    "H": "{n_high_ratings} ratings with high activation of {n_ratings}, on {n_high_images} images",
}


def add_results(layers: Sequence[SourceLayer], known: Mapping[str, Known], path: Path) -> None:
    """Note the scores of a run, CSV or JSON with the other beside it.

    Raises:
        InputError: no results, of other layers, units, stores or networks, or of units that have scores already.
    """
    document = read_json(path.with_suffix(".json"), expected=_EXPECTED, largest=LARGEST_RESULTS)
    try:
        assert document is not None
        signature, meanings = dict(document["signature"]), dict(document["columns"])
        rows, warnings = [dict(row) for row in document["neurons"]], [str(one) for one in document["warnings"]]
        names = [str(row["Neuron"]) for row in rows]
        options = dict(signature["options"])
    except (AssertionError, LookupError, TypeError, ValueError):
        found = "no such file" if document is None else "other content"
        raise InputError(f"{path.with_suffix('.json')}: {found}; expected {_EXPECTED}, the CSV with its JSON beside it") from None  # fmt: skip
    touched: dict[str, SourceLayer] = {}
    seen: set[tuple[str, int]] = set()
    for row, name in zip(rows, names, strict=True):
        layer = _layer_of(layers, row, name, signature, path)
        touched[layer.key] = layer
        unit = unit_in(layer, name, path)
        if unit is None:
            known[layer.key].limits.append(f"{name} is no single unit; its scores are in the results alone.")
            continue
        if (layer.key, unit) in seen:  # the rows that --per-concept adds
            continue
        seen.add((layer.key, unit))
        if "InterpScore" in known[layer.key].scores.get(unit, {}):
            raise InputError(f"{path}: unit {unit} of {layer.label} has scores already; expected each unit in the results of one run")  # fmt: skip
        _add_row(known[layer.key], unit, row)
        if row.get("Concept"):
            give(known[layer.key], unit, str(row["Concept"]).split(" | "), f"neuron map of {path.stem} (given, not tested)")  # fmt: skip
    for layer in touched.values():
        _add_run(known[layer.key], path, signature, options, meanings, warnings)


def _layer_of(
    layers: Sequence[SourceLayer], row: Mapping[str, Any], name: str, signature: Mapping[str, Any], path: Path
) -> SourceLayer:
    """The layer of a row, checked against what the run says of stores and networks."""
    told = [row.get("Layer"), name.rpartition(":")[0]]
    measured = [one for one in signature.get("causality", ()) if isinstance(one, dict)]
    if not any(told):
        told = [one.get("layer") for one in measured]
    layer = the_layer(layers, told, path)
    refuse_other_store(
        layer, [one for one in signature.get("stores", ()) if layer.layer in one.get("layers", ())], path
    )
    for one in measured:
        if layer.answers_to(one.get("layer")):
            refuse_other_weights(layer, one.get("provenance"), path)
    return layer


def _add_row(known: Known, unit: int, row: Mapping[str, Any]) -> None:
    notes = without_folders(str(row.get("Notes") or ""))
    for name in _scores_of(row):
        value, excess = number(row[name]), number(row.get(f"{name}_excess"))
        interval = Interval(
            value=value, low=number(row.get(f"{name}_low")), high=number(row.get(f"{name}_high")),
            chance=None if value is None or excess is None else value - excess,
            p_adjusted=number(row.get(f"{name}_p_adjusted")),
            significant=row.get(f"{name}_significant") if isinstance(row.get(f"{name}_significant"), bool) else None,
            untrained=number(row.get(f"{name}_untrained_best")),
            untrained_higher=number(row.get(f"{name}_untrained_higher")),
            n=_counted(name, row), why=(notes or "no reason in the results") if value is None else None,
        )  # fmt: skip
        known.score(unit, name, interval)
    known.note(unit, [part.strip() for part in notes.split(";")])


def _scores_of(row: Mapping[str, Any]) -> list[str]:
    """The columns of a row that have an interval, and the rank."""
    return [name for name in row if f"{name}_low" in row]


def _counted(name: str, row: Mapping[str, Any]) -> str | None:
    try:
        return _COUNTS[name].format(**{key: f"{int(value):,}" for key, value in row.items() if key.startswith("n_") and value is not None})  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return None


def _add_run(
    known: Known, path: Path, signature: Mapping[str, Any], options: Mapping[str, Any], meanings: Mapping[str, str],
    warnings: Sequence[str],
) -> None:  # fmt: skip
    csv = path.with_suffix(".csv")
    about = {name: options.get(name) for name in ("preset", "resamples", "seed", "adjust", "confidence")}
    about["baseline"] = "untrained networks" if signature.get("baseline") else None
    source = source_of(known, "results", csv if csv.is_file() else path, about)
    n = ", ".join(f"{value:,} {name}" for name, value in signature.get("n", {}).items() if isinstance(value, int))
    own = {"S": columns.OF_SELECTIVITY.get(str(options.get("selectivity")))}
    for name in (
        *known.values,
        *(name for scores in known.scores.values() for name in scores),
    ):  # also where all are missing
        if name in meanings and name not in known.columns:
            known.columns[name] = columns.described(name, meanings[name], source.name, n, own.get(name))
    weights = options.get("weights")
    if isinstance(weights, list):
        weights = dict(zip((metric.name for metric in components()), weights))
    if isinstance(weights, Mapping):
        known.weights |= {str(name): float(value) for name, value in weights.items() if number(value) is not None}
    known.simulated |= bool(signature.get("participants_simulated"))
    known.limits += [f"{source.name}: {without_folders(line)}" for line in warnings]


def add_published(layers: Sequence[SourceLayer], known: Mapping[str, Known], path: Path) -> None:
    """Note published scores of the units and concepts that are the same; both where a table has both.

    Raises:
        InputError: no table of scores.
    """
    expected = "a CSV with the columns concept or neuron, and S, C, R, H, InterpScore"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); expected {expected}") from None
    scores = [name for name in BOARD if name in table]
    if not scores or not {"concept", "neuron"} & {*table}:
        raise InputError(f"{path}: columns {', '.join(map(str, table.columns[:6]))}; expected {expected}")
    for layer in layers:
        of = known[layer.key]
        found = 0
        source = source_of(of, "published", path, {})
        for row in table.to_dict("records"):
            units = _units_of(row, of, layer)
            found += bool(units)
            for unit in units:
                for name in scores:
                    value = pd.to_numeric(row[name], errors="coerce")
                    of.column(f"published_{name}")[unit] = value
        if not found:
            of.not_measured["published"] = f"none of the {len(table):,} rows of {path.name} is of a unit and concept of this layer"  # fmt: skip
        for name in scores if found else ():
            of.columns[f"published_{name}"] = columns.published(name, source.name)


def _units_of(row: Mapping[str, str], known: Known, layer: SourceLayer) -> list[int]:
    concept, neuron = normalised(row.get("concept", "")), str(row.get("neuron", "")).strip()
    if neuron:
        unit = int(neuron) if neuron.isdecimal() and len(neuron) < 10 else -1
        if not 0 <= unit < layer.units:
            return []
        label = known.labels.get(unit)
        return [unit] if not concept or (label is not None and normalised(label.text or "") == concept) else []
    scored = [unit for unit, found in known.scores.items() if "InterpScore" in found]
    return [unit for unit in scored if unit in known.labels and normalised(known.labels[unit].text or "") == concept]
