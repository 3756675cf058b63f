"""Renders on disk: `<root>/<model>/<layer>/<unit>/*.png`, and a `manifest.json` beside the units that says what they are.

A unit's images are written first, each whole or not at all; then the unit enters the manifest. What the manifest does
not list is made anew, so a run that was killed goes on where it ended.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from Activation_Extraction.base.errors import InputError, OutputError, first_line, shown
from Activation_Extraction.base.files import sha256_of, write_together, write_whole

MANIFEST = "manifest.json"
FORMAT = 1


class Renders:
    """The renders of one layer of one model.

    Args:
        root: such as `renders`.
        identity: what all of them share: model, layer, recipe, seed, versions … in the types that JSON has; folders are
            named after its `model` and `layer`.

    Raises:
        OutputError: the folder cannot be made or written.
        InputError: it holds renders of another identity; names the first key that differs.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any]) -> None:
        self.folder = root / folder_name(identity["model"]) / folder_name(identity["layer"])
        self._identity = json.loads(json.dumps(identity))
        self._units: dict[str, list[dict[str, Any]]] = {}
        self._notes: dict[str, Any] = {}
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for part in self.folder.rglob("*.part"):  # of a run that was killed
                part.unlink()
        path = self.folder / MANIFEST
        if path.exists():
            there = read_manifest(path)
            self._units = there["units"]
            if differing := [key for key in self._identity if there.get(key) != self._identity[key]]:
                raise InputError(
                    f"{path}: holds renders of another {differing[0]}; expected the same, or another folder (-o)"
                )
        else:
            self.commit()

    def has(self, unit: str) -> bool:
        """Whether a unit's images are all there, as the manifest lists them."""
        return unit in self._units and all(
            (self.folder / entry["file"]).is_file() and sha256_of(self.folder / entry["file"]) == entry["sha256"]
            for entry in self._units[unit]
        )

    def add(self, unit: str, images: Mapping[str, NDArray[np.uint8]], entries: Sequence[Mapping[str, Any]]) -> None:
        """Write a unit's images, by name, with what the manifest is to say of each from the next `commit` on.

        Raises:
            OutputError: disk full, no permission.
        """
        with _writing(self.folder / unit):
            (self.folder / unit).mkdir(exist_ok=True)
        listed = []
        for (name, pixels_SSC), entry in zip(images.items(), entries, strict=True):
            file = f"{unit}/{name}.png"
            data = png_bytes(pixels_SSC)
            write_whole(self.folder / file, data)
            listed.append({"file": file, "sha256": hashlib.sha256(data).hexdigest(), **entry})
        self._units[unit] = listed

    def note(self, key: str, value: Any) -> None:
        """Have the manifest say something of all renders, from the next `commit` on."""
        self._notes[key] = value

    def commit(self) -> None:
        """Write the manifest.

        Raises:
            OutputError: disk full, no permission.
        """
        content = {"format": FORMAT, **self._identity, **self._notes, "units": self._units}
        write_together({self.folder / MANIFEST: json.dumps(content, indent=1, ensure_ascii=False) + "\n"})

    @property
    def entries(self) -> list[dict[str, Any]]:
        """What the manifest says of every image."""
        return [entry for unit in self._units.values() for entry in unit]


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest, or that of a folder.

    Raises:
        InputError: there is none, or it is not one.
    """
    path = path / MANIFEST if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the manifest of renders (renders/<model>/<layer>)")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); expected a manifest") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("units"), dict):
        raise InputError(f"{path}: is no manifest of renders in format {FORMAT}")
    return content


def folder_name(name: str) -> str:
    """A model's or layer's name as that of a folder.

    >>> folder_name("image_block_4/5/Relu_2")
    'image_block_4_5_Relu_2'
    """
    cleaned = re.sub(r"[^\w.+#-]", "_", name)
    if cleaned in ("", ".", ".."):
        raise InputError(f"name: found {shown(name)}; expected one that a folder can have")
    return cleaned


def png_bytes(pixels_SSC: NDArray[np.uint8]) -> bytes:
    """A PNG file without metadata: the same pixels give the same bytes."""
    data = BytesIO()
    Image.fromarray(pixels_SSC).save(data, "PNG")
    return data.getvalue()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from None
