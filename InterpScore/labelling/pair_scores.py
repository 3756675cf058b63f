"""Scores of all units and concepts at once, by which concepts are chosen. METRICS.md, sections 8 and 10.

Shapes: U units, N images, C concepts, K top images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from InterpScore.helpers import Floats, Ints, in_shares, on_all_cores
from InterpScore.labelling.presence import AnyPresence, GradedPresence, Presence
from InterpScore.labelling.ranking import Activations, graded_auprc_of_pairs, hits_of_pairs, top_images
from InterpScore.pairs import formulas

By = Literal["auprc", "correlation", "f1", "soft-wpmi"]

WPMI_TOP, WPMI_A, WPMI_LAMBDA, WPMI_FIRST, WPMI_LAST, WPMI_LEAST = 100, 10.0, 1.0, 0.998, 0.97, 1e-7
"""soft-WPMI as in CLIP-Dissect (Oikarinen & Weng 2023): top images, scale of cosines, weight of the prior, probability that
the first and the last of the top images count, and what is added inside the logarithm."""


@dataclass(frozen=True, eq=False)
class Images:
    """Units and concepts on some images, in an order that has nothing to do with what they show.

    Attributes:
        a_UN: activations, finite.
        presence: of every concept, each in an image at least.
        group_N: the source of each image, numbers.
        row_N: which images they are.
    """

    a_UN: Activations
    presence: AnyPresence
    group_N: Ints
    row_N: Ints

    @property
    def n(self) -> int:
        """Number of images."""
        return int(self.a_UN.shape[1])


@dataclass(frozen=True, eq=False)
class PairScores:
    """Scores of all pairs on some images, `(U, C)`.

    Attributes:
        score_UC: what concepts are chosen by: AUPRC or F1 above chance, correlation, or soft-WPMI.
        auprc_UC, auprc_at_chance_C: AUPRC, which is tested whatever concepts are chosen by.
        hits_UC: number of top images that show the concept; None with graded presence.
        prior_C: soft-WPMI's log prior of each concept, else None.
    """

    score_UC: Floats
    auprc_UC: Floats
    auprc_at_chance_C: Floats
    hits_UC: NDArray[np.int32] | None = None
    prior_C: Floats | None = None


def scores_of_pairs(images: Images, by: By, advance: Callable[[int], None] = lambda count: None) -> PairScores:
    """The scores of all units and concepts.

    Args:
        by: what `score_UC` is; `f1` takes presence of 0 and 1, `soft-wpmi` cosines.
        advance: called with the number of units (of concepts, where presence is graded) that are done.
    """
    a_UN, presence, n = images.a_UN, images.presence, images.n
    hits_UC = prior_C = None
    if isinstance(presence, Presence):
        ny_C, k_C = presence.positives_C, presence.top_C
        hits_UC = hits_of_pairs(a_UN, presence, advance)
        auprc_UC = np.asarray(formulas.auprc(hits_UC, ny_C, k_C, n))
        chance_C = np.asarray(formulas.auprc_at_chance(n, ny_C, k_C))
    else:
        auprc_UC, chance_C = graded_auprc_of_pairs(a_UN, presence, advance)
    if by == "auprc":
        score_UC = auprc_UC - chance_C
    elif by == "f1":
        score_UC = formulas.f1(hits_UC, ny_C, k_C) - formulas.f1_at_chance(n, ny_C, k_C)
    elif by == "correlation":
        score_UC = correlations(a_UN, presence)
    else:
        assert isinstance(presence, GradedPresence)
        likelihood_UC = log_likelihoods(a_UN, presence)
        prior_C = WPMI_LAMBDA * (logsumexp(likelihood_UC, axis=0) - np.log(len(a_UN)))
        score_UC = likelihood_UC - prior_C
    return PairScores(score_UC, auprc_UC, chance_C, hits_UC, prior_C)


def correlations(a_UN: Activations, presence: AnyPresence) -> Floats:
    """Pearson correlation of activation and presence of all units and concepts, `(U, C)`; NaN where either is constant.

    Presence of 0 and 1 is summed in float64; graded presence takes one matrix product in the type of the activations.
    """
    score_UC = np.empty((len(a_UN), len(presence.concepts)))
    if isinstance(presence, Presence):
        share_C = presence.positives_C / presence.n
        spread_C = np.sqrt(share_C * (1 - share_C) * presence.n)
    else:
        y_CN = presence.y_CN.astype(a_UN.dtype)
        y_CN -= y_CN.mean(axis=1, keepdims=True, dtype=float).astype(a_UN.dtype)
        spread_C = np.sqrt(np.einsum("cn,cn->c", y_CN, y_CN, dtype=float))

    def correlate(units: slice) -> None:
        centred = a_UN[units] - a_UN[units].mean(axis=1, keepdims=True, dtype=float)
        spread_U = np.sqrt((centred**2).sum(axis=1))
        if isinstance(presence, Presence):
            product = np.stack(
                [np.add.reduceat(one_N.take(presence.image_P), presence.start_C[:-1]) for one_N in centred]
            )
        else:
            product = centred.astype(a_UN.dtype) @ y_CN.T
        with np.errstate(invalid="ignore", divide="ignore"):
            score_UC[units] = product / (spread_U[:, None] * spread_C)

    for _ in on_all_cores(correlate, in_shares(len(a_UN), 64)):
        pass
    return score_UC


def log_likelihoods(a_UN: Activations, presence: GradedPresence) -> Floats:
    """The log-likelihood of each unit's top images under each concept, of soft-WPMI, `(U, C)`."""
    assert presence.cosine_CN is not None
    counted_K = wpmi_counted(presence.n)
    p_NC = np.ascontiguousarray(softmax(WPMI_A * presence.cosine_CN.astype(float), axis=0).T)
    top_UK = top_images(a_UN, len(counted_K))
    score_UC = np.empty((len(a_UN), len(presence.concepts)))

    def score(units: slice) -> None:
        for u in range(units.start, units.stop):
            score_UC[u] = wpmi_terms(p_NC[top_UK[u]], counted_K).sum(axis=0)

    for _ in on_all_cores(score, in_shares(len(a_UN), 32)):
        pass
    return score_UC


def wpmi_counted(n: int) -> Floats:
    """Probability that each of the top images counts, from the first."""
    top = min(WPMI_TOP, n)
    return np.asarray(WPMI_FIRST - np.arange(top) / top * (WPMI_FIRST - WPMI_LAST))


def wpmi_terms(p_KC: Any, counted_K: Floats) -> Floats:
    """What each top image adds to the log-likelihood of each concept."""
    return np.asarray(np.log(1 + counted_K[:, None] * (p_KC - 1) + WPMI_LEAST))
