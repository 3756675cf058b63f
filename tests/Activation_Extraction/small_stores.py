"""Small stores for tests: activations drawn at random, written in any order."""

import filecmp
from pathlib import Path

import numpy as np
import pyarrow as pa

from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.store.writer import StoreWriter

IDENTITY = {"model": "m", "preprocessing": "clip", "pooling": "mean", "backend": "eager", "batch_size": 4}
SHAPES = {"layer4": (40,), "image/1": (9, 2, 3)}


def image_set(count, *, fingerprint="f" * 64, **columns) -> ImageSet:
    columns = columns or {"concept": [f"concept {i % 3}" for i in range(count)]}
    return ImageSet(pa.table({"image": [f"{i}.png" for i in range(count)], **columns}), fingerprint, [], [])


def activations(count, shapes=SHAPES, broken=(), seed=0) -> dict[str, np.ndarray]:
    """Some are equal, half of them 0; rows of broken images are NaN."""
    generator = np.random.default_rng(seed)
    found = {}
    for layer, shape in shapes.items():
        a = np.maximum(generator.integers(-8, 9, (count, *shape)), 0) + generator.choice([0, 0.1], (count, *shape))
        a[list(broken)] = np.nan
        found[layer] = a.astype(np.float32)
    return found


def open_writer(path, a, *, images=None, identity=None, shard_rows=16, top_k=5, **options) -> StoreWriter:
    count = len(next(iter(a.values())))
    shapes = {layer: values.shape[1:] for layer, values in a.items()}
    images = images or image_set(count)
    return StoreWriter(
        path, {**IDENTITY, **(identity or {})}, images, shapes, shard_rows=shard_rows, top_k=top_k, **options
    )


def commit(writer, shard, a, broken=()):
    rows = slice(shard.rows.start, shard.rows.stop)
    sha256 = [None if row in broken else f"{row:064x}" for row in shard.rows]
    errors = [f"{row}.png: broken" if row in broken else "" for row in shard.rows]
    writer.commit(shard, {layer: values[rows] for layer, values in a.items()}, sha256, errors)


def write(path, a, *, broken=(), order=None, stop=None, **options):
    """Commit missing shards, in the order of `order(shards)`, `stop` of them at most; finish where none is left."""
    with open_writer(path, a, **options) as writer:
        shards = order(writer.missing) if order else writer.missing
        for shard in shards[:stop]:
            commit(writer, shard, a, broken)
        return writer.finish() if stop is None else writer.store


def files(store: Path) -> set[Path]:
    """Everything but the history, and the lock, which is empty."""
    found = {path.relative_to(store) for path in Path(store).rglob("*") if path.is_file()}
    return {path for path in found if path.name not in ("history.json", ".lock")}


def same_bytes(one: Path, other: Path) -> bool:
    return files(one) == files(other) and all(filecmp.cmp(one / p, other / p, shallow=False) for p in files(one))
