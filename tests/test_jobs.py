"""Guards long work of every kind: the same bytes by any engine and after any kill, one writer, versions recorded."""

import os
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import OutputError
from Activation_Extraction.base.files import as_json
from Activation_Extraction.base.run_folder import LOCK, RunFolder
from tests.small_jobs import FOLDERS, WORK, files_of, set_up

ROOT = Path(__file__).parents[1]
KINDS = pytest.mark.parametrize("kind", list(WORK))
QUICKEST = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == "renders" else pytest.mark.slow) for kind in WORK]
)
"""All kinds of jobs go through the same folder; one of them is enough for most runs."""
SOONEST_STARTED = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == "labels" else pytest.mark.slow) for kind in WORK]
)
"""The others need a network, of which the libraries take seconds to be imported in another process."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    set_up(home)
    return home


@pytest.fixture(scope="module")
def undisturbed(home, tmp_path_factory):
    """Kind → what a run that nothing disturbs makes, and how long that takes."""
    made = {}

    def of(kind):
        if kind not in made:
            out = tmp_path_factory.mktemp(kind)
            begun = time.monotonic()
            WORK[kind](home, out)
            made[kind] = files_of(out), time.monotonic() - begun
        return made[kind]

    return of


class Processes:
    """Calls functions, each in a fresh process that has imported a module."""

    def __init__(self, module):
        code = f"import {module}; from tests.small_jobs import serve; serve()"
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.server = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __call__(self, function, *arguments, killed_after=None):
        """What a call gives, made in a fresh process; None where that is killed after some seconds."""
        pickle.dump((pickle.dumps((function, arguments)), killed_after), self.server.stdin)
        self.server.stdin.flush()
        return pickle.load(self.server.stdout)


@pytest.fixture(scope="module")
def processes():
    """Kind → what calls functions in fresh processes that have imported what this kind of job needs."""
    started = {}

    def of(kind):
        module = "InterpScore.labelling.parts" if kind == "labels" else "InterpScore.interventions.files"
        if module not in started:
            started[module] = Processes(module)
        return started[module]

    yield of
    for each in started.values():
        each.server.stdin.close()
        each.server.wait()
        each.server.stdout.close()


def results_of(job, part):
    return list(job.compute(iter([part]), lambda count: None))


def here(function, job, part):
    return function(pickle.loads(pickle.dumps(job)), part)


@pytest.mark.slow
@QUICKEST
@pytest.mark.parametrize("place", ["here", pytest.param("processes", marks=pytest.mark.slow)])
def test_parts_in_any_order_each_by_a_copy_of_the_job_give_the_same_bytes(
    request, home, undisturbed, tmp_path, kind, place
):
    call, parts_run = here if place == "here" else request.getfixturevalue("processes")(kind), []

    def elsewhere(jobs, parts, keep, advance):
        for part in reversed(parts):
            ((same, result),) = call(results_of, jobs[0], part)
            parts_run.append(same)
            keep(same, result)

    WORK[kind](home, tmp_path, elsewhere)
    assert len(parts_run) >= 2
    assert files_of(tmp_path) == undisturbed(kind)[0]


@SOONEST_STARTED
@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_resumed_it_ends_with_the_same_bytes(
    home, undisturbed, processes, tmp_path, kind, kills
):
    expected, seconds = undisturbed(kind)
    moments = random.Random(f"{kind} {kills}")
    for _ in range(kills):
        processes(kind)(WORK[kind], home, tmp_path, killed_after=seconds * moments.uniform(0.1, 1.1))
    WORK[kind](home, tmp_path)
    assert files_of(tmp_path) == expected


class StoppedError(Exception):
    """Ends a run in the middle."""


def first_part_only(jobs, parts, keep, advance):
    for part, result in jobs[0].compute(iter(parts[:1]), lambda count: None):
        keep(part, result)
    raise StoppedError


@KINDS
def test_a_second_writer_is_refused_and_leaves_the_partial_files_of_the_first(home, tmp_path, kind):
    folder = tmp_path / FOLDERS[kind]
    folder.mkdir(parents=True)
    with RunFolder(folder, {}):
        (folder / ".a.0123456789abcdef.part").touch()
        with pytest.raises(OutputError, match="another run is writing it; expected one at a time"):
            WORK[kind](home, tmp_path)
        assert sorted(path.name for path in folder.iterdir()) == [".a.0123456789abcdef.part", LOCK]


@pytest.mark.slow
@QUICKEST
def test_parts_of_other_library_versions_are_kept_and_that_is_said(home, undisturbed, tmp_path, kind):
    with pytest.raises(StoppedError):
        WORK[kind](home, tmp_path, first_part_only)
    folder = tmp_path / FOLDERS[kind]
    (record,) = [*folder.glob(".records/*.json"), *folder.glob("manifest/*.json")]
    content = read_json(record)
    content["made_with"]["versions"]["numpy"] = "0.1"
    record.write_bytes(as_json(content))
    report = WORK[kind](home, tmp_path)
    (remark,) = [line for line in report.remarks if "numpy" in line]
    assert remark.startswith("parts were made with different libraries or processors: numpy ")
    assert "0.1" in remark
    signatures = {"store": "a.zarr/complete.json", "effects": "effects.json", "stimuli": "stimuli/stimuli.json", "labels": "labels.json"}  # fmt: skip
    signature = read_json(tmp_path / signatures.get(kind, f"{FOLDERS[kind]}/manifest.json"))
    assert "0.1" in {one["versions"]["numpy"] for one in signature["made_with"]}
    assert len(signature["made_with"]) == 2
