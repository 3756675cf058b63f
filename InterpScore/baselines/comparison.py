"""Scores of trained units beside those of all units of untrained networks, on the same images. METRICS.md, section 13.

Shapes: R rows of the results, U units of a layer, I images scored on, N images chosen on, K scores, T untrained networks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from InterpScore.aggregated_measure import weighted_components
from InterpScore.baselines.halves import Halves
from InterpScore.baselines.network import UntrainedLayer
from InterpScore.helpers import Bools, Floats, in_shares, on_all_cores, sides
from InterpScore.metric import metrics
from InterpScore.options import ScoringOptions
from InterpScore.scoring.blocks import UNITS_AT_ONCE, Block, Row, blocks_of
from InterpScore.scoring.results import listed, untrained_columns
from InterpScore.scoring.study import Study
from InterpScore.selectivity import hedges_g
from InterpScore.tables.neuron_map import normalised

READ_AT_ONCE = 8 * UNITS_AT_ONCE
"""Units whose activations are in memory at a time."""
NO_CHOICE = "too few clean images of the concept, or of others, to choose untrained units on"


@dataclass(frozen=True)
class Comparison:
    """What an untrained network gives, for each row of the results.

    Attributes:
        columns: as `untrained_columns` documents them, `(R,)` each.
        reasons: row → why no untrained unit could be chosen.
        notes: what exists, and of which pictures.
        best_units: concept (with several layers, the layer before it) → the unit chosen of each network; -1 where none was.
    """

    columns: dict[str, Floats]
    reasons: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    best_units: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Concept:
    """Images of a concept among those chosen and scored on, and the rows that are about it."""

    name: str
    rows: tuple[int, ...]
    target_I: Bools
    other_I: Bools
    target_N: Bools
    counted_N: Bools


def compared_with_untrained(
    study: Study,
    rows: Sequence[Row],
    halves: Halves,
    layers: Mapping[str, Sequence[UntrainedLayer]],
    advance: Callable[[], None] = lambda: None,
) -> Comparison:
    """Every score of every row beside the same of all untrained units, and of the best of them.

    Args:
        study: the whole table; scores are computed again on the images of `halves.evaluation_I` alone.
        rows: of the results.
        layers: layer of the rows ("" without stores) → that layer of each untrained network.
        advance: called after each network.

    Source: METRICS.md, section 13. The best unit of a network is the one with the largest effect size g on the selection
    half, of equal ones the first: as units are chosen for concepts here.
    """
    options, notes = _on_benign_levels(study.options)
    study = Study(study.table.only_images(halves.evaluation_I), options)
    trained_KR = np.full((len(metrics()), len(rows)), np.nan)
    for block in blocks_of(study, rows):
        trained_KR[:, block.rows] = _values(block)
    columns = {name: np.full(len(rows), np.nan) for name in untrained_columns()}
    reasons: dict[int, str] = {}
    best_units: dict[str, list[int]] = {}
    there_K = np.zeros(len(metrics()), dtype=bool)
    for label, networks in layers.items():
        concepts = list(_concepts(study, rows, halves, label))
        found: list[list[tuple[Floats, int]]] = [[] for _ in concepts]
        for network in networks:
            for c, (values_KU, g_U) in enumerate(_of_network(network, study, halves, concepts)):
                found[c].append((values_KU, int(np.nanargmax(g_U)) if np.isfinite(g_U).any() else -1))
            advance()
        for concept, of_networks in zip(concepts, found, strict=True):
            values_TKU = np.stack([values_KU for values_KU, _ in of_networks])
            there_K |= np.isfinite(values_TKU).any(axis=(0, 2))
            best_T = [unit for _, unit in of_networks]
            best_units[f"{label}: {concept.name}" if len(layers) > 1 else concept.name] = best_T
            for number in concept.rows:
                for name, value in _of_row(trained_KR[:, number], values_TKU, best_T, options).items():
                    columns[name][number] = value
                if min(best_T) < 0:
                    reasons[number] = NO_CHOICE
    return Comparison(columns, reasons, [*notes, *_missing(trained_KR, there_K)], best_units)


def _on_benign_levels(options: ScoringOptions) -> tuple[ScoringOptions, list[str]]:
    """Options under which R is of levels that were not made against the trained network, and a note on the others."""
    kind_of = {level: options.kind_of(level) for level in options.recognizable_levels}
    kept = tuple(level for level, kind in kind_of.items() if kind in ("clean", "benign"))
    others = [f"{level} ({kind})" for level, kind in kind_of.items() if kind == "adversarial"]
    if len(kept) == len(kind_of):
        return options, []
    there = set(kept) - {options.clean_level}
    left_out = f"level{'s' * (len(others) > 1)} {listed(others)}" if others else ""
    why = "whose pictures were made against the trained network"
    said = f"R is without {left_out}, {why}" if there else f"R does not exist: it is of {left_out} alone, {why}"
    notes = [said] if others else []
    return replace(options, recognizable_levels=kept or (options.clean_level,)), notes


def _missing(trained_KR: Floats, there_K: Bools) -> list[str]:
    """Notes on scores that the trained units have and untrained ones do not, and on whose ratings H is from."""
    trained_K = np.asarray(np.isfinite(trained_KR).any(axis=1))
    names = [metric.name for metric in metrics()]
    lost = [name for name, trained, there in zip(names, trained_K, there_K, strict=True) if trained and not there]
    notes = [f"{listed(lost)} {'do' if len(lost) > 1 else 'does'} not exist for untrained units"] if lost else []
    if "C" in lost:
        notes.append("for C, measure effects in the untrained networks: interpscore baseline --effects")
    if there_K[names.index("H")]:
        notes.append("H of untrained units is from the same ratings, which are of the same pictures")
    return notes


def _concepts(study: Study, rows: Sequence[Row], halves: Halves, label: str) -> Iterator[_Concept]:
    """The concepts of the rows of a layer, each once."""
    table = study.table
    shows_N = np.array([normalised(concept) for concept in halves.concepts], dtype=object)
    of_concept: dict[tuple[tuple[str, ...], tuple[str, ...]], list[int]] = {}
    for number, row in enumerate(rows):
        if table.layer_of.get(row.neuron, "") == label and table.images_of(*row.concepts).any():
            of_concept.setdefault((row.concepts, row.left_out), []).append(number)
    for (concepts, left_out), numbers in of_concept.items():
        target_I, left_out_I = table.images_of(*concepts), table.images_of(*left_out)
        target_N, left_out_N = (np.isin(shows_N, [normalised(c) for c in names]) for names in (concepts, left_out))
        counted_N = target_N | ~left_out_N
        yield _Concept(
            " | ".join(concepts), tuple(numbers), target_I, ~target_I & ~left_out_I, target_N, np.asarray(counted_N)
        )


def _of_network(
    network: UntrainedLayer, study: Study, halves: Halves, concepts: Sequence[_Concept]
) -> list[tuple[Floats, Floats]]:
    """For each concept the scores of all units, `(K, U)`, and their effect size on the selection half, `(U,)`."""
    row_I = network.row_I[halves.evaluation_I]
    values: list[list[Floats]] = [[] for _ in concepts]
    effects: list[list[Floats]] = [[] for _ in concepts]
    for share in in_shares(network.units, READ_AT_ONCE):
        units = range(network.units)[share]
        both_UX = network.activations(units, np.concatenate([row_I, halves.selection_N]))
        scored_UI, chosen_UN = both_UX[:, : len(row_I)], both_UX[:, len(row_I) :]
        effects_UI = [effect_UI[:, halves.evaluation_I] for effect_UI in network.effects_of(units)]
        work = partial(_of_concept, study, scored_UI, effects_UI, chosen_UN)
        for c, (values_KU, g_U) in enumerate(on_all_cores(work, concepts)):
            values[c].append(values_KU)
            effects[c].append(g_U)
    return [(np.concatenate(v, axis=1), np.concatenate(g)) for v, g in zip(values, effects, strict=True)]


def _of_concept(
    study: Study, scored_UI: Floats, effects_UI: Sequence[Floats], chosen_UN: Floats, concept: _Concept
) -> tuple[Floats, Floats]:
    parts = []
    for share in in_shares(len(scored_UI), UNITS_AT_ONCE):
        measured_I = np.isfinite(scored_UI[share]).all(axis=0)
        units = [str(unit) for unit in range(share.stop - share.start)]
        of_units = copy.copy(study)
        of_units.table = replace(
            study.table, units=units, activation_UI=scored_UI[share], layer_of={}, layer_effects={},
            ablation_UI=effects_UI[0][share], amplification_UI=effects_UI[1][share],
        )  # fmt: skip
        block = Block(
            of_units, np.arange(len(units)), np.arange(len(units)), np.where(measured_I, scored_UI[share], 0.0),
            concept.target_I & measured_I, concept.other_I & measured_I,
        )  # fmt: skip
        parts.append(_values(block))
    there_N = concept.counted_N & np.isfinite(chosen_UN).all(axis=0)
    return np.concatenate(parts, axis=1), hedges_g(chosen_UN[:, there_N], *sides(concept.target_N[there_N]))[:, 0]


def _values(block: Block) -> Floats:
    """Every metric of the units of a block, `(K, U)`."""
    return np.stack([metric.compute(block, block.sample)[:, 0] for metric in metrics()])


def _of_row(trained_K: Floats, values_TKU: Floats, best_T: Sequence[int], options: ScoringOptions) -> dict[str, float]:
    """The columns of a row."""
    scores = zip([metric.name for metric in metrics()], trained_K, values_TKU.transpose(1, 0, 2), strict=True)
    out: dict[str, float] = {}
    for name, trained, values_TU in [*scores, ("InterpScore", *_interpscore(trained_K, values_TKU, options))]:
        best = np.array(
            [values_U[unit] if unit >= 0 else np.nan for values_U, unit in zip(values_TU, best_T, strict=True)]
        )
        out |= {
            f"{name}_evaluation": trained,
            f"{name}_untrained": _mean(values_TU),
            f"{name}_untrained_sd": _sd(values_TU),
            f"{name}_untrained_higher": share_higher(trained, values_TU),
            f"{name}_untrained_best": _mean(best),
            f"{name}_untrained_best_sd": _sd(best),
        }
    return out


def share_higher(trained: float, values: Floats) -> float:
    """The share of untrained units that score higher, ties ½; those without a value do not. NaN without a score.

    >>> share_higher(.5, np.array([.2, .5, .9, np.nan]))
    0.375
    """
    if np.isnan(trained) or not np.isfinite(values).any():
        return float("nan")
    return float(((values > trained) + (values == trained) / 2).mean())


def _interpscore(trained_K: Floats, values_TKU: Floats, options: ScoringOptions) -> tuple[float, Floats]:
    """InterpScore of the row and of every untrained unit, from the components that both have; NaN of units that lack one."""
    weighted_K = np.array([metric.weight is not None for metric in metrics()])
    trained_K, values_TKU = trained_K[weighted_K], values_TKU[:, weighted_K]
    both_K = np.isfinite(trained_K) & np.isfinite(values_TKU).any(axis=(0, 2))
    weights = [weight if both else 0.0 for weight, both in zip(options.weights, both_K, strict=True)]
    values_KTU = values_TKU.transpose(1, 0, 2)
    trained = weighted_components(trained_K, np.isfinite(trained_K), weights, "nan")
    return float(trained), weighted_components(values_KTU, np.isfinite(values_KTU), weights, "nan")


def _mean(values: Floats) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else float("nan")


def _sd(values: Floats) -> float:
    there = values[np.isfinite(values)]
    return float(there.std(ddof=1)) if len(there) > 1 else float("nan")
