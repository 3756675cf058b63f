"""Correlation and cosine of units and concepts in every draw of a bootstrap, from weighted sums. METRICS.md, section 8.

Shapes: U units, N images, C concepts, B draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from InterpScore.helpers import Floats, Ints
from InterpScore.labelling.pair_scores import Images
from InterpScore.labelling.presence import GradedPresence

Draws = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ConceptMoments:
    """Weighted means over images of the presence of every concept, and of its square.

    Attributes:
        weight_NB: what each image counts for in each draw, of mean 1.
    """

    images: Images
    weight_NB: Draws

    @cached_property
    def mean_CB(self) -> Draws:
        """Mean of y."""
        presence = self.images.presence
        if isinstance(presence, GradedPresence):
            return np.asarray(presence.y_CN.astype(np.float32) @ self.weight_NB / np.float32(presence.n))
        ones_P = np.ones(len(presence.image_P), dtype=np.float32)
        shape = len(presence.concepts), presence.n
        shown_CN = csr_array((ones_P, presence.image_P, presence.start_C), shape=shape)
        return np.asarray(shown_CN @ self.weight_NB / np.float32(presence.n))

    @cached_property
    def square_CB(self) -> Draws:
        """Mean of y²."""
        presence = self.images.presence
        if not isinstance(presence, GradedPresence):
            return self.mean_CB
        return np.asarray(np.square(presence.y_CN).astype(np.float32) @ self.weight_NB / np.float32(presence.n))


class UnitMoments:
    """Weighted means over images of the standardized activations of some units, of their squares, and with concepts."""

    def __init__(self, concepts: ConceptMoments, units: Ints) -> None:
        a_UN = concepts.images.a_UN[units]
        self.concepts = concepts
        self.offset_U1 = a_UN.mean(axis=1, keepdims=True, dtype=float)
        deviation_UN = (a_UN - self.offset_U1).astype(np.float32)
        self.spread_U1 = np.maximum(np.sqrt(np.mean(deviation_UN**2, axis=1, keepdims=True, dtype=float)), 1e-30)
        self.z_UN = deviation_UN / self.spread_U1.astype(np.float32)
        self.mean_UB: Draws = self._mean(self.z_UN)
        self.square_UB: Draws = self._mean(np.square(self.z_UN))

    def _mean(self, x_UN: Draws) -> Draws:
        return np.asarray(x_UN @ self.concepts.weight_NB / np.float32(x_UN.shape[1]))

    def with_concepts(self, concept_U: Ints) -> tuple[Floats, Floats]:
        """Correlation and cosine of each unit with a concept, `(U, B)` each."""
        mean_UB, square_UB = (
            x_CB[concept_U].astype(float) for x_CB in (self.concepts.mean_CB, self.concepts.square_CB)
        )
        product_UB = self._product(concept_U).astype(float)
        spread_UB = np.maximum(self.square_UB - np.square(self.mean_UB, dtype=float), 0)
        spread_UB = spread_UB * np.maximum(square_UB - mean_UB**2, 0)
        # Of activations themselves: a = offset + spread × z.
        of_a_UB = (
            self.spread_U1**2 * self.square_UB + 2 * self.spread_U1 * self.offset_U1 * self.mean_UB + self.offset_U1**2
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation_UB = (product_UB - self.mean_UB * mean_UB) / np.sqrt(spread_UB)
            cosine_UB = (self.spread_U1 * product_UB + self.offset_U1 * mean_UB) / np.sqrt(of_a_UB * square_UB)
        return correlation_UB, cosine_UB

    def _product(self, concept_U: Ints) -> Draws:
        """Weighted mean of the product with presence."""
        presence, weight_NB = self.concepts.images.presence, self.concepts.weight_NB
        if isinstance(presence, GradedPresence):
            return self._mean(self.z_UN * presence.y_CN[concept_U].astype(np.float32))
        rows: list[Any] = [presence.images_of(c) for c in concept_U.tolist()]
        products = [z_N[shown] @ weight_NB[shown] for z_N, shown in zip(self.z_UN, rows, strict=True)]
        return np.asarray(np.stack(products) / np.float32(presence.n))
