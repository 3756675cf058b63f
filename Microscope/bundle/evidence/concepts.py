"""Which units stand for a concept: AUPRC above chance of all units and concepts, METRICS 8. Shapes: U units, N images, C concepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from InterpScore.labelling.pair_scores import Images, scores_of_pairs
from InterpScore.labelling.presence import Presence, presence_of
from Microscope.bundle.evidence.known import Known
from Microscope.bundle.format import ConceptEntry, Concepts
from Microscope.bundle.layers import SourceLayer

MOST_UNITS = 50
RANKED_BY = "AUPRC above chance"
_BLOCK_BYTES = 64_000_000


def ranked_units(layer: SourceLayer, seed: int) -> Mapping[str, NDArray[Any]]:
    """The best units of each concept and their scores, `(C, MOST_UNITS)`, -1 and NaN after the last; images of each.

    Images of equal activation are ranked in a random order, as tables are often sorted by concept.
    """
    presence, rows = _presence(layer, seed)
    count = layer.units
    score_UC = np.full((count, len(presence.concepts)), np.nan)
    at_once = max(1, _BLOCK_BYTES // (4 * len(layer.store)))
    for first in range(0, count, at_once):
        units = range(first, min(first + at_once, count))
        a_uN = np.ascontiguousarray(layer.store.units(layer.layer, units)[rows].T)
        varies = np.isfinite(a_uN).all(1) & (a_uN.min(1) < a_uN.max(1))
        if varies.any():
            images = Images(a_uN[varies], presence, np.arange(len(rows)), rows)
            score_UC[first + np.flatnonzero(varies)] = scores_of_pairs(images, "auprc").score_UC
    k = min(MOST_UNITS, count)
    order_CK = np.argsort(-np.nan_to_num(score_UC.T, nan=-np.inf), axis=1, kind="stable")[:, :k]
    best_CK = np.take_along_axis(score_UC.T, order_CK, 1)
    with np.errstate(invalid="ignore"):
        order_CK = np.where(best_CK > 0, order_CK, -1)
    return {"unit_CK": order_CK, "score_CK": best_CK, "images_C": presence.positives_C}


def _presence(layer: SourceLayer, seed: int) -> tuple[Presence, NDArray[np.int64]]:
    """Which images show which concepts, in a random order; and their rows."""
    rows = np.random.default_rng([seed, 0]).permutation(np.flatnonzero([bool(digest) for digest in layer.hashes]))
    presence = presence_of([layer.concepts[row] for row in rows], len(rows))
    assert isinstance(presence, Presence)
    return presence, rows


def has_concepts(layer: SourceLayer) -> bool:
    """Whether images of the layer that were read show concepts."""
    return any(concept is not None and digest for concept, digest in zip(layer.concepts, layer.hashes, strict=True))


def concepts_of(layer: SourceLayer, known: Known, found: Mapping[str, NDArray[Any]], seed: int) -> Concepts:
    """The file of concepts, with the units whose label each is."""
    presence, rows = _presence(layer, seed)
    labelled: dict[str, list[int]] = {}
    for unit in sorted(known.labels):
        text = known.labels[unit].text
        if text is not None:
            labelled.setdefault(text, []).append(unit)
    entries = []
    for c, name in enumerate(presence.concepts):
        pairs = [(int(u), float(s)) for u, s in zip(found["unit_CK"][c], found["score_CK"][c], strict=True) if u >= 0]
        entries.append(
            ConceptEntry(
                name=name, images=int(found["images_C"][c]), units=[u for u, _ in pairs], score=[s for _, s in pairs],
                labelled=labelled.pop(name, []),
            )
        )  # fmt: skip
    entries += [ConceptEntry(name=name, images=None, units=[], score=[], labelled=units) for name, units in sorted(labelled.items())]  # fmt: skip
    return Concepts(ranked_by=f"{RANKED_BY} on all {len(rows):,} images with an activation", concepts=entries)
