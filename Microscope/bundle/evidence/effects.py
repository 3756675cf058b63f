"""Dose curves: what scaling a unit does to the embedding, from files of `interpscore causality`.

Shapes: M images, U units, B resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from Activation_Extraction.base.errors import InputError
from InterpScore.helpers import Floats
from InterpScore.tables.effects import ABLATION, IMAGE_COLUMNS, read_effects, strength_of, unit_column
from Microscope.bundle import columns
from Microscope.bundle.evidence.known import Known
from Microscope.bundle.evidence.matching import refuse_other_weights, source_of, the_layer
from Microscope.bundle.format import Dose, Interval
from Microscope.bundle.layers import SourceLayer

RESAMPLES, CONFIDENCE = 2000, 95
_UNITS_AT_ONCE = 64


def add_effects(layers: Sequence[SourceLayer], known: Mapping[str, Known], path: Path, seed: int) -> None:
    """Note the dose curves of a file.

    Raises:
        InputError: no effects, or of another layer or network.
    """
    (effects,) = read_effects(path)
    layer = the_layer(layers, [next((n for n in effects.layer_names if any(one.answers_to(n) for one in layers)), effects.about.get("layer"))], path)  # fmt: skip
    refuse_other_weights(layer, effects.about.get("provenance"), path)
    of, frame = known[layer.key], effects.frame
    kinds = {kind: strength for kind in _kinds(map(str, frame.columns)) if (strength := strength_of(kind)) is not None}
    image = next((name for name in IMAGE_COLUMNS if name in frame), None)
    if not any(unit_column(kind, u) in frame for kind in kinds for u in range(layer.units)):
        raise InputError(f"{path}: no effects of units of {layer.label}; expected columns such as ablation_effect_0")
    if image is None or frame[image].duplicated().any():
        raise InputError(f"{path}: an image that has no name or appears twice; expected a row for each image")
    source = source_of(of, "effects", path, effects.about)
    n = f"{len(frame):,} images"
    meaning = "‖E' - E‖ / ‖E‖ where the unit is multiplied by λ, mean over images"
    of.columns["dose"] = columns.described("dose", meaning, source.name, n)
    weights_BM = _resamples(len(frame), seed)
    for kind, strength in sorted(kinds.items(), key=lambda pair: pair[1]):
        units = [u for u in range(layer.units) if unit_column(kind, u) in frame]
        for at in range(0, len(units), _UNITS_AT_ONCE):
            chosen = units[at : at + _UNITS_AT_ONCE]
            effect_MU = _numbers(frame[[unit_column(kind, u) for u in chosen]], path)
            for unit, interval in zip(chosen, intervals(effect_MU, weights_BM), strict=True):
                of.dose.setdefault(unit, []).append(Dose(strength=strength, effect=interval))
                if kind == ABLATION and interval.value is not None:
                    of.column("ablation")[unit] = interval.value
    if "ablation" in of.values:
        of.columns["ablation"] = columns.described("ablation", "‖E' - E‖ / ‖E‖ without the unit, mean over images", source.name, n)  # fmt: skip


def _numbers(frame: pd.DataFrame, path: Path) -> Floats:
    """Effects as numbers from 0 up."""
    try:
        effect_MU: Floats = frame.to_numpy(dtype=float)
    except (TypeError, ValueError):
        effect_MU = np.full((1, 1), -1.0)
    if (effect_MU < 0).any():
        raise InputError(f"{path}: effects that are no numbers from 0 up; expected those of `interpscore causality`")
    return effect_MU


def _kinds(names: Sequence[str] | map[str]) -> list[str]:
    """The interventions that a table has columns of."""
    return sorted({name.rpartition("_effect_")[0] for name in names if "_effect_" in name} - {"toward", ""})


def _resamples(images: int, seed: int) -> Floats:
    """How often each image counts in each resample, `(B, M)`."""
    return np.random.default_rng([seed, images]).multinomial(images, np.full(images, 1 / images), RESAMPLES).astype(float)  # fmt: skip


def intervals(effect_MU: Floats, weights_BM: Floats) -> list[Interval]:
    """The mean over images with its percentile interval; images without an effect are left out."""
    there_MU = np.isfinite(effect_MU)
    filled_MU = np.where(there_MU, effect_MU, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn_BU = (weights_BM @ filled_MU) / (weights_BM @ there_MU)
    found = []
    for u, there_M in enumerate(there_MU.T):
        n = int(there_M.sum())
        if not n:
            found.append(Interval(value=None, why="no image has an effect of the unit"))
            continue
        drawn = drawn_BU[np.isfinite(drawn_BU[:, u]), u]
        tail = (100 - CONFIDENCE) / 2
        low, high = np.percentile(drawn, [tail, 100 - tail]) if n > 1 else (None, None)
        found.append(
            Interval(value=float(filled_MU[:, u].sum() / n), low=_number(low), high=_number(high), n=f"{n:,} images")
        )
    return found


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
