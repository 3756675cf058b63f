"""Guards selectivity S (METRICS.md, section 1): S, d, g, AUROC, average precision and the Mann-Whitney p."""

import math
import statistics as plain

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import kurtosis, mannwhitneyu, norm
from sklearn.metrics import average_precision_score, roc_auc_score

from InterpScore import calculate_selectivity_score
from InterpScore.helpers import ranked_separation, sides
from InterpScore.pairs.metrics import HEAVY_TAILS
from InterpScore.pairs.moments import excess_kurtosis
from InterpScore.selectivity import (
    common_language_effect,
    hedges_factor,
    hedges_g,
    mann_whitney_p,
    selectivity,
)

whole = st.integers(-6, 6)
sample = st.lists(whole, min_size=2, max_size=12)
activation = st.floats(-100, 100).map(lambda x: round(x, 3))


def plain_g(target, other):
    """Cohen's d with sample variances, then Hedges' factor, by the standard library."""
    n, m = len(target), len(other)
    pooled = ((n - 1) * plain.variance(target) + (m - 1) * plain.variance(other)) / (n + m - 2)
    d = (plain.fmean(target) - plain.fmean(other)) / math.sqrt(pooled)
    return d * (1 - 3 / (4 * (n + m) - 9))


def plain_auroc(target, other):
    """Share of pairs that the target wins, ties ½."""
    return sum((t > o) + (t == o) / 2 for t in target for o in other) / (len(target) * len(other))


def plain_average_precision(target, other):
    """Mean over the target of the precision at its own activation."""
    precisions = []
    for threshold in target:
        hits, misses = sum(t >= threshold for t in target), sum(o >= threshold for o in other)
        precisions.append(hits / (hits + misses))
    return plain.fmean(precisions)


def two_sides(target, other):
    values = np.array([*target, *other], dtype=float)
    return values, np.arange(len(values)) < len(target)


@pytest.fixture
def study():
    """Activations of 20 units, a third of them with many ties, on 23 images, 8 of the concept."""
    generator = np.random.default_rng(3)
    clean_UN = generator.standard_normal((20, 23))
    clean_UN[::3] = clean_UN[::3].round()
    clean_UN[5] = 0.1
    is_target_N = np.isin(np.arange(23), generator.choice(23, 8, replace=False))
    return clean_UN, is_target_N


# S


@given(st.lists(activation, min_size=2, max_size=15), st.lists(activation, min_size=2, max_size=15))
def test_score_is_the_normal_cdf_of_hedges_g_over_root_two(target, other):
    if len(set(target)) == 1 and len(set(other)) == 1:
        target = [*target, target[0] + 1]
    expected = norm.cdf(plain_g(target, other) / math.sqrt(2))
    assert calculate_selectivity_score(target, other) == pytest.approx(expected, abs=1e-9)


def test_score_of_a_worked_example():
    # d = (6 - 2) / sqrt((2·1 + 3·2/3) / 5) = 4 / sqrt(.8), g = d · (1 - 3/19), S = Φ(g/√2)
    expected = norm.cdf(4 / math.sqrt(0.8) * (1 - 3 / 19) / math.sqrt(2))
    assert calculate_selectivity_score([5, 6, 7], [1, 2, 3, 2]) == pytest.approx(expected, abs=1e-12)


def test_effect_size_of_zero_is_one_half():
    assert common_language_effect(np.array(0.0)) == 0.5


def test_hedges_factor_is_that_of_the_formula():
    assert hedges_factor(3, 4) == pytest.approx(1 - 3 / (4 * 7 - 9))


@given(sample, sample)
def test_exchanging_the_sides_gives_the_complement(target, other):
    forth, back = calculate_selectivity_score(target, other), calculate_selectivity_score(other, target)
    assert forth + back == pytest.approx(1, abs=1e-9)


@given(sample, sample, st.floats(1e-3, 1e3), whole)
def test_score_does_not_depend_on_scale_or_offset_of_activation(target, other, scale, offset):
    moved = calculate_selectivity_score([scale * (t + offset) for t in target], [scale * (o + offset) for o in other])
    assert moved == pytest.approx(calculate_selectivity_score(target, other), abs=1e-9)


@given(sample, sample, st.randoms(use_true_random=False))
def test_order_of_images_changes_nothing(target, other, random):
    shuffled = random.sample(target, len(target)), random.sample(other, len(other))
    assert calculate_selectivity_score(*shuffled) == pytest.approx(calculate_selectivity_score(target, other), abs=1e-9)


def test_large_offset_does_not_lose_the_variance():
    near, far = ([1.0, 2.0, 4.0], [0.0, 1.0, 1.0]), ([1e6 + 1, 1e6 + 2, 1e6 + 4], [1e6, 1e6 + 1, 1e6 + 1])
    assert calculate_selectivity_score(*far) == pytest.approx(calculate_selectivity_score(*near), abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3, 1e9])
def test_no_variance_and_equal_means_is_one_half(value):
    assert calculate_selectivity_score([value] * 3, [value] * 7) == 0.5


def test_no_variance_and_a_higher_target_is_one():
    assert calculate_selectivity_score([0.3, 0.3], [0.1, 0.1, 0.1]) == 1


def test_no_variance_and_a_lower_target_is_zero():
    assert calculate_selectivity_score([0.1, 0.1], [0.3, 0.3, 0.3]) == 0


@pytest.mark.parametrize(("target", "other"), [([], []), ([1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0]), ([1, 2], [])])
def test_fewer_than_two_images_on_a_side_is_nan(target, other):
    assert math.isnan(calculate_selectivity_score(target, other))


def test_activation_that_is_no_number_is_refused_with_its_count():
    with pytest.raises(ValueError, match="non_target activations: 2 of 3 are not finite"):
        calculate_selectivity_score([1, 2], [1, float("nan"), float("inf")])


@pytest.mark.parametrize("measure", ["cles", "auroc", "ap"])
@pytest.mark.parametrize("n_target", [0, 1, 4, 5])
def test_each_measure_is_nan_with_fewer_than_two_images_on_a_side(measure, n_target):
    target_NB, other_NB = sides(np.arange(5) < n_target)
    assert np.isnan(selectivity(measure, np.arange(10.0).reshape(2, 5), target_NB, other_NB)).all()


def test_image_without_weight_does_not_count_towards_two_a_side():
    target_NB, other_NB = np.array([[1.0], [0], [0], [0]]), np.array([[0.0], [0], [1], [1]])
    assert np.isnan(selectivity("cles", np.array([[1.0, 2, 3, 4]]), target_NB, other_NB)).all()


def test_measures_on_request_are_auroc_and_average_precision(study):
    clean_UN, is_target_N = study
    auroc, precision = ranked_separation(clean_UN, *sides(is_target_N))
    chosen = np.stack([selectivity(measure, clean_UN, *sides(is_target_N)) for measure in ("auroc", "ap")])
    np.testing.assert_array_equal(chosen, np.stack([auroc, precision]))


def test_many_units_at_once_score_as_each_alone(study):
    clean_UN, is_target_N = study
    together = selectivity("cles", clean_UN, *sides(is_target_N))[:, 0]
    alone = [calculate_selectivity_score(a_N[is_target_N], a_N[~is_target_N]) for a_N in clean_UN]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


# Weights


@given(st.data())
def test_whole_weights_give_the_g_of_images_written_out_that_often(data):
    target, other = data.draw(sample), data.draw(sample)
    target, other = [*target, target[0] + 1], [*other, other[0] + 1]
    counts = [data.draw(st.lists(st.integers(1, 4), min_size=len(s), max_size=len(s))) for s in (target, other)]
    values, is_target = two_sides(target, other)
    weights = np.concatenate(counts)[:, None].astype(float)
    weighted = hedges_g(values[None], weights * is_target[:, None], weights * ~is_target[:, None])[0, 0]
    written_out = [np.repeat(side, count).tolist() for side, count in zip((target, other), counts)]
    assert weighted == pytest.approx(plain_g(*written_out), rel=1e-9, abs=1e-9)


def test_images_of_weight_zero_count_as_if_they_were_absent():
    values = np.array([[1.0, 2, 99, 0, 1, -99]])
    target_NB, other_NB = np.array([[1.0], [1], [0], [0], [0], [0]]), np.array([[0.0], [0], [0], [1], [1], [0]])
    assert hedges_g(values, target_NB, other_NB)[0, 0] == pytest.approx(plain_g([1, 2], [0, 1]))


def test_draws_are_independent_of_each_other(study):
    clean_UN, is_target_N = study
    weights_NB = np.random.default_rng(0).integers(1, 4, (23, 6)).astype(float)
    target_NB, other_NB = weights_NB * is_target_N[:, None], weights_NB * ~is_target_N[:, None]
    together = selectivity("cles", clean_UN, target_NB, other_NB)
    one_by_one = [selectivity("cles", clean_UN, target_NB[:, [b]], other_NB[:, [b]])[:, 0] for b in range(6)]
    np.testing.assert_allclose(together, np.stack(one_by_one, axis=1), rtol=1e-12)


def test_unit_counts_change_nothing_at_unit_weights(study):
    clean_UN, is_target_N = study
    expected = hedges_g(clean_UN, *sides(is_target_N))
    np.testing.assert_allclose(hedges_g(clean_UN, *sides(is_target_N), np.ones(23)), expected, rtol=1e-12)


def test_sample_size_behind_reweighted_images_is_that_of_the_sample():
    generator = np.random.default_rng(1)
    values, is_target = two_sides([1.0, 2, 4], [0.0, 1, 1, 3])
    w = generator.gamma(1, size=7)

    def moments(side):
        p = w[side] / w[side].sum()
        mean = sum(p * values[side])
        return mean, sum(p * (values[side] - mean) ** 2) / (1 - sum(p**2))

    (mean_x, var_x), (mean_o, var_o) = moments(is_target), moments(~is_target)
    d = (mean_x - mean_o) / math.sqrt((2 * var_x + 3 * var_o) / 5)
    found = hedges_g(values[None], (w * is_target)[:, None], (w * ~is_target)[:, None], np.ones(7))[0, 0]
    assert found == pytest.approx(d * (1 - 3 / 19), rel=1e-10)


# AUROC and average precision


@given(sample, sample)
def test_auroc_is_scikit_learns_with_ties(target, other):
    values, is_target = two_sides(target, other)
    auroc = ranked_separation(values[None], *sides(is_target))[0][0, 0]
    assert auroc == pytest.approx(roc_auc_score(is_target, values), abs=1e-12)


@given(sample, sample)
def test_auroc_is_the_share_of_pairs_won_with_ties_one_half(target, other):
    values, is_target = two_sides(target, other)
    auroc = ranked_separation(values[None], *sides(is_target))[0][0, 0]
    assert auroc == pytest.approx(plain_auroc(target, other), abs=1e-12)


@given(sample, sample)
def test_average_precision_is_scikit_learns_with_ties(target, other):
    values, is_target = two_sides(target, other)
    precision = ranked_separation(values[None], *sides(is_target))[1][0, 0]
    assert precision == pytest.approx(average_precision_score(is_target, values), abs=1e-12)


@given(sample, sample)
def test_average_precision_is_the_mean_precision_at_each_target(target, other):
    values, is_target = two_sides(target, other)
    precision = ranked_separation(values[None], *sides(is_target))[1][0, 0]
    assert precision == pytest.approx(plain_average_precision(target, other), abs=1e-12)


@given(st.data())
def test_weighted_auroc_is_scikit_learns_with_sample_weight(data):
    values, is_target = two_sides(data.draw(sample), data.draw(sample))
    w = np.array(data.draw(st.lists(st.floats(0.1, 5), min_size=len(values), max_size=len(values))))
    auroc = ranked_separation(values[None], (w * is_target)[:, None], (w * ~is_target)[:, None])[0][0, 0]
    assert auroc == pytest.approx(roc_auc_score(is_target, values, sample_weight=w), abs=1e-9)


@given(st.data())
def test_weighted_average_precision_is_scikit_learns_with_sample_weight(data):
    values, is_target = two_sides(data.draw(sample), data.draw(sample))
    w = np.array(data.draw(st.lists(st.floats(0.1, 5), min_size=len(values), max_size=len(values))))
    precision = ranked_separation(values[None], (w * is_target)[:, None], (w * ~is_target)[:, None])[1][0, 0]
    assert precision == pytest.approx(average_precision_score(is_target, values, sample_weight=w), abs=1e-9)


@pytest.mark.parametrize(
    ("which", "by_hand"), [(0, plain_auroc), (1, plain_average_precision)], ids=["auroc", "average precision"]
)
def test_whole_weights_rank_as_images_written_out_that_often(study, which, by_hand):
    clean_UN, is_target_N = study
    count_NB = np.random.default_rng(2).integers(0, 4, (23, 3))
    weighted = ranked_separation(clean_UN, count_NB * is_target_N[:, None], count_NB * ~is_target_N[:, None])[which]
    for u, a_N in enumerate(clean_UN):
        for b, count_N in enumerate(count_NB.T):
            written_out = [np.repeat(a_N[side], count_N[side]) for side in (is_target_N, ~is_target_N)]
            assert weighted[u, b] == pytest.approx(by_hand(*written_out), abs=1e-12), (u, b)


def test_average_precision_of_a_constant_unit_is_the_prevalence():
    precision = ranked_separation(np.ones((1, 8)), *sides(np.arange(8) < 3))[1]
    assert precision[0, 0] == pytest.approx(3 / 8)


@pytest.mark.parametrize("n_target", [0, 4], ids=["no target", "no other"])
def test_ranked_separation_is_nan_where_a_side_is_empty(n_target):
    separation = ranked_separation(np.arange(4.0)[None], *sides(np.arange(4) < n_target))
    assert np.isnan(separation).all()


def test_ranked_separation_without_images_is_nan():
    assert np.isnan(ranked_separation(np.empty((2, 0)), np.empty((0, 3)), np.empty((0, 3)))).all()


# Mann-Whitney


@given(sample, sample)
def test_mann_whitney_p_is_scipys_with_ties_and_no_smaller_than_so_few_images_allow(target, other):
    values, is_target = two_sides(target, other)
    assume(np.ptp(values) > 0)  # constant units have their own test below
    expected = mannwhitneyu(target, other, alternative="greater", method="asymptotic").pvalue
    smallest = 1 / math.comb(len(values), len(target))
    found = mann_whitney_p(values[None], is_target)[0]
    assert found == pytest.approx(max(expected, smallest), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (2, 3), (3, 3), (2, 8), (4, 3)])
def test_no_p_of_few_images_is_below_the_exact_one_of_complete_separation(n, m):
    target, other = np.arange(n) + 10.0, np.arange(m) / 10
    exact = mannwhitneyu(target, other, alternative="greater", method="exact").pvalue
    found = mann_whitney_p(np.concatenate([target, other])[None], np.arange(n + m) < n)[0]
    assert found >= exact * (1 - 1e-12)


def test_mann_whitney_p_of_many_units_is_scipys_unit_by_unit(study):
    clean_UN, is_target_N = study
    expected = [
        1.0
        if np.ptp(a_N) == 0
        else mannwhitneyu(a_N[is_target_N], a_N[~is_target_N], alternative="greater", method="asymptotic").pvalue
        for a_N in clean_UN
    ]
    np.testing.assert_allclose(mann_whitney_p(clean_UN, is_target_N), expected, rtol=1e-10)


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_mann_whitney_p_of_a_constant_unit_is_one(value):
    assert mann_whitney_p(np.full((1, 11), value), np.arange(11) < 4).tolist() == [1.0]


@pytest.mark.parametrize("n_target", [0, 1, 4, 5])
def test_mann_whitney_p_is_nan_with_fewer_than_two_images_on_a_side(n_target):
    assert np.isnan(mann_whitney_p(np.arange(10.0).reshape(2, 5), np.arange(5) < n_target)).all()


@pytest.mark.parametrize("scale", [1e-200, 1e160])
def test_extreme_scales_of_activation_change_nothing(scale):
    target, other = np.array([1.0, 2.0, 4.0]), np.array([0.5, 1.0, 2.0, 3.0])
    expected = calculate_selectivity_score(target, other)
    assert calculate_selectivity_score(target * scale, other * scale) == pytest.approx(expected, rel=1e-12)


HEAVY = {
    "lognormal": lambda generator, n: generator.lognormal(0, 1.2, n),
    "sparse": lambda generator, n: np.maximum(generator.standard_normal(n) - 1.3, 0),
    "Pareto": lambda generator, n: generator.pareto(2, n),
    "one outlier": lambda generator, n: np.r_[60.0, generator.standard_normal(n - 1)],
}
LIGHT = {
    "normal": lambda generator, n: generator.standard_normal(n),
    "uniform": lambda generator, n: generator.random(n),
    "gamma": lambda generator, n: generator.gamma(4, 1, n),
    "other means by concept": lambda generator, n: generator.standard_normal(n) + np.repeat([0, 30, 3, -4], n // 4),
    "constant": lambda generator, n: np.ones(n),
}


@pytest.mark.parametrize("tails", [*HEAVY, *LIGHT])
def test_heavy_tails_are_told_from_samples_with_few_false_alarms(tails):
    n, generator = 120, np.random.default_rng(1)
    groups, draw = np.repeat(np.arange(4), n // 4), (HEAVY | LIGHT)[tails]
    told = np.mean([excess_kurtosis(draw(generator, n)[None], groups)[0] > HEAVY_TAILS for _ in range(200)])
    assert told > 0.8 if tails in HEAVY else told <= (0.03 if tails == "gamma" else 0)


def test_kurtosis_is_that_of_deviations_from_the_mean_of_the_concept():
    generator = np.random.default_rng(0)
    values, groups = generator.gamma(1, 1, 41), np.r_[np.repeat(np.arange(4), 10), 4]
    deviations = np.concatenate([values[groups == g] - values[groups == g].mean() for g in range(4)])
    assert excess_kurtosis(values[None], groups) == pytest.approx([kurtosis(deviations)])
    assert np.isnan(excess_kurtosis(values[None, :3], np.arange(3)))
