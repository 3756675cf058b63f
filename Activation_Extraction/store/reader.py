"""The activation store: whole layers of an image set in a folder, read by unit or by image.

    store = ActivationStore.open("acts.zarr")
    store.unit("layer4.5", 89)                  # one unit on every image, in the order of the image table
    store.rows("layer4.5", [3, 14])             # every unit on some images
    store.dataset("layer4.5")                   # lazily, in xarray, with names of images
    store.statistics("layer4.5").top_image_UK

The folder is a Zarr v3 hierarchy that any Zarr reader opens, with one group a layer, and a few files beside:

    layer4.5/activation/    (image, unit), sharded by rows; a chunk holds few units of all images of its shard
    layer4.5/mean/ …        statistics, once the store is complete
    images.parquet          the image table; once complete with each image's SHA-256 and what was wrong with it
    provenance.json         what was computed: the identity of the store
    manifest/000012.json    one for each shard that is committed: its files with size and SHA-256, its images
    statistics.npz          statistics of the shards so far; gone once complete
    complete.json           size and SHA-256 of all other files, once complete
    history.json            when and with what it was written; no part of the identity

Nothing in it is executed by reading it, and no path in it is followed out of the folder. Networks are not needed here:
this file loads no torch.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.errors import InputError, OutputError, did_you_mean, shown
from Activation_Extraction.base.files import read_json, written_whole
from Activation_Extraction.base.run_folder import different_makings
from Activation_Extraction.store.files import (
    COMPLETE,
    IMAGES,
    PROVENANCE,
    Shard,
    group_name,
    metadata_files,
    read_images,
    read_provenance,
    read_record,
    record_path,
    shard_file,
    spatial_mean,
    zarr_package,
)
from Activation_Extraction.store.saved_statistics import files_of_arrays, read_arrays, read_so_far
from Activation_Extraction.store.shards import Layout, read_rows, read_shard, read_units
from Activation_Extraction.store.unit_statistics import UnitStatistics

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    import zarr


class ActivationStore:
    """A store that is read; `open` makes one.

    Attributes:
        path: of the folder.
        identity: what was computed: model, weights and their hash, preprocessing, pooling, backend, precision, the
            fingerprint of the image set, its number of rows, those of a shard.
        shapes: layer → its shape behind the images: (units,), or with pooling "none" (units, y, x) or (units, token).
    """

    def __init__(self, path: Path, provenance: Mapping[str, Any]) -> None:
        self.path = path
        self.identity: dict[str, Any] = dict(provenance["identity"])
        self.shapes: dict[str, tuple[int, ...]] = {name: tuple(shape) for name, shape in provenance["layers"].items()}
        self._aliases: dict[str, str] = dict(provenance["aliases"])

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> ActivationStore:
        """The store in that folder, complete or not.

        Raises:
            InputError: no store there, or a damaged one.
        """
        folder = Path(path)
        if not folder.is_dir():
            found = "is a file" if folder.exists() else "no such folder"
            raise InputError(f"{folder}: {found}; expected an activation store")
        provenance = read_provenance(folder)
        if provenance is None:
            raise InputError(f"{folder}: has no {PROVENANCE}; expected an activation store")
        return cls(folder, provenance)

    # What there is

    @property
    def layers(self) -> list[str]:
        return list(self.shapes)

    def __len__(self) -> int:
        """Rows: images in all, computed or not."""
        return int(self.identity["rows"])

    @property
    def made_with(self) -> list[dict[str, Any]]:
        """Versions of libraries, processor and threads that shards were computed with; one where all had the same."""
        return different_makings(read_json(record_path(self.path, shard.index)) for shard in self.shards())

    @property
    def is_complete(self) -> bool:
        return (self.path / COMPLETE).is_file()

    def shards(self) -> list[Shard]:
        """Every shard, committed or not."""
        step = int(self.identity["shard_rows"])
        return [Shard(i, range(s, min(s + step, len(self)))) for i, s in enumerate(range(0, len(self), step))]

    def missing_shards(self) -> list[Shard]:
        """Shards that are not committed, or whose files are gone or of another size."""
        if self.is_complete:
            return []
        return [shard for shard in self.shards() if read_record(self.path, shard, self.shapes) is None]

    @cached_property
    def images(self) -> pd.DataFrame:
        """The image table: `image`, the set's own columns, `sha256` and `error` ("" where nothing is wrong).

        Of rows that are not computed yet, the last two are missing.
        """
        table = read_images(self.path).to_pandas()
        if self.is_complete:
            return table
        sha256, errors = self.image_records()
        return table.assign(sha256=sha256, error=errors)

    def image_records(self) -> tuple[list[str | None], list[str | None]]:
        """SHA-256 and error of each image as the manifest has them; None where it is not computed yet."""
        sha256: list[str | None] = [None] * len(self)
        errors: list[str | None] = [None] * len(self)
        for shard in self.shards():
            if (record := read_record(self.path, shard, self.shapes)) is not None:
                place = slice(shard.rows.start, shard.rows.stop)
                sha256[place], errors[place] = record["sha256"], record["errors"]
        return sha256, errors

    def resolve_layer(self, name: str) -> str:
        """The name that the store has for a layer, given any of its names.

        Raises:
            InputError: no such layer; the nearest names are given.
        """
        found = self._aliases.get(name, name)
        if found not in self.shapes:
            hint = did_you_mean(name, [*self.shapes, *self._aliases])
            raise InputError(f"{self.path}: no layer {shown(name)}{hint}; it holds {', '.join(self.shapes)}")
        return found

    def vouched_files(self) -> list[str]:
        """Names of the files that `COMPLETE` vouches for: all but those of shards, for which the manifest does."""
        records = [record_path(self.path, shard.index).relative_to(self.path).as_posix() for shard in self.shards()]
        return [PROVENANCE, IMAGES, *metadata_files(self.shapes), *records, *files_of_arrays(self.shapes)]

    # Reading

    def unit(self, layer: str, unit: int) -> NDArray[np.float32]:
        """One unit on every image: (N,), or (N, …positions) with pooling "none"; NaN where there is no value."""
        values: NDArray[np.float32] = self.units(layer, [unit], positions=True)[:, 0]
        return values

    def units(self, layer: str, units: Sequence[int], *, positions: bool = False) -> NDArray[np.float32]:
        """Some units on every image.

        Args:
            positions: with pooling "none", keep the positions instead of their mean.

        Returns:
            (N, n), or (N, n, …positions); NaN where an image could not be read or is not computed yet.

        Raises:
            InputError: a unit that the layer does not have.
        """
        layer = self.resolve_layer(layer)
        wanted = _indices(units, self.shapes[layer][0], "unit", f"{self.path}, layer {layer}")
        kept = self.shapes[layer][1:] if positions else ()
        values = np.full((len(self), len(wanted), *kept), np.nan, np.float32)
        for shard in self.shards():  # a shard at a time: maps of a million images would not fit
            found = self._stored(layer, shard, lambda file, layout: read_units(file, layout, wanted))
            if found is not None:
                found = found[: len(shard.rows)]
                values[shard.rows.start : shard.rows.stop] = found if positions else spatial_mean(found)
        return values

    def rows(self, layer: str, rows: Sequence[int]) -> NDArray[np.float32]:
        """Every unit on some images, in the order asked for, duplicates included: (n, U), or (n, U, …positions).

        Raises:
            InputError: a row that is not there.
        """
        layer = self.resolve_layer(layer)
        wanted = _indices(rows, len(self), "row", str(self.path))
        values = np.full((len(wanted), *self.shapes[layer]), np.nan, np.float32)
        shard_n, row_n = np.divmod(wanted, self._layout(layer).rows)
        shards = self.shards()
        for index in np.unique(shard_n):
            here = np.flatnonzero(shard_n == index)
            found = self._stored(layer, shards[index], lambda file, layout, r=row_n[here]: read_rows(file, layout, r))  # type: ignore[misc]
            if found is not None:
                values[here] = found
        return values

    def statistics(self, layer: str) -> UnitStatistics:
        """Statistics of each unit, of its spatial mean with pooling "none"; of an unfinished store, of what is there.

        Raises:
            InputError: nothing is there yet.
        """
        layer = self.resolve_layer(layer)
        if not self.is_complete:
            return self._statistics_so_far(layer)
        group = self._group(layer)

        def read(name: str) -> NDArray[Any]:
            return self._read(lambda: np.asarray(group[name][...]))  # type: ignore[index, no-any-return]

        return read_arrays(read)

    def _statistics_so_far(self, layer: str) -> UnitStatistics:
        missing = self.missing_shards()
        state = read_so_far(self.path, self.shapes, missing)
        parts = [state.of[layer]] if state.of else []
        for shard in self.shards()[state.through :]:
            if shard not in missing:
                part = self.statistics_of(shard, self.block(layer, shard))
                parts = [parts[0].merged(part)] if parts else [part]
        if not parts:
            raise InputError(f"{self.path}: no shard is computed yet; expected at least one")
        return parts[0]

    def statistics_of(self, shard: Shard, a: NDArray[np.float32]) -> UnitStatistics:
        """Statistics of a shard's activations, as they are merged into those of the store."""
        return UnitStatistics.of(spatial_mean(a), shard.rows.start, min(int(self.identity["top_k"]), len(self)))

    def dataset(self, layer: str) -> xr.Dataset:
        """A layer in xarray, read when it is used, with the columns of the image table as coordinates."""
        import xarray as xr

        layer = self.resolve_layer(layer)
        dataset: xr.Dataset = self._read(lambda: xr.open_zarr(self.path, group=group_name(layer), chunks=None))
        coordinates = {
            "image": ("image", self.images["image"].to_numpy()),
            "unit": ("unit", np.arange(self.shapes[layer][0])),
        }
        for name, column in self.images.drop(columns="image").items():
            free = str(name)
            while free in coordinates or free in dataset.variables or free in dataset.sizes:
                free = f"image_{free}"  # a column may be called as an axis or a statistic is
            coordinates[free] = ("image", column.to_numpy())
        attributes = {name: value for name, value in self.identity.items() if value is not None}
        return dataset.assign_coords(coordinates).assign_attrs(layer=layer, **attributes)

    def blocks(self, layer: str) -> Iterator[NDArray[np.float32]]:
        """All activations, a shard after the other: (n, U), or (n, U, …positions)."""
        layer = self.resolve_layer(layer)
        return (self.block(layer, shard) for shard in self.shards())

    def block(self, layer: str, shard: Shard) -> NDArray[np.float32]:
        """The activations of a shard; NaN where it is not computed yet."""
        found = self._stored(layer, shard, read_shard)
        if found is None:
            return np.full((len(shard.rows), *self.shapes[layer]), np.nan, np.float32)
        return found[: len(shard.rows)]

    # Files

    def _layout(self, layer: str) -> Layout:
        return Layout(int(self.identity["shard_rows"]), self.shapes[layer])

    def _stored(
        self, layer: str, shard: Shard, read: Callable[[Path, Layout], NDArray[np.float32]]
    ) -> NDArray[np.float32] | None:
        """What is read of a shard's file; None where the shard is not committed."""
        file = self.path / shard_file(layer, shard.index, self.shapes[layer])
        if not self.is_complete and not (record_path(self.path, shard.index).is_file() and file.is_file()):
            return None
        found: NDArray[np.float32] = self._read(lambda: read(file, self._layout(layer)))
        return found

    def _group(self, layer: str) -> zarr.Group:
        group: zarr.Group = self._read(
            lambda: zarr_package().open_group(self.path, path=group_name(layer), mode="r", zarr_format=3)
        )
        return group

    def _read(self, reading: Callable[[], Any]) -> Any:
        try:
            return reading()
        except (OSError, KeyError, ValueError) as error:
            raise InputError(
                f"{self.path}: cannot be read ({error}); `interpscore extract --verify` tells which files are damaged"
            ) from None


def _indices(wanted: Sequence[int], count: int, what: str, place: str) -> NDArray[np.int64]:
    indices = np.asarray(wanted, dtype=np.int64)
    if wrong := indices[(indices < 0) | (indices >= count)].tolist():
        raise InputError(f"{place}: no {what} {wrong[0]}; expected 0 to {count - 1}")
    return indices


def export_paths(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The `.npz` of an export and the `.csv` beside it.

    Raises:
        InputError: the name of no `.npz` file.
    """
    npz = Path(path)
    if npz.suffix != ".npz":
        raise InputError(f"{npz}: expected the name of an .npz file")
    return npz, npz.with_suffix(".csv")


def export_npz(store: ActivationStore, path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write all activations to an `.npz` that `np.load` reads, one array a layer, and the image table to a `.csv`.

    Returns:
        The paths of the two.

    Raises:
        InputError: not the name of an `.npz` file; OutputError: they cannot be written.
    """
    npz, table = export_paths(path)
    try:
        with written_whole(table) as rows, written_whole(npz) as opened:
            with zipfile.ZipFile(opened, "w", allowZip64=True) as archive:
                for layer, shape in store.shapes.items():
                    with archive.open(f"{group_name(layer)}.npy", "w", force_zip64=True) as file:
                        header = {"descr": "<f4", "fortran_order": False, "shape": (len(store), *shape)}
                        np.lib.format.write_array_header_2_0(file, header)
                        for block in store.blocks(layer):
                            file.write(np.ascontiguousarray(block, "<f4").data)
            store.images.to_csv(rows, mode="wb", index_label="row", lineterminator="\n")
    except OSError as error:
        raise OutputError(f"{npz}: cannot be written ({error.strerror or error})") from None
    return npz, table
