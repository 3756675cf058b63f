"""The kinds of long work, each with clip-mini on a few drawn pictures or with noise, as functions that any process can call."""

import json
import os
import pickle
import signal
import sys
import time
from pathlib import Path
from random import Random
from unittest import mock

from Activation_Extraction import image_set, load_model
from Activation_Extraction.base.engine import local
from Activation_Extraction.models.clip_mini.world.scenes import draw_scene

UNITS = {"fire": 185, "mushroom": 206}
PROTOCOL = """about: noise and an attack
size: 48
levels:
  5: {kind: clean}
  1: {kind: benign, method: gaussian_noise, snr_db: 3}
  3: {kind: adversarial, target: unit, norm: linf, radius: 8, steps: 2, step: 0.5, starts: 1}
"""


def set_up(home: Path) -> None:
    """Draw what the work is done on: four photos, one of them a study's."""
    for concept in UNITS:
        for k in range(2):
            path = home / "photos" / concept / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_scene(Random(f"{concept} {k}"), [concept]).render(96).save(path)
    (home / "study" / "fire").mkdir(parents=True)
    os.link(home / "photos" / "fire" / "0.png", home / "study" / "fire" / "0.png")
    (home / "map.json").write_text(json.dumps({str(unit): concept for concept, unit in UNITS.items()}))
    (home / "levels.yaml").write_text(PROTOCOL)
    (home / "quick.yaml").write_text("steps: 2\nsize: 32\ntransforms: {jitter: 3}\nstarts: [grey, fourier]\n")


def model():
    return load_model("clip-mini", threads=1)


def extract(home: Path, out: Path, engine=local):
    from Activation_Extraction.extract_full_layer_activations import extract_full_layer_activations

    return extract_full_layer_activations(
        home / "photos", ["block_4"], out / "a.zarr", model(), batch_size=2, shard_rows=2, workers=1, progress=False,
        engine=engine,
    )  # fmt: skip


def measure(home: Path, out: Path, engine=local):
    from InterpScore.interventions import files
    from InterpScore.interventions.measurement import ImagesOfSet, prepare_layer

    photos = image_set(home / "photos")
    names = photos.table["image"].to_pylist()
    with mock.patch.object(files, "IMAGES_A_PART", 2):
        return files.measure_to_file(
            out / "effects.parquet", names, ImagesOfSet(photos, range(len(names))), prepare_layer(model(), "block_4"),
            ("ablation", "mean_ablation"), photos.table["concept"].to_pylist(), engine=engine,
        )  # fmt: skip


def render(home: Path, out: Path, engine=local):
    from DeepDream_Setup.session import Request, run_session

    recipe, photos = str(home / "quick.yaml"), (str(home / "photos"),)
    request = Request("clip-mini", "block_4", "3,2+9", recipe, out / "renders", images=photos, threads=1)
    return run_session(request, progress=False, engine=engine)


def build(home: Path, out: Path, engine=local):
    from Human_Experiment_Setup.stimuli.build import build_stimuli
    from Human_Experiment_Setup.stimuli.protocol import read_protocol

    return build_stimuli(
        image_set(home / "study"), read_protocol(str(home / "levels.yaml")), out / "stimuli", model=model(),
        layer="block_4", neuron_map=home / "map.json", engine=engine,
    )  # fmt: skip


def label(home: Path, out: Path, engine=local):
    import numpy as np
    import pandas as pd

    from Activation_Extraction.base.files import as_json
    from InterpScore.labelling.labels import Study
    from InterpScore.labelling.options import labelling_options
    from InterpScore.labelling.parts import PermutationFolder, label_in_folder
    from InterpScore.labelling.presence import presence_of

    units, images = 3, 40
    a_UN = np.random.default_rng(0).normal(size=(units, images))
    presence = presence_of([f"concept {image % 8 // 2}" for image in range(images)], images)
    study = Study(a_UN, presence, np.arange(images) // 2, pd.DataFrame({"unit": range(units)}))
    folder = PermutationFolder(out / "labels.parquet", {"seed": 0}, engine=engine)
    labels = label_in_folder(study, labelling_options(resamples=0), folder)
    labels.table.to_parquet(out / "labels.parquet")
    signature = {name: value for name, value in labels.signature.items() if name != "created"}
    (out / "labels.json").write_bytes(as_json(signature))
    return labels


WORK = {"store": extract, "effects": measure, "renders": render, "stimuli": build, "labels": label}
FOLDERS = {
    "store": "a.zarr",
    "effects": "effects.parquet.parts",
    "renders": "renders/clip-mini/layer4",
    "stimuli": "stimuli",
    "labels": "labels.parquet.parts",
}
"""The folder of each job."""


def files_of(out: Path) -> dict[str, bytes]:
    """What a job made, its lock and history apart."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name not in (".lock", "history.json")
    }


def serve() -> None:
    """Fork a fresh process for each call that standard input brings, pickled with the seconds after which it is killed.

    What it gives goes to standard output; None where it was killed. What was imported before is imported once; no network
    was run and nothing loaded before a process is forked.
    """
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    while True:
        try:
            call, seconds = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        if (child := os.fork()) == 0:
            function, arguments = pickle.loads(call)
            result = function(*arguments)
            if seconds is None:
                answers.write(pickle.dumps(result))
            os._exit(0)
        deadline = time.monotonic() + (seconds or 3600)
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.002)
        if seconds is not None:
            answers.write(pickle.dumps(None))
