"""What a figure needs of a run, and why a run does not have it: one line each, which the command and `index.json` show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from Visualizations.run import Run


@dataclass(frozen=True)
class Need:
    """Something that a figure cannot do without.

    Attributes:
        name: for listings: "the draws".
        missing: why a run does not have it, in a few words; "" where it does.
        after: needs without which there is no telling.
    """

    name: str
    missing: Callable[[Run], str]
    after: tuple[Need, ...] = ()


def several(count: int) -> Need:
    """At least so many neurons with an InterpScore."""

    def missing(run: Run) -> str:
        found = len(run.scored)
        return "" if found >= count else f"{found} scored neuron{'s' * (found != 1)}; expected at least {count}"

    return Need(f"{count} scored neurons", missing)


def columns(*names: str, what: str) -> Need:
    """Columns of the results that have a value in at least one row; `what` says what makes them."""

    def missing(run: Run) -> str:
        empty = [name for name in names if name not in run.table or run.table[name].isna().all()]
        return f"no {', '.join(empty)} in the results: {what}" if empty else ""

    return Need(", ".join(names), missing)


def _no_draws(run: Run) -> str:
    if "draws" not in run.signature:
        return "the results keep no draws; score again with --resamples and --draws above 0"
    return "" if run.has_draws else "no .draws.npz beside the results"


def _no_data(run: Run) -> str:
    if run.sources.data is None:
        return "no experiment table was given; add --data"
    if run.signature.get("stores") and not run.sources.stores:
        return "activations were taken from a store; add --store"
    return ""


def _no_layers(run: Run) -> str:
    return "" if run.several_layers else "neurons of one layer; expected several (interpscore score --store)"


DRAWS = Need("the draws", _no_draws)
DATA = Need("the experiment table", _no_data)
LAYERS = Need("several layers", _no_layers)
EFFECTS = Need(
    "measured effects",
    lambda run: (
        "" if run.sources.effects else "no effects were given; add --effects, a file of `interpscore causality`"
    ),
)
LABELS = Need(
    "labels",
    lambda run: "" if run.sources.labels else "no labels were given; add --labels, the table of `interpscore label`",
)
SANITY = Need(
    "checks",
    lambda run: (
        "" if run.sources.sanity else "no checks were given; add --sanity, the CSV of `interpscore sanity --output`"
    ),
)
PUBLISHED = Need(
    "published scores", lambda run: "" if run.sources.published else "no published scores were given; add --published"
)
