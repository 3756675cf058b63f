"""Guards resampling and testing (METRICS.md, section 6): draws, weighted quantiles, intervals, p-values, ranks."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, pearsonr, rankdata, spearmanr

from InterpScore import resampling as statistics
from InterpScore.helpers import (
    average_ranks,
    competition_ranks,
    in_shares,
    on_all_cores,
    percentile_interval,
    spearman,
    weighted_mean,
    weighted_quantile,
)
from InterpScore.options import scoring_options
from InterpScore.resampling import RatingDesign, adjusted_p_values, permuted_within

number = st.floats(-100, 100).map(lambda x: round(x, 3))
QUANTILES = [0, 0.01, 0.025, 0.05, 0.1, 0.25, 1 / 3, 0.5, 2 / 3, 0.75, 0.9, 0.95, 0.975, 0.99, 1]


def p_values():
    return st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=12)


# Weighted quantiles


@pytest.mark.parametrize("q", QUANTILES)
def test_quantile_of_unit_weights_is_numpys(q):
    generator = np.random.default_rng(0)
    for n in (1, 2, 3, 7, 20, 21, 40, 100, 101):
        values_UN = generator.standard_normal((3, n)).round(1)
        found = weighted_quantile(values_UN, np.ones((n, 1)), q)[:, 0]
        np.testing.assert_allclose(found, np.quantile(values_UN, q, axis=1), atol=1e-9)


@pytest.mark.parametrize("q", QUANTILES)
def test_quantile_of_whole_weights_is_numpys_of_values_written_out(q):
    generator = np.random.default_rng(1)
    values_UN, weights_NB = generator.standard_normal((20, 30)), generator.integers(0, 5, (30, 8))
    found = weighted_quantile(values_UN, weights_NB.astype(float), q)
    written_out = [[np.quantile(np.repeat(a, w), q) for w in weights_NB.T] for a in values_UN]
    np.testing.assert_allclose(found, written_out, atol=1e-9)


@given(st.lists(st.tuples(number, st.integers(0, 4)), min_size=1, max_size=20), st.floats(0, 1))
def test_quantile_of_any_whole_weights_is_numpys(pairs, q):
    values, counts = (np.array(column) for column in zip(*[*pairs, (0.0, 1)]))
    found = weighted_quantile(values[None], counts[:, None].astype(float), q)[0, 0]
    assert found == pytest.approx(np.quantile(np.repeat(values, counts), q), abs=1e-6)


@pytest.mark.parametrize("q", QUANTILES)
def test_quantile_of_any_weights_interpolates_between_weighted_order_statistics(q):
    generator = np.random.default_rng(2)
    values, weights, n = generator.standard_normal(25), generator.gamma(1, size=25), 25

    def order_statistic(k):
        so_far = 0.0
        for value, weight in sorted(zip(values, weights * n / weights.sum())):
            so_far += weight
            if so_far >= k - 1e-9:
                return value
        raise AssertionError("k is at most n")

    order = 1 + (n - 1) * q
    low = math.floor(order + 1e-9)
    expected = order_statistic(low) + (order - low) * (order_statistic(min(low + 1, n)) - order_statistic(low))
    assert weighted_quantile(values[None], weights[:, None], q, n)[0, 0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("factor", [1e-6, 0.37, 1e6])
@pytest.mark.parametrize("q", QUANTILES)
def test_quantile_with_n_does_not_depend_on_the_scale_of_weights(q, factor):
    generator = np.random.default_rng(3)
    values_UN, weights_NB = generator.standard_normal((4, 12)), generator.integers(1, 4, (12, 3)).astype(float)
    weights_NB[-1] += 40 - weights_NB.sum(axis=0)
    found = weighted_quantile(values_UN, weights_NB * factor, q, 40)
    np.testing.assert_allclose(found, weighted_quantile(values_UN, weights_NB, q), atol=1e-9)


def test_quantile_is_found_where_the_top_values_weigh_next_to_nothing():
    values, counts = np.arange(300.0), np.r_[np.full(20, 50), np.ones(280, dtype=int)]
    found = weighted_quantile(values[None], counts[:, None].astype(float), 0.95)[0, 0]
    assert found == pytest.approx(np.quantile(np.repeat(values, counts), 0.95))


def test_quantile_of_a_constant_unit_is_the_constant():
    weights_NB = np.random.default_rng(4).gamma(1, size=(9, 5))
    np.testing.assert_array_equal(weighted_quantile(np.full((1, 9), 0.1), weights_NB, 0.95, 9), np.full((1, 5), 0.1))


def test_quantile_of_many_units_is_that_of_each_alone():
    generator = np.random.default_rng(5)
    values_UN, weights_NB = generator.standard_normal((40, 50)), generator.gamma(1, size=(50, 6))
    alone = [weighted_quantile(a_N[None], weights_NB, 0.95, 50)[0] for a_N in values_UN]
    np.testing.assert_array_equal(weighted_quantile(values_UN, weights_NB, 0.95, 50), alone)


# Weighted means


@given(st.lists(st.tuples(number, st.integers(0, 4)), min_size=1, max_size=20))
def test_mean_of_whole_weights_is_that_of_values_written_out(pairs):
    values, counts = (np.array(column) for column in zip(*[*pairs, (1.0, 1)]))
    found = weighted_mean(values[None], counts[:, None].astype(float))[0, 0]
    assert found == pytest.approx(np.repeat(values, counts).mean(), abs=1e-9)


def test_mean_without_weight_is_nan():
    np.testing.assert_array_equal(weighted_mean(np.ones((1, 2)), np.array([[0.0, 1], [0, 1]])), [[np.nan, 1.0]])


# Ratings


@pytest.fixture
def small():
    """Image 0 rated by person 0, image 1 by person 1, image 2 by both, image 3 by nobody."""
    return RatingDesign(
        image_R=np.array([0, 1, 2, 2]),
        participant_R=np.array([0, 1, 0, 1]),
        score_R=np.array([1.0, 0.25, 0.5, 0.0]),
        cell_I=np.array([0, 0, 1, 1]),
    )


def random_design(seed=0, n_images=12, n_participants=9, n_ratings=60, cells=3):
    generator = np.random.default_rng(seed)
    return RatingDesign(
        generator.integers(0, n_images, n_ratings),
        np.r_[generator.integers(0, n_participants, n_ratings - 1), n_participants - 1],
        generator.choice([0, 0.5, 1], n_ratings),
        np.arange(n_images) % cells,
    )


def all_draws(design, n_draws, seed):
    """Every batch side by side, by name."""
    batches = [vars(batch) for batch in design.bootstrap(n_draws, seed)]
    weights = [name for name in batches[0] if name != "label_of_IB"]
    return {name: np.concatenate([batch[name] for batch in batches], axis=1) for name in weights}


@pytest.mark.parametrize(
    ("name", "totals"),
    [
        ("image_IB", [1, 1, 1, 1]),
        ("rating_IB", [1, 1, 2, 0]),
        ("recognised_IB", [1, 0, 1, 0]),
        ("score_IB", [1, 0.25, 0.5, 0]),
    ],
)
def test_point_estimate_counts_every_image_and_rating_once(small, name, totals):
    assert vars(small.unit_weights())[name].tolist() == [[total] for total in totals]


@pytest.mark.parametrize(
    ("recognised_at", "recognised"), [(0.25, [1, 1, 1, 0]), (0.5, [1, 0, 1, 0]), (1, [1, 0, 0, 0])]
)
def test_rating_is_recognised_from_the_threshold_on(recognised_at, recognised):
    design = RatingDesign(
        np.arange(4), np.zeros(4, int), np.array([1.0, 0.25, 0.5, 0.0]), np.zeros(4, int), recognised_at
    )
    assert design.unit_weights().recognised_IB[:, 0].tolist() == recognised


@pytest.mark.parametrize(("unit", "name"), [("image", "image_IB"), ("rating", "rating_IB")])
def test_unit_of_analysis_chooses_what_an_activation_counts_for(small, unit, name):
    draw = small.unit_weights()
    assert draw.analysed(scoring_options(unit_of_analysis=unit)) is vars(draw)[name]


# The crossed bootstrap


def test_rating_weighs_its_image_times_its_participant(small):
    draws = all_draws(small, 50, seed=1)
    of_participant = [draws["rating_IB"][p] / draws["image_IB"][p] for p in (0, 1)]
    expected = draws["image_IB"][2] * (of_participant[0] + of_participant[1])
    np.testing.assert_allclose(draws["rating_IB"][2], expected)


def test_scores_and_recognition_carry_the_weights_of_their_ratings(small):
    draws = all_draws(small, 50, seed=1)
    of_person_0 = draws["rating_IB"][0] / draws["image_IB"][0]
    expected = np.stack([draws["image_IB"][2] * of_person_0 * h for h in (1, 0.5)])
    np.testing.assert_allclose([draws["recognised_IB"][2], draws["score_IB"][2]], expected)


def test_participant_weighs_the_same_on_every_image():
    design = RatingDesign(np.arange(5), np.zeros(5, int), np.ones(5), np.zeros(5, int))
    draws = all_draws(design, 20, seed=2)
    ratio = draws["rating_IB"] / draws["image_IB"]
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape))


def test_images_that_nobody_rated_have_no_rating_weight(small):
    assert not all_draws(small, 20, seed=1)["rating_IB"][3].any()


def test_no_draw_loses_an_image():
    assert (all_draws(random_design(), 200, seed=3)["image_IB"] > 0).all()


def test_image_weights_have_mean_one():
    image_IB = all_draws(random_design(cells=1), 4000, seed=4)["image_IB"]
    # 12 images a cell: standard deviation sqrt(1 / (1 - 2/12)) = 1.1; five standard errors
    assert np.abs(image_IB.mean(axis=1) - 1).max() < 5 * 1.1 / math.sqrt(4000)


def test_participant_weights_have_mean_one_and_variance_one():
    everyone = RatingDesign(np.zeros(30, int), np.arange(30), np.ones(30), np.zeros(1, int))
    draws = all_draws(everyone, 4000, seed=5)
    total = (draws["rating_IB"] / draws["image_IB"])[0]
    # the sum of 30 weights: mean 30 ± 5·sqrt(30/4000), variance 30 ± 15%
    assert (total.mean(), total.var()) == (pytest.approx(30, abs=0.44), pytest.approx(30, rel=0.15))


@pytest.mark.parametrize("n", [4, 6, 20])
def test_bootstrap_variance_of_a_cell_mean_is_that_of_the_sample_mean(n):
    values = np.random.default_rng(6).standard_normal(n)
    design = RatingDesign(np.arange(n), np.zeros(n, int), np.ones(n), np.zeros(n, int))
    means = weighted_mean(values[None], all_draws(design, 20_000, seed=7)["image_IB"])[0]
    # 20,000 draws know a variance to about 1.5%
    assert means.var() == pytest.approx(values.var(ddof=1) / n, rel=0.06)


def test_images_and_participants_are_drawn_independently():
    square = RatingDesign(np.arange(8), np.arange(8), np.ones(8), np.zeros(8, int))
    draws = all_draws(square, 2000, seed=8)
    of_participant = draws["rating_IB"] / draws["image_IB"]
    assert abs(pearsonr(draws["image_IB"].ravel(), of_participant.ravel()).statistic) < 5 / math.sqrt(8 * 2000)


def test_draws_are_those_of_the_seed():
    first, again = (all_draws(random_design(), 30, seed=9) for _ in range(2))
    np.testing.assert_equal(first, again)


def test_another_seed_gives_other_draws():
    one, other = (all_draws(random_design(), 30, seed=seed)["image_IB"] for seed in (9, 10))
    assert not (one == other).any()


@pytest.mark.parametrize("bytes_a_batch", [1, 8 * (12 * 5 + 9 * 2) * 7], ids=["one a batch", "seven a batch"])
def test_draws_do_not_depend_on_how_they_are_batched(monkeypatch, bytes_a_batch):
    whole = all_draws(random_design(), 30, seed=11)
    monkeypatch.setattr(statistics, "DRAW_BYTES", bytes_a_batch)
    batched = all_draws(random_design(), 30, seed=11)
    for name, weights_IB in whole.items():
        np.testing.assert_allclose(batched[name], weights_IB, rtol=1e-12, err_msg=name)


def test_small_memory_splits_the_draws(monkeypatch):
    monkeypatch.setattr(statistics, "DRAW_BYTES", 8 * (12 * 5 + 9 * 2) * 7)
    sizes = [batch.image_IB.shape[1] for batch in random_design().bootstrap(30, seed=11)]
    assert sizes == [7, 7, 7, 7, 2]


def test_duplicating_every_rating_doubles_every_weight(small):
    twice = RatingDesign(
        np.array([0, 1, 2, 2] * 2), np.array([0, 1, 0, 1] * 2), np.array([1, 0.25, 0.5, 0] * 2), np.array([0, 0, 1, 1])
    )
    np.testing.assert_allclose(all_draws(twice, 9, seed=1)["score_IB"], 2 * all_draws(small, 9, seed=1)["score_IB"])


def test_study_without_ratings_can_be_resampled():
    nobody = RatingDesign(np.empty(0, int), np.empty(0, int), np.empty(0), np.zeros(3, int))
    assert not all_draws(nobody, 5, seed=0)["rating_IB"].any()


# Split-half reliability


def full_design(score_IP):
    """Everybody rates every image."""
    n_images, n_participants = score_IP.shape
    image_R, participant_R = np.divmod(np.arange(score_IP.size), n_participants)
    return RatingDesign(image_R, participant_R, score_IP.ravel(), np.zeros(n_images, int))


def test_reliability_of_rates_without_noise_is_one():
    rates = np.repeat(np.linspace(0, 1, 15)[:, None], 10, axis=1)
    assert full_design(rates).split_half_reliability(np.arange(15)) == pytest.approx(1)


def test_reliability_of_pure_noise_is_near_zero():
    noise = np.random.default_rng(12).random((300, 20))
    assert full_design(noise).split_half_reliability(np.arange(300)) == pytest.approx(0, abs=0.15)


def test_reliability_is_the_share_of_true_variance():
    generator = np.random.default_rng(13)
    true, noise = generator.standard_normal((600, 1)), generator.standard_normal((600, 8))
    # mean of 8 ratings: variance 1 of the images, 4/8 of the noise
    found = full_design(true + 2 * noise).split_half_reliability(np.arange(600))
    assert found == pytest.approx(1 / 1.5, abs=0.06)


def test_reliability_of_two_participants_is_their_correlation_stepped_up():
    score_IP = np.random.default_rng(14).random((9, 1)) + np.random.default_rng(15).random((9, 2))
    r = pearsonr(*score_IP.T).statistic
    assert full_design(score_IP).split_half_reliability(np.arange(9)) == pytest.approx(2 * r / (1 + r))


def test_reliability_counts_the_images_asked_for_only():
    score_IP = np.random.default_rng(16).random((12, 2)) + np.linspace(0, 1, 12)[:, None]
    r = pearsonr(*score_IP[:7].T).statistic
    assert full_design(score_IP).split_half_reliability(np.arange(7)) == pytest.approx(2 * r / (1 + r))


def test_images_that_one_half_did_not_rate_are_left_out():
    score_IP = np.random.default_rng(17).random((8, 2)) + np.linspace(0, 1, 8)[:, None]
    image_R, participant_R = np.divmod(np.arange(15), 2)  # person 1 did not see the last image
    design = RatingDesign(image_R, participant_R, score_IP.ravel()[:15], np.zeros(8, int))
    r = pearsonr(*score_IP[:7].T).statistic
    assert design.split_half_reliability(np.arange(8)) == pytest.approx(2 * r / (1 + r))


@pytest.mark.parametrize("images", [[], [0], [0, 1]])
def test_reliability_of_fewer_than_three_images_is_nan(images):
    design = full_design(np.random.default_rng(18).random((5, 6)))
    assert math.isnan(design.split_half_reliability(np.array(images, dtype=int)))


def test_reliability_of_rates_that_do_not_vary_is_nan():
    assert math.isnan(full_design(np.ones((6, 4))).split_half_reliability(np.arange(6)))


def test_reliability_is_the_mean_over_splits_stepped_up():
    generator = np.random.default_rng(20)
    image_R, participant_R = generator.integers(0, 12, 90), generator.integers(0, 7, 90)
    score_R = generator.choice([0, 0.5, 1], 90)  # some rate an image twice, some images are rated by one half only
    design = RatingDesign(image_R, participant_R, score_R, np.zeros(12, int))
    halves, correlations = np.random.default_rng(5), []
    for _ in range(30):
        half_P = halves.permutation(7) % 2
        rows = pd.DataFrame({"image": image_R, "half": half_P[participant_R], "score": score_R})
        rates = rows[rows["image"] < 9].pivot_table(index="image", columns="half", values="score").dropna()
        correlations.append(pearsonr(rates[0], rates[1]).statistic)
    r = np.mean(correlations)
    assert design.split_half_reliability(np.arange(9), 30, seed=5) == pytest.approx(2 * r / (1 + r), abs=1e-12)


def test_reliability_is_that_of_the_seed():
    design = full_design(np.random.default_rng(19).random((20, 9)) + np.linspace(0, 1, 20)[:, None])
    found = [design.split_half_reliability(np.arange(20), n_splits=3, seed=seed) for seed in (1, 1, 2)]
    assert (found[0] == found[1], found[0] == found[2]) == (True, False)


# Permutations


@pytest.fixture
def strata():
    return np.array([2, 0, 2, 1, 0, 2, 0, 5, 2])


def test_permutations_stay_within_their_stratum(strata):
    order_IB = np.concatenate(list(permuted_within(strata, 200, seed=0)), axis=1)
    np.testing.assert_array_equal(strata[order_IB], np.repeat(strata[:, None], 200, axis=1))


def test_every_permutation_holds_every_image_once(strata):
    order_IB = np.concatenate(list(permuted_within(strata, 200, seed=0)), axis=1)
    np.testing.assert_array_equal(np.sort(order_IB, axis=0), np.repeat(np.arange(9)[:, None], 200, axis=1))


def test_every_order_within_a_stratum_is_as_likely():
    order_IB = np.concatenate(list(permuted_within(np.array([0, 1, 0, 1, 0]), 6000, seed=1)), axis=1)
    seen = pd.Series(map(tuple, order_IB[[0, 2, 4]].T)).value_counts()
    # 6 orders, 1000 each, standard deviation 29
    assert len(seen) == 6
    assert (seen - 1000).abs().max() < 5 * 29


def test_strata_are_permuted_independently():
    order_IB = np.concatenate(list(permuted_within(np.array([0, 0, 1, 1]), 4000, seed=2)), axis=1)
    both = pd.crosstab(order_IB[0], order_IB[2])
    # four cells of 1000, standard deviation 27
    assert (both - 1000).abs().to_numpy().max() < 5 * 27


def test_permutations_are_those_of_the_seed(strata):
    first, again, other = (next(permuted_within(strata, 20, seed)) for seed in (3, 3, 4))
    assert (np.array_equal(first, again), np.array_equal(first, other)) == (True, False)


def test_small_memory_splits_the_permutations(monkeypatch, strata):
    monkeypatch.setattr(statistics, "DRAW_BYTES", 8 * 4 * 9 * 3)
    assert [batch.shape for batch in permuted_within(strata, 8, seed=0)] == [(9, 3), (9, 3), (9, 2)]


# Intervals


def test_interval_is_numpys_quantiles():
    draws_UB = np.random.default_rng(20).standard_normal((5, 101))
    expected = np.quantile(draws_UB, [0.05, 0.95], axis=1)
    np.testing.assert_allclose(percentile_interval(draws_UB, 0.9), expected)


def test_interval_leaves_out_draws_that_are_nan():
    draws = np.random.default_rng(21).standard_normal(50)
    with_gaps = np.r_[np.nan, draws[:20], np.nan, np.nan, draws[20:]]
    found = percentile_interval(np.stack([with_gaps, np.zeros(53)]), 0.95)
    np.testing.assert_allclose(np.stack(found)[:, 0], np.quantile(draws, [0.025, 0.975]))


def test_interval_of_one_unit_ignores_the_gaps_of_another():
    draws_UB = np.arange(40.0).reshape(2, 20)
    draws_UB[0, 3] = np.nan
    found = np.stack(percentile_interval(draws_UB, 0.95))[:, 1]
    np.testing.assert_allclose(found, np.quantile(draws_UB[1], [0.025, 0.975]))


@pytest.mark.parametrize("n_draws", [0, 4], ids=["no draw", "no draw but NaN"])
def test_interval_without_draws_is_nan(n_draws):
    found = percentile_interval(np.full((3, n_draws), np.nan), 0.95)
    np.testing.assert_array_equal(found, np.full((2, 3), np.nan))


# Adjusted p-values


@pytest.mark.parametrize("method", ["bh", "by"])
@given(p=p_values())
def test_false_discovery_adjustment_is_scipys(method, p):
    p_U = np.array(p, dtype=float)
    tested = ~np.isnan(p_U)
    expected = p_U.copy()
    if tested.any():
        expected[tested] = false_discovery_control(p_U[tested], method=method)
    np.testing.assert_allclose(adjusted_p_values(p_U, method), expected, rtol=1e-12, atol=1e-300)


@given(p_values())
def test_holm_adjustment_is_that_of_a_plain_loop(p):
    expected, highest = list(p), 0.0
    tested = sorted((x, u) for u, x in enumerate(p) if not math.isnan(x))
    for step, (x, u) in enumerate(tested):
        highest = max(highest, (len(tested) - step) * x)
        expected[u] = min(highest, 1.0)
    found = adjusted_p_values(np.array(p, dtype=float), "holm")
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-300)


def test_holm_adjustment_of_a_worked_example():
    # In order: 4·.005 = .02, 3·.01 = .03, 2·.03 = .06, and .04 must not fall below .06
    np.testing.assert_allclose(adjusted_p_values(np.array([0.01, 0.04, 0.03, 0.005]), "holm"), [0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("method", ["bh", "by", "holm", "none"])
def test_missing_p_value_is_no_test(method):
    p_U = np.array([0.01, 0.2, 0.03])
    with_gaps = adjusted_p_values(np.array([0.01, np.nan, 0.2, 0.03, np.nan]), method)
    np.testing.assert_allclose(with_gaps[[0, 2, 3]], adjusted_p_values(p_U, method))


@pytest.mark.parametrize("method", ["bh", "by", "holm", "none"])
def test_missing_p_value_stays_missing(method):
    assert np.isnan(adjusted_p_values(np.array([0.01, np.nan]), method)).tolist() == [False, True]


def test_no_adjustment_returns_the_p_values():
    assert adjusted_p_values(np.array([0.5, 0.01]), "none").tolist() == [0.5, 0.01]


@pytest.mark.parametrize("method", ["bh", "by", "holm", "none"])
def test_adjustment_leaves_its_input_alone(method):
    p_U = np.array([0.5, 0.01])
    adjusted_p_values(p_U, method)[:] = -1
    assert p_U.tolist() == [0.5, 0.01]


# Ranks


def test_ties_share_the_best_rank():
    assert competition_ranks(np.array([[0.5], [0.9], [0.5], [0.1]]))[:, 0].tolist() == [2, 1, 2, 4]


def test_missing_score_has_no_rank_and_takes_none():
    np.testing.assert_array_equal(competition_ranks(np.array([[0.5], [np.nan], [0.9]]))[:, 0], [2, np.nan, 1])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_rank_is_one_plus_the_number_of_higher_scores(scores):
    expected = [1 + sum(other > score for other in scores) for score in scores]
    assert competition_ranks(np.array(scores, dtype=float)[:, None])[:, 0].tolist() == expected


def test_every_draw_ranks_its_own_units():
    scores_UB = np.random.default_rng(22).random((6, 4)).round(1)
    expected = np.stack([rankdata(-column, method="min") for column in scores_UB.T], axis=1)
    np.testing.assert_array_equal(competition_ranks(scores_UB), expected)


def test_average_ranks_are_scipys():
    values_UN = np.random.default_rng(23).integers(0, 5, (6, 15)).astype(float)
    np.testing.assert_array_equal(average_ranks(values_UN), rankdata(values_UN, axis=1))


# Spearman


def test_spearman_is_scipys_with_ties():
    generator = np.random.default_rng(24)
    x_UN, y_N = generator.integers(0, 6, (8, 20)).astype(float), generator.integers(0, 4, 20).astype(float)
    np.testing.assert_allclose(spearman(x_UN, y_N), [spearmanr(x_N, y_N).statistic for x_N in x_UN])


def test_spearman_pairs_each_unit_with_its_own_row():
    x_UN, y_UN = np.random.default_rng(25).standard_normal((2, 5, 11))
    np.testing.assert_allclose(spearman(x_UN, y_UN), [spearmanr(x, y).statistic for x, y in zip(x_UN, y_UN)])


@pytest.mark.parametrize("n", [0, 1, 2])
def test_spearman_of_fewer_than_three_images_is_nan(n):
    assert np.isnan(spearman(np.arange(2.0 * n).reshape(2, n), np.arange(float(n)))).all()


@pytest.mark.parametrize("constant", ["x", "y"])
def test_spearman_with_a_constant_is_nan(constant):
    x_UN, y_N = np.full((1, 7), 0.1), np.arange(7.0)
    found = spearman(x_UN, y_N) if constant == "x" else spearman(y_N[None], x_UN[0])
    assert np.isnan(found).all()


# All cores


@pytest.mark.parametrize("n", [0, 1, 2, 17, 100])
def test_results_come_in_the_order_of_the_items(n):
    assert list(on_all_cores(lambda i: i * i, range(n))) == [i * i for i in range(n)]


@pytest.mark.parametrize("n", [0, 1, 127, 128, 129, 1000])
def test_shares_contain_every_unit_once(n):
    assert [u for share in in_shares(n) for u in range(n)[share]] == list(range(n))


@pytest.mark.parametrize("n", [1, 40], ids=["one item", "items over all cores"])
def test_error_of_one_item_reaches_the_caller(n):
    def fail(i):
        if i == n - 1:
            raise ValueError(f"item {i} failed")

    with pytest.raises(ValueError, match=f"item {n - 1} failed"):
        list(on_all_cores(fail, range(n)))


def test_split_half_reliability_of_coin_flips_stays_near_zero():
    rng = np.random.default_rng(0)
    image_R, participant_R = np.repeat(np.arange(40), 12), np.tile(np.arange(12), 40)
    estimates = [
        RatingDesign(
            image_R, participant_R, rng.integers(0, 2, 480).astype(float), np.zeros(40)
        ).split_half_reliability(np.arange(40), seed=seed)
        for seed in range(20)
    ]
    assert abs(np.mean(estimates)) < 0.15
    assert min(estimates) > -2
