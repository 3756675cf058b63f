"""Measuring the effects of an experiment table's neurons with a network, on the table's clean images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from Activation_Extraction.base.errors import listed_up_to
from Activation_Extraction.base.progress import StageProgress, in_stage
from Activation_Extraction.clip_helpers import ImageSource
from Activation_Extraction.images.sets import ImageSet, image_set
from Activation_Extraction.images.twins import remarks_on_files
from Activation_Extraction.models.registry import Model
from Activation_Extraction.tables.dialects.options import TableOptions
from InterpScore.errors import InputError, shown
from InterpScore.interventions.layer import LayerInterventions
from InterpScore.interventions.measurement import (
    ImagesOfSet,
    Measurement,
    about_measurement,
    effects_frame,
    prepare_layer,
    text_embeddings,
)
from InterpScore.tables.effects import EFFECTS, MEAN_ABLATION, RESAMPLE_ABLATION, Effects, scaling
from InterpScore.tables.experiment_table import ExperimentTable
from InterpScore.tables.image_names import rows_of_images
from InterpScore.tables.neuron_map import normalised

SHOWN_IMAGES = 10
"""Missing images named in a message; the rest are counted."""
DOSES = (0.0, 0.5, 1.0, 2.0, 5.0)
"""λ of the dose curve."""


def measured_for_table(
    table: ExperimentTable,
    clean_level: int,
    images: Any,
    model: Model,
    layer: str | None = None,
    progress: StageProgress | None = None,
    told: TableOptions = TableOptions(),  # noqa: B008 - frozen
) -> list[Effects]:
    """Effects of a table's neurons, or of the complete layer where that costs little more, on its clean images.

    Args:
        table: its neurons are unit numbers.
        images: the folder of the table's images, or anything else that `image_set` takes.
        layer: of the neurons, where the table's stores do not name it; None is the input of a CLIP's attention pool.
        progress: progress callback (stage, completed, total).
        told: what is known of image tables; the rest is found out.

    Returns:
        One per layer; remarks list missing and unreadable images.

    Raises:
        InputError: no such layer, a neuron that is no unit of it, none of the images found or readable.
    """
    clean = _CleanImages(table, clean_level, images, told)
    texts, why_no_text = text_embeddings(model, clean.concepts)
    texts_E = [texts.get(concept) for concept in clean.concepts]
    layers = list(dict.fromkeys(table.layer_of.values())) or [""]
    advance = in_stage(progress, "interventions", len(clean.names) * len(layers))
    found = []
    for label in layers:
        prepared = prepare_layer(model, label.rpartition(":")[2] or layer, _units_of(table, label))
        if prepared.exact:  # all units cost little more, and allow C_percentile
            prepared = LayerInterventions(model, prepared.layer)
        measured = list(Measurement(prepared, clean.sources, EFFECTS, texts_E).of(range(len(clean.names)), advance))
        unread = [f"{name}: {one.error}" for name, one in zip(clean.names, measured, strict=True) if one.error]
        if len(unread) == len(measured):
            raise InputError(unread)
        units = range(prepared.count()) if prepared.units is None else prepared.units
        frame = effects_frame(clean.names, units, EFFECTS, measured)
        about = about_measurement(prepared, EFFECTS) | {"made_with": [model.made_with], "images_not_found": clean.lost}
        found.append(Effects(frame, f"{model.name} on {clean.where}", about, tuple(clean.unreadable(unread))))
    remarks = [*clean.remarks(), *clean.not_found(), *([f"C_toward is missing: {why_no_text}"] if why_no_text else [])]
    found[0] = replace(found[0], remarks=(*remarks, *found[0].remarks))
    return found


def other_interventions(
    table: ExperimentTable, clean_level: int, images: Any, layer: LayerInterventions, concept: str, mean: float
) -> dict[str, float]:
    """Mean effects of one unit on a concept's clean images, by kind: the dose curve, mean- and resample-ablation.

    Args:
        layer: prepared for that unit alone.
        mean: its mean activation over all images.
    """
    clean = _CleanImages(table, clean_level, images)
    kinds = [*map(scaling, DOSES), MEAN_ABLATION, RESAMPLE_ABLATION]
    rows = [row for row, name in enumerate(clean.concepts) if normalised(name) == normalised(concept)]
    measured = Measurement(layer, clean.sources, kinds, None, torch.tensor([mean])).of(rows)
    effects = pd.DataFrame([one.effect_KU[:, 0] for one in measured], columns=kinds)
    return {str(kind): float(value) for kind, value in effects.mean().items()} if len(effects) else {}


class _CleanImages:
    """The clean images of a table that were found (`names`, `concepts`, `sources`), and the names of the others (`lost`)."""

    def __init__(
        self,
        table: ExperimentTable,
        clean_level: int,
        images: Any,
        told: TableOptions = TableOptions(),  # noqa: B008 - frozen
    ) -> None:
        clean_I = np.flatnonzero(table.level_I == clean_level)
        available = images if isinstance(images, ImageSet) else image_set(images, csv=told)
        self.where = str(images) if isinstance(images, str | Path) else "the images"
        self.table = table.source
        row_I = rows_of_images([table.images[i] for i in clean_I], available.table["image"].to_pylist(), table.source, self.where)  # fmt: skip
        self.names = [table.images[i] for i in clean_I[row_I >= 0]]
        self.concepts = [table.concepts[table.concept_I[i]] for i in clean_I[row_I >= 0]]
        self.available, self.rows = available, row_I[row_I >= 0].tolist()
        self.sources: Sequence[ImageSource] = ImagesOfSet(available, self.rows)
        self.lost = [table.images[i] for i in clean_I[row_I < 0]]
        if not self.names:
            raise InputError(f"{table.source}: no image at the clean level {clean_level} to intervene on")

    def remarks(self) -> list[str]:
        """What the reader should know of the set, and of the files that are measured."""
        of_files = remarks_on_files(self.available, self.rows)
        return [*self.available.remarks, *(f"{self.where}: {line}" for line in of_files)]

    def not_found(self) -> list[str]:
        of = f"of the {len(self.lost) + len(self.names)} clean images of {self.table} are missing"
        return self._remark(self.lost, of)

    def unreadable(self, errors: Sequence[str]) -> list[str]:
        return self._remark(errors, f"of {len(self.names)} clean images could not be read")

    def _remark(self, images: Sequence[str], of: str) -> list[str]:
        named = ", ".join(listed_up_to(images, SHOWN_IMAGES))
        return [f"{self.where}: {len(images)} {of} ({named}); C is measured on the others"] if images else []


def _units_of(table: ExperimentTable, label: str) -> list[int]:
    """The table's units of a layer."""
    names = [table.unit_of(neuron) for neuron in table.units if table.layer_of.get(neuron, label) == label]
    if odd := [name for name in names if not name.isdecimal()]:
        raise InputError(f"{table.source}: neuron {shown(odd[0])}; expected the number of a unit, to intervene on it")
    return sorted({int(name) for name in names})
