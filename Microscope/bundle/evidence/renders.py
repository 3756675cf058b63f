"""Pictures that were made to activate units, from `interpscore dream`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.files import read_bytes
from Activation_Extraction.base.validation import validated
from Activation_Extraction.images.places import ImageError
from Activation_Extraction.images.presets import pixels_of
from Activation_Extraction.images.reading import read_image
from Microscope.bundle import columns
from Microscope.bundle.evidence.known import Known, number
from Microscope.bundle.evidence.matching import refuse_other_weights, source_of, the_layer, unit_in
from Microscope.bundle.format import Render
from Microscope.bundle.layers import SourceLayer
from Microscope.bundle.pictures import webp
from Microscope.bundle.writing import hashed

MANIFEST = "manifest.json"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="allow")

    file: str
    sha256: str
    start: str
    facet: str | None = None
    activation: float | None = None
    times_natural: float | None = None
    flags: list[str] = []


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="allow")

    model: str
    layer: str
    units: dict[str, list[_Entry]]
    recipe: dict[str, Any] = {}
    provenance: dict[str, Any] = {}


def add_renders(layers: Sequence[SourceLayer], known: Mapping[str, Known], folder: Path, tile: int) -> None:
    """Note the renders of a folder, `<model>/<layer>/` in it or itself; the best of a unit stands for it.

    Raises:
        InputError: no manifest, renders of no layer of the bundle or of another network, damaged files.
    """
    manifests = sorted(folder.rglob(MANIFEST))
    if not manifests:
        raise InputError(f"{folder}: no {MANIFEST} in it; expected renders of `interpscore dream`")
    found = [(path, validated(_Manifest, read_json(path, folder), str(path))) for path in manifests]
    mine = [one for one in found if any(layer.answers_to(one[1].layer) and layer.model == one[1].model for layer in layers)]  # fmt: skip
    if not mine:
        raise InputError(f"{folder}: renders of {found[0][1].model}, {found[0][1].layer}; expected of a layer of the bundle")  # fmt: skip
    for path, manifest in mine:
        layer = the_layer([one for one in layers if one.model == manifest.model], [manifest.layer], path)
        refuse_other_weights(layer, manifest.provenance, path)
        recipe = str(manifest.recipe.get("name", "a recipe"))
        of = known[layer.key]
        source = source_of(of, "renders", path, {"model": manifest.model, "recipe": recipe, "seed": (manifest.model_extra or {}).get("seed")}, download=False)  # fmt: skip
        meaning = "activation of the best render divided by that of the best natural picture; below 1 it does not work"
        of.columns["times_natural"] = columns.described("times_natural", meaning, source.name)
        for name, entries in manifest.units.items():
            if (unit := unit_in(layer, name, path)) is not None:
                _add_unit(of, unit, entries, path, recipe, tile)


def _add_unit(known: Known, unit: int, entries: Sequence[_Entry], manifest: Path, recipe: str, tile: int) -> None:
    best: tuple[float, Any] | None = None
    for n, entry in enumerate(entries, len(known.renders.get(unit, []))):
        path = manifest.parent / entry.file
        try:
            data = read_bytes(path, manifest.parent)
            if hashlib.sha256(data).hexdigest() != entry.sha256:
                raise InputError(f"{path}: other content than its manifest says; expected the render as it was written")
            picture = read_image(data, name=str(path)).convert("RGB")
        except (OSError, ImageError) as error:
            raise InputError(f"{path}: cannot be read ({error}); expected a render of {manifest}") from None
        content = webp(picture)
        name = hashed(f"renders/{unit}_{n}", "webp", content)
        known.render_bytes[name] = content
        render = Render(
            file=name, side=picture.width, start=entry.start, facet=entry.facet, activation=number(entry.activation),
            times_natural=number(entry.times_natural), flags=entry.flags, recipe=recipe,
        )  # fmt: skip
        known.renders.setdefault(unit, []).append(render)
        value = -1.0 if entry.flags else (entry.times_natural or 0.0)
        if best is None or value > best[0]:
            best = value, picture
    works = [entry.times_natural for entry in entries if entry.times_natural is not None]
    if works:
        known.column("times_natural")[unit] = max(works)
    if best is not None:
        known.face[unit] = webp(pixels_of(best[1], "clip", tile, tile))
