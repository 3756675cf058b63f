"""Effects of a whole layer on many images, in a Parquet file that no interruption harms, with its origin in JSON beside.

The job's folder is `<file>.parts`: its parts are batches of images. When all are done they become the file, and the
folder goes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from Activation_Extraction.base.documents import parquet_file, read_json
from Activation_Extraction.base.engine import Engine, local
from Activation_Extraction.base.errors import first_line
from Activation_Extraction.base.files import as_json, flush, read_bytes, sha256_of, written_whole
from Activation_Extraction.base.progress import Advance
from Activation_Extraction.base.run_folder import RunFolder, different_makings, refuse_other, remarks_on
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
"""What an interrupted run loses at most."""
PARTS_A_ROW_GROUP = 16


@dataclass(frozen=True)
class MeasurementReport:
    """What a run did.

    Attributes:
        path: the file; the JSON of the same name has its provenance.
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
    engine: Engine = local,
) -> MeasurementReport:
    """Measure what interventions do on images, and write it as `interpscore score --causality` reads it.

    Args:
        path: a `.parquet` file to write, or to resume.
        names: of the images, each once.
        images: in any form that `read_image` takes.
        kinds: of interventions, see `Measurement`.
        concepts: what each image shows, whose text it is compared with; None where that is not known.
        progress: called once with the number of images that earlier runs measured; returns the `Advance` for the rest.
        engine: where batches are measured.

    Raises:
        InputError: names that appear twice, or a file there that holds something else, each difference named.
        OutputError: it cannot be written, or another run is writing it.
    """
    target = Path(path)
    if target.suffix.lower() not in (".parquet", ".pq"):
        raise InputError(f"{target}: expected the name of a .parquet file to write")
    if target.is_dir():
        raise OutputError(f"{target}: is a folder; expected the name of a file to write")
    if len(set(names)) < len(names):
        twin = next(name for i, name in enumerate(names) if name in names[:i])
        raise InputError(f"image {twin!r} appears more than once; expected each image once")
    texts, why_no_text = text_embeddings(layer.model, [concept for concept in concepts or () if concept])
    texts_E = [texts.get(concept) if concept else None for concept in concepts] if concepts else None
    identity = {
        **about_measurement(layer, kinds),
        "images": len(names),
        "images_sha256": _digest([names, list(concepts) if concepts else None]),
    }
    job = MeasuringJob(layer, names, images, list(kinds), texts_E)
    computed = _EffectsFile(target, identity, job, engine).complete(progress)
    with parquet_file(target, "the effects as they were written") as file:
        errors = [line for line in file.read(columns=["error"])["error"].to_pylist() if line]
    remarks = [f"toward_effect is missing: {why_no_text}"] if why_no_text else []
    about = read_json(target.with_suffix(".json"), target.parent) or {}
    remarks += remarks_on(about.get("made_with", ()))
    units = layer.count() if layer.units is None else len(layer.units)
    return MeasurementReport(target, len(names), computed, units, about, errors, remarks)


@dataclass(frozen=True, eq=False)
class MeasuringJob:
    """The job whose parts are batches of images, given by their rows; see `Measurement`.

    Attributes:
        names: of the images.
    """

    layer: LayerInterventions
    names: Sequence[str]
    images: Sequence[ImageSource]
    kinds: list[str]
    texts_E: Sequence[Tensor | None] | None
    mean_U: Tensor | None = None

    @property
    def measurement(self) -> Measurement:
        return Measurement(self.layer, self.images, self.kinds, self.texts_E, self.mean_U)

    def compute(self, parts: Iterator[range], advance: Advance) -> Generator[tuple[range, bytes]]:
        """Measure batches; each gives the bytes of a Parquet file."""
        measurement = self.measurement
        units = list(range(self.layer.count()) if self.layer.units is None else self.layer.units)
        for rows in parts:
            measured = list(measurement.of(rows, advance))
            frame = effects_frame([self.names[row] for row in rows], units, self.kinds, measured)
            content = BytesIO()
            pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), content)
            yield rows, content.getvalue()


@dataclass(frozen=True)
class _EffectsFile:
    """A file of effects, and what makes it."""

    target: Path
    identity: Mapping[str, Any]
    job: MeasuringJob
    engine: Engine

    def complete(self, progress: Callable[[int], Advance] | None) -> int:
        """Measure what is missing, and make the file; how many images were measured."""
        computed, parts = 0, self.target.with_name(f"{self.target.name}.parts")
        if self._is_finished() and not parts.exists():
            return computed
        if self.target.exists() and not parts.exists():
            raise InputError(f"{self.target}: is there, and not from this command; expected another name (-o)")
        with RunFolder(parts, self.job.layer.model.made_with, shown_as=self.target) as folder:
            if not self._is_finished():  # another run may just have done it
                computed = self._measure(folder, progress)
                try:
                    self._finish(folder)
                except (pa.ArrowException, ValueError) as error:
                    found = f"its parts cannot be joined ({first_line(error)})"
                    raise InputError(f"{parts}: {found}; expected the folder removed, to measure again") from None
            shutil.rmtree(parts, ignore_errors=True)
        return computed

    def _is_finished(self) -> bool:
        """Whether the file and its origin are there, and what is asked for."""
        about = read_json(self.target.with_suffix(".json"), self.target.parent) if self.target.is_file() else None
        if about is None or about.get("format") != FORMAT or about.get("sha256") != sha256_of(self.target):
            return False
        self._refuse_other(about)
        return True

    def _refuse_other(self, held: Mapping[str, Any] | None) -> None:
        refuse_other(self.target, held, self.identity, "another file (-o)")

    def _measure(self, folder: RunFolder, progress: Callable[[int], Advance] | None) -> int:
        self._refuse_other(read_json(folder.path / "identity.json"))
        folder.write("identity.json", as_json(self.identity))
        missing = folder.missing(self._parts(), _name)
        left = sum(map(len, missing))
        advance: Advance = progress(len(self.job.names) - left) if progress else lambda count: None
        if missing:
            job = replace(self.job, mean_U=self._mean_U(folder)) if MEAN_ABLATION in self.job.kinds else self.job
            self.engine([job], missing, lambda rows, content: folder.keep(_name(rows), {_file(rows): content}), advance)
        return left

    def _mean_U(self, folder: RunFolder) -> Tensor:
        """The mean of every unit, for mean-ablation; computed once, since it takes a run over all images."""
        file = folder.path / "mean.npy"
        with suppress(OSError, ValueError):  # missing or damaged
            found = np.load(BytesIO(read_bytes(file, folder.path)), allow_pickle=False)
            if found.shape == (self.job.layer.count(),) and found.dtype == np.float64:
                return torch.from_numpy(found)
        content = BytesIO()
        mean_U = self.job.measurement.mean_U
        np.save(content, mean_U.numpy(), allow_pickle=False)
        folder.write(file.name, content.getvalue())
        return mean_U

    def _finish(self, folder: RunFolder) -> None:
        """Assemble the file from its parts, and write its provenance."""
        made, files = folder.path / "whole.parquet", [folder.path / _file(rows) for rows in self._parts()]
        with folder.writing():
            tables = (
                pa.concat_tables(map(pq.read_table, files[at : at + PARTS_A_ROW_GROUP]))
                for at in range(0, len(files), PARTS_A_ROW_GROUP)
            )
            first = next(tables)
            with written_whole(made) as opened, pq.ParquetWriter(opened, first.schema) as writer:
                writer.write_table(first)
                for table in tables:
                    writer.write_table(table)
            made_with = different_makings(folder.recorded(_name(rows)) for rows in self._parts())
            about = {"format": FORMAT, "sha256": sha256_of(made), **self.identity, "made_with": made_with}
            folder.write("whole.json", as_json(about))
            # Moved from there, so that a killed run leaves nothing beside the file.
            os.replace(made, self.target)
            os.replace(folder.path / "whole.json", self.target.with_suffix(".json"))
            flush(self.target.parent)

    def _parts(self) -> list[range]:
        images = len(self.job.names)
        return [range(at, min(at + IMAGES_A_PART, images)) for at in range(0, images, IMAGES_A_PART)]


def _name(rows: range) -> str:
    return f"{rows.start:08d}"


def _file(rows: range) -> str:
    return f"{_name(rows)}.parquet"


def _digest(what: Any) -> str:
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()
