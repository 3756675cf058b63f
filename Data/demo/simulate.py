"""Makes the demo table: `python Data/demo/simulate.py`. Every participant and activation is SIMULATED.

Twelve units of known make stand for what one meets in a real layer: strong and weak ones, one for
two concepts, one that moves the embedding without being selective, noise, and a dead one.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from InterpScore.simulation import PlantedUnit, StudyDesign, simulate_table, simulated_frame

HERE = Path(__file__).parent
SEED = 2026

DESIGN = StudyDesign(
    concepts=["fire", "mushroom", "droplets", "sailboat", "raised hand", "puppies", "star", "fish", "house", "letters"],
    images_per_concept=12,
    concept_ease={"fire": 1.0, "sailboat": 0.8, "house": 0.6, "droplets": -0.6, "puppies": -0.9},
    participants=60,
    raters_per_image=5,
)

UNITS = {
    "0": PlantedUnit("fire", 4.0, follows_ease=0.6, effect=0.30),
    "1": PlantedUnit("mushroom", 3.5, follows_ease=0.4, effect=0.25),
    "2": PlantedUnit("droplets", 3.0, follows_ease=0.5, effect=0.20),
    "3": PlantedUnit("sailboat", 3.0, follows_ease=0.3, effect=0.10),
    "4": PlantedUnit("raised hand", 2.5, follows_ease=0.3, effect=0.15),
    "5": PlantedUnit("puppies", 2.0, follows_ease=0.2, effect=0.20),
    "6": PlantedUnit("star", 1.5, follows_ease=0.2, effect=0.10),
    "7": PlantedUnit("fish", 1.0, follows_ease=0.1, effect=0.05),
    "8": PlantedUnit("house", 3.0, also={"letters": 3.0}, follows_ease=0.3, effect=0.20),
    "9": PlantedUnit("letters", 0.0, effect=0.60),
    "10": PlantedUnit("fire", 0.0, noise="sparse", effect=0.02),
    "11": PlantedUnit("fish", 0.0, noise="dead", effect=0.0),
}


def main() -> None:
    """Write the table and its neuron map beside this file."""
    table = simulate_table(DESIGN, UNITS, np.random.default_rng(SEED))
    frame = simulated_frame(table).round(4)
    frame.to_csv(HERE / "simulated_experiment.csv", index=False, lineterminator="\n")
    neuron_map = {unit: planted.concept for unit, planted in UNITS.items()}
    (HERE / "simulated_neuron_map.json").write_text(json.dumps(neuron_map, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
