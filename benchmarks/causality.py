"""The cost of ablating and amplifying every unit of a layer: one at a time, and all at once.

`python benchmarks/causality.py` takes the 2,560 units before the attention pool of CLIP RN50x4 (random weights), λ = 0
and λ = 2, and prints the cost per image

    (a) by a forward pass of the whole network for each unit and λ,
    (b) by running only what follows the layer, for many units together,
    (c) by the exact update, for all units at once;

(a) and (b) are timed on some units and extrapolated. The reference is a plain forward pass in fp32, in batches of 8. All
are measured in one run, in interleaved rounds; rows show the median and the range. The operations of the forward pass
and of (c) are also counted, since they do not depend on the machine. Memory is the peak of a separate process that
loads the network and does (c) on a batch of 8.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from Activation_Extraction import Model, load_model, trace
from Activation_Extraction.backends.plain_network import running
from InterpScore.interventions.edits import ablate, amplify
from InterpScore.interventions.layer import ImageState, LayerInterventions

MODEL, LAYER = "clip-rn50x4", "layer4.5"
UNITS, STRENGTHS, BATCH = 2560, (0.0, 2.0), 8
TIMED = 20
"""Units for timing (a) and (b)."""
FORWARD, WHOLE, SUFFIX, EXACT = "plain forward pass", "(a) whole network", "(b) what follows", "(c) exact update"
SHORT = (FORWARD, EXACT)
"""Timed several times in a round, alternating."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each")
    parser.add_argument("--turns", type=int, default=3, help="measurements of the short ones in a round")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        every_unit(LayerInterventions(load_model(MODEL, weights="random"), LAYER).forward_to_layer(pictures()))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return
    measured = measure(load_model(MODEL, weights="random"), options.rounds, options.turns)
    print(table(measured))
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


def measure(model: Model, rounds: int, turns: int) -> dict:
    """Seconds per image of each method, by round; peak memory; differences between the methods."""
    x_NCHW, times = pictures(), defaultdict(list)
    units = torch.randperm(UNITS, generator=torch.Generator().manual_seed(0))[:TIMED].tolist()
    exact, some = LayerInterventions(model, LAYER), LayerInterventions(model, LAYER, units, exact=False)
    (image,) = some.forward_to_layer(x_NCHW[:1])  # records the image, and compares the suffix with the network once
    with running(model):
        seen = list(exact.forward_to_layer(x_NCHW))
    ways: dict[str, tuple[float, Callable[[], Tensor]]] = {
        WHOLE: (UNITS / TIMED, lambda: by_whole_network(model, x_NCHW[:1], units)),
        SUFFIX: (UNITS / TIMED, lambda: image.effects([ablate(), amplify()])[0]),
        FORWARD: (1 / BATCH, lambda: plain_forward(model, x_NCHW)),
        EXACT: (1 / BATCH, lambda: every_unit(seen)[0]),
    }
    effects: dict[str, Tensor] = {}
    for turn in range(rounds):
        for name in (*ways, *SHORT * (turns - 1)):
            share, work = ways[name]
            start = time.perf_counter()
            effects[name] = work()
            times[name].append(share * (time.perf_counter() - start))
            print(f"round {turn + 1}: {name}: {times[name][-1]:.3g} s an image", file=sys.stderr, flush=True)
    operations = {name: ways[name][0] * operations_of(ways[name][1]) for name in SHORT}
    found = effects[EXACT][:, units]
    apart = {name: float(((effects[name] - found).abs() / found).max()) for name in (WHOLE, SUFFIX)}
    memory = subprocess.run([sys.executable, __file__, "--memory"], check=True, capture_output=True, text=True)
    return {
        "seconds_per_image": dict(times),
        "operations_per_image": operations,
        "largest_relative_difference_from_exact": apart,
        "peak_bytes": int(memory.stdout),
        "turns": turns,
        "suffix": some.method,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "versions": {name: version(name) for name in ("torch", "interpscore")},
    }


def table(measured: dict) -> str:
    """The measurements as a Markdown table."""
    times = measured["seconds_per_image"]
    lines = [
        f"{MODEL}, {UNITS:,} units of {LAYER} × 2 λ, one image; {measured['threads']} threads, "
        f"{measured['cpu_capability']}",
        "",
        "| what | seconds an image | range | × (c) |",
        "|---|---|---|---|",
    ]
    turns = measured["turns"]
    by_round = [median(times[EXACT][start : start + turns]) for start in range(0, len(times[EXACT]), turns)]
    for name, found in times.items():
        beside = times[EXACT] if name in SHORT else by_round
        ratio = median(a / b for a, b in zip(found, beside, strict=True))
        lines.append(f"| {name} | {median(found):.3g} | {min(found):.3g} to {max(found):.3g} | {ratio:,.2f} |")
    operations = measured["operations_per_image"]
    apart = measured["largest_relative_difference_from_exact"]
    return "\n".join(
        [
            *lines,
            "",
            f"(a) and (b) timed on {TIMED} units and multiplied by {UNITS // TIMED}; they differ from (c) by at most "
            f"{apart[WHOLE]:.1g} and {apart[SUFFIX]:.1g} of an effect",
            f"operations an image: forward pass {operations[FORWARD] / 1e9:.1f}e9, (c) {operations[EXACT] / 1e9:.1f}e9",
            f"peak memory of (c), network and a batch of {BATCH} included: {measured['peak_bytes'] / 1e9:.2f} GB",
        ]
    )


def operations_of(work: Callable[[], object]) -> int:
    """Additions and multiplications in matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def pictures() -> Tensor:
    """A batch of noise as the network's input."""
    return torch.randn(BATCH, 3, 288, 288, generator=torch.Generator().manual_seed(1))


def plain_forward(model: Model, x_NCHW: Tensor) -> Tensor:
    """The plain forward pass."""
    with torch.no_grad():
        return model.image_tower(x_NCHW)


def by_whole_network(model: Model, x_NCHW: Tensor, units: list[int]) -> Tensor:
    """Effects of some units by a forward pass for each unit and λ, `(2, U)`."""

    def scaled(unit: int, by: float) -> Callable[[Tensor], Tensor]:
        def edit(a_NCHW: Tensor) -> Tensor:
            a_NCHW[:, unit] *= by
            return a_NCHW

        return edit

    with torch.no_grad():
        before = model.image_tower(x_NCHW)
        effect_SU = torch.empty(len(STRENGTHS), len(units))
        for s, by in enumerate(STRENGTHS):
            for u, unit in enumerate(units):
                with trace(model.image_tower, edit={LAYER: scaled(unit, by)}):
                    effect_SU[s, u] = (model.image_tower(x_NCHW) - before).norm() / before.norm()
    return effect_SU


def every_unit(images: Iterable[ImageState]) -> list[Tensor]:
    """Effects of every unit on every image, `(2, U)` each."""
    return [image.effects([ablate(), amplify()])[0] for image in images]


if __name__ == "__main__":
    main()
