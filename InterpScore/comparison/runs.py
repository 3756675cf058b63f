"""Results of `interpscore score` that are compared, with their draws; refused unless draws are of the same resampled studies."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import did_you_mean, listed_up_to, shown
from InterpScore.errors import InputError
from InterpScore.helpers import Ints
from InterpScore.scoring.draws import LARGEST_RESULTS, Draws, read_draws

_RESULTS = "the results of `interpscore score`"
_MAY_DIFFER = {"draws", "confidence", "adjust", "min_p_value", "rank_all", "per_concept"}
"""Options that change neither scores nor resamples."""


@dataclass(frozen=True, eq=False)
class ScoredRun:
    """Some neurons of a scoring run: all, or those of a layer.

    Attributes:
        source: the results, for messages.
        layer: the layer of the neurons; "" where the run says none.
        concept_of: neuron, without its layer → its concept, several joined as in the results.
        place_of: neuron → where it is in `draws`.
        draws: of all neurons of the run.
        signature: of the run.
    """

    source: str
    layer: str
    concept_of: dict[str, str]
    place_of: dict[str, int]
    draws: Draws
    signature: Mapping[str, Any]

    def places(self, neurons: Sequence[str]) -> Ints:
        """Where neurons are in `draws`."""
        return np.array([self.place_of[neuron] for neuron in neurons], np.int64)

    @property
    def name(self) -> str:
        """The file, and the layer where the run has several."""
        return f"{Path(self.source).name}, {self.layer}" if self.layer else Path(self.source).name


def read_run(results: str | os.PathLike[str], layer: str | None = None, option: str = "layer") -> ScoredRun:
    """The neurons of a layer in the results of a run, with their draws.

    Args:
        results: the CSV or JSON; the draws lie beside them.
        layer: as the column Layer names it; None for the only one.
        option: what names the layer, for messages.

    Raises:
        InputError: no results or draws, damaged, no such layer, several to choose from.
    """
    draws = read_draws(results)
    path = Path(results).with_suffix(".json")
    content = read_json(path, expected=_RESULTS, largest=LARGEST_RESULTS)
    try:
        assert content is not None
        signature, records = content["signature"], content["neurons"]
        rows = [(str(row["Neuron"]), str(row.get("Layer") or ""), str(row["Concept"])) for row in records]
        if not isinstance(signature["options"], dict):
            raise TypeError
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: damaged; expected {_RESULTS}") from None
    layers = list(dict.fromkeys(of for _, of, _ in rows))
    if layer is None and len(layers) > 1:
        raise InputError(f"{option}: none given; {results} has {', '.join(layers)}; expected one of them")
    if layer is not None and layer not in layers:
        there = ", ".join(filter(None, layers)) or "no column Layer"
        raise InputError(f"{option}: found {shown(layer)}{did_you_mean(layer, layers)}; {results} has {there}")
    chosen = layers[0] if layer is None else layer
    places = {neuron: i for i, neuron in enumerate(draws.neurons)}
    concept_of: dict[str, str] = {}
    place_of: dict[str, int] = {}
    for neuron, of, concept in rows:
        place = places.get(f"{of}:{neuron}" if len(layers) > 1 else neuron)
        if of == chosen and place is not None and neuron not in place_of:  # rows of single concepts come last
            concept_of[neuron], place_of[neuron] = concept, place
    label = chosen if len(layers) > 1 else ""
    return ScoredRun(str(results), label, concept_of, place_of, draws, signature)


def refuse_other_resamples(a: ScoredRun, b: ScoredRun) -> None:
    """Refuse two runs unless draw k of both is of the same resampled images and participants, and scores mean the same.

    Raises:
        InputError: a line with what differs.
    """
    again = "score both on the same table with the same options and seed"
    if "resampled" not in a.signature or "resampled" not in b.signature:
        lacking = a if "resampled" not in a.signature else b
        raise InputError(
            f"{lacking.source}: does not say which images were resampled; expected results of this version: score again"
        )
    mine, theirs = ({k: v for k, v in run.signature["options"].items() if k not in _MAY_DIFFER} for run in (a, b))
    for name in [*mine, *(name for name in theirs if name not in mine)]:
        if mine.get(name) != theirs.get(name):
            found, expected = (shown(options.get(name)) for options in (theirs, mine))
            raise InputError(f"{b.source}: option {name} {found}; expected {expected}, as in {a.source}: {again}")
    if a.signature["resampled"] != b.signature["resampled"]:
        counts = [_counted(run) for run in (a, b)]
        also = f" ({counts[1]}; {counts[0]} in {a.source})" if counts[0] != counts[1] else ""
        raise InputError(
            f"{b.source}: scored on other images, labels or ratings than {a.source}{also}; expected the same: {again}"
        )
    if a.draws.components != b.draws.components:
        named = [", ".join(listed_up_to(list(run.draws.components), 8)) for run in (a, b)]
        raise InputError(f"{b.source}: draws of {named[1]}; expected {named[0]}, as in {a.source}")


def _counted(run: ScoredRun) -> str:
    counts = run.signature.get("n") or {}
    return ", ".join(f"{counts.get(what)} {what}" for what in ("images", "ratings", "participants"))
