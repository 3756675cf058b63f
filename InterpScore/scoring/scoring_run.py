"""One pass over an experiment table: point estimates, then resampling, then the frame of results.

Shapes: U rows of the results (neurons, then single concepts of neurons that have several), I images, B draws, K metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd

from Activation_Extraction.base.errors import did_you_mean, listed_up_to
from Activation_Extraction.base.progress import StageProgress
from InterpScore.aggregated_measure import ROUNDING, weighted_components
from InterpScore.errors import InputError
from InterpScore.helpers import ALIKE, FEWEST, Bools, Floats, Ints
from InterpScore.intervals import around_estimate, interval_of_draws
from InterpScore.metric import PERMUTED_LABELS, Metric, SignificanceTest, components, metrics
from InterpScore.options import ScoringOptions
from InterpScore.resampling import DrawWeights, adjusted_p_values, permuted_labels
from InterpScore.scoring.blocks import Block, Row, blocks_of, laid_out, rows_of
from InterpScore.scoring.bootstrap import Bootstrap, log_ratios_of
from InterpScore.scoring.draws import Draws, number_kept
from InterpScore.scoring.evidence import withhold_intervals
from InterpScore.scoring.ranks import most_complete_set, rank_intervals, ranks_among
from InterpScore.scoring.remarks import (
    different_groups,
    levels_like_renders,
    little_data,
    means_of_one,
    missing_for_some,
    not_ranked,
    rests_on,
    shared_sources,
    together,
    without_any,
)
from InterpScore.scoring.results import columns
from InterpScore.scoring.study import Study
from InterpScore.tables.effects import unit_column
from InterpScore.tables.experiment_table import ExperimentTable
from InterpScore.tables.neuron_map import Concepts

if TYPE_CHECKING:
    from InterpScore.metric import Values

SHOWN_REASONS = 20
"""How many neurons are named when none can be scored."""
NO_ACTIVATIONS = "expected columns activation_<neuron>, or activations from a store (--store acts.zarr)"
COMPARED = ("InterpScore", "I_excess")
"""What layers are compared by: the mean of their neurons, and the same above chance."""


class ScoringRun:
    """Every neuron of a map on a checked table; `remarks` is what changes how the result should be read."""

    def __init__(
        self,
        table: ExperimentTable,
        neuron_map: Mapping[str, Concepts],
        options: ScoringOptions,
        progress: StageProgress,
    ) -> None:
        self.table, self.options, self.progress = table, options, progress
        self.metrics, self.components = metrics(), components()
        self.n_kept = number_kept(options.draws, len(neuron_map), options.resamples)
        self.draws: Draws | None = None
        """Those that stay with the results, after `frame`."""
        self.tested = [(metric, metric.test) for metric in self.metrics if metric.test]
        self.study = Study(table, options)
        self.rows = rows_of(neuron_map, options.per_concept)
        self.n_neurons = len(neuron_map)
        """The first rows, which are ranked and compared; those after them are of single concepts."""
        self.blocks = list(blocks_of(self.study, self.rows))
        self.no_clean = self._no_clean_image()
        self.remarks = [*table.remarks, *self.no_clean, *levels_like_renders(self.study, self.blocks)]
        self.remarks += [*little_data(table, options), *shared_sources(self.study)]
        if table.simulated:
            self.remarks.insert(0, f"{table.source}: the participants are SIMULATED; no person rated these images")
        self.reasons: list[dict[str, str]] = [{} for _ in self.rows]
        unscored = self._unscored()
        if not self.blocks:
            self._refuse(unscored[n] for n in range(self.n_neurons))
        for number, row in enumerate(self.rows):
            if reason := unscored.get(number, self._not_shown(row) if len(row.concepts) > 1 else ""):
                self.reasons[number] = {"not scored" if number in unscored else "Concept": reason}
                if number < self.n_neurons:
                    self.remarks.append(f"neuron {row.neuron}: {reason}")
        self.point = self._gather(partial(self._values, draws=self.study.sample), 1)
        for block in self.blocks:
            for u, number in enumerate(block.rows):
                self.reasons[number] |= self._reasons(block, u, number)
        if not any(np.isfinite(self.point[metric.name]).any() for metric in self.components):
            names = [metric.name for metric in self.components]
            told = ["; ".join(f"{name}: {why[name]}" for name in names if name in why) for why in self.reasons]
            self._refuse(f"neuron {self.rows[n].neuron}: {told[n]}" for n in range(self.n_neurons))
        self.measured_KU: Bools = np.isfinite([self.point[metric.name][:, 0] for metric in self.components])
        self._fill(self.point)
        self.columns: dict[str, Any] = {}
        self.beside: dict[str, Any] = {}
        """Further columns, after all others."""
        self.null: dict[str, Floats] = {}
        """Expectation of metrics under permuted labels, `(U, 1)` each."""
        self.neurons_of: dict[str, Ints] = {
            layer: np.flatnonzero([table.layer_of[neuron] == layer for neuron in neuron_map])
            for layer in dict.fromkeys(table.layer_of.values())
        }
        self.layer_interval: dict[tuple[str, str], tuple[float, float]] = {}

    def frame(
        self, beside: Mapping[str, Floats] | None = None, reasons: Mapping[int, str] | None = None
    ) -> pd.DataFrame:
        """The ranked table.

        Args:
            beside: further columns, a value for each of `rows`; reasons: row → why they are missing there.
        """
        options, point = self.options, self.point
        self.beside = dict(beside or {})
        for number, reason in (reasons or {}).items():
            self.reasons[number]["untrained"] = reason
        values = [point[metric.name] for metric in self.components]
        present = np.isfinite(np.stack(values))
        score = self._combine(values, present, options.weights)
        self.columns |= {name: point[name][:, 0] for metric in self.metrics for name in (metric.name, *metric.further)}
        self.columns["InterpScore"] = score[:, 0]
        self._rank()
        self.columns |= {name: values[:, 0] for name, values in self._gather(self._statistics, 1).items()}
        if options.resamples:
            self._permute()
        weight_of = {metric.name: weight for metric, weight in zip(self.components, options.weights, strict=True)}
        excess = {metric.name: point[metric.name] - self._chance(metric, point) for metric in self._above_chance()}
        self.columns |= {f"{name}_excess": values[:, 0] for name, values in excess.items()}
        self._test()
        if options.resamples:
            weights = [weight_of[name] for name in excess if name in weight_of]
            above_chance = [excess[name] for name in excess if name in weight_of]
            self.columns["I_excess"] = self._combine(above_chance, np.isfinite(np.stack(above_chance)), weights)[:, 0]
            self._bootstrap()
        self._remark_on_differences()
        return self._assemble()

    def layers(self) -> pd.DataFrame | None:
        """After `frame`: a row a layer, where there are several."""
        if len(self.neurons_of) < 2:
            return None
        nothing, rows = np.full(len(self.rows), np.nan), []
        for layer, neurons in self.neurons_of.items():
            score = self.columns["InterpScore"][neurons]
            scored = score[np.isfinite(score)]
            units = self.table.layer_units.get(layer, np.nan)
            row = {"Layer": layer, "neurons": len(neurons), "scored": len(scored), "units": units}
            row["share"] = len(neurons) / units
            row["InterpScore_median"] = float(np.median(scored)) if len(scored) else np.nan
            row["InterpScore_sd"] = float(np.std(scored, ddof=1)) if len(scored) > 1 else np.nan
            for name in COMPARED:
                row[name] = float(_mean_of_scored(self.columns.get(name, nothing)[neurons, None])[0])
                row[f"{name}_low"], row[f"{name}_high"] = self.layer_interval.get((layer, name), (np.nan, np.nan))
            for metric in (metric for metric, _ in self.tested if metric in self.components):
                p = self.columns[f"{metric.name}_p_adjusted"][neurons]
                row[f"{metric.name}_significant"] = int((p <= self.options.min_p_value).sum())
            rows.append(row)
        return pd.DataFrame(rows)

    # Reasons --------------------------------------------------------------------------------------------------------

    def _no_clean_image(self) -> list[str]:
        levels = sorted(set(self.table.level_I.tolist()))
        if self.options.clean_level in levels:
            return []
        named = ", ".join(map(str, levels))
        return [f"{self.table.source}: no image at the clean level {self.options.clean_level}; its levels are {named}"]

    def _refuse(self, reasons: Iterable[str]) -> NoReturn:
        head = f"{self.table.source}: no neuron of the map can be scored"
        bare = [] if self.table.units or self.table.layer_of else [NO_ACTIVATIONS]
        raise InputError([head, *self.no_clean, *listed_up_to(list(reasons), SHOWN_REASONS, "more neurons"), *bare])

    def _not_shown(self, row: Row) -> str:
        """Which of a row's concepts no image shows, with the nearest that one does."""
        lost = [concept for concept in row.concepts if not self.table.images_of(concept).any()]
        return "; ".join(f"the table never shows the concept '{c}'{did_you_mean(c, self.table.concepts)}" for c in lost)

    def _unscored(self) -> dict[int, str]:
        """Rows that the table cannot speak of, with the reason and the nearest match."""
        scored = {int(number) for block in self.blocks for number in block.rows}
        out: dict[int, str] = {}
        for number, row in enumerate(self.rows):
            if number in scored:
                continue
            if row.neuron not in self.table.units:
                out[number] = self.table.absent.get(row.neuron, f"no column {unit_column('activation', row.neuron)}")
            elif not row.concepts:
                out[number] = "no concept could be chosen: too few clean images in the half that is searched"
            else:
                out[number] = self._not_shown(row)
        return out

    def _reasons(self, block: Block, u: int, number: int) -> dict[str, str]:
        """Why metrics of a row are NaN, and what to note of the others."""
        out: dict[str, str] = {}
        for metric in self.metrics:
            if not np.isnan(self.point[metric.name][number, 0]):
                note = metric.caveat(block, u)
            elif block.target_I.any():
                note = metric.why_missing(block, u)
            else:
                note = "no activation on any image of the concept"
            out |= {metric.name: note} if note else {}
        return out

    # Values ---------------------------------------------------------------------------------------------------------

    def _gather(self, work: Callable[[Block], Mapping[str, Floats]], n_draws: int) -> dict[str, Floats]:
        return laid_out(self.blocks, work, len(self.rows), n_draws)

    def _values(self, block: Block, draws: DrawWeights) -> dict[str, Floats]:
        """Every metric, the further quantities with intervals, and chance levels that depend on the draw."""
        return _computed(block, self._functions(), draws)

    def _functions(self) -> dict[str, Values]:
        functions: dict[str, Values] = {}
        for metric in self.metrics:
            functions |= {metric.name: metric.compute, **metric.further}
            if callable(metric.null):
                functions[_null_of(metric)] = metric.null
        return functions

    def _statistics(self, block: Block) -> dict[str, Floats]:
        found = [metric.statistics(block) for metric in self.metrics]
        return {
            name: np.broadcast_to(values, len(block.rows))[:, None] for part in found for name, values in part.items()
        }

    def _fill(self, values: dict[str, Floats]) -> None:
        """Put the preset's stand-in where a scored row has no value."""
        scored = np.concatenate([block.rows for block in self.blocks])
        for name, fill in self.options.fill_missing.items():
            values[name][scored] = np.where(np.isnan(values[name][scored]), fill, values[name][scored])

    def _combine(self, parts: list[Floats], present: Bools, weights: Sequence[float]) -> Floats:
        return weighted_components(np.stack(parts), present, weights, self.options.on_missing)

    def _rank(self) -> None:
        """Ranks of the neurons whose scores compare; none in rows of single concepts."""
        score_U, held_KU = self.columns["InterpScore"], self.measured_KU
        weight_K = np.asarray(self.options.weights)
        self.scored_U: Bools = np.isfinite(score_U) & (np.arange(len(score_U)) < self.n_neurons)
        self.set_K = most_complete_set(held_KU[:, self.scored_U], self.options.weights)
        complete_U = (held_KU | ~self.set_K[:, None])[weight_K > 0].all(axis=0)
        self.ranked_U: Bools = self.scored_U if self.options.rank_all else self.scored_U & complete_U
        self.columns["Rank"] = ranks_among(score_U[:, None], self.ranked_U)[:, 0]
        names = [metric.name for metric in self.components]
        filled_KU = np.isfinite([self.point[name][:, 0] for name in names]) & ~held_KU
        for number in np.flatnonzero(np.isfinite(score_U)):
            of_row = rests_on(held_KU[:, number], weight_K > 0, names, filled_KU[:, number], self.options.on_missing)
            if of_row:
                self.reasons[number]["InterpScore"] = of_row

    # Chance and tests -----------------------------------------------------------------------------------------------

    def _above_chance(self) -> list[Metric]:
        """The metrics whose chance level is known: those of permuted labels only after `_permute`."""
        return [metric for metric in self.metrics if callable(metric.null) or metric.name in self.null]

    def _chance(self, metric: Metric, values: Mapping[str, Floats]) -> Floats:
        return self.null[metric.name] if metric.name in self.null else values[_null_of(metric)]

    def _permute(self) -> None:
        """Expectation of metrics when the concept labels are permuted."""
        chosen = {metric.name: metric.compute for metric in self.metrics if metric.null == PERMUTED_LABELS}
        totals = {name: np.zeros((len(self.rows), 2)) for name in chosen}
        done, n_draws, seed = 0, self.options.resamples, self.options.seed + 1
        for draws in permuted_labels(self.study.sample, self.table.level_I, n_draws, seed):
            for name, total in self._gather(partial(_totals, functions=chosen, draws=draws), 2).items():
                totals[name] += np.nan_to_num(total)
            done += draws.image_IB.shape[1]
            self.progress("permutations", done, n_draws)
        # Where activations are missing a draw may leave a unit too few images; it says nothing then.
        with np.errstate(invalid="ignore"):
            self.null = {name: total[:, :1] / total[:, 1:] for name, total in totals.items()}

    def _test(self) -> None:
        """p-values, adjusted over the neurons, and apart from them over the rows of single concepts."""
        options = self.options
        for metric, test in self.tested:
            p = self._gather(partial(_p_value, test), 1)["p"][:, 0]
            n = self.n_neurons
            adjusted = np.concatenate([adjusted_p_values(part, options.adjust) for part in (p[:n], p[n:])])
            significant = [None if np.isnan(value) else bool(value <= options.min_p_value) for value in adjusted]
            self.columns |= {f"{metric.name}_p": p, f"{metric.name}_p_adjusted": adjusted}
            self.columns[f"{metric.name}_significant"] = significant

    # Intervals ------------------------------------------------------------------------------------------------------

    def _bootstrap(self) -> None:
        """Intervals of everything, from the same draws for all neurons."""
        bootstrap = Bootstrap(self.study, self.blocks, self.metrics, self.columns, self.null, self.progress)
        for metric in self.metrics:
            self._interval(metric.name, bootstrap.metric_interval(metric))
            for name in metric.further:
                self._interval(name, bootstrap.interval(metric, name))
        self._interval("InterpScore", bootstrap.score_interval())
        self._interval("I_excess", bootstrap.excess_interval())
        resting = [metric for metric, weight in zip(self.components, self.options.weights, strict=True) if weight > 0]
        above_chance = [metric for metric in resting if metric in self._above_chance()]
        scores = {"InterpScore": resting, "I_excess": above_chance}
        withhold_intervals(self.columns, self.reasons, self.blocks, self.metrics, scores)
        score = around_estimate(self.columns["InterpScore"], bootstrap.of("InterpScore"))
        confidence, known_U = self.options.confidence, np.isfinite(self.columns["InterpScore_low"])
        self._interval("Rank", rank_intervals(self.columns["Rank"], score, self.ranked_U, known_U, confidence))
        for layer, neurons in self.neurons_of.items():
            for name in COMPARED:
                estimate = _mean_of_scored(self.columns[name][neurons, None])
                draws_B = around_estimate(estimate, _mean_of_scored(bootstrap.of(name)[neurons])[None])
                low, high = interval_of_draws(estimate, draws_B, confidence)
                if np.isfinite(self.columns[f"{name}_low"][neurons]).sum() >= FEWEST and high[0] - low[0] > ALIKE:
                    self.layer_interval[layer, name] = float(low[0]), float(high[0])
        self.draws = self._kept(bootstrap)
        for metric in self.metrics:
            share_lost = bootstrap.lost[metric.name] / self.options.resamples
            for number in np.flatnonzero(np.isfinite(self.columns[metric.name]) & (share_lost > 0.01)):
                note = f"from the {1 - share_lost[number]:.0%} of resamples {metric.draws_with_value}"
                self.reasons[number].setdefault(f"{metric.name} interval", note)

    def _kept(self, bootstrap: Bootstrap) -> Draws | None:
        """The draws that stay with the results."""
        if not self.n_kept:
            return None
        neurons = [number for number in self._best_first() if number < self.n_neurons]
        names = [*(metric.name for metric in self.components), "InterpScore"]
        values = [bootstrap.first_draws(metric, self.n_kept)[neurons] for metric in self.components]
        values.append(bootstrap.of("InterpScore")[neurons, : self.n_kept])
        for name, draws_NB in zip(names, values, strict=True):  # where there is no interval, draws say nothing
            draws_NB[np.isnan(self.columns[f"{name}_low"][neurons])] = np.nan
        estimates = np.stack([self.columns[name][neurons] for name in names], axis=1)
        return Draws(
            tuple(self.rows[number].neuron for number in neurons),
            tuple(names),
            estimates,
            np.stack([draws.astype(np.float32) for draws in values], axis=1),
        )

    def _interval(self, name: str, ends: tuple[Floats, Floats]) -> None:
        low, high, estimate = *ends, self.columns[name]
        assert not ((low > estimate + ROUNDING) | (high < estimate - ROUNDING)).any(), (
            f"an interval of {name} excludes it"
        )
        missing = np.isnan(estimate)  # resamples may have a value where the data have none
        for end, found in (("low", np.minimum(low, estimate)), ("high", np.maximum(high, estimate))):
            self.columns[f"{name}_{end}"] = np.where(missing, np.nan, found)

    # The table ------------------------------------------------------------------------------------------------------

    def _remark_on_differences(self) -> None:
        """Say when scores rest on other components or groups of images for some neurons than for others."""
        neurons = [row.neuron for row in self.rows[: self.n_neurons]]
        scored = np.flatnonzero(self.scored_U)
        called = [neurons[n] for n in scored]
        measured = np.unique(np.concatenate([block.rows for block in self.blocks]))
        self.remarks += without_any(self.measured_KU, measured[measured < self.n_neurons], neurons)
        for metric, weight, held_U in zip(self.components, self.options.weights, self.measured_KU, strict=True):
            if weight == 0:
                continue
            self.remarks += missing_for_some(metric.name, held_U[scored], called)
            if metric.folds:
                theta = self._gather(partial(log_ratios_of, metric, self.study.sample), 1)
                there_GU = np.isfinite(np.concatenate(list(theta.values()), axis=1)).T[:, : self.n_neurons]
                names = metric.folds.groups(self.options)
                self.remarks += different_groups(metric.name, names, there_GU, neurons)
        if len(self.neurons_of) > 1:
            scored_of = {layer: int(self.scored_U[neurons].sum()) for layer, neurons in self.neurons_of.items()}
            self.remarks += means_of_one(scored_of)
        chosen = [metric.name for metric, there in zip(self.components, self.set_K, strict=True) if there]
        self.remarks += not_ranked(chosen, self.ranked_U[scored], called)

    def _assemble(self) -> pd.DataFrame:
        found, layer_of = self.columns, self.table.layer_of
        columns_of: dict[str, Any] = {"Neuron": [row.neuron for row in self.rows]}
        if layer_of:
            layers = [layer_of[row.neuron] for row in self.rows]
            names = [row.neuron.removeprefix(f"{layer}:") for row, layer in zip(self.rows, layers, strict=True)]
            columns_of = {"Neuron": names, "Layer": layers}
        columns_of["Concept"] = [" | ".join(row.concepts) for row in self.rows]
        documented = columns()
        extra = sorted(set(found) - set(documented))
        for name in [name for name in documented if name in found or name == "Notes"] + extra:
            if name == "Notes":
                columns_of[name] = [self._notes(number) for number in range(len(self.rows))]
            elif name.startswith(("n_", "Rank")):
                columns_of[name] = pd.Series(found[name]).round().astype("Int64")
            else:
                columns_of[name] = found[name]
        columns_of |= self.beside
        return pd.DataFrame(columns_of).iloc[self._best_first()].reset_index(drop=True)

    def _best_first(self) -> Ints:
        """Ranked neurons by their score, then others, those without one last; under each its single concepts, likewise."""
        order = np.nan_to_num(-self.columns["InterpScore"], nan=np.inf)
        neuron_of = {row.neuron: n for n, row in enumerate(self.rows[: self.n_neurons])}
        neuron_U = np.array([neuron_of[row.neuron] for row in self.rows])
        of_single = np.arange(len(order)) >= self.n_neurons
        return np.lexsort((order, of_single, neuron_U, order[neuron_U], ~self.ranked_U[neuron_U]))

    def _notes(self, number: int) -> str:
        beside = [metric.name for metric in self.metrics if metric not in self.components]
        notes = together(self.reasons[number], beside)
        for metric, test in self.tested:
            if not test.claim:
                continue
            p = self.columns[f"{metric.name}_p_adjusted"][number]
            if np.isfinite(p):
                claim = "" if p <= self.options.min_p_value else "not significantly "
                notes.append(f"{claim}{test.claim} (p={p:.2g})")
        return "; ".join(notes)


def _computed(block: Block, functions: Mapping[str, Values], draws: DrawWeights) -> dict[str, Floats]:
    return {name: function(block, draws) for name, function in functions.items()}


def _totals(block: Block, functions: Mapping[str, Values], draws: DrawWeights) -> dict[str, Floats]:
    """Sum over the draws in which there is a value, and their number, `(U, 2)`."""
    computed = _computed(block, functions, replace(draws))  # what the block keeps of these draws ends with them
    return {name: np.stack([np.nansum(v, axis=1), np.isfinite(v).sum(axis=1)], axis=1) for name, v in computed.items()}


def _p_value(test: SignificanceTest, block: Block) -> dict[str, Floats]:
    return {"p": test.p_value(block)[:, None]}


def _null_of(metric: Metric) -> str:
    return f"{metric.name} by chance"


def _mean_of_scored(score_UB: Floats) -> Floats:
    """The mean over the neurons that have a score in a draw, `(B,)`; NaN where none has."""
    scored = np.isfinite(score_UB)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(scored, score_UB, 0).sum(axis=0) / scored.sum(axis=0))
