"""How many raters, pictures and participants a study needs: power and width of the interval of H, by simulation.

Recognition is logistic: logit p = μ + picture + participant, both normal; μ is such that the mean of p is the H that is
expected. Every simulated study goes through the crossed bootstrap that scores real ones (METRICS.md, section 6).

Shapes: S studies, I pictures of one study, R ratings, B draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from Activation_Extraction.base.errors import InputError
from InterpScore.helpers import Floats, Ints
from InterpScore.intervals import interval_of_draws
from InterpScore.resampling import RatingDesign

_NODES = 64
_STUDIES_AT_ONCE = 50


@dataclass(frozen=True)
class Expectation:
    """What is expected of people.

    Attributes:
        recognition: the true H: mean recognition of the unit's high-activation pictures.
        against: the value that H is to be told from, such as the concept's mean recognition.
        picture_sd, participant_sd: how far pictures and participants differ, on the scale of log odds.
    """

    recognition: float = 0.75
    against: float = 0.5
    picture_sd: float = 2.5
    participant_sd: float = 0.7

    @property
    def mean_log_odds(self) -> float:
        """μ, for which the mean of p is `recognition`."""
        node, weight = np.polynomial.hermite_e.hermegauss(_NODES)
        spread = math.hypot(self.picture_sd, self.participant_sd) * node
        share = weight / weight.sum()
        return float(brentq(lambda mu: float(share @ expit(mu + spread)) - self.recognition, -60, 60))


@dataclass(frozen=True)
class Design:
    """A study.

    Attributes:
        pictures: of high activation, behind the H of one unit.
        raters: of each picture.
        participants: how many people that takes, with `all_pictures` pictures in the study and `trials` a person.
    """

    pictures: int
    raters: int
    participants: int


@dataclass(frozen=True)
class Power:
    """What a design gives: mean width of the interval of H, share of studies whose interval excludes `against` on the right
    side, and share whose interval covers the true H."""

    design: Design
    width: float
    power: float
    coverage: float


def designs(pictures: Sequence[int], raters: Sequence[int], all_pictures: int, trials: int) -> list[Design]:
    """Every combination, with the participants that it costs.

    Raises:
        InputError: more pictures of one unit than in the study, or more trials than pictures.
    """
    if max(pictures) > all_pictures:
        raise InputError(f"--pictures: found {max(pictures)}; expected up to {all_pictures}, the pictures of the study")
    if trials > all_pictures:
        raise InputError(f"--trials: found {trials}; expected up to {all_pictures}, as each person sees a picture once")
    return [Design(n, k, max(k, math.ceil(all_pictures * k / trials))) for n in pictures for k in raters]


def power_of(
    design: Design, expected: Expectation, studies: int, resamples: int, confidence: float = 0.95, seed: int = 0
) -> Power:
    """Simulate a design, with one bootstrap for many studies at once: their pictures and participants are disjoint."""
    low, high, truth = [], [], expected.recognition
    for start in range(0, studies, _STUDIES_AT_ONCE):
        size = min(_STUDIES_AT_ONCE, studies - start)
        image_R, participant_R, score_R = _ratings(design, expected, size, np.random.default_rng((seed, start)))
        ends = _intervals(design, size, image_R, participant_R, score_R, resamples, confidence, seed + start)
        low.append(ends[0])
        high.append(ends[1])
    low_S, high_S = np.concatenate(low), np.concatenate(high)
    beyond_S = low_S > expected.against if truth > expected.against else high_S < expected.against
    covered_S = (low_S <= truth) & (truth <= high_S)
    return Power(design, float((high_S - low_S).mean()), float(beyond_S.mean()), float(covered_S.mean()))


def _ratings(
    design: Design, expected: Expectation, studies: int, generator: np.random.Generator
) -> tuple[Ints, Ints, Floats]:
    """Picture, participant and score of every rating of some studies, `(S · I · raters,)` each."""
    n, k, people = design.pictures, design.raters, design.participants
    # For each picture the raters are k different people: those with the smallest of random numbers.
    rater_SIk = np.argpartition(generator.random((studies, n, people)), k - 1, axis=2)[:, :, :k]
    picture_SI = generator.normal(0, expected.picture_sd, (studies, n))
    person_SP = generator.normal(0, expected.participant_sd, (studies, people))
    study = np.arange(studies)[:, None, None]
    p_SIk = expit(expected.mean_log_odds + picture_SI[:, :, None] + person_SP[study, rater_SIk])
    image = np.broadcast_to((study * n + np.arange(n)[None, :, None]), rater_SIk.shape)
    participant_R = np.unique((study * people + rater_SIk).ravel(), return_inverse=True)[1]
    return image.ravel(), participant_R, (generator.random(p_SIk.shape) < p_SIk).ravel().astype(float)


def _intervals(
    design: Design, studies: int, image_R: Ints, participant_R: Ints, score_R: Floats, resamples: int, confidence: float,
    seed: int,
) -> tuple[Floats, Floats]:  # fmt: skip
    """The interval of H of every study, as `InterpScore.human_alignment` has it for given pictures, `(S,)` each."""
    cell_I = np.repeat(np.arange(studies), design.pictures)
    rated = RatingDesign(image_R, participant_R, score_R, cell_I)

    def by_study(weights_IB: Floats) -> Floats:
        return np.asarray(weights_IB.reshape(studies, design.pictures, -1).sum(axis=1))

    sample = rated.unit_weights()
    point_S = (by_study(sample.score_IB) / by_study(sample.rating_IB))[:, 0]
    observations_S = np.full(studies, design.pictures * math.sqrt(design.raters))
    draws = [
        weights.smoothed(by_study(weights.score_IB) / by_study(weights.rating_IB), observations_S)
        for weights in rated.bootstrap(resamples, seed)
    ]
    return interval_of_draws(point_S, np.concatenate(draws, axis=1), confidence)


def advice(found: Sequence[Power], wanted: float) -> str:
    """The design with enough power that costs the fewest participants, in words."""
    enough = [each for each in found if each.power >= wanted]
    if not enough:
        best = max(found, key=lambda each: each.power)
        return f"No design has a power of {wanted:.2f}; the highest is {best.power:.2f}, with {_in_words(best.design)}"
    cheapest = min(enough, key=lambda each: (each.design.participants, -each.power))
    return f"The fewest participants with a power of {wanted:.2f}: {_in_words(cheapest.design)} (power {cheapest.power:.2f}, width {cheapest.width:.2f})"  # fmt: skip


def _in_words(design: Design) -> str:
    return f"{design.participants:,} participants, {design.raters} raters a picture, {design.pictures} pictures a unit"
