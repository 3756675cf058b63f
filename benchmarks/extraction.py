"""Extraction speed of complete layers: every backend, the plain loop that one would write, and the arithmetic bound.

`python benchmarks/extraction.py` makes JPEG files, extracts layer4.5 of CLIP RN50x4 (random weights) from them, into
stores on disk, and prints one table; `--json FILE` writes the measurements. All are measured in one run, in interleaved
rounds, so that other load on the machine affects all of them; rows show the median round and the range. "Of the bound"
compares the network's multiplications and additions per second with those of a matrix product, in bfloat16 if the
processor has it, measured in the same rounds.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from Activation_Extraction import Model, load_model
from Activation_Extraction.backends.plain_network import PlainNetwork, running
from Activation_Extraction.backends.runner import BACKENDS
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.clip_helpers import CLIP_MEAN, CLIP_STD
from Activation_Extraction.extract_full_layer_activations import extract_full_layer_activations
from Activation_Extraction.models.resources import PRECISIONS, best_precision

MODEL, LAYER = "clip-rn50x4", "layer4.5"
SIZE = (500, 375)
"""Width and height of the images, as the average of ImageNet."""

PLAIN = "plain loop"
PLAIN_BATCH = 8
PRODUCT = 4096


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256, help="images in each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    model = load_model(MODEL, weights="random")
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(model, Path(folder), options.images, options.rounds)
    print(table(measured))
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


def measure(model: Model, folder: Path, images: int, rounds: int) -> dict[str, object]:
    """Images per second of each method, by round."""
    photos = folder / "photos"
    paths = draw_photos(photos, images)
    speeds: dict[str, list[float]] = defaultdict(list)
    products: list[float] = []
    sizes: dict[str, int] = {}
    absent: dict[str, str] = {}
    precision_of_bound = best_precision(model.device)
    ways = [(backend, precision) for backend in BACKENDS for precision in PRECISIONS]
    for turn in range(rounds):
        products.append(product_speed(precision_of_bound))
        speeds[PLAIN].append(images / seconds(lambda: plain_loop(model, paths)))
        for backend, precision in ways:
            name = f"{backend} {precision}"
            if name in absent:
                continue
            try:
                report = extract_full_layer_activations(
                    str(photos), LAYER, folder / f"{backend}-{precision}-{turn}.zarr", model, backend=backend,
                    precision=precision, batch_size=sizes.get(name, "auto"), progress=False,
                )  # fmt: skip
            except InputError as error:
                absent[name] = str(error)
                continue
            speeds[name].append(images / report.seconds)
            sizes[name] = report.batch_size
    return {
        "images_per_second": dict(speeds),
        "batch_sizes": {PLAIN: PLAIN_BATCH, **sizes},
        "product_gflop_per_second": products,
        "product_precision": precision_of_bound,
        "network_gflop_per_image": network_gflop(model),
        "absent": absent,
        "images": images,
        "model": MODEL,
        "layer": LAYER,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("torch", "numpy", "pillow", "interpscore")},
    }


def table(measured: dict) -> str:
    """The measurements as a Markdown table."""
    speeds = measured["images_per_second"]
    products, gflop = measured["product_gflop_per_second"], measured["network_gflop_per_image"]
    bounds = [product / gflop for product in products]
    lines = [
        f"{measured['model']} to {measured['layer']}, {measured['images']} JPEG files of {SIZE[0]}×{SIZE[1]}, decoding "
        f"and store included; {measured['threads']} threads, {measured['cpu_capability']}",
        f"the network: {gflop:.1f} GFLOP an image; the bound: {median(products):.0f} GFLOP/s in "
        f"{measured['product_precision']}, {median(bounds):.1f} images/s",
        "",
        "| what | images/s | range | × plain loop | of the bound | images at a time |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in speeds.items():
        faster = median(a / b for a, b in zip(found, speeds[PLAIN]))
        share = median(a / b for a, b in zip(found, bounds))
        lines.append(
            f"| {name} | {median(found):.1f} | {min(found):.1f} to {max(found):.1f} | {faster:.2f} | {share:.2f} | "
            f"{measured['batch_sizes'][name]} |"
        )
    return "\n".join([*lines, *(f"{name}: not measured: {reason}" for name, reason in measured["absent"].items())])


# The plain loop -----------------------------------------------------------------------------------------------------


def plain_loop(model: Model, paths: Sequence[Path]) -> np.ndarray:
    """Activations by the plain loop: a hook on the layer, the complete network, batches of 8."""
    tower, side = model.image_tower, model.image_input.height
    mean, std = torch.tensor(CLIP_MEAN).view(3, 1, 1), torch.tensor(CLIP_STD).view(3, 1, 1)
    kept = []
    handle = tower.get_submodule(LAYER).register_forward_hook(lambda module, x, a: kept.append(a.mean((2, 3)).numpy()))
    with torch.no_grad():
        for start in range(0, len(paths), PLAIN_BATCH):
            batch = []
            for path in paths[start : start + PLAIN_BATCH]:
                image = Image.open(path).convert("RGB")
                scale = side / min(image.size)
                image = image.resize(
                    (round(scale * image.width), round(scale * image.height)), Image.Resampling.BICUBIC
                )
                left, top = (image.width - side) // 2, (image.height - side) // 2
                pixels = np.array(image.crop((left, top, left + side, top + side)))
                batch.append((torch.from_numpy(pixels).permute(2, 0, 1).float() / 255 - mean) / std)
            tower(torch.stack(batch))
    handle.remove()
    return np.concatenate(kept)


# The bound ----------------------------------------------------------------------------------------------------------


def product_speed(precision: str) -> float:
    """GFLOP/s of a product of two square matrices, the best of ten."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(PRODUCT, PRODUCT).to(kind) for _ in range(2))
    a @ b
    return 2 * PRODUCT**3 / min(seconds(lambda: a @ b) for _ in range(10)) / 1e9


def network_gflop(model: Model) -> float:
    """Multiplications and additions of one image up to the layer, in 10⁹."""
    with running(model), FlopCounterMode(display=False) as counter:
        PlainNetwork(model, [LAYER], "mean")(model.example())
    return float(counter.get_total_flops()) / 1e9


def seconds(work: Callable[[], object]) -> float:
    """Elapsed time."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# Pictures -----------------------------------------------------------------------------------------------------------


def draw_photos(folder: Path, count: int) -> list[Path]:
    """JPEG files of noise with the spectrum of photographs."""
    folder.mkdir()
    paths = [folder / f"{i:05d}.jpg" for i in range(count)]
    width, height = SIZE
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    amplitude = 1 / np.maximum(frequency, 1 / width)
    mixed = np.array([[1, 0.6, 0.5], [0.6, 1, 0.6], [0.5, 0.6, 1]])  # colours of photographs are correlated
    for i, path in enumerate(paths):
        generator = np.random.default_rng(i)
        spectrum_CHW = amplitude * (generator.standard_normal((2, 3, *frequency.shape)) * [[[[1]]], [[[1j]]]]).sum(0)
        noise_HWC = np.moveaxis(np.fft.irfft2(spectrum_CHW, (height, width)), 0, -1) @ mixed
        pixels_HWC = 118 + 55 * (noise_HWC - noise_HWC.mean()) / noise_HWC.std()
        Image.fromarray(pixels_HWC.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return paths


if __name__ == "__main__":
    main()
