"""Units with known concepts: noise that is shifted on the images of one concept, or of two."""

from dataclasses import dataclass

import numpy as np

from InterpScore.labelling.presence import Presence, shown_pairs


@dataclass(frozen=True)
class Planted:
    """Activations (images, units), what images show, and unit → its concepts."""

    a_IU: np.ndarray
    presence: Presence
    truth: dict[int, list[str]]


def planted(units, concepts, images, prevalence, of_units, *, shift=2.0, several=1, seed=0) -> Planted:
    """The first `of_units` units are shifted by some standard deviations on the images of their concepts, the rest is noise."""
    generator = np.random.default_rng(seed)
    names = [f"c{c:04d}" for c in range(concepts)]
    shown = [
        generator.choice(images, max(2, round(share * images)), replace=False)
        for share in np.broadcast_to(prevalence, concepts)
    ]
    a_IU = generator.standard_normal((images, units), dtype=np.float32)
    truth = {}
    for unit in range(of_units):
        own = [(unit + 7 * k) % concepts for k in range(several)]
        a_IU[np.unique(np.concatenate([shown[c] for c in own])), unit] += shift
        truth[unit] = [names[c] for c in own]
    concept_P = np.repeat(np.arange(concepts), [len(rows) for rows in shown])
    return Planted(a_IU, shown_pairs(names, images, concept_P, np.concatenate(shown)), truth)


def share_right(labels, truth) -> float:
    """Share of planted units that have their own concept as label."""
    found = labels.table["concept"]
    return float(np.mean([found[unit] in concepts for unit, concepts in truth.items()]))


def share_of_noise(labels, truth) -> float:
    """Share of the other units that have a label."""
    found = labels.table["concept"]
    return float(np.mean([found[unit] is not None for unit in range(len(found)) if unit not in truth]))
