"""Guards InterpScore (METRICS.md, section 5): the weighted mean of S, C, R and H."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from InterpScore import InputError, calculate_interpretability_score
from InterpScore.aggregated_measure import weighted_components

NAN = float("nan")
component = st.one_of(st.just(NAN), st.floats(0, 1))
four_components = st.tuples(component, component, component, component)
weight = st.one_of(st.just(0.0), st.floats(0.01, 10))
four_weights = st.tuples(weight, weight, weight, weight).filter(any)


def plain_score(components, weights, on_missing):
    """One score, term by term."""
    total = weight_sum = 0.0
    for X, w in zip(components, weights):
        if w == 0:
            continue
        if math.isnan(X):
            if on_missing == "nan":
                return NAN
            if on_missing == "zero":
                weight_sum += w
            continue
        total += w * X
        weight_sum += w
    return total / weight_sum if weight_sum else NAN


@given(four_components, four_weights, st.sampled_from(["renormalise", "nan", "zero"]))
def test_score_is_the_weighted_mean_of_what_is_there(components, weights, on_missing):
    found = calculate_interpretability_score(*components, weights=weights, on_missing=on_missing)
    assert found == pytest.approx(plain_score(components, weights, on_missing), abs=1e-12, nan_ok=True)


def test_default_weights_are_those_of_the_preset_default():
    assert [calculate_interpretability_score(*row) for row in np.eye(4)] == pytest.approx([0.3, 0.3, 0.2, 0.2])


def test_missing_component_is_left_out_by_default():
    # (.3·.8 + .2·.5 + .2·.1) / .7
    assert calculate_interpretability_score(0.8, NAN, 0.5, 0.1) == pytest.approx(0.36 / 0.7)


def test_missing_component_makes_the_score_nan_on_request():
    assert math.isnan(calculate_interpretability_score(0.8, NAN, 0.5, 0.1, on_missing="nan"))


def test_missing_component_counts_as_zero_on_request():
    assert calculate_interpretability_score(0.8, NAN, 0.5, 0.1, on_missing="zero") == pytest.approx(0.36)


@pytest.mark.parametrize("on_missing", ["renormalise", "nan"])
def test_score_of_nothing_is_nan(on_missing):
    assert math.isnan(calculate_interpretability_score(NAN, NAN, NAN, NAN, on_missing=on_missing))


def test_missing_component_of_no_weight_is_not_missed():
    found = calculate_interpretability_score(0.5, NAN, 0.5, 1.0, weights=(1, 0, 1, 2), on_missing="nan")
    assert found == pytest.approx(0.75)


def test_score_is_nan_when_only_components_of_no_weight_are_there():
    assert math.isnan(calculate_interpretability_score(NAN, 0.5, 0.5, 0.5, weights=(1, 0, 0, 0)))


@given(four_components, four_weights, st.floats(0.1, 100))
def test_weights_need_not_sum_to_one(components, weights, factor):
    found = calculate_interpretability_score(*components, weights=[factor * w for w in weights])
    assert found == pytest.approx(
        calculate_interpretability_score(*components, weights=weights), abs=1e-12, nan_ok=True
    )


def test_single_score_is_a_float():
    assert isinstance(calculate_interpretability_score(1, 1, 1, 1), float)


@given(st.lists(four_components, min_size=1, max_size=6))
def test_arrays_score_as_each_neuron_alone(rows):
    together = calculate_interpretability_score(*np.array(rows).T)
    np.testing.assert_allclose(together, [calculate_interpretability_score(*row) for row in rows], rtol=1e-12)


def test_single_numbers_stretch_over_arrays():
    found = calculate_interpretability_score(np.zeros((2, 1)), 1.0, np.zeros(3), 1.0)
    np.testing.assert_allclose(found, np.full((2, 3), 0.5))


@pytest.mark.parametrize(
    "weights", [(1, 1, 1), (0, 0, 0, 0), (0.5, 0.5, 0.5, -0.5), (1, 1, 1, NAN), (1, 1, 1, math.inf), "abcd", 1]
)
def test_bad_weights_are_named_in_the_error(weights):
    with pytest.raises(InputError) as caught:
        calculate_interpretability_score(1, 1, 1, 1, weights=weights)
    assert str(caught.value) == (
        f"--weights: found {str(weights)!r}; expected four numbers for S, C, R and H, "
        "or pairs such as S=0.3, none negative, at least one positive"
    )


def test_unknown_way_with_missing_components_is_named_in_the_error():
    with pytest.raises(InputError, match="--on-missing: found 'guess'; expected one of renormalise, nan, zero"):
        calculate_interpretability_score(1, 1, 1, 1, on_missing="guess")


def test_every_bad_option_is_named_at_once():
    with pytest.raises(InputError) as caught:
        calculate_interpretability_score(1, 1, 1, 1, weights=(1,), on_missing="guess")
    assert len(caught.value.problems) == 2


def test_component_that_a_draw_lost_makes_that_draw_nan():
    stacked_K = np.array([[1.0, 1.0], [0.5, np.nan], [0.5, 0.5], [0.0, 0.0]])
    present_K = np.ones((4, 1), dtype=bool)
    found = weighted_components(stacked_K, present_K, (0.3, 0.3, 0.2, 0.2), "renormalise")
    np.testing.assert_allclose(found, [0.55, np.nan])


def test_component_that_the_estimate_lacks_is_left_out_of_every_draw():
    stacked_K = np.array([[1.0, 1.0], [0.5, 0.9], [0.5, 0.5], [0.0, 0.0]])
    present_K = np.array([[True], [False], [True], [True]])
    found = weighted_components(stacked_K, present_K, (0.3, 0.3, 0.2, 0.2), "renormalise")
    np.testing.assert_allclose(found, [0.4 / 0.7] * 2)


def test_component_of_no_weight_that_a_draw_lost_is_not_missed():
    stacked_K = np.array([[1.0, 1.0], [0.5, np.nan], [0.5, 0.5], [0.0, 0.0]])
    found = weighted_components(stacked_K, np.ones((4, 1), dtype=bool), (0.5, 0, 0.25, 0.25), "renormalise")
    np.testing.assert_allclose(found, [0.625, 0.625])


@pytest.mark.parametrize(("name", "value"), [("S", 87.0), ("C", -0.1), ("R", float("inf"))])
def test_component_outside_0_to_1_is_refused(name, value):
    scores = {"S": 0.5, "C": 0.5, "R": 0.5, "H": 0.5, name: value}
    with pytest.raises(InputError, match=f"{name} from {value:g} to {value:g}; expected 0 to 1"):
        calculate_interpretability_score(**scores)
