"""The bootstrap over images, or their sources, of units and a few of their concepts. METRICS.md, sections 8 and 10.

Which images are a unit's top images is part of a score, so it is the same in every draw.
Shapes: U units, N images, C concepts, D candidates of a unit, K top images, B draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from Activation_Extraction.base.progress import StageProgress, in_stage
from InterpScore.helpers import Floats, Ints, in_shares, on_all_cores
from InterpScore.labelling.bootstrap.graded_draws import graded_auprc_draws
from InterpScore.labelling.bootstrap.moments import ConceptMoments, Draws, UnitMoments
from InterpScore.labelling.pair_scores import WPMI_A, By, Images, PairScores, wpmi_counted, wpmi_terms
from InterpScore.labelling.presence import GradedPresence, Presence
from InterpScore.labelling.ranking import Activations, order_of
from InterpScore.pairs import formulas

FEWEST_HITS = 5
"""Top images that show the concept, below which there is no interval."""
_UNITS_AT_ONCE = 64


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
        label: lower and upper end of AUPRC, F1, IoU, correlation and cosine with the first candidate, by name.
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

    def of_units(self, candidate_UD: Ints, units: Ints, progress: StageProgress | None = None) -> dict[int, Intervals]:
        """Intervals of some units.

        Args:
            candidate_UD: candidates of every unit, `(U, D)`, the first of them is the label.
        """
        presence, graded_UDB = self.images.presence, None
        if isinstance(presence, GradedPresence) and len(units):
            wanted_UD = candidate_UD[units] if self.by == "auprc" else candidate_UD[units, :1]
            advance = in_stage(progress, "Resampling words", len(np.unique(wanted_UD)))
            graded_UDB = graded_auprc_draws(self.images.a_UN[units], presence, wanted_UD, self.weight_NB, advance)
        shares, advance = in_shares(len(units), _UNITS_AT_ONCE), in_stage(progress, "Resampling", len(units))

        def draw(share: slice) -> dict[int, Intervals]:
            candidate_SD = candidate_UD[units[share]]
            wanted = range(candidate_SD.shape[1]) if self.by == "correlation" else range(1)
            moments = UnitMoments(self._of_concepts, units[share])
            linear = [moments.with_concepts(candidate_SD[:, d]) for d in wanted]
            correlation_SDB, cosine_SB = np.stack([found[0] for found in linear], axis=1), linear[0][1]
            return {
                u: self._of_unit(
                    u, candidate_SD[at], correlation_SDB[at], cosine_SB[at],
                    None if graded_UDB is None else graded_UDB[share.start + at],
                )
                for at, u in enumerate(units[share].tolist())
            }  # fmt: skip

        drawn: dict[int, Intervals] = {}
        for some in on_all_cores(draw, shares):
            drawn |= some
            advance(len(some))
        return drawn

    @cached_property
    def _of_concepts(self) -> ConceptMoments:
        return ConceptMoments(self.images, self.weight_NB)

    def _of_unit(
        self, u: int, candidate_D: Ints, correlation_DB: Floats, cosine_B: Floats, graded_DB: Draws | None
    ) -> Intervals:
        label: dict[str, NDArray[Any]] = {"correlation": correlation_DB[0], "cosine": cosine_B}
        a_N = self.images.a_UN[u]
        if graded_DB is None:
            auprc, f1, iou, chance = self._binary(a_N, candidate_D)
            label |= {"AUPRC": auprc[0], "F1": f1[0], "IoU": iou[0]}
            if self.by == "f1":
                return self._intervals(f1 - chance[1], label)
            above = auprc - chance[0]
        else:
            label |= {"AUPRC": graded_DB[0].astype(float)}
            if self.by == "soft-wpmi":
                return self._intervals(self._wpmi(a_N, candidate_D), label)
            above = graded_DB - self.scores.auprc_at_chance_C[candidate_D[: len(graded_DB)], None]
        return self._intervals(correlation_DB if self.by == "correlation" else above, label)

    def _intervals(self, score_DB: NDArray[Any], label: dict[str, NDArray[Any]]) -> Intervals:
        low_M, high_M = percentiles(np.stack([*score_DB, *label.values()]), self.confidence)
        d = len(score_DB)
        best_D = np.bincount(score_DB.argmax(axis=0), minlength=d) / score_DB.shape[1]
        ends = zip(low_M[d:].tolist(), high_M[d:].tolist(), strict=True)
        return Intervals(low_M[:d], high_M[:d], best_D, dict(zip(label, ends, strict=True)))

    def _binary(self, a_N: Activations, candidate_D: Ints) -> tuple[Floats, Floats, Floats, tuple[Floats, Floats]]:
        """AUPRC, F1, IoU, and the first two at chance, of candidates with presence of 0 and 1, `(D, B)`."""
        presence, n = self.images.presence, self.images.n
        assert isinstance(presence, Presence)
        k_D = presence.top_C[candidate_D]
        top_K = order_of(a_N, int(k_D.max()))
        is_top_DK = np.arange(len(top_K)) < k_D[:, None]
        is_hit_DK = presence.is_shown_CN[candidate_D[:, None], top_K] & is_top_DK
        both = np.concatenate([is_top_DK, is_hit_DK]).astype(np.float32) @ self.weight_NB[top_K]
        top, hits = np.split(both.astype(float), 2)
        shown = self._of_concepts.mean_CB[candidate_D].astype(float) * n
        chance = formulas.auprc_at_chance(n, shown, top), formulas.f1_at_chance(n, shown, top)
        return (
            formulas.auprc(hits, shown, top, n), formulas.f1(hits, shown, top), formulas.iou(hits, shown, top), chance
        )  # fmt: skip

    def _wpmi(self, a_N: Activations, candidate_D: Ints) -> Floats:
        """soft-WPMI with candidates; the prior of each concept is that of the estimate."""
        presence, prior_C = self.images.presence, self.scores.prior_C
        assert isinstance(presence, GradedPresence)
        assert presence.cosine_CN is not None
        assert prior_C is not None
        counted_K = wpmi_counted(self.images.n)
        top_K = order_of(a_N, len(counted_K))
        p_KC = softmax(WPMI_A * presence.cosine_CN[:, top_K].astype(float), axis=0).T
        weight_KB = self.weight_NB[top_K]
        summed = wpmi_terms(p_KC[:, candidate_D], counted_K).T @ weight_KB
        return np.asarray(summed * len(top_K) / weight_KB.sum(axis=0) - prior_C[candidate_D, None])
