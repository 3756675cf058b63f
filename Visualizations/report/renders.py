"""Renders of `interpscore dream`, found by their manifests and compared by hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.base.files import read_bytes
from Activation_Extraction.base.validation import validated
from Activation_Extraction.images.reading import read_image
from Visualizations.report.network import check_network
from Visualizations.report.pictures import LARGE, Pictures, Shown, small_copy
from Visualizations.run import Run

MANIFEST, FORMAT = "manifest.json", 1
MOST = 4
"""Renders of a unit that are shown."""
_EXPECTED = "the manifest of renders"


@dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class Entry:
    """What a manifest says of an image."""

    file: str
    sha256: str
    start: str
    facet: str | None = None
    times_natural: float | None = None
    flags: list[str] = field(default_factory=list)


@dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class Manifest:
    """What a manifest says of the renders of a layer."""

    format: int
    model: str
    layer: str
    units: dict[str, list[Entry]]
    provenance: dict[str, Any] = field(default_factory=dict)


class Renders:
    """The renders of a folder: `renders`, `renders/<model>` or `renders/<model>/<layer>`.

    Raises:
        InputError: no manifest, a damaged one, or one of another network; of `of`, files that are others than it says.
    """

    def __init__(self, run: Run, folder: Path) -> None:
        self._run = run
        self._found = [(path.parent, _read(path)) for path in _manifests(folder)]
        if not self._found:
            raise InputError(f"{folder}: no {MANIFEST}; expected renders of `interpscore dream`")
        self._names = run.layer_names
        ours = [(place, one) for place, one in self._found if self._is_of(one.layer, None)]
        for place, one in ours:
            check_network(run, {"model": one.model, "provenance": one.provenance}, str(place / MANIFEST))

    def _is_of(self, layer: str, wanted: str | None) -> bool:
        """Whether a layer is the wanted one, or any of the run's; any layer where the run names none."""
        names = [each for each in self._names if wanted is None or wanted in each]
        return any(layer in each for each in names) if names else wanted is None or layer == wanted

    def of(self, row: Mapping[str, Any]) -> Pictures | str:
        """The renders of a row of the results, or why there are none."""
        layer, unit = row.get("Layer"), row["Neuron"].rpartition(":")[2]
        there = [(place, one) for place, one in self._found if self._is_of(one.layer, layer)]
        if not there:
            return f"no renders of its layer; those given are of {', '.join(one.layer for _, one in self._found)}"
        if len(there) > 1:
            return "renders of several layers or networks; the results do not say which is theirs"
        ((place, manifest),) = there
        entries = manifest.units.get(unit, [])
        if not entries:
            return "it was not rendered"
        shown_ = [self._shown(place, entry, unit) for entry in entries[:MOST]]
        more = f", the first {MOST} of {len(entries)}" if len(entries) > MOST else ""
        return Pictures(shown_, f"Rendered from noise to activate it{more}.")

    def _shown(self, folder: Path, entry: Entry, unit: str) -> Shown:
        path = folder / entry.file
        try:
            data = read_bytes(path, folder)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be read ({error.strerror or error}); expected the render that {MANIFEST} names"
            ) from None
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise InputError(f"{path}: other contents than {MANIFEST} says; expected SHA-256 {shown(entry.sha256)}")
        times = entry.times_natural
        said = f"{times:.1f} times the best natural image" if times is not None else f"from {entry.start}"
        facet = f"{entry.facet}: " if entry.facet else ""
        flags = f" ({', '.join(entry.flags)})" if entry.flags else ""
        alt = f"image rendered for unit {unit} from {entry.start}{f', facet {entry.facet}' if entry.facet else ''}"
        return Shown(*small_copy(read_image(data, name=str(path)), LARGE), alt, f"{facet}{said}{flags}")


def _manifests(folder: Path) -> Iterator[Path]:
    """Manifests of a folder and up to two below it, in the order of their paths."""
    for pattern in (MANIFEST, f"*/{MANIFEST}", f"*/*/{MANIFEST}"):
        yield from sorted(folder.glob(pattern))


def _read(path: Path) -> Manifest:
    content = read_json(path, path.parent, expected=_EXPECTED)
    found = validated(Manifest, content, str(path))
    if found.format != FORMAT:
        raise InputError(f"{path}, format: found {found.format}; expected {FORMAT}, {_EXPECTED}")
    return found
