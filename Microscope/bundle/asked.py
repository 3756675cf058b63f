"""What a bundle is made from, by hash: its identity, which a later run must ask for again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from Activation_Extraction.base.files import sha256_of
from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.store.files import COMPLETE
from Activation_Extraction.store.maps import FOLDER, IDENTITY
from InterpScore.tables.from_stores import complete_store
from Microscope.bundle.format import FORMAT
from Microscope.bundle.layers import SourceLayer
from Microscope.bundle.options import Files, Options


def identity_of(
    layers: Sequence[SourceLayer], files: Files, options: Options, images: ImageSet | None
) -> dict[str, Any]:
    """What was asked for, without paths."""
    hashes: dict[str, Any] = {}
    for name in ("labels", "profile", "results", "effects"):
        hashes[name] = [_hash(Path(path)) for path in getattr(files, name)]
    hashes["renders"] = [_hash_of_renders(Path(path)) for path in files.renders]
    for name in ("neuron_map", "published", "words"):
        path = getattr(files, name)
        hashes[name] = None if path is None else sha256_of(path)
    embedding = None if files.embedding is None else complete_store(files.embedding)
    return {
        "format": FORMAT,
        "layers": [
            {"key": layer.key, "layer": layer.layer, "store": layer.sha256, "maps": _maps(layer)} for layer in layers
        ],
        "images": None if images is None else images.fingerprint,
        **hashes,
        "embedding": None if embedding is None else sha256_of(embedding.path / COMPLETE, embedding.path),
        "model": files.model,
        "weights": sha256_of(files.weights) if files.weights and Path(files.weights).is_file() else files.weights,
        "options": {name: value for name, value in asdict(options).items() if name != "layers"},
    }


def _maps(layer: SourceLayer) -> str | None:
    """Of the identity of the maps that the store keeps: of which store, and how many top images."""
    path = layer.store.path / FOLDER / IDENTITY
    return sha256_of(path, layer.store.path) if path.is_file() else None


def _hash(path: Path) -> dict[str, str]:
    """Of a table, and of the JSON beside it."""
    return {one.suffix: sha256_of(one) for one in dict.fromkeys((path, path.with_suffix(".json"))) if one.is_file()}


def _hash_of_renders(folder: Path) -> list[str]:
    """Of every manifest in a folder; these state the hashes of their files."""
    return [sha256_of(path, folder) for path in sorted(folder.rglob("manifest.json"))]
