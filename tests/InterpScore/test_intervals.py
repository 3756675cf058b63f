"""Guards intervals of folded values: they are the projection of a confidence region, and cover a truth of 1."""

import numpy as np
import pytest
from scipy.stats import f as fisher

from InterpScore.intervals import (
    Coordinates,
    Folded,
    Part,
    around_estimate,
    interval_of_draws,
    mean_of_folds,
    projected_interval,
    score_interval,
)


def coordinates_of(theta, draws, weights, folded):
    """Of one unit, whose draws are given as (K, B)."""
    k = len(theta)
    bounds = np.array([np.zeros(k), np.ones(k)])
    return Coordinates(theta[None], draws[None], np.array([weights]), np.array(folded), bounds, np.zeros(1))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("weights", "folded"), [([0.5, 0.5], [True, True]), ([0.3, 0.4, 0.3], [False, True, True])])
def test_ends_are_the_extremes_of_the_score_over_the_region(seed, weights, folded):
    generator = np.random.default_rng(seed)
    k, images = len(weights), 12
    theta = np.where(folded, generator.normal(0, 0.4, k), generator.uniform(0.3, 0.7, k))
    mixing = (
        generator.normal(0, 0.15, (k, k)) * np.where(folded, 1, 0.2)[:, None]
    )  # plain ones are far from their bounds
    draws = theta[:, None] + mixing @ generator.normal(size=(k, 4000))
    unit = coordinates_of(theta, draws, weights, folded)
    low, high = projected_interval(unit, np.array([float(images)]), 0.95)

    covariance = np.cov(draws)
    nu = images - 1
    size = {n: n * nu / (nu - n + 1) * fisher.ppf(0.95, n, nu - n + 1) for n in range(1, k + 1)}
    reach = np.array(folded) & (np.abs(theta) <= np.sqrt(size[1] * np.diag(covariance)))
    n = min(k, 1 + reach.sum() + (not all(folded))) if reach.any() else 1
    ball = generator.normal(size=(200_000, k))
    ball *= (generator.random((len(ball), 1)) ** (1 / k)) / np.linalg.norm(ball, axis=1, keepdims=True)
    around = ball @ np.linalg.cholesky(covariance).T
    lowest, highest = (
        function(unit.score(theta + np.sqrt(size[m]) * around)) for function, m in ((np.min, 1), (np.max, n))
    )
    assert low[0] == pytest.approx(lowest, abs=0.01)
    assert high[0] == pytest.approx(highest, abs=0.01)
    assert low[0] <= unit.score(theta[None])[0] <= high[0]


@pytest.mark.parametrize("truth", [0.5, 0.95, 1.0])
@pytest.mark.parametrize("groups", [1, 2])
def test_intervals_cover_stabilities_up_to_1_where_percentiles_do_not(truth, groups):
    generator, units, images, n_draws = np.random.default_rng(groups), 300, 12, 300

    def log_ratio(perturbed_UN, clean_UN, weights):
        (p, q) = weights
        return np.log((perturbed_UN @ p) / p.sum(axis=0)) - np.log((clean_UN @ q) / q.sum(axis=0))

    def gamma(size):
        return generator.gamma(4, 0.25, size)

    def weights():
        return generator.gamma(1 - 2 / images, size=(images, n_draws))

    clean, clean_weights, one = gamma((units, images)), weights(), np.ones((images, 1))
    perturbed = [truth * gamma((units, images)) for _ in range(groups)]
    point = np.stack([log_ratio(p, clean, (one, one))[:, 0] for p in perturbed])
    draws = np.stack([log_ratio(p, clean, (weights(), clean_weights)) for p in perturbed])
    score, score_draws = mean_of_folds(point[:, :, None])[:, 0], mean_of_folds(draws)
    part = Part(score, score_draws, np.ones(units), folded=Folded(point, draws, np.full(units, float(images))))
    low, high = score_interval(score, score_draws, [part], 0.95)
    assert ((low <= score) & (score <= high)).all()
    assert ((low <= truth) & (truth <= high)).mean() > 0.91
    if truth == 1:
        assert (interval_of_draws(score, score_draws, 0.95)[1] < 1).all()


def test_too_few_images_give_no_interval():
    generator = np.random.default_rng(0)
    draws = generator.normal(0, 0.1, (2, 100))
    unit = coordinates_of(np.zeros(2), draws, [0.5, 0.5], [True, True])
    assert np.isnan(projected_interval(unit, np.array([2.0]), 0.95)).all()
    assert np.isfinite(projected_interval(unit, np.array([3.0]), 0.95)).all()


def test_no_interval_of_draws_excludes_its_estimate():
    low, high = interval_of_draws(np.array([0.9, 0.1, np.nan]), np.full((3, 40), 0.5), 0.95)
    assert low[:2].tolist() == [0.5, 0.1]
    assert high[:2].tolist() == [0.9, 0.5]


def test_shifted_draws_have_the_estimate_as_their_median():
    draws = np.random.default_rng(1).normal(0.4, 0.1, (2, 501))
    assert np.median(around_estimate(np.array([0.7, 0.2]), draws), axis=1) == pytest.approx([0.7, 0.2])
