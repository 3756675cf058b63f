"""Scores under other weights and differences of pairs, against slower ways."""

from itertools import combinations

import numpy as np
import pytest

from InterpScore.aggregated_measure import calculate_interpretability_score
from InterpScore.comparison.differences import _spread
from tests.Visualizations.planted_run import planted_run
from Visualizations.figures.score.ranked import Ranked, p_of_pairs, pairs_of, spread_of_pairs, subsets


def test_the_neurons_compared_are_those_with_a_rank_best_first(run):
    neurons = Ranked.of(run)
    assert neurons.rows["Rank"].tolist() == [1, 2, 3, 4, 5, 6]
    assert neurons.components == ("S", "C", "R", "H")


def test_the_score_of_all_components_and_its_draws_are_those_of_the_run(run):
    neurons = Ranked.of(run)
    score_N, draws_NB = neurons.score_of(np.ones(4, dtype=bool))
    np.testing.assert_allclose(score_N, neurons.score_N, atol=1e-12)
    np.testing.assert_allclose(draws_NB, neurons.draws("InterpScore"), atol=1e-6)


@pytest.mark.parametrize("on_missing", ["renormalise", "nan", "zero"])
def test_scores_under_other_weights_are_those_of_the_formula(tmp_path, on_missing):
    neurons = Ranked.of(planted_run(tmp_path, resamples=0, rank_all=True, on_missing=on_missing))
    weights_WK = np.array([[0.3, 0.3, 0.2, 0.2], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    expected = [
        [
            calculate_interpretability_score(*values, weights=tuple(weights), on_missing=on_missing)
            for weights in weights_WK
        ]
        for values in neurons.estimate_NK
    ]
    np.testing.assert_allclose(neurons.scores(weights_WK), expected, atol=1e-12)


@pytest.mark.parametrize("missing", [False, True])
def test_spreads_of_pairs_are_those_that_comparisons_of_runs_use(missing):
    draws_NB = np.random.default_rng(0).normal(size=(6, 60)) + np.random.default_rng(1).normal(size=60)
    draws_NB[5] = draws_NB[4] + 1  # their difference does not vary
    if missing:
        draws_NB[0, :20], draws_NB[1, 10:50], draws_NB[2] = np.nan, np.nan, np.nan
    expected = [_spread((draws_NB[i] - draws_NB[j])[None])[0] for i, j in combinations(range(6), 2)]
    np.testing.assert_allclose(spread_of_pairs(draws_NB), expected, rtol=1e-9)


def test_differences_below_the_resolution_of_draws_have_no_p():
    draws_NB = 1 - 1e-8 * np.random.default_rng(0).random((2, 50))
    assert np.isnan(p_of_pairs(np.array([1.0, 1 - 1e-9]), draws_NB)[2]).all()


def test_pairs_and_sets_are_each_there_once():
    assert list(zip(*pairs_of(4))) == list(combinations(range(4), 2))
    assert sorted(tuple(chosen) for chosen in subsets(3)) == sorted(
        chosen for size in (1, 2, 3) for chosen in combinations(range(3), size)
    )


def test_some_of_many_are_evenly_spaced_from_the_first_to_the_last(many):
    neurons = Ranked.of(many)
    some = neurons.spaced(7)
    assert len(some.rows) == 7
    assert (some.score_N[0], some.score_N[-1]) == (neurons.score_N[0], neurons.score_N[-1])
    np.testing.assert_array_equal(some.draws("S"), many.draws.around("S")[some.places])
    assert neurons.spaced(1000) is neurons
