"""Resampling and testing for many units at once.

Shapes: U units, I images, N and M images of one side, P participants, R ratings, B draws.
Activations are `(units, images)`, weights `(images, draws)`, results `(units, draws)`, so that one
matrix product serves every unit and every draw. A draw is a bootstrap resample or a permutation;
the point estimate is the single draw whose weights are all one. METRICS.md, section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from InterpScore.helpers import Bools, Floats, Ints
from InterpScore.options import Adjustment, ScoringOptions

DRAW_BYTES = 128 * 2**20
"""How much memory the weights of one batch of draws may take."""
MOST_DRAWS = 500
"""How many draws a batch may have, since its results for all units take memory as well."""


@dataclass(frozen=True, eq=False)
class DrawWeights:
    """What each image counts for in each draw, all `(I, B)`.

    A rating's weight is its image's times its participant's; ratings enter as totals by image.
    """

    image_IB: Floats
    rating_IB: Floats
    """Σ over the image's ratings of their weight."""
    recognised_IB: Floats
    """The same over the recognised ratings."""
    score_IB: Floats
    """The same, each rating times its score."""
    label_of_IB: Ints | None = None
    """In permutations the image that each image has its concept label and ratings from; None: every one its own."""
    pseudo_2B: Floats | None = None
    """In resamples what one observation at 0 and one at 1 count for, which proportions have besides their own."""

    def analysed(self, options: ScoringOptions) -> Floats:
        """What an image's activation counts for: once, or once a rating."""
        return self.image_IB if options.unit_of_analysis == "image" else self.rating_IB

    def changed(self, change: Callable[[Floats], Floats], label_of_IB: Ints | None) -> DrawWeights:
        """All four weights changed in the same way."""
        ratings = change(self.rating_IB), change(self.recognised_IB), change(self.score_IB)
        return DrawWeights(change(self.image_IB), *ratings, label_of_IB, self.pseudo_2B)

    def only(self, counted_IB: Bools) -> DrawWeights:
        """The same draws with some images left out of each."""
        return self.changed(lambda weights_IB: weights_IB * counted_IB, self.label_of_IB)

    def smoothed(self, proportion_UB: Floats, observations_U: Floats) -> Floats:
        """Proportions in resamples with Jeffreys' prior, without which those of 0 and 1 would not vary.

        Args:
            observations_U: how many independent observations each unit's proportion rests on.
        """
        if self.pseudo_2B is None:
            return proportion_UB
        misses_B, hits_B = self.pseudo_2B
        n_U1 = np.reshape(observations_U, (-1, 1))
        return np.asarray((proportion_UB * n_U1 + hits_B) / (n_U1 + misses_B + hits_B))


class RatingDesign:
    """Who rated which image and how: the part of a study that draws reweight.

    Args:
        image_R: image of each rating, integers in [0, n_images).
        participant_R: participant of each rating, integers from 0.
        score_R: recognition in [0, 1].
        cell_I: the cell each image belongs to (its concept and level), any integers.
        recognised_at: a rating counts as recognised from this score on.
    """

    def __init__(
        self, image_R: Ints, participant_R: Ints, score_R: Floats, cell_I: Ints, recognised_at: float = 0.5
    ) -> None:
        self.n_images, self._cell_I = len(cell_I), cell_I
        self.n_participants = int(participant_R.max()) + 1 if participant_R.size else 0
        self._image_R, self._participant_R = image_R, participant_R
        self._values = {
            "rating": np.ones(len(score_R)),
            "recognised": (score_R >= recognised_at).astype(float),
            "score": score_R,
        }

    @cached_property
    def raters_I(self) -> Ints:
        """How many participants rated each image."""
        pairs = np.unique(np.stack([self._image_R, self._participant_R]), axis=1)
        return np.bincount(pairs[0], minlength=self.n_images)

    def unit_weights(self) -> DrawWeights:
        """The single draw in which every image and every participant counts once."""
        totals = (
            np.bincount(self._image_R, weights=values, minlength=self.n_images) for values in self._values.values()
        )
        return DrawWeights(np.ones((self.n_images, 1)), *(total.astype(float)[:, None] for total in totals))

    def bootstrap(self, n_draws: int, seed: int) -> Iterator[DrawWeights]:
        """Crossed bootstrap of images × participants, in batches that fit in memory.

        Images and participants get independent positive weights of mean 1, a rating the product of
        both, so no draw loses a concept. Participants' weights are standard exponential (the
        Bayesian bootstrap). Images' are gamma with shape `1 − 2/n`, n the size of their cell: the
        exponential in large cells, and in small ones just wider, so that the variance of a cell's
        mean is s²/n rather than s²(n−1)/(n(n+1)) (from three images on; the shape is at least ⅓). The
        pseudo-observations of proportions are gamma with shape ½ (Jeffreys). The draws do not depend on
        how they are batched. Owen 2007; Owen & Eckles 2012; Rubin 1981.
        """
        from scipy.sparse import csr_array  # imported late: only resampling needs it

        shape = (self.n_images, max(self.n_participants, 1))
        tables = [
            csr_array((values, (self._image_R, self._participant_R)), shape=shape) for values in self._values.values()
        ]
        of_images, of_participants, of_pseudo = (np.random.default_rng((seed, stream)) for stream in (0, 1, 2))
        _, cell_I, size_of_cell = np.unique(self._cell_I, return_inverse=True, return_counts=True)
        gamma_I = np.maximum(1 - 2 / size_of_cell[cell_I], 1 / 3)
        for size in _batches(n_draws, shape[0] * 5 + shape[1] * 2):
            image_IB = np.ascontiguousarray((of_images.gamma(gamma_I, size=(size, shape[0])) / gamma_I).T)
            participant_PB = np.ascontiguousarray(of_participants.standard_exponential((size, shape[1])).T)
            pseudo_2B = of_pseudo.gamma(0.5, size=(size, 2)).T
            ratings, recognised, scores = (image_IB * (table @ participant_PB) for table in tables)
            yield DrawWeights(image_IB, ratings, recognised, scores, pseudo_2B=pseudo_2B)

    def split_half_reliability(self, images: Ints, n_splits: int = 100, seed: int = 0) -> float:
        """Reliability of the images' recognition rates, by splitting the participants in two.

        Pearson's r between the rates of both halves over the images that both halves rated, averaged
        over random splits and stepped up by Spearman-Brown. NaN with fewer than three such images, or
        where the halves disagree altogether (r = −1).
        """
        from scipy.sparse import csr_array  # imported late, as above

        row_I = np.full(self.n_images, -1)
        row_I[images] = np.arange(len(images))
        chosen_R = row_I[self._image_R] >= 0
        if len(images) < 3 or not chosen_R.any():
            return float("nan")
        cells = row_I[self._image_R[chosen_R]], self._participant_R[chosen_R]
        shape = (len(images), self.n_participants)
        tables = [csr_array((self._values[name][chosen_R], cells), shape=shape) for name in ("rating", "score")]
        generator = np.random.default_rng(seed)
        r_S = np.concatenate(
            [_correlations_of_halves(tables, generator, size) for size in _batches(n_splits, 10 * len(images))]
        )
        r = float(np.nanmean(r_S)) if np.isfinite(r_S).any() else float("nan")
        return 2 * r / (1 + r) if r > -1 else float("nan")


def _correlations_of_halves(tables: Sequence[Any], generator: np.random.Generator, n_splits: int) -> Floats:
    """Pearson's r over images between the rates of both halves of the participants, in random splits, `(S,)`.

    Args:
        tables: number and total score of each participant's ratings of each image, sparse `(I, P)`.

    Returns:
        NaN where both halves rated fewer than three images, or all images of a half have the same rate.
    """
    n_participants = tables[0].shape[1]
    half_PS = np.stack([generator.permutation(n_participants) % 2 for _ in range(n_splits)], axis=1)
    halves_PS = np.concatenate([half_PS == 0, half_PS == 1], axis=1).astype(float)  # both halves of every split
    count_IS, total_IS = (table @ halves_PS for table in tables)
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = np.split(total_IS / count_IS, 2, axis=1)
        both_IS = np.isfinite(rates[0]) & np.isfinite(rates[1])
        n_S = both_IS.sum(axis=0)
        centred = [np.where(both_IS, rate - np.where(both_IS, rate, 0).sum(axis=0) / n_S, 0) for rate in rates]
        (xx_S, yy_S), xy_S = ((part**2).sum(axis=0) for part in centred), (centred[0] * centred[1]).sum(axis=0)
        r_S = np.clip(xy_S / np.sqrt(xx_S * yy_S), -1, 1)
    vary_S = [
        np.where(both_IS, rate, -np.inf).max(axis=0) > np.where(both_IS, rate, np.inf).min(axis=0) for rate in rates
    ]
    return np.where((n_S >= 3) & vary_S[0] & vary_S[1], r_S, np.nan)


def permuted_within(strata_I: Ints, n_draws: int, seed: int) -> Iterator[Ints]:
    """Random orders of the images that stay within their stratum, as `(I, b)` positions, in batches."""
    generator = np.random.default_rng(seed)
    strata = [np.flatnonzero(strata_I == stratum) for stratum in np.unique(strata_I)]
    for size in _batches(n_draws, 4 * len(strata_I)):
        position_IB = np.empty((len(strata_I), size), dtype=np.int64)
        for members in strata:
            position_IB[members] = generator.permuted(np.repeat(members[:, None], size, axis=1), axis=0)
        yield position_IB


def permuted_labels(sample: DrawWeights, strata_I: Ints, n_draws: int, seed: int) -> Iterator[DrawWeights]:
    """Draws in which images exchange their concept labels, each with its ratings, within their stratum."""
    for order_IB in permuted_within(strata_I, n_draws, seed):
        yield sample.changed(partial(_reordered, order_IB=order_IB), order_IB)


def _reordered(weights_I1: Floats, order_IB: Ints) -> Floats:
    return np.take(weights_I1[:, 0], order_IB)


def _batches(n_draws: int, numbers_per_draw: int) -> Iterator[int]:
    size = min(MOST_DRAWS, max(1, DRAW_BYTES // (8 * max(numbers_per_draw, 1))))
    for start in range(0, n_draws, size):
        yield min(size, n_draws - start)


def adjusted_p_values(p_U: Floats, method: Adjustment) -> Floats:
    """p-values adjusted for the number of tests; NaN stays NaN and does not count as a test.

    `bh` Benjamini-Hochberg 1995 and `by` Benjamini-Yekutieli 2001 hold the false discovery rate,
    `holm` Holm 1979 the family-wise error, `none` returns them as they are.

    >>> adjusted_p_values(np.array([.01, .04, .03]), "bh").round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    adjusted = np.array(p_U, dtype=float)
    tested = np.flatnonzero(np.isfinite(adjusted))
    if method == "none" or tested.size == 0:
        return adjusted
    ascending = tested[np.argsort(adjusted[tested], kind="stable")]
    n = len(ascending)
    rank = np.arange(1, n + 1)
    if method == "holm":
        stepped = np.maximum.accumulate(adjusted[ascending] * (n - rank + 1))
    else:
        penalty = (1 / rank).sum() if method == "by" else 1.0
        stepped = np.minimum.accumulate((adjusted[ascending] * n * penalty / rank)[::-1])[::-1]
    adjusted[ascending] = np.minimum(stepped, 1)
    return adjusted
