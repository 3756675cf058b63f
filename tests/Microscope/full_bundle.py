"""A bundle of everything that the builder takes, with the files that it was made from. No name in it has a digit."""

import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from Activation_Extraction.base.commands import app, run
from Microscope.bundle.options import Files, Options
from tests.Microscope.small_bundles import Home, build, draw, write_store

CONCEPTS, UNITS, EACH, CLEAN = ("boat", "fire", "snow"), 12, 32, 24
DEAD, CONSTANT = 4, 5
OPTIONS = Options(top=6, strata=3, per_stratum=2, tile=16)
LEVELS = {True: 5, False: 3}


@dataclass(frozen=True)
class Full:
    """A bundle, and what it was made from."""

    bundle: Path
    home: Home
    names: list[str]
    files: dict[str, Path]
    e_ND: np.ndarray
    """Embeddings."""

    def table(self, kind: str) -> pd.DataFrame:
        path = self.files[kind]
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def command(*arguments):
    with pytest.raises(SystemExit) as left:
        run(app, [str(part) for part in arguments])
    assert left.value.code == 0


def activations():
    """Units 0 to 2 fire for a concept each, 3 copies 2 with noise."""
    generator = np.random.default_rng(6)
    concept_N = np.repeat(np.arange(3), EACH)
    a_NU = generator.gamma(1.5, 1.0, (3 * EACH, UNITS)) - 0.4
    a_NU[np.arange(3 * EACH), concept_N] += 4
    a_NU[:, 3] = a_NU[:, 2] + generator.normal(0, 0.01, len(a_NU))
    a_NU[:, DEAD], a_NU[:, CONSTANT] = -1, 2.5
    return a_NU.astype(np.float32)


def full_bundle(folder: Path) -> Full:
    """Commands label, profile and score on the store; renders and effects are written here as their commands write them."""
    letters = ["".join(pair) for pair in itertools.product("abcdefgh", repeat=2)]
    names = [f"{concept}/{letters[i]}.png" for concept in CONCEPTS for i in range(EACH)]
    concepts = [name.partition("/")[0] for name in names]
    contents = draw(folder / "photos", names)
    a_NU = activations()
    columns = {"concept": concepts, "source": ["us"] * len(names), "licence": ["CC BY"] * len(names)}
    store = write_store(folder / "acts.zarr", {"block": a_NU}, names, contents, **columns)
    e_ND = np.random.default_rng(4).normal(size=(len(names), 6)).astype(np.float32)
    embedding = write_store(folder / "seen.zarr", {"pooled": e_ND}, names, contents, identity={"model": "other", "provenance": {"weights_sha256": "b" * 64}})  # fmt: skip
    files = {name: folder / name for name in ("labels.parquet", "profile.parquet", "effects.parquet", "results.csv", "published.csv", "renders")}  # fmt: skip
    _write_effects(files["effects.parquet"], names)
    _write_renders(files["renders"], a_NU)
    files["published.csv"].write_text("neuron,S,InterpScore\n0,.91,.71\n2,.83,.62\n")
    command("label", store, "-o", files["labels.parquet"], "--resamples", 50, "--quiet")
    command("profile", store, "--embedding", embedding, "-o", files["profile.parquet"], "--quiet")
    write_ratings(folder / "ratings.csv", names, concepts)
    (folder / "map.json").write_text(json.dumps({str(u): concept for u, concept in enumerate(CONCEPTS)}))
    command("score", folder / "ratings.csv", folder / "map.json", files["results.csv"], "--store", store, "--causality", files["effects.parquet"], "--resamples", 50, "--quiet")  # fmt: skip
    home = Home(folder / "photos", store, a_NU, concepts)
    given = Files(
        images=[str(folder / "photos")], renders=[files["renders"]], labels=[files["labels.parquet"]], profile=[files["profile.parquet"]],
        results=[files["results.csv"]], effects=[files["effects.parquet"]], published=files["published.csv"], embedding=embedding,
    )  # fmt: skip
    build(home, folder / "bundle", given, OPTIONS)
    return Full(folder / "bundle", home, names, {path.stem: path for path in files.values()}, e_ND)


def _write_effects(path, names):
    generator = np.random.default_rng(2)
    effects = {f"{kind}_effect_{u}": generator.uniform(0, 0.3, len(names)) for kind in ("ablation", "amplification") for u in range(3)}  # fmt: skip
    pd.DataFrame({"image_filename": names, **effects}).to_parquet(path)


def write_ratings(path, names, concepts):
    generator = np.random.default_rng(3)
    rows = [
        {"trial_category": "experiment", "ground_truth": concept, "level": LEVELS[i % EACH < CLEAN], "image_filename": name, "participant": f"p{p}", "soft_correct": int(generator.random() < 0.7)}
        for i, (name, concept) in enumerate(zip(names, concepts, strict=True)) for p in range(3)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(path, index=False)


def _write_renders(folder, a_NU):
    folder.mkdir()
    units = {}
    for u in (0, 1):
        Image.new("RGB", (24, 24), (90 * u, 120, 40)).save(folder / f"{u}.png")
        best = float(a_NU[:, u].max())
        activation = best * (1.5 - u)
        units[str(u)] = [{"file": f"{u}.png", "sha256": hashlib.sha256((folder / f"{u}.png").read_bytes()).hexdigest(), "start": "noise", "facet": None, "seed": 0, "activation": activation, "times_natural": activation / best, "flags": []}]  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps({"model": "m", "layer": "block", "units": units, "recipe": {"name": "plain"}}))  # fmt: skip
