"""How much faster backends change activations, and the scores and ranks computed from them.

`python benchmarks/fidelity.py` prints two tables for two networks, clip-mini and CLIP RN50x4 with random weights;
`--json FILE` writes the same. The pictures are drawn as those of the demo are (Data/demo/make_demo.py), with noise at every
level but the clean one; the ratings are simulated here, from the demo's design without its study. Scored are the unit that
the demo would choose for each concept, and every unit that is not dead, for the concept that activates it most. The reference
is the original network in fp32.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import kendalltau, rankdata

from Activation_Extraction import Model, image_set, load_model
from Activation_Extraction.backends.plain_network import PlainNetwork, running
from Activation_Extraction.backends.runner import BACKENDS, prepare_runner
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.clip_helpers import prepare
from Activation_Extraction.images.presets import pixels_of
from Activation_Extraction.models.resources import PRECISIONS
from Human_Experiment_Setup import build_stimuli, read_protocol
from InterpScore.benchmark import run_interpretability_benchmark
from InterpScore.labelling.choice import choose_units
from InterpScore.sanity.simulation import simulate_ratings

NETWORKS = {"clip-mini": ("layer4", None), "clip-rn50x4": ("layer4.5", "random")}
"""Name → layer and weights."""

ERRORS = ["relative error", "largest error", "rank correlation", "lowest rank correlation"]
CHANGES = ["ΔS", "ΔR", "ΔH", "ΔInterpScore", "Δrank", "Kendall tau", "other missing"]

BATCH = 8
ALIVE = 0.05
"""Units active on a smaller share of the pictures are dead."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for what was measured")
    options = parser.parse_args()
    demo = demo_script()
    with tempfile.TemporaryDirectory() as folder:
        images = pictures(demo, Path(folder))
        rows = [row for name in NETWORKS for row in compared(name, images, demo)]
    frame = pd.DataFrame(rows)
    print(text(frame.drop_duplicates(["network", "what"]), ["what", *ERRORS]))
    print()
    print(text(frame.sort_values(["network", "units"], kind="stable"), ["units", "what", *CHANGES]))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def pictures(demo: ModuleType, folder: Path) -> pd.DataFrame:
    """The demo's pictures as files in `folder`: those to choose units on, and clean and noisy ones to score them on."""
    selection, _ = (demo.draw_pictures(folder, split) for split in ("selection", "evaluation"))
    protocol = read_protocol(demo.HERE / "demo.yaml")
    # An attack would be against one of the networks, so the third level is weaker noise.
    levels = {level: protocol.levels[level] for level in (5, 1, 2)} | {3: replace(protocol.levels[2], snr_db=6)}
    build_stimuli(
        image_set(folder / "evaluation.csv"), replace(protocol, levels=levels), folder / "stimuli", seed=demo.SEED
    )
    stimuli = pd.read_csv(folder / "stimuli" / "images.csv", keep_default_na=False)
    stimuli["path"] = [folder / "stimuli" / name for name in stimuli["image"]]
    selection["path"] = [folder / name for name in selection["image"]]
    return pd.concat([selection.assign(split="selection"), stimuli.assign(split="evaluation")], ignore_index=True)


def compared(name: str, images: pd.DataFrame, demo: ModuleType) -> list[dict[str, object]]:
    """Two rows for each backend and precision, one for each neuron map."""
    layer, weights = NETWORKS[name]
    model = load_model(name, weights=weights)
    plain, x_I = (
        PlainNetwork(model, [layer], "mean"),
        (prepare(path, model.image_input)[None] for path in images["path"]),
    )
    with running(model):
        plain_IU = np.concatenate([plain(x)[0].numpy() for x in x_I])
    selection_I = (images["split"] == "selection").to_numpy()
    alive_U = np.flatnonzero((plain_IU > 0).mean(0) >= ALIVE)
    maps = neuron_maps(images["concept"][selection_I].to_numpy(), plain_IU[selection_I], alive_U)
    images, plain_IU = images[~selection_I].reset_index(drop=True), plain_IU[~selection_I]
    scored = {units: scores(images, plain_IU, neuron_map, demo) for units, neuron_map in maps.items()}
    rows = []
    for backend in BACKENDS:
        for precision in PRECISIONS:
            try:
                found_IU = activations(model, layer, backend, precision, images["path"].tolist())
            except InputError as error:
                print(f"{backend} {precision} skipped: {error}")
                continue
            common = {"network": name, "what": f"{backend} {precision}"}
            common |= errors(found_IU[:, alive_U], plain_IU[:, alive_U])
            for units, neuron_map in maps.items():
                changed = changes(scores(images, found_IU, neuron_map, demo), scored[units])
                rows.append({**common, "units": units, **changed})
    return rows


def activations(model: Model, layer: str, backend: str, precision: str, paths: list[Path]) -> np.ndarray:
    """(picture, unit), pooled over positions."""
    runner = prepare_runner(model, [layer], backend=backend, precision=precision, batch_size=BATCH)
    side = model.image_input.height
    pixels_NHWC = np.zeros((-(-len(paths) // BATCH) * BATCH, side, side, 3), np.uint8)
    for i, path in enumerate(paths):
        pixels_NHWC[i] = pixels_of(Image.open(path), model.image_input.preset, side, side)
    batches = np.split(pixels_NHWC, len(pixels_NHWC) // BATCH)
    return np.concatenate([runner(batch)[layer] for batch in batches])[: len(paths)]


# What changes -------------------------------------------------------------------------------------------------------


def errors(found_IU: np.ndarray, plain_IU: np.ndarray) -> dict[str, float]:
    """Errors of activations and of their ranks, over all units and for the worst."""
    found_IU, plain_IU = found_IU.astype(float), plain_IU.astype(float)
    error_U = np.linalg.norm(found_IU - plain_IU, axis=0) / np.linalg.norm(plain_IU, axis=0)
    found, plain = rankdata(found_IU, axis=0), rankdata(plain_IU, axis=0)
    found, plain = found - found.mean(0), plain - plain.mean(0)
    rho_U = (found * plain).sum(0) / np.sqrt((found**2).sum(0) * (plain**2).sum(0))
    return {
        "relative error": float(np.linalg.norm(found_IU - plain_IU) / np.linalg.norm(plain_IU)),
        "largest error": float(error_U.max()),
        "rank correlation": float(np.median(rho_U).round(6)),
        "lowest rank correlation": float(rho_U.min().round(6)),
    }


def changes(found: pd.DataFrame, plain: pd.DataFrame) -> dict[str, float]:
    """The largest change of each component and of the rank, the rankings' agreement, and for how many units the missing
    components differ (H is missing if no rated picture activates the unit enough)."""
    found = found.loc[plain.index]
    largest = (found - plain).abs().max()
    tau = kendalltau(found["InterpScore"], plain["InterpScore"]).statistic
    missing = (found.isna() != plain.isna()).any(axis=1)
    names = {f"Δ{name}": float(largest[name]) for name in ("S", "R", "H", "InterpScore")}
    return {**names, "Δrank": int(largest["Rank"]), "Kendall tau": float(tau), "other missing": int(missing.sum())}


# The experiment -----------------------------------------------------------------------------------------------------


def neuron_maps(concept_I: np.ndarray, plain_IU: np.ndarray, alive_U: np.ndarray) -> dict[str, dict[str, str]]:
    """Name of a map → unit → concept, found on the selection pictures."""
    chosen = choose_units(plain_IU, list(concept_I))
    favourite_U = pd.DataFrame(plain_IU).groupby(concept_I).mean().idxmax()
    return {
        f"{len(chosen)} chosen": {str(unit): concept for concept, unit in chosen.items()},
        f"{len(alive_U)} alive": {str(unit): str(favourite_U[unit]) for unit in alive_U},
    }


def scores(images: pd.DataFrame, a_IU: np.ndarray, neuron_map: dict[str, str], demo: ModuleType) -> pd.DataFrame:
    """S, R, H, InterpScore and rank of every unit of a map; the same simulated ratings each time."""
    generator = np.random.default_rng(demo.SEED)
    concept_I = np.array([demo.DESIGN.concepts.index(concept) for concept in images["concept"]])
    easy_I = generator.standard_normal(len(images))
    image_R, participant_R, score_R = simulate_ratings(
        demo.DESIGN, concept_I, images["level"].to_numpy(), easy_I, generator
    )
    columns = {f"activation_{unit}": a_IU[:, int(unit)] for unit in neuron_map}
    ratings = pd.concat([images[["image", "concept", "level"]], pd.DataFrame(columns)], axis=1).iloc[image_R]
    ratings = ratings.rename(columns={"concept": "ground_truth", "image": "image_filename"}).reset_index(drop=True)
    people = {"participant": participant_R.astype(str), "soft_correct": score_R.astype(bool), "simulated": True}
    frame = pd.concat([ratings, pd.DataFrame({"trial_category": "experiment", **people})], axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about components missing in the table
        result = run_interpretability_benchmark(frame, neuron_map, resamples=0).table
    return result.set_index(result["Neuron"].astype(str))[["S", "R", "H", "InterpScore", "Rank"]].astype(float)


def demo_script() -> ModuleType:
    """Data/demo/make_demo.py, which is in no package."""
    path = Path(__file__).resolve().parent.parent / "Data" / "demo" / "make_demo.py"
    spec = importlib.util.spec_from_file_location("make_demo", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text(frame: pd.DataFrame, columns: list[str]) -> str:
    """A table for people."""
    rows = [["network", *columns], ["---"] * (len(columns) + 1)]
    for row in frame.to_dict("records"):
        cells = (f"{row[column]:.5g}" if isinstance(row[column], float) else str(row[column]) for column in columns)
        rows.append([str(row["network"]), *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    main()
