"""Guards human alignment H (METRICS.md, section 4): recognition of what activates a unit strongly."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from InterpScore import TableWarning, calculate_human_consistency_score
from InterpScore.human_alignment import permutation_p_value, recognition_above
from InterpScore.options import scoring_options
from InterpScore.resampling import permuted_within

activation = st.integers(-8, 8).map(lambda k: k / 4)
rating = st.tuples(activation, st.sampled_from([0.0, 0.25, 0.5, 1.0]))
rated = st.lists(rating, min_size=1, max_size=20)


def plain_H(pairs, threshold):
    """Mean score of the ratings above the threshold."""
    above = [h for a, h in pairs if a > threshold]
    return sum(above) / len(above) if above else math.nan


# The score


@given(rated, activation)
def test_score_is_the_mean_recognition_above_the_threshold(pairs, threshold):
    found = calculate_human_consistency_score(*zip(*pairs), threshold=threshold)
    assert found == pytest.approx(plain_H(pairs, threshold), abs=1e-12, nan_ok=True)


@given(rated, st.lists(st.floats(-2, 2), min_size=1, max_size=30), st.sampled_from([0.05, 0.5, 0.8, 0.95]))
def test_threshold_is_the_quantile_of_the_other_images(pairs, others, percentile):
    threshold = np.quantile(others, percentile)
    # The last digit of an interpolated threshold must not decide about an activation that equals it.
    assume(all(abs(a - threshold) > 1e-9 for a, _ in pairs))
    found = calculate_human_consistency_score(
        *zip(*pairs), non_target_activations=others, threshold_percentile=percentile
    )
    assert found == pytest.approx(plain_H(pairs, threshold), abs=1e-12, nan_ok=True)


def test_threshold_percentile_is_95_by_default():
    # numpy.quantile(range(101), .95) = 95
    found = calculate_human_consistency_score([95, 95.5, 96], [0, 0.5, 1], non_target_activations=range(101))
    assert found == 0.75


@pytest.mark.parametrize(
    ("activations", "scores", "expected"),
    [
        ([0.61, 0.72, 0.83, 0.94], [1, 0.5, 0.5, 0], 0.5),
        ([0, 0, 0], [1, 1, 0], 2 / 3),
        ([-3, -1], [0.25, 0.75], 0.5),
        ([2, math.nan, 5], [1, 0, math.nan], 1),
    ],
)
def test_every_rating_counts_where_nothing_sets_a_threshold(activations, scores, expected):
    with pytest.warns(TableWarning, match="set one by non_target_activations= or threshold="):
        assert calculate_human_consistency_score(activations, scores) == pytest.approx(expected)


def test_threshold_given_outright_comes_before_the_quantile():
    found = calculate_human_consistency_score([1, 2], [0, 1], threshold=0, non_target_activations=[5, 6])
    assert found == 0.5


def test_activation_at_the_threshold_is_not_above_it():
    assert calculate_human_consistency_score([0.5, 0.6], [0, 1], threshold=0.5) == 1


def test_nothing_above_the_threshold_is_nan():
    assert math.isnan(calculate_human_consistency_score([0.1, 0.2], [1, 1], threshold=0.5))


def test_no_rating_is_nan():
    assert math.isnan(calculate_human_consistency_score([], [], threshold=0.5))


def test_no_other_image_to_set_the_threshold_is_nan():
    assert math.isnan(calculate_human_consistency_score([1, 2], [1, 1], non_target_activations=[]))


def test_rating_without_a_score_is_left_out():
    assert calculate_human_consistency_score([1, 1, 1], [1, math.nan, 0], threshold=0) == 0.5


def test_rating_without_an_activation_is_left_out():
    assert calculate_human_consistency_score([1, math.nan, 1], [1, 0, 1], threshold=0) == 1


def test_other_image_without_an_activation_is_left_out():
    found = calculate_human_consistency_score([1.0, 3], [0, 1], non_target_activations=[2.0, math.nan])
    assert found == 1


def test_true_and_false_are_scores():
    assert calculate_human_consistency_score([1, 1, 1, 1], [True, False, True, True], threshold=0) == 0.75


@given(rated, st.lists(activation, min_size=1, max_size=10))
def test_scale_of_activation_changes_nothing(pairs, others):
    activations, scores = zip(*pairs)
    # Doubling is exact, so activations at the threshold stay there.
    doubled = calculate_human_consistency_score(
        [2 * a for a in activations], scores, non_target_activations=[2 * a for a in others]
    )
    once = calculate_human_consistency_score(activations, scores, non_target_activations=others)
    assert doubled == pytest.approx(once, nan_ok=True)


@given(rated, activation)
def test_duplicating_every_rating_changes_nothing(pairs, threshold):
    twice, once = (calculate_human_consistency_score(*zip(*p), threshold=threshold) for p in (pairs * 2, pairs))
    assert twice == pytest.approx(once, nan_ok=True)


def test_lengths_that_differ_are_named():
    with pytest.raises(ValueError, match="3 activations but 2 human scores; expected one per activation"):
        calculate_human_consistency_score([1, 2, 3], [1, 0], threshold=0)


@pytest.mark.parametrize(
    ("scores", "found"), [([0.5, 1.5], "from 0.5 to 1.5"), ([-0.5, 1], "from -0.5 to 1.0"), ([math.nan, 2], "2.0 to 2")]
)
def test_scores_out_of_range_are_named(scores, found):
    with pytest.raises(ValueError, match=f"human scores.*{found}.*expected 0 to 1"):
        calculate_human_consistency_score([1, 2], scores, threshold=0)


def test_synthetic_images_count_only_as_published():
    kinds = {4: "synthetic"}
    counted = [scoring_options(preset, level_kinds=kinds).counts_in_H(4) for preset in ("default", "published")]
    assert counted == [False, True]


# The core


@pytest.mark.parametrize("n_units", [3, 40], ids=["few units", "units over all cores"])
def test_every_unit_and_draw_is_its_own_weighted_mean(n_units):
    generator = np.random.default_rng(6)
    target_UN = generator.standard_normal((n_units, 15)).round(1)
    threshold_UB = generator.choice([-9.0, -0.5, 0.0, 0.3, 1.0, 9.0], (n_units, 7))
    rating_NB = generator.integers(0, 4, (15, 7)).astype(float)
    score_NB = rating_NB * generator.random((15, 7))
    found_UB = recognition_above(target_UN, threshold_UB, rating_NB, score_NB)
    for u, b in itertools.product(range(n_units), range(7)):
        above = [n for n in range(15) if target_UN[u, n] > threshold_UB[u, b]]
        weight, score = (sum(values[n, b] for n in above) for values in (rating_NB, score_NB))
        assert found_UB[u, b] == pytest.approx(score / weight if weight else math.nan, nan_ok=True), (u, b)


def test_many_units_at_once_score_as_each_alone():
    generator = np.random.default_rng(7)
    target_UN, score_N = generator.standard_normal((20, 12)), generator.choice([0, 0.5, 1], 12)
    threshold_U = generator.standard_normal(20)
    together = recognition_above(target_UN, threshold_U[:, None], np.ones((12, 1)), score_N[:, None])[:, 0]
    alone = [calculate_human_consistency_score(a, score_N, threshold=t) for a, t in zip(target_UN, threshold_U)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_draw_without_a_threshold_is_nan():
    found = recognition_above(np.ones((1, 2)), np.array([[0.0, np.nan]]), np.ones((2, 2)), np.ones((2, 2)))
    np.testing.assert_array_equal(found, [[1.0, np.nan]])


def test_high_images_that_nobody_rated_give_nan():
    found = recognition_above(np.array([[1.0, 2.0]]), np.array([[1.5]]), np.array([[1.0], [0]]), np.array([[1.0], [0]]))
    assert np.isnan(found).all()


def test_no_image_of_the_concept_is_nan():
    found = recognition_above(np.empty((2, 0)), np.zeros((2, 3)), np.empty((0, 3)), np.empty((0, 3)))
    np.testing.assert_array_equal(found, np.full((2, 3), np.nan))


# The permutation test


def test_permutation_p_is_one_plus_those_as_high_over_one_plus_all():
    generator = np.random.default_rng(8)
    high_UN, rate_N = generator.random((4, 9)) < 0.4, generator.random(9).round(1)
    high_UN[:, 0], high_UN[:, 1] = True, False
    batches = [rate_N[order] for order in permuted_within(np.repeat([0, 1, 2], 3), 50, seed=1)]
    found = permutation_p_value(high_UN, rate_N, batches)
    for u in range(4):
        observed = rate_N[high_UN[u]].mean()
        means = [column[high_UN[u]].mean() for batch in batches for column in batch.T]
        assert found[u] == pytest.approx((1 + sum(m >= observed - 1e-12 for m in means)) / 51), u


def test_permutation_p_over_every_order_is_the_exact_one():
    # The two high images hold the two best rates: 2!·3! of 5! orders do as well.
    rate_N, high = np.array([0.9, 0.8, 0.3, 0.2, 0.1]), np.array([[True, True, False, False, False]])
    every_order = np.array(list(itertools.permutations(rate_N))).T
    assert permutation_p_value(high, rate_N, [every_order]).tolist() == [(1 + 12) / 121]


def test_permutation_p_does_not_depend_on_batches():
    generator = np.random.default_rng(9)
    high_UN, rate_N = generator.random((3, 8)) < 0.5, generator.random(8)
    rates_NK = np.stack([generator.permutation(rate_N) for _ in range(30)], axis=1)
    batched = permutation_p_value(high_UN, rate_N, [rates_NK[:, :7], rates_NK[:, 7:]])
    np.testing.assert_array_equal(batched, permutation_p_value(high_UN, rate_N, [rates_NK]))


def test_order_that_ties_with_the_data_counts_as_as_high():
    rate_N, high = np.full(4, 0.1), np.array([[True, True, True, False]])
    assert permutation_p_value(high, rate_N, [np.full((4, 9), 0.1)]).tolist() == [1.0]


def test_rates_lower_than_chance_are_not_significant():
    rate_N, high = np.array([0.0, 1, 1, 1, 1, 1]), np.array([[True, False, False, False, False, False]])
    orders = np.concatenate(list(permuted_within(np.zeros(6, int), 40, seed=2)), axis=1)
    assert permutation_p_value(high, rate_N, [rate_N[orders]]).tolist() == [1.0]


@pytest.mark.parametrize("high", [True, False], ids=["every image", "no image"])
def test_permutation_p_is_nan_when_every_image_or_none_is_high(high):
    assert np.isnan(permutation_p_value(np.full((1, 4), high), np.arange(4.0), [np.ones((4, 5))])).all()


def test_permutation_p_is_nan_without_permutations():
    assert np.isnan(permutation_p_value(np.array([[True, False]]), np.ones(2), [])).all()


@pytest.mark.parametrize("percentile", [95, -1])
def test_percentile_outside_0_to_1_is_refused(percentile):
    with pytest.raises(ValueError, match=f"threshold_percentile {percentile}; expected a fraction between 0 and 1"):
        calculate_human_consistency_score([1, 2, 3], [1, 0, 1], threshold_percentile=percentile)
