"""Profiles of units: tables of `interpscore profile`, each score beside chance and untrained units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from Activation_Extraction.base.documents import parquet_file, read_json
from Activation_Extraction.base.errors import InputError
from InterpScore.profiles.layer import SCORES
from InterpScore.profiles.results import MEANING
from Microscope.bundle import columns
from Microscope.bundle.evidence.known import Known, number
from Microscope.bundle.evidence.matching import refuse_other_store, source_of, the_layer, unit_in
from Microscope.bundle.format import Interval
from Microscope.bundle.layers import SourceLayer

_EXPECTED = "a profile of `interpscore profile`"


def add_profile(layers: Sequence[SourceLayer], known: Mapping[str, Known], path: Path) -> None:
    """Note a profile, Parquet or CSV with its JSON beside it.

    Raises:
        InputError: no profile, of another layer, other units or another store.
    """
    about = read_json(path.with_suffix(".json"), expected=_EXPECTED)
    signature = (about or {}).get("signature")
    if not isinstance(signature, dict) or signature.get("made_by") != "interpscore profile":
        raise InputError(f"{path.with_suffix('.json')}: {'no such file' if about is None else 'other content'}; expected {_EXPECTED}, with the JSON beside the table")  # fmt: skip
    scored, embedding = (signature.get(name) or {} for name in ("activations", "embedding"))
    layer = the_layer(layers, [scored.get("layer")], path)
    refuse_other_store(layer, [scored], path)
    table, of = _table(path), known[layer.key]
    if len(table) != layer.units or "unit" not in table:
        raise InputError(f"{path}: {len(table):,} units; {layer.label} has {layer.units:,}: expected a profile of this layer")  # fmt: skip
    told = {"embedding": embedding.get("model"), "embedding layer": embedding.get("layer"), "same network": embedding.get("same_network")}  # fmt: skip
    source = source_of(of, "profile", path, told)
    images = signature.get("n", {}).get("images")
    n = f"{images:,} images" if isinstance(images, int) else None
    scores = [name for name in SCORES if name in table]
    for name in scores:
        of.columns[name] = columns.described(name, MEANING[name], source.name, n)
    for row in table.to_dict("records"):
        if (unit := unit_in(layer, row["unit"], path)) is not None:
            for name in scores:
                of.score(unit, name, _interval(row, name, n))
    if not signature.get("untrained"):
        of.limits.append(f"{source.name}: no untrained network was profiled; scores have chance alone beside them.")


def _interval(row: Mapping[str, Any], name: str, n: str | None) -> Interval:
    value = number(row[name])
    return Interval(
        value=value, chance=number(row.get(f"{name}_chance")), untrained=number(row.get(f"{name}_untrained_mean")),
        untrained_higher=number(row.get(f"{name}_untrained_higher")), n=n,
        why=(str(row.get("Notes") or "") or "no reason in the profile") if value is None else None,
    )  # fmt: skip


def _table(path: Path) -> pd.DataFrame:
    if path.suffix.lower() == ".csv":
        return pd.read_csv(path)
    with parquet_file(path, _EXPECTED) as file:
        table: pd.DataFrame = file.read().to_pandas()
    return table
