"""Labels of units: tables of `interpscore label`, and neuron maps, which are shown as given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from Activation_Extraction.base.documents import parquet_file, read_json
from Activation_Extraction.base.errors import InputError
from InterpScore.labelling.labels_table import COLUMNS, NO_LABEL
from InterpScore.labelling.results import FORMAT
from InterpScore.tables.neuron_map import read_neuron_map
from Microscope.bundle import columns
from Microscope.bundle.evidence.known import Known, number
from Microscope.bundle.evidence.matching import refuse_other_store, source_of, the_layer, unit_in
from Microscope.bundle.format import Interval, Label, RunnerUp
from Microscope.bundle.layers import SourceLayer

LARGEST = 512 * 2**20
GIVEN = "neuron map (given, not tested)"
_EXPECTED = "labels of `interpscore label`"
_NEEDED = ("unit", "concept", "score", "candidate")
_BY = {
    "auprc": ("AUPRC above chance", 0.0), "f1": ("F1 of images above chance", 0.0), "correlation": ("correlation", 0.0),
    "soft-wpmi": ("soft-WPMI", None),
}  # fmt: skip
"""How concepts were chosen → the score's name, and its value at chance."""


def add_labels(layers: Sequence[SourceLayer], known: Mapping[str, Known], path: Path) -> None:
    """Note the labels of a table, Parquet with its JSON beside it.

    Raises:
        InputError: no labels, of other layers, units or stores, or of units that have labels already.
    """
    table, about = _read(path)
    signature = about["signature"]
    chosen_by = str(signature.get("options", {}).get("by", ""))
    by, chance = _BY.get(chosen_by, ("score", None))
    groups = table.groupby("layer", sort=False) if "layer" in table else [(None, table)]
    for name, rows in groups:
        layer = the_layer(layers, [name], path)
        inputs = signature.get("inputs", {})
        refuse_other_store(layer, inputs.get("stores", ()), path)
        of = known[layer.key]
        n = signature.get("n", {})
        source = source_of(of, "labels", path, {**signature.get("options", {}), "test": signature.get("test")})
        concepts = inputs.get("concepts")
        words = concepts.get("model") if isinstance(concepts, Mapping) else None
        split = "evaluation half" if signature.get("options", {}).get("split") == "half" else "all images"
        of_what = f"words, {words.get('model', 'a network')}" if isinstance(words, Mapping) else "labels of images"
        meaning = f"{by} of the unit's label, on the {split}"
        tested = n.get("tested_on", n.get("images"))
        counted = f"{tested:,} images" if isinstance(tested, int) else None
        of.columns["label_score"] = columns.described(
            "label_score", meaning, source.name, counted, columns.OF_LABELS.get(chosen_by)
        )
        of.columns["polysemy"] = columns.described("polysemy", "concepts that the unit needs; 0 without a label", source.name, counted)  # fmt: skip
        if split == "all images":
            of.limits.append("Labels were chosen on the images that they are scored on: their scores are too high, their p-values are not.")  # fmt: skip
        for row in rows.to_dict("records"):
            unit = unit_in(layer, row["unit"], path)
            if unit is None or unit in of.labels:
                raise InputError(f"{path}: unit {row['unit']} of {layer.label} is no unit or has a label already; expected each once")  # fmt: skip
            label = _label(row, f"{of_what}, {split}", chance)
            of.labels[unit] = label
            if label.score is not None and label.score.value is not None:
                of.column("label_score")[unit] = label.score.value
            if label.polysemy is not None:
                of.column("polysemy")[unit] = label.polysemy


def _label(row: Mapping[str, Any], source: str, chance: float | None) -> Label:
    concept = row["concept"] if isinstance(row["concept"], str) else None
    images, shows = number(row.get("n_images")), number(row.get("n_concept"))
    n = None if images is None or shows is None else f"{shows:,.0f} images of the concept, {images - shows:,.0f} others"
    reason = str(row.get("reason") or "") or None
    score = Interval(
        value=number(row["score"]), low=number(row.get("score_low")), high=number(row.get("score_high")), chance=chance,
        p_adjusted=number(row.get("p_adjusted")), significant=concept is not None, n=n,
        why=reason if number(row["score"]) is None else None,
    )  # fmt: skip
    runners = [
        RunnerUp(text=str(one["concept"]), score=number(one["score"]), low=number(one["low"]), high=number(one["high"]))
        for one in _list(row.get("runners_up"))
    ]
    if concept is None and isinstance(row["candidate"], str):
        runners = [RunnerUp(text=row["candidate"], score=number(row["score"])), *runners]
    polysemy = number(row.get("polysemy"))
    return Label(
        text=concept, source=source, score=score, runners_up=runners,
        prediction_set=[str(one) for one in _list(row.get("prediction_set"))],
        needs=[str(one) for one in _list(row.get("concepts"))][1:],
        polysemy=None if polysemy is None else int(polysemy),
        why=(reason or NO_LABEL) if concept is None else reason,
    )  # fmt: skip


def _list(value: Any) -> list[Any]:
    return [] if value is None or isinstance(value, float) else list(value)


def _read(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    about = read_json(path.with_suffix(".json"), expected=_EXPECTED, largest=LARGEST)
    if about is None or about.get("format") != FORMAT or not isinstance(about.get("signature"), dict):
        raise InputError(f"{path.with_suffix('.json')}: {'no such file' if about is None else 'other content'}; expected {_EXPECTED}, with the JSON beside the table")  # fmt: skip
    with parquet_file(path, _EXPECTED) as file:
        table = file.read().to_pandas()
    if missing := [name for name in _NEEDED if name not in table]:
        raise InputError(f"{path}: no column '{missing[0]}'; expected {_EXPECTED}: {', '.join(COLUMNS)}")
    return table, about


def add_neuron_map(layers: Sequence[SourceLayer], known: Mapping[str, Known], path: Path) -> None:
    """Note the concepts of a neuron map for units that have no label."""
    for name, concepts in read_neuron_map(path).items():
        answering = [layer for layer in layers if ":" not in name or layer.answers_to(name.rpartition(":")[0])]
        layer = answering[0] if len(answering) == 1 else the_layer(layers, [name.rpartition(":")[0]], path)
        if (unit := unit_in(layer, name, path)) is None:
            continue
        give(known[layer.key], unit, concepts, GIVEN)
    for layer in layers:
        source_of(known[layer.key], "labels", path, {"given": True})


def give(known: Known, unit: int, concepts: Sequence[str], source: str) -> None:
    """Note a concept that was given, unless the unit has a label that was tested."""
    if unit not in known.labels:
        known.labels[unit] = Label(text=concepts[0], source=source, needs=list(concepts[1:]))
