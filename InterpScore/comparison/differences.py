"""Paired differences of two scoring runs: of every pair of units and of their mean, in the same resamples. METRICS.md, section 6.

Shapes: P pairs, B draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from InterpScore.comparison.matching import Matching, Pair
from InterpScore.comparison.results import Comparison, columns
from InterpScore.comparison.runs import ScoredRun
from InterpScore.errors import InputError
from InterpScore.helpers import ALIKE, Bools, Floats
from InterpScore.options import Adjustment
from InterpScore.resampling import adjusted_p_values

SCORE = "InterpScore"
FEWEST_DRAWS = 20
"""With fewer, a standard deviation is too uncertain for an interval."""
OTHER_PARTS = "rests on different components"


def differences(
    a: ScoredRun, b: ScoredRun, pairs: Sequence[Pair], confidence: float, adjust: Adjustment, min_p_value: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table of pairs, and that of means over pairs; see `Comparison`.

    Draws of each neuron are shifted so that their median is its estimate. A difference's interval reaches z standard
    deviations of its draws to either side, and its p is that of the same normal distribution.
    """
    components = a.draws.components
    z = float(ndtri((1 + confidence) / 2))
    made: dict[str, Any] = {
        "Concept": [pair.concept for pair in pairs],
        "Units_A": [" ".join(pair.a) for pair in pairs],
        "Units_B": [" ".join(pair.b) for pair in pairs],
        "correlation": [pair.correlation for pair in pairs],
    }
    notes: list[list[str]] = [[] for _ in pairs]
    alike_P = _same_parts(a, b, pairs)
    overall = []
    for name in components:
        values = [_means(run, [getattr(pair, side) for pair in pairs], name) for run, side in ((a, "a"), (b, "b"))]
        (a_P, a_PB), (b_P, b_PB) = values
        kept = min(a_PB.shape[1], b_PB.shape[1])
        there_P = np.isfinite(b_P - a_P) & (alike_P if name == SCORE else True)
        difference_P = np.where(there_P, b_P - a_P, np.nan)
        draws_PB = np.where(there_P[:, None], b_PB[:, :kept] - a_PB[:, :kept], np.nan)
        spread_P = _spread(draws_PB)
        p_P = two_sided_p(difference_P, spread_P)
        adjusted_P = adjusted_p_values(p_P, adjust)
        made |= {
            f"{name}_A": a_P, f"{name}_B": b_P, f"{name}_difference": difference_P,
            f"{name}_low": difference_P - z * spread_P, f"{name}_high": difference_P + z * spread_P,
            f"{name}_p": p_P, f"{name}_p_adjusted": adjusted_P,
        }  # fmt: skip
        for i in range(len(pairs)):
            if name == SCORE and not alike_P[i] and np.isfinite(b_P[i] - a_P[i]):
                notes[i].append(f"{name}: {OTHER_PARTS}")
            elif there_P[i] and np.isnan(spread_P[i]):
                notes[i].append(f"{name}: no interval, as the runs have none or all resamples agree")
            elif not there_P[i]:
                notes[i].append(
                    f"{name}: missing in {' and '.join(s for s, v in (('A', a_P), ('B', b_P)) if np.isnan(v[i]))}"
                )
        overall.append(
            _overall(name, a_P, b_P, draws_PB, there_P, z) | {"significant": int((adjusted_P <= min_p_value).sum())}
        )
    made["Notes"] = ["; ".join(said) for said in notes]
    return pd.DataFrame(made)[list(columns(components))], pd.DataFrame(overall)


def two_sided_p(difference: Floats, spread: Floats) -> Floats:
    """Two-sided p of no difference, normal with a standard deviation of `spread`; NaN without one."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(2 * ndtr(-np.abs(difference) / spread))


def _overall(name: str, a_P: Floats, b_P: Floats, draws_PB: Floats, there_P: Bools, z: float) -> dict[str, Any]:
    """Means over the pairs whose difference has an interval, or over all where none has."""
    varies_P = there_P & np.isfinite(_spread(draws_PB))
    meant_P = varies_P if varies_P.any() else there_P
    row: dict[str, Any] = {"component": name, "pairs": int(meant_P.sum())}
    if not meant_P.any():
        return row | dict.fromkeys(("A", "B", "difference", "low", "high", "p"), np.nan)
    a, b = float(a_P[meant_P].mean()), float(b_P[meant_P].mean())
    spread = _spread(draws_PB[meant_P].mean(0)[None])
    p = float(two_sided_p(np.array([b - a]), spread)[0])
    return row | {
        "A": a, "B": b, "difference": b - a, "low": b - a - z * float(spread[0]), "high": b - a + z * float(spread[0]), "p": p,
    }  # fmt: skip


def _spread(draws_PB: Floats) -> Floats:
    """The standard deviation of draws, `(P,)`; NaN where there are too few, or where all agree."""
    there = np.isfinite(draws_PB)
    n_P = there.sum(1)
    mean_P = np.where(there, draws_PB, 0).sum(1) / np.maximum(n_P, 1)
    squares_P = (np.where(there, draws_PB - mean_P[:, None], 0) ** 2).sum(1)
    spread_P = np.sqrt(squares_P / np.maximum(n_P - 1, 1))
    return np.where((n_P >= FEWEST_DRAWS) & (spread_P > ALIKE), spread_P, np.nan)


def _means(run: ScoredRun, groups: Sequence[Sequence[str]], name: str) -> tuple[Floats, Floats]:
    """The mean of a component over each group of neurons that have it, `(P,)`, and in every draw, `(P, B)`."""
    estimate_N, draws_NB = run.draws.estimate_NC[:, run.draws.components.index(name)], run.draws.around(name)
    found_P, found_PB = np.full(len(groups), np.nan), np.full((len(groups), draws_NB.shape[1]), np.nan)
    for i, neurons in enumerate(groups):
        places = run.places(neurons)
        places = places[np.isfinite(estimate_N[places])]
        if len(places):
            found_P[i], found_PB[i] = estimate_N[places].mean(), draws_NB[places].mean(0)
    return found_P, found_PB


def _same_parts(a: ScoredRun, b: ScoredRun, pairs: Sequence[Pair]) -> Bools:
    """Whether the scores of all units of a pair rest on the same components, `(P,)`."""
    same = []
    for pair in pairs:
        there = [np.isfinite(run.draws.estimate_NC[run.places(units)]) for run, units in ((a, pair.a), (b, pair.b))]
        rows = np.concatenate(there)
        same.append(bool((rows == rows[0]).all()))
    return np.array(same)


def compare_runs(
    a: ScoredRun,
    b: ScoredRun,
    match: Matching,
    *,
    confidence: float = 0.95,
    adjust: Adjustment = "bh",
    min_p_value: float = 0.05,
) -> Comparison:
    """Compare two runs whose draws are of the same resamples (`refuse_other_resamples`).

    Args:
        match: which units are compared with which.

    Raises:
        InputError: nothing to compare.
    """
    if a.source == b.source and a.layer == b.layer:
        raise InputError(f"{b.source}: is both A and B; expected other results, or two of its layers")
    pairs, left = match(a, b)
    table, overall = differences(a, b, pairs, confidence, adjust, min_p_value)
    signature = {
        "made_by": "interpscore compare",
        "A": {"name": a.name, "signature": dict(a.signature)},
        "B": {"name": b.name, "signature": dict(b.signature)},
        "components": list(a.draws.components), "draws": min(run.draws.values_NCB.shape[2] for run in (a, b)),
        "confidence": confidence, "adjust": adjust, "min_p_value": min_p_value, "in_no_pair": left,
    }  # fmt: skip
    warnings = (
        [f"{len(left)} of A or B alone are left out: {', '.join(left[:5])}{' …' if len(left) > 5 else ''}"]
        if left
        else []
    )
    if several := sum(len(pair.a) > 1 or len(pair.b) > 1 for pair in pairs):
        warnings.append(f"{several} of {len(pairs)} concepts have several units, whose scores are averaged")
    return Comparison(table, overall, signature, warnings)
