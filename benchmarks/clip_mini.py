"""Accuracy of clip-mini on new pictures: `python benchmarks/clip_mini.py` prints the table of its model card."""

from __future__ import annotations

from collections import defaultdict
from random import Random

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from Activation_Extraction import Model, load_model
from Activation_Extraction.clip_helpers import network_input
from Activation_Extraction.models.clip_mini.train import INPUT, zero_shot_accuracy
from Activation_Extraction.models.clip_mini.world.scenes import (
    COLOURS,
    CONCEPTS,
    FIXED_COLOURS,
    Scene,
    draw_scene,
    named,
    prompt,
)

EACH = 100
"""Pictures of each concept in the first row."""

SCENES = 1_200
"""Scenes with one or two things in the other rows."""


def main() -> None:
    """Print the table."""
    model = load_model("clip-mini")
    accuracy = zero_shot_accuracy(model.module, model.tokenizer, each=EACH, seed="card")
    lowest = min(accuracy.values())
    worst = ", ".join(concept for concept, value in accuracy.items() if value == lowest)
    row("one thing", EACH * len(accuracy), np.mean(list(accuracy.values())), f"lowest: {worst} {lowest:.0%}")
    outcomes = scene_outcomes(model)
    for what in sorted(outcomes):
        row(what, len(outcomes[what]), np.mean(outcomes[what]))


def row(what: str, pictures: int, share: float, remark: str = "") -> None:
    """One line of the table."""
    print(f"{what:<34}{pictures:>6}  {share:.1%}  {remark}".rstrip())


def scene_outcomes(model: Model) -> dict[str, list[bool]]:
    """Whether each scene was named correctly, by question."""
    texts = embedded_texts(model, [prompt(concept) for concept in CONCEPTS])
    outcomes = defaultdict(list)
    with torch.inference_mode():
        for i in range(SCENES):
            scene = draw_scene(Random(f"card2/{i}"))
            image = model.encode_image(
                network_input(torch.from_numpy(np.asarray(scene.render(96)).copy())[None], INPUT)
            )
            nearest = [CONCEPTS[k] for k in (image @ texts.T)[0].argsort(descending=True)[:2]]
            if len(scene.things) == 2:
                found = set(nearest) & set(scene.things)
                outcomes["two things: both nearest"].append(len(found) == 2)
                outcomes["two things: one of the nearest"].append(bool(found))
                continue
            right = nearest[0] == scene.things[0]
            outcomes[f"one thing, style {scene.style}"].append(right)
            outcomes[f"one thing, background {scene.background}"].append(right)
            if scene.things[0] not in FIXED_COLOURS:
                outcomes["one thing: its colour, of 10"].append(nearest_colour(model, image, scene) == scene.colours[0])
    return outcomes


def nearest_colour(model: Model, image: Tensor, scene: Scene) -> str:
    """The colour with the nearest text."""
    texts = embedded_texts(model, [f"a picture of {named(scene.things[0], colour)}" for colour in COLOURS])
    return list(COLOURS)[int((image @ texts.T).argmax())]


def embedded_texts(model: Model, texts: list[str]) -> Tensor:
    """Embeddings of length 1."""
    with torch.inference_mode():
        return F.normalize(model.encode_text(texts), dim=1)


if __name__ == "__main__":
    main()
