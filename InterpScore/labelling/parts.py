"""Permutations in a folder that interruptions do not harm: `<labels>.parts`, which goes when the labels are written."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.engine import Engine, local
from Activation_Extraction.base.files import as_json, read_bytes
from Activation_Extraction.base.progress import StageProgress, in_stage
from Activation_Extraction.base.run_folder import RunFolder, different_makings, refuse_other, remarks_on, versions_of
from InterpScore.helpers import Ints
from InterpScore.labelling.chance import A_PART, PermutationJob, stage_of
from InterpScore.labelling.labels import Study, label_study
from InterpScore.labelling.options import LabellingOptions
from InterpScore.labelling.results import UnitLabels


@dataclass
class PermutationFolder:
    """Runs permutations in a folder; a `chance.Run`.

    Attributes:
        target: the file of labels.
        identity: what was asked for.
        progress: called with (stage, completed, total).
        engine: where they are computed.
        made_with: libraries that finished parts were computed with, each different set once.
    """

    target: Path
    identity: Mapping[str, Any]
    progress: StageProgress | None = None
    engine: Engine = local
    made_with: list[dict[str, Any]] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The folder."""
        return self.target.with_name(f"{self.target.name}.parts")

    def __call__(self, job: PermutationJob, parts: Sequence[int]) -> list[Ints]:
        """How often each unit is reached, part by part; finished parts are read.

        Raises:
            InputError: the folder holds something else.
            OutputError: it cannot be written, or another run is writing it.
        """
        with RunFolder(self.path, {"versions": versions_of(["interpscore", "numpy"])}, shown_as=self.target) as folder:
            refuse_other(self.path, read_json(folder.path / "identity.json"), self.identity, "the folder removed, or another file (-o)")  # fmt: skip
            folder.write("identity.json", as_json(self.identity))
            missing = folder.missing(parts, _name)
            total, done = len(parts) * A_PART, (len(parts) - len(missing)) * A_PART
            advance = in_stage(self.progress, stage_of(parts), total, done)
            self.engine([job], missing, lambda part, counts: folder.keep(_name(part), {_file(part): _bytes(counts)}), advance)  # fmt: skip
            records = [folder.recorded(_name(part)) for part in parts]
            self.made_with = different_makings([*({"made_with": one} for one in self.made_with), *records])
            return [
                np.load(BytesIO(read_bytes(folder.path / _file(part), folder.path)), allow_pickle=False)
                for part in parts
            ]

    def remove(self) -> None:
        """Remove the folder, once what it was for is written."""
        shutil.rmtree(self.path, ignore_errors=True)


def label_in_folder(study: Study, options: LabellingOptions, folder: PermutationFolder) -> UnitLabels:
    """`label_study` with permutations in a folder; signature and remarks say what these were made with, if there are any."""
    labels = label_study(study, options, folder.progress, folder)
    if folder.made_with:
        labels.signature["made_with"] = folder.made_with
        labels.remarks.extend(remarks_on(folder.made_with))
    return labels


def _bytes(counts: Ints) -> bytes:
    content = BytesIO()
    np.save(content, counts, allow_pickle=False)
    return content.getvalue()


def _name(part: int) -> str:
    return f"{part:06d}"


def _file(part: int) -> str:
    return f"{_name(part)}.npy"
