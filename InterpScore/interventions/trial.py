"""One intervention on one unit and a few images, for `InterpScore.causality.test_neuron_intervention`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from Activation_Extraction.clip_helpers import ImageError, listed, read_images
from Activation_Extraction.images.reading import name_of
from Activation_Extraction.models.registry import Model, load_model
from InterpScore.errors import InputError, shown
from InterpScore.helpers import Floats
from InterpScore.interventions.edits import Intervention, add, amplify, clamp, replace, scale
from InterpScore.interventions.layer import LayerInterventions
from InterpScore.interventions.measurement import default_layer

TAKES: Mapping[str, tuple[str, ...]] = {
    "ablate": (), "amplify": ("by",), "scale": ("by",), "clamp": ("low", "high"), "add": ("value",), "mean": (),
    "resample": (),
}  # fmt: skip
"""Types of intervention, and the parameters of each."""
FROM_OTHERS = ("mean", "resample")
"""The types that use activations of other images."""


@dataclass(frozen=True)
class NeuronIntervention:
    """Result of an intervention on one unit.

    Attributes:
        effect_N: `‖E' − E‖ / ‖E‖` on each image; mean_effect: their mean.
        activation_N: the unit's mean activation on each image, unedited.
        images: their names.
        about: model, layer, unit, intervention, and whether the pictures were drawn.
    """

    effect_N: Floats
    activation_N: Floats
    images: list[str]
    about: Mapping[str, Any]

    @property
    def mean_effect(self) -> float:
        return float(self.effect_N.mean())

    def __str__(self) -> str:
        about = self.about
        return (
            f"{about['intervention']} unit {about['unit']} of {about['layer']} of {about['model']}: the embedding moves by "
            f"{self.mean_effect:.2%} of its length on average ({self.effect_N.min():.2%} to {self.effect_N.max():.2%}, "
            f"{len(self.images)} {'drawn pictures' if about['drawn'] else 'images'})"
        )


def intervention_on_images(
    model: Model | str, unit: int, kind: str, images: Any, layer: str | None, numbers: Mapping[str, Any]
) -> NeuronIntervention:
    """See `InterpScore.causality.test_neuron_intervention`."""
    _check(kind, numbers)
    if not isinstance(unit, Integral) or isinstance(unit, bool):
        raise InputError(f"neuron_id: found {shown(unit)}; expected the number of a unit")
    model = load_model(model) if isinstance(model, str) else model
    sources = _drawn_pictures() if images is None else [(name_of(one, i), one) for i, one in enumerate(listed(images))]
    pictures = []
    for image in read_images([image for _, image in sources], model.image_input):
        if isinstance(image, ImageError):
            raise InputError(str(image))
        pictures.append(image)
    least = 2 if kind in FROM_OTHERS else 1
    if len(pictures) < least:
        other = ", whose activations it takes" if kind in FROM_OTHERS else ""
        raise InputError(f"intervention_type {kind}: {len(pictures)} images; expected at least {least}{other}")
    prepared = LayerInterventions(model, default_layer(model) if layer is None else layer, [int(unit)])
    x = torch.stack(pictures)
    activation_UP = [state.activation_UP for state in prepared.forward_to_layer(x)]
    effects = [
        float(state.effects([_intervention(kind, numbers, activation_UP, i)])[0])
        for i, state in enumerate(prepared.forward_to_layer(x))
    ]
    about = {
        "model": model.name, "layer": prepared.layer, "unit": int(unit), "intervention": kind, **numbers,
        "drawn": images is None,
    }  # fmt: skip
    activation_N = np.array([float(a_UP.mean()) for a_UP in activation_UP])
    return NeuronIntervention(np.array(effects), activation_N, [name for name, _ in sources], about)


def _check(kind: str, numbers: Mapping[str, Any]) -> None:
    if kind not in TAKES:
        raise InputError(f"intervention_type: found {shown(kind)}; expected one of {', '.join(TAKES)}")
    takes = " and ".join(TAKES[kind]) or "no number"
    if odd := [name for name in numbers if name not in TAKES[kind]]:
        raise InputError(f"intervention_type {kind}: found {shown(odd[0])}; expected {takes}")
    if kind in ("scale", "add") and not numbers:
        raise InputError(f"intervention_type {kind}: no number; expected {takes}")


def _intervention(kind: str, numbers: Mapping[str, Any], activation_UP: list[Tensor], image: int) -> Intervention:
    if kind == "mean":
        return replace(torch.stack(activation_UP).mean((0, 2))[:, None])
    if kind == "resample":
        return replace(activation_UP[(image + 1) % len(activation_UP)])
    makers: Mapping[str, Callable[..., Intervention]] = {
        "ablate": lambda: scale(0.0), "amplify": amplify, "scale": scale, "clamp": clamp, "add": add,
    }  # fmt: skip
    return makers[kind](**numbers)


def _drawn_pictures() -> list[tuple[str, Any]]:
    """One drawn picture of each concept."""
    from Activation_Extraction.models.clip_mini.world.scenes import CONCEPTS, draw_scene

    return [(f"drawn {concept}", draw_scene(Random(concept), [concept]).render(192)) for concept in CONCEPTS]
