"""Renders on disk: `<root>/<model>/<layer>/<unit>/*.png`, and a `manifest.json` beside the units that says what they are.

Units are the parts of a job (`base.run_folder`). The manifest is compiled from their records at the end of a run, also of
one that is interrupted; what a killed run recorded enters it with the next.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StrictFloat,
    StrictInt,
    StrictStr,
    TypeAdapter,
    model_validator,
)  # fmt: skip

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.base.files import as_json, check_no_link
from Activation_Extraction.base.names import file_name
from Activation_Extraction.base.run_folder import RunFolder, different_makings, refuse_other
from Activation_Extraction.base.validation import validated
from Activation_Extraction.images.reading import png_bytes
from Activation_Extraction.models.units import Unit

MANIFEST = "manifest.json"
IDENTITY = ".identity.json"
"""What all renders of the folder share, beside the manifest: with it and the records, a damaged one is made again."""

FORMAT = 1

_Measured = Annotated[StrictFloat, BeforeValidator(lambda value: math.nan if value is None else value)]


class Picture(NamedTuple):
    """One image of a unit: the name of its file, its pixels (uint8, S × S × 3), and what the manifest says of it."""

    name: str
    pixels_SSC: NDArray[np.uint8]
    entry: Mapping[str, Any]


class Renders:
    """The renders of one layer of one model; a context manager that keeps every other run out.

    Args:
        root: such as `renders`.
        identity: what all of them share: model, layer, recipe, seed … in the types that JSON has; folders are named after
            its `model` and `layer`.
        made_with: libraries and processor of this run.

    Raises:
        OutputError: the folder cannot be made or written, or another run is writing it.
        InputError: it holds renders of another identity; names each difference.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any], made_with: Mapping[str, Any]) -> None:
        self.folder = root / file_name(identity["model"]) / file_name(identity["layer"])
        self._identity, self._run = identity, RunFolder(self.folder, made_with)
        self._notes: dict[str, Any] = {}

    def __enter__(self) -> Renders:
        with self._run.writing():
            check_no_link(self.folder, self.folder.parents[1])
            self.folder.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(self._run)
            held, identity = self._held()
            refuse_other(self.folder, identity, self._identity, "another folder (-o)")
            if held is not None:
                self._notes = {key: held[key] for key in ("natural_images",) if key in held}
                self._record_older(held)
            self._run.write(IDENTITY, as_json(self._identity))
            self.content = self._commit()
            self._held_run = stack.pop_all()
        return self

    def _held(self) -> tuple[dict[str, Any] | None, Mapping[str, Any] | None]:
        """The manifest of the folder, and what its renders share.

        A damaged manifest is compiled from the records again, given what they share in its own file.
        """
        if not (self.folder / MANIFEST).exists():
            return None, read_json(self.folder / IDENTITY, self.folder)
        try:
            held = read_manifest(self.folder)
        except InputError:
            if (self.folder / MANIFEST).is_symlink() or not (self.folder / IDENTITY).is_file():
                raise
            return None, read_json(self.folder / IDENTITY, self.folder)
        return held, held

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.content = self._commit()
        finally:
            self._held_run.__exit__(kind, error, trace)

    def _record_older(self, held: Mapping[str, Any]) -> None:
        """Record the units of a manifest that was written before units were recorded one by one."""
        made_with = {name: held[name] for name in ("versions", "processor") if name in held}
        for unit in held["units"].keys() - self._run.records().keys():
            entries = held["units"][unit]
            if file_name(unit) == unit:
                sha256 = {entry["file"]: entry["sha256"] for entry in entries}
                self._run.adopt(unit, sha256, entries=entries, made_with=made_with)

    def missing(self, units: Iterable[Unit]) -> list[Unit]:
        """The units whose images are not all there, as they were written."""
        listed = self._entries()
        return [unit for unit in units if unit.name not in listed or self._run.recorded(_part(unit)) is None]

    def _entries(self) -> dict[str, tuple[str, list[dict[str, Any]]]]:
        """Unit → its part of the job, and what the manifest says of its images; without damaged records."""
        found = {}
        for part, record in self._run.records().items():
            with suppress(ValueError, LookupError, TypeError, AttributeError):
                if isinstance(unit := record.get("unit", part), str):
                    found[unit] = part, _listed(record)
        return found

    def add(self, unit: Unit, pictures: Sequence[Picture]) -> None:
        """Write a unit's images and record them.

        Raises:
            OutputError: disk full, no permission.
        """
        files = {f"{_part(unit)}/{picture.name}.png": png_bytes(picture.pixels_SSC) for picture in pictures}
        self._run.keep(_part(unit), files, unit=unit.name, entries=[picture.entry for picture in pictures])

    def note(self, key: str, value: Any) -> None:
        """Have the manifest say something of all renders."""
        self._notes[key] = value
        self._commit()

    def _commit(self) -> dict[str, Any]:
        """Write the manifest, and give what it says."""
        records, entries = self._run.records(), self._entries()
        units = {unit: entries[unit][1] for unit in sorted(entries, key=_channels)}
        made_with = different_makings(records[entries[unit][0]] for unit in units)
        content = {"format": FORMAT, **self._identity, **self._notes, "made_with": made_with, "units": units}
        self._run.write(MANIFEST, as_json(content))
        return content


class Entry(BaseModel):
    """What a manifest says of an image; numbers are null where they could not be measured."""

    model_config = ConfigDict(extra="allow")

    file: StrictStr
    sha256: StrictStr
    start: StrictStr
    facet: StrictStr | None = None
    facet_scores: dict[StrictStr, _Measured] | None = None
    activation: _Measured
    best_natural: StrictFloat | None
    times_natural: StrictFloat | None
    jittered: _Measured
    contrast: _Measured
    saturation: _Measured
    slope: _Measured
    flags: list[StrictStr]

    @model_validator(mode="after")
    def _has_a_score_of_its_facet(self) -> Entry:
        if self.facet_scores and self.facet not in self.facet_scores:
            raise InputError(f"facet_scores: none of the facet {shown(self.facet)}; expected one of each facet")
        return self


class NaturalImages(BaseModel):
    """What a manifest says of the natural images that renders were compared with."""

    model_config = ConfigDict(extra="allow")

    images: StrictInt
    thresholds: dict[StrictStr, _Measured]


class Manifest(BaseModel):
    """A manifest; further keys say what its renders share."""

    model_config = ConfigDict(extra="allow")

    model: StrictStr
    layer: StrictStr
    natural_images: NaturalImages | None = None
    units: dict[StrictStr, list[Entry]]

    @model_validator(mode="after")
    def _has_scores_of_the_same_facets(self) -> Manifest:
        scored = {frozenset(each.facet_scores) for unit in self.units.values() for each in unit if each.facet_scores}
        if len(scored) > 1:
            raise InputError("facet_scores: of other facets in some images; expected the same in all")
        return self


_ENTRIES = TypeAdapter(list[Entry])


def _listed(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the manifest says of a unit's images.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: the record is damaged.
    """
    files = record["files"].items()
    entries = [
        {"file": file, "sha256": stated["sha256"], **entry}
        for (file, stated), entry in zip(files, record["entries"], strict=True)
    ]
    return [
        each | found.model_dump(exclude_unset=True)
        for each, found in zip(entries, _ENTRIES.validate_python(entries), strict=True)
    ]


def _part(unit: Unit) -> str:
    """The name of a unit's folder, and of its part of the job."""
    return file_name(unit.name)


def _channels(unit: str) -> list[int]:
    return [int(number[:18]) for number in re.findall(r"\d+", unit)]


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest, or that of a folder.

    Raises:
        InputError: there is none, or it is not one.
    """
    path = path / MANIFEST if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the manifest of renders (renders/<model>/<layer>)")
    content = read_json(path, path.parent, expected="the manifest of renders")
    if content is None or content.get("format") != FORMAT:
        raise InputError(f"{path}: is no manifest of renders in format {FORMAT}")
    return content | validated(Manifest, content, str(path)).model_dump(exclude_unset=True)
