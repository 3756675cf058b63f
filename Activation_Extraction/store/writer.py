"""Writing an activation store: a shard is written once, then committed; interrupted runs resume.

    with StoreWriter("acts.zarr", identity, images, {"layer4.5": (2560,)}) as writer:
        for shard in writer.missing:
            writer.commit(shard, {"layer4.5": a_NU}, sha256, errors)
        store = writer.finish()

Shards are the parts of a job (`base.run_folder`); the manifest has their records. Statistics follow the shards in their
order; those of a shard that an interrupted run had committed and not counted yet are made of its activations again, so
the end is the same to the last byte.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import InputError, InterpScoreError, shown
from Activation_Extraction.base.files import as_json, flush_below, sha256_of
from Activation_Extraction.base.run_folder import RunFolder, is_leftover, refuse_other
from Activation_Extraction.store.files import (
    COMPLETE,
    DAMAGE,
    FORMAT,
    HISTORY,
    IMAGES,
    MANIFEST,
    PROVENANCE,
    STATISTICS,
    Shard,
    as_parquet,
    check_groups,
    dimensions,
    group_name,
    metadata_files,
    read_provenance,
    record_name,
    record_path,
    shard_files,
    zarr_package,
)
from Activation_Extraction.store.growth import grow
from Activation_Extraction.store.reader import ActivationStore
from Activation_Extraction.store.saved_statistics import (
    StatisticsSoFar,
    read_so_far,
    remove_arrays,
    so_far_as_bytes,
    write_arrays,
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
        if folder.is_dir() and not all(map(is_leftover, folder.iterdir())):
            raise InputError(f"{folder}: is no activation store, and not empty; expected a new folder")
        return None
    held: dict[str, Any] = dict(found["identity"])
    wanted = {name: value for name, value in (asked or {}).items() if value is not None}
    refuse_other(folder, held, wanted, "another store (-o)")
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
        grows: a store that is there of the first of these images becomes one of all of them.
        made_with: versions, processor and threads, recorded with every shard and in the history.
        settings: what goes into the history alone, such as the devices.

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
        grows: bool = False,
        made_with: Mapping[str, Any] | None = None,
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
        self._settings = {**(made_with or {}), **(settings or {})}
        self._grows = grows
        self._folder = RunFolder(self.path, made_with or {}, records=MANIFEST)
        self._committing = threading.Lock()
        self._waiting: dict[int, dict[str, UnitStatistics]] = {}
        self._state = StatisticsSoFar(0, {})
        self._shards: list[Shard] = []
        self._there: set[int] = set()
        self.missing: list[Shard] = []

    # Opening

    def __enter__(self) -> StoreWriter:
        recorded_identity(self.path)  # refuses what is no store before anything is written there
        with ExitStack() as stack:
            stack.enter_context(self._folder)
            self._open()
            self._held = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.__exit__(kind, error, trace)

    def _open(self) -> None:
        grown = self._grows and grow(self._folder, self._images)
        recorded = recorded_identity(self.path, self._wanted)
        if recorded is None:
            self._settle_defaults()
        else:
            self._wanted = recorded
            self._refuse_other_shapes()
        with self._folder.writing():
            if (self.path / COMPLETE).is_file():
                self.store = ActivationStore.open(self.path)
                return
            remove_arrays(self.path, self._shapes)
            # What can be told from what was asked for is written again, in case it was damaged.
            about = {"identity": self._wanted, "layers": self._shapes, "aliases": self._aliases}
            self._folder.write(PROVENANCE, as_json({"format": FORMAT, **about}))
            self._folder.write(IMAGES, as_parquet(self._images.table))
            self.store = ActivationStore.open(self.path)
            self._arrays = self._create_arrays()
            self._add_history("begun" if recorded is None else "grown" if grown else "resumed")
        self.missing = self.store.missing_shards()
        self._catch_up()

    def _settle_defaults(self) -> None:
        self._wanted["shard_rows"] = self._wanted["shard_rows"] or default_shard_rows(
            len(self._images), self._shapes.values()
        )
        self._wanted["top_k"] = self._wanted["top_k"] or TOP_K

    def _refuse_other_shapes(self) -> None:
        held, asked = (
            {f"numbers of an image in layer {layer}": list(shapes.get(layer, ())) for layer in self._shapes}
            for shapes in (ActivationStore.open(self.path).shapes, self._shapes)
        )
        refuse_other(self.path, held, asked, "another store (-o)")

    def _create_arrays(self) -> dict[str, Any]:
        """The array of each layer, made where it is not there yet, and the metadata that lets readers find them."""
        try:
            for name in metadata_files(self._shapes):
                read_json(self.path / name, self.path)
            return self._opened_arrays()
        except DAMAGE as error:
            if isinstance(error, OSError):  # of the disk
                raise
            for name in metadata_files(self._shapes):
                (self.path / name).unlink(missing_ok=True)
            return self._opened_arrays()

    def _opened_arrays(self) -> dict[str, Any]:
        root = zarr_package().open_group(self.path, mode="a", zarr_format=3, use_consolidated=False)
        arrays = {}
        for layer, shape in self._shapes.items():
            layout = Layout(self._wanted["shard_rows"], shape)
            group, whole = root.require_group(group_name(layer)), (self._wanted["rows"], *shape)
            if "activation" in group and group["activation"].shape[0] < whole[0]:
                group["activation"].resize(whole)  # the store has grown
            array = group.require_array(
                "activation",
                shape=whole,
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

    # Committing

    def commit(
        self,
        shard: Shard,
        values: Mapping[str, NDArray[np.float32]],
        sha256: Sequence[str | None],
        errors: Sequence[str],
        several: Sequence[int] = (),
    ) -> None:
        """Write a shard for good. Shards may come in any order, and from several threads.

        Args:
            values: layer → activations of the shard's rows; rows of images that could not be read are NaN.
            sha256: of each image; errors: what is wrong with each, else "".
            several: rows whose files have more pictures than the one that was read.

        Raises:
            OutputError: it cannot be written; what was committed before stays.
        """
        assert values.keys() == self._shapes.keys()
        assert all(a.dtype == np.float32 for a in values.values())
        assert all(values[layer].shape == (len(shard.rows), *shape) for layer, shape in self._shapes.items())
        assert len(sha256) == len(errors) == len(shard.rows)
        statistics = {layer: self.store.statistics_of(shard, values[layer]) for layer in self._shapes}
        with self._committing, self._folder.writing():
            record_path(self.path, shard.index).unlink(missing_ok=True)
            files = shard_files(shard, self._shapes)
            for layer, name in zip(self._shapes, files, strict=True):
                (self.path / name).unlink(missing_ok=True)  # Zarr would read what a damaged file holds
                self._arrays[layer][shard.rows.start : shard.rows.stop] = values[layer]
            rows = [shard.rows.start, shard.rows.stop]
            said = {"rows": rows, "sha256": list(sha256), "errors": list(errors), "several": list(several)}
            self._folder.record(record_name(shard.index), files, **said)
            self._waiting[shard.index] = statistics
            self._count()

    def _count(self) -> None:
        """Merge what follows on the statistics so far, and write them."""
        state = self._state
        while (after := self._next_part(state.through)) is not None:
            merged = {layer: state.of[layer].merged(part) for layer, part in after.items()} if state.of else after
            state = StatisticsSoFar(state.through + 1, merged)
        if state is not self._state:
            self._folder.write(STATISTICS, so_far_as_bytes(state))
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
        self._state = read_so_far(self.path, {name: shape[0] for name, shape in self._shapes.items()}, self.missing)
        with self._folder.writing():
            self._count()

    # The end

    def finish(self) -> ActivationStore:
        """Write statistics, the image table with hashes and errors, and the mark that the store is complete.

        Repeated after an interruption, it gives the same bytes. Does nothing to a complete store.
        """
        if self.store.is_complete:
            return self.store
        if self._state.through < len(self._shards):
            raise InterpScoreError(f"{self.path}: shards are missing; expected all to be committed before the end")
        with self._folder.writing():
            remove_arrays(self.path, self._shapes)  # of an end that failed before
            for layer, statistics in self._state.of.items():
                write_arrays(self.path, layer, statistics)
            self._consolidate()
            table = self._images.table
            for name, values in zip(("sha256", "error"), self.store.image_records(), strict=True):
                table = table.drop_columns([name]) if name in table.column_names else table
                table = table.append_column(name, pa.array(values, pa.string()))
            self._folder.write(IMAGES, as_parquet(table))
            self._add_history("completed")
            files = {
                name: {"size": (self.path / name).stat().st_size, "sha256": sha256_of(self.path / name)}
                for name in self.store.vouched_files()
            }
            (self.path / STATISTICS).unlink(missing_ok=True)
            self._folder.write(COMPLETE, as_json({"files": files, "made_with": self.store.made_with}))
        self.store = ActivationStore.open(self.path)
        return self.store

    def _add_history(self, what: str) -> None:
        try:
            events = list((read_json(self.path / HISTORY, self.path) or {})["runs"])
        except (InputError, KeyError, TypeError):
            events = []
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._folder.write(HISTORY, as_json({"runs": [*events, {"when": now, "what": what, **self._settings}]}))
