"""Guards p-values by permutation of labels: exact where that can be enumerated, uniform under the null, far out in the tail."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import hypergeom, kstest

from InterpScore.pairs.permutation import Permutations, p_of_hits, p_of_sums, p_of_sums_in_tail, permuted_sources
from InterpScore.resampling import permuted_within

KINDS = {
    "normal": lambda z: z,
    "lognormal": np.exp,
    "sparse": lambda z: np.maximum(z - 1, 0),
    "nearly dead": lambda z: np.maximum(z - 2, 0),
    "whole numbers": lambda z: np.round(np.maximum(z, 0)),
}


def orders(n, draws=400, seed=0):
    return Permutations(list(permuted_within(np.zeros(n), draws, seed)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "positives"), [(60, 12), (100, 5)])
def test_p_of_sums_is_uniform_under_the_null(kind, n, positives):
    values = KINDS[kind](np.random.default_rng(n).standard_normal((2000, n)))
    values = values[np.ptp(values, axis=1) > 0]
    p = p_of_sums(values, np.arange(n) < positives, orders(n, 1000))
    for level in (0.2, 0.05, 0.01):
        assert (p <= level).mean() < level + 3 * np.sqrt(level / len(p))
    if kind in ("normal", "lognormal"):
        assert kstest(p, "uniform").pvalue > 0.001


@pytest.mark.parametrize(
    ("kind", "within"), [("normal", 1.5), ("lognormal", 2), ("sparse", 3), ("nearly dead", 3), ("whole numbers", 4)]
)
def test_p_in_the_tail_is_nearly_that_of_all_samples(kind, within):
    generator = np.random.default_rng(3)
    n, positives = 20, 6
    samples = np.array(list(combinations(range(n), positives)))
    values = KINDS[kind](generator.standard_normal((8, n)))
    values = values[np.ptp(values, axis=1) > 0]
    sums = values[:, samples].sum(axis=2)
    for rank in (0, 10, 40, 400):
        for u, at in enumerate(np.argsort(-sums, axis=1)[:, rank]):
            found = p_of_sums_in_tail(values[[u]], np.isin(np.arange(n), samples[at]))[0]
            exact = (sums[u] >= sums[u, at] - 1e-12).mean()
            assert 1 / within < found / exact < within
            assert rank or found == pytest.approx(exact, rel=1e-9)  # of the largest sum it is exact


def test_complete_separation_has_the_smallest_p_that_there_is():
    shows = np.arange(30) < 8
    found = p_of_sums(np.where(shows, 5.0, 0.0)[None] + np.linspace(0, 1, 30), shows, orders(30))
    assert found == pytest.approx([hypergeom(30, 8, 8).pmf(8)])


def test_p_of_hits_is_hypergeometric():
    generator, shows = np.random.default_rng(0), np.arange(50) < 9
    top = np.array([generator.permutation(50) < 12 for _ in range(20)])
    found = p_of_hits(top, shows, orders(50))
    assert found == pytest.approx(hypergeom(50, 9, 12).sf(top[:, shows].sum(axis=1) - 1))


@pytest.mark.parametrize("found", [p_of_hits, p_of_sums])
@pytest.mark.parametrize("shows", [np.zeros(9, bool), np.ones(9, bool)])
def test_without_images_of_both_sides_there_is_no_p(found, shows):
    assert np.isnan(found(np.eye(9)[:2] > 0, shows, orders(9))).all()


@pytest.mark.parametrize("sizes", [[3] * 20, [1] * 30 + [2] * 15, list(range(1, 16))])
def test_labels_move_with_their_sources(sizes):
    source = np.repeat(np.arange(len(sizes)), sizes)
    label = np.random.default_rng(0).random(len(sizes))[source]
    (order,) = permuted_sources(source, 60, 0)
    for g in range(len(sizes)):
        assert (label[order[source == g]] == label[order[source == g]][0]).all()
    assert (order != np.arange(len(source))[:, None]).any()
    if len(set(sizes)) <= 2:  # enough of each size: every image gives its label once
        assert (np.sort(order, axis=0) == np.arange(len(source))[:, None]).all()


@pytest.mark.parametrize("found", ["hits", "sums"])
def test_sources_that_vary_in_size_reject_a_true_null_as_often_as_they_should(found):
    """Units that are alike on images of a source; permuting images would reject far more often."""
    generator = np.random.default_rng(4)
    sizes = generator.integers(1, 9, 60)
    source = np.repeat(np.arange(60), sizes)
    values = generator.standard_normal((300, 60))[:, source]
    shows = (generator.permutation(60) < 15)[source]
    top = np.argsort(np.argsort(-values, axis=1), axis=1) < shows.sum()
    data = {"hits": (p_of_hits, top), "sums": (p_of_sums, values)}[found]
    by_source = data[0](
        data[1], shows, Permutations(permuted_sources(source, 300, 0), permuted_sources(source, 300, 1))
    )
    by_image = data[0](data[1], shows, orders(len(source)))
    assert (by_source <= 0.05).mean() < 0.1
    assert (by_image <= 0.05).mean() > 0.13
