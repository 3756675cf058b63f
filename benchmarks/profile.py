"""The cost of profiling a layer: ours, the plain loop over pairs of images, and the bare matrix product. Prints ratios.

    python benchmarks/profile.py [images]

2,560 units × 50,000 images × 640 dimensions, from two stores. The loop is timed on a few images of a few units, and
extrapolated: it takes as long for each pair of images.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import pyarrow as pa

from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.store.writer import StoreWriter
from InterpScore import profile_units

UNITS, IMAGES, DIMENSIONS = 2560, 50_000, 640
LOOP_IMAGES, LOOP_UNITS = 300, 2
SHARD_ROWS = 2048


def main() -> None:
    """Print the table."""
    images = int(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        stores = Path(folder) / "acts.zarr", Path(folder) / "embedding.zarr"
        for store, width in zip(stores, (UNITS, DIMENSIONS), strict=True):
            write(store, images, width, generator)
        ours = timed(lambda: profile_units(*stores))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        a_NU = np.maximum(generator.standard_normal((images, UNITS), np.float32), 0)
        e_ND = generator.standard_normal((images, DIMENSIONS), np.float32)
        product = timed(lambda: a_NU.T @ e_ND)
        loop = timed(lambda: plain_loop(a_NU[:LOOP_IMAGES, :LOOP_UNITS], e_ND[:LOOP_IMAGES]))
    pairs = (images * (images - 1)) / (LOOP_IMAGES * (LOOP_IMAGES - 1)) * UNITS / LOOP_UNITS
    print(f"{UNITS:,} units × {images:,} images × {DIMENSIONS} dimensions; wall and processor time")
    print(f"profile of all scores, from stores   {ours[0]:8.1f} s  {ours[1]:8.1f} s  peak memory {peak:.1f} GB")
    print(
        f"bare matrix product, in memory       {product[0]:8.1f} s  {product[1]:8.1f} s  profile: {ours[0] / product[0]:.1f} ×, processor {ours[1] / product[1]:.1f} ×"
    )
    print(
        f"loop over pairs, MS alone            {loop[0] * pairs / 86400:8.0f} days, extrapolated: {loop[0] * pairs / ours[0]:.1e} × the profile"
    )


def write(path: Path, images: int, width: int, generator: np.random.Generator) -> None:
    """A store of activations drawn at random, half of them 0."""
    table = pa.table({"image": [f"{i}.png" for i in range(images)]})
    identity = {"model": path.stem, "preprocessing": "none", "pooling": "mean", "batch_size": 1}
    with StoreWriter(
        path, identity, ImageSet(table, "f" * 64, [], []), {"layer": (width,)}, shard_rows=SHARD_ROWS
    ) as writer:
        for shard in writer.missing:
            n = len(shard.rows)
            values = np.maximum(generator.standard_normal((n, width), np.float32), 0)
            writer.commit(shard, {"layer": values}, [f"{row:064x}" for row in shard.rows], [""] * n)
        writer.finish()


def plain_loop(a_NU: np.ndarray, e_ND: np.ndarray) -> list[float]:
    """MS of each unit, as one would write it down."""
    e_ND = e_ND / np.linalg.norm(e_ND, axis=1, keepdims=True)
    scores = []
    for a in a_NU.T:
        a = (a - a.min()) / (a.max() - a.min())
        total = weight = 0.0
        for i in range(len(a)):
            for j in range(len(a)):
                if i != j:
                    total += a[i] * a[j] * (e_ND[i] @ e_ND[j])
                    weight += a[i] * a[j]
        scores.append(total / weight)
    return scores


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, processor = perf_counter(), process_time()
    work()
    return perf_counter() - wall, process_time() - processor


if __name__ == "__main__":
    main()
