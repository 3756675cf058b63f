"""Kendall's τ and Spearman's ρ in every draw against SciPy, and their intervals."""

import numpy as np
import pytest
from scipy.stats import kendalltau, norm, spearmanr

from Visualizations.figures.score.agreement import kendall, kendall_interval, spearman_interval


@pytest.fixture(params=[9, 80], ids=["few", "many"])
def values(request):
    """Two values of each neuron in every draw, with ties and with some missing."""
    rng = np.random.default_rng(1)
    x_NB, y_NB = (rng.integers(0, 12, (request.param, 15)).astype(float) for _ in range(2))
    x_NB[1, 3] = y_NB[2, :5] = np.nan
    return x_NB, y_NB


def test_tau_is_that_of_scipy_over_the_neurons_with_both_values(values):
    expected = [kendalltau(x, y, nan_policy="omit").statistic for x, y in zip(values[0].T, values[1].T)]
    np.testing.assert_allclose(kendall(*values), expected, atol=1e-12)


@pytest.mark.parametrize(("interval", "scipy", "half_step"), [
    (kendall_interval, kendalltau, lambda n: 2 / (n * (n - 1))),
    (spearman_interval, spearmanr, lambda n: 6 / (n**3 - n)),
])  # fmt: skip
def test_intervals_are_normal_on_fishers_scale_around_the_estimate(values, interval, scipy, half_step):
    points = np.arange(len(values[0])) * 1.0, values[0][:, 0]
    point, low, high = interval(points, values, 0.9)
    end = 1 - half_step(len(points[0]))
    drawn = [scipy(x, y, nan_policy="omit").statistic for x, y in zip(values[0].T, values[1].T)]
    reach = norm.ppf(0.95) * np.std(np.arctanh(np.clip(drawn, -end, end)), ddof=1)
    assert point == pytest.approx(scipy(*points).statistic)
    np.testing.assert_allclose([low, high], np.tanh(np.arctanh(point) + reach * np.array([-1, 1])), atol=1e-12)


def test_the_interval_of_a_perfect_agreement_ends_there(values):
    order = np.arange(len(values[0])) * 1.0
    tau, low, high = kendall_interval((order, order), values, 0.95)
    assert tau == high == pytest.approx(1)
    assert low < 1


def test_without_draws_there_is_no_interval():
    order, none = np.arange(5.0), np.empty((5, 0))
    tau, low, high = kendall_interval((order, order), (none, none), 0.95)
    assert tau == 1
    assert np.isnan([low, high]).all()
