"""Makes the demo: `python Data/demo/make_demo.py FOLDER`. Pictures, network and activations are real; participants are
SIMULATED, no person rated anything.

Draws pictures, measures every unit of clip-mini's last layer on them and chooses a unit for each concept on one set. From
another set it makes the stimuli of a study: clean, noise, adversarial against the unit, and renders of what the unit
prefers. Clean pictures go through untrained copies of the network. FOLDER receives the experiment table, neuron map,
pictures, renders, stimuli, untrained networks' activations, and a wall of the pictures that activate the chosen units most.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
from PIL import Image
from rich.console import Console

from Activation_Extraction import Model, extract_activations, image_set, load_model
from Activation_Extraction.images.reading import png_bytes
from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.images.wall import Row, Tile, draw_wall, in_digits
from Activation_Extraction.models.clip_mini.world.scenes import draw_scene
from DeepDream_Setup import Request, run_session
from Human_Experiment_Setup import build_stimuli, read_protocol
from InterpScore.baselines.make import make_baseline
from InterpScore.interventions.layer import LayerInterventions
from InterpScore.interventions.measurement import Measurement
from InterpScore.labelling.choice import choose_units
from InterpScore.sanity.simulation import StudyDesign, simulate_ratings
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
    activation_IU = read_units(selection["image"], folder / "pictures")
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
    say(f"Measuring {len(neuron_map)} units on {len(stimuli)} stimuli; simulating participants …")
    table = rated(stimuli, neuron_map, model, folder / "stimuli")
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


def rated(images: pd.DataFrame, neuron_map: Mapping[int, str], model: Model, folder: Path) -> pd.DataFrame:
    """The experiment table: one row per simulated rating, with the measured activations and effects of its image."""
    generator = np.random.default_rng(SEED)
    activation_IU = read_units(images["image"], folder)
    concept_I = np.array([DESIGN.concepts.index(concept) for concept in images["concept"]])
    first = images["clean_image"].where(images["clean_image"] != "", images["image"])
    easy_of = {name: generator.standard_normal() for name in dict.fromkeys(first)}
    easy_I = np.array([easy_of[name] for name in first])
    image_R, participant_R, score_R = simulate_ratings(DESIGN, concept_I, images["level"].to_numpy(), easy_I, generator)
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
    table = pd.DataFrame(columns).iloc[image_R].reset_index(drop=True)
    table.insert(5, "participant", [f"simulated-{p:03d}" for p in participant_R])
    table.insert(6, "simulated", True)
    table.insert(7, "soft_correct", score_R.astype(bool))
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
