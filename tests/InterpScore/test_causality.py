"""Guards causality C (METRICS.md, section 2): the score that measured effects become."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from InterpScore import InputError, MissingScoreWarning, calculate_causality_score
from InterpScore.causality import causality

effects = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=12)


def table(ablation, amplification, concept="cat", level=5):
    """One row an image, one rating each."""
    return pd.DataFrame(
        {
            "image_filename": [f"{concept}_{level}_{i}.png" for i in range(len(ablation))],
            "participant": "p",
            "ground_truth": concept,
            "level": level,
            "soft_correct": True,
            "activation_7": 1.0,
            "ablation_effect_7": ablation,
            "amplification_effect_7": amplification,
        }
    )


def score_of(frame, concept="cat"):
    return calculate_causality_score(frame, 7, concept, "activation_7")


@given(effects)
def test_score_is_one_minus_exp_of_the_mean_of_both_mean_effects(pairs):
    raw = (sum(a for a, _ in pairs) / len(pairs) + sum(b for _, b in pairs) / len(pairs)) / 2
    assert score_of(table(*zip(*pairs))) == pytest.approx(1 - math.exp(-raw), abs=1e-12)


def test_effects_of_zero_give_zero():
    assert score_of(table([0, 0], [0, 0])) == 0


def test_other_concepts_do_not_count():
    frame = pd.concat([table([0.2], [0.4]), table([9.0], [9.0], concept="dog")])
    assert score_of(frame) == pytest.approx(1 - math.exp(-0.3))


def test_perturbed_images_do_not_count():
    frame = pd.concat([table([0.2], [0.4]), table([9.0], [9.0], level=4)])
    assert score_of(frame) == pytest.approx(1 - math.exp(-0.3))


def test_image_counts_once_however_many_rated_it():
    frame = table([0.2, 0.8], [0.2, 0.8])
    often = pd.concat([frame, frame.iloc[[1]].assign(participant="q"), frame.iloc[[1]].assign(participant="r")])
    assert score_of(often) == pytest.approx(1 - math.exp(-0.5))


def test_concept_is_found_however_it_is_spelled():
    assert score_of(table([0.2], [0.4]), concept="  CAT ") == pytest.approx(1 - math.exp(-0.3))


def test_neuron_may_be_a_number_or_its_text():
    frame = table([0.2], [0.4])
    assert calculate_causality_score(frame, "7", "cat", "activation_7") == score_of(frame)


def test_activation_column_may_have_any_name():
    frame = table([0.2], [0.4]).rename(columns={"activation_7": "mine"})
    assert calculate_causality_score(frame, 7, "cat", "mine") == pytest.approx(1 - math.exp(-0.3))


@pytest.mark.parametrize("absent", ["ablation_effect_7", "amplification_effect_7"])
def test_absent_effect_column_gives_nan_and_says_so(absent):
    with pytest.warns(MissingScoreWarning, match="C of neuron 7 is NaN: no measured effects"):
        score = score_of(table([0.2], [0.4]).drop(columns=absent))
    assert math.isnan(score)


def test_effect_absent_on_one_clean_image_leaves_the_others_and_is_told():
    score = score_of(table([0.2, np.nan, 0.6], [0.4, 0.4, 0.8]))
    assert score == pytest.approx(1 - math.exp(-0.5))
    assert (score.n_images, score.missing) == (2, ("cat_5_1.png",))


def test_image_counts_only_with_both_effects():
    with pytest.warns(MissingScoreWarning, match="no measured effects"):
        score = score_of(table([0.2, np.nan], [np.nan, 0.4]))
    assert math.isnan(score)


def test_specificity_is_the_concept_minus_the_others():
    frame = pd.concat([table([0.2], [0.4]), table([0.1, 0.3], [0.1, 0.1], concept="dog")])
    assert score_of(frame).specific == pytest.approx(0.3 - 0.15)
    assert math.isnan(score_of(table([0.2], [0.4])).specific)


def test_interval_is_that_of_the_images():
    values = np.linspace(0.1, 0.9, 30)
    score = score_of(table(values, values))
    raw = -np.log(1 - np.array([score.low, float(score), score.high]))
    half = 1.96 * values.std(ddof=1) / np.sqrt(30)
    assert raw == pytest.approx([values.mean() - half, values.mean(), values.mean() + half], abs=0.02)


def test_score_survives_being_pickled_with_what_it_carries():
    score = score_of(table([0.2], [0.4]))
    again = copy.copy(score)
    assert (again, again.n_images) == (score, 1)


def test_effect_absent_on_a_perturbed_image_is_not_missed():
    frame = pd.concat([table([0.2], [0.4]), table([np.nan], [np.nan], level=4)])
    assert score_of(frame) == pytest.approx(1 - math.exp(-0.3))


def test_concept_without_clean_image_gives_nan_and_says_so():
    with pytest.warns(MissingScoreWarning, match="C of neuron 7 is NaN: no clean image of 'bird'"):
        score = score_of(table([0.2], [0.4]), concept="bird")
    assert math.isnan(score)


def test_absent_activation_column_is_an_input_error():
    with pytest.raises(InputError, match="no column 'activation_8' \\(did you mean 'activation_7'"):
        calculate_causality_score(table([0.2], [0.4]), 8, "cat", "activation_8")


def test_every_unit_and_draw_is_its_own_weighted_mean():
    generator = np.random.default_rng(0)
    ablation_UN, amplification_UN = generator.gamma(1, size=(2, 4, 6))
    weights_NB = generator.integers(0, 3, (6, 5)).astype(float)
    weights_NB[0] += 1
    found_UB = causality(ablation_UN, amplification_UN, weights_NB)
    for u in range(4):
        for b in range(5):
            count_N = weights_NB[:, b].astype(int)
            written_out = [np.repeat(effect[u], count_N) for effect in (ablation_UN, amplification_UN)]
            raw = (written_out[0].mean() + written_out[1].mean()) / 2
            assert found_UB[u, b] == pytest.approx(1 - math.exp(-raw), abs=1e-12), (u, b)


def test_unit_with_a_missing_effect_leaves_the_others_alone():
    ablation_UN = np.array([[0.2, np.nan], [0.2, 0.4]])
    found_U = causality(ablation_UN, np.array([[0.2, 0.4], [0.2, 0.4]]), np.ones((2, 1)))[:, 0]
    np.testing.assert_allclose(found_U, [1 - math.exp(-0.2), 1 - math.exp(-0.3)])


def test_no_image_gives_nan():
    assert np.isnan(causality(np.empty((2, 0)), np.empty((2, 0)), np.ones((0, 3)))).all()


def test_effects_may_come_from_a_file_of_their_own(tmp_path):
    frame = pd.DataFrame(
        {"ground_truth": ["cat", "cat", "dog"], "level": 5, "soft_correct": True, "image": ["a", "b", "c"], "act": 1.0}
    )
    effects = tmp_path / "effects.csv"
    effects.write_text("image,ablation_effect_7,amplification_effect_7\nb,0.4,0.6\na,0.2,0.4\nc,9,9\n")
    expected = 1 - np.exp(-(0.3 + 0.5) / 2)
    assert calculate_causality_score(frame, 7, "cat", "act", effects=effects) == pytest.approx(expected)
    assert calculate_causality_score(frame, 7, "cat", "act", effects=pd.read_csv(effects)) == pytest.approx(expected)


def test_clean_level_is_the_one_asked_for():
    frame = pd.DataFrame(
        {"ground_truth": "cat", "level": [5, 1], "soft_correct": True, "image": ["a", "b"], "act": 1.0}
    ).assign(ablation_effect_7=[0.0, 1.0], amplification_effect_7=[0.0, 1.0])
    assert calculate_causality_score(frame, 7, "cat", "act") == 0
    assert calculate_causality_score(frame, 7, "cat", "act", clean_level=1) == pytest.approx(1 - np.exp(-1))


def test_negative_effects_are_refused_with_their_row():
    frame = pd.DataFrame({"ground_truth": "cat", "level": 5, "soft_correct": True, "act": [1.0, 2.0]})
    frame["ablation_effect_7"], frame["amplification_effect_7"] = [0.1, -2.0], [0.1, 0.2]
    with pytest.raises(
        InputError, match=r"column 'ablation_effect_7', row 3: found '-2.0'; expected an effect, 0 or more"
    ):
        calculate_causality_score(frame, 7, "cat", "act")
