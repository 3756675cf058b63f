"""Guards which units are chosen: by brute force on small layers, and what cannot be chosen from."""

from itertools import permutations

import numpy as np
import pytest

from InterpScore.errors import InputError
from InterpScore.helpers import sides
from InterpScore.labelling.choice import choose_units
from InterpScore.selectivity import hedges_g

LABELS = ["cat"] * 4 + ["dog"] * 5 + ["owl"] * 3


@pytest.mark.parametrize("seed", range(8))
def test_choice_has_the_largest_sum_of_effect_sizes_of_all_choices(seed):
    a_IU = np.random.default_rng(seed).normal(size=(12, 6))
    a_IU[np.arange(12), [["cat", "dog", "owl"].index(label) for label in LABELS]] += 2
    labels = np.array(LABELS)
    g = {c: hedges_g(a_IU.T.copy(), *sides(labels == c))[:, 0] for c in ("cat", "dog", "owl")}
    best = max(permutations(range(6), 3), key=lambda units: sum(g[c][u] for c, u in zip(g, units, strict=True)))
    assert choose_units(a_IU, LABELS) == dict(zip(g, best, strict=True))


def test_no_unit_is_chosen_twice_even_if_it_is_best_for_two():
    a_IU = [[9, 2, 0], [8, 2, 1], [9, 3, 0], [8, 4, 1], [0, 0, 9], [1, 1, 8]]
    assert choose_units(a_IU, ["a", "a", "b", "b", "c", "c"]) == {"a": 0, "b": 1, "c": 2}


def test_units_that_are_not_finite_are_passed_over():
    a_IU = np.array([[np.nan, 9, 0.0], [9, 8, 1], [0, 1, 9], [0, 0, 8]])
    assert choose_units(a_IU, ["cat", "cat", "dog", "dog"]) == {"cat": 1, "dog": 2}


@pytest.mark.parametrize(
    ("activations", "concepts", "message"),
    [
        (np.zeros((0, 4)), [], "concepts: found 0; expected at least two"),
        (np.eye(3), ["a", "a", "b"], "concept 'b': one image"),
        (np.eye(3), ["a", "a"], r"shape \(3, 3\) for 2 labels"),
        (np.eye(4), ["a", "a", "b", None], "found None among them"),
        (np.ones((4, 1)), ["a", "a", "b", "b"], "1 usable units for 2 concepts"),
        (np.zeros((4, 4)), ["a", "a", "b", "b"], "concept 'a': no unit is left that is more active on it"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused_in_one_line(activations, concepts, message):
    with pytest.raises(InputError, match=message):
        choose_units(activations, concepts)
