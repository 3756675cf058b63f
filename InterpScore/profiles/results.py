"""The profile of a layer as a table with its signature, and its files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from Activation_Extraction.base.text import html_table
from InterpScore.helpers import Floats
from InterpScore.profiles.layer import PERMUTED, SCORES, LayerProfile
from InterpScore.tables.written import write_table

CLEARLY = 3
"""Spreads by which a score is above chance that counts as clearly above."""
_SHOWN_UNITS = 40
"""In a notebook."""

MEANING = {
    "MS": "monosemanticity: mean cosine of the embeddings of pairs of images, weighted by how strongly both activate the unit; -1 to 1",
    "MS_top": "monosemanticity of activations above the unit's 99% quantile; -1 to 1",
    "clarity": "mean cosine of pairs of the unit's top images, up to 16; -1 to 1",
    "redundancy": "largest cosine of the mean embedding of the top images, less that of all images, with another unit's; -1 to 1",
    "overlap": "largest Jaccard index of the top images with another unit's; 0 to 1",
    "sparsity": "Treves-Rolls: 0 where the unit is equally active on all images, 1 where it is active on one alone",
    "entropy": "of activations as shares: 1 where all images activate the unit alike, 0 where one does alone",
    "kurtosis": "excess kurtosis of activations; 0 for a normal distribution",
}


def columns() -> dict[str, str]:
    """Column of the table → its meaning, in order (METRICS 9)."""
    out = {"unit": "the unit, from 0"}
    for name in SCORES:
        out[name] = MEANING[name]
        if name in PERMUTED:
            out[f"{name}_chance"] = "its mean over all permutations of the unit's activations"
            out[f"{name}_spread"] = "its standard deviation over all permutations of the unit's activations, exact"
        if name in ("redundancy", "overlap"):
            out[f"{name}_with"] = "that other unit; the first of equal ones"
        out[f"{name}_untrained_higher"] = (
            "share of all untrained units with a higher value, ties ½ (METRICS 13); empty without --baseline"
        )
        out[f"{name}_untrained_mean"] = "mean over all untrained units"
        out[f"{name}_untrained_spread"] = "standard deviation over all untrained units"
    return out | {"Notes": "why scores are missing"}


def profile_table(profile: LayerProfile, untrained: Sequence[LayerProfile]) -> pd.DataFrame:
    """The table: one row a unit; see `columns`."""
    n_units = len(profile.reasons)
    made: dict[str, Any] = {"unit": np.arange(n_units), "Notes": ["; ".join(reasons) for reasons in profile.reasons]}
    for name, score_U in profile.score_U.items():
        made[name] = score_U
        if name in PERMUTED:
            made[f"{name}_chance"] = np.where(np.isnan(score_U), np.nan, profile.chance)
            made[f"{name}_spread"] = profile.spread_U[name]
        if name in profile.neighbour_U:
            unit_U = pd.array(profile.neighbour_U[name], "Int64")
            unit_U[np.isnan(score_U)] = pd.NA
            made[f"{name}_with"] = unit_U
        others = [other.score_U[name] for other in untrained]
        made |= {f"{name}_{what}": values for what, values in against_untrained(score_U, others).items()}
    return pd.DataFrame(made)[list(columns())]


def against_untrained(score_U: Floats, others: Sequence[Floats]) -> dict[str, Any]:
    """The share of untrained units that are higher, ties ½, and the mean and standard deviation of untrained units.

    Args:
        others: scores of untrained units, an array for each copy; NaN is left out.
    """
    other_V = np.sort(np.concatenate([np.empty(0), *others]))
    other_V = other_V[np.isfinite(other_V)]
    if not len(other_V):
        return {"untrained_higher": np.nan, "untrained_mean": np.nan, "untrained_spread": np.nan}
    above_U = len(other_V) - np.searchsorted(other_V, score_U, "right")
    tied_U = np.searchsorted(other_V, score_U, "right") - np.searchsorted(other_V, score_U, "left")
    return {
        "untrained_higher": np.where(np.isnan(score_U), np.nan, (above_U + tied_U / 2) / len(other_V)),
        "untrained_mean": other_V.mean(),
        "untrained_spread": other_V.std(ddof=1) if len(other_V) > 1 else np.nan,
    }


@dataclass(frozen=True)
class UnitProfiles:
    """Scores of every unit of a layer, each beside its baselines.

    Attributes:
        table: one row a unit, in order; see `columns`.
        signature: the networks, layers, weights and images behind it, versions, counts.
        warnings: what changes how the table should be read.
    """

    table: pd.DataFrame
    signature: dict[str, Any]
    warnings: list[str] = field(default_factory=list)

    def to_frame(self) -> pd.DataFrame:
        """The table, as a copy: one row a unit; `columns` tells what each column means."""
        return self.table.copy()

    def summary(self) -> pd.DataFrame:
        """One row a score: median over units, chance, median spread, units clearly above chance, median of untrained units' share."""
        return pd.DataFrame([self._summary_of(name) for name in SCORES])

    def _summary_of(self, name: str) -> dict[str, Any]:
        values = self.table[name]
        row: dict[str, Any] = {"score": name, "units": int(values.notna().sum()), "median": values.median()}
        if name in PERMUTED:
            above = values - self.table[f"{name}_chance"] > CLEARLY * self.table[f"{name}_spread"]
            row |= {"chance": self.table[f"{name}_chance"].median(), "spread": self.table[f"{name}_spread"].median()}
            row |= {"above_chance": int(above.sum())}
        untrained = self.table[f"{name}_untrained_mean"], self.table[f"{name}_untrained_higher"]
        return row | {"untrained_mean": untrained[0].median(), "untrained_higher": untrained[1].median()}

    def ranked_by(self) -> str:
        """The score that orders units: MS of the top, or MS where the images are too few for it."""
        return "MS_top" if self.table["MS_top"].notna().any() else "MS"

    def best_first(self) -> pd.DataFrame:
        """The units that have the score that orders them, most monosemantic first, equal ones by number."""
        name = self.ranked_by()
        return self.table.dropna(subset=[name]).sort_values(name, ascending=False, kind="stable")

    def save(self, path: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write the table, as Parquet or CSV by its suffix, and beside it a JSON of the same name; return both paths.

        Raises:
            OutputError: another suffix, or they cannot be written; existing files are unchanged.
        """
        return write_table(self.table, self.about(), path)

    def about(self) -> dict[str, Any]:
        """Signature, warnings, the summary, and what each column means."""
        summary = {row.pop("score"): _plain(row) for row in self.summary().to_dict(orient="records")}
        return {"signature": self.signature, "warnings": self.warnings, "columns": columns(), "summary": summary}

    def _repr_html_(self) -> str:
        """In a notebook: the most monosemantic units, their scores with chance and spread, and the warnings."""
        shown = self.best_first().head(_SHOWN_UNITS)
        rows = [[int(row["unit"]), *(with_chance(row, name) for name in SCORES)] for _, row in shown.iterrows()]
        title = (
            f"{len(self.table):,} units on {self.signature['n']['images']:,} images, highest {self.ranked_by()} first"
        )
        hidden = len(self.table) - len(rows)
        notes = [*([f"{hidden:,} more units are in to_frame()"] if hidden else []), *self.warnings]
        return html_table(["Unit", *SCORES], rows, title, notes)


def with_chance(row: Mapping[str, Any], name: str) -> str:
    """A score, with its chance level and spread where it has them: `0.412 (0.350 ± 0.010)`."""
    value = row[name]
    if np.isnan(value):
        return "–"
    if name not in PERMUTED:
        return f"{value:.3f}"
    return f"{value:.3f} ({row[f'{name}_chance']:.3f} ± {row[f'{name}_spread']:.3f})"


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.item() if hasattr(value, "item") else value for name, value in row.items()}
