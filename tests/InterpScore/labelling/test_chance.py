"""Guards p-values: exact ones are SciPy's, permutations keep groups together, and nulls are those of plain loops."""

import itertools
from math import comb

import numpy as np
import pytest
from scipy.stats import hypergeom

from InterpScore.labelling import chance
from InterpScore.labelling.chance import (
    GradedNull,
    GroupNull,
    LargestNull,
    PermutationJob,
    exact_p_values,
    fixed_share,
    permuted_images,
    permuted_p_values,
    random_subsets,
)
from InterpScore.labelling.pair_scores import Images, scores_of_pairs
from InterpScore.labelling.presence import GradedPresence
from tests.InterpScore.labelling.test_pair_scores import C, N, U, average_precision, binary, graded, images, is_top


def test_exact_p_values_are_scipys():
    some = images(binary())
    scores = scores_of_pairs(some, "auprc")
    concept_U = np.arange(U) % C
    ny_U, k_U = some.presence.positives_C[concept_U], some.presence.top_C[concept_U]
    expected = hypergeom.sf(scores.hits_UC[np.arange(U), concept_U] - 1, N, ny_U, k_U)
    np.testing.assert_allclose(exact_p_values(some, scores, concept_U), expected, rtol=1e-9)


@pytest.mark.parametrize("sizes", [[1] * 6, [2, 2, 2, 1, 1], [3, 3, 2, 2, 2, 1]])
def test_groups_exchange_what_they_show_with_groups_of_their_size(sizes):
    group_N = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    label_of_NB = permuted_images(group_N, 400, np.random.default_rng(1))
    seen = set()
    for label_of_N in label_of_NB.T:
        assert sorted(label_of_N) == list(range(len(group_N)))
        for group in range(len(sizes)):
            rows = np.flatnonzero(group_N == group)
            (source,) = set(group_N[label_of_N[rows]])  # all of a group get theirs from one
            assert sizes[source] == sizes[group]
            assert label_of_N[rows].tolist() == np.flatnonzero(group_N == source).tolist()
            seen.add((group, source))
    assert len(seen) == sum(n**2 for n in np.unique(sizes, return_counts=True)[1])  # every exchange happens


def test_images_that_permutations_cannot_move_are_counted():
    assert fixed_share(np.array([0, 0, 0, 1, 2])) == pytest.approx(0.6)
    assert fixed_share(np.array([0, 0, 1, 1])) == 0


@pytest.mark.parametrize(("n", "size"), [(6, 2), (6, 5), (5, 1), (4, 4)])
def test_random_subsets_are_all_equally_likely(n, size):
    draws = 12_000
    found = random_subsets(n, size, draws, np.random.default_rng(0))
    sets, count = np.unique(found, axis=0, return_counts=True)
    assert [tuple(one) for one in sets.tolist()] == sorted(itertools.combinations(range(n), size))
    expected = draws / comb(n, size)
    assert np.abs(count - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize("presence", [binary(), graded(), graded(steps=5)])
def test_null_of_groups_is_that_of_a_plain_loop(presence):
    group_N = np.arange(N) // 3
    some = Images(images(presence).a_UN, presence, group_N, np.arange(N))
    concept_U = np.arange(U) % C
    scores = scores_of_pairs(some, "auprc")
    binary_hits = scores.hits_UC is not None
    observed_U = (scores.hits_UC if binary_hits else scores.auprc_UC)[np.arange(U), concept_U].astype(float)
    reached_U = GroupNull(some, concept_U, observed_U).reached(np.random.default_rng(4), 16, np.arange(U))
    for u, c in enumerate(concept_U):
        top_N = is_top(some.a_UN[u], int(presence.top_C[c]))
        expected = 0
        for label_of_N in permuted_images(group_N, 16, np.random.default_rng(4)).T:
            y_N = presence.of(c)[label_of_N]
            value = (top_N * y_N).sum() if binary_hits else average_precision(y_N, top_N)
            expected += value >= observed_U[u] - 1e-12
        assert reached_U[u] == expected


@pytest.mark.parametrize("presence", [graded(), graded(steps=4)])
def test_units_share_permutations_where_images_have_no_groups(presence):
    """P(AUPRC ≥ observed), by all placements of the top images."""
    few = GradedPresence(presence.concepts, presence.y_CN[:, :7])
    a_UN = np.random.default_rng(0).normal(size=(3, 7))
    some = Images(a_UN, few, np.arange(7), np.arange(7))
    concept_U = np.array([0, 1, 1])
    observed_U = scores_of_pairs(some, "auprc").auprc_UC[np.arange(3), concept_U]
    draws = 20_000
    reached_U = GradedNull(some, concept_U, observed_U).reached(np.random.default_rng(0), draws, np.array([0, 2]))
    for reached, u in zip(reached_U, (0, 2), strict=True):
        y_N, k = few.of(concept_U[u]), int(few.top_C[concept_U[u]])
        sets = [np.isin(np.arange(7), one) for one in itertools.combinations(range(7), k)]
        expected = np.mean([average_precision(y_N, one) >= observed_U[u] - 1e-12 for one in sets])
        assert reached / draws == pytest.approx(expected, abs=0.02)


def with_equal_pairs(pairs):
    """Graded presence in which some pairs of images have the same."""
    y_CN = graded().y_CN.copy()
    for k in range(pairs):
        y_CN[:, 2 * k] = y_CN[:, 2 * k + 1]
    return GradedPresence(graded().concepts, y_CN)


@pytest.mark.parametrize("presence", [graded(), with_equal_pairs(1), with_equal_pairs(30), graded(steps=4)])
def test_shared_permutations_count_as_those_of_each_unit_would(presence):
    some, units, draws = images(presence), 3, 20
    values_UB = np.empty((units, draws))
    for u in range(units):  # the concept of unit u is u
        ranked_N = np.argsort(-presence.y_CN[u], kind="stable")
        rank_BK = random_subsets(N, int(presence.top_C[u]), draws, np.random.default_rng(0))
        tops = (np.isin(np.arange(N), ranked_N[rank_K]) for rank_K in rank_BK)
        values_UB[u] = [average_precision(presence.y_CN[u], top_N) for top_N in tops]
    for quantile in (0.0, 0.5, 0.95):
        observed_U = np.quantile(values_UB, quantile, axis=1, method="nearest")
        null = GradedNull(some, np.arange(units), observed_U)
        found = [int(null.reached(np.random.default_rng(0), draws, np.array([u]))[0]) for u in range(units)]
        assert found == (values_UB >= observed_U[:, None] - 1e-12).sum(axis=1).tolist()


@pytest.mark.parametrize("size", [1, 2])
def test_largest_score_over_concepts_is_the_null_without_a_split(size):
    some = Images(images(binary()).a_UN, binary(), np.arange(N) // size, np.arange(N))
    least = np.array([-np.inf] * U)
    null = LargestNull(some, "f1", least)
    assert null.reached(np.random.default_rng(0), 20, np.array([1, 3])).tolist() == [20, 20]
    typical = LargestNull(some, "f1", np.full(U, 0.1)).reached(np.random.default_rng(0), 200, np.array([1]))
    assert 0 < typical[0] < 200


def test_units_that_no_permutation_reached_get_more(monkeypatch):
    monkeypatch.setattr(chance, "FIRST", 1000)
    monkeypatch.setattr(chance, "MOST", 3000)

    class Null:
        def reached(self, generator, draws, units):
            return np.array([0, 2, 0])[units] + np.array([0, 0, draws == -1])[units]

    p_U, count_U = permuted_p_values(Null(), 3, 0, chance.in_memory())
    assert p_U.tolist() == [1 / 3001, 5 / 1001, 1 / 3001]
    assert count_U.tolist() == [3000, 1000, 3000]


def test_parts_of_permutations_do_not_depend_on_each_other():
    some = images(graded())
    job = PermutationJob(GradedNull(some, np.zeros(U, int), np.full(U, 0.2)), np.arange(U), 5)
    forward = dict(job.compute(iter([0, 1]), lambda count: None))
    backward = dict(job.compute(iter([1, 0]), lambda count: None))
    assert {part: counts.tolist() for part, counts in forward.items()} == {p: c.tolist() for p, c in backward.items()}
    assert forward[0].tolist() != forward[1].tolist()
