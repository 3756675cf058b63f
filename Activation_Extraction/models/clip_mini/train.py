"""Trains clip-mini: `python -m Activation_Extraction.models.clip_mini.train --out FOLDER`, under an hour on two cores.

Draws pictures with captions, learns a byte-pair vocabulary from the captions, and trains the two towers with CLIP's
contrastive loss (Radford et al. 2021, figure 3). The same command resumes an interrupted run from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.text import say
from Activation_Extraction.clip_helpers import CLIP_MEAN, CLIP_STD, ImageInput, network_input
from Activation_Extraction.models.clip import CLIP, CONFIGS
from Activation_Extraction.models.clip_mini.world.scenes import CONCEPTS, caption, draw_scene, prompt
from Activation_Extraction.models.resources import computes_bfloat16
from Activation_Extraction.models.tokenizer import SINGLE_TOKENS, Tokenizer, learn_merges, write_merges

INPUT = ImageInput(CONFIGS["clip-mini"].image_resolution, CLIP_MEAN, CLIP_STD)
_DRAWN = 112
"""Side of drawn pictures in pixels; training uses random crops of the network's size."""
_CAPTIONS = 6
_CHECKPOINT_STEPS = 250


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run.

    Attributes:
        pictures: drawn for training.
        steps, batch: optimiser steps, and pictures in each.
        rate: highest learning rate (AdamW, linear warm-up, cosine decay to 0).
        decay: weight decay of matrices and convolutions.
        seed: of pictures, captions and weights.
    """

    pictures: int = 60_000
    steps: int = 5_000
    batch: int = 256
    rate: float = 2e-3
    decay: float = 0.05
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.pictures, self.steps, self.batch) < 1:
            sizes = f"{self.pictures} pictures, {self.steps} steps, batches of {self.batch}"
            raise InputError(f"recipe: {sizes}; expected at least 1")
        if self.pictures < self.batch:
            raise InputError(f"recipe: {self.pictures} pictures; expected at least one batch, {self.batch}")


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, vocabulary and checkpoint")
    for name, value in asdict(Recipe()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"default {value}")
    arguments = vars(parser.parse_args())
    out: Path = arguments.pop("out")
    try:
        recipe = Recipe(**arguments)
    except InputError as error:
        parser.error(str(error))
    result = train(recipe, out)
    for line in json.dumps({key: value for key, value in result.items() if key != "losses"}, indent=2).splitlines():
        say(line)


def train(recipe: Recipe, out: Path) -> dict[str, object]:
    """Train and write `weights.safetensors`, `vocabulary.txt` and `training.json` into `out`.

    Returns:
        The recipe, the losses (every 50 steps), zero-shot accuracy on new pictures, and seconds of each part (since
        the last resume).
    """
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    pictures, captions = draw_pictures(recipe.seed, recipe.pictures)
    drawn = time.monotonic()
    config = CONFIGS["clip-mini"]
    merges = learn_merges((text for texts in captions for text in texts), config.vocab_size - SINGLE_TOKENS)
    write_merges(merges, out / "vocabulary.txt")
    tokenizer = Tokenizer(merges, config.context_length)
    tokens = torch.stack([tokenizer(texts) for texts in captions])
    torch.manual_seed(recipe.seed)
    model = CLIP(config)
    losses = _optimise(model, torch.from_numpy(pictures), tokens, recipe, out / "checkpoint.pt")
    trained = time.monotonic()
    shipped = half_precision(model)
    save_file(shipped, out / "weights.safetensors")
    model.load_state_dict(shipped)  # measured as shipped: rounded
    accuracy = zero_shot_accuracy(model.eval(), tokenizer, each=40, seed=f"fresh/{recipe.seed}")
    result: dict[str, object] = {
        "recipe": asdict(recipe),
        "zero_shot_accuracy": float(np.mean(list(accuracy.values()))),
        "accuracy_of_concept": accuracy,
        "seconds_drawing": round(drawn - started),
        "seconds_training": round(trained - drawn),
        "losses": losses,
    }
    (out / "training.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (out / "checkpoint.pt").unlink(missing_ok=True)
    return result


def draw_pictures(seed: int, count: int) -> tuple[NDArray[np.uint8], list[list[str]]]:
    """Pictures `(count, 112, 112, 3)` and captions of each; picture i depends only on the seed and i."""
    spawn = multiprocessing.get_context("spawn")  # a fork would copy the locks of torch's threads
    with ProcessPoolExecutor(os.cpu_count(), spawn) as pool:
        made = pool.map(_draw, [f"{seed}/{i}" for i in range(count)], chunksize=64)
        pictures = np.empty((count, _DRAWN, _DRAWN, 3), np.uint8)
        captions = []
        for i, (picture, texts) in enumerate(track(made, "Drawing", total=count)):
            pictures[i] = picture
            captions.append(texts)
    return pictures, captions


def _draw(seed: str) -> tuple[NDArray[np.uint8], list[str]]:
    rng = Random(seed)
    scene = draw_scene(rng)
    return np.asarray(scene.render(_DRAWN)), [caption(scene, rng) for _ in range(_CAPTIONS)]


def zero_shot_accuracy(model: CLIP, tokenizer: Tokenizer, *, each: int, seed: str) -> dict[str, float]:
    """Share of new pictures of each concept whose nearest prompt is that of the concept."""
    size = model.visual.input_resolution
    accuracy = {}
    with torch.inference_mode():
        texts = F.normalize(model.encode_text(tokenizer([prompt(concept) for concept in CONCEPTS])), dim=1)
        for number, concept in enumerate(CONCEPTS):
            scenes = [draw_scene(Random(f"{seed}/{concept}/{i}"), [concept]) for i in range(each)]
            images = torch.from_numpy(np.stack([np.asarray(scene.render(size)) for scene in scenes]))
            nearest = (model.encode_image(network_input(images, INPUT)) @ texts.T).argmax(dim=1)
            accuracy[concept] = float((nearest == number).double().mean())
    return accuracy


def contrastive_loss(model: CLIP, images_NCHW: Tensor, tokens_NL: Tensor) -> Tensor:
    """CLIP's symmetric cross-entropy; pictures with equal captions match each other, too."""
    with torch.autocast("cpu", torch.bfloat16, enabled=computes_bfloat16(torch.device("cpu"))):
        logits_NN, _ = model(images_NCHW, tokens_NL[:, : int((tokens_NL > 0).sum(1).max())])
    same_NN = (tokens_NL[:, None] == tokens_NL[None]).all(2).float()
    target_NN = same_NN / same_NN.sum(1, keepdim=True)
    logits_NN = logits_NN.float()
    return (F.cross_entropy(logits_NN, target_NN) + F.cross_entropy(logits_NN.T, target_NN)) / 2


def _optimise(model: CLIP, pictures: Tensor, tokens: Tensor, recipe: Recipe, checkpoint: Path) -> list[float]:
    model.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.decay}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, recipe.rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, recipe.steps))
    parts: dict[str, Any] = {"model": model, "optimiser": optimiser, "schedule": schedule}
    first, losses = _resume(parts, recipe, checkpoint)
    recent: list[float] = []
    batches = _batches(pictures, tokens, recipe, model.visual.input_resolution, first)
    for step, (images, texts) in enumerate(
        track(batches, "Training", total=recipe.steps, completed=first), start=first + 1
    ):
        loss = contrastive_loss(model, images, texts)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        recent.append(loss.item())
        if step % 50 == 0 or step == recipe.steps:
            losses.append(round(sum(recent) / len(recent), 4))
            recent = []
        if step % _CHECKPOINT_STEPS == 0:
            state = {name: part.state_dict() for name, part in parts.items()}
            torch.save({**state, "step": step, "losses": losses, "recipe": asdict(recipe)}, f"{checkpoint}.part")
            os.replace(f"{checkpoint}.part", checkpoint)
            say(f"step {step} of {recipe.steps}: loss {losses[-1]:.3f}")
    return losses


def _rate(step: int, steps: int) -> float:
    """Learning rate at a step, as a fraction of the highest."""
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return step / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def _resume(parts: Mapping[str, Any], recipe: Recipe, checkpoint: Path) -> tuple[int, list[float]]:
    """Load a checkpoint of the same recipe; returns steps done and the losses so far."""
    if not checkpoint.is_file():
        return 0, []
    saved = torch.load(checkpoint, weights_only=True)
    if saved["recipe"] != asdict(recipe):
        say(f"{checkpoint}: of another recipe, {saved['recipe']}; starting from step 0")
        return 0, []
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return saved["step"], saved["losses"]


def _batches(
    pictures: Tensor, tokens: Tensor, recipe: Recipe, size: int, first: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches from step `first` on: cropped, color channels scaled and shifted, some with noise; one caption each."""
    per_epoch = len(pictures) // recipe.batch
    for step in range(first, recipe.steps):
        order = torch.randperm(len(pictures), generator=_generator(recipe.seed, 0, step // per_epoch))
        chosen = order[step % per_epoch * recipe.batch :][: recipe.batch]
        generator = _generator(recipe.seed, 1, step)
        corners = torch.randint(0, _DRAWN - size + 1, (recipe.batch, 2), generator=generator).tolist()
        images = torch.stack(
            [pictures[i, y : y + size, x : x + size] for i, (y, x) in zip(chosen.tolist(), corners, strict=True)]
        )
        x_NCHW = network_input(images, INPUT)
        light_NC, shift_NC = torch.randn(2, recipe.batch, 3, 1, 1, generator=generator)
        x_NCHW = x_NCHW * (1 + 0.12 * light_NC) + 0.12 * shift_NC
        strength_N = torch.rand(recipe.batch, 1, 1, 1, generator=generator)
        strength_N = (strength_N - 0.7).clamp(min=0) * 2  # none for seven of ten pictures
        x_NCHW = x_NCHW + strength_N * torch.randn(x_NCHW.shape, generator=generator)
        which = torch.randint(0, tokens.shape[1], (recipe.batch,), generator=generator)
        yield x_NCHW.contiguous(memory_format=torch.channels_last), tokens[chosen, which]


def _generator(*numbers: int) -> torch.Generator:
    return torch.Generator().manual_seed(hash(numbers) & 0x7FFF_FFFF)


def half_precision(model: CLIP) -> dict[str, Tensor]:
    """The state dict as OpenAI publishes its own: float16, normalisation layers in float32."""
    full = {
        f"{name}.{key}"
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm)
        for key in module.state_dict()
    }
    state = {key: value.detach().contiguous() for key, value in model.state_dict().items()}
    return {
        key: value if key in full or not value.is_floating_point() or value.ndim == 0 else value.half()
        for key, value in state.items()
    }


if __name__ == "__main__":
    main()
