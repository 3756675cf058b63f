"""The result of a comparison: differences of pairs and of their mean, as tables with their signature, and their files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from Activation_Extraction.base.text import html_table
from InterpScore.tables.written import write_table


def columns(components: Sequence[str]) -> dict[str, str]:
    """Column of the table → its meaning, in order."""
    out = {
        "Concept": "the concept of the units of A",
        "Units_A": "neurons of A; the scores of several are averaged",
        "Units_B": "neurons of B",
        "correlation": "of both units' activations over images; only with --match correlation",
    }
    for name in components:
        out |= {
            f"{name}_A": f"{name} of A",
            f"{name}_B": f"{name} of B",
            f"{name}_difference": f"{name} of B minus that of A",
            f"{name}_low": "interval of the difference, lower end (METRICS 6)",
            f"{name}_high": "upper end",
            f"{name}_p": "two-sided p of no difference, from the same resamples",
            f"{name}_p_adjusted": f"{name}_p adjusted over the pairs",
        }
    return out | {"Notes": "why a difference or its interval is missing"}


@dataclass(frozen=True)
class Comparison:
    """Differences B − A.

    Attributes:
        table: one row a pair; see `columns`.
        overall: one row a component: means over pairs of A and B, their difference with interval and p, and the number of pairs
            that differ at the significance level.
        signature: what was compared, and how.
        warnings: what changes how the table should be read.
    """

    table: pd.DataFrame
    overall: pd.DataFrame
    signature: dict[str, Any]
    warnings: list[str] = field(default_factory=list)

    def to_frame(self) -> pd.DataFrame:
        """The table, as a copy."""
        return self.table.copy()

    def save(self, path: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write the table as CSV or Parquet by its suffix, and beside it everything else as JSON; return both paths.

        Raises:
            OutputError: another suffix, or they cannot be written; existing files are unchanged.
        """
        described = columns(self.signature["components"])
        overall = self.overall.to_dict(orient="records")
        about = {"signature": self.signature, "warnings": self.warnings, "columns": described, "overall": overall}
        return write_table(self.table, about, path)

    def _repr_html_(self) -> str:
        """In a notebook: means over pairs, differences with intervals."""
        rows = [[row["component"], row["pairs"], *overall_cells(row)] for row in self.overall.to_dict(orient="records")]
        title = f"B − A, A: {self.signature['A']['name']}, B: {self.signature['B']['name']}"
        return html_table(["Component", "Pairs", "A", "B", "B − A", "p"], rows, title, self.warnings)


def overall_cells(row: dict[str, Any]) -> list[str]:
    """Means of A and B, the difference with its interval, and p."""
    interval = "" if np.isnan(row["low"]) else f" [{row['low']:+.3f}, {row['high']:+.3f}]"
    values = [_number(row["A"]), _number(row["B"])]
    return [*values, f"{_number(row['difference'], '+')}{interval}", "–" if np.isnan(row["p"]) else f"{row['p']:.2g}"]


def _number(value: float, sign: str = "") -> str:
    return "–" if np.isnan(value) else f"{value:{sign}.3f}"
