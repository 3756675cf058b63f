"""Guards intervals of folded values: they are the projection of a confidence region, and cover a truth of 1."""

import numpy as np
import pytest
from scipy.stats import beta, norm
from scipy.stats import f as fisher
from scipy.stats import t as student

from InterpScore.helpers import COMPLEMENTARY_LOG_LOG, IDENTITY, PROBIT, student_interval
from InterpScore.intervals import (
    Coordinates,
    Part,
    around_estimate,
    interval_of_draws,
    projected_interval,
    score_interval,
)
from InterpScore.resampling import RatingDesign
from InterpScore.sanity.ends import (
    causality_coverage,
    rank_coverage,
    recognition_coverage,
    selectivity_coverage,
    stability_coverage,
)
from InterpScore.scoring.ranks import rank_interval


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
    sd = np.sqrt(np.diag(covariance))
    n_reach = (np.array(folded) & (np.abs(theta) <= np.sqrt(size[1]) * sd)).sum()
    ball = generator.normal(size=(200_000, k))
    ball *= (generator.random((len(ball), 1)) ** (1 / k)) / np.linalg.norm(ball, axis=1, keepdims=True)
    scores = unit.score(theta + np.sqrt(size[1]) * ball @ np.linalg.cholesky(covariance).T)
    lowest, highest = scores.min(), scores.max()
    nearest = [f for f in np.argsort(np.abs(theta) / sd) if folded[f]]
    sets = [nearest[:m] for m in range(1, len(nearest) + 1)] + [[one] for one in nearest]
    for zeroed in sets if n_reach else []:
        block = covariance[np.ix_(zeroed, zeroed)]
        gain = np.linalg.solve(block, covariance[zeroed])
        if theta[zeroed] @ np.linalg.solve(block, theta[zeroed]) <= size[min(len(nearest), 1 + n_reach)]:
            free = [f for f in range(k) if f not in zeroed]
            surface = np.tile(theta - theta[zeroed] @ gain, (20_001, 1))
            if free:
                sphere = generator.normal(size=(20_000, len(free)))
                sphere *= np.sqrt(size[1]) / np.linalg.norm(sphere, axis=1, keepdims=True)
                rest = (covariance - covariance[:, zeroed] @ gain)[np.ix_(free, free)]
                surface[1:, free] += sphere @ np.linalg.cholesky(rest).T
            highest = max(highest, unit.score(surface).max())
    assert low[0] == pytest.approx(lowest, abs=0.01)
    assert high[0] == pytest.approx(highest, abs=0.01)
    assert low[0] <= unit.score(theta[None])[0] <= high[0]


@pytest.mark.parametrize("truth", [0.5, 0.95, 1.0])
@pytest.mark.parametrize("groups", [1, 2])
def test_intervals_cover_stabilities_up_to_1_where_percentiles_do_not(truth, groups):
    cells = stability_coverage([truth] * groups, studies=200, seed=0)  # of R and of scores that contain it
    for cell in cells:
        assert cell.share > 0.91
        assert cell.wider < 1.6
    assert truth < 1 or cells[0].percentiles == cells[1].percentiles == 0


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


@pytest.mark.parametrize("link", [IDENTITY, PROBIT, COMPLEMENTARY_LOG_LOG])
@pytest.mark.parametrize("images", [2, 5, 12, 400])
def test_student_intervals_reach_as_far_as_percentiles_or_a_t_interval_on_the_scale(link, images):
    draws = np.random.default_rng(images).beta(8, 2, (3, 500))
    point = np.array([0.8, 0.75, 0.9])
    low, high = student_interval(point, draws, 0.9, np.full(3, float(images)), link)
    t = student.ppf(0.95, images - 1)
    for u in range(3):
        z, z_draws = link.forward(point[u]), link.forward(draws[u])
        bottom, top = np.quantile(z_draws, [0.05, 0.95])
        ratio, reach = t / norm.ppf(0.95), t * z_draws.std(ddof=1)
        assert link.forward(low[u]) == pytest.approx(z - max(reach, (z - bottom) * ratio), rel=0.02)
        assert high[u] == pytest.approx(link.back(z + max(reach, (top - z) * ratio)), rel=0.02)


@pytest.mark.parametrize("images", [0, 1, np.nan])
def test_fewer_than_two_images_give_no_student_interval(images):
    low, high = student_interval(np.array([0.5]), np.full((1, 20), 0.5), 0.95, np.array([images]), PROBIT)
    assert np.isnan([low, high]).all()


@pytest.mark.parametrize("end", [0.0, 1.0])
@pytest.mark.parametrize("link", [PROBIT, COMPLEMENTARY_LOG_LOG])
def test_an_estimate_at_the_end_of_its_scale_has_percentiles_and_is_inside(end, link):
    draws = np.abs(end - np.random.default_rng(0).beta(1, 30, (1, 400)))
    low, high = interval_of_draws(np.array([end]), draws, 0.95, np.array([12.0]), link)
    assert [low[0], high[0]] == pytest.approx(sorted([end, np.quantile(draws, 0.975 if end == 0 else 0.025)]))


@pytest.mark.parametrize("few_images", [2.0, 3.0, 6.0])
def test_a_component_on_fewer_images_than_the_others_widens_only_its_share(few_images):
    generator, point = np.random.default_rng(0), np.array([0.5])
    few_UB, many_UB = generator.normal(0.5, 0.01, (2, 1, 2000))
    half = np.array([0.5])
    many, few = (
        Part(point, many_UB, half, images_U=np.array([40.0])),
        Part(point, few_UB, half, images_U=np.array([few_images])),
    )
    low, high = score_interval(point, (few_UB + many_UB) / 2, [many, few], 0.95)
    t = student.ppf(0.975, [39, few_images - 1])
    assert (high - low)[0] / 2 == pytest.approx(0.005 * np.hypot(*t), rel=0.1)
    unweighted = [many, Part(point, few_UB, np.zeros(1), images_U=np.array([1.0]))]
    assert np.isfinite(score_interval(point, many_UB, unweighted, 0.95)).all()


@pytest.mark.parametrize(("proportion", "observations"), [(1.0, 24), (0.0, 24), (1.0, 5), (0.5, 10)])
def test_proportions_have_the_interval_of_jeffreys_prior(proportion, observations):
    design = RatingDesign(np.arange(3), np.arange(3), np.ones(3), np.zeros(3, dtype=int))
    hits = round(proportion * observations)
    of_data = np.random.default_rng(0).gamma(np.maximum([observations - hits, hits], 1e-9)[:, None], size=(2, 4000))
    drawn = of_data[1] / of_data.sum(axis=0)  # the Bayesian bootstrap of so many observations
    pseudo = np.concatenate([draws.pseudo_2B for draws in design.bootstrap(4000, 0)], axis=1)
    draws = next(design.bootstrap(4000, 0)).changed(lambda w: w, None)
    assert draws.pseudo_2B == pytest.approx(pseudo[:, : draws.image_IB.shape[1]])
    smoothed = (drawn * of_data.sum(axis=0) + pseudo[1]) / (of_data.sum(axis=0) + pseudo.sum(axis=0))
    expected = beta.ppf([0.025, 0.5], hits + 0.5, observations - hits + 0.5)
    assert np.quantile(smoothed, [0.025, 0.5]) == pytest.approx(expected, abs=0.02)
    at_the_end = draws.smoothed(np.full((1, 1), proportion), np.array([observations]))
    assert proportion == 0.5 or np.quantile(at_the_end, 0.5) != proportion


def test_the_data_themselves_are_not_smoothed():
    design = RatingDesign(np.arange(3), np.arange(3), np.ones(3), np.zeros(3, dtype=int))
    assert design.unit_weights().smoothed(np.ones((1, 1)), np.array([4.0])) == 1


def test_ranks_lie_between_the_units_clearly_above_and_clearly_below():
    generator = np.random.default_rng(3)
    score, sd = generator.normal(0, 1, 30), generator.uniform(0.05, 0.6, 30)
    draws = score[:, None] + sd[:, None] * generator.normal(size=(30, 400)) + 2 * generator.normal(size=400)
    score[7] = np.nan
    low, high = rank_interval(score, draws, 0.9)
    others = [k for k in range(30) if k != 7]
    for u in others:
        gaps = {k: (score[k] - score[u]) / np.nanstd(draws[k] - draws[u], ddof=1) for k in others if k != u}
        z = norm.ppf(0.95)
        assert low[u] == 1 + sum(gap > z for gap in gaps.values())
        assert high[u] == 29 - sum(gap < -z for gap in gaps.values())
    assert np.isnan([low[7], high[7]]).all()


def test_units_that_miss_some_draws_have_rank_intervals():
    draws = np.random.default_rng(0).normal(0, 0.1, (3, 300)) + np.array([[0.0], [1.0], [2.0]])
    draws[1, ::3] = np.nan
    low, high = rank_interval(np.array([0.0, 1.0, 2.0]), draws, 0.95)
    assert low.tolist() == high.tolist() == [3, 2, 1]


@pytest.mark.parametrize(
    ("coverage", "percentiles_below"),
    [
        (lambda: selectivity_coverage("normal", 2.4, 12, 100, 1), 1.01),
        (lambda: selectivity_coverage("gamma", 2.4, 12, 100, 1), 1.01),
        (lambda: selectivity_coverage("normal", 4.4, 12, 60, 1, "auroc"), 0.6),
        (lambda: selectivity_coverage("sparse", 2.4, 12, 60, 1, "auroc"), 0.85),
        (lambda: causality_coverage(0.02, 6, 100, 1), 0.92),
        (lambda: recognition_coverage(0.98, 12, 4, 30, 1), 0.75),
        (lambda: recognition_coverage(0.02, 6, 3, 30, 1), 0.75),
        (lambda: rank_coverage("first", 0.05, 12, 30, 1), 0.92),
        (lambda: rank_coverage("last", 0.05, 12, 30, 1), 0.92),
    ],
)
def test_intervals_cover_truths_at_the_ends_of_their_scale(coverage, percentiles_below):
    found = coverage()
    assert found.share >= 0.9
    assert found.percentiles < percentiles_below
