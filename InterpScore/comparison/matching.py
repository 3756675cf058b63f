"""Which units are compared with which: those of the same concept, or those that are active on the same images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from InterpScore.comparison.runs import ScoredRun
from InterpScore.errors import InputError
from InterpScore.helpers import Floats
from InterpScore.profiles.sources import LayerOfStore, matched_rows


@dataclass(frozen=True)
class Pair:
    """Units of A and of B that are compared: their mean scores.

    Attributes:
        a, b: neurons, at least one each.
        concept: of the units of A.
        correlation: of a unit of A and one of B over images; NaN where matched by concept.
    """

    a: tuple[str, ...]
    b: tuple[str, ...]
    concept: str
    correlation: float = np.nan


Matching = Callable[[ScoredRun, ScoredRun], tuple[list[Pair], list[str]]]
"""Gives pairs of A and B, and what is in none."""


def by_concept(a: ScoredRun, b: ScoredRun) -> tuple[list[Pair], list[str]]:
    """A pair for each concept that both runs have units of, and the concepts that only one has; a union in any order is one.

    Raises:
        InputError: no concept in common.
    """
    units: tuple[dict[str, list[str]], dict[str, list[str]]] = {}, {}
    for of, run in zip(units, (a, b), strict=True):
        for neuron, concept in run.concept_of.items():
            of.setdefault(" | ".join(sorted(concept.split(" | "))), []).append(neuron)
    pairs = [Pair(tuple(units[0][name]), tuple(units[1][name]), name) for name in units[0] if name in units[1]]
    if not pairs:
        raise InputError(f"{b.name}: no concept in common with {a.name}; expected neuron maps with the same concepts")
    return pairs, sorted(units[0].keys() ^ units[1].keys())


def by_correlation(a: ScoredRun, b: ScoredRun, of_a: LayerOfStore, of_b: LayerOfStore) -> tuple[list[Pair], list[str]]:
    """One-to-one pairs of the scored units of both runs, of the largest sum of correlations over images; and units left over.

    Raises:
        InputError: stores of different images; units that a store does not have.
    """
    from scipy.optimize import linear_sum_assignment

    row_N = matched_rows(of_a, of_b)
    shared_N = row_N >= 0
    neurons = list(a.concept_of), list(b.concept_of)
    a_IU = of_a.store.units(of_a.layer, _units(neurons[0], of_a, a))[shared_N]
    b_IU = of_b.store.units(of_b.layer, _units(neurons[1], of_b, b))[row_N[shared_N]]
    correlation_UV = correlations(a_IU, b_IU)
    pairs = [
        Pair((neurons[0][u],), (neurons[1][v],), a.concept_of[neurons[0][u]], float(correlation_UV[u, v]))
        for u, v in zip(*linear_sum_assignment(-np.nan_to_num(correlation_UV, nan=-1)), strict=True)
        if np.isfinite(correlation_UV[u, v])
    ]
    paired = {neuron for pair in pairs for neuron in (*pair.a, *pair.b)}
    left = [
        f"{run.name}: {neuron}"
        for run, of in zip((a, b), neurons, strict=True)
        for neuron in of
        if neuron not in paired
    ]
    if not pairs:
        raise InputError(
            f"{b.name}: no unit correlates with one of {a.name}; expected activations that vary over the images"
        )
    return pairs, left


def correlations(a_IU: NDArray[Any], b_IV: NDArray[Any]) -> Floats:
    """Pearson's correlation of every unit of a and every one of b over images, `(U, V)`; NaN for constant units."""
    finite_I = np.isfinite(a_IU).all(1) & np.isfinite(b_IV).all(1)
    standard = []
    for values in (a_IU[finite_I].astype(np.float64), b_IV[finite_I].astype(np.float64)):
        centered = values - values.mean(0)
        length = np.linalg.norm(centered, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            standard.append(centered / np.where(length > 0, length, np.nan))
    return np.asarray(standard[0].T @ standard[1])


def _units(neurons: list[str], of: LayerOfStore, run: ScoredRun) -> list[int]:
    count, units = of.shape[1], []
    for neuron in neurons:
        if not neuron.isdecimal() or int(neuron) >= count:
            raise InputError(
                f"{of.store.path}: no unit {neuron} in {of.layer}; expected 0 to {count - 1}, the units of {run.source}"
            )
        units.append(int(neuron))
    return units
