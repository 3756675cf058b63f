"""Guards calculate_interpretability_metrics: every unit of an array, whatever form it comes in."""

import numpy as np
import pandas as pd
import pytest

from InterpScore import InputError, calculate_interpretability_metrics, calculate_selectivity_score

pytestmark = pytest.mark.filterwarnings("ignore::InterpScore.errors.TableWarning")
CONCEPTS = np.repeat(["cat", "dog", "car"], 20)


@pytest.fixture
def activations():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((60, 4))
    values[:20, 0] += 4
    values[20:40, 1] += 4
    return values


class Labelled:
    """The part of a labelled array (xarray's DataArray) that is read."""

    def __init__(self, values, **coordinates):
        self.values = values
        self.coords = {name: pd.Series(labels) for name, labels in coordinates.items()}

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype=dtype)


def test_mapping_from_concept_to_activations_is_scored_verbatim(activations):
    by_concept = {concept: activations[concept == CONCEPTS] for concept in ("cat", "dog", "car")}
    scores = calculate_interpretability_metrics(by_concept, resamples=0)
    table = scores.table.set_index("Neuron")
    assert table.loc["0", "Concept"] == "cat"
    assert table.loc["1", "Concept"] == "dog"
    assert table.loc[["0", "1"], "S"].min() > 0.9


def test_array_with_labels_and_labelled_array_agree(activations):
    plain = calculate_interpretability_metrics(activations, CONCEPTS, resamples=0)
    labelled = calculate_interpretability_metrics(Labelled(activations, concept=CONCEPTS), resamples=0)
    pd.testing.assert_frame_equal(plain.table, labelled.table)


def test_unit_names_come_from_the_labelled_array(activations):
    labelled = Labelled(activations, concept=CONCEPTS, unit=[89, 156, 201, 7])
    table = calculate_interpretability_metrics(labelled, resamples=0).table
    assert sorted(table["Neuron"]) == ["156", "201", "7", "89"]


def test_given_neuron_map_scores_all_images_as_the_scalar_call_does(activations):
    table = calculate_interpretability_metrics(activations, CONCEPTS, neuron_map={2: "cat"}, resamples=0).table
    expected = calculate_selectivity_score(activations[:20, 2], activations[20:, 2])
    assert table.loc[0, "S"] == pytest.approx(expected)


def test_concepts_searched_for_are_scored_on_the_other_half(activations):
    result = calculate_interpretability_metrics(activations, CONCEPTS, resamples=0)
    assert result.table["n_target_images"].eq(10).all()
    assert "chosen on one half" in result.warnings[0]


def test_searching_the_concept_does_not_make_noise_look_selective():
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((80, 400))
    table = calculate_interpretability_metrics(noise, np.repeat(list("abcdefgh"), 10), resamples=0).table
    assert table["S"].mean() == pytest.approx(0.5, abs=0.02)


def test_human_scores_and_levels_give_R_and_H(activations):
    human, levels = np.tile([1.0, 0.0], 30), np.tile([5, 5, 3, 3], 15)
    options = {"neuron_map": {0: "cat"}, "resamples": 0}
    table = calculate_interpretability_metrics(
        activations, CONCEPTS, levels=levels, human_scores=human, **options
    ).table
    assert table.loc[0, ["R", "H"]].notna().all()


def test_missing_human_scores_are_nan_with_the_reason(activations):
    row = calculate_interpretability_metrics(activations, CONCEPTS, neuron_map={0: "cat"}, resamples=0).table.iloc[0]
    assert np.isnan(row["H"])
    assert "H: no rated image of the concept" in row["Notes"]


def test_unlabelled_activations_are_nan_with_the_reason(activations):
    table = calculate_interpretability_metrics(activations).table
    assert table["InterpScore"].isna().all()
    assert table["Notes"].str.contains("no concept labels given").all()


def test_experiment_table_is_taken_as_it_is(activations):
    frame = pd.DataFrame({"ground_truth": CONCEPTS, "level": 5, "soft_correct": True})
    frame[["activation_8", "activation_9"]] = activations[:, :2]
    table = calculate_interpretability_metrics(frame, neuron_map={8: "cat"}, resamples=0).table
    assert table.loc[0, "S"] == pytest.approx(calculate_selectivity_score(activations[:20, 0], activations[20:, 0]))


def test_labels_of_another_length_are_refused(activations):
    with pytest.raises(InputError, match="59 labels for 60 images"):
        calculate_interpretability_metrics(activations, CONCEPTS[:-1])


def test_unpooled_activations_are_refused():
    with pytest.raises(InputError, match=r"found shape \(2, 3, 4\)"):
        calculate_interpretability_metrics(np.ones((2, 3, 4)), ["a", "b"])


def test_a_missing_activation_does_not_spoil_the_search_for_the_concept(activations):
    holes = activations.copy()
    holes[[5, 8, 30], [0, 1, 0]] = np.nan
    table = calculate_interpretability_metrics(holes, CONCEPTS, resamples=0).table.set_index("Neuron")
    assert table.loc[["0", "1"], "Concept"].tolist() == ["cat", "dog"]
    assert table.loc[["0", "1"], "S"].min() > 0.9


def test_labels_beside_a_frame_of_activation_columns_are_used(activations):
    frame = pd.DataFrame(activations).add_prefix("activation_")
    plain = calculate_interpretability_metrics(activations, CONCEPTS, resamples=0).table
    pd.testing.assert_frame_equal(calculate_interpretability_metrics(frame, CONCEPTS, resamples=0).table, plain)


def test_labels_beside_a_table_with_its_own_are_refused(activations):
    frame = pd.DataFrame(activations).add_prefix("activation_").assign(ground_truth=CONCEPTS, level=5, soft_correct=1)
    with pytest.raises(InputError, match="labels as arguments"):
        calculate_interpretability_metrics(frame, CONCEPTS)


@pytest.mark.parametrize("label", [None, float("nan"), ""])
def test_an_image_without_a_label_is_refused(activations, label):
    with pytest.raises(InputError, match=r"column 'ground_truth', row 2: .* expected a concept"):
        calculate_interpretability_metrics(activations, [label, *CONCEPTS[1:]], resamples=0)


@pytest.mark.parametrize("concept", ["ground_truth", "concept", "Ground.Truth", " CONCEPT"])
@pytest.mark.parametrize("unit", ["activation_7", "Activation 7", "activation.7.0"])
def test_a_table_has_its_columns_by_any_spelling(activations, concept, unit):
    frame = pd.DataFrame({concept: CONCEPTS, "level": 5, "soft_correct": None, unit: activations[:, 0]})
    table = calculate_interpretability_metrics(frame, neuron_map={7: "cat"}, resamples=0).table
    searched = calculate_interpretability_metrics(frame, resamples=0).table
    assert table.loc[0, "S"] == pytest.approx(calculate_selectivity_score(activations[:20, 0], activations[20:, 0]))
    assert searched["Neuron"].tolist() == ["7"]


def test_two_units_of_one_name_are_refused(activations):
    with pytest.raises(InputError, match="two units have the same name"):
        calculate_interpretability_metrics(pd.DataFrame(activations, columns=[1, 1, 2, 3]), CONCEPTS)


def test_words_among_the_activations_are_refused(activations):
    with pytest.raises(InputError, match="not numbers"):
        calculate_interpretability_metrics(pd.DataFrame(activations).assign(kind="cat"), CONCEPTS)


def test_masked_activations_are_missing(activations):
    masked = np.ma.masked_array(activations, mask=np.zeros_like(activations, dtype=bool))
    masked[0, 0] = 1e6
    masked[0, 0] = np.ma.masked
    table = calculate_interpretability_metrics(masked, CONCEPTS, neuron_map={0: "cat"}, resamples=0).table
    assert table.loc[0, "S"] == pytest.approx(calculate_selectivity_score(activations[1:20, 0], activations[20:, 0]))


def test_measured_effects_may_be_given_beside_the_activations(activations):
    effects = pd.DataFrame({"image": [f"image {i:08d}" for i in range(60)]})
    effects["ablation_effect_0"], effects["amplification_effect_0"] = 0.2, 0.4
    options = {"neuron_map": {0: "cat"}, "resamples": 0, "causality": effects}
    table = calculate_interpretability_metrics(activations, CONCEPTS, **options).table
    assert table.loc[0, "C"] == pytest.approx(1 - np.exp(-0.3))


def test_a_unit_with_too_few_images_to_choose_a_concept_by_is_not_scored_for_an_arbitrary_one(activations):
    few = activations.copy()
    few[1:20, 2] = few[21:40, 2] = few[41:, 2] = np.nan
    row = calculate_interpretability_metrics(few, CONCEPTS, resamples=0).table.set_index("Neuron").loc["2"]
    assert np.isnan(row["InterpScore"])
    assert "no concept could be chosen: too few clean images in the half that is searched" in row["Notes"]
