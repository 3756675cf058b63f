"""What a bundle of the explorer costs: building it, by what decoding the pictures that it shows takes alone. Prints ratios.

    python benchmarks/microscope.py build [--units 2560] [--images 50000] [--folder FOLDER]
    python benchmarks/microscope.py pages [--switches 40]      what its users wait for, in Chromium

Pictures of 224 × 224 pixels, JPEG, and a store of activations drawn at random, half of them 0. Decoding alone is that of
the same pictures by the same processes, one a processor, hashed and scaled. Memory is the peak of unshared memory of the
build and its processes, sampled every 20 ms.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import sys
import tempfile
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
from memory import peak
from microscope_pages import measure_pages
from PIL import Image

from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.decoding.decoders import Decoders
from Activation_Extraction.images.sets import ImageSet, image_set
from Activation_Extraction.store.writer import StoreWriter

COMMAND = [sys.executable, "-c", "from Activation_Extraction.base.start import main; main()", "microscope", "build"]
DISTINCT, SIDE, TILE, BATCH, CONCEPTS, SHARD_ROWS = 200, 224, 96, 64, 100, 2048


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    build = commands.add_parser("build", help="building a bundle")
    build.add_argument("--units", type=int, default=2560)
    build.add_argument("--images", type=int, default=50_000)
    build.add_argument("--folder", type=Path, help="keep pictures, store and bundle here")
    build.set_defaults(measure=measure_build)
    pages = commands.add_parser("pages", help="its pages in a browser")
    pages.add_argument("--switches", type=int, default=40)
    pages.set_defaults(measure=lambda arguments: measure_pages(arguments.switches))
    arguments = parser.parse_args()
    arguments.measure(arguments)


def measure_build(arguments: argparse.Namespace) -> None:
    """Print how long decoding and building take."""
    with tempfile.TemporaryDirectory() if arguments.folder is None else nullcontext(arguments.folder) as place:
        folder = Path(place)
        photos, store, bundle = folder / "photos", folder / "acts.zarr", folder / "bundle"
        write_inputs(photos, store, arguments.units, arguments.images)
        begun = perf_counter(), processor_time()
        memory = peak(
            [*COMMAND, str(store), "--images", str(photos), "--tile", str(TILE), "-o", str(bundle), "--quiet"]
        )
        building = perf_counter() - begun[0], processor_time() - begun[1]
        shown = len(image_set(photos))
        begun = perf_counter(), processor_time()
        decode(image_set(photos))
        decoding = perf_counter() - begun[0], processor_time() - begun[1]
        files = [path.stat().st_size for kind in ("sprites", "rest") for path in bundle.rglob(f"{kind}/*")]
    print(f"{arguments.units:,} units × {arguments.images:,} images; {shown:,} pictures shown")
    print(f"wall and processor time; peak memory {memory / 1e6:,.0f} MB")
    print(f"decoding them alone   {decoding[0]:8.1f} s  {decoding[1]:8.1f} s")
    print(f"building the bundle   {building[0]:8.1f} s  {building[1]:8.1f} s")
    print(f"                      {building[0] / decoding[0]:8.2f} ×  {building[1] / decoding[1]:8.2f} ×")
    print(f"sprites               {sum(files) / arguments.units / 1e3:8.0f} kB a unit")


def decode(images: ImageSet) -> None:
    """Decode all pictures into tiles, and drop them."""
    spans = [range(at, min(at + BATCH, len(images))) for at in range(0, len(images), BATCH)]
    with Decoders(images, ImageInput(TILE), "clip", batch_size=BATCH) as decoders:
        for _ in decoders.batches(spans):
            pass


def processor_time() -> float:
    """Seconds of this process and of those that it has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def write_inputs(photos: Path, store: Path, units: int, images: int) -> None:
    """Pictures, and a store of their activations."""
    photos.mkdir(parents=True, exist_ok=True)
    drawn, names, hashes = jpegs(), [], []
    for i in range(images):
        content = numbered(drawn[i % DISTINCT], i)
        names.append(f"{i:06d}.jpg")
        hashes.append(hashlib.sha256(content).hexdigest())
        (photos / names[-1]).write_bytes(content)
    if store.exists():
        return
    generator = np.random.default_rng(0)
    table = pa.table({"image": names, "concept": [f"concept {i % CONCEPTS}" for i in range(images)]})
    identity = {"model": "random", "preprocessing": "clip", "pooling": "mean", "batch_size": 1}
    listed = ImageSet(table, "f" * 64, [], [])
    with StoreWriter(store, identity, listed, {"layer": (units,)}, shard_rows=SHARD_ROWS) as writer:
        for shard in writer.missing:
            n = len(shard.rows)
            values = np.maximum(generator.standard_normal((n, units), np.float32), 0)
            writer.commit(shard, {"layer": values}, [hashes[row] for row in shard.rows], [""] * n)
        writer.finish()


def jpegs() -> list[bytes]:
    """Pictures with detail, so that decoding and encoding have what to do."""
    generator, found = np.random.default_rng(0), []
    for _ in range(DISTINCT):
        coarse = Image.fromarray(generator.integers(0, 256, (14, 14, 3), np.uint8))
        fine = Image.fromarray(generator.integers(0, 256, (SIDE, SIDE, 3), np.uint8))
        picture = Image.blend(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), fine, 0.1)
        content = BytesIO()
        picture.save(content, "JPEG", quality=90)
        found.append(content.getvalue())
    return found


def numbered(content: bytes, number: int) -> bytes:
    """A JPEG file with a comment, so that no two files are the same."""
    comment = f"{number:08d}".encode()
    return content[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + content[2:]


if __name__ == "__main__":
    main()
