"""A small store with its pictures, and bundles of it, for tests."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.store.writer import StoreWriter
from Microscope.bundle.build import build_bundle
from Microscope.bundle.format import Bundle, Concepts, Index, Layer, Numbers, Unit
from Microscope.bundle.options import Files, Options

IDENTITY = {
    "model": "m", "preprocessing": "clip", "input": "32x32", "pooling": "mean", "backend": "eager", "batch_size": 4,
    "provenance": {"weights_sha256": "a" * 64},
}  # fmt: skip
OPTIONS = Options(top=6, strata=3, per_stratum=2, tile=16)
SIDE = 20


@dataclass(frozen=True)
class Home:
    """Pictures, and a store of random activations of them."""

    photos: Path
    store: Path
    a_NU: np.ndarray
    concepts: list[str]


def draw(folder: Path, names: list[str]) -> list[bytes]:
    """A picture of one colour for each name; the bytes of the files."""
    contents = []
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (SIDE, SIDE), tuple(np.random.default_rng(i).integers(0, 256, 3).tolist())).save(path)
        contents.append(path.read_bytes())
    return contents


def write_store(path: Path, layers: dict[str, np.ndarray], names, contents, *, broken=(), top_k=8, shard_rows=32, identity=None, aliases=None, **columns):  # fmt: skip
    """A complete store of activations `(N, U)` of pictures."""
    table = pa.table({"image": names, **columns})
    images = ImageSet(table, hashlib.sha256(str(table.to_pydict()).encode()).hexdigest(), [], [])
    shapes = {name: a.shape[1:] for name, a in layers.items()}
    with StoreWriter(path, {**IDENTITY, **(identity or {})}, images, shapes, shard_rows=shard_rows, top_k=top_k, aliases=aliases) as writer:  # fmt: skip
        for shard in writer.missing:
            rows = shard.rows
            sha256 = [None if row in broken else hashlib.sha256(contents[row]).hexdigest() for row in rows]
            errors = ["broken" if row in broken else "" for row in rows]
            writer.commit(shard, {n: a[rows.start : rows.stop] for n, a in layers.items()}, sha256, errors)
        writer.finish()
    return path


def activations(n=90, units=40, seed=0):
    """Some images are equal, half of them 0; unit 3 copies unit 2 with noise, 4 is dead, 5 constant; unit 0 fires for its concept."""
    generator = np.random.default_rng(seed)
    a_NU = np.maximum(generator.integers(-8, 9, (n, units)), 0) + generator.choice([0, 0.1], (n, units))
    a_NU[:, 0] += 20 * (np.arange(n) % 3 == 0)
    a_NU[:, 3] = a_NU[:, 2] + generator.normal(0, 0.01, n)
    a_NU[:, 4], a_NU[:, 5] = -1, 2.5
    return a_NU.astype(np.float32)


def small_home(folder: Path, a_NU=None, broken=(7, 50), **options) -> Home:
    """Pictures `<concept>/<i>.png` in a folder, of three concepts, and their store with one layer."""
    a_NU = activations() if a_NU is None else a_NU.copy()
    a_NU[list(broken)] = np.nan
    concepts = [f"concept {i % 3}" for i in range(len(a_NU))]
    names = [f"{concept}/{i}.png" for i, concept in enumerate(concepts)]
    contents = draw(folder / "photos", names)
    columns = {"concept": concepts, "source": ["us"] * len(names), "licence": ["CC0", "CC BY"] * (len(names) // 2)}
    store = write_store(folder / "a.zarr", {"layer4": a_NU}, names, contents, broken=broken, **columns, **options)
    return Home(folder / "photos", store, a_NU, concepts)


def build(home: Home, out: Path, files: Files | None = None, options: Options = OPTIONS, stores=None, **more):
    """A bundle of a home, with its pictures."""
    files = Files(images=[str(home.photos)]) if files is None else files
    return build_bundle(stores or [home.store], out, files, options, processes=1, **more)


@dataclass(frozen=True)
class Read:
    """A layer of a bundle, validated."""

    folder: Path
    layer: Layer
    index: Index
    numbers: Numbers

    def unit(self, unit: int) -> Unit:
        return Unit.model_validate_json((self.folder / self.index.unit_file[unit]).read_bytes())

    @property
    def concepts(self) -> Concepts:
        return Concepts.model_validate_json((self.folder / self.layer.concepts).read_bytes())

    def tile(self, unit: int, tile: int) -> np.ndarray:
        side, columns, first = self.layer.sprite.tile, self.layer.sprite.columns, self.layer.sprite.first
        file = (self.index.sprite_file if tile < first else self.index.rest_file)[unit]
        sprite = np.asarray(Image.open(self.folder / file).convert("RGB"))
        row, column = divmod(tile if tile < first else tile - first, columns)
        return sprite[row * side : (row + 1) * side, column * side : (column + 1) * side]


def read(out: Path, key: str | None = None) -> Read:
    """A layer of a bundle, the first by default."""
    bundle = Bundle.model_validate_json((out / "bundle.json").read_bytes())
    folder = out / (key or bundle.layers[0].key)
    layer = Layer.model_validate_json((folder / "layer.json").read_bytes())
    index = Index.model_validate_json((folder / layer.index).read_bytes())
    return Read(folder, layer, index, Numbers.model_validate_json((folder / layer.numbers).read_bytes()))


def files_of(out: Path) -> dict[str, bytes]:
    """What is served."""
    paths = [path for path in out.rglob("*") if path.is_file() and not any(part.startswith(".") for part in path.relative_to(out).parts)]  # fmt: skip
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def five(value):
    """A number as a bundle rounds it."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.5g}")


def write_json(path: Path, content) -> Path:
    path.write_text(json.dumps(content))
    return path
