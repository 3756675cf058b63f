"""One pass over an experiment table: point estimates, then resampling, then the frame of results.

Shapes: U neurons of the run, I images, B draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from Activation_Extraction.base.errors import did_you_mean
from Activation_Extraction.base.progress import StageProgress
from InterpScore.aggregated_measure import weighted_components
from InterpScore.errors import InputError
from InterpScore.helpers import Bools, Floats, Ints, competition_ranks, percentile_interval
from InterpScore.human_alignment import permutation_p_value
from InterpScore.options import COMPONENTS, ScoringOptions
from InterpScore.resampling import RatingDesign, adjusted_p_values, permuted_within
from InterpScore.scoring.components import (
    Block,
    beside_scores,
    blocks_of,
    components,
    expected_under_null,
    partly_measured,
    reasons_missing,
)
from InterpScore.scoring.results import COLUMNS
from InterpScore.tables.effects import unit_column
from InterpScore.tables.experiment_table import ExperimentTable

SHOWN_REASONS = 20
"""How many neurons are named when none can be scored."""
COMPARED = ("InterpScore", "I_excess")
"""What layers are compared by: the mean of their neurons, and the same above chance."""


class ScoringRun:
    """Every neuron of a map on a checked table; `remarks` is what changes how the result should be read."""

    def __init__(
        self, table: ExperimentTable, concept_of: dict[str, str], options: ScoringOptions, progress: StageProgress
    ) -> None:
        self.table, self.concept_of, self.options, self.progress = table, concept_of, options, progress
        self.design: RatingDesign = table.rating_design(options.recognised_at)
        self.sample = self.design.unit_weights()
        self.blocks = list(blocks_of(table, concept_of, options))
        self.no_clean = self._no_clean_image()
        self.remarks = [*table.remarks, *self.no_clean]
        if table.simulated:
            self.remarks.insert(0, f"{table.source}: the participants are SIMULATED; no person rated these images")
        self.reasons: list[dict[str, str]] = [{} for _ in concept_of]
        unscored = self._unscored()
        if not self.blocks:
            self._refuse(unscored.values())
        for neuron, reason in unscored.items():
            self.reasons[neuron] = {"not scored": reason}
            self.remarks.append(f"neuron {list(concept_of)[neuron]}: {reason}")
        self.point = self._gather(partial(components, draws=self.sample, sample=self.sample), 1)
        for block in self.blocks:
            mine = {name: values[block.neurons] for name, values in self.point.items()}
            for neuron, reasons in zip(block.neurons, reasons_missing(block, mine, self.sample), strict=True):
                self.reasons[neuron] = reasons
            for neuron, note in zip(block.neurons, partly_measured(block), strict=True):
                self.reasons[neuron] |= note
        if not any(np.isfinite(self.point[name]).any() for name in COMPONENTS):
            told = [[f"{name}: {reason}" for name, reason in why.items()] for why in self.reasons]
            self._refuse(f"neuron {n}: {'; '.join(why)}" for n, why in zip(concept_of, told, strict=True))
        self._fill(self.point)
        self.columns: dict[str, Any] = {}
        self.null: dict[str, Floats] = {}
        self.neurons_of: dict[str, Ints] = {
            layer: np.flatnonzero([table.layer_of[neuron] == layer for neuron in concept_of])
            for layer in dict.fromkeys(table.layer_of.values())
        }
        self.layer_interval: dict[tuple[str, str], tuple[float, float]] = {}

    def frame(self) -> pd.DataFrame:
        """The ranked table."""
        options = self.options
        present = np.isfinite(np.stack([self.point[k] for k in COMPONENTS]))
        score = self._combine([self.point[k] for k in COMPONENTS], present, options.weights)
        self.columns |= {k: self.point[k][:, 0] for k in (*COMPONENTS, "C_specific")}
        self.columns |= {"InterpScore": score[:, 0], "Rank": competition_ranks(score)[:, 0]}
        self._describe()
        self.columns["H_excess"] = self.columns["H"] - self.columns["H_base"]
        if options.resamples:
            self._permute()
            self._bootstrap(present)
        for name in ("S", "H"):
            p = self.columns.setdefault(f"{name}_p", np.full(len(self.concept_of), np.nan))
            self.columns[f"{name}_p_adjusted"] = adjusted_p_values(p, options.adjust)
        self._compare(present[:, :, 0])
        return self._assemble()

    def layers(self) -> pd.DataFrame | None:
        """After `frame`: a row a layer, where there are several."""
        if len(self.neurons_of) < 2:
            return None
        nothing, rows = np.full(len(self.concept_of), np.nan), []
        for layer, neurons in self.neurons_of.items():
            score = self.columns["InterpScore"][neurons]
            scored = score[np.isfinite(score)]
            row = {"Layer": layer, "neurons": len(neurons), "scored": len(scored)}
            row["InterpScore_median"] = float(np.median(scored)) if len(scored) else np.nan
            for name in COMPARED:
                row[name] = float(_mean_of_scored(self.columns.get(name, nothing)[neurons, None])[0])
                row[f"{name}_low"], row[f"{name}_high"] = self.layer_interval.get((layer, name), (np.nan, np.nan))
            for name in ("S", "H"):
                p = self.columns[f"{name}_p_adjusted"][neurons]
                row[f"{name}_significant"] = int((p <= self.options.min_p_value).sum())
            rows.append(row)
        return pd.DataFrame(rows)

    def _no_clean_image(self) -> list[str]:
        levels = sorted(set(self.table.level_I.tolist()))
        if self.options.clean_level in levels:
            return []
        named = ", ".join(map(str, levels))
        return [f"{self.table.source}: no image at the clean level {self.options.clean_level}; its levels are {named}"]

    def _refuse(self, reasons: Iterable[str]) -> NoReturn:
        reasons = list(reasons)
        more = [f"… and {len(reasons) - SHOWN_REASONS} more neurons"] if len(reasons) > SHOWN_REASONS else []
        head = f"{self.table.source}: no neuron of the map can be scored"
        raise InputError([head, *self.no_clean, *reasons[:SHOWN_REASONS], *more])

    def _unscored(self) -> dict[int, str]:
        """Neurons that the table cannot speak of, with the reason and the nearest match."""
        scored = {int(n) for block in self.blocks for n in block.neurons}
        out: dict[int, str] = {}
        for neuron, (unit, concept) in enumerate(self.concept_of.items()):
            if neuron in scored:
                continue
            if unit not in self.table.units:
                out[neuron] = self.table.absent.get(unit, f"no column {unit_column('activation', unit)}")
            elif not concept:
                out[neuron] = "no concept could be chosen: too few clean images in the half that is searched"
            else:
                out[neuron] = (
                    f"the table never shows the concept '{concept}'{did_you_mean(concept, self.table.concepts)}"
                )
        return out

    def _gather(self, work: Callable[[Block], Mapping[str, Floats]], n_draws: int) -> dict[str, Floats]:
        """Run something on every block and lay the results out by neuron, `(U, B)`; NaN elsewhere."""
        out: dict[str, Floats] = {}
        for block in self.blocks:
            for name, values in work(block).items():
                whole = out.setdefault(name, np.full((len(self.concept_of), n_draws), np.nan))
                whole[block.neurons] = values
        return out

    def _fill(self, values: dict[str, Floats]) -> None:
        """Put the protocol's stand-in where a scored neuron has no value."""
        scored = np.concatenate([block.neurons for block in self.blocks])
        for name, fill in self.options.fill_missing.items():
            values[name][scored] = np.where(np.isnan(values[name][scored]), fill, values[name][scored])

    def _describe(self) -> None:
        ceilings: dict[str, float] = {}

        def one(block: Block) -> dict[str, Floats]:
            if block.concept not in ceilings:
                reliability = self.design.split_half_reliability(
                    np.flatnonzero(block.counted_I), seed=self.options.seed
                )
                ceilings[block.concept] = float(np.sqrt(reliability)) if reliability > 0 else float("nan")
            point = {name: values[block.neurons] for name, values in self.point.items()}
            beside = beside_scores(block, point, self.sample, ceilings[block.concept])
            return {name: np.broadcast_to(values, len(block.neurons))[:, None] for name, values in beside.items()}

        self.columns |= {name: values[:, 0] for name, values in self._gather(one, 1).items()}

    def _permute(self) -> None:
        """Expectation of S and R under the matched null, and the p-value of H."""
        options, table, n_draws = self.options, self.table, self.options.resamples
        totals = {name: np.zeros(len(self.concept_of)) for name in ("S", "R")}
        counts, done = {name: np.zeros(len(self.concept_of)) for name in totals}, 0
        for order_IB in permuted_within(table.level_I, n_draws, options.seed + 1):
            null = self._gather(partial(expected_under_null, order_IB=order_IB, sample=self.sample), order_IB.shape[1])
            for name, total in totals.items():
                total += np.nansum(null[name], axis=1)
                counts[name] += np.isfinite(null[name]).sum(axis=1)
            done += order_IB.shape[1]
            self.progress("permutations", done, n_draws)
        # Where activations are missing a draw may leave a unit too few images; it says nothing then.
        self.null = {
            k: np.divide(totals[k], counts[k], out=np.full_like(totals[k], np.nan), where=counts[k] > 0) for k in totals
        }
        rated = self.sample.rating_IB[:, 0] > 0
        rates = np.divide(
            self.sample.score_IB[:, 0], self.sample.rating_IB[:, 0], out=np.zeros(len(rated)), where=rated
        )
        strata = np.where(rated, table.cell_I, -1)
        p = np.full(len(self.concept_of), np.nan)
        batches = [rates[order_IB] for order_IB in permuted_within(strata, n_draws, options.seed + 2)]
        for block in self.blocks:
            counted = block.counted_I & rated
            high = block.activation_UI[:, counted] > self.point["threshold"][block.neurons]
            p[block.neurons] = permutation_p_value(high, rates[counted], (batch[counted] for batch in batches))
        self.columns["H_p"] = p

    def _bootstrap(self, present: Bools) -> None:
        """Intervals of everything, from the same draws for all neurons."""
        options, n_draws = self.options, self.options.resamples
        excess_present = self._excess()
        kept: dict[str, Floats] = {}
        lost_H, start = np.zeros(len(self.concept_of)), 0
        for draws in self.design.bootstrap(n_draws, options.seed):
            stop = start + draws.image_IB.shape[1]
            batch = self._gather(partial(components, draws=draws, sample=self.sample), stop - start)
            lost_H += np.isnan(batch["H"]).sum(axis=1)
            self._fill(batch)
            excess = [
                batch["S"] - self.null["S"][:, None],
                batch["R"] - self.null["R"][:, None],
                batch["H"] - batch["H_base"],
            ]
            one = {name: batch[name] for name in COMPONENTS}
            one["C_specific"] = batch["C_specific"]
            one["InterpScore"] = self._combine([batch[name] for name in COMPONENTS], present, options.weights)
            one["I_excess"] = self._combine(excess, excess_present, self._excess_weights())
            for name, values in one.items():
                kept.setdefault(name, np.empty((len(self.concept_of), n_draws)))[:, start:stop] = values
            start = stop
            self.progress("resamples", start, n_draws)
        for name, values in kept.items():
            self._interval(name, values)
        self._interval("Rank", competition_ranks(kept["InterpScore"]))
        for layer, neurons in self.neurons_of.items():
            for name in COMPARED:
                low, high = percentile_interval(_mean_of_scored(kept[name][neurons])[None], options.confidence)
                self.layer_interval[layer, name] = float(low[0]), float(high[0])
        for neuron, lost in enumerate(lost_H / n_draws):
            if lost > 0.01 and present[3, neuron, 0]:
                self.reasons[neuron]["H interval"] = (
                    f"from the {1 - lost:.0%} of resamples in which an image lies above the threshold"
                )

    def _combine(self, parts: list[Floats], present: Bools, weights: Sequence[float]) -> Floats:
        return weighted_components(np.stack(parts), present, weights, self.options.on_missing)

    def _excess_weights(self) -> tuple[float, float, float]:
        weight_S, _, weight_R, weight_H = self.options.weights
        return weight_S, weight_R, weight_H

    def _excess(self) -> Bools:
        """S, R and H above chance and their weighted mean; returns which of them are there."""
        point = self.columns
        parts = {
            "S_excess": point["S"] - self.null["S"],
            "R_excess": point["R"] - self.null["R"],
            "H_excess": point["H_excess"],
        }
        there: Bools = np.isfinite(np.stack(list(parts.values())))[:, :, None]
        combined = self._combine([part[:, None] for part in parts.values()], there, self._excess_weights())
        self.columns |= {**parts, "I_excess": combined[:, 0]}
        return there

    def _interval(self, name: str, draws_UB: Floats) -> None:
        self.columns[f"{name}_low"], self.columns[f"{name}_high"] = percentile_interval(
            draws_UB, self.options.confidence
        )

    def _compare(self, present_KU: Bools) -> None:
        """Say when scores rest on different components."""
        scored = np.unique(np.concatenate([block.neurons for block in self.blocks]))
        weights = np.array(self.options.weights)
        for k, name in enumerate(COMPONENTS):
            have = present_KU[k, scored]
            if weights[k] > 0 and have.any() and not have.all():
                lacking = [list(self.concept_of)[n] for n in scored[~have]]
                self.remarks.append(
                    f"{name} is missing for {len(lacking)} of {len(scored)} neurons ({', '.join(lacking[:5])}{', …' if len(lacking) > 5 else ''}): InterpScores are not comparable"
                )

    def _assemble(self) -> pd.DataFrame:
        columns, alpha = self.columns, self.options.min_p_value
        for name in ("S", "H"):
            p = columns[f"{name}_p_adjusted"]
            columns[f"{name}_significant"] = [None if np.isnan(value) else bool(value <= alpha) for value in p]
        layer_of = self.table.layer_of
        frame = pd.DataFrame({"Neuron": list(self.concept_of), "Concept": list(self.concept_of.values())})
        if layer_of:
            layers = [layer_of[neuron] for neuron in self.concept_of]
            frame["Neuron"] = [n.removeprefix(f"{layer}:") for n, layer in zip(self.concept_of, layers, strict=True)]
            frame.insert(1, "Layer", layers)
        extra = sorted(set(columns) - set(COLUMNS))
        for name in [name for name in COLUMNS if name in columns or name == "Notes"] + extra:
            if name == "Notes":
                frame[name] = [self._notes(neuron) for neuron in range(len(frame))]
            elif name.startswith(("n_", "Rank")):
                frame[name] = pd.Series(columns[name]).round().astype("Int64")
            else:
                frame[name] = columns[name]
        return frame.sort_values("InterpScore", ascending=False, kind="stable", na_position="last").reset_index(
            drop=True
        )

    def _notes(self, neuron: int) -> str:
        notes = [f"{name}: {reason}" for name, reason in self.reasons[neuron].items()]
        for name, claim in (("S", "selective"), ("H", "recognised above its concept's other images")):
            p = self.columns[f"{name}_p_adjusted"][neuron]
            if np.isfinite(p):
                notes.append(
                    f"{claim} (p={p:.2g})"
                    if p <= self.options.min_p_value
                    else f"not significantly {claim} (p={p:.2g})"
                )
        return "; ".join(notes)


def _mean_of_scored(score_UB: Floats) -> Floats:
    """The mean over the neurons that have a score in a draw, `(B,)`; NaN where none has."""
    scored = np.isfinite(score_UB)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(scored, score_UB, 0).sum(axis=0) / scored.sum(axis=0))
