"""Measuring the effects of interventions on every image of a list with a network.

    measurement = Measurement(LayerInterventions(load_model("clip-mini"), "block_4"), paths)
    for image in measurement.of(range(len(paths))):
        image.effect_KU                             # Δ_0 and Δ_2 of METRICS.md, section 2, of every unit

Shapes: K kinds of intervention, U units, P positions of the map, E embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from Activation_Extraction.backends.batch_sizes import largest_batch
from Activation_Extraction.backends.plain_network import running
from Activation_Extraction.base.progress import Advance
from Activation_Extraction.clip_helpers import ImageError, ImageSource, read_images
from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.models.registry import Model
from InterpScore.errors import InputError, shown
from InterpScore.helpers import Floats
from InterpScore.interventions.edits import Intervention, replace, scale
from InterpScore.interventions.layer import ImageState, LayerInterventions, unit_count
from InterpScore.tables.effects import (
    ABLATION,
    ACTIVATION,
    ALL,
    EFFECTS,
    MEAN_ABLATION,
    RESAMPLE_ABLATION,
    TOWARD,
    strength_of,
    unit_column,
)

BATCH_SIZE = 8
"""Largest batch of images that run up to the layer."""
PROMPT = "a picture of {}"
"""The text of a concept."""


@dataclass(frozen=True)
class ImageEffects:
    """Effects of every unit on one image.

    Attributes:
        error: why the image could not be read, and all values are NaN; else "".
        effect_KU: `‖E' − E‖ / ‖E‖` of each intervention.
        activation_U: mean over the positions of the map.
        toward_U: cosine of embedding and text minus the same with the unit ablated; NaN without a text.
    """

    error: str
    effect_KU: Floats
    activation_U: Floats
    toward_U: Floats


class Measurement:
    """Interventions on every unit, one at a time, on every image of a list. An image's results do not depend on which
    others are asked for.

    Args:
        layer: the units.
        images: in any form that `read_image` takes.
        kinds: interventions: "ablation", "amplification", "scale_0.5" etc.; "mean_ablation" sets a unit to its mean
            over all readable images and positions (an extra pass); "resample_ablation" to its map on the image half
            the list away (or the next readable one; NaN where there is no other).
        texts_E: the embedding of each image's text, None where there is none.
        mean_U: the means for mean-ablation, if already known.

    Source: METRICS.md, section 2.
    """

    def __init__(
        self,
        layer: LayerInterventions,
        images: Sequence[ImageSource],
        kinds: Sequence[str] = EFFECTS,
        texts_E: Sequence[Tensor | None] | None = None,
        mean_U: Tensor | None = None,
    ) -> None:
        self.layer, self.images, self.kinds = layer, images, list(kinds)
        self._texts_E = texts_E
        self._mean_U = mean_U
        self._size = min(BATCH_SIZE, largest_batch(layer.model))

    @cached_property
    def mean_U(self) -> Tensor:
        """Mean activation of every unit over all readable images and positions."""
        if self._mean_U is not None:
            return self._mean_U
        total, count = torch.zeros(self._units, dtype=torch.float64), 0
        for batch in self._batches(range(len(self.images))):
            for state in self._states([image for _, image in batch if isinstance(image, Tensor)]):
                total, count = total + state.activation_UP.double().mean(1).cpu(), count + 1
        return total / count

    def of(self, rows: Iterable[int], advance: Advance | None = None) -> Iterator[ImageEffects]:
        """The effects on some images of the list, in turn; `advance` is called after each."""
        for batch in self._batches(rows):
            good = [(row, image) for row, image in batch if isinstance(image, Tensor)]
            donors = self._donors([row for row, _ in good]) if RESAMPLE_ABLATION in self.kinds else [None] * len(good)
            states = zip(self._states([image for _, image in good]), donors, strict=True)
            for row, image in batch:
                if isinstance(image, ImageError):
                    yield self._nothing(f"{image.found}; expected {image.expected}")
                else:
                    yield self._effects(row, *next(states))
                if advance is not None:
                    advance(1)

    @cached_property
    def _units(self) -> int:
        return self.layer.count()

    def _effects(self, row: int, state: ImageState, donor_UP: Tensor | None) -> ImageEffects:
        text_E = None if self._texts_E is None else self._texts_E[row]
        effects, turns = state.effects([self._intervention(kind, donor_UP) for kind in self.kinds], text_E)
        effect_KU, toward_U = _numbers(effects), np.full(self._units, np.nan)
        if RESAMPLE_ABLATION in self.kinds and donor_UP is None:
            effect_KU[self.kinds.index(RESAMPLE_ABLATION)] = np.nan
        if turns is not None and ABLATION in self.kinds:
            toward_U = -_numbers(turns[self.kinds.index(ABLATION)])
        return ImageEffects("", effect_KU, _numbers(state.activation_UP.mean(1)), toward_U)

    def _batches(self, rows: Iterable[int]) -> Iterator[list[tuple[int, Tensor | ImageError]]]:
        rows = list(rows)
        prepared = read_images((self.images[row] for row in rows), self.layer.model.image_input)
        numbered = zip(rows, prepared, strict=True)
        while batch := list(islice(numbered, self._size)):
            yield batch

    def _states(self, images: Sequence[Tensor]) -> Iterator[ImageState]:
        return self.layer.forward_to_layer(torch.stack(list(images))) if images else iter(())

    def _donors(self, rows: Sequence[int]) -> list[Tensor | None]:
        """Each unit's map on the image half the list away from each row."""
        found = [self._donor(row) for row in rows]
        states = self._states([image for image in found if image is not None])
        return [None if image is None else next(states).activation_UP for image in found]

    def _donor(self, row: int) -> Tensor | None:
        n = len(self.images)
        others = [other % n for other in range(row + n // 2, row + n // 2 + n) if other % n != row]
        images = read_images((self.images[other] for other in others), self.layer.model.image_input)
        return next((image for image in images if isinstance(image, Tensor)), None)

    def _intervention(self, kind: str, donor_UP: Tensor | None) -> Intervention:
        if kind == MEAN_ABLATION:
            return replace(self.mean_U[:, None])
        if kind == RESAMPLE_ABLATION:
            return scale(1.0) if donor_UP is None else replace(donor_UP)
        strength = strength_of(kind)
        if strength is None:
            raise InputError(f"intervention: found {shown(kind)}; expected one that METRICS.md, section 2 names")
        return scale(strength)

    def _nothing(self, error: str) -> ImageEffects:
        nothing_U = np.full(self._units, np.nan)
        return ImageEffects(error, np.full((len(self.kinds), self._units), np.nan), nothing_U, nothing_U)


def effects_frame(
    names: Sequence[str], units: Sequence[int], kinds: Sequence[str], measured: Sequence[ImageEffects]
) -> pd.DataFrame:
    """Effects as a table, one row per image, in the columns of Data/README.md."""
    blocks = {ACTIVATION: [one.activation_U for one in measured], TOWARD: [one.toward_U for one in measured]}
    blocks |= {kind: [one.effect_KU[k] for one in measured] for k, kind in enumerate(kinds)}
    columns = [unit_column(kind, unit) for kind in blocks for unit in units]
    numbers = np.concatenate([np.stack(values) for values in blocks.values()], axis=1).astype(np.float32)
    errors = [f"{name}: {one.error}" if one.error else "" for name, one in zip(names, measured, strict=True)]
    images = pd.DataFrame({"image_filename": list(names), "error": errors})
    return pd.concat([images, pd.DataFrame(numbers, columns=columns)], axis=1)


def prepare_layer(model: Model, layer: str | None, units: Sequence[int] | None = None) -> LayerInterventions:
    """Units of a layer, checked before anything runs.

    Args:
        layer: None is the layer that feeds the attention pool of a CLIP.
        units: None is all.

    Raises:
        InputError: no such layer, none given where the model has no such pool, or a unit that the layer does not have.
    """
    layer = default_layer(model) if layer is None else layer
    count = unit_count(model, layer)
    if wrong := [unit for unit in units or () if not 0 <= unit < count]:
        raise InputError(f"unit {wrong[0]}: layer {shown(layer)} of {model.name} has units 0 to {count - 1}; expected the layer of the units (--layer)")  # fmt: skip
    return LayerInterventions(model, layer, units)


def default_layer(model: Model) -> str:
    """The layer that feeds the attention pool of a CLIP, studied in the multimodal-neurons paper.

    Raises:
        InputError: the model has none.
    """
    try:
        return model.layers.resolve("block_4")
    except InputError:
        raise InputError(
            f"{model.name}: no layer given; expected one (`interpscore models layers` lists them)"
        ) from None


def text_embeddings(model: Model, concepts: Iterable[str]) -> tuple[dict[str, Tensor], str]:
    """Concept → embedding of its text, and the reason if there are none, else ""."""
    concepts = sorted(set(concepts))
    if not concepts or model.make_tokenizer is None:
        return {}, "" if not concepts else f"{model.name} has no text tower"
    try:
        with running(model):
            embeddings = model.encode_text([PROMPT.format(concept) for concept in concepts])
    except InputError as error:
        return {}, "; ".join(error.problems)
    return dict(zip(concepts, embeddings, strict=True)), ""


def about_measurement(layer: LayerInterventions, kinds: Sequence[str]) -> dict[str, Any]:
    """The provenance of measured effects."""
    model = layer.model
    return {
        **model.identity,
        "layer": layer.layer,
        "layer_aliases": list(model.layers.aliases_of(layer.layer)),
        "units": ALL if layer.units is None else layer.units,
        "interventions": list(kinds),
        "method": layer.method,
        "prompt": PROMPT if model.make_tokenizer else None,
        "preprocessing": model.image_input.preset,
        "input": f"{model.image_input.height}x{model.image_input.width}",
        "precision": "float32",
        "device": str(model.device),
    }


class ImagesOfSet(Sequence[ImageSource]):
    """Some rows of an image set, opened on access."""

    def __init__(self, images: ImageSet, rows: Sequence[int]) -> None:
        self._images, self._rows = images, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: Any) -> Any:
        return self._images.source(int(self._rows[position]))


def _numbers(x: Tensor) -> Floats:
    return np.asarray(x.double().cpu().numpy())
