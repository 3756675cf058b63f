"""Which layer of a bundle a file is of, by name and by hash; and files as sources and downloads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from Activation_Extraction.base.errors import InputError, listed_up_to, shown
from Activation_Extraction.base.files import read_bytes, sha256_of
from Microscope.bundle.evidence.known import Known
from Microscope.bundle.format import Source
from Microscope.bundle.layers import SourceLayer
from Microscope.bundle.writing import hashed

DOWNLOADS = "downloads"
WEIGHTS = "weights_sha256"
_FOLDERS = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:,;'\"]+[/\\])+")


def without_folders(text: str) -> str:
    """A text that names files of a machine, without their folders; files of ours name none, others may.

    >>> without_folders("/home/me/a.csv and /srv/x/y.zarr: 3 rows")
    'a.csv and y.zarr: 3 rows'
    """
    return _FOLDERS.sub("", text)


def the_layer(layers: Sequence[SourceLayer], names: Iterable[object], source: object) -> SourceLayer:
    """The layer that a file is of.

    Args:
        names: what the file calls its layer; none where it names none.

    Raises:
        InputError: no layer of the bundle, or several.
    """
    wanted = [str(name) for name in names if name]
    found = [layer for layer in layers if any(layer.answers_to(name) for name in wanted)] if wanted else list(layers)
    if len(found) == 1:
        return found[0]
    has = ", ".join(listed_up_to([layer.label for layer in layers], 5))
    said = f"of layer {shown(wanted[0])}" if wanted else "names no layer"
    raise InputError(f"{source}: {said}; expected one of the bundle's: {has}")


def refuse_other_store(layer: SourceLayer, stated: Iterable[Mapping[str, Any]], source: object) -> None:
    """Refuse a file that was made from another store of the layer.

    Args:
        stated: what the file's signature says of stores; those without a hash are not compared.
    """
    hashes = [str(one["sha256"]) for one in stated if one.get("sha256")]
    if hashes and layer.sha256 not in hashes:
        raise InputError(f"{source}: made from a store with hash {hashes[0][:12]}…; expected one from {layer.store.path} ({layer.sha256[:12]}…)")  # fmt: skip


def refuse_other_weights(layer: SourceLayer, provenance: Mapping[str, Any] | None, source: object) -> None:
    """Refuse a file of another network than the store's, where both state the hash of its weights."""
    mine, theirs = (layer.store.identity.get("provenance") or {}), (provenance or {})
    if mine.get(WEIGHTS) and theirs.get(WEIGHTS) and mine[WEIGHTS] != theirs[WEIGHTS]:
        raise InputError(f"{source}: of a network whose weights have hash {theirs[WEIGHTS][:12]}…; expected those of {layer.store.path} ({mine[WEIGHTS][:12]}…)")  # fmt: skip


def unit_in(layer: SourceLayer, name: object, source: object) -> int | None:
    """The unit that a neuron's name means, with or without its layer; None for a direction or another layer's.

    Raises:
        InputError: the layer has no such unit.
    """
    named, colon, number = str(name).strip().rpartition(":")
    if colon and not layer.answers_to(named):
        return None
    if not re.fullmatch(r"[0-9]{1,9}", number):
        return None
    if (unit := int(number)) >= layer.units:
        raise InputError(f"{source}: unit {unit}; {layer.label} of {layer.store.path} has 0 to {layer.units - 1}: expected results of this layer")  # fmt: skip
    return unit


def source_of(known: Known, kind: Any, path: Path, about: Mapping[str, Any], download: bool = True) -> Source:
    """Note a file as a source of a layer's numbers, which pages offer for download."""
    name = None
    if download:
        content = read_bytes(path)
        name = hashed(_ascii(path.stem), path.suffix.lstrip(".").lower(), content)
        known.downloads[name] = content
    told: dict[str, str | int | float | bool | None] = {
        key: value for key, value in about.items() if isinstance(value, str | int | float | bool)
    }
    source = Source(
        kind=kind, name=path.name, sha256=sha256_of(path), about=told,
        download=None if name is None else f"{DOWNLOADS}/{name}",
    )  # fmt: skip
    known.sources.append(source)
    return source


def _ascii(stem: str) -> str:
    from Activation_Extraction.base.names import file_name

    return file_name(stem)
