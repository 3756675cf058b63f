"""Scores of a unit and a concept against plain loops, scikit-learn and means of permutations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial import distance
from scipy.stats import hypergeom
from sklearn.metrics import average_precision_score, f1_score, jaccard_score

from InterpScore.pairs.formulas import (
    auprc,
    auprc_at_chance,
    correlation,
    cosine,
    cosine_at_chance,
    f1,
    f1_at_chance,
    graded_auprc,
    graded_auprc_at_chance,
    iou,
    iou_at_chance,
    tail_probabilities,
    top_count,
)

CASES = [(40, 7, 5), (40, 5, 7), (9, 6, 6), (30, 1, 1), (12, 11, 12), (8, 3, 8)]
"""Images, positives, top images."""


def drawn(n: int, positives: int, top: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed)
    return order.permutation(np.arange(n) < positives), order.permutation(np.arange(n) < top)


@pytest.mark.parametrize(("n", "positives", "top"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_scores_of_counts_equal_those_of_scikit_learn(n: int, positives: int, top: int, seed: int) -> None:
    y, b = drawn(n, positives, top, seed)
    hits = int((y & b).sum())
    assert f1(hits, positives, top) == pytest.approx(f1_score(b, y), abs=1e-12)
    assert iou(hits, positives, top) == pytest.approx(jaccard_score(b, y), abs=1e-12)
    assert auprc(hits, positives, top, n) == pytest.approx(average_precision_score(b, y), abs=1e-12)
    assert graded_auprc(y.astype(float), b[None]) == pytest.approx(average_precision_score(b, y), abs=1e-12)


@pytest.mark.parametrize("levels", [1, 2, 4, 1000])
def test_graded_presence_with_ties_equals_scikit_learn(levels: int) -> None:
    order = np.random.default_rng(levels)
    y, b_UN = order.integers(levels, size=50) / levels, order.random((4, 50)) < 0.2
    assert graded_auprc(y, b_UN) == pytest.approx([average_precision_score(b, y) for b in b_UN], abs=1e-12)


def test_no_top_image_has_no_score() -> None:
    assert np.isnan(graded_auprc(np.array([0.5, 0.2]), np.zeros((1, 2), dtype=bool))).all()


@pytest.mark.parametrize(("n", "positives", "top"), [(7, 3, 2), (7, 2, 5), (6, 6, 1), (6, 1, 6)])
def test_chance_is_the_mean_over_all_permutations(n: int, positives: int, top: int) -> None:
    b = np.arange(n) < top
    hits = np.array([sum(b[i] for i in chosen) for chosen in itertools.combinations(range(n), positives)])
    assert f1_at_chance(n, positives, top) == pytest.approx(f1(hits, positives, top).mean(), abs=1e-12)
    assert iou_at_chance(n, positives, top) == pytest.approx(iou(hits, positives, top).mean(), abs=1e-12)
    assert auprc_at_chance(n, positives, top) == pytest.approx(auprc(hits, positives, top, n).mean(), abs=1e-12)


@pytest.mark.parametrize("y", [[3, 2, 2, 1, 0, 0], [5, 4, 3, 2, 1, 0], [1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]])
@pytest.mark.parametrize("top", [1, 2, 6])
def test_graded_chance_is_the_mean_over_all_permutations(y: list[int], top: int) -> None:
    b_UN = np.array([np.isin(np.arange(6), chosen) for chosen in itertools.combinations(range(6), top)])
    presence = np.array(y, dtype=float)
    assert graded_auprc_at_chance(presence, top) == pytest.approx(graded_auprc(presence, b_UN).mean(), abs=1e-12)


@pytest.mark.parametrize("offset", [0.0, 0.5, 10.0])
@pytest.mark.parametrize("y", [[1, 1, 0, 0, 0], [0.9, 0.3, 0.3, 0.1, 0.0]])
def test_cosine_at_chance_is_the_mean_over_all_permutations(y: list[float], offset: float) -> None:
    a, presence = np.array([0.3, -1.2, 0.8, 2.0, 0.1]) + offset, np.array(y, dtype=float)
    assert cosine(a, presence) == pytest.approx(1 - distance.cosine(a, presence), abs=1e-12)
    assert correlation(a, presence) == pytest.approx(np.corrcoef(a, presence)[0, 1], abs=1e-12)
    permuted = [cosine(a, presence[list(order)]) for order in itertools.permutations(range(5))]
    assert cosine_at_chance(a, presence) == pytest.approx(np.mean(permuted), abs=1e-12)


def test_constant_values_have_no_correlation_and_zeros_no_cosine() -> None:
    a, constant = np.arange(4.0), np.full(4, 2.0)
    assert np.isnan([correlation(a, constant), cosine(a, 0 * a), cosine_at_chance(0 * a, a)]).all()


@pytest.mark.parametrize(("n", "positives", "top"), [*CASES, (5000, 40, 40)])
def test_tail_probabilities_are_those_of_scipy(n: int, positives: int, top: int) -> None:
    p = tail_probabilities(n, positives, top)
    expected = hypergeom(n, positives, top).sf(np.arange(min(positives, top) + 1) - 1)
    assert p == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("n", [200, 1000, 3000, 7000, 50_000])
def test_the_share_of_top_images_is_not_rounded_up_by_floating_point(n: int) -> None:
    assert top_count(n, 0) == n * 5 // 1000
