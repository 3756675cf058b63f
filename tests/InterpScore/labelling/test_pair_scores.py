"""Guards the scores of all units and concepts at once: each equals a plain loop over pairs."""

import itertools

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from InterpScore.labelling.pair_scores import Images, log_likelihoods, scores_of_pairs
from InterpScore.labelling.presence import GradedPresence, Presence, presence_of
from InterpScore.labelling.ranking import order_of
from InterpScore.pairs import formulas

U, N, C = 5, 90, 6


def activations(dtype, seed=0):
    """Normal, sparse with many ties, and with a large offset."""
    generator = np.random.default_rng(seed)
    a_UN = generator.normal(size=(U, N))
    a_UN[2:4] = np.maximum(generator.integers(-6, 3, (2, N)), 0)
    a_UN[4] += 100
    return a_UN.astype(dtype)


def binary(seed=1):
    shown_NC = np.random.default_rng(seed).random((N, C)) < [0.01, 0.05, 0.1, 0.3, 0.6, 0.02]
    shown_NC[0] = True  # every concept has an image
    return presence_of(shown_NC.astype(int), N)


def graded(seed=1, steps=None):
    logits = np.random.default_rng(seed).normal(size=(C, N))
    y_CN = softmax(3 * logits, axis=0)
    y_CN = y_CN if steps is None else np.round(y_CN * steps) / steps
    return GradedPresence(tuple("abcdef"), y_CN, np.tanh(logits) / 3)


def images(presence, dtype=float):
    return Images(activations(dtype), presence, np.arange(N), np.arange(N))


def is_top(a_N, k):
    """Top images, by the definition: equal activations in the order of the images."""
    ranked = sorted(range(len(a_N)), key=lambda i: (-a_N[i], i))
    return np.isin(np.arange(len(a_N)), ranked[:k])


def average_precision(y_N, top_N):
    """One step for each threshold of the presence."""
    total, before = 0.0, 0
    for y in np.unique(y_N)[::-1]:
        at_least = y_N >= y
        hits = int((top_N & at_least).sum())
        total += (hits - before) / top_N.sum() * hits / at_least.sum()
        before = hits
    return total


@pytest.mark.parametrize("dtype", [float, np.float32])
@pytest.mark.parametrize("presence", [binary(), binary(5), graded(), graded(steps=20), graded(steps=3)])
def test_auprc_of_all_pairs_is_that_of_a_plain_loop(presence, dtype):
    some = images(presence, dtype)
    scores = scores_of_pairs(some, "auprc")
    for c in range(C):
        y_N, k = presence.of(c), int(presence.top_C[c])
        assert k == max(int(np.ceil(0.005 * N)), int((y_N >= 0.5).sum()))
        chance = formulas.graded_auprc_at_chance(y_N, k)
        assert scores.auprc_at_chance_C[c] == pytest.approx(chance, abs=1e-9)
        for u in range(U):
            expected = average_precision(y_N, is_top(some.a_UN[u], k))
            assert scores.auprc_UC[u, c] == pytest.approx(expected, abs=1e-9)
            assert scores.score_UC[u, c] == pytest.approx(expected - chance, abs=1e-9)


def test_hits_and_f1_of_all_pairs_are_those_of_a_plain_loop():
    presence = binary()
    some = images(presence)
    scores = scores_of_pairs(some, "f1")
    for c in range(C):
        y_N, k = presence.of(c), int(presence.top_C[c])
        for u in range(U):
            top_N = is_top(some.a_UN[u], k)
            hits = int((top_N * y_N).sum())
            assert scores.hits_UC[u, c] == hits
            above = 2 * hits / (y_N.sum() + k) - 2 * y_N.sum() * k / (N * (y_N.sum() + k))
            assert scores.score_UC[u, c] == pytest.approx(above, abs=1e-9)


@pytest.mark.parametrize(("dtype", "presence", "within"), [(float, binary(), 1e-9), (np.float32, binary(), 1e-9), (float, graded(), 1e-9), (np.float32, graded(), 1e-5)])  # fmt: skip
def test_correlation_of_all_pairs_is_numpys(dtype, presence, within):
    some = images(presence, dtype)
    scores = scores_of_pairs(some, "correlation").score_UC
    for u in range(U):
        for c in range(C):
            expected = np.corrcoef(some.a_UN[u].astype(float), presence.of(c))[0, 1]
            assert scores[u, c] == pytest.approx(expected, abs=within)


def test_soft_wpmi_is_that_of_clip_dissect():
    presence = graded()
    some = images(presence)
    likelihood = np.zeros((U, C))
    concept_NC = softmax(10 * presence.cosine_CN.T, axis=1)
    for u in range(U):
        ranked = sorted(range(N), key=lambda i: (-some.a_UN[u, i], i))[:100]
        for rank, i in enumerate(ranked):
            p = 0.998 - rank / len(ranked) * (0.998 - 0.97)
            likelihood[u] += np.log(1 + p * (concept_NC[i] - 1) + 1e-7)
    prior = logsumexp(likelihood, axis=0) - np.log(U)
    np.testing.assert_allclose(log_likelihoods(some.a_UN, presence), likelihood, atol=1e-9)
    np.testing.assert_allclose(scores_of_pairs(some, "soft-wpmi").score_UC, likelihood - prior, atol=1e-9)


@pytest.mark.parametrize(
    "values", [[0.0, -0.0, 0, 1, -1, 1], [np.inf, 3, -np.inf, 3, np.inf], [1e-45, 0, -1e-45, 1e38, -1e38], [2] * 5]
)
def test_fast_order_of_single_precision_is_the_stable_one(values):
    a_N = np.array(values, dtype=np.float32)
    expected = np.argsort(-a_N.astype(float), kind="stable").tolist()
    assert order_of(a_N).tolist() == expected
    for dtype, top in itertools.product([np.float32, float], range(1, len(values) + 1)):
        assert order_of(a_N.astype(dtype), top).tolist() == expected[:top]


# Presence -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("concepts", "shown"),
    [
        (["a", "b", "a", None], {"a": [0, 2], "b": [1]}),
        ([["b", "a"], [], "a", ""], {"a": [0, 2], "b": [0]}),
        ([["a", "a"], float("nan"), ("b",), "b"], {"a": [0], "b": [2, 3]}),
    ],
)
def test_concepts_of_images_may_be_one_several_or_none(concepts, shown):
    presence = presence_of(concepts, 4)
    assert {name: presence.images_of(c).tolist() for c, name in enumerate(presence.concepts)} == shown


@pytest.mark.parametrize("presence", [binary(), graded()])
def test_presence_of_some_images_in_another_order(presence):
    rows = np.random.default_rng(3).permutation(N)[:90]
    some = presence.only(rows)
    kept = np.arange(C) % 2 == 0
    for c in range(C):
        assert some.of(c).tolist() == presence.of(c)[rows].tolist()
    assert some.of_concepts(kept).of(1).tolist() == presence.of(2)[rows].tolist()
    assert isinstance(some, Presence) == isinstance(presence, Presence)
