"""A baseline in a scoring run: read, checked against the trained network's store, and compared with its rows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Activation_Extraction.base.files import sha256_of
from Activation_Extraction.base.progress import StageProgress
from InterpScore.baselines.comparison import Comparison, compared_with_untrained
from InterpScore.baselines.halves import halves_of
from InterpScore.baselines.network import UntrainedLayer, untrained_layers
from InterpScore.baselines.stores import MANIFEST
from InterpScore.scoring.scoring_run import ScoringRun
from InterpScore.tables.experiment_table import ExperimentTable
from InterpScore.tables.from_stores import StoredNeurons

CHOSEN_BY = "effect size g"
"""What untrained units are chosen by, as trained ones are by `labelling.choice.choose_units`."""


@dataclass(frozen=True)
class Baseline:
    """Untrained networks of a scoring run.

    Attributes:
        folder: where they are from.
        layers: layer of the neurons ("" without stores) → that layer of each network.
    """

    folder: Path
    layers: Mapping[str, list[UntrainedLayer]]

    @classmethod
    def read(cls, folder: str | os.PathLike[str], stored: StoredNeurons | None, table: ExperimentTable) -> Baseline:
        """The baseline in a folder.

        Raises:
            InputError: as `untrained_layers`.
        """
        return cls(Path(folder), untrained_layers(folder, stored, table.images, table.source))

    def beside(self, run: ScoringRun, progress: StageProgress) -> tuple[Comparison, dict[str, Any]]:
        """The comparison of all rows of a run, and what its signature says of it."""
        first = next(iter(self.layers.values()))[0]
        images, options = first.store.images, run.options
        stored = {name: images[name].tolist() for name in ("split", "concept", "level") if name in images}
        halves = halves_of(run.table, first.row_I, stored, options.clean_level, options.seed)
        done, total = 0, sum(map(len, self.layers.values()))

        def advance() -> None:
            nonlocal done
            done += 1
            progress("untrained networks", done, total)

        found = compared_with_untrained(run.study, run.rows, halves, self.layers, advance)
        networks = list(self.layers.values())
        about = {
            "name": self.folder.name,
            "sha256": sha256_of(self.folder / MANIFEST, self.folder),
            "model": first.store.identity.get("model"),
            "layers": {each[0].layer: each[0].units for each in networks},
            "networks": [
                {"seed": one.seed, **{k: v for k, v in one.store.identity["provenance"].items() if k != "torch"}}
                for one in networks[0]
            ],
            "chosen_by": CHOSEN_BY,
            "chosen_on": f"{len(halves.selection_N):,} clean images, {halves.how}",
            "compared_on": int(np.count_nonzero(halves.evaluation_I)),
            "best_units": found.best_units,
            "notes": [*found.notes, *_absent(first, run.table)],
        }
        return found, about


def _absent(layer: UntrainedLayer, table: ExperimentTable) -> list[str]:
    """A note on images of a table that the untrained networks have no activations of."""
    count = int(np.count_nonzero(layer.row_I < 0))
    if not count:
        return []
    return [
        f"{count:,} of {len(table.images):,} images of {table.source} have no activations there; they count on neither side"
    ]
