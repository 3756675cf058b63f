"""Effects of a whole layer on many images, in a Parquet file that no interruption harms, with its origin in JSON beside.

Measured images go into the folder `<file>.parts`, some at a time, each part whole or not there. A stopped run goes on
with the parts that are missing; when all are there they become the file, and the folder goes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from filelock import FileLock, Timeout

from Activation_Extraction.base.errors import first_line
from Activation_Extraction.base.files import sha256_of, write_together, written_whole
from Activation_Extraction.base.progress import Advance
from Activation_Extraction.clip_helpers import ImageSource
from InterpScore.errors import InputError, OutputError
from InterpScore.interventions.layer import LayerInterventions
from InterpScore.interventions.measurement import (
    Measurement,
    about_measurement,
    effects_frame,
    text_embeddings,
)
from InterpScore.tables.effects import EFFECTS, FORMAT, MEAN_ABLATION

IMAGES_A_PART = 32
"""What a stopped run loses at most."""
PARTS_A_ROW_GROUP = 16
_SHOWN = 3


@dataclass(frozen=True)
class MeasurementReport:
    """What a run did.

    Attributes:
        path: the file; the JSON beside it has its origin.
        images, computed: images in the file, and those of them that this run measured.
        units: how many; about: what the JSON says.
        unreadable: a line for each image that could not be read; its row is empty.
        remarks: what a reader should know.
    """

    path: Path
    images: int
    computed: int
    units: int
    about: Mapping[str, Any]
    unreadable: list[str]
    remarks: list[str]


def measure_to_file(
    path: str | os.PathLike[str],
    names: Sequence[str],
    images: Sequence[ImageSource],
    layer: LayerInterventions,
    kinds: Sequence[str] = EFFECTS,
    concepts: Sequence[str | None] | None = None,
    progress: Callable[[int], Advance] | None = None,
) -> MeasurementReport:
    """Measure what interventions do on images, and write it as `interpscore score --causality` reads it.

    Args:
        path: a `.parquet` file to write, or to go on with.
        names: of the images, each once.
        images: in any form that `read_image` takes.
        kinds: of interventions, see `Measurement`.
        concepts: what each image shows, whose text it is compared with; None where that is not known.
        progress: called once with the number of images that earlier runs measured; what it returns is told of the rest.

    Raises:
        InputError: names that stand twice, or a file there that holds something else, each difference named.
        OutputError: it cannot be written, or another run is writing it.
    """
    target = Path(path)
    if target.suffix.lower() not in (".parquet", ".pq"):
        raise InputError(f"{target}: expected the name of a .parquet file to write")
    if len(set(names)) < len(names):
        twin = next(name for i, name in enumerate(names) if name in names[:i])
        raise InputError(f"image {twin!r} stands more than once; expected each image once")
    texts, why_no_text = text_embeddings(layer.model, [concept for concept in concepts or () if concept])
    texts_E = [texts.get(concept) if concept else None for concept in concepts] if concepts else None
    units = list(range(layer.count()) if layer.units is None else layer.units)
    identity = {
        **about_measurement(layer, kinds),
        "images": len(names),
        "images_sha256": _digest([names, list(concepts) if concepts else None]),
    }
    remarks = [f"toward_effect is missing: {why_no_text}"] if why_no_text else []
    with _Folder(target, identity) as folder:
        missing = folder.missing(len(names))
        advance = progress(len(names) - sum(map(len, missing))) if progress else None
        if missing:
            measurement = Measurement(layer, images, kinds, texts_E, folder.mean())
            if MEAN_ABLATION in kinds:
                folder.keep_mean(measurement.mean_U)
            for rows in missing:
                measured = list(measurement.of(rows, advance))
                frame = effects_frame([names[row] for row in rows], units, kinds, measured)
                folder.write(rows, pa.Table.from_pandas(frame, preserve_index=False))
        errors = folder.finish(len(names))
    return MeasurementReport(target, len(names), sum(map(len, missing)), len(units), identity, errors, remarks)


class _Folder:
    """The parts of a file of effects; a context manager that keeps every other run out."""

    def __init__(self, target: Path, identity: Mapping[str, Any]) -> None:
        self.target, self.beside = target, target.with_suffix(".json")
        self.identity = dict(json.loads(json.dumps(identity)))
        self.path = target.with_name(f"{target.name}.parts")
        self._lock = FileLock(self.path / ".lock", timeout=0)
        self._complete = False

    def __enter__(self) -> _Folder:
        with self._writing():
            if not self.target.parent.is_dir():
                raise OutputError(f"{self.target}: the folder {self.target.parent} does not exist; expected an existing folder")  # fmt: skip
            if self.target.is_dir():
                raise OutputError(f"{self.target}: is a folder; expected the name of a file to write")
            begun = self._recorded(self.path / "identity.json")
            there = self._recorded(self.beside) if self.target.exists() and begun is None else None
            if self.target.exists() and begun is None and there is None:
                raise InputError(f"{self.target}: is there, and not from this command; expected another name (-o)")
            self._refuse_other(begun or there)
            self._complete = there is not None
            if self._complete:
                return self
            self.path.mkdir(exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout:
                raise OutputError(f"{self.target}: another run is writing it; expected one at a time") from None
            write_together({self.path / "identity.json": json.dumps(self.identity, indent=1) + "\n"})
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def missing(self, images: int) -> list[range]:
        """The rows of the parts that are not there."""
        return [] if self._complete else [rows for rows in self._parts(images) if not self._file(rows).exists()]

    def write(self, rows: range, table: pa.Table) -> None:
        with self._writing():
            _write_parquet(self._file(rows), [table])

    def mean(self) -> torch.Tensor | None:
        """What was computed for mean-ablation before."""
        file = self.path / "mean.npy"
        return torch.from_numpy(np.load(file, allow_pickle=False)) if file.exists() else None

    def keep_mean(self, mean_U: torch.Tensor) -> None:
        file = self.path / "mean.npy"
        if not file.exists():
            with self._writing(), written_whole(file) as opened:
                np.save(opened, mean_U.numpy(), allow_pickle=False)

    def finish(self, images: int) -> list[str]:
        """Make the file of its parts; a line for each image that could not be read."""
        with self._writing():
            if not self._complete:
                files = [self._file(rows) for rows in self._parts(images)]
                groups = [files[at : at + PARTS_A_ROW_GROUP] for at in range(0, len(files), PARTS_A_ROW_GROUP)]
                _write_parquet(self.target, (pa.concat_tables(map(pq.read_table, group)) for group in groups))
                told = {"format": FORMAT, "sha256": sha256_of(self.target), **self.identity}
                write_together({self.beside: json.dumps(told, indent=1, ensure_ascii=False) + "\n"})
                self._lock.release()
                shutil.rmtree(self.path, ignore_errors=True)
            return [line for line in pq.read_table(self.target, columns=["error"])["error"].to_pylist() if line]

    def _parts(self, images: int) -> list[range]:
        return [range(at, min(at + IMAGES_A_PART, images)) for at in range(0, images, IMAGES_A_PART)]

    def _file(self, rows: range) -> Path:
        return self.path / f"{rows.start:08d}.parquet"

    def _recorded(self, file: Path) -> dict[str, Any] | None:
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(document, dict) or (file == self.beside and document.get("format") != FORMAT):
            return None
        return {name: value for name, value in document.items() if name not in ("format", "sha256")}

    def _refuse_other(self, found: Mapping[str, Any] | None) -> None:
        names = [name for name in self.identity if name not in ("interpscore", "torch", "weights")]
        different = [name for name in names if found is not None and found.get(name) != self.identity[name]]
        if found is not None and different:
            lines = [f"{self.target}: holds {name} {_said(found.get(name))}; asked for {_said(self.identity[name])}" for name in different]  # fmt: skip
            raise InputError(
                [*lines, f"{self.target}: is left as it is; expected the same again, or another file (-o)"]
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"{self.target}: cannot be written ({error.strerror or error})") from None
        except pa.ArrowException as error:
            raise OutputError(f"{self.path}: cannot be read or written ({first_line(error)})") from None


def _write_parquet(file: Path, tables: Sequence[pa.Table] | Iterator[pa.Table]) -> None:
    tables = iter(tables)
    first = next(tables)
    with written_whole(file) as opened, pq.ParquetWriter(opened, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _digest(what: Any) -> str:
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _said(value: Any) -> str:
    if isinstance(value, list) and len(value) > _SHOWN:
        return f"{value[:_SHOWN]} … ({len(value)})".replace("] …", ", …]")
    return str(value)
