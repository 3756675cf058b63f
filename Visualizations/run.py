"""A scoring run and the files beside it, each read when a figure first asks for it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.files import sha256_of
from Activation_Extraction.tables.dialects.options import csv_options
from Activation_Extraction.tables.files import read_table
from InterpScore.intervals import around_estimate, interval_of_draws
from InterpScore.metric import components
from InterpScore.scoring.draws import LARGEST_RESULTS, Draws, draws_path, read_draws
from Visualizations.beside import read_checks, read_labels, read_profile, read_published

if TYPE_CHECKING:
    from InterpScore.options import ScoringOptions
    from InterpScore.tables.experiment_table import ExperimentTable

_RESULTS = "the results of `interpscore score`"
_PARTS = {"signature": dict, "warnings": list, "columns": dict, "neurons": list}
_SIGNATURE = {"options": dict, "inputs": dict, "versions": dict, "baseline": dict}
_TEXTS = ("Neuron", "Layer", "Concept", "Notes")


@dataclass(frozen=True)
class Sources:
    """The files of a run. What is None is not there, and figures that need it say so.

    Attributes:
        results: the CSV or the JSON of `interpscore score`; the other and the draws lie beside it.
        data: the experiment table that was scored.
        stores: the activation stores, where the run took activations from them.
        effects: files of `interpscore causality`, with the doses that were measured.
        labels: the table of `interpscore label`.
        profile: the table of `interpscore profile`.
        sanity: the CSV of `interpscore sanity --output`.
        published: scores that someone published of the same neurons, a CSV with the columns concept or neuron, S, C, R, H, InterpScore.
        images: where the pictures of the stores are: folders, image tables, tar shards.
        renders: the folder of `interpscore dream`.
    """

    results: str | os.PathLike[str]
    data: str | os.PathLike[str] | None = None
    stores: Sequence[str | os.PathLike[str]] = ()
    effects: Sequence[str | os.PathLike[str]] = ()
    labels: str | os.PathLike[str] | None = None
    profile: str | os.PathLike[str] | None = None
    sanity: str | os.PathLike[str] | None = None
    published: str | os.PathLike[str] | None = None
    images: Sequence[str | os.PathLike[str]] = ()
    renders: str | os.PathLike[str] | None = None


class Run:
    """What figures, tables and the report are made from. Nothing is computed again that the run has computed.

    Raises:
        InputError: results that cannot be read; each property, where its file is damaged or of another run.
    """

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.path = Path(sources.results).with_suffix(".json")
        content: Any = read_json(self.path, expected=_RESULTS, largest=LARGEST_RESULTS)
        if content is None:
            raise InputError(f"{self.path}: no such file; expected {_RESULTS}, the CSV with its JSON beside it")
        try:
            _refuse_other_kinds(content, _PARTS)
            _refuse_other_kinds({"inputs": {}, "versions": {}, "baseline": {}} | content["signature"], _SIGNATURE)
            self.signature: dict[str, Any] = content["signature"]
            self.warnings: list[str] = list(map(str, content["warnings"]))
            self.meaning: dict[str, str] = content["columns"]
            records: list[dict[str, Any]] = content["neurons"]
            self.layers = pd.DataFrame(content["layers"]) if "layers" in content else None
            rows = pd.DataFrame(records)
            self.all_rows = pd.DataFrame({column: _typed(str(column), rows[column]) for column in rows})
            self._options: dict[str, Any] = self.signature["options"]
            ends = [f"{name}_{end}" for name in (*self.component_names, "InterpScore") for end in ("low", "high")]
            without = [end for end in ends if end not in self.all_rows]  # a run without resamples has no intervals
            self.all_rows = self.all_rows.assign(**dict.fromkeys(without, np.nan))
            self.all_rows[["Neuron", "Concept", "InterpScore"]]  # a KeyError where one is missing
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InputError(f"{self.path}: damaged; expected {_RESULTS}") from None
        self._refuse_another_csv()

    def _refuse_another_csv(self) -> None:
        """The CSV beside the JSON must be of the same run: figures show numbers that readers look up in it."""
        path = self.path.with_suffix(".csv")
        if not path.is_file():
            return
        wanted = ("Neuron", "InterpScore")
        shown = read_table(path, wanted.__contains__, {"InterpScore"}.__contains__).frame
        same = (
            set(wanted) <= set(shown)
            and len(shown) == len(self.all_rows)
            and (shown["Neuron"].astype(str) == self.all_rows["Neuron"]).all()
            and np.allclose(
                pd.to_numeric(shown["InterpScore"], errors="coerce"),
                self.all_rows["InterpScore"],
                0,
                1e-9,
                equal_nan=True,
            )
        )
        if not same:
            raise InputError(f"{path}: other scores than {self.path.name}; expected both of one run: score again")

    # What was asked for ----------------------------------------------------------------------------------------------

    @cached_property
    def options(self) -> ScoringOptions:
        """The options of the run."""
        from Activation_Extraction.base.validation import validated
        from InterpScore.options import ScoringOptions

        return validated(ScoringOptions, self._options, f"{self.path}, signature, options")

    @property
    def component_names(self) -> tuple[str, ...]:
        """The components that the run has: S, C, R and H, then those of packages."""
        return tuple(metric.name for metric in components() if metric.name in self.all_rows)

    @property
    def measured(self) -> list[dict[str, Any]]:
        """What the signature says of each network that was run: `model`, `provenance`, and of effects `layer`."""
        said = [self.signature.get(name) for name in ("causality", "stores")]
        return [one for each in said if isinstance(each, list) for one in each if isinstance(one, dict)]

    @property
    def layer_names(self) -> list[tuple[str, ...]]:
        """All names of each layer that was scored; none where the run does not know them."""
        found = {
            str(one["layer"]): (str(one["layer"]), *map(str, one.get("layer_aliases", ())))
            for one in self.measured
            if "layer" in one
        }
        if "Layer" in self.all_rows:
            return [found.get(layer, (layer,)) for layer in self.all_rows["Layer"].astype(str).unique()]
        return list(found.values())

    @property
    def counts(self) -> dict[str, int]:
        """How many neurons, concepts, images, ratings and participants were scored; what is not known is not there."""
        found = self.signature.get("n")
        return {name: n for name, n in found.items() if isinstance(n, int)} if isinstance(found, dict) else {}

    @property
    def simulated(self) -> bool:
        """Whether the participants are simulated, which every figure with ratings says."""
        return bool(self.signature.get("participants_simulated"))

    @property
    def intervals(self) -> str:
        """What the intervals of the run are, for captions."""
        if not self.options.resamples:
            return "No intervals: the run has no resamples"
        return f"Bars: {self.options.confidence:.0%} intervals from {self.options.resamples:,} resamples of images and participants"

    @property
    def people(self) -> tuple[str, ...]:
        """What every figure with ratings notes where participants are simulated."""
        return ("the participants are simulated",) if self.simulated else ()

    def check(self) -> None:
        """Read every file that was given.

        Raises:
            InputError: one is damaged, another kind of file, or of another run.
        """
        given = {
            "options": True,
            "draws": self.has_draws,
            "data": self.sources.data is not None and (self.sources.stores or not self.signature.get("stores")),
            "with_effects": self.sources.data is not None and self.sources.effects,
            "labels": self.sources.labels is not None,
            "checks": self.sources.sanity is not None,
            "published": self.sources.published is not None,
        }
        for name, there in given.items():
            if there:
                getattr(self, name)

    # Rows ------------------------------------------------------------------------------------------------------------

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per neuron, best first, as in the CSV; without the rows that `--per-concept` adds. `name` is how figures
        call it: the concept and the neuron, with its layer where there are several; `row` is its row in `all_rows`."""
        rows = self.all_rows
        key = ["Layer", "Neuron"] if "Layer" in rows else ["Neuron"]
        rows = rows[~rows.duplicated(key)]
        named = rows.assign(name=[self._name(row) for row in rows.to_dict("records")], row=rows.index)
        return named.reset_index(drop=True)

    def _name(self, row: dict[str, Any]) -> str:
        neuron = f"{row['Layer']}:{row['Neuron']}" if self.several_layers else row["Neuron"]
        return f"{row['Concept']} · {neuron}"

    @property
    def several_layers(self) -> bool:
        """Whether neurons of several layers were scored."""
        return "Layer" in self.all_rows and self.all_rows["Layer"].nunique() > 1

    @cached_property
    def scored(self) -> pd.DataFrame:
        """The rows of `table` that have an InterpScore."""
        return self.table[self.table["InterpScore"].notna()].reset_index(drop=True)

    def mean_of(self, name: str) -> tuple[float, float, float]:
        """Mean of a component over the neurons that have it, and its interval from their draws, around it; NaN without."""
        value_N = self.table[name].to_numpy(dtype=float)
        there_N = np.isfinite(value_N)
        if not there_N.any():
            return np.nan, np.nan, np.nan
        mean = float(value_N[there_N].mean())
        draws_NB = self.draws.around(name)[there_N] if self.has_draws else np.empty((0, 0))
        there_NB = np.isfinite(draws_NB)
        if not there_NB.any():
            return mean, np.nan, np.nan
        counted_B = there_NB.any(0)
        mean_B = np.where(there_NB, draws_NB, 0.0).sum(0)[counted_B] / there_NB.sum(0)[counted_B]
        point = np.array([mean])
        low, high = interval_of_draws(point, around_estimate(point, mean_B[None]), self.options.confidence)
        return mean, float(low[0]), float(high[0])

    # Files beside it -------------------------------------------------------------------------------------------------

    @property
    def has_draws(self) -> bool:
        """Whether the run kept draws, and they lie beside the results."""
        return "draws" in self.signature and draws_path(self.path).is_file()

    @cached_property
    def draws(self) -> Draws:
        """Resamples of every component of every neuron, in the order of `table`."""
        return read_draws(self.path)

    @cached_property
    def data(self) -> ExperimentTable:
        """The experiment table with the activations that were scored, refused unless it is the file that was scored."""
        from InterpScore.tables.experiment_table import load_experiment_table
        from InterpScore.tables.from_stores import neurons_in_stores

        source = self.sources.data
        assert source is not None, "figures that read the table need DATA"
        scored = self.signature.get("inputs", {}).get("data", {})
        if "sha256" in scored and scored["sha256"] != sha256_of(source):
            raise InputError(
                f"{source}: not the table of {self.path.name}; expected the file of SHA-256 {scored['sha256'][:16]}…"
            )
        names = [
            row["Neuron"] if not self.several_layers else f"{row['Layer']}:{row['Neuron']}"
            for row in self.table.to_dict("records")
        ]
        stored = None
        if self.signature.get("stores"):
            concepts_of = {name: (concept,) for name, concept in zip(names, self.table["Concept"])}
            stored = neurons_in_stores(self.sources.stores, list(self.table["Layer"].unique()), concepts_of)
        return load_experiment_table(
            source, names, self.options.human_score_col, stored=stored, options=csv_options(scored.get("csv"))
        )

    @cached_property
    def labels(self) -> pd.DataFrame:
        """The labels, a row a unit."""
        assert self.sources.labels is not None, "figures that read labels need LABELS"
        return read_labels(self.sources.labels)

    @cached_property
    def profile(self) -> pd.DataFrame:
        """The profile, a row a unit."""
        assert self.sources.profile is not None, "only where a profile was given"
        return read_profile(self.sources.profile)

    @cached_property
    def checks(self) -> pd.DataFrame:
        """The checks of `interpscore sanity`, a row a check and way of scoring."""
        assert self.sources.sanity is not None, "figures that read checks need SANITY"
        return read_checks(self.sources.sanity)

    @cached_property
    def published(self) -> pd.DataFrame:
        """Published scores, a row a neuron."""
        assert self.sources.published is not None, "figures that read published scores need PUBLISHED"
        return read_published(self.sources.published)

    @cached_property
    def with_effects(self) -> ExperimentTable:
        """`data` with the effects that were measured, by layer and kind of intervention."""
        from InterpScore.tables.experiment_table import with_effects

        return with_effects(self.data, list(self.sources.effects))


def _refuse_other_kinds(content: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    """Raise a TypeError unless each part is there and of its kind, and a list not empty where it is of neurons."""
    for name, kind in kinds.items():
        if not isinstance(content.get(name), kind) or (name == "neurons" and not content[name]):
            raise TypeError


def _typed(column: str, values: pd.Series[Any]) -> pd.Series[Any]:
    """A column of the results: text, truth or numbers.

    Raises:
        TypeError, ValueError: it holds something else.
    """
    if column in _TEXTS:
        if not values.map(lambda value: isinstance(value, str)).all():
            raise TypeError
        return values.astype(str)
    if values.dtype.kind == "f" or column.endswith("_significant"):
        return values
    return pd.to_numeric(values.astype(object)).astype(float)
