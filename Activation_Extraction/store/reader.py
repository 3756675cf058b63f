"""The activation store: whole layers of an image set in a folder, read by unit or by image.

    store = ActivationStore.open("acts.zarr")
    store.unit("layer4.5", 89)                  # one unit on every image, in the order of the image table
    store.rows("layer4.5", [3, 14])             # every unit on some images
    store.dataset("layer4.5")                   # lazily, in xarray, with names of images
    store.statistics("layer4.5").top_image_UK

The folder is a Zarr v3 hierarchy with one group per layer, and a few more files:

    layer4.5/activation/    (image, unit), sharded by rows; a chunk has a few units on all images of its shard
    layer4.5/mean/ …        statistics, once the store is complete
    images.parquet          the image table; once complete, with each image's SHA-256 and error
    provenance.json         the identity of the store: model, layers, images, settings
    manifest/000012.json    for each committed shard: its files with size and SHA-256, its images
    statistics.npz          statistics of the shards so far; removed once complete
    complete.json           size and SHA-256 of all other files, once complete
    history.json            when and with which versions it was written; not part of the identity

Reading executes nothing in it, and follows no path out of the folder. This file loads no torch.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import InputError, OutputError, did_you_mean, first_line, shown
from Activation_Extraction.base.files import check_file, written_whole
from Activation_Extraction.base.run_folder import different_makings
from Activation_Extraction.base.text import html_table, write_csv
from Activation_Extraction.store.files import (
    COMPLETE,
    DAMAGE,
    IMAGES,
    PROVENANCE,
    Shard,
    count_images,
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

T = TypeVar("T")


class ActivationStore:
    """A store opened for reading, by `open`.

    Attributes:
        path: of the folder.
        identity: model, weights and their hash, preprocessing, pooling, backend, precision, the fingerprint of the
            image set, its number of rows, rows of a shard.
        shapes: layer → its shape for one image: (units,), or with pooling "none" (units, y, x) or (units, token).
    """

    def __init__(self, path: Path, provenance: Mapping[str, Any]) -> None:
        self.path = path
        self.identity: dict[str, Any] = dict(provenance["identity"])
        self.shapes: dict[str, tuple[int, ...]] = {name: tuple(shape) for name, shape in provenance["layers"].items()}
        self._aliases: dict[str, str] = dict(provenance["aliases"])

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> ActivationStore:
        """The store in a folder, complete or not.

        Raises:
            InputError: there is no store, or it is damaged.
        """
        folder = Path(path)
        if not folder.is_dir():
            found = "is a file" if folder.exists() else "no such folder"
            raise InputError(f"{folder}: {found}; expected an activation store")
        if (provenance := read_provenance(folder)) is None:
            raise InputError(f"{folder}: has no {PROVENANCE}; expected an activation store")
        return cls(folder, provenance)

    # Contents

    @property
    def layers(self) -> list[str]:
        return list(self.shapes)

    def __len__(self) -> int:
        """Number of images, computed or not.

        Raises:
            InputError: the image table is damaged, or has other rows.
        """
        return self._count

    @cached_property
    def _count(self) -> int:
        rows, found = int(self.identity["rows"]), count_images(self.path)
        if rows != found:
            raise InputError(f"{self.path / PROVENANCE}, identity.rows: {rows:,}; expected {found:,}, as {IMAGES} has")
        return rows

    @property
    def made_with(self) -> list[dict[str, Any]]:
        """Versions of libraries, processor and threads that shards were computed with; one where all had the same."""
        return different_makings(read_json(record_path(self.path, shard.index), self.path) for shard in self.shards())

    @property
    def is_complete(self) -> bool:
        return (self.path / COMPLETE).is_file()

    def shards(self) -> list[Shard]:
        """Every shard, committed or not."""
        rows, step = int(self.identity["rows"]), int(self.identity["shard_rows"])
        return [Shard(i, range(s, min(s + step, rows))) for i, s in enumerate(range(0, rows, step))]

    def missing_shards(self) -> list[Shard]:
        """Shards that are not committed, or whose files are missing or have another size."""
        if self.is_complete:
            return []
        return [shard for shard in self.shards() if read_record(self.path, shard, self.shapes) is None]

    @cached_property
    def images(self) -> pd.DataFrame:
        """The image table: `image`, the set's own columns, `sha256` and `error` ("" if none), missing until computed."""
        rows, table = len(self), read_images(self.path).to_pandas()
        assert len(table) == rows
        if self.is_complete:
            if missing := {"sha256", "error"} - {*table}:
                found = f"no column '{min(missing)}'"
                raise InputError(f"{self.path / IMAGES}: {found}; expected the image table of a complete store")
            return table
        sha256, errors = self.image_records()
        return table.assign(sha256=sha256, error=errors)

    def image_records(self) -> tuple[list[str | None], list[str | None]]:
        """SHA-256 and error of each image, from the manifest; None if not computed yet."""
        sha256: list[str | None] = [None] * len(self)
        errors: list[str | None] = [None] * len(self)
        for shard in self.shards():
            if (record := read_record(self.path, shard, self.shapes)) is not None:
                rows = slice(shard.rows.start, shard.rows.stop)
                sha256[rows], errors[rows] = record["sha256"], record["errors"]
        return sha256, errors

    def several_pictures(self) -> list[int]:
        """Rows whose files have more pictures than the first, which alone was read: animations, files of several pages."""
        records = (read_record(self.path, shard, self.shapes) or {} for shard in self.shards())
        return [row for record in records for row in record.get("several", ()) if isinstance(row, int)]

    def resolve_layer(self, name: str) -> str:
        """The store's name for a layer, given any of its names.

        Raises:
            InputError: no such layer.
        """
        found = self._aliases.get(name, name)
        if found not in self.shapes:
            hint = did_you_mean(name, [*self.shapes, *self._aliases])
            raise InputError(f"{self.path}: no layer {shown(name)}{hint}; it has {', '.join(self.shapes)}")
        return found

    def vouched_files(self) -> list[str]:
        """Names of the files whose hashes are in `COMPLETE`; those of shards are in the manifest."""
        records = [record_path(self.path, shard.index).relative_to(self.path).as_posix() for shard in self.shards()]
        return [PROVENANCE, IMAGES, *metadata_files(self.shapes), *records, *files_of_arrays(self.shapes)]

    # Reading

    def unit(self, layer: str, unit: int) -> NDArray[np.float32]:
        """One unit on every image: (N,), or (N, …positions) with pooling "none"; NaN for missing values."""
        values: NDArray[np.float32] = self.units(layer, [unit], positions=True)[:, 0]
        return values

    def units(self, layer: str, units: Sequence[int], *, positions: bool = False) -> NDArray[np.float32]:
        """Some units on every image.

        Args:
            positions: with pooling "none", keep the positions instead of their mean.

        Returns:
            (N, n), or (N, n, …positions); NaN for images that could not be read or are not computed yet.

        Raises:
            InputError: no such unit.
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
        """Every unit on some images, in the order given, duplicates included: (n, U), or (n, U, …positions).

        Raises:
            InputError: no such row.
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
        """Statistics of each unit (of its spatial mean with pooling "none") over the images computed so far.

        Raises:
            InputError: no shard is computed yet.
        """
        layer = self.resolve_layer(layer)
        if not self.is_complete:
            return self._statistics_so_far(layer)
        self._check_files([*metadata_files([layer]), *files_of_arrays([layer])])
        open_group = zarr_package().open_group
        group = self._read(lambda: open_group(self.path, path=group_name(layer), mode="r", zarr_format=3))
        return self._read(lambda: read_arrays(group, self.shapes[layer][0], len(self)))

    def _statistics_so_far(self, layer: str) -> UnitStatistics:
        missing = self.missing_shards()
        state = read_so_far(self.path, {name: shape[0] for name, shape in self.shapes.items()}, missing)
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

    def to_frame(self, layer: str | None = None, units: Sequence[int] | None = None) -> pd.DataFrame:
        """Activations as a table: a row for each image, by its name, and a column for each unit, by its number.

        Args:
            layer: by any of its names; None where the store has only one.
            units: all by default, which must fit into memory.

        Raises:
            InputError: several layers to choose from; no such layer or unit.
        """
        import pandas as pd

        if layer is None and len(self.layers) > 1:
            raise InputError(f"{self.path}: layer: none given; expected one of {', '.join(self.layers)}")
        layer = self.resolve_layer(self.layers[0] if layer is None else layer)
        chosen = range(self.shapes[layer][0]) if units is None else units
        names = pd.Index(self.images["image"], name="image")
        return pd.DataFrame(self.units(layer, list(chosen)), names, pd.Index(list(chosen), name="unit"))

    def _repr_html_(self) -> str:
        """What a notebook shows: a row for each layer, and what is odd about the images."""
        rows: list[list[object]] = []
        for layer, shape in self.shapes.items():
            about: list[object] = [layer, f"{shape[0]:,}", "×".join(map(str, shape[1:])) or "–"]
            try:
                statistics = self.statistics(layer)
            except InputError:
                about += ["–", "–"]
            else:
                mean_U = statistics.mean_U[np.isfinite(statistics.mean_U)]
                silent = int((statistics.maximum_U <= 0).sum())
                about += [f"{mean_U.mean():.4g}" if len(mean_U) else "–", f"{silent:,}"]
            rows.append(about)
        missing = sum(len(shard.rows) for shard in self.missing_shards())
        errors = self.images["error"].fillna("")
        notes = [f"unfinished: {missing:,} images are still to be computed"] if missing else []
        notes += (
            [f"{len(broken):,} image{'s' if len(broken) > 1 else ''} could not be read, such as {broken.iloc[0]}"]
            if len(broken := errors[errors != ""])
            else []
        )
        known = ", ".join(
            str(self.identity[name]) for name in ("model", "preprocessing", "pooling") if self.identity.get(name)
        )
        title = f"{self.path.name}: {len(self):,} images" + (f" ({known})" if known else "")
        return html_table(["Layer", "Units", "Positions", "Mean activation", "Never active"], rows, title, notes)

    def dataset(self, layer: str) -> xr.Dataset:
        """A layer in xarray, read lazily, with the columns of the image table as coordinates."""
        import xarray as xr

        layer = self.resolve_layer(layer)
        self._check_files([*metadata_files([layer]), *(files_of_arrays([layer]) if self.is_complete else ())])
        self._check_files(shard_file(layer, shard.index, self.shapes[layer]) for shard in self.shards())
        dataset: xr.Dataset = self._read(lambda: xr.open_zarr(self.path, group=group_name(layer), chunks=None))
        coordinates = {"unit": ("unit", np.arange(self.shapes[layer][0]))}
        for name, column in self.images.items():
            free = str(name)
            while name != "image" and (free in coordinates or free in dataset.variables or free in dataset.sizes):
                free = f"image_{free}"  # a column may have the name of an axis or a statistic
            coordinates[free] = ("image", column.to_numpy())
        attributes = {name: value for name, value in self.identity.items() if value is not None}
        attributes |= {f"model_{name}": value for name, value in attributes.pop("provenance", {}).items()}
        return dataset.assign_coords(coordinates).assign_attrs(layer=layer, **attributes)

    def blocks(self, layer: str) -> Iterator[NDArray[np.float32]]:
        """All activations, shard by shard: (n, U), or (n, U, …positions)."""
        layer = self.resolve_layer(layer)
        return (self.block(layer, shard) for shard in self.shards())

    def block(self, layer: str, shard: Shard) -> NDArray[np.float32]:
        """The activations of a shard; NaN if not computed yet."""
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
        """The result of reading a shard's file; None if the shard is not committed."""
        file = self.path / shard_file(layer, shard.index, self.shapes[layer])
        if not self.is_complete and not (record_path(self.path, shard.index).is_file() and file.is_file()):
            return None
        self._check_files([shard_file(layer, shard.index, self.shapes[layer])])
        return self._read(lambda: read(file, self._layout(layer)))

    def _check_files(self, names: Iterable[str]) -> None:
        """See to it that what Zarr and `shards` read are files of the store, and no links."""
        for name in names:
            with suppress(FileNotFoundError):  # which they report, or take for a shard that is not computed yet
                self._read(lambda name=name: check_file(self.path / name, self.path))  # type: ignore[misc]

    def _read(self, reading: Callable[[], T]) -> T:
        try:
            return reading()
        except InputError:
            raise
        except DAMAGE as error:
            raise InputError(
                f"{self.path}: cannot be read ({first_line(error)}); `interpscore extract --verify` tells which files are damaged"
            ) from None


def _indices(wanted: Sequence[int], count: int, what: str, place: str) -> NDArray[np.int64]:
    indices = np.asarray(wanted, dtype=np.int64)
    if wrong := indices[(indices < 0) | (indices >= count)].tolist():
        raise InputError(f"{place}: no {what} {wrong[0]}; expected 0 to {count - 1}")
    return indices


def export_paths(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The `.npz` and `.csv` of an export; raises `InputError` unless the name ends with `.npz`."""
    npz = Path(path)
    if npz.suffix != ".npz":
        raise InputError(f"{npz}: expected the name of an .npz file")
    return npz, npz.with_suffix(".csv")


def export_npz(store: ActivationStore, path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write all activations to an `.npz` for `np.load`, one array per layer, and the image table to a `.csv`.

    Returns:
        Both paths.

    Raises:
        InputError: the name does not end with `.npz`; OutputError: they cannot be written.
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
            write_csv(store.images, rows, index_label="row")
    except OSError as error:
        raise OutputError(f"{npz}: cannot be written ({error.strerror or error})") from None
    return npz, table
