"""What intervals rest on: one image, one rater, or resamples that are all alike give none.

Draws reweight images and raters. Where only one stands behind a value, its weight cancels and the draws say nothing about
others. METRICS.md, section 6. Shapes: U units of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from InterpScore.helpers import ALIKE, FEWEST, Bools, Floats
from InterpScore.metric import Metric
from InterpScore.scoring.blocks import Block
from InterpScore.scoring.results import listed

LEAST = {"hit": 5}
"""How many there must be of what stands behind a value, where `FEWEST` are too few."""
_NAMED = {"hit": "top image{} of the concept"}


def withhold_intervals(
    columns: Mapping[str, Any],
    reasons: Sequence[dict[str, str]],
    blocks: Sequence[Block],
    metrics: Sequence[Metric],
    scores: Mapping[str, Sequence[Metric]],
) -> None:
    """Make intervals NaN that would say more than the data do, and note why.

    Args:
        columns: values, `<name>_low` and `<name>_high` of metrics, their further quantities and the scores, by row.
        reasons: notes of each row, which this adds to.
        metrics: every metric.
        scores: score → the metrics that it rests on where they are there.
    """
    few: dict[str, dict[int, str]] = {}
    alike: dict[str, Bools] = {}
    for metric in metrics:
        for name in (metric.name, *metric.further):
            few[name] = dict(_too_few(metric, name, columns, blocks))
            alike[name] = _without_width(name, columns)
            for row, found in few[name].items():
                _withhold(name, row, f"none from {found}", columns, reasons)
            for row in np.flatnonzero(alike[name]).tolist():
                if row not in few[name]:
                    _withhold(name, row, f"none, every resample gives {columns[name][row]:.3g}", columns, reasons)
    for score, resting in scores.items():
        values_U, without_width = columns[score], _without_width(score, columns)
        for row in np.flatnonzero(np.isfinite(values_U)).tolist():
            lacking = [metric.name for metric in resting if row in few[metric.name]]
            exact = [f"{m.name} as {columns[m.name][row]:.3g}" for m in resting if alike[m.name][row]]
            if lacking:
                why = f"none, as {listed(lacking)} {'has' if len(lacking) == 1 else 'have'} none"
                _withhold(score, row, why, columns, reasons)
            elif without_width[row]:
                _withhold(score, row, f"none, every resample gives {values_U[row]:.3g}", columns, reasons)
            elif exact:
                reasons[row][f"{score} interval"] = f"takes {listed(exact)}, which every resample gives"


def _withhold(name: str, row: int, why: str, columns: Mapping[str, Any], reasons: Sequence[dict[str, str]]) -> None:
    columns[f"{name}_low"][row] = columns[f"{name}_high"][row] = np.nan
    if not (name == "I_excess" and reasons[row].get("InterpScore interval") == why):
        reasons[row][f"{name} interval"] = why


def _without_width(name: str, columns: Mapping[str, Any]) -> Bools:
    """Rows in which both ends of an interval are the same, `(rows,)`."""
    return np.asarray(columns[f"{name}_high"] - columns[f"{name}_low"] <= ALIKE)


def _too_few(
    metric: Metric, name: str, columns: Mapping[str, Any], blocks: Sequence[Block]
) -> Iterator[tuple[int, str]]:
    """Rows whose value has too few images or raters behind it for an interval, and how many it has."""
    for block in blocks:
        behind = {kind: np.broadcast_to(n, len(block.rows)) for kind, n in metric.behind(block, name).items()}
        unknown_U = _no_region(metric, name, columns, block)
        for u, row in enumerate(block.rows):
            if not np.isfinite(columns[name][row]):
                continue
            few = [counted(int(n_U[u]), kind) for kind, n_U in behind.items() if n_U[u] < LEAST.get(kind, FEWEST)]
            if not few and unknown_U[u] and metric.folds:
                few = [counted(metric.folds.images(block), "image")]
            if few:
                yield int(row), listed(few) + (" in one of its groups" if metric.folds else "")


def _no_region(metric: Metric, name: str, columns: Mapping[str, Floats], block: Block) -> Bools:
    """Units whose folded ratios are more than their images tell apart."""
    if metric.folds is None or name != metric.name:
        return np.zeros(len(block.rows), dtype=bool)
    return np.asarray(np.isnan(columns[f"{name}_low"][block.rows]))


def counted(n: int, what: str) -> str:
    """A number of things.

    >>> counted(1, "image"), counted(0, "rater")
    ('1 image', '0 raters')
    """
    return f"{n} {_NAMED.get(what, what + '{}').format('' if n == 1 else 's')}"
