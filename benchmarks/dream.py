"""How fast images grow: ours against the loop that one would write, in seconds for a step of one unit's image.

`python benchmarks/dream.py` renders units of layer4.5 of CLIP RN50x4 (random weights) both ways in one run, in interleaved
rounds, and prints one table; `--json FILE` writes the measurements. The usual loop is that of tutorials: one image per
call, fp32, the complete network with gradients of the weights, a hook on the layer, the same parametrization and
objective, one resampling per transform. Rows show the median round and the range.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

from Activation_Extraction import Model, load_model
from Activation_Extraction.models.resources import PRECISIONS, best_precision
from Activation_Extraction.models.units import parse_units
from DeepDream_Setup.network import CutNetwork
from DeepDream_Setup.parametrization import Fourier
from DeepDream_Setup.recipes import Recipe
from DeepDream_Setup.render import TILE, render_units
from DeepDream_Setup.transforms import Transforms

MODEL, LAYER, UNITS = "clip-rn50x4", "layer4.5", 2560
USUAL = "usual loop"
VIEWS = Transforms(pad=4, jitter=8, scale=(0.9, 1.1), rotate=8)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3, help="steps in each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each")
    parser.add_argument("--precision", choices=PRECISIONS, help="of ours (default: those this machine supports)")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    model = load_model(MODEL, weights="random")
    serving = dict.fromkeys([best_precision(model.device), "fp32"])
    ways = [options.precision] if options.precision else list(serving)
    measured = measure(model, ways, options.steps, options.rounds)
    print(table(measured))
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


def measure(model: Model, precisions: Sequence[str], steps: int, rounds: int) -> dict:
    """Seconds per step and image, by round."""
    seconds = defaultdict(list)
    ways: dict[str, Callable[[], float]] = {USUAL: lambda: usual_loop(model, steps)}
    for precision in precisions:
        ways[f"ours, {precision}"] = partial(ours, model, precision, steps)
    for turn in range(rounds):
        for name, way in ways.items():
            seconds[name].append(way())
            print(f"round {turn + 1}: {name}: {seconds[name][-1]:.3g} s a unit-step", file=sys.stderr, flush=True)
    return {
        "seconds_a_step": dict(seconds),
        "images_at_a_time": TILE,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "bf16_in_avx512": torch.cpu._is_avx512_bf16_supported(),
        "bf16_in_tiles": torch.cpu._is_amx_tile_supported(),
        "versions": {name: version(name) for name in ("torch", "interpscore")},
    }


def table(measured: dict) -> str:
    """The measurements as a Markdown table."""
    has = ", ".join(
        f"{name} {'yes' if measured[key] else 'no'}"
        for name, key in (("bf16 in AVX-512", "bf16_in_avx512"), ("bf16 in tiles (AMX)", "bf16_in_tiles"))
    )
    lines = [
        f"{MODEL} to {LAYER}, 288 px, {measured['threads']} threads, {measured['cpu_capability']} ({has})",
        "",
        "| what | s a unit-step | range | × usual loop | images at a time |",
        "|---|---|---|---|---|",
    ]
    usual = measured["seconds_a_step"][USUAL]
    for name, found in measured["seconds_a_step"].items():
        faster = median(u / f for u, f in zip(usual, found))
        images = 1 if name == USUAL else measured["images_at_a_time"]
        lines.append(
            f"| {name} | {median(found):.3f} | {min(found):.3f} to {max(found):.3f} | {faster:.1f} | {images} |"
        )
    return "\n".join(lines)


# Ours ---------------------------------------------------------------------------------------------------------------


def ours(model: Model, precision: str, steps: int) -> float:
    """Seconds per step and image, from the first run of the network in a tile to the last."""
    units = parse_units(f"0:{TILE}", UNITS)
    recipe = replace(Recipe(transforms=VIEWS), steps=1 + steps)
    starts, run = [], CutNetwork.__call__

    def noted(network: CutNetwork, x: Tensor, **options: bool) -> dict[str, Tensor]:
        starts.append(time.perf_counter())
        return run(network, x, **options)

    with patch.object(CutNetwork, "__call__", noted):
        for _ in render_units(model, LAYER, units, recipe, precision=precision):
            pass
    return (starts[steps] - starts[0]) / steps / TILE


# The usual loop -----------------------------------------------------------------------------------------------------


def usual_loop(model: Model, steps: int) -> float:
    """Seconds per step of one image by the usual loop; the first step is not counted."""
    tower = model.image_tower.requires_grad_(True)
    kept: list[Tensor] = []
    handle = tower.get_submodule(LAYER).register_forward_hook(lambda module, x, a: kept.append(a))
    mean, std = (torch.tensor(values)[:, None, None] for values in (model.image_input.mean, model.image_input.std))
    size = model.image_input.height
    image = Fourier(size)
    parameters = image.parameters(0.5 + 0.02 * torch.randn(1, 3, size, size)).requires_grad_()
    adam = torch.optim.Adam([parameters], lr=0.05)
    try:
        for step in range(1 + steps):
            if step == 1:
                start = time.perf_counter()
            x = one_after_another(image.image(parameters), size)
            kept.clear()
            tower((x - mean) / std)
            adam.zero_grad()
            (-kept[0][:, 0].mean()).backward()
            adam.step()
        return (time.perf_counter() - start) / steps
    finally:
        handle.remove()
        tower.requires_grad_(False)
        for parameter in tower.parameters():
            parameter.grad = None


def one_after_another(x: Tensor, size: int) -> Tensor:
    """Pad, jitter, scale and rotate, one after another, then resize to the network's size."""
    x = F.pad(x, [int(VIEWS.pad)] * 4, value=0.5)
    x = torch.roll(x, [int(n) for n in torch.randint(-8, 9, (2,))], (2, 3))
    x = F.interpolate(x, scale_factor=float(torch.empty(1).uniform_(*VIEWS.scale)), mode="bilinear")
    angle = math.radians(float(torch.empty(1).uniform_(-VIEWS.rotate, VIEWS.rotate)))
    turn = torch.tensor([[[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]]])
    x = F.grid_sample(x, F.affine_grid(turn, list(x.shape), align_corners=False), align_corners=False)
    return F.interpolate(x, (size, size), mode="bilinear")


if __name__ == "__main__":
    main()
