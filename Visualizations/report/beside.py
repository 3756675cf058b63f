"""What other commands found out about the units of a run: labels and profiles, looked up by layer and unit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from Activation_Extraction.base.documents import read_json
from Visualizations.report.network import check_network
from Visualizations.run import Run


class UnitTable:
    """A table with a row for each unit."""

    def __init__(self, run: Run, frame: pd.DataFrame) -> None:
        self._run = run
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        for row in frame.to_dict("records"):
            unit = str(row["unit"]).removesuffix(".0")
            self._rows[str(row.get("layer", "")), unit] = {
                str(name): None if value is None or value != value else value for name, value in row.items()
            }

    def of(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """The row of a unit of the results, None in empty cells; None where the table has none."""
        unit = row["Neuron"].rpartition(":")[2]
        layers = dict.fromkeys(layer for layer, _ in self._rows)
        ours = [names for names in self._run.layer_names if row.get("Layer", names[0]) in names]
        known = [layer for layer in layers if layer == "" or not ours or any(layer in names for names in ours)]
        return self._rows.get((known[0], unit)) if len(known) == 1 else None


def labels_of(run: Run) -> UnitTable | None:
    """The labels, where they were given.

    Raises:
        InputError: they cannot be read, are another table, or of another network.
    """
    if run.sources.labels is None:
        return None
    inputs = _signature(run.sources.labels).get("inputs")
    stores = inputs.get("stores") if isinstance(inputs, dict) else None
    for store in stores if isinstance(stores, list) else ():
        if isinstance(store, dict):
            check_network(run, store, str(run.sources.labels))
    return UnitTable(run, run.labels)


def profile_of(run: Run) -> UnitTable | None:
    """The profile, where it was given.

    Raises:
        InputError: it cannot be read, is another table, or of another network.
    """
    if run.sources.profile is None:
        return None
    activations = _signature(run.sources.profile).get("activations")
    if isinstance(activations, dict):
        check_network(run, activations, str(run.sources.profile))
    return UnitTable(run, run.profile)


def split_of_labels(run: Run) -> str | None:
    """How all labels were chosen, "half" or "none"; None without labels, or where they differ."""
    found = [] if run.sources.labels is None else run.labels["split"].dropna().unique().tolist()
    return str(found[0]) if len(found) == 1 else None


def _signature(table: Any) -> Mapping[str, Any]:
    """The signature in the JSON beside a table; empty where there is none."""
    found = (read_json(Path(table).with_suffix(".json")) or {}).get("signature")
    return found if isinstance(found, dict) else {}
