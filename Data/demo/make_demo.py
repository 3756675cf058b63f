"""Makes the demo: `python Data/demo/make_demo.py FOLDER`. Pictures, network and activations are real; participants are
SIMULATED, no person rated anything.

Draws pictures, measures every unit of clip-mini's last layer on them and chooses a unit for each concept on one set. From
another set it makes the stimuli of a study: clean, noise, adversarial against the unit, and renders of what the unit
prefers. Simulated participants take the study at its server, and their words are scored. Clean pictures go through untrained
copies of the network. FOLDER receives the experiment table, neuron map, pictures, the activations that units were chosen by,
renders, stimuli, answers, untrained networks' activations, and a wall of the pictures that activate the chosen units most.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
from PIL import Image
from rich.console import Console
from scipy.special import expit

from Activation_Extraction import Model, extract_activations, extract_full_layer_activations, image_set, load_model
from Activation_Extraction.images.reading import png_bytes
from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.images.wall import Row, Tile, draw_wall, in_digits
from Activation_Extraction.models.clip_mini.world.scenes import draw_scene
from Activation_Extraction.top_maps import keep_top_maps
from DeepDream_Setup import Request, run_session
from Human_Experiment_Setup import build_stimuli, read_protocol
from InterpScore.baselines.make import make_baseline
from InterpScore.interventions.layer import LayerInterventions
from InterpScore.interventions.measurement import Measurement
from InterpScore.labelling.choice import choose_units
from InterpScore.sanity.simulation import StudyDesign
from InterpScore.tables.effects import EFFECTS, unit_column

SEED = 2026
HERE = Path(__file__).parent
MODEL, LAYER = "clip-mini", "block_4"
SIDE = 192
"""Pixels per side of a picture."""
PICTURES = {"selection": 24, "evaluation": 8}
"""Pictures per concept: to choose units on, and to score them on."""

BEST = 10
"""Pictures of a unit on the wall."""

MAPS = 16
"""Top pictures of each unit whose maps are kept, for the explorer."""

CONTROLS = 2
"""Random units for comparison, each assigned a concept that already has a chosen unit."""

UNTRAINED = 2
"""Untrained networks to compare with."""

DESIGN = StudyDesign(
    concepts=(
        "clock", "droplets", "fire", "fish", "house", "letters", "mushroom", "puppy", "raised hand", "sailboat", "star",
        "tree",
    ),
    ease={5: 2.0, 3: 1.6, 2: 0.8, 1: -0.4, 4: -1.0},
    concept_ease={"fire": 0.8, "star": 0.6, "droplets": -0.6, "letters": 0.4, "sailboat": -0.2},
    participants=60,
    raters_per_image=5,
)  # fmt: skip


def main() -> None:
    """Make the demo in the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to write to")
    folder: Path = parser.parse_args().folder
    say = Console(stderr=True, markup=False, soft_wrap=True).print
    say(f"Drawing {sum(PICTURES.values()) * len(DESIGN.concepts)} pictures into {folder / 'pictures'} …")
    pictures = {split: draw_pictures(folder / "pictures", split) for split in PICTURES}
    model = load_model(MODEL)
    selection = pictures["selection"]
    say(f"Choosing a unit of {LAYER} of {MODEL} for each concept on {len(selection)} pictures …")
    activation_IU = selection_store(folder, model)
    units = choose_units(activation_IU, selection["concept"].tolist())
    chosen = {unit: concept for concept, unit in units.items()}
    neuron_map = chosen | controls(activation_IU, units)
    (folder / "units.png").write_bytes(png_bytes(wall(selection, activation_IU, neuron_map, folder / "pictures")))
    say(f"Rendering what the {len(chosen)} units prefer into {folder / 'renders'} …")
    run_session(
        Request(MODEL, LAYER, ",".join(map(str, sorted(chosen))), str(HERE / "quick_study.yaml"), folder / "renders",
                seed=SEED, precision="fp32", images=(str(folder / "pictures" / "selection.csv"),)),
    )  # fmt: skip
    say(f"Making the stimuli of {len(pictures['evaluation'])} clean pictures in {folder / 'stimuli'} …")
    build_stimuli(
        image_set(folder / "pictures" / "evaluation.csv"), read_protocol(HERE / "demo.yaml"), folder / "stimuli",
        neuron_map=chosen, model=model, layer=LAYER, renders=folder / "renders", seed=SEED, progress=True,
    )  # fmt: skip
    say(f"Running clean pictures through {UNTRAINED} untrained copies of {MODEL} into {folder / 'untrained'} …")
    make_baseline(clean_pictures(folder), [LAYER], folder / "untrained", model, seeds=UNTRAINED)
    stimuli = pd.read_csv(folder / "stimuli" / "images.csv", keep_default_na=False)
    say(f"Sending {DESIGN.participants} simulated participants through a study of {len(stimuli)} stimuli …")
    answers = answered(folder / "stimuli", folder / "study")
    say(f"Measuring {len(neuron_map)} units on the stimuli …")
    table = rated(answers, stimuli, neuron_map, model, folder / "stimuli")
    table.to_csv(folder / "demo_experiment.csv", index=False, lineterminator="\n")
    named = {str(unit): concept for unit, concept in neuron_map.items()}
    (folder / "demo_neuron_map.json").write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")
    say(f"Wrote demo_experiment.csv, demo_neuron_map.json and units.png into {folder}")


# Pictures -----------------------------------------------------------------------------------------------------------


def draw_pictures(folder: Path, split: str) -> pd.DataFrame:
    """Draw the pictures of a split and write `<split>.csv`, which is also returned."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for concept in DESIGN.concepts:
        for k in range(1, PICTURES[split] + 1):
            name = f"{split}_{concept.replace(' ', '_')}_{k}.png"
            draw_scene(Random(f"{SEED}/{split}/{concept}/{k}"), [concept]).render(SIDE).save(folder / name)
            rows.append((name, concept, split))
    table = pd.DataFrame(rows, columns=["image", "concept", "split"])
    table.to_csv(folder / f"{split}.csv", index=False, lineterminator="\n")
    return table


def clean_pictures(folder: Path) -> ImageSet:
    """Those that units are chosen on, and the clean ones that they are scored on."""
    pictures = image_set([folder / "pictures" / "selection.csv", folder / "stimuli" / "images.csv"])
    table = pictures.table.to_pandas()
    return pictures.chosen(np.flatnonzero((table["split"] == "selection") | (table["kind"] == "clean")).tolist())


def selection_store(folder: Path, model: Model) -> np.ndarray:
    """Extract the selection pictures into `selection.zarr`, with maps of top pictures; activations, (image, unit)."""
    pictures = folder / "pictures" / "selection.csv"
    made = extract_full_layer_activations(
        pictures, LAYER, folder / "selection.zarr", model, backend="eager", progress=False
    )
    keep_top_maps(made.store, image_set(pictures), model, MAPS, progress=False)
    (layer,) = made.store.layers
    return made.store.units(layer, range(made.store.shapes[layer][0]))


def read_units(images: pd.Series, folder: Path) -> np.ndarray:
    """Activations, (image, unit)."""
    return extract_activations([folder / name for name in images], LAYER, MODEL).values


# Units and ratings --------------------------------------------------------------------------------------------------


def controls(activations: np.ndarray, chosen: Mapping[str, int]) -> dict[int, str]:
    """Random live units that were not chosen, each with a random concept."""
    rng = Random(SEED)
    alive = np.flatnonzero((activations > 0).mean(axis=0) > 0.05)
    free = sorted({int(unit) for unit in alive} - set(chosen.values()))
    return dict(zip(rng.sample(free, CONTROLS), rng.sample(sorted(chosen), CONTROLS), strict=True))


def answered(stimuli: Path, folder: Path) -> pd.DataFrame:
    """What simulated participants answered to the stimuli at the study's server, scored: one row an answer.

    One comes after the other, so that the same ones see the same pictures in every run. Without typing errors nothing is
    left for people to decide.
    """
    folder.mkdir(exist_ok=True)
    study, pictures = HERE / "study.yaml", ["--stimuli", stimuli]
    shares = " ".join(f"{level}={expit(ease):.2f}" for level, ease in DESIGN.ease.items())
    with tempfile.TemporaryDirectory() as temporary:
        database = Path(temporary) / "study.db"
        serve = _study("serve", study, *pictures, "--database", database, "--port", 0, "--mark", "simulated")
        with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
            try:
                lines = iter(server.stdout or [])
                address = next(found[0] for line in lines if (found := re.search(r"http://[\d.:]+", line)))
                behavior = ["--recognition", shares, "--typos", 0, "--drop-outs", 0, "--at-once", 1, "--seed", SEED]
                subprocess.run(_study("simulate", study, *pictures, "--at", address, *behavior, "--quiet"), check=True)
            finally:
                server.terminate()
        export = ["--sessions", "simulated", "--identities", "-o", folder / "answers.csv", "--quiet"]
        subprocess.run(_study("export", database, *export), check=True)
    subprocess.run(_study("score", folder / "answers.csv", "-o", folder / "scored.csv", "--quiet"), check=True)
    return pd.read_csv(folder / "scored.csv")


def _study(*arguments: object) -> list[str]:
    """`interpscore study` of this Python."""
    start = "from Activation_Extraction.base.start import main; main()"
    return [sys.executable, "-c", start, "study", *map(str, arguments)]


def rated(
    answers: pd.DataFrame, images: pd.DataFrame, neuron_map: Mapping[int, str], model: Model, folder: Path
) -> pd.DataFrame:
    """The experiment table: one row per simulated answer, with the measured activations and effects of its image."""
    activation_IU = read_units(images["image"], folder)
    columns = {
        "trial_category": "experiment",
        "ground_truth": images["concept"],
        "level": images["level"],
        "image_filename": images["image"].map(os.path.basename),
        "clean_image": images["clean_image"].map(os.path.basename),
    }
    columns |= {f"activation_{unit}": activation_IU[:, unit].astype(float).round(4) for unit in neuron_map}
    clean = (images["kind"] == "clean").to_numpy()
    measurement = Measurement(
        LayerInterventions(model, LAYER, list(neuron_map)), [folder / name for name in images["image"][clean]]
    )
    effect_IKU = np.full((len(images), len(EFFECTS), len(neuron_map)), np.nan)
    effect_IKU[clean] = [one.effect_KU for one in measurement.of(range(clean.sum()))]
    for u, unit in enumerate(neuron_map):
        columns |= {unit_column(kind, unit): effect_IKU[:, k, u].round(5) for k, kind in enumerate(EFFECTS)}
    return with_answers(pd.DataFrame(columns), answers)


def with_answers(images: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Rows of images, each as often as it was answered, with participant and score."""
    row_of = {name: row for row, name in enumerate(images["image_filename"])}
    number = answers["participant"].str.rpartition("-")[2].astype(int)
    given = pd.DataFrame(
        {"image": answers["image_basename"].map(row_of), "number": number, "soft_correct": answers["soft_correct"]}
    ).sort_values(["image", "number"])
    table = images.iloc[given["image"]].reset_index(drop=True)
    table.insert(5, "participant", [f"simulated-{number:03d}" for number in given["number"]])
    table.insert(6, "simulated", True)
    table.insert(7, "soft_correct", given["soft_correct"].to_numpy(bool))
    return table


def wall(images: pd.DataFrame, activations: np.ndarray, neuron_map: Mapping[int, str], folder: Path) -> np.ndarray:
    """A row for each unit: its number, its concept, and the selection pictures that activate it most, best first."""

    def row(unit: int, concept: str) -> Row:
        best = np.argsort(-activations[:, unit], kind="stable")[:BEST]
        labels = zip(best, in_digits(activations[best, unit].tolist()), strict=True)
        tiles = [Tile(Image.open(folder / images["image"].iloc[i]), images["concept"].iloc[i], a) for i, a in labels]
        return Row(f"unit {unit}", concept, tiles)

    rows = [row(unit, concept) for unit, concept in neuron_map.items()]
    return draw_wall(rows, f"{MODEL} · {LAYER}", f"the pictures that activate a unit most, of {len(images)}")


if __name__ == "__main__":
    main()
