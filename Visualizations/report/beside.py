"""What other commands found out about the units of a run: labels and profiles, looked up by layer and unit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.tables.files import read_table
from Visualizations.report.network import check_network
from Visualizations.run import Run

_LABELS = (
    "unit", "concept", "candidate", "score", "score_low", "score_high", "p_adjusted", "polysemy", "n_images", "split", "reason",
)  # fmt: skip
_PROFILE = ("unit", "MS_top", "MS_top_chance", "MS_top_spread", "clarity", "clarity_chance", "clarity_spread",
            "redundancy", "redundancy_with", "Notes")  # fmt: skip
_UNTRAINED = ("MS_top_untrained_higher", "clarity_untrained_higher", "redundancy_untrained_higher")
_TEXTS = ("layer", "unit", "concept", "candidate", "split", "reason", "Notes")


class UnitTable:
    """A table with a row for each unit.

    Attributes:
        about: the signature in the JSON beside it; empty where there is none.
    """

    def __init__(self, run: Run, path: Path, columns: tuple[str, ...], more: tuple[str, ...], expected: str) -> None:
        wanted = {*columns, *more, "layer"}
        raw = read_table(path, wanted.__contains__, lambda name: name not in _TEXTS)
        frame = raw.frame
        if missing := [name for name in columns if name not in frame]:
            raise InputError(f"{path}: no column {', '.join(missing)}; expected {expected}")
        for name in frame:
            if name not in _TEXTS:
                try:
                    frame[name] = pd.to_numeric(frame[name]).astype(float)
                except (ValueError, TypeError):
                    raise InputError(f"{path}, column '{name}': not numbers; expected {expected}") from None
        beside = read_json(path.with_suffix(".json"), expected=f"the JSON of {expected}") or {}
        said = beside.get("signature")
        self.about: Mapping[str, Any] = said if isinstance(said, dict) else {}
        self._run = run
        self._texts = {name: frame[name].dropna().astype(str).unique().tolist() for name in frame if name in _TEXTS}
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        for row in frame.to_dict("records"):
            unit = str(row["unit"]).removesuffix(".0")
            self._rows[str(row.get("layer", "")), unit] = {
                str(name): None if value is None or value != value else value for name, value in row.items()
            }

    def text(self, column: str) -> str | None:
        """The text that all rows of a column have; None where they differ."""
        found = [text for text in self._texts.get(column, ()) if text]
        return found[0] if len(found) == 1 else None

    def of(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """The row of a unit of the results; None where the table has none."""
        unit = row["Neuron"].rpartition(":")[2]
        layers = dict.fromkeys(layer for layer, _ in self._rows)
        ours = [names for names in self._run.layer_names if row.get("Layer", names[0]) in names]
        known = [layer for layer in layers if layer == "" or not ours or any(layer in names for names in ours)]
        return self._rows.get((known[0], unit)) if len(known) == 1 else None


def read_labels(run: Run, path: Path) -> UnitTable:
    """The table of `interpscore label`.

    Raises:
        InputError: it cannot be read, is another table, or is of another network.
    """
    table = UnitTable(run, path, _LABELS, (), "the table of `interpscore label`")
    inputs = table.about.get("inputs")
    for store in (inputs.get("stores") or ()) if isinstance(inputs, dict) else ():
        if isinstance(store, dict):
            check_network(run, store, str(path))
    return table


def read_profile(run: Run, path: Path) -> UnitTable:
    """The table of `interpscore profile`.

    Raises:
        InputError: it cannot be read, is another table, or is of another network.
    """
    table = UnitTable(run, path, _PROFILE, _UNTRAINED, "the table of `interpscore profile`")
    activations = table.about.get("activations")
    if isinstance(activations, dict):
        check_network(run, activations, str(path))
    return table
