"""What the tests of the command share: a small study on disk, and the command run in this process."""

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from Activation_Extraction.base.commands import run
from InterpScore.cli.score import score_app
from InterpScore.sanity.simulation import PlantedUnit, StudyDesign, simulate_table, simulated_frame

NEURONS = {"1": "cat", "2": "dog", "3": "NA"}


@dataclass(frozen=True)
class Outcome:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines on stderr."""
        return self.err.splitlines()


@dataclass(frozen=True)
class StudyFiles:
    """A study on disk and where its results go."""

    data: Path
    neuron_map: Path
    results: Path

    @property
    def paths(self) -> tuple[Path, Path, Path]:
        """The three arguments of the command."""
        return self.data, self.neuron_map, self.results


@pytest.fixture(scope="session")
def neurons() -> dict[str, str]:
    """The neuron map of the study; one of its concepts is called "NA"."""
    return dict(NEURONS)


@pytest.fixture(scope="session")
def simulated_study() -> pd.DataFrame:
    """Four concepts at five levels, 8 participants, effects of two of the three neurons. Not to be changed in place."""
    design = StudyDesign(
        concepts=("cat", "dog", "NA", "raised hand"),
        images_per_concept=6,
        kept={5: 1.0, 4: 0.9, 3: 0.5, 2: 0.4, 1: 0.2},
        ease={5: 1.0, 4: 0.5, 3: 0.2, 2: 0.0, 1: -0.5},
        participants=8,
        raters_per_image=3,
    )
    units = {
        "1": PlantedUnit("cat", 1.5, follows_ease=0.5, effect=0.3),
        "2": PlantedUnit("dog", 0.8, effect=0.1),
        "3": PlantedUnit("NA", 1.2),
    }
    frame = simulated_frame(simulate_table(design, units, np.random.default_rng(7)))
    frame["hard_correct"] = frame["soft_correct"] & (np.arange(len(frame)) % 3 > 0)
    return frame


@pytest.fixture
def study(simulated_study) -> pd.DataFrame:
    """A copy of the study whose cells may hold anything."""
    return simulated_study.astype(object)


@pytest.fixture
def files(simulated_study, tmp_path) -> StudyFiles:
    """The study as CSV and JSON in a folder of its own."""
    paths = StudyFiles(tmp_path / "data.csv", tmp_path / "neuron_map.json", tmp_path / "results.csv")
    simulated_study.to_csv(paths.data, index=False)
    paths.neuron_map.write_text(json.dumps(NEURONS))
    return paths


@pytest.fixture(scope="session")
def score():
    """Runs `interpscore score` in this process; any exception but the exit passes through."""

    def run_score(*arguments: object) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as stopped,
        ):
            run(score_app, [str(argument) for argument in arguments])
        return Outcome(stopped.value.code, out.getvalue(), err.getvalue())

    return run_score
