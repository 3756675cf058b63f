"""The network of a study: adversarial pictures are made against it, and it measures activations."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from Activation_Extraction.activation_extractor import extract_layer_activations
from Activation_Extraction.backends.preparation import PreparedNetwork, prepare_network
from Activation_Extraction.base.errors import InputError, UnreadableImageWarning
from Activation_Extraction.base.names import file_name
from Activation_Extraction.clip_helpers import preparation, prepare
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.resources import limited_threads
from Human_Experiment_Setup.stimuli.adversarial import attacked
from Human_Experiment_Setup.stimuli.differentiable import Preprocessing, Score, class_log_odds, unit_activation
from Human_Experiment_Setup.stimuli.perturbations import Floats, Pixels
from Human_Experiment_Setup.stimuli.protocol import AdversarialLevel, Protocol
from InterpScore.interventions.layer import unit_count

_SHOWN = 10


class Network:
    """A model for pictures of one size.

    It runs on one thread, unless the model was loaded for more, so that sums are in the same order on any machine and a
    descent takes the same path.

    Args:
        model: the model.
        layer: of the units, by any of its names; None without units.
        preprocessing: a preset; None is the model's own.
        side: of the pictures, in pixels.

    Raises:
        InputError: no such layer or preset.
    """

    def __init__(self, model: Model, layer: str | None, preprocessing: str | None, side: int) -> None:
        self.model = replace(model, threads=model.threads or 1)
        self.preset = preprocessing or model.image_input.preset
        self.layer = None if layer is None else model.layers.resolve(layer)
        preparation(model.image_input, self.preset)
        self._side = side
        self._scores: dict[tuple[AdversarialLevel, str], Score] = {}

    def __reduce__(self) -> Any:
        """Pickled as what it was made from."""
        return Network, (self.model, self.layer, self.preset, self._side)

    @cached_property
    def _preprocessing(self) -> Preprocessing:
        return Preprocessing(self.model.image_input, self.preset, self._side)

    @cached_property
    def _network(self) -> PreparedNetwork:
        assert self.layer is not None
        return prepare_network(self.model, [self.layer], "mean", gradients=True)

    @property
    def layer_names(self) -> list[str]:
        """Every name of the layer."""
        return [] if self.layer is None else [self.layer, *self.model.layers.aliases_of(self.layer)]

    @property
    def render_places(self) -> list[str]:
        """Folders where renders of the layer may be: `<model>/<layer>`, by any of its names."""
        return [f"{file_name(self.model.name)}/{file_name(name)}" for name in self.layer_names]

    @property
    def identity(self) -> dict[str, Any]:
        """What reads the pictures."""
        return {**self.model.identity, "layer": self.layer, "preprocessing": self.preset}

    def check(self, protocol: Protocol, concepts: Sequence[str], units: Mapping[str, int]) -> None:
        """Refuse what some level would fail on.

        Raises:
            InputError: the layer has no such unit; for adversarial levels, a preset that is not differentiable, or a
                class without a text tower.
        """
        if self.layer is not None:
            count = unit_count(self.model, self.layer)
            if wrong := [unit for unit in units.values() if unit >= count]:
                raise InputError(
                    f"neuron map: unit {wrong[0]}; layer {self.layer} of {self.model.name} has units 0 to {count - 1}"
                )
        for level in protocol.levels.values():
            if isinstance(level, AdversarialLevel):
                _ = self._preprocessing  # which may refuse the preset
                for concept in concepts:
                    self.score(level, concept, concepts, units)

    def activations(self, images: Sequence[Path | str | bytes]) -> Floats:
        """Activations of every unit of the layer, `(I, U)`, as of extraction.

        Raises:
            InputError: unreadable images, by name.
        """
        assert self.layer is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnreadableImageWarning)
            found = extract_layer_activations(images, self.layer, self.model, preprocessing=self.preset, progress=False)
        if problems := [error for error in found.coords["error"].values.tolist() if error]:
            raise InputError(problems[:_SHOWN])
        return np.asarray(found.values, dtype=np.float64)

    def score(self, level: AdversarialLevel, concept: str, concepts: Sequence[str], units: Mapping[str, int]) -> Score:
        """The target of an adversarial level: the activation of the concept's unit, or the log odds of its class."""
        if level.target == "unit":
            return unit_activation(self._network, units[concept])
        if (level, concept) not in self._scores:
            texts = [level.prompt.replace("{}", each) for each in concepts]
            self._scores[level, concept] = class_log_odds(self.model, texts, list(concepts).index(concept))
        return self._scores[level, concept]

    def attacked(
        self, picture: Pixels, score: Score, level: AdversarialLevel, generator: np.random.Generator
    ) -> Pixels:
        """See `adversarial.attacked`."""
        with limited_threads(self.model.threads):
            return attacked(picture, score, self._preprocessing, level, generator)

    def probability(self, path: Path, log_odds: Score) -> float:
        """The probability of a class on a file, with the preprocessing of extraction."""
        x = prepare(path, self.model.image_input, self.preset)[None]
        with torch.inference_mode(), limited_threads(self.model.threads):
            return float(log_odds(x.to(self.model.device))[0].sigmoid())
