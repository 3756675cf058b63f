"""The result of a labelling run: a table of units with its signature, and its files."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from Activation_Extraction.base.files import as_json, check_writable, write_together
from Activation_Extraction.base.run_folder import versions_of
from Activation_Extraction.base.text import html_table
from InterpScore.errors import InputError, OutputError
from InterpScore.helpers import Ints
from InterpScore.labelling.labels_table import COLUMNS
from InterpScore.labelling.options import LabellingOptions
from InterpScore.labelling.presence import AnyPresence

FORMAT = "interpscore-labels/1"
EXPORTS = ("clip-dissect", "milan")
_SHOWN_UNITS = 40
"""In a notebook."""
_PACKAGES = ("interpscore", "numpy", "scipy", "pandas", "pyarrow")


@dataclass(frozen=True, eq=False)
class UnitLabels:
    """A label for each unit, and where it comes from.

    Attributes:
        table: a row for each unit; see `COLUMNS`.
        signature: versions, options, seed, hashes of inputs, counts, the test.
        remarks: what changes how the table should be read.
        evaluation: the images that labels were tested on, numbers.
        presence: which images show which concepts.
    """

    table: pd.DataFrame
    signature: dict[str, Any]
    remarks: list[str] = field(default_factory=list)
    evaluation: Ints = field(default_factory=lambda: np.arange(0))
    presence: AnyPresence | None = None

    def to_frame(self) -> pd.DataFrame:
        """The table, as a copy; `COLUMNS` tells what each column means."""
        return self.table.copy()

    def neuron_map(self, every: bool = False) -> dict[str, str | list[str]]:
        """The concept or concepts of units, as scoring takes it, by unit, or `layer:unit` with several layers.

        Args:
            every: every unit with a label, not only the best of each concept.
        """
        units = self.table[self.table["concept"].notna() if every else self.table["chosen"]]
        several = "layer" in units and self.table["layer"].nunique() > 1
        return {
            f"{row['layer']}:{row['unit']}" if several else str(row["unit"]): row["concepts"][0]
            if len(row["concepts"]) == 1
            else list(row["concepts"])
            for _, row in units.iterrows()
        }

    def export(self, layout: str) -> pd.DataFrame:
        """The labels as another program writes them, units without one left out.

        Args:
            layout: `clip-dissect` (layer, unit, description, similarity) or `milan` (layer, unit, description).

        Raises:
            InputError: another layout.
        """
        if layout not in EXPORTS:
            raise InputError(f"--export: found {layout!r}; expected one of {', '.join(EXPORTS)}")
        units = self.table[self.table["concept"].notna()]
        columns = {"layer": units.get("layer", ""), "unit": units["unit"], "description": units["concept"]}  # fmt: skip
        if layout == "clip-dissect":
            columns["similarity"] = units["score"]
        return pd.DataFrame(columns)

    def files(self, path: str | os.PathLike[str]) -> dict[Path, bytes]:
        """What is written: the table in Parquet, and beside it everything as JSON.

        Raises:
            OutputError: another kind of file.
        """
        target = Path(path)
        if target.suffix.lower() not in (".parquet", ".pq"):
            raise OutputError(f"{target}: expected the name of a .parquet file to write")
        content = self.table.to_parquet(None, index=False)
        return {target: content, target.with_suffix(".json"): self.to_json()}

    def save(self, path: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write the table as Parquet, and beside it everything as JSON; return the paths.

        Raises:
            OutputError: they cannot be written; existing files are unchanged.
        """
        files = self.files(path)
        table, beside = files
        check_writable(table)
        write_together(files)
        return table, beside

    def to_json(self) -> bytes:
        """Format, signature, remarks, what each column means, and the table; missing values are null."""
        described = {name: text for name, text in COLUMNS.items() if name in self.table}
        rows = json.loads(self.table.to_json(orient="records", double_precision=15))
        return as_json(
            {
                "format": FORMAT,
                "signature": self.signature,
                "remarks": self.remarks,
                "columns": described,
                "units": rows,
            }
        )

    def _repr_html_(self) -> str:
        """The labels in a notebook: scores with their intervals, and the runner-up."""
        columns, rows = self.shown(self.table.head(_SHOWN_UNITS))
        hidden = len(self.table) - len(rows)
        notes = [*([f"{hidden:,} more units are in to_frame()"] if hidden else []), *self.remarks]
        return html_table(columns, rows, self.summary(), notes)

    def shown(self, table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
        """Columns and cells of rows of the table, for people."""
        return rows_to_show(table, self.signature["options"]["confidence"])

    def summary(self) -> str:
        """How many units have a label."""
        n = self.signature["n"]
        return f"{n['labelled']:,} of {n['units']:,} units have a label"


def rows_to_show(table: pd.DataFrame, confidence: float) -> tuple[list[str], list[list[str]]]:
    """Columns and cells of a table for people."""
    layers = ["Layer"] if "layer" in table and table["layer"].nunique() > 1 else []
    columns = [*layers, "Unit", "Label", "Score", f"{100 * confidence:g}%", "p adj.", "Needs", "Runner-up"]
    rows = []
    for _, row in table.iterrows():
        has_label = row["concept"] is not None
        runner = row["runners_up"][0] if len(row["runners_up"]) else None
        rows.append(
            [
                *([str(row["layer"])] if layers else []),
                str(row["unit"]),
                str(row["concept"]) if has_label else f"– ({row['reason'].split(':')[0]})",
                number(row["score"]),
                f"{number(row['score_low'])}–{number(row['score_high'])}" if pd.notna(row["score_low"]) else "",
                small(row["p_adjusted"]),
                " + ".join(row["concepts"][1:]) and "+ " + " + ".join(row["concepts"][1:]),
                f"{runner['concept']} {number(runner['score'])}" if runner else "",
            ]
        )
    return columns, rows


def number(value: Any) -> str:
    """A score in two decimals.

    >>> number(0.523), number(-3.0), number(float("nan"))
    ('.52', '-3.00', '–')
    """
    if pd.isna(value):
        return "–"
    text = f"{round(value, 2) + 0.0:.2f}"  # no -0.00
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def small(p: Any) -> str:
    """A p-value.

    >>> small(0.034), small(1e-30), small(1.0)
    ('.034', '<1e-9', '1')
    """
    if pd.isna(p):
        return "–"
    return "<1e-9" if p < 1e-9 else f"{p:.0e}".replace("e-0", "e-") if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 0.9995 else "1"  # fmt: skip


def signature_of(
    options: LabellingOptions, test: str, counts: Mapping[str, int], inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """Where labels come from."""
    return {
        "versions": _versions(),
        "options": options.as_dict(),
        "test": test,
        "inputs": dict(inputs),
        "n": dict(counts),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def _versions() -> dict[str, str | None]:
    return {"python": platform.python_version(), **versions_of(_PACKAGES)}
