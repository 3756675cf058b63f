"""Simulated studies whose truth is known. Nobody rated anything here; every table made says so.

A unit responds to an image with `strength × kept at the level × [its concept] + noise`. Images
differ in how easy they are to name, participants in how good they are at naming, and a unit's noise
may go along with the ease. Shapes: I images, P participants, R ratings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import expit, ndtri

from InterpScore.helpers import Floats, Ints
from InterpScore.selectivity import common_language_effect
from InterpScore.tables.effects import unit_column
from InterpScore.tables.experiment_table import ExperimentTable

CLEAN = 5
Noise = Literal["normal", "uniform", "sparse", "constant", "dead"]


@dataclass(frozen=True)
class PlantedUnit:
    """How a simulated unit responds.

    `strength` and the entries of `also` (other concepts it responds to) count in standard deviations
    of its noise. `follows_ease` is the correlation of its noise with the ease of the image.
    `effect` is the mean relative move of the embedding when it is ablated or amplified.
    """

    concept: str
    strength: float = 0.0
    also: Mapping[str, float] = field(default_factory=dict)
    noise: Noise = "normal"
    follows_ease: float = 0.0
    effect: float = float("nan")
    only_at: int | None = None
    """Respond at this level only."""


@dataclass(frozen=True)
class StudyDesign:
    """The images, levels and people of a simulated study."""

    concepts: Sequence[str]
    images_per_concept: int = 24
    kept: Mapping[int, float] = field(default_factory=lambda: {5: 1.0, 4: 0.7, 3: 0.4})
    """Level → share of a unit's response that survives there; level 5 is clean."""
    ease: Mapping[int, float] = field(default_factory=lambda: {5: 1.0, 4: 0.5, 3: -0.3})
    """Level → mean log-odds that a participant names an image."""
    concept_ease: Mapping[str, float] = field(default_factory=dict)
    ease_spread: float = 1.5
    """Standard deviation of the log-odds over images; in the published study 0.9 to 1.6 by concept."""
    skill_spread: float = 0.6
    """The same over participants; in the published study 0.6."""
    participants: int = 40
    raters_per_image: int = 6
    graded: bool = False
    """Recognition as a fraction rather than as yes or no."""


def simulate_table(
    design: StudyDesign, units: Mapping[str, PlantedUnit], generator: np.random.Generator
) -> ExperimentTable:
    """One simulated study as arrays; `simulated` is set."""
    names = [
        (c, level, k)
        for level in design.kept
        for c in range(len(design.concepts))
        for k in range(design.images_per_concept)
    ]
    concept_I, level_I, _ = np.array(names).T
    easy_I = generator.standard_normal(len(names))
    activation = np.stack([_responses(design, unit, concept_I, level_I, easy_I, generator) for unit in units.values()])
    effects = [
        np.stack(
            [
                unit.effect * generator.gamma(8, 1 / 8, len(names)) if unit.effect else np.zeros(len(names))
                for unit in units.values()
            ]
        )
        for _ in range(2)
    ]
    image_R, participant_R, score_R = simulate_ratings(design, concept_I, level_I, easy_I, generator)
    images = [f"{design.concepts[c].replace(' ', '_')}_level{level}_{k + 1}.png" for c, level, k in names]
    clean_of = {(c, k): i for i, (c, level, k) in enumerate(names) if level == CLEAN}
    return ExperimentTable(
        source="the simulated table", images=images, concepts=list(design.concepts), concept_I=concept_I, level_I=level_I,
        partner_I=np.array([-1 if level == CLEAN else clean_of[c, k] for c, level, k in names]),
        units=list(units), activation_UI=activation, ablation_UI=effects[0], amplification_UI=effects[1],
        image_R=image_R, participant_R=participant_R, score_R=score_R, simulated=True,
    )  # fmt: skip


def simulate_ratings(
    design: StudyDesign, concept_I: Ints, level_I: Ints, easy_I: Floats, generator: np.random.Generator
) -> tuple[Ints, Ints, Floats]:
    """What simulated participants answer to images.

    Args:
        design: of the people and of what makes an image easy; its concepts are numbered in their order.
        concept_I, level_I: of each image.
        easy_I: how easy each image is to name, apart from its concept and level, in standard deviations.

    Returns:
        Of each rating: the image, the participant, and the recognition score from 0 to 1.
    """
    image_R = np.repeat(np.arange(len(concept_I)), design.raters_per_image)
    participant_R = np.concatenate(
        [generator.choice(design.participants, design.raters_per_image, replace=False) for _ in concept_I]
    )
    skill_P = design.skill_spread * generator.standard_normal(design.participants)
    odds_R = _log_odds(design, concept_I, level_I, easy_I)[image_R] + skill_P[participant_R]
    noise_R = generator.logistic(size=len(odds_R))
    score_R = expit(odds_R + noise_R) if design.graded else (odds_R + noise_R > 0).astype(float)
    return image_R, participant_R, score_R


def simulated_frame(table: ExperimentTable) -> pd.DataFrame:
    """A simulated table in the documented columns, one row a rating, marked as simulated."""
    names = np.array(table.images)
    frame = {
        "trial_category": "experiment",
        "ground_truth": np.array(table.concepts)[table.concept_I[table.image_R]],
        "level": table.level_I[table.image_R],
        "image_filename": names[table.image_R],
        "clean_image": np.where(table.partner_I >= 0, names[table.partner_I], "")[table.image_R],
        "participant": [f"simulated-{p:03d}" for p in table.participant_R],
        "simulated": True,
        "soft_correct": table.score_R if (table.score_R % 1).any() else table.score_R.astype(bool),
    }
    for kind, values in (
        ("activation", table.activation_UI),
        ("ablation", table.ablation_UI),
        ("amplification", table.amplification_UI),
    ):
        for u, unit in enumerate(table.units):
            if np.isfinite(values[u]).any():
                frame[unit_column(kind, unit)] = values[u, table.image_R].round(6)
    return pd.DataFrame(frame)


def true_scores(
    design: StudyDesign, unit: PlantedUnit, levels: Sequence[int] = (3, 4), percentile: float = 0.95, n: int = 400_000
) -> dict[str, float]:
    """What S, R and H (preset `default`, all kinds counted) tend to as images and participants grow.

    S is exact; R and H are means over `n` simulated images with the participants' skill integrated out. Only for a unit
    with normal noise that responds to its concept alone, and for recognition that is yes or no.
    """
    generator = np.random.default_rng(20_000)
    concept = list(design.concepts).index(unit.concept)
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(15)
    node_weights = node_weights / node_weights.sum()
    mean_activation, recognised, above, above_score = {}, {}, 0.0, 0.0
    threshold = float(ndtri(percentile))
    for level in design.kept:
        concept_I, level_I = np.full(n, concept), np.full(n, level)
        easy_I = generator.standard_normal(n)
        a_I = _responses(design, unit, concept_I, level_I, easy_I, generator)
        odds_I = _log_odds(design, concept_I, level_I, easy_I)
        named_I = expit(odds_I[:, None] + design.skill_spread * nodes) @ node_weights
        mean_activation[level] = np.abs(a_I).mean()
        recognised[level] = (np.abs(a_I) * named_I).sum() / named_I.sum()
        above += float((a_I > threshold).mean())
        above_score += float((named_I * (a_I > threshold)).mean())
    ratios = np.array([recognised[level] / mean_activation[CLEAN] for level in levels])
    return {
        "S": float(common_language_effect(np.array(unit.strength))),
        "R": float(np.minimum(ratios, 1 / ratios).mean()),
        "H": above_score / above,
    }


def _responses(
    design: StudyDesign,
    unit: PlantedUnit,
    concept_I: Ints,
    level_I: Ints,
    easy_I: Floats,
    generator: np.random.Generator,
) -> Floats:
    n = len(concept_I)
    if unit.noise in ("constant", "dead"):
        return np.full(n, 0.7 if unit.noise == "constant" else 0.0)
    strengths = {unit.concept: unit.strength, **unit.also}
    response = np.zeros(n)
    for concept, strength in strengths.items():
        response += strength * (concept_I == list(design.concepts).index(concept))
    response *= _at_level(design.kept, level_I)
    if unit.only_at is not None:
        response = np.where(level_I == unit.only_at, response, 0.0)
    own = generator.standard_normal(n)
    noise = unit.follows_ease * easy_I + np.sqrt(1 - unit.follows_ease**2) * own
    if unit.noise == "uniform":
        return np.asarray(response + generator.uniform(0, np.sqrt(12), n))
    if unit.noise == "sparse":
        return np.asarray(np.maximum(response + noise - 1, 0))
    return np.asarray(response + noise)


def _log_odds(design: StudyDesign, concept_I: Ints, level_I: Ints, easy_I: Floats) -> Floats:
    by_concept = np.array([design.concept_ease.get(concept, 0.0) for concept in design.concepts])
    return np.asarray(_at_level(design.ease, level_I) + by_concept[concept_I] + design.ease_spread * easy_I)


def _at_level(by_level: Mapping[int, float], level_I: Ints) -> Floats:
    levels, position_I = np.unique(level_I, return_inverse=True)
    return np.asarray(np.array([by_level[int(level)] for level in levels])[position_I])
