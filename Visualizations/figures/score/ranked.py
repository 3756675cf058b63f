"""The neurons that figures of the score compare: those that have a rank, with what their scores rest on and the draws.

Shapes: N neurons, K components, B draws, W weightings, P pairs of neurons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from InterpScore.aggregated_measure import weighted_components
from InterpScore.comparison.differences import FEWEST_DRAWS, two_sided_p
from InterpScore.helpers import Bools, Floats, Ints
from InterpScore.intervals import around_estimate
from InterpScore.options import OnMissing
from Visualizations.needs import Need
from Visualizations.run import Run

RESOLUTION = float(np.finfo(np.float32).eps)
"""Draws are float32: what varies less than this is not known to vary."""


def ranked(count: int) -> Need:
    """At least so many neurons with a rank."""

    def missing(run: Run) -> str:
        found = int(run.table["Rank"].notna().sum())
        return "" if found >= count else f"{found} ranked neuron{'s' * (found != 1)}; expected at least {count}"

    return Need(f"{count} ranked neurons", missing)


def resting_on(count: int) -> Need:
    """Scores that rest on at least so many components."""

    def missing(run: Run) -> str:
        names = Ranked.of(run).components
        found = f"on {' and '.join(names)} alone" if names else "on no component"
        return "" if len(names) >= count else f"the scores rest {found}; expected at least {count} components"

    return Need(f"{count} components", missing)


@dataclass(frozen=True, eq=False)
class Ranked:
    """The ranked neurons of a run.

    Attributes:
        rows: as in the table, best first.
        places: where they are in the table and in the draws, `(N,)`.
        components: those that have a weight and a value for some of these neurons.
        weight_K, estimate_NK: theirs; NaN where missing.
        on_missing: what a missing component does to a score.
        run: for the draws, which are read when they are first asked for.
    """

    rows: pd.DataFrame
    places: Ints
    components: tuple[str, ...]
    weight_K: Floats
    estimate_NK: Floats
    on_missing: OnMissing
    run: Run

    @classmethod
    def of(cls, run: Run) -> Ranked:
        """Of a run."""
        places = np.flatnonzero(run.table["Rank"].notna())
        rows = run.table.iloc[places].reset_index(drop=True)
        weights = dict(zip(run.component_names, run.options.weights))
        names = tuple(name for name, weight in weights.items() if weight > 0 and rows[name].notna().any())
        estimate_NK = rows[list(names)].to_numpy(dtype=float).reshape(len(rows), len(names))
        return cls(rows, places, names, np.array([weights[n] for n in names]), estimate_NK, run.options.on_missing, run)

    def spaced(self, most: int) -> Ranked:
        """At most so many of them, evenly spaced over the ranking."""
        if len(self.rows) <= most:
            return self
        kept = np.linspace(0, len(self.rows) - 1, most).round().astype(np.int64)
        rows = self.rows.iloc[kept].reset_index(drop=True)
        return replace(self, rows=rows, places=self.places[kept], estimate_NK=self.estimate_NK[kept])

    @cached_property
    def score_N(self) -> Floats:
        """The InterpScores."""
        return np.asarray(self.rows["InterpScore"], dtype=float)

    def draws(self, component: str) -> Floats:
        """Draws of a component or of InterpScore, each neuron's median its estimate, `(N, B)`."""
        return self.run.draws.around(component)[self.places]

    @cached_property
    def _unshifted_KNB(self) -> Floats:
        return np.stack([self.run.draws.of(name)[self.places] for name in self.components])

    def scores(self, weights_WK: Floats) -> Floats:
        """The scores under other weights, `(N, W)`; NaN where nothing that has a weight is there."""
        present_NK = np.isfinite(self.estimate_NK)
        there_NK = np.ones_like(self.estimate_NK) if self.on_missing == "zero" else present_NK.astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            score_NW = np.where(present_NK, self.estimate_NK, 0.0) @ weights_WK.T / (there_NK @ weights_WK.T)
        if self.on_missing == "nan":
            score_NW[(~present_NK).astype(float) @ (weights_WK.T > 0) > 0] = np.nan
        return np.asarray(score_NW)

    def score_of(self, chosen_K: Bools) -> tuple[Floats, Floats]:
        """The score of some of the components under the run's weights, `(N,)`, and its draws around it, `(N, B)`."""
        weights = self.weight_K * chosen_K
        score_N = self.scores(weights[None])[:, 0]
        present_KN1 = np.isfinite(self.estimate_NK).T[:, :, None]
        draws_NB = weighted_components(self._unshifted_KNB, present_KN1, tuple(weights), self.on_missing)
        return score_N, around_estimate(score_N, draws_NB)


# Pairs of neurons -----------------------------------------------------------------------------------------------------


def pairs_of(n: int) -> tuple[Ints, Ints]:
    """Every pair of n neurons once, the better one first, `(P,)` each."""
    first, second = np.triu_indices(n, 1)
    return first, second


def spread_of_pairs(draws_NB: Floats) -> Floats:
    """The standard deviation of the difference of each pair of neurons over the draws that both have, `(P,)`.

    NaN with fewer than 20 such draws, and where the difference does not vary.
    """
    there_NB = np.isfinite(draws_NB)
    n_N1 = np.maximum(there_NB.sum(1, keepdims=True), 1)
    x_NB = np.where(there_NB, draws_NB, 0.0)
    x_NB = np.where(there_NB, x_NB - x_NB.sum(1, keepdims=True) / n_N1, 0.0)
    chosen = pairs_of(len(draws_NB))
    if there_NB.all():
        covariance_NN = x_NB @ x_NB.T / max(x_NB.shape[1] - 1, 1)
        variance_N = covariance_NN.diagonal()
        n_P = np.full(len(chosen[0]), x_NB.shape[1])
        variance_P = variance_N[chosen[0]] + variance_N[chosen[1]] - 2 * covariance_NN[chosen]
    else:
        mask_NB, squared_NB = there_NB.astype(float), x_NB**2
        n_P, cross_P = (mask_NB @ mask_NB.T)[chosen], (x_NB @ x_NB.T)[chosen]
        sums_NN, squares_NN = x_NB @ mask_NB.T, squared_NB @ mask_NB.T
        sum_P = sums_NN[chosen] - sums_NN.T[chosen]
        square_P = squares_NN[chosen] + squares_NN.T[chosen] - 2 * cross_P
        variance_P = (square_P - sum_P**2 / np.maximum(n_P, 1)) / np.maximum(n_P - 1, 1)
    spread_P = np.sqrt(np.maximum(variance_P, 0.0))
    return np.where((n_P >= FEWEST_DRAWS) & (spread_P > RESOLUTION), spread_P, np.nan)


def p_of_pairs(estimate_N: Floats, draws_NB: Floats) -> tuple[Floats, Floats, Floats]:
    """Difference of each pair (first minus second), its standard deviation over draws, and its two-sided p, `(P,)` each."""
    first, second = pairs_of(len(estimate_N))
    difference_P, spread_P = estimate_N[first] - estimate_N[second], spread_of_pairs(draws_NB)
    return difference_P, spread_P, two_sided_p(difference_P, spread_P)


def subsets(k: int) -> list[Ints]:
    """Every non-empty set of k components, the smallest first."""
    from itertools import combinations

    return [np.array(chosen) for size in range(1, k + 1) for chosen in combinations(range(k), size)]


def listed(names: Sequence[str]) -> str:
    """Components as one short name: S+R."""
    return "+".join(names)
