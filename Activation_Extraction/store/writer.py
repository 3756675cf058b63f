"""Writing an activation store: a shard is written once, then committed; whatever stops the writing, the next run goes on.

    with StoreWriter("acts.zarr", identity, images, {"layer4.5": (2560,)}) as writer:
        for shard in writer.missing:
            writer.commit(shard, {"layer4.5": a_NU}, sha256, errors)
        store = writer.finish()

Every file appears whole: it is written beside its place, flushed to the disk and moved there. A shard counts once its
record stands in the manifest. Statistics follow the shards in their order; those of a shard that a stopped run had
committed and not counted yet are made of its activations again, so the end is the same to the last byte.
"""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from Activation_Extraction.base.errors import InputError, InterpScoreError, OutputError, shown
from Activation_Extraction.base.files import sha256_of
from Activation_Extraction.store.files import (
    COMPLETE,
    FORMAT,
    HISTORY,
    IMAGES,
    LOCK,
    MANIFEST,
    PROVENANCE,
    STATISTICS,
    Shard,
    as_json,
    as_parquet,
    check_groups,
    dimensions,
    flush_below,
    free_space,
    group_name,
    is_part,
    metadata_files,
    read_json,
    read_provenance,
    record_path,
    shard_files,
    write_durably,
    zarr_package,
)
from Activation_Extraction.store.reader import ActivationStore
from Activation_Extraction.store.saved_statistics import (
    StatisticsSoFar,
    read_so_far,
    remove_arrays,
    write_arrays,
    write_so_far,
)
from Activation_Extraction.store.shards import Layout, default_shard_rows
from Activation_Extraction.store.unit_statistics import UnitStatistics

if TYPE_CHECKING:
    from Activation_Extraction.images.sets import ImageSet

TOP_K = 100
"""Images kept for each unit, unless asked otherwise."""


def recorded_identity(path: str | os.PathLike[str], asked: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """What an existing store holds; None where there is none.

    Args:
        asked: what it must hold; `None` values stand for whatever it holds.

    Raises:
        InputError: something else stands there, or a store of something else; each difference is named.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; expected a new folder, or an activation store to go on with")
    found = read_provenance(folder) if folder.is_dir() else None
    if found is None:
        if folder.is_dir() and any(file.name != LOCK and not is_part(file) for file in folder.iterdir()):
            raise InputError(f"{folder}: is no activation store, and not empty; expected a new folder")
        return None
    held: dict[str, Any] = dict(found["identity"])
    wanted = {name: value for name, value in (asked or {}).items() if value is not None}
    if "weights_sha256" in wanted:
        wanted.pop("weights", None)  # the same weights may lie in a file of another name
    different = [
        f"{folder}: holds {_WORDS.get(name, name)} {_said(held.get(name))}; asked for {_said(value)}"
        for name, value in wanted.items()
        if value != held.get(name)
    ]
    if different:
        raise InputError([*different, f"{folder}: is left as it is; expected the same again, or another store (-o)"])
    return held


class StoreWriter:
    """Creates a store or goes on with one; a context manager that keeps every other writer out.

    Args:
        path: a folder that is not there yet, or a store.
        identity: what is computed, in JSON's types. `None` values are taken from a store that is there.
        images: its order and names are those of the rows.
        shapes: layer → its shape behind the images: (units,), (units, y, x) or (units, token).
        aliases: other name of a layer → its name.
        shard_rows: images in a shard; top_k: images kept for each unit. None takes those of a store that is there.
        settings: what goes into the history alone: versions, devices, threads.

    Raises:
        InputError: something else stands there, or a store of something else; each difference is named.
        OutputError: it cannot be written, or another run is writing it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        identity: Mapping[str, Any],
        images: ImageSet,
        shapes: Mapping[str, Sequence[int]],
        *,
        aliases: Mapping[str, str] | None = None,
        shard_rows: int | None = None,
        top_k: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self._shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self._aliases = dict(aliases or {})
        self._images = images
        self._wanted: dict[str, Any] = {
            **identity,
            "layers": list(self._shapes),
            "images": images.fingerprint,
            "rows": len(images),
            "shard_rows": shard_rows,
            "top_k": top_k,
        }
        for name in ("shard_rows", "top_k"):
            if (value := self._wanted[name]) is not None and value < 1:
                raise InputError(f"{name}: found {shown(value)}; expected 1 or more")
        check_groups(self._shapes)
        self._settings = dict(settings or {})
        self._lock = FileLock(self.path / LOCK, timeout=0)
        self._committing = threading.Lock()
        self._waiting: dict[int, dict[str, UnitStatistics]] = {}
        self._state = StatisticsSoFar(0, {})
        self._shards: list[Shard] = []
        self._there: set[int] = set()
        self.missing: list[Shard] = []

    # Opening

    def __enter__(self) -> StoreWriter:
        recorded_identity(self.path)  # refuses what is no store before anything is written there
        if not self.path.parent.is_dir():
            raise OutputError(f"{self.path}: the folder {self.path.parent} does not exist; expected an existing folder")
        with self._writing():
            self.path.mkdir(exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout:
                raise OutputError(f"{self.path}: another run is writing it; expected one writer at a time") from None
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def _open(self) -> None:
        recorded = recorded_identity(self.path, self._wanted)
        if recorded is None:
            self._settle_defaults()
        else:
            self._wanted = recorded
            self._refuse_other_shapes()
        with self._writing():
            self._remove_parts()
            if (self.path / COMPLETE).is_file():
                self.store = ActivationStore.open(self.path)
                return
            remove_arrays(self.path, self._shapes)
            # What can be told from what was asked for is written anew, in case it was damaged.
            provenance = {
                "format": FORMAT,
                "identity": self._wanted,
                "layers": self._shapes,
                "aliases": self._aliases,
            }
            write_durably(self.path / PROVENANCE, as_json(provenance))
            write_durably(self.path / IMAGES, as_parquet(self._images.table))
            self.store = ActivationStore.open(self.path)
            (self.path / MANIFEST).mkdir(exist_ok=True)
            self._arrays = self._create_arrays()
            self._add_history("begun" if recorded is None else "gone on")
        self.missing = self.store.missing_shards()
        self._catch_up()

    def _settle_defaults(self) -> None:
        self._wanted["shard_rows"] = self._wanted["shard_rows"] or default_shard_rows(
            len(self._images), self._shapes.values()
        )
        self._wanted["top_k"] = self._wanted["top_k"] or TOP_K

    def _refuse_other_shapes(self) -> None:
        held = ActivationStore.open(self.path).shapes
        if different := [
            f"{self.path}: holds {_said(list(held.get(layer, ())))} numbers of an image in layer {layer}; "
            f"asked for {_said(list(shape))}"
            for layer, shape in self._shapes.items()
            if held.get(layer) != shape
        ]:
            raise InputError(different)

    def _create_arrays(self) -> dict[str, Any]:
        """The array of each layer, made where it is not there yet, and the metadata that lets readers find them."""
        zarr = zarr_package()
        for name in metadata_files(self._shapes):
            try:
                read_json(self.path / name)
            except InputError:
                (self.path / name).unlink()  # made anew below
        root = zarr.open_group(self.path, mode="a", zarr_format=3, use_consolidated=False)
        arrays = {}
        for layer, shape in self._shapes.items():
            layout = Layout(self._wanted["shard_rows"], shape)
            array = root.require_group(group_name(layer)).require_array(
                "activation",
                shape=(self._wanted["rows"], *shape),
                dtype="float32",
                shards=layout.shard_shape,
                chunks=layout.chunk_shape,
                compressors=None,
                fill_value=float("nan"),
                dimension_names=dimensions(shape),
            )
            # An array that was there opens without this, and then a shard of broken images would get no file.
            arrays[layer] = array.with_config({"write_empty_chunks": True})
        self._consolidate()
        return arrays

    def _consolidate(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that consolidated metadata is young in Zarr v3; every reader goes without
            zarr_package().consolidate_metadata(self.path, zarr_format=3)
        flush_below(self.path, metadata_files(self._shapes))

    def _remove_parts(self) -> None:
        """Remove what a killed run was in the middle of writing."""
        for folder, _, files in os.walk(self.path):
            for name in files:
                if is_part(Path(name)):
                    Path(folder, name).unlink(missing_ok=True)

    # Committing

    def commit(
        self,
        shard: Shard,
        values: Mapping[str, NDArray[np.float32]],
        sha256: Sequence[str | None],
        errors: Sequence[str],
    ) -> None:
        """Write a shard for good. Shards may come in any order, and from several threads.

        Args:
            values: layer → activations of the shard's rows; rows of images that could not be read are NaN.
            sha256: of each image; errors: what is wrong with each, else "".

        Raises:
            OutputError: it cannot be written; what was committed before stays.
        """
        assert values.keys() == self._shapes.keys()
        assert all(a.dtype == np.float32 for a in values.values())
        assert all(values[layer].shape == (len(shard.rows), *shape) for layer, shape in self._shapes.items())
        assert len(sha256) == len(errors) == len(shard.rows)
        statistics = {layer: self.store.statistics_of(shard, values[layer]) for layer in self._shapes}
        with self._committing, self._writing():
            files = {}
            for layer, name in zip(self._shapes, shard_files(shard, self._shapes), strict=True):
                (self.path / name).unlink(missing_ok=True)  # Zarr would read what a damaged file holds
                self._arrays[layer][shard.rows.start : shard.rows.stop] = values[layer]
                files[name] = {"size": (self.path / name).stat().st_size, "sha256": sha256_of(self.path / name)}
            flush_below(self.path, files)
            record = {
                "rows": [shard.rows.start, shard.rows.stop],
                "files": files,
                "sha256": list(sha256),
                "errors": list(errors),
            }
            write_durably(record_path(self.path, shard.index), as_json(record))
            self._waiting[shard.index] = statistics
            self._count()

    def _count(self) -> None:
        """Merge what follows on the statistics so far, and write them."""
        state = self._state
        while (after := self._next_part(state.through)) is not None:
            merged = {layer: state.of[layer].merged(part) for layer, part in after.items()} if state.of else after
            state = StatisticsSoFar(state.through + 1, merged)
        if state is not self._state:
            write_so_far(self.path, state)
            self._state = state

    def _next_part(self, index: int) -> dict[str, UnitStatistics] | None:
        """Statistics of a shard; of one that an earlier run committed, made of its activations again."""
        if index not in self._there:
            return self._waiting.pop(index, None)
        shard = self._shards[index]
        return {layer: self.store.statistics_of(shard, self.store.block(layer, shard)) for layer in self._shapes}

    def _catch_up(self) -> None:
        """Take up the statistics so far, and count what a stopped run committed and did not count."""
        self._shards = self.store.shards()
        self._there = {shard.index for shard in self._shards} - {shard.index for shard in self.missing}
        self._state = read_so_far(self.path, self._shapes, self.missing)
        with self._writing():
            self._count()

    # The end

    def finish(self) -> ActivationStore:
        """Write statistics, the image table with hashes and errors, and the mark that the store is complete.

        Done again after it was stopped, it gives the same bytes. Does nothing to a complete store.
        """
        if self.store.is_complete:
            return self.store
        if self._state.through < len(self._shards):
            raise InterpScoreError(f"{self.path}: shards are missing; expected all to be committed before the end")
        with self._writing():
            remove_arrays(self.path, self._shapes)  # of an end that failed before
            for layer, statistics in self._state.of.items():
                write_arrays(self.path, layer, statistics)
            self._consolidate()
            table = self._images.table
            for name, values in zip(("sha256", "error"), self.store.image_records(), strict=True):
                table = table.drop_columns([name]) if name in table.column_names else table
                table = table.append_column(name, pa.array(values, pa.string()))
            write_durably(self.path / IMAGES, as_parquet(table))
            self._add_history("completed")
            files = {
                name: {"size": (self.path / name).stat().st_size, "sha256": sha256_of(self.path / name)}
                for name in self.store.vouched_files()
            }
            (self.path / STATISTICS).unlink(missing_ok=True)
            write_durably(self.path / COMPLETE, as_json({"files": files}))
        self.store = ActivationStore.open(self.path)
        return self.store

    def _add_history(self, what: str) -> None:
        path = self.path / HISTORY
        try:
            events = json.loads(path.read_bytes())["runs"]
        except (OSError, ValueError, KeyError, TypeError):
            events = []
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        write_durably(path, as_json({"runs": [*events, {"when": now, "what": what, **self._settings}]}))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Says in one line what a disk that is full, read-only or gone means for the store."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(
                f"{self.path}: cannot be written ({reason}; {free_space(self.path if self.path.exists() else self.path.parent)}); what is committed stays, "
                "and the same command goes on with it"
            ) from None


_WORDS = {"images": "the image set", "rows": "a number of images of", "layers": "the layers"}


def _said(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else shown(value, 80)
