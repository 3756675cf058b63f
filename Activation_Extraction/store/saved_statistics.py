"""Statistics of an activation store on disk: those so far, while it is written, and the arrays of a complete one."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.documents import parse_npz
from Activation_Extraction.base.files import flush_below, read_bytes
from Activation_Extraction.store.files import (
    METADATA,
    STATISTICS,
    Shard,
    group_name,
    zarr_package,
)
from Activation_Extraction.store.unit_statistics import UnitStatistics, histogram_edges

_ARRAYS: dict[str, tuple[tuple[str, ...], Callable[[UnitStatistics], NDArray[Any]]]] = {
    "count": (("unit",), lambda s: s.count_U),
    "mean": (("unit",), lambda s: s.mean_U),
    "variance": (("unit",), lambda s: s.variance_U),
    "minimum": (("unit",), lambda s: s.minimum_U),
    "maximum": (("unit",), lambda s: s.maximum_U),
    "sparsity": (("unit",), lambda s: s.sparsity_U),
    "histogram": (("unit", "bin"), lambda s: s.histogram_UB),
    "histogram_edges": (("edge",), lambda s: histogram_edges()),
    "top_activation": (("unit", "rank"), lambda s: s.top_activation_UK),
    "top_image": (("unit", "rank"), lambda s: s.top_image_UK),
}
"""Beside the activations in the group of a layer: names of the axes, and what they hold."""

_DIGEST = hashlib.sha256().digest_size


_ZSTD_LEVEL = 0
"""Zarr's own choice of compression."""


def write_arrays(folder: Path, layer: str, statistics: UnitStatistics) -> None:
    """Write the statistics of a layer into its group, where none are.

    They are the files that Zarr writes for arrays of one chunk, without its many steps for each.
    """
    from numcodecs.zstd import Zstd  # late: it comes with Zarr

    files = iter(files_of_arrays([layer]))
    for dimension_names, values_of in _ARRAYS.values():
        values = values_of(statistics)
        little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        contents = _metadata(values.shape, values.dtype.name, dimension_names), Zstd(level=_ZSTD_LEVEL).encode(little)
        for content in contents:
            path = folder / next(files)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    flush_below(folder, files_of_arrays([layer]))


@cache
def _metadata(shape: tuple[int, ...], dtype: str, dimension_names: tuple[str, ...]) -> bytes:
    """What Zarr states of an array of one chunk."""
    zarr = zarr_package()
    files: dict[str, Any] = {}
    zarr.create_array(
        zarr.storage.MemoryStore(files), shape=shape, dtype=dtype, chunks=shape, dimension_names=dimension_names,
        fill_value=float("nan") if np.dtype(dtype).kind == "f" else 0, zarr_format=3,
        compressors=zarr.codecs.ZstdCodec(level=_ZSTD_LEVEL),
    )  # fmt: skip
    return bytes(files[METADATA].to_bytes())


def remove_arrays(folder: Path, layers: Iterable[str]) -> None:
    """Remove what a stopped end left of them; after a loss of power it may be files without content."""
    for layer in layers:
        for name in _ARRAYS:
            shutil.rmtree(folder / group_name(layer) / name, ignore_errors=True)


def files_of_arrays(layers: Iterable[str]) -> list[str]:
    """The files that `write_arrays` writes, relative to the store: the metadata of an array, and its only chunk."""
    return [
        f"{group_name(layer)}/{name}/{file}"
        for layer in layers
        for name, (dimension_names, _) in _ARRAYS.items()
        for file in (METADATA, "/".join(["c", *["0"] * len(dimension_names)]))
    ]


def read_arrays(group: Any, units: int, rows: int) -> UnitStatistics:
    """What `write_arrays` wrote into the group of a layer with so many units, in a store with so many images.

    Raises:
        ValueError: arrays of other types or shapes. They are checked before anything of their size is made.
    """
    sizes = {"unit": units, "bin": len(histogram_edges()) - 1, "rank": rows}

    def read(name: str) -> NDArray[Any]:
        array, axes = group[name], _ARRAYS[name][0]
        fits = [
            n <= sizes[axis] if axis == "rank" else n == sizes[axis] for axis, n in zip(axes, array.shape, strict=True)
        ]
        if not all(fits) or array.chunks != array.shape or array.dtype.kind not in "iuf":
            raise ValueError(f"{name}: {array.dtype} of shape {array.shape}")
        return np.asarray(array[...])

    count_U, variance_U = read("count"), read("variance")
    top_activation_UK, top_image_UK = read("top_activation"), read("top_image")
    if top_activation_UK.shape != top_image_UK.shape or not ((top_image_UK >= -1) & (top_image_UK < rows)).all():
        raise ValueError("top_image: images that are none of the store")
    return UnitStatistics(
        count_U=count_U,
        mean_U=read("mean"),
        m2_U=np.where(count_U > 1, variance_U * (count_U - 1), 0),
        minimum_U=read("minimum"),
        maximum_U=read("maximum"),
        inactive_U=np.rint(np.nan_to_num(read("sparsity")) * count_U).astype(np.int64),
        histogram_UB=read("histogram"),
        top_activation_UK=top_activation_UK,
        top_image_UK=top_image_UK,
    )


# So far ---------------------------------------------------------------------------------------------------------------


class StatisticsSoFar(NamedTuple):
    """Statistics of the first shards, `through` of them; of no layer where there are none."""

    through: int
    of: dict[str, UnitStatistics]


def so_far_as_bytes(state: StatisticsSoFar) -> bytes:
    """The file of statistics so far: an `.npz`, with its SHA-256 behind it."""
    arrays = {f"{layer}|{name}": a for layer, part in state.of.items() for name, a in part.arrays().items()}
    content = BytesIO()
    np.savez(content, allow_pickle=False, through=np.int64(state.through), **arrays)
    with content.getbuffer() as written:
        digest = hashlib.sha256(written).digest()
    content.write(digest)
    return content.getvalue()


def read_so_far(folder: Path, layers: Mapping[str, int], missing: Collection[Shard]) -> StatisticsSoFar:
    """The statistics saved so far, of layers with so many units; empty where they are damaged or one of their shards is missing, to be recounted."""
    nothing = StatisticsSoFar(0, {})
    try:
        found = read_bytes(folder / STATISTICS, folder)
    except OSError:
        return nothing
    content, digest = found[:-_DIGEST], found[-_DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        return nothing
    try:
        file = parse_npz(content)
        through = int(file["through"])
        if any(shard.index < through for shard in missing):
            return nothing
        of = {
            layer: _checked({name: file[f"{layer}|{name}"] for name in UnitStatistics.names()}, units)
            for layer, units in layers.items()
        }
    except (ValueError, LookupError, TypeError):
        return nothing
    return StatisticsSoFar(through, of) if through > 0 else nothing


def _checked(arrays: Mapping[str, NDArray[Any]], units: int) -> UnitStatistics:
    """The statistics of so many units; ValueError where arrays are of other types or shapes."""
    statistics = UnitStatistics.from_arrays(arrays)
    shapes = {name: array.shape for name, array in arrays.items()}
    of_units = {name: shape for name, shape in shapes.items() if not name.endswith(("_UB", "_UK"))}
    if (
        any(array.dtype.kind not in "iuf" for array in arrays.values())
        or any(shape != (units,) for shape in of_units.values())
        or statistics.histogram_UB.shape != (units, len(histogram_edges()) - 1)
        or statistics.top_image_UK.shape[:-1] != (units,)
        or statistics.top_image_UK.shape != statistics.top_activation_UK.shape
    ):
        raise ValueError("arrays of other types or shapes")
    return statistics
