"""How often labels are right: `python benchmarks/labelling_rates.py` simulates units whose concepts are known, and prints tables.

Activations are standard normal; a planted unit is shifted by some standard deviations on the images of its concept, or of both
of its concepts.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from InterpScore import label_units
from InterpScore.labelling.presence import Presence, shown_pairs

PLANTED = (("1%", 0.01, 2560), ("1%", 0.01, 25), ("0.1% to 25%", np.geomspace(0.001, 0.25, 1000), 2560))
STRENGTHS = 2.0, 3.0, 4.0
SEVERAL_UNITS, SEVERAL_CONCEPTS, SEVERAL_IMAGES, SEVERAL_PREVALENCE = 100, 100, 10_000, 0.02
RUNS = 20


def presence_of(concepts: int, images: int, prevalence: object, generator: np.random.Generator) -> Presence:
    shares = np.broadcast_to(np.asarray(prevalence, dtype=float), concepts)
    shown = [generator.choice(images, max(2, round(share * images)), replace=False) for share in shares]
    concept_P = np.repeat(np.arange(concepts), [len(rows) for rows in shown])
    return shown_pairs([f"c{c}" for c in range(concepts)], images, concept_P, np.concatenate(shown))


def planted(prevalence: object, of_units: int) -> tuple[float, float]:
    """Share of planted units with their own concept, and of the others with any."""
    generator = np.random.default_rng(0)
    presence = presence_of(1000, 10_000, prevalence, generator)
    a_IU = generator.standard_normal((10_000, 2560), dtype=np.float32)
    for unit in range(of_units):
        a_IU[presence.images_of(unit % 1000), unit] += 2
    found = label_units(a_IU, presence, resamples=0).table["concept"]
    right = np.mean([found[unit] == f"c{unit % 1000}" for unit in range(of_units)])
    return float(right), float(found[of_units:].notna().mean()) if of_units < 2560 else float("nan")


def several(strength: float) -> dict[str, float]:
    """Of units of one concept, of two and of none: shares with a polysemy of 1, 2 and 0, and with exactly their concepts."""
    generator = np.random.default_rng(1)
    presence = presence_of(SEVERAL_CONCEPTS, SEVERAL_IMAGES, SEVERAL_PREVALENCE, generator)
    a_IU = generator.standard_normal((SEVERAL_IMAGES, 3 * SEVERAL_UNITS), dtype=np.float32)
    own = [[u] if u < SEVERAL_UNITS else [u - SEVERAL_UNITS, (u - SEVERAL_UNITS + 37) % SEVERAL_CONCEPTS] for u in range(2 * SEVERAL_UNITS)]  # fmt: skip
    for unit, concepts in enumerate(own):
        a_IU[np.unique(np.concatenate([presence.images_of(c) for c in concepts])), unit] += strength
    table = label_units(a_IU, presence, resamples=0).table
    exact = np.array([sorted(table["concepts"][u]) == sorted(f"c{c}" for c in own[u]) for u in range(len(own))])
    polysemy = table["polysemy"].to_numpy(dtype=int)
    one, two, none = np.split(polysemy, 3)
    return {
        "one": float((one == 1).mean()), "one exact": float(exact[:SEVERAL_UNITS].mean()), "two": float((two == 2).mean()),
        "two exact": float(exact[SEVERAL_UNITS:].mean()), "none": float((none == 0).mean()),
    }  # fmt: skip


def shuffled(with_groups: bool) -> float:
    """Share of units with a label where labels of sources are shuffled, each source with five versions: mean over runs."""
    shares = []
    for run in range(RUNS):
        generator = np.random.default_rng((9, run))
        source_IU = generator.normal(size=(400, 64))
        a_IU = np.repeat(source_IU, 5, axis=0) + 0.5 * generator.normal(size=(2000, 64))
        concepts = np.repeat(generator.permutation([f"c{k % 40}" for k in range(400)]), 5).tolist()
        groups = np.repeat(np.arange(400), 5).tolist() if with_groups else None
        found = label_units(a_IU, concepts, groups=groups, resamples=0, seed=run)
        shares.append(found.table["concept"].notna().mean())
    return float(np.mean(shares))


def main() -> None:
    print("| images that show a concept | planted of 2,560 units | labelled right | others labelled |")
    print("|---|---|---|---|")
    for name, prevalence, of_units in PLANTED:
        right, others = planted(prevalence, of_units)
        print(f"| {name} | {of_units:,} | {right:.1%} | {'' if np.isnan(others) else f'{others:.2%}'} |")
    print(
        "\n| shift | one concept: polysemy 1 | its own | two concepts: polysemy 2 | both its own | noise: polysemy 0 |"
    )
    print("|---|---|---|---|---|---|")
    for strength in STRENGTHS:
        found = several(strength)
        print(f"| {strength:g} SD | " + " | ".join(f"{found[name]:.0%}" for name in found) + " |")
    print(f"\nShuffled labels, five versions of each source, mean of {RUNS} runs: units with a label")
    print(pd.Series({"with groups": shuffled(True), "without": shuffled(False)}).map("{:.1%}".format).to_string())


if __name__ == "__main__":
    main()
