"""Peak memory of `interpscore extract` by the number of images. Prints a table.

    python benchmarks/memory.py [--images 2000 20000]

A folder of that many JPEG files (links to 200 images of noise) goes through clip-mini, once for each number, in a
separate process. Counted is the peak of unshared memory of this process and its decoders, sampled every 20 ms.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

DISTINCT = 200
COMMAND = [sys.executable, "-c", "from Activation_Extraction.base.start import main; main()", "extract"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--model", default="clip-mini")
    parser.add_argument("--layer", default="block_4")
    arguments = parser.parse_args()
    peaks = []
    print(f"{'images':>10}  {'peak memory':>12}  {'relative':>12}  {'images/s':>9}")
    with tempfile.TemporaryDirectory() as scratch:
        pictures = draw(Path(scratch) / "pictures")
        for count in arguments.images:
            folder = linked(pictures, Path(scratch) / f"{count}", count)
            store = Path(scratch) / f"{count}.zarr"
            options = ["--model", arguments.model, "--layer", arguments.layer, "--batch-size", "16", "--quiet"]
            begun = time.monotonic()
            peaks.append(peak([*COMMAND, str(folder), "-o", str(store), *options]))
            speed = count / (time.monotonic() - begun)
            print(
                f"{count:>10,}  {peaks[-1] / 1e6:>9,.0f} MB  {peaks[-1] / peaks[0]:>11.1%}  {speed:>9,.0f}", flush=True
            )


def draw(folder: Path) -> list[Path]:
    """Pictures of 500 × 375 pixels, as JPEG files."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(DISTINCT):
        coarse = Image.fromarray(generator.integers(0, 256, (24, 32, 3), np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(folder / f"{i:03d}.jpg", quality=90)
    return sorted(folder.iterdir())


def linked(pictures: list[Path], folder: Path, count: int) -> Path:
    """A folder of that many links to the pictures."""
    folder.mkdir()
    for i in range(count):
        os.link(pictures[i % len(pictures)], folder / f"{i:07d}.jpg")
    return folder


def peak(command: list[str]) -> int:
    """Peak bytes of a command and its child processes."""
    most = 0
    with subprocess.Popen(command) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None:
            held = 0
            for one in (process, *process.children(recursive=True)):
                try:
                    held += one.memory_full_info().uss
                except psutil.Error:  # it has just ended
                    continue
            most = max(most, held)
            time.sleep(0.02)
    if running.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {running.returncode}")
    return most


if __name__ == "__main__":
    main()
