"""Images packed with others: tar shards, read by their headers, and Hugging Face datasets."""

from __future__ import annotations

import os
import tarfile
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from Activation_Extraction.base.documents import parse_json
from Activation_Extraction.base.errors import InputError, first_line, shown
from Activation_Extraction.base.extras import install_command
from Activation_Extraction.base.files import open_file
from Activation_Extraction.images.formats import is_image, suffix_of
from Activation_Extraction.images.listing import (
    Listing,
    concepts_of,
    filled_folders,
    lost_file,
    lost_folder,
    with_concepts,
)
from Activation_Extraction.images.places import FilePart
from Activation_Extraction.images.tables import names_of_paths
from Activation_Extraction.images.text_tables import plain_columns

_LABELS = (".cls", ".json", ".txt")
_LONGEST_LABEL = 4096
"""Bytes; longer text files are not labels."""


def list_tar(path: str) -> Listing:
    """The images in a tar file, in its order; links, devices, hidden files and unprintable names are skipped.

    Raises:
        InputError: the file is missing, compressed, cut off or damaged, or contains no image.
    """
    parts: dict[str, tuple[int, int]] = {}
    labels: dict[str, dict[str, str]] = {}
    others: Counter[str] = Counter()
    try:
        with open_file(path) as file:
            for member in _members(file, path):
                name = member.name.removeprefix("./")
                if not member.isfile() or member.issparse() or not _is_plain(name):
                    continue
                if is_image(name):
                    parts.pop(name, None)  # the last of several with one name counts, as when unpacking
                    parts[name] = member.offset_data, member.size
                elif name.endswith(_LABELS) and member.size <= _LONGEST_LABEL:
                    file.seek(member.offset_data)
                    if label := _label(name, file.read(member.size)):
                        labels.setdefault(_stem(name), {})[name[name.rfind(".") :]] = label
                else:
                    others[suffix_of(name)] += 1
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); expected a tar file") from None
    if not parts:
        raise InputError(f"{path}: no image in this tar file; expected files such as .jpg or .png")
    names = pa.chunked_array([pa.array(parts, pa.string())])
    concepts = concepts_of(names)
    if labels:
        beside = [_first(labels.get(_stem(name), {})) for name in parts]
        concepts = pc.coalesce(pa.chunked_array([pa.array(beside, pa.string())]), concepts)
    offsets, sizes = (array("q", values) for values in zip(*parts.values(), strict=True))
    members = TarMembers(os.path.abspath(path), offsets, sizes)
    return Listing(with_concepts(names, concepts), members, PurePath(members.path), is_archive=True, others=others)


@dataclass(frozen=True, eq=False)
class TarMembers:
    """Rows that are parts of a tar file."""

    path: str
    offsets: array[int]
    sizes: array[int]

    def where(self, row: int) -> FilePart:
        return FilePart(self.path, self.offsets[row], self.sizes[row])

    def lost(self, row: int) -> str | None:
        return lost_file(self.path)


def _members(file: BinaryIO, path: str) -> Iterator[tarfile.TarInfo]:
    """The members of a tar file, from their headers alone; tarfile's own list of them is emptied to save memory."""
    end = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while member := tar.next():
                yield member
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                tar.members = []  # type: ignore[attr-defined]
    except tarfile.TarError as error:
        raise InputError(f"{path}: cut off, damaged or compressed ({error}); expected a plain tar file") from None
    file.seek(end)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or any(block):
        raise InputError(f"{path}: cut off or damaged at byte {end:,}; expected a complete tar file")


def _is_plain(name: str) -> bool:
    """Whether a member's name is printable text, relative and not hidden."""
    return name.isprintable() and not any(part.startswith(("/", ".")) for part in PurePosixPath(name).parts)


def _stem(name: str) -> str:
    """The part of a name that files of one sample share: up to the first dot of the file name."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _label(name: str, data: bytes) -> str | None:
    """The concept that a label file names, or None."""
    try:
        text = data.decode().strip()
        if name.endswith(".json"):
            found = parse_json(data, name)
            known = found.get("concept", found.get("label"))
            text = str(known) if isinstance(known, str | int) else ""
    except ValueError:
        return None
    return text if text and "\n" not in text else None


def _first(labels: dict[str, str]) -> str | None:
    return next((labels[kind] for kind in _LABELS if kind in labels), None)


# Hugging Face -------------------------------------------------------------------------------------------------------


def is_saved_dataset(folder: str) -> bool:
    """Whether `save_to_disk` of the library datasets wrote this folder."""
    several, state, info = (
        os.path.isfile(os.path.join(folder, name)) for name in ("dataset_dict.json", "state.json", "dataset_info.json")
    )
    return several or (state and info)


def list_dataset(name: str, split: str | None, *, saved: bool) -> Listing:
    """The rows of a Hugging Face dataset, in its order; images are not decoded.

    Args:
        name: a folder that `save_to_disk` wrote (`saved`), or an argument of `load_dataset`.

    Raises:
        InputError: the library datasets is missing or cannot read it; no such split; no image column, or several.
    """
    try:
        import datasets  # late: it takes a second, and few sets need it
    except ImportError:
        need = install_command("datasets")
        raise InputError(f"{name}: needs the library datasets, which is not installed; type: {need}") from None
    try:
        found = datasets.load_from_disk(name) if saved else datasets.load_dataset(name)
    except Exception as error:  # a damaged dataset can break the library anywhere
        raise InputError(f"{name}: the library datasets cannot read it ({first_line(error)})") from None
    dataset = _split(name, found, split)
    column = _image_column(name, dataset)
    images = dataset.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    blocks = [pc.struct_field(block[column], "path") for block in images.with_format("arrow").iter(batch_size=1024)]
    paths = pa.chunked_array([chunk for block in blocks for chunk in block.chunks], pa.string())
    plain = [key for key in plain_columns(dataset.features.arrow_schema) if key not in ("image", column)]
    values = dataset.select_columns(plain).with_format("arrow")[:] if plain else pa.table({})
    labels = [key for key in plain if isinstance(dataset.features[key], datasets.ClassLabel)]
    known = {key: values[key] for key in plain}
    known |= {key: _classes(values[key], dataset.features[key].names) for key in labels}
    if "concept" not in known and len(labels) == 1:
        known = {"concept": known[labels[0]], **known}
    home = PurePath(os.path.abspath(name)) if os.path.exists(name) else PurePath(name)
    table = pa.table({"image": names_of_paths(paths), **known})
    places = DatasetRows(images, column, filled_folders(os.getcwd(), paths.drop_null()))
    return Listing(table, places, home, options=frozenset({"split"}))


@dataclass(frozen=True, eq=False)
class DatasetRows:
    """Rows of a Hugging Face dataset: its image column, not decoded, holds bytes or paths of files."""

    images: Any
    column: str
    filled: frozenset[str]

    def where(self, row: int) -> FilePart | bytes:
        try:
            record = self.images[row][self.column] or {}
        except OSError as error:
            raise InputError(f"image {row} of a dataset: cannot be read any more ({error})") from None
        data = record.get("bytes")
        return FilePart(record.get("path") or "") if data is None else bytes(data)

    def lost(self, row: int) -> str | None:
        place = self.where(row)
        return lost_folder(os.path.abspath(place.path), self.filled) if isinstance(place, FilePart) else None


def _split(name: str, found: Any, split: str | None) -> Any:
    import datasets

    if not isinstance(found, datasets.DatasetDict):
        if split is not None and str(found.split) != split:
            raise InputError(f"{name}: no split {shown(split)}; it has {found.split}")
        return found
    if split is None and len(found) == 1:
        return next(iter(found.values()))
    if split not in found:
        wanted = "several splits" if split is None else f"no split {shown(split)}"
        raise InputError(f"{name}: {wanted}; expected one of {', '.join(found)} as split")
    return found[split]


def _image_column(name: str, dataset: Any) -> str:
    import datasets

    columns = [key for key, feature in dataset.features.items() if isinstance(feature, datasets.Image)]
    if "image" in columns:
        return "image"
    if len(columns) == 1:
        return str(columns[0])
    found = f"images in {', '.join(columns)}" if columns else f"the columns {', '.join(dataset.features)}"
    raise InputError(f"{name}: {found}; expected one column of images, or one named 'image'")


def _classes(codes: pa.ChunkedArray, names: list[str]) -> pa.Array:
    """Class numbers as class names; -1 and null become null."""
    known = pc.if_else(pc.less(codes, 0), None, codes)
    return pa.array(names, pa.string()).take(known.combine_chunks())
