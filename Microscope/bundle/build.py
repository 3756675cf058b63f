"""From stores and what was found out about their units to a bundle: a job of parts, resumed after an interruption.

    build_bundle(["acts.zarr"], "bundle", Files(images=["photos/"]))

Parts, in order: distributions of blocks of units; tiles of the pictures that these need, each decoded once; what is
measured of all units together; files of blocks of units; files of the layers. All but the files go when the bundle is complete.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.documents import parse_npz, read_json
from Activation_Extraction.base.engine import local
from Activation_Extraction.base.errors import InputError, OutputError
from Activation_Extraction.base.files import as_json, read_bytes
from Activation_Extraction.base.progress import image_progress
from Activation_Extraction.base.run_folder import LOCK, RECORDS, RunFolder, refuse_other, versions_of
from Activation_Extraction.images.sets import ImageSet, image_set
from Microscope.bundle import pictures
from Microscope.bundle.asked import identity_of
from Microscope.bundle.distributions import Distributions, Ints, distributions_of, joined
from Microscope.bundle.evidence.gathering import gathered
from Microscope.bundle.evidence.image_tables import with_image_tables
from Microscope.bundle.evidence.known import Known
from Microscope.bundle.format import Bundle, LayerEntry
from Microscope.bundle.layer import Measured, UnitFiles, add_store_values, index_of, layer_of, numbers_of
from Microscope.bundle.layers import SourceLayer, source_layers
from Microscope.bundle.measuring import measure
from Microscope.bundle.options import Files, Options
from Microscope.bundle.pictures import AT_ONCE, SpriteMaker, Sprites, Tiles, TilesJob, Wanted
from Microscope.bundle.processes import in_processes
from Microscope.bundle.units import LayerFacts, Neighbours
from Microscope.bundle.writing import as_document, hashed

BUNDLE, IDENTITY, WORK, DOWNLOADS = "bundle.json", ".identity.json", ".work", "downloads"
UNITS_AT_ONCE = 32
FOLDERS = {"sprite": "sprites", "rest": "rest", "thumb": "thumbs"}
"""Units of a part of the job."""
_FEW = 4
"""Parts for which no processes are started."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        folder: the bundle; bundle: its first file.
        units: how many files of units were made now; the others were there.
        not_found: names of pictures that were not found, or are other files than those that were measured.
        remarks: what a reader should know.
    """

    folder: Path
    bundle: Bundle
    units: int
    not_found: list[str]
    remarks: list[str] = field(default_factory=list)


def build_bundle(
    stores: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    files: Files = Files(),  # noqa: B008 - frozen
    options: Options = Options(),  # noqa: B008 - frozen
    *,
    processes: int | None = None,
    progress: bool = False,
) -> BuildReport:
    """Make a bundle; interrupted builds resume.

    Args:
        stores: complete activation stores; all their layers, or those that `options` name.
        output: the folder to write; a new or empty one, or that of a build with the same arguments.
        files: what else is known; options: how much is shown.
        processes: None takes one a processor.
        progress: show how far it is.

    Raises:
        InputError: no store, files of other stores or units, what the options do not allow.
        OutputError: a folder that cannot be written, or holds other files, or that another run is writing.
    """
    folder = Path(output)
    layers = source_layers(stores, options.layers)
    _check(layers, options)
    images = image_set(files.images) if files.images else None
    layers = layers if images is None else with_image_tables(layers, images)
    known = gathered(layers, files, options)
    check_folder(folder)
    asked = identity_of(layers, files, options, images)
    with RunFolder(folder, _made_with()) as run:
        refuse_other(folder, read_json(folder / IDENTITY, folder), asked, "another folder (-o)")
        run.write(IDENTITY, as_json(asked))
        job = _Build(run, layers, known, images, files, options, processes, progress)
        return job.run()


def check_folder(folder: Path) -> None:
    """Refuse a folder with files of others.

    Raises:
        OutputError: it has some.
    """
    if folder.is_dir() and not (folder / IDENTITY).exists() and {*os.listdir(folder)} - {LOCK}:
        raise OutputError(f"{folder}: has other files in it; expected a new or empty folder, or a bundle")


def _check(layers: Sequence[SourceLayer], options: Options) -> None:
    """Refuse stores that are damaged, or keep too few top images, before anything is written."""
    for layer in layers:
        layer.store.statistics(layer.layer)
        layer.store.rows(layer.layer, [shard.rows.start for shard in layer.store.shards()])
        assert len(layer.hashes) == len(layer.store)
        kept = int(layer.store.identity["top_k"])
        if options.top > kept and kept < len(layer.store):
            raise InputError(f"--top: found {options.top}; {layer.store.path} keeps {kept} images for each unit (extract with --top-k {options.top})")  # fmt: skip


def _made_with() -> dict[str, Any]:
    return {"versions": versions_of(["interpscore", "numpy", "pillow", "scipy"]), "processor": f"cpu {platform.machine()}"}  # fmt: skip


# The job --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Distributing:
    """The distributions of blocks of a layer's units; can be pickled."""

    source: SourceLayer
    top_row_UK: Ints
    options: Options

    def __call__(self, units: range) -> Distributions:
        a_Nu = self.source.store.units(self.source.layer, units)
        strata = self.options.strata, self.options.per_stratum
        return distributions_of(a_Nu, units.start, self.top_row_UK[units.start : units.stop], strata, self.options.seed)


@dataclass
class _Build:
    """A run of the job."""

    folder: RunFolder
    layers: Sequence[SourceLayer]
    known: Mapping[str, Known]
    images: ImageSet | None
    files: Files
    options: Options
    processes: int | None
    progress: bool

    def run(self) -> BuildReport:
        missing = {layer.key: self.folder.missing(_blocks(layer), lambda units, layer=layer: _part(layer, units)) for layer in self.layers}  # type: ignore[misc]  # fmt: skip
        unfinished = [layer for layer in self.layers if missing[layer.key] or self.folder.recorded(layer.key) is None]
        made = sum(len(units) for parts in missing.values() for units in parts)
        not_found: list[str] = []
        if unfinished:
            self._make_folders()
            spread = {layer.key: self._distributions(layer) for layer in unfinished}
            wanted, candidates = self._wanted(unfinished, spread)
            found = self._tiles(wanted, candidates)
            for layer in unfinished:
                self._layer(layer, spread[layer.key], wanted, found, missing[layer.key])
        for layer in self.layers:
            not_found += (self.folder.recorded(layer.key) or {}).get("not_found", [])
        bundle = self._bundle()
        self.folder.write(BUNDLE, as_document(bundle))
        self._remove_work()
        return BuildReport(self.folder.path, bundle, made, list(dict.fromkeys(not_found)), self._remarks())

    def _make_folders(self) -> None:
        with self.folder.writing():
            for name in (WORK, *(layer.key for layer in self.layers)):
                (self.folder.path / name).mkdir(exist_ok=True)

    # Parts that others are made from

    def _distributions(self, layer: SourceLayer) -> Distributions:
        statistics = layer.store.statistics(layer.layer)
        blocks = _blocks(layer)
        compute = _Distributing(layer, statistics.top_image_UK[:, : self.options.top], self.options)

        def name(units: range) -> str:
            return f"{layer.key}.distribution.{units.start:06d}"

        missing = self.folder.missing(blocks, name)
        with self._showing("Sorting activations", layer.units, missing) as advance:
            for units, found in in_processes(compute, missing, self._processes(missing)):
                self.folder.keep(name(units), {_work(name(units)): _npz(found.arrays())})
                advance(len(units))
        return joined([Distributions(**self._read(name(units))) for units in blocks])

    def _wanted(
        self, layers: Sequence[SourceLayer], spread: Mapping[str, Distributions]
    ) -> tuple[list[Wanted], list[list[int]]]:
        """The pictures that are shown, each once, in the order in which they are decoded; and where they may be."""
        names = {layer.hashes[row]: layer.names[row] for layer in layers for row in spread[layer.key].rows.tolist()}
        return pictures.ordered(names, self.images)

    def _tiles(self, wanted: Sequence[Wanted], candidates: Sequence[Sequence[int]]) -> list[bool]:
        """Decode pictures; which were found."""
        if self.images is None:
            return [False] * len(wanted)
        parts = _shares(len(wanted), AT_ONCE)
        job = TilesJob(self.images, wanted, candidates, self.options.tile, self.processes)
        missing = self.folder.missing(parts, _tiles_part)

        def keep(part: range, result: tuple[bytes, list[bool]]) -> None:
            self.folder.keep(_tiles_part(part), {_tiles_file(part): result[0]}, found=result[1])

        with self._showing("Decoding pictures", len(wanted), missing) as advance:
            local([job], missing, keep, advance)
        return [found for part in parts for found in (self.folder.recorded(_tiles_part(part)) or {})["found"]]

    def arrays(self, part: str, compute: Callable[[], Arrays]) -> Arrays:
        """Arrays that are computed once, as a part of the job."""
        if self.folder.recorded(part) is None:
            self.folder.keep(part, {_work(part): _npz(compute())})
        return self._read(part)

    def _read(self, part: str) -> dict[str, NDArray[Any]]:
        file = self.folder.path / _work(part)
        try:
            return parse_npz(read_bytes(file, self.folder.path))
        except (OSError, ValueError):
            raise OutputError(f"{file}: is gone or damaged; expected no other program to write {self.folder.path}") from None  # fmt: skip

    # A layer

    def _layer(
        self, layer: SourceLayer, d: Distributions, wanted: Sequence[Wanted], found: Sequence[bool], missing: Sequence[range]
    ) -> None:  # fmt: skip
        known = self.known[layer.key]
        place = {one.sha256: at for at, one in enumerate(wanted) if found[at]}
        rows = d.rows.tolist()
        place_N = np.full(len(layer.store), -1, np.int64)
        place_N[rows] = [place.get(layer.hashes[row], -1) for row in rows]
        lost = [layer.names[row] for row in rows if place_N[row] < 0] if self.images is not None else []
        if self.images is None:
            known.not_measured["tiles"] = "no pictures were given (--images)"
        with self._showing("Comparing units", 1, [range(1)]) as advance:
            facts = measure(
                layer, d, known, self.files, self.options, self.images, self.arrays,
                self.folder.path / WORK / f"{layer.key}.permuted",
            )  # fmt: skip
            advance(1)
        measured = Measured(
            facts.nulls, facts.place_U2, facts.redundant, facts.nearest_U, int((place_N[rows] >= 0).sum()), len(rows)
        )
        add_store_values(known, layer, d, measured)
        neighbours = {kind: Neighbours(*pair) for kind, pair in facts.neighbours.items()}
        self._units(layer, LayerFacts(layer, d, known, place_N, neighbours, facts.edges), missing, wanted)
        self._layer_files(layer, known, d, measured, lost)

    def _units(self, layer: SourceLayer, facts: LayerFacts, missing: Sequence[range], wanted: Sequence[Wanted]) -> None:
        paths = [self.folder.path / _tiles_file(part) for part in _shares(len(wanted), AT_ONCE)]
        maker = SpriteMaker(Tiles(paths, self.options.tile), self.options.top)
        blocks = [[[int(facts.place_N[row]) for row in facts.tiles(unit)] for unit in units] for units in missing]
        made = in_processes(maker, blocks, self._processes(missing))
        with self._showing("Making units", layer.units, missing) as advance:
            for units, (_, sprites) in zip(missing, made, strict=True):
                self._keep_units(layer, facts, units, sprites)
                advance(len(units))

    def _keep_units(
        self, layer: SourceLayer, facts: LayerFacts, units: range, sprites: Sequence[Sprites | None]
    ) -> None:
        known, contents, stated = self.known[layer.key], {}, []
        for unit, made in zip(units, sprites, strict=True):
            document = as_document(facts.unit(unit))
            names = {"unit": hashed(f"units/{unit}", "json", document), "sprite": None, "rest": None, "thumb": None}
            contents[f"{layer.key}/{names['unit']}"] = document
            pictures = made._asdict() if made else {}
            if face := known.face.get(unit):
                pictures["thumb"] = face
            for kind, content in pictures.items():
                if content is not None:
                    names[kind] = hashed(f"{FOLDERS[kind]}/{unit}", "webp", content)
                    contents[f"{layer.key}/{names[kind]}"] = content
            for render in known.renders.get(unit, []):
                contents[f"{layer.key}/{render.file}"] = known.render_bytes[render.file]
            stated.append(names)
        self.folder.keep(_part(layer, units), contents, units=stated)

    def _layer_files(
        self, layer: SourceLayer, known: Known, d: Distributions, measured: Measured, lost: list[str]
    ) -> None:
        records = [self.folder.recorded(_part(layer, units)) or {} for units in _blocks(layer)]
        units = [UnitFiles(**names) for record in records for names in record["units"]]
        contents = {}

        def add(name: str, content: bytes) -> str:
            file = hashed(name, "json", content)
            contents[f"{layer.key}/{file}"] = content
            return file

        named = {"index": add("index", as_document(index_of(known, units)))}
        named["numbers"] = add("numbers", as_document(numbers_of(known, layer, d, measured.place_U2)))
        named["concepts"] = add("concepts", as_document(known.concepts)) if known.concepts else None  # type: ignore[assignment]
        contents |= {f"{DOWNLOADS}/{name}": content for name, content in known.downloads.items()}
        contents |= {f"{layer.key}/{name}": content for name, content in known.files.items()}
        contents[f"{layer.key}/layer.json"] = as_document(layer_of(known, layer, d, measured, self.options, named))
        self.folder.keep(layer.key, contents, not_found=lost)

    # The bundle

    def _bundle(self) -> Bundle:
        entries = [
            LayerEntry(key=layer.key, model=layer.model, layer=layer.layer, units=layer.units, images=len(layer.store))
            for layer in self.layers
        ]
        return Bundle(
            title=self.options.title or ", ".join(dict.fromkeys(f"{layer.model} · {layer.layer}" for layer in self.layers)),
            layers=entries,
            participants_simulated=any(known.simulated for known in self.known.values()),
            made_with={name: version for name, version in _made_with()["versions"].items() if version},
        )  # fmt: skip

    def _remove_work(self) -> None:
        kept = {layer.key for layer in self.layers} | {_part(layer, units) for layer in self.layers for units in _blocks(layer)}  # fmt: skip
        for part in {path.stem for path in (self.folder.path / RECORDS).glob("*.json")} - kept:
            self.folder.remove(part)
        with self.folder.writing():
            if (work := self.folder.path / WORK).is_dir():
                work.rmdir()

    def _remarks(self) -> list[str]:
        return [
            f"{layer.label}: {name}: not measured: {reason}"
            for layer in self.layers
            for name, reason in sorted(self.known[layer.key].not_measured.items())
        ]

    def _processes(self, parts: Sequence[object]) -> int | None:
        return 1 if len(parts) < _FEW else self.processes

    def _showing(self, what: str, total: int, missing: Sequence[range]) -> Any:
        left = sum(map(len, missing))
        counted = "pictures" if what.startswith("Decoding") else "units"
        return image_progress(what, total, done=total - left, shown=self.progress and left > 1, counted=counted)


# Names ----------------------------------------------------------------------------------------------------------------


def _blocks(layer: SourceLayer) -> list[range]:
    return _shares(layer.units, UNITS_AT_ONCE)


def _shares(count: int, at_once: int) -> list[range]:
    return [range(at, min(at + at_once, count)) for at in range(0, count, at_once)]


def _part(layer: SourceLayer, units: range) -> str:
    return f"{layer.key}.units.{units.start:06d}"


def _tiles_part(part: range) -> str:
    return f"-tiles.{part.start:08d}"


def _tiles_file(part: range) -> str:
    return f"{WORK}/tiles.{part.start:08d}.rgb"


def _work(part: str) -> str:
    return f"{WORK}/{part}.npz"


def _npz(arrays: Arrays) -> bytes:
    content = BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()
