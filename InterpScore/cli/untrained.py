"""Scores beside those of untrained networks, as `interpscore score --baseline` prints them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from Activation_Extraction.base.text import in_markup, say
from InterpScore.metric import components

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

_SHOWN_NEURONS = 40


def print_untrained(frame: pd.DataFrame, about: dict[str, Any], screen: Console) -> None:
    """A row for each neuron; below its score the best untrained unit's, and the share of untrained units above it."""
    from rich.table import Table

    names = [*(metric.name for metric in components()), "InterpScore"]
    shown = [name for name in names if frame[f"{name}_untrained_higher"].notna().any()]
    copies, layers = (
        len(about["networks"]),
        ", ".join(f"{n:,} units of {layer}" for layer, n in about["layers"].items()),
    )
    say(f"Beside {copies} untrained cop{'ies' if copies > 1 else 'y'} of {about['model']} ({layers} each)")
    say(
        "The neuron's score; below it that of the best untrained unit, and the share of untrained units that score higher"
    )
    say(f"Best by {about['chosen_by']} on {about['chosen_on']}; all scored on {about['compared_on']:,} other images")
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    of_neuron = [name for name in ("Neuron", "Layer", "Concept") if name in frame and (name != "Layer" or len(about["layers"]) > 1)]  # fmt: skip
    for name in of_neuron:
        grid.add_column(
            name, justify="right" if name == "Neuron" else "left", no_wrap=name == "Neuron", overflow="fold"
        )
    for name in shown:
        grid.add_column("Score" if name == "InterpScore" else name, justify="right", no_wrap=True)
    for _, row in frame.head(_SHOWN_NEURONS).iterrows():
        grid.add_row(*(in_markup(row[name]) for name in of_neuron), *(_beside(row, name) for name in shown))
    screen.print(grid)
    for note in about["notes"]:
        say(f"untrained: {note}")
    say()


def _beside(row: Any, name: str) -> str:
    """A score over the best untrained unit's and the share of untrained units above it: `0.930` over `.71, 2%`."""
    value, best, share = (row[f"{name}_{what}"] for what in ("evaluation", "untrained_best", "untrained_higher"))
    if math.isnan(value):
        return "–"
    if math.isnan(share):
        return f"{value:.3f}"
    return f"{value:.3f}\n{'–' if math.isnan(best) else _short(best)}, {_percent(share)}"


def _short(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".", 1)


def _percent(share: float) -> str:
    """A share in percent, never rounded to none or all.

    >>> _percent(0.0), _percent(0.0004), _percent(0.02), _percent(0.9999)
    ('0%', '<1%', '2%', '>99%')
    """
    if 0 < share < 0.01 or 0.99 < share < 1:
        return "<1%" if share < 0.5 else ">99%"
    return f"{share:.0%}"
