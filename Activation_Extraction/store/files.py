"""The files of an activation store: which there are, what they are called, and reading the small ones.

`Activation_Extraction.store.reader` tells what each holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from Activation_Extraction.base.documents import parquet_file, read_json
from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.base.extras import install_command
from Activation_Extraction.base.files import check_file
from Activation_Extraction.base.names import file_name, folded
from Activation_Extraction.base.run_folder import LOCK
from Activation_Extraction.base.text import is_text
from Activation_Extraction.base.validation import validated

FORMAT = "interpscore activation store 1"
IMAGES, PROVENANCE, MANIFEST, COMPLETE = "images.parquet", "provenance.json", "manifest", "complete.json"
STATISTICS, HISTORY = "statistics.npz", "history.json"
METADATA = "zarr.json"

DAMAGE = (
    OSError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RuntimeError, MemoryError,
)  # fmt: skip
"""What Zarr and its codecs raise when they read damaged files; they promise nothing there."""

_DIMENSIONS: dict[int, tuple[str, ...]] = {1: ("unit",), 2: ("unit", "token"), 3: ("unit", "y", "x")}
_ROW_GROUP = 65_536
_AN_IMAGE_TABLE = "the image table of a store"


@dataclass(frozen=True)
class Shard:
    """The unit of work: consecutive rows."""

    index: int
    rows: range


# Names ------------------------------------------------------------------------------------------------------------------


def group_name(layer: str) -> str:
    """The group of a layer: its name as one part of a path."""
    return file_name(layer.replace("/", "."))


def check_groups(layers: Iterable[str]) -> None:
    """Refuse layers whose groups would be one, also on disks that do not tell capitals, or another file of the store.

    Raises:
        InputError: names the two.
    """
    files = (IMAGES, PROVENANCE, MANIFEST, COMPLETE, STATISTICS, HISTORY, LOCK, METADATA, "", ".", "..")
    taken = dict.fromkeys(files, "the store itself")
    for layer in layers:
        name = folded(group_name(layer))
        if name in taken or name.startswith("__"):
            raise InputError(
                f"layer {shown(layer)}: its folder '{name}' is that of {taken.get(name, 'Zarr')}; expected another store for it"
            )
        taken[name] = f"layer {shown(layer)}"


def shard_file(layer: str, index: int, shape: Sequence[int]) -> str:
    """The file of a layer's shard, relative to the store."""
    return "/".join([group_name(layer), "activation", "c", str(index), *["0"] * len(shape)])


def shard_files(shard: Shard, shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """The files of a shard, one a layer."""
    return [shard_file(layer, shard.index, shape) for layer, shape in shapes.items()]


def metadata_files(layers: Iterable[str]) -> list[str]:
    """Zarr's own files, relative to the store: of the root, of each layer's group and of its activations."""
    groups = [group_name(layer) for layer in layers]
    return [METADATA, *(f"{group}/{METADATA}" for group in groups), *(f"{g}/activation/{METADATA}" for g in groups)]


def dimensions(shape: Sequence[int]) -> tuple[str, ...]:
    """Names of the axes of a layer's array, given its shape behind the images."""
    return ("image", *_DIMENSIONS[len(shape)])


def spatial_mean(a: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, U, …) → (N, U)."""
    if a.ndim == 2:
        return a
    # Sums go by the order in memory: a copy in one order makes them those of the same numbers read again.
    positions = int(np.prod(a.shape[2:]))
    mean: NDArray[np.float32] = np.ascontiguousarray(a).reshape(*a.shape[:2], positions).mean(2)
    return mean


def read_provenance(folder: Path) -> dict[str, Any] | None:
    """What a store says it holds; None where there is no store.

    Raises:
        InputError: damaged, or of another format.
    """
    found = read_json(folder / PROVENANCE, folder)
    if found is None:
        return None
    if found.get("format") != FORMAT:
        raise InputError(f"{folder / PROVENANCE}: format {shown(found.get('format'))}; expected '{FORMAT}'")
    from Activation_Extraction.store.provenance import MOST_SHARDS, Provenance  # late: it loads pydantic

    source = str(folder / PROVENANCE)
    stated = validated(Provenance, found, source)
    shards = -(-stated.identity.rows // stated.identity.shard_rows)
    if shards > MOST_SHARDS:
        raise InputError(f"{source}, identity.shard_rows: {shards:,} shards; expected up to {MOST_SHARDS:,}")
    for alias, layer in stated.aliases.items():
        if layer not in stated.layers:
            raise InputError(f"{source}, aliases.{alias}: found {shown(layer)}; expected a layer of the store")
    return found


def read_record(folder: Path, shard: Shard, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any] | None:
    """The commit of a shard; None where it is missing or damaged, or its files are gone or of another size."""
    record = stated_record(folder, shard, shapes)
    try:
        whole = record and all(
            f["size"] == check_file(folder / name, folder).st_size for name, f in record["files"].items()
        )
    except OSError:
        return None
    return record if whole else None


def stated_record(folder: Path, shard: Shard, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any] | None:
    """The commit of a shard, whatever became of its files; None where it is missing or damaged."""
    try:
        record = read_json(record_path(folder, shard.index), folder) or {}
        files = {name: record["files"][name] for name in shard_files(shard, shapes)}
        known = (
            record["rows"] == [shard.rows.start, shard.rows.stop]
            and len(record["sha256"]) == len(record["errors"]) == len(shard.rows)
            and all(isinstance(file["size"], int) and isinstance(file["sha256"], str) for file in files.values())
            and all(digest is None or (isinstance(digest, str) and is_text(digest)) for digest in record["sha256"])
            and all(isinstance(error, str) and is_text(error) for error in record["errors"])
        )
    except (InputError, LookupError, TypeError, AttributeError):
        return None
    return {**record, "files": files} if known else None


def record_name(index: int) -> str:
    return f"{index:06d}"


def record_path(folder: Path, index: int) -> Path:
    return folder / MANIFEST / f"{record_name(index)}.json"


def count_images(folder: Path) -> int:
    """The number of rows of the image table, from its metadata."""
    with parquet_file(folder / IMAGES, _AN_IMAGE_TABLE, folder) as file:
        return int(file.metadata.num_rows)


def read_images(folder: Path) -> pa.Table:
    """The image table.

    Raises:
        InputError: it is missing, damaged, or without names.
    """
    with parquet_file(folder / IMAGES, _AN_IMAGE_TABLE, folder) as file:
        table = file.read().replace_schema_metadata()  # that of pandas would make an index of a column
        names = table.column_names
        if len(set(names)) < len(names) or "image" not in names or not pa.types.is_string(table["image"].type):
            raise InputError(f"{folder / IMAGES}: no column 'image' of text, or twins; expected {_AN_IMAGE_TABLE}")
        return table


def zarr_package() -> Any:
    try:
        import zarr  # late: it takes half a second, and scoring a table does not need it
    except ImportError:
        need = install_command("models")
        raise InputError(f"activation stores need zarr, which is not installed; type: {need}") from None
    return zarr


def as_parquet(table: pa.Table) -> bytes:
    content = BytesIO()
    pq.write_table(table, content, row_group_size=_ROW_GROUP)
    return content.getvalue()
