"""Guards what metrics are computed on: neurons with several concepts, and draws in which labels are permuted."""

import json

import numpy as np
import pandas as pd
import pytest

from InterpScore import calculate_selectivity_score, run_interpretability_benchmark
from InterpScore.options import scoring_options
from InterpScore.resampling import permuted_labels
from InterpScore.robustness import METRIC as ROBUSTNESS
from InterpScore.scoring.blocks import Row, blocks_of
from InterpScore.scoring.study import Study
from InterpScore.selectivity import METRIC as SELECTIVITY
from InterpScore.tables.experiment_table import load_experiment_table

pytestmark = pytest.mark.filterwarnings("ignore::InterpScore.errors.TableWarning")
MAP = {"2": "dog", "1": ["cat", "dog"], "3": "NA"}
POINTS = ["S", "C", "R", "H", "InterpScore"]


def rows(study, neuron_map=MAP, **options):
    """The results by neuron and concept."""
    table = run_interpretability_benchmark(study, neuron_map, **{"resamples": 0, **options}).table
    return table.set_index(["Neuron", "Concept"])


def plain_scores(study, target, other):
    """S, C, R and H of neuron 1, re-derived from the rows of a table; masks say which images are on which side."""
    images = study.drop_duplicates("image_filename")
    clean = images["level"] == 5
    on, off = (images.loc[clean & side[images.index], "activation_1"] for side in (target, other))
    effects = images.loc[clean & target[images.index], ["ablation_effect_1", "amplification_effect_1"]]
    recognised = target & study["soft_correct"]
    ratios = [
        study.loc[recognised & (study["level"] == level), "activation_1"].abs().mean() / on.abs().mean()
        for level in (3, 4)
    ]
    high = study.loc[target & (study["activation_1"] > np.quantile(off, 0.95)), "soft_correct"]
    return [
        calculate_selectivity_score(on, off), 1 - np.exp(-effects.to_numpy().mean()),
        np.mean([min(r, 1 / r) for r in ratios]), high.mean(),
    ]  # fmt: skip


def test_a_neuron_is_scored_for_the_union_of_its_concepts(simulated_study):
    union = simulated_study["ground_truth"].isin(["cat", "dog"])
    row = rows(simulated_study).loc["1", "cat | dog"]
    np.testing.assert_allclose(row[["S", "C", "R", "H"]].astype(float), plain_scores(simulated_study, union, ~union))
    assert (row["n_target_images"], row["n_other_images"]) == (12, 12)


def test_the_union_is_as_one_concept_of_that_name(simulated_study):
    renamed = simulated_study.replace({"ground_truth": {"cat": "pet", "dog": "pet"}})
    one = rows(renamed, {"1": "pet"}).loc["1", "pet"]
    union = rows(simulated_study, {"1": ["cat", "dog"]}).loc["1", "cat | dog"]
    pd.testing.assert_series_equal(union, one, check_names=False)


def test_rows_of_single_concepts_leave_the_other_ones_out(simulated_study):
    table = rows(simulated_study, per_concept=True)
    concepts = simulated_study["ground_truth"]
    for concept in ("cat", "dog"):
        expected = plain_scores(simulated_study, concepts == concept, ~concepts.isin(["cat", "dog"]))
        np.testing.assert_allclose(table.loc["1", concept][["S", "C", "R", "H"]].astype(float), expected)
        left_out = simulated_study[(concepts == concept) | ~concepts.isin(["cat", "dog"])]
        alone = rows(left_out, {"1": concept}).loc["1", concept]
        pd.testing.assert_series_equal(table.loc["1", concept][POINTS], alone[POINTS], check_names=False)


def test_rows_of_single_concepts_stand_below_their_neuron_and_change_nothing_else(simulated_study):
    plain = rows(simulated_study, resamples=40)
    table = rows(simulated_study, resamples=40, per_concept=True)
    pairs = [("1", "cat"), ("1", "dog")]
    order = list(table.index)
    at = order.index(("1", "cat | dog"))
    assert sorted(order[at + 1 : at + 3]) == pairs
    assert table.loc[pairs, ["Rank", "Rank_low"]].isna().all(axis=None)
    assert table.loc[pairs, ["S_low", "I_excess"]].notna().all(axis=None)
    pd.testing.assert_frame_equal(table.drop(index=pairs), plain)


def test_neurons_with_one_concept_get_no_further_row(simulated_study):
    single = {"1": "cat", "2": ["dog"]}
    pd.testing.assert_frame_equal(rows(simulated_study, single, per_concept=True), rows(simulated_study, single))


def test_a_concept_that_is_never_shown_is_noted_and_the_others_are_scored(simulated_study):
    table = rows(simulated_study, {"1": ["cat", "dogs"]}, per_concept=True)
    note = "the table never shows the concept 'dogs' (did you mean 'dog'?)"
    union, cat = table.loc["1", "cat | dogs"], table.loc["1", "cat"]
    pd.testing.assert_series_equal(union[POINTS], cat[POINTS], check_names=False)
    assert f"Concept: {note}" in union["Notes"]
    assert table.loc[("1", "dogs"), POINTS].isna().all()
    assert f"not scored: {note}" in table.loc[("1", "dogs"), "Notes"]


def test_the_command_reads_several_concepts_and_counts_neurons_once(files, score):
    files.neuron_map.write_text(json.dumps(MAP))
    outcome = score(*files.paths, "--resamples", 0, "--per-concept", "--rank-all")
    assert (outcome.code, outcome.err) == (0, "")
    assert "cat | dog" in outcome.out
    assert "3 neurons" in outcome.out
    written = pd.read_csv(files.results, dtype=str, keep_default_na=False)
    ranked = written.loc[written["Rank"] != "", ["Neuron", "Concept"]].to_numpy().tolist()
    assert sorted(ranked) == [["1", "cat | dog"], ["2", "dog"], ["3", "NA"]]
    assert len(written) == 5


# --- permuted labels ---------------------------------------------------------------------------


@pytest.fixture
def permuted(simulated_study):
    """A block of neuron 1, some of whose activations are missing, and four permutations of its labels."""
    holes = simulated_study.copy()
    missing = holes["image_filename"].isin(["cat_level5_1.png", "dog_level3_2.png", "NA_level4_1.png"])
    holes.loc[missing, "activation_1"] = np.nan
    study = Study(load_experiment_table(holes, ["1"]), scoring_options())
    (block,) = blocks_of(study, [Row("1", ("cat",))])
    (draws,) = permuted_labels(study.sample, study.table.level_I, 4, seed=3)
    return block, draws


def test_selectivity_of_permuted_labels_is_that_of_the_labels_as_permuted(permuted):
    block, draws = permuted
    a_I, clean_I = block.table.activation_UI[0], block.table.level_I == 5
    shows_I, expected = block.table.images_of("cat"), []
    measured_I = np.isfinite(a_I)
    for order_I in draws.label_of_IB.T:
        # A label of an image without an activation goes along, and counts on neither side.
        on, off = (clean_I & measured_I & (side & measured_I)[order_I] for side in (shows_I, ~shows_I))
        expected.append(calculate_selectivity_score(a_I[on], a_I[off]))
    np.testing.assert_allclose(SELECTIVITY.compute(block, draws)[0], expected)


def test_robustness_of_permuted_labels_takes_the_ratings_along(permuted):
    block, draws = permuted
    table, a_I = block.table, block.table.activation_UI[0]
    measured_I, shows_I = np.isfinite(a_I), table.images_of("cat")
    recognised_I = np.bincount(table.image_R, table.score_R >= 0.5, len(a_I))
    expected = []
    for order_I in draws.label_of_IB.T:
        on_I = measured_I & (shows_I & measured_I)[order_I]
        clean = np.abs(a_I[on_I & (table.level_I == 5)]).mean()
        ratios = []
        for level in (3, 4):
            at_I = on_I & (table.level_I == level)
            ratios.append(np.average(np.abs(a_I[at_I]), weights=recognised_I[order_I][at_I]) / clean)
        expected.append(np.mean([min(r, 1 / r) for r in ratios]))
    np.testing.assert_allclose(ROBUSTNESS.compute(block, draws)[0], expected)
