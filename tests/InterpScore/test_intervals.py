"""Guards intervals of folded values: they are the projection of a confidence region, and cover a truth of 1."""

import numpy as np
import pytest
from scipy.stats import f as fisher

from InterpScore.intervals import (
    Coordinates,
    around_estimate,
    interval_of_draws,
    projected_interval,
)
from InterpScore.sanity.coverage import stability_coverage


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
    projected, percentiles, wider = stability_coverage(truth, groups, studies=300, seed=0)
    assert projected > 0.91
    assert wider < 1.6
    assert truth < 1 or percentiles == 0


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
