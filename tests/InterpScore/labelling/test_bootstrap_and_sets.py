"""Guards intervals and sets of concepts: draws are those of plain loops with the same weights."""

import numpy as np
import pytest

from benchmarks.labelling_coverage import IMAGES, PREVALENCES, SHIFTS, coverage
from InterpScore.labelling.bootstrap.intervals import Bootstrap, percentiles, weights
from InterpScore.labelling.halves import in_halves
from InterpScore.labelling.pair_scores import Images, log_likelihoods, scores_of_pairs
from InterpScore.labelling.presence import GradedPresence, presence_of
from InterpScore.labelling.several import _BinarySets, _GradedSets, _reached_by_chance
from InterpScore.pairs import formulas
from tests.InterpScore.labelling.test_pair_scores import C, N, average_precision, binary, graded, images, is_top

B = 8


def weighted_auprc(y_N, top_N, w_N):
    """Average precision in which an image counts for its weight."""
    total = before = 0.0
    for y in np.unique(y_N)[::-1]:
        at_least = y_N >= y
        hits = w_N[top_N & at_least].sum()
        total += (hits - before) / w_N[top_N].sum() * hits / w_N[at_least].sum()
        before = hits
    return total


def expected_draw(some, u, c, w_N, by):
    """One draw of what concepts are chosen by, and of all other scores."""
    y_N, k = some.presence.of(c), int(some.presence.top_C[c])
    top_N, a_N = is_top(some.a_UN[u], k), some.a_UN[u]
    auprc = weighted_auprc(y_N, top_N, w_N)
    covariance = np.cov(np.stack([a_N, y_N]), aweights=w_N)
    found = {"AUPRC": auprc, "correlation": covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])}
    found["cosine"] = w_N @ (a_N * y_N) / np.sqrt((w_N @ a_N**2) * (w_N @ y_N**2))
    shown, top, hits = w_N @ y_N, w_N[top_N].sum(), (w_N * y_N)[top_N].sum()
    if isinstance(some.presence, GradedPresence):
        above = auprc - formulas.graded_auprc_at_chance(y_N, k)
        wpmi = None
        if by == "soft-wpmi":
            wpmi = "checked apart"
        return {"auprc": above, "correlation": found["correlation"], "soft-wpmi": wpmi}[by], found
    found |= {"F1": 2 * hits / (shown + top), "IoU": hits / (shown + top - hits)}
    above = {
        "auprc": auprc - formulas.auprc_at_chance(N, shown, top), "correlation": found["correlation"],
        "f1": found["F1"] - 2 * shown * top / (N * (shown + top)),
    }  # fmt: skip
    return above[by], found


@pytest.mark.parametrize(
    ("presence", "by"),
    [
        (binary(), "auprc"), (binary(), "f1"), (binary(), "correlation"), (graded(), "auprc"), (graded(steps=6), "auprc"),
        (graded(), "correlation"),
    ],
)  # fmt: skip
def test_draws_are_those_of_a_plain_loop(presence, by, monkeypatch):
    some = Images(images(presence).a_UN, presence, np.arange(N) // 2, np.arange(N))
    scores = scores_of_pairs(some, by)
    weight_NB = weights(some.group_N, B, 0)
    drawn = []
    monkeypatch.setattr(
        Bootstrap, "_intervals", lambda self, score_DB, label: drawn.append((np.array(score_DB), dict(label)))
    )
    candidate_UD = np.array([[3, 1], [0, 4], [4, 3]])
    Bootstrap(some, scores, by, weight_NB, 0.95).of_units(candidate_UD, np.array([0, 2]))
    for u, (score_DB, label) in zip((0, 2), drawn, strict=True):
        for b in range(B):
            w_N = weight_NB[:, b].astype(float)
            for d, c in enumerate(candidate_UD[u]):
                score, others = expected_draw(some, u, c, w_N, by)
                assert score_DB[d, b] == pytest.approx(score, abs=1e-5)
                if d == 0:
                    assert {name: draws[b] for name, draws in label.items()} == pytest.approx(others, abs=1e-5)


def test_soft_wpmi_without_reweighting_is_the_estimate(monkeypatch):
    some = images(graded())
    scores = scores_of_pairs(some, "soft-wpmi")
    drawn = []
    monkeypatch.setattr(Bootstrap, "_intervals", lambda self, score_DB, label: drawn.append(score_DB))
    even = np.ones((N, 3), dtype=np.float32)
    Bootstrap(some, scores, "soft-wpmi", even, 0.95).of_units(np.array([[2, 0, 5]]), np.array([0]))
    np.testing.assert_allclose(drawn[0], scores.score_UC[0, [2, 0, 5], None].repeat(3, axis=1), atol=1e-5)
    assert log_likelihoods(some.a_UN, some.presence).max() < 0


def test_images_of_a_source_count_alike_and_draws_have_the_same_sum():
    weight_NB = weights(np.array([0, 0, 1, 2, 2]), 500, 3)
    assert (weight_NB[0] == weight_NB[1]).all()
    assert (weight_NB[3] == weight_NB[4]).all()
    np.testing.assert_allclose(weight_NB.sum(axis=0), 5, rtol=1e-5)


def test_percentiles_are_numpys():
    draws = np.random.default_rng(0).normal(size=(4, 101)).astype(np.float32)
    np.testing.assert_allclose(percentiles(draws, 0.9), np.quantile(draws, [0.05, 0.95], axis=1), rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_sources_are_never_divided_and_concepts_are_on_both_sides(seed):
    group_N = np.repeat(np.arange(40), 3)
    names = [f"concept {group % 10}" for group in group_N]
    presence = presence_of(names, 120)
    first, second = in_halves(presence, group_N, seed)
    assert sorted([*first, *second]) == list(range(120))
    assert not set(group_N[first]) & set(group_N[second])
    assert presence.only(first).positives_C.tolist() == presence.only(second).positives_C.tolist() == [6] * 10
    assert first.tolist() != sorted(first)  # equal activations are not ranked as a folder lists concepts
    other = in_halves(presence, group_N, seed + 1)[0]
    assert set(first.tolist()) != set(other.tolist())


# Several concepts -----------------------------------------------------------------------------------------------------


def of_set(some, u, y_N):
    """AUPRC above chance of a unit and the union of concepts."""
    k = max(int(np.ceil(0.005 * N)), int((y_N >= 0.5).sum()))
    return average_precision(y_N, is_top(some.a_UN[u], k)) - formulas.graded_auprc_at_chance(y_N, k)


@pytest.mark.parametrize(("presence", "kind"), [(binary(), _BinarySets), (graded(), _GradedSets), (graded(steps=4), _GradedSets)])  # fmt: skip
@pytest.mark.parametrize("concepts", [[0], [3, 1]])
def test_sets_of_concepts_are_scored_as_their_union(presence, kind, concepts):
    some = images(presence)
    y_CN = np.stack([presence.of(c) for c in range(C)])
    label_of_BN = np.stack([np.random.default_rng(b).permutation(N) for b in range(5)])
    for u in range(3):
        sets = kind(some, u, np.arange(C))
        union_N = y_CN[concepts].max(axis=0)
        assert sets.of(concepts) == pytest.approx(of_set(some, u, union_N), abs=1e-9)
        values = {c: of_set(some, u, np.maximum(union_N, y_CN[c])) for c in range(C) if c not in concepts}
        best, value = sets.best_addition(concepts)
        assert value == pytest.approx(max(values.values()), abs=1e-9)
        assert values[best] == pytest.approx(value, abs=1e-9)
        permuted = sets.of_permuted(concepts, 2, label_of_BN)
        # A binary addition goes to other images, a graded one is looked up: the same, the other way round.
        order_BN = label_of_BN if kind is _GradedSets else np.argsort(label_of_BN, axis=1)
        expected = [of_set(some, u, np.maximum(union_N, y_CN[2][order_N])) for order_N in order_BN]
        np.testing.assert_allclose(permuted, expected, atol=1e-9)


@pytest.mark.parametrize(("reaching", "expected"), [(0, False), (10, False), (11, True), (200, True)])
def test_an_addition_is_by_chance_where_more_than_five_in_a_hundred_permuted_ones_reach_it(reaching, expected):
    class Sets:
        def of_permuted(self, concepts, added, label_of_BN):
            return np.where(label_of_BN[:, 0] < reaching, 0.5, 0.49)

    label_of_BN = np.random.default_rng(0).permutation(200)[:, None]
    assert _reached_by_chance(Sets(), [0], 1, 0.5, label_of_BN) is expected


# Coverage -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("concept_images", "shift"), [(20, 2.0), (50, 2.0)])
def test_intervals_cover_the_score_of_endless_images(concept_images, shift):
    has, covered = coverage(concept_images, shift, 0.05, 400, 200)
    assert has > 0.97
    assert 0.91 <= covered <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("concept_images", IMAGES)
@pytest.mark.parametrize("prevalence", PREVALENCES)
def test_intervals_cover_wherever_most_units_have_one(concept_images, prevalence):
    for shift in SHIFTS:
        has, covered = coverage(concept_images, shift, prevalence, 2000, 400)
        if has >= 0.9:  # with few images hits are few whole numbers, and nearly all of them at d' = 3
            assert (0.88 if concept_images < 50 else 0.93) <= covered <= 0.99
