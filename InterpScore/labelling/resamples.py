"""The bootstrap over images, or their sources, of units and a few of their concepts. METRICS.md, sections 8 and 10.

Which images are a unit's top images is part of a score, so it is the same in every draw.
Shapes: U units, N images, C concepts, D candidates of a unit, K top images, B draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import softmax

from InterpScore.helpers import Floats, Ints, on_all_cores
from InterpScore.labelling.pair_scores import WPMI_A, By, Images, PairScores, wpmi_counted, wpmi_terms
from InterpScore.labelling.presence import GradedPresence, Presence
from InterpScore.labelling.ranking import order_of, places_of, top_images
from InterpScore.pairs import formulas

FEWEST_HITS = 5
"""Top images that show the concept, below which there is no interval."""
_UNITS_AT_ONCE = 64

Draws = NDArray[np.float32]


def weights(group_N: Ints, draws: int, seed: int) -> Draws:
    """What each image counts for in each draw, of mean 1: sources get exponential weights (Rubin 1981), `(N, B)`."""
    _, code_N = np.unique(group_N, return_inverse=True)
    generator = np.random.default_rng((seed, 2))
    weight_NB = generator.standard_exponential((int(code_N.max()) + 1, draws), dtype=np.float32)[code_N]
    weight_NB *= len(code_N) / weight_NB.sum(axis=0, dtype=float)
    return weight_NB


@dataclass(frozen=True, eq=False)
class Intervals:
    """What draws say of a unit.

    Attributes:
        low_D, high_D: interval of what concepts are chosen by, for each candidate.
        best_D: share of the draws in which each candidate is best.
        label: lower and upper end of AUPRC, F1, IoU and correlation with the first candidate, by name.
    """

    low_D: Floats
    high_D: Floats
    best_D: Floats
    label: dict[str, tuple[float, float]]


def percentiles(draws_MB: NDArray[Any], confidence: float) -> tuple[Floats, Floats]:
    """Lower and upper percentile of draws, `(M,)` each."""
    ranked_MB = np.sort(np.asarray(draws_MB, dtype=np.float32), axis=1)
    last = ranked_MB.shape[1] - 1
    place = last * (1 - confidence) / 2
    below, share = int(place), place - int(place)
    above = min(below + 1, last)
    low_M = ranked_MB[:, below] * (1 - share) + ranked_MB[:, above] * share
    high_M = ranked_MB[:, last - below] * (1 - share) + ranked_MB[:, last - above] * share
    return low_M.astype(float), high_M.astype(float)


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Intervals of units and their candidates on some images."""

    images: Images
    scores: PairScores
    by: By
    weight_NB: Draws
    confidence: float

    def of_units(
        self, candidate_UD: Ints, units: Ints, advance: Callable[[int], None] = lambda count: None
    ) -> dict[int, Intervals]:
        """Intervals of some units.

        Args:
            candidate_UD: candidates of every unit, `(U, D)`, the first of them is the label.
            advance: called with the number of units that are done.
        """
        shares = [units[at : at + _UNITS_AT_ONCE] for at in range(0, len(units), _UNITS_AT_ONCE)]
        of_graded = self._graded_auprc(candidate_UD, units) if self._graded is not None and len(units) else {}
        drawn: dict[int, Intervals] = {}

        def draw(share: Ints) -> dict[int, Intervals]:
            a_UN, mean_UB, square_UB = self._moments(share)
            return {
                u: self._of_unit(u, candidate_UD[u], (a_UN[at], mean_UB[at], square_UB[at]), of_graded.get(u))
                for at, u in enumerate(share.tolist())
            }

        for share, some in zip(shares, on_all_cores(draw, shares), strict=True):
            drawn |= some
            advance(len(share))
        return drawn

    @property
    def _graded(self) -> GradedPresence | None:
        return self.images.presence if isinstance(self.images.presence, GradedPresence) else None

    @cached_property
    def _shown_CB(self) -> Draws:
        """Weight of the images that show each concept; Σ w y where presence is graded."""
        presence = self.images.presence
        if isinstance(presence, GradedPresence):
            return np.asarray(presence.y_CN.astype(np.float32) @ self.weight_NB)
        return np.add.reduceat(self.weight_NB[presence.image_P], presence.start_C[:-1], axis=0)

    @cached_property
    def _square_CB(self) -> Draws:
        """Σ w y² of each concept."""
        if self._graded is None:
            return self._shown_CB
        return np.asarray(np.square(self._graded.y_CN).astype(np.float32) @ self.weight_NB)

    def _moments(self, units: Ints) -> tuple[Draws, Draws, Draws]:
        """The units' deviations from their means, and the mean of these and of their squares in every draw."""
        a_UN: Draws = self.images.a_UN[units].astype(np.float32)
        a_UN -= a_UN.mean(axis=1, keepdims=True, dtype=float).astype(np.float32)
        a_UN /= np.maximum(np.sqrt(np.mean(a_UN**2, axis=1, keepdims=True, dtype=float)), 1e-30).astype(np.float32)
        n = np.float32(self.images.n)
        return a_UN, np.asarray(a_UN @ self.weight_NB / n), np.asarray(np.square(a_UN) @ self.weight_NB / n)

    def _of_unit(
        self, u: int, candidate_D: Ints, moments: tuple[Draws, Draws, Draws], graded_DB: Draws | None
    ) -> Intervals:
        order_N = order_of(self.images.a_UN[u])
        correlation = self._correlation(candidate_D if self.by == "correlation" else candidate_D[:1], *moments)
        label = {"correlation": correlation[0]}
        if graded_DB is None:
            auprc, f1, iou, chance = self._binary(order_N, candidate_D)
            label |= {"AUPRC": auprc[0], "F1": f1[0], "IoU": iou[0]}
            if self.by == "f1":
                return self._intervals(f1 - chance[1], label)
            above = auprc - chance[0]
        else:
            label |= {"AUPRC": graded_DB[0].astype(float)}
            if self.by == "soft-wpmi":
                return self._intervals(self._wpmi(order_N, candidate_D), label)
            above = graded_DB - self.scores.auprc_at_chance_C[candidate_D[: len(graded_DB)], None]
        return self._intervals(correlation if self.by == "correlation" else above, label)

    def _intervals(self, score_DB: NDArray[Any], label: dict[str, NDArray[Any]]) -> Intervals:
        low_M, high_M = percentiles(np.stack([*score_DB, *label.values()]), self.confidence)
        d = len(score_DB)
        best_D = np.bincount(score_DB.argmax(axis=0), minlength=d) / score_DB.shape[1]
        ends = zip(low_M[d:].tolist(), high_M[d:].tolist(), strict=True)
        return Intervals(low_M[:d], high_M[:d], best_D, dict(zip(label, ends, strict=True)))

    def _binary(self, order_N: Ints, candidate_D: Ints) -> tuple[Floats, Floats, Floats, tuple[Floats, Floats]]:
        """AUPRC, F1, IoU, and the first two at chance, of candidates with presence of 0 and 1, `(D, B)`."""
        presence, n = self.images.presence, self.images.n
        assert isinstance(presence, Presence)
        k_D = presence.top_C[candidate_D]
        top_K = order_N[: k_D.max()]
        is_top_DK = np.arange(len(top_K)) < k_D[:, None]
        is_hit_DK = presence.is_shown_CN[candidate_D[:, None], top_K] & is_top_DK
        both = np.concatenate([is_top_DK, is_hit_DK]).astype(np.float32) @ self.weight_NB[top_K]
        top, hits = np.split(both.astype(float), 2)
        shown = self._shown_CB[candidate_D].astype(float)
        chance = formulas.auprc_at_chance(n, shown, top), formulas.f1_at_chance(n, shown, top)
        return (
            formulas.auprc(hits, shown, top, n), formulas.f1(hits, shown, top), formulas.iou(hits, shown, top), chance
        )  # fmt: skip

    def _correlation(self, candidate_D: Ints, a_N: Draws, mean_B: Draws, square_B: Draws) -> Floats:
        """Weighted Pearson correlation with candidates, `(D, B)`."""
        n, presence = self.images.n, self.images.presence
        products = []
        for c in candidate_D:
            if isinstance(presence, Presence):
                rows = presence.images_of(int(c))
                products.append(a_N[rows] @ self.weight_NB[rows])
            else:
                products.append((a_N * presence.y_CN[c].astype(np.float32)) @ self.weight_NB)
        shown, square = self._shown_CB[candidate_D].astype(float) / n, self._square_CB[candidate_D].astype(float) / n
        covariance = np.stack(products).astype(float) / n - mean_B * shown
        spread = np.maximum(square_B - np.square(mean_B, dtype=float), 0) * np.maximum(square - shown**2, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(covariance / np.sqrt(spread))

    # Graded presence

    def _graded_auprc(self, candidate_UD: Ints, units: Ints) -> dict[int, Draws]:
        """AUPRC of units and their candidates, or labels alone where it is not what concepts are chosen by, `(D, B)` each."""
        graded, k_C = self._graded, self.images.presence.top_C
        assert graded is not None
        wanted_UD = candidate_UD[units] if self.by == "auprc" else candidate_UD[units, :1]
        top_UK = top_images(self.images.a_UN[units], int(k_C[wanted_UD].max()))
        drawn = np.empty((*wanted_UD.shape, self.weight_NB.shape[1]), dtype=np.float32)

        def draw(c: int) -> None:
            of_c = np.argwhere(wanted_UD == c)
            place_N, _ = places_of(graded.y_CN[c])
            place_MK = place_N[top_UK[of_c[:, 0], : k_C[c]]]
            ends_E = np.unique(place_MK)
            # Weight of the images down to each place that a top image has; one row of a sparse matrix a stretch.
            order_N = np.argsort(place_N, kind="stable")[: ends_E[-1]]
            stretches = csr_array(
                (np.ones(len(order_N), np.float32), order_N, np.append(0, ends_E)), shape=(len(ends_E), graded.n)
            )
            down_to_EB = np.cumsum(stretches @ self.weight_NB, axis=0)
            for (u, d), place_K in zip(of_c, place_MK, strict=True):
                by_place_K = np.argsort(place_K)
                place_K = place_K[by_place_K]
                weight_KB = self.weight_NB[top_UK[u, by_place_K]]
                hits_KB = np.cumsum(weight_KB, axis=0)
                last_K = np.searchsorted(place_K, place_K, side="right") - 1
                shares_KB = hits_KB[last_K] / down_to_EB[np.searchsorted(ends_E, place_K)]
                drawn[u, d] = np.einsum("kb,kb->b", weight_KB, shares_KB) / hits_KB[-1]

        for _ in on_all_cores(draw, np.unique(wanted_UD).tolist()):
            pass
        return dict(zip(units.tolist(), drawn, strict=True))

    def _wpmi(self, order_N: Ints, candidate_D: Ints) -> Floats:
        """soft-WPMI with candidates; the prior of each concept is that of the estimate."""
        graded, prior_C = self._graded, self.scores.prior_C
        assert graded is not None
        assert graded.cosine_CN is not None
        assert prior_C is not None
        counted_K = wpmi_counted(self.images.n)
        top_K = order_N[: len(counted_K)]
        p_KC = softmax(WPMI_A * graded.cosine_CN[:, top_K].astype(float), axis=0).T
        weight_KB = self.weight_NB[top_K]
        summed = wpmi_terms(p_KC[:, candidate_D], counted_K).T @ weight_KB
        return np.asarray(summed * len(top_K) / weight_KB.sum(axis=0) - prior_C[candidate_D, None])
