"""Ground truth on a network: units that cause nothing, and a unit that is always on.

METRICS.md, sections 7.3 and 7.6, on clip-mini and drawn pictures; participants are simulated. Shapes: U units, I images,
K interventions (ablation, amplification), N neurons of a map.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from Activation_Extraction.clip_helpers import ImageInput, prepare
from Activation_Extraction.models.clip_mini.world.scenes import draw_scene
from Activation_Extraction.models.registry import Model, load_model
from Activation_Extraction.models.trace import trace
from InterpScore.causality import causality
from InterpScore.helpers import Floats, Ints, sides
from InterpScore.interventions.edits import ablate, amplify, scale
from InterpScore.interventions.layer import LayerInterventions
from InterpScore.labelling.choice import choose_units
from InterpScore.sanity.simulation import StudyDesign, simulate_ratings
from InterpScore.selectivity import selectivity
from InterpScore.tables.experiment_table import ExperimentTable
from InterpScore.tables.neuron_map import Concepts

LAYER = "block_4"
DESIGN = StudyDesign(
    ("clock", "fire", "fish", "house", "letters", "mushroom", "puppy", "sailboat", "star", "tree"),
    images_per_concept=10, kept={5: 1.0}, ease={5: 0.5}, participants=30, raters_per_image=8,
)  # fmt: skip
SELECTION = 10
"""Pictures a concept that units are chosen on; they are scored on others."""


@dataclass(frozen=True)
class Reading:
    """What every unit of a network does on some pictures: activations `(U, I)` and effects `(K, U, I)`."""

    activation_UI: Floats
    effect_KUI: Floats

    def S_and_C(self, unit: int, shows_I: Sequence[bool]) -> tuple[float, float]:
        """Of one unit, for one concept."""
        shows = np.asarray(shows_I)
        S = selectivity("cles", self.activation_UI[[unit]], *sides(shows))
        ablation_1I, amplification_1I = self.effect_KUI[:, [unit]][:, :, shows]
        C = causality(ablation_1I, amplification_1I, np.ones((int(shows.sum()), 1)))
        return float(S[0, 0]), float(C[0, 0])


class DrawnStudy:
    """Pictures of the picture world, and the unit of clip-mini that stands for each concept, chosen on other pictures."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.model = load_model("clip-mini")
        self.concept_I: Ints = np.repeat(np.arange(len(DESIGN.concepts)), DESIGN.images_per_concept)
        self.x_NCHW = self._drawn("evaluation", DESIGN.images_per_concept)
        selection = _activations(self.model, self._drawn("selection", SELECTION))
        chosen = choose_units(selection.T, [c for c in DESIGN.concepts for _ in range(SELECTION)])
        self.unit_of: Mapping[str, int] = {concept: chosen[concept] for concept in DESIGN.concepts}
        self.trained = read(self.model, self.x_NCHW)

    def shows(self, concept: str) -> Any:
        return self.concept_I == DESIGN.concepts.index(concept)

    def _drawn(self, split: str, count: int) -> Tensor:
        pictures = [
            prepare(draw_scene(Random(f"{self.seed}/{split}/{concept}/{k}"), [concept]).render(96), self._input)
            for concept in DESIGN.concepts
            for k in range(count)
        ]
        return torch.stack(pictures)

    @property
    def _input(self) -> ImageInput:
        return self.model.image_input


def read(model: Model, x_NCHW: Tensor) -> Reading:
    """Every unit before the attention pool: its activations, and its effects by the exact update."""
    activations, effects = [], []
    for image in LayerInterventions(model, LAYER).forward_to_layer(x_NCHW):
        activations.append(image.activation_UP.mean(1).double().numpy())
        effects.append(image.effects([ablate(), amplify()])[0].double().numpy())
    return Reading(np.stack(activations, 1), np.stack(effects, 2))


def with_module(model: Model, module: Any) -> Model:
    return replace(model, module=module, image_tower=module.visual)


def without_outgoing_weights(model: Model, units: Sequence[int]) -> Model:
    """A copy in which nothing reads some units of the layer before the attention pool."""
    module: Any = copy.deepcopy(model.module)
    for projection in ("q_proj", "k_proj", "v_proj"):
        getattr(module.visual.attnpool, projection).weight.data[:, list(units)] = 0
    return with_module(model, module)


def with_unit_always_on(model: Model, unit: int, activation: float) -> Model:
    """A copy of clip-mini in which a unit of its last block, which has no other way around, is the same on every image."""
    module: Any = copy.deepcopy(model.module)
    last = module.visual.layer4[-1]
    norms = [last.bn3, *(part for part in last.downsample or () if isinstance(part, torch.nn.BatchNorm2d))]
    for norm in norms:
        norm.weight.data[unit] = norm.bias.data[unit] = 0
    last.bn3.bias.data[unit] = activation
    return with_module(model, module)


def scaling_by_one_and_zero(study: DrawnStudy, units: Sequence[int]) -> tuple[float, float, float]:
    """On one picture: the largest effect of λ = 1 over all units; the largest difference of λ = 0 from ablation; and, for
    some units, of ablation from a forward pass with the unit set to 0, as a part of the largest of their effects."""
    x = study.x_NCHW[:1]
    (image,) = LayerInterventions(study.model, LAYER).forward_to_layer(x)
    effect_KU = image.effects([scale(1), scale(0), ablate()])[0]
    tower: Any = study.model.image_tower
    apart, largest = 0.0, 0.0
    with torch.inference_mode():
        whole = tower(x)
        for unit in units:

            def zero(a_NCHW: Tensor, unit: int = unit) -> Tensor:
                a_NCHW[:, unit] = 0
                return a_NCHW

            with trace(tower, edit={study.model.layers.resolve(LAYER): zero}):
                moved = float((tower(x) - whole).norm() / whole.norm())
            apart, largest = max(apart, abs(moved - float(effect_KU[2, unit]))), max(largest, moved)
    return float(effect_KU[0].max()), float((effect_KU[1] - effect_KU[2]).abs().max()), apart / largest


def rated_table(study: DrawnStudy, reading: Reading, seed: int) -> tuple[ExperimentTable, dict[str, Concepts]]:
    """A study of the chosen units: measured activations and effects, simulated participants to whom an image is easy as
    the unit that was chosen for its concept is active in the trained network; and the neuron map."""
    generator = np.random.default_rng((seed, 76))
    units = [study.unit_of[concept] for concept in DESIGN.concepts]
    own_I = study.trained.activation_UI[np.array(units)[study.concept_I], np.arange(len(study.concept_I))]
    easy_I = np.concatenate([_standardised(own_I[study.shows(concept)]) for concept in DESIGN.concepts])
    level_I = np.full(len(study.concept_I), 5)
    image_R, participant_R, score_R = simulate_ratings(DESIGN, study.concept_I, level_I, easy_I, generator)
    images = [f"{DESIGN.concepts[c]}_{i}.png" for i, c in enumerate(study.concept_I)]
    table = ExperimentTable(
        source="the drawn study", images=images, concepts=list(DESIGN.concepts), concept_I=study.concept_I,
        level_I=level_I, partner_I=np.full(len(images), -1), units=[str(unit) for unit in units],
        activation_UI=reading.activation_UI[units], ablation_UI=reading.effect_KUI[0, units],
        amplification_UI=reading.effect_KUI[1, units], image_R=image_R, participant_R=participant_R, score_R=score_R,
        simulated=True,
    )  # fmt: skip
    return table, {str(unit): (concept,) for concept, unit in study.unit_of.items()}


def excesses(result: pd.DataFrame) -> pd.Series[float]:
    """Means over neurons of S, C and H above chance; of C that is what it has on its concept above others."""
    return result[["S_excess", "C_specific", "H_excess"]].mean()


def _activations(model: Model, x_NCHW: Tensor) -> Floats:
    maps = [
        image.activation_UP.mean(1).double().numpy()
        for image in LayerInterventions(model, LAYER).forward_to_layer(x_NCHW)
    ]
    return np.stack(maps, 1)


def _standardised(values: Floats) -> Floats:
    return np.asarray((values - values.mean()) / values.std())
