"""Guards run_interpretability_benchmark: the published numbers, excesses, intervals, notes and provenance."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from InterpScore import InputError, TableWarning, benchmark, calculate_selectivity_score, run_interpretability_benchmark
from InterpScore.sanity.simulation import PlantedUnit, StudyDesign, simulate_table, simulated_frame

STUDY = Path(os.environ.get("INTERPSCORE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
published_study = pytest.mark.skipif(
    not (STUDY / "interpscore_dev.csv").is_file(),
    reason=f"the published study's table is not there ({STUDY}; INTERPSCORE_DATA names its folder)",
)
POINTS = ["S", "C", "R", "H", "InterpScore"]

pytestmark = pytest.mark.filterwarnings("ignore::InterpScore.errors.TableWarning")


def scored(data, neuron_map, **options):
    return run_interpretability_benchmark(data, neuron_map, **{"resamples": 60, **options}).table.set_index("Neuron")


@pytest.fixture(scope="module")
def units():
    return {
        "1": PlantedUnit("cat", 3.0, follows_ease=0.5, effect=0.3),
        "2": PlantedUnit("dog", 1.0, effect=0.1),
        "3": PlantedUnit("car", 0.0, noise="dead", effect=0.0),
    }


@pytest.fixture(scope="module")
def study(units):
    design = StudyDesign(["cat", "dog", "car"], images_per_concept=10, participants=12, raters_per_image=4)
    return simulated_frame(simulate_table(design, units, np.random.default_rng(1)))


@pytest.fixture(scope="module")
def neuron_map(units):
    return {int(unit): planted.concept for unit, planted in units.items()}


@published_study
@pytest.mark.parametrize("neuron", ["355", "363", "297", "967", "1116", "1157"])
def test_preset_published_reproduces_the_published_study(neuron):
    reference = json.loads((STUDY / "interpscore_dev_reference.json").read_text())[neuron]
    table = scored(
        STUDY / "interpscore_dev.csv", STUDY / "interpscore_dev_neuron_map.json", preset="published", resamples=0
    )
    for name, column in (
        ("S", "S"),
        ("R", "R"),
        ("H", "H"),
        ("threshold", "threshold"),
        ("H_base", "base_recognition"),
    ):
        assert table.loc[neuron, name] == pytest.approx(reference[column], abs=1e-12)
    assert table.loc[neuron, "n_high_ratings"] == reference["n_high_activation_rows"]


@published_study
def test_preset_default_runs_clean_on_the_published_study():
    result = run_interpretability_benchmark(
        STUDY / "interpscore_dev.csv", STUDY / "interpscore_dev_neuron_map.json", resamples=200
    )
    renders, twins, groups = result.warnings
    assert renders.startswith("level 4 counts as benign, but its images activate their neurons ")
    assert renders.endswith("add --level-kinds 4=synthetic")
    assert twins.endswith(
        ": 3 of 672 images repeat the activations of another in every unit (deepdream/neuron_1116_gray.jpg = "
        "deepdream/neuron_355_gray.jpg): one picture twice counts as two"
    )
    assert groups == (
        "R rests on different groups of images: level 3 and level 4 for 4 (363, 297, 967, 1157); level 3 for 2 (355, 1116)"
    )
    table = result.table
    assert table["n_R_4"].tolist().count(0) == 2
    assert table[["S", "R", "H", "InterpScore"]].notna().all(axis=None)
    assert table.loc[table["InterpScore_low"].isna(), "Neuron"].tolist() == ["967"]
    notes = table.set_index("Neuron").loc["967", "Notes"]
    assert "R interval: none from 1 rater in one of its groups" in notes
    known = table.dropna(subset="InterpScore_low")
    assert (
        (known["InterpScore_low"] <= known["InterpScore"]) & (known["InterpScore"] <= known["InterpScore_high"])
    ).all()
    assert table["n_target_images"].eq(27).all()


@published_study
@pytest.mark.parametrize("kind", ["synthetic", "exemplar"])
def test_levels_chosen_by_activation_count_neither_in_R_nor_in_H(kind):
    study = STUDY / "interpscore_dev.csv", STUDY / "interpscore_dev_neuron_map.json"
    without = run_interpretability_benchmark(*study, resamples=0, recognizable_levels=[3, 5], level_kinds={4: kind})
    declared = run_interpretability_benchmark(*study, resamples=0, level_kinds={4: kind})
    assert all("images repeat the activations of another" in remark for remark in declared.warnings)
    pd.testing.assert_frame_equal(declared.table, without.table)


def test_the_readme_call_works_verbatim():
    rng = np.random.default_rng(0)
    data = pd.DataFrame(
        {
            "ground_truth": np.repeat(["cat", "dog", "car"], 8),
            "level": [5, 5, 5, 5, 4, 4, 3, 3] * 3,
            "soft_correct": [True, False, True, True] * 6,
            **{f"activation_{unit}": rng.random(24) for unit in (89, 156, 201)},
        }
    )
    results = run_interpretability_benchmark(data, {89: "cat", 156: "dog", 201: "car"})
    assert sorted(results.table["Neuron"]) == ["156", "201", "89"]
    assert results.table["InterpScore"].between(0, 1).all()


def test_table_is_ranked_best_first_and_begins_with_the_documented_columns(study, neuron_map):
    table = run_interpretability_benchmark(study, neuron_map, resamples=20, rank_all=True).table
    assert list(table.columns[:9]) == ["Neuron", "Concept", "S", "C", "R", "H", "InterpScore", "Rank", "Notes"]
    assert table["Rank"].tolist() == [1, 2, 3]
    assert table["InterpScore"].is_monotonic_decreasing


def test_scores_equal_a_plain_pandas_calculation(study, neuron_map):
    table = scored(study, neuron_map, resamples=0)
    images = study.drop_duplicates("image_filename")
    clean = images[images["level"] == 5]
    target, other = clean[clean["ground_truth"] == "cat"], clean[clean["ground_truth"] != "cat"]
    theta = np.quantile(other["activation_1"], 0.95)
    ratings = study[study["ground_truth"] == "cat"]
    ratios = [
        ratings[(ratings["level"] == level) & (ratings["soft_correct"] >= 0.5)]["activation_1"].abs().mean()
        / target["activation_1"].abs().mean()
        for level in (3, 4)
    ]
    raw = (target["ablation_effect_1"].mean() + target["amplification_effect_1"].mean()) / 2
    row = table.loc["1"]
    assert row["C"] == pytest.approx(1 - np.exp(-raw))
    assert row["R"] == pytest.approx(np.mean([min(r, 1 / r) for r in ratios]))
    assert row["H"] == pytest.approx(ratings[ratings["activation_1"] > theta]["soft_correct"].mean())
    assert row["H_base"] == pytest.approx(ratings["soft_correct"].mean())
    assert row["threshold"] == pytest.approx(theta)
    assert row["n_high_images"] == ratings[ratings["activation_1"] > theta]["image_filename"].nunique()


def test_paired_robustness_equals_a_plain_loop_over_pairs(study, neuron_map):
    images = study.drop_duplicates("image_filename").set_index("image_filename")
    by_level = {}
    for _, image in images[(images["ground_truth"] == "cat") & (images["level"] != 5)].iterrows():
        ratio = abs(image["activation_1"]) / abs(images.loc[image["clean_image"], "activation_1"])
        by_level.setdefault(image["level"], []).append(min(ratio, 1 / ratio))
    expected = np.mean([np.mean(sigmas) for sigmas in by_level.values()])
    assert scored(study, neuron_map, resamples=0).loc["1", "R_paired"] == pytest.approx(expected)


@pytest.mark.slow
def test_excess_is_the_value_minus_its_mean_under_permuted_labels(study, neuron_map):
    table = scored(study, neuron_map, resamples=4000)
    clean = study[study["level"] == 5].drop_duplicates("image_filename")
    activation, shows = clean["activation_2"].to_numpy(), (clean["ground_truth"] == "dog").to_numpy()
    rng, null = np.random.default_rng(5), []
    for _ in range(2000):
        shuffled = rng.permutation(shows)
        null.append(calculate_selectivity_score(activation[shuffled], activation[~shuffled]))
    assert table.loc["2", "S_excess"] == pytest.approx(table.loc["2", "S"] - np.mean(null), abs=0.01)
    assert table.loc["2", "H_excess"] == pytest.approx(table.loc["2", "H"] - table.loc["2", "H_base"])


def test_I_excess_is_the_weighted_mean_of_the_three_excesses(study, neuron_map):
    row = scored(study, neuron_map).loc["1"]
    expected = (0.3 * row["S_excess"] + 0.2 * row["R_excess"] + 0.2 * row["H_excess"]) / 0.7
    assert row["I_excess"] == pytest.approx(expected)


def test_dead_unit_scores_zero_above_chance_and_says_what_is_missing(study, neuron_map):
    row = scored(study, neuron_map).loc["3"]
    assert row["S"] == 0.5
    assert np.isnan(row["R"])
    assert np.isnan(row["H"])
    assert row["I_excess"] == 0
    assert "R: the unit is silent" in row["Notes"]
    assert "H: no rated image of the concept above the activation threshold" in row["Notes"]


def test_run_says_when_scores_rest_on_different_components(study, neuron_map):
    result = run_interpretability_benchmark(study, neuron_map, resamples=0)
    assert any("H is missing for 1 of 3 neurons (3): InterpScores are not comparable" in w for w in result.warnings)


def test_simulated_participants_are_announced(study, neuron_map):
    with pytest.warns(TableWarning, match="SIMULATED"):
        result = run_interpretability_benchmark(study, neuron_map, resamples=0)
    assert result.signature["participants_simulated"] is True


def test_doubling_every_rating_changes_no_estimate_and_no_interval(study, neuron_map):
    once, twice = scored(study, neuron_map), scored(pd.concat([study, study]), neuron_map)
    counts = ["n_ratings", "n_high_ratings"]
    assert (twice[counts] == 2 * once[counts]).all(axis=None)
    pd.testing.assert_frame_equal(once.drop(columns=counts), twice.drop(columns=counts), rtol=1e-9)


def test_order_of_rows_changes_nothing(study, neuron_map):
    shuffled = study.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(scored(study, neuron_map), scored(shuffled, neuron_map), rtol=1e-9)


def test_other_neurons_of_the_run_change_no_score_and_no_interval(study, neuron_map):
    alone, together = scored(study, {1: "cat"}), scored(study, neuron_map)
    columns = [f"{k}{end}" for k in (*POINTS, "I_excess") for end in ("", "_low", "_high")]
    pd.testing.assert_series_equal(alone.loc["1", columns], together.loc["1", columns], rtol=1e-9)


def test_neurons_measured_on_different_images_are_scored_each_on_its_own(study, neuron_map):
    images = study["image_filename"].unique()
    holes = study.copy()
    holes.loc[holes["image_filename"].isin(images[::5]), "activation_2"] = np.nan
    complete = study[~study["image_filename"].isin(images[::5])]
    with_holes, without = scored(holes, neuron_map, resamples=0), scored(complete, neuron_map, resamples=0)
    pd.testing.assert_series_equal(with_holes.loc["2", ["S", "R", "H"]], without.loc["2", ["S", "R", "H"]])
    pd.testing.assert_series_equal(
        with_holes.loc["1", ["S", "R", "H"]], scored(study, neuron_map, resamples=0).loc["1", ["S", "R", "H"]]
    )


def test_unscorable_neurons_keep_their_rows_with_the_nearest_match(study, neuron_map):
    table = scored(study, {**neuron_map, 22: "cat", 2: "dgo"}, resamples=0)
    assert len(table) == 4
    assert table.loc[["22", "2"], POINTS].isna().all(axis=None)
    assert "no column activation_22 (did you mean 'activation_2'?)" in table.loc["22", "Notes"]
    assert "never shows the concept 'dgo' (did you mean 'dog'?)" in table.loc["2", "Notes"]


def test_nothing_to_score_is_an_error_that_names_every_neuron(study):
    with pytest.raises(InputError, match="no neuron of the map can be scored") as caught:
        run_interpretability_benchmark(study, {7: "cat", 1: "unicorn"})
    assert len(caught.value.problems) == 3


def test_image_without_ratings_counts_for_S_but_not_for_H(study, neuron_map):
    unrated = study.copy()
    unrated["soft_correct"] = np.nan
    table = scored(unrated, neuron_map, resamples=0)
    assert table.loc["1", "S"] == scored(study, neuron_map, resamples=0).loc["1", "S"]
    assert np.isnan(table.loc["1", "H"])
    assert "H: no rated image of the concept" in table.loc["1", "Notes"]
    assert "R: no recognised image at levels 3, 4" in table.loc["1", "Notes"]


def test_signature_holds_versions_options_and_hashes(tmp_path, study, neuron_map):
    data, concepts = tmp_path / "data.csv", tmp_path / "map.json"
    study.to_csv(data, index=False)
    concepts.write_text(json.dumps(neuron_map))
    signature = run_interpretability_benchmark(data, concepts, seed=11, resamples=10).signature
    assert signature["inputs"]["data"]["sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert signature["inputs"]["neuron_map"]["sha256"] == hashlib.sha256(concepts.read_bytes()).hexdigest()
    assert signature["options"]["seed"] == 11
    assert signature["options"]["weights"] == [0.3, 0.3, 0.2, 0.2]
    assert signature["versions"]["numpy"] == np.__version__
    assert signature["n"] == {"neurons": 3, "images": 90, "ratings": 360, "participants": 12, "concepts": 3}


def test_saved_json_holds_the_same_numbers_as_the_csv(tmp_path, study, neuron_map):
    result = run_interpretability_benchmark(study, neuron_map, resamples=10)
    csv_path, json_path, _ = result.save(tmp_path / "results.csv")
    table = pd.read_csv(csv_path, dtype={"Neuron": str})
    neurons = pd.DataFrame(json.loads(json_path.read_text())["neurons"])
    assert list(neurons.columns) == list(table.columns)
    numbers = table.select_dtypes("number").columns
    # Readers of CSV differ in the last bit.
    np.testing.assert_allclose(neurons[numbers].to_numpy(dtype=float), table[numbers].to_numpy(dtype=float), rtol=1e-14)


def test_same_seed_same_result_and_another_seed_another_interval(study, neuron_map):
    first, again, other = (scored(study, neuron_map, seed=seed) for seed in (4, 4, 5))
    pd.testing.assert_frame_equal(first, again)
    assert (first["InterpScore_low"] != other["InterpScore_low"]).any()
    pd.testing.assert_frame_equal(first[POINTS], other[POINTS])


def test_progress_is_told_up_to_the_end(study, neuron_map):
    told = []
    run_interpretability_benchmark(study, neuron_map, resamples=30, progress=lambda *step: told.append(step))
    assert ("permutations", 30, 30) in told
    assert told[-1] == ("resamples", 30, 30)


def test_draws_that_leave_a_unit_too_few_images_do_not_count_in_its_null(study, neuron_map):
    holes = study.copy()
    clean = holes[holes["level"] == 5].drop_duplicates("image_filename")
    kept = clean.groupby("ground_truth").head(3)["image_filename"]
    holes.loc[(holes["level"] == 5) & ~holes["image_filename"].isin(kept), "activation_1"] = np.nan
    row = scored(holes, neuron_map, resamples=200).loc["1"]
    assert np.isfinite(row["S_excess"])


def test_all_activations_blank_is_an_error_that_says_why(study):
    blank = study.assign(activation_1=np.nan)
    with pytest.raises(
        InputError, match="neuron 1: S: no activation on any image of the concept; C: no activation on any image"
    ):
        run_interpretability_benchmark(blank.drop(columns=["ablation_effect_1"]), {1: "cat"})


def test_order_of_rows_changes_no_p_value_whatever_the_concepts_are_called(study):
    named = {"cat": "zebra", "dog": "apple", "car": "mango"}
    frame = study.assign(ground_truth=study["ground_truth"].map(named))
    neuron_map = {1: "zebra", 2: "apple"}
    first, other = (scored(frame.sample(frac=1, random_state=s), neuron_map)["H_p"] for s in (0, 1))
    pd.testing.assert_series_equal(first, other)


def test_a_clean_level_that_no_image_has_is_named(study, neuron_map):
    with pytest.raises(InputError, match="no image at the clean level 9; its levels are 3, 4, 5"):
        run_interpretability_benchmark(study.drop(columns=["ablation_effect_1"]), {1: "cat"}, clean_level=9)


def test_partly_measured_effects_say_on_how_many_images(study, neuron_map):
    holes = study.copy()
    image = holes.loc[(holes["ground_truth"] == "cat") & (holes["level"] == 5), "image_filename"].iloc[0]
    holes.loc[holes["image_filename"] == image, "ablation_effect_1"] = np.nan
    notes = scored(holes, neuron_map, resamples=0).loc["1", "Notes"]
    assert "C: from 9 of 10 clean images" in notes


def test_heavy_tails_are_noted_beside_intervals_of_S_alone(study, neuron_map):
    heavy = study.assign(activation_2=np.exp(2 * study["activation_2"]))
    notes = scored(heavy, neuron_map)["Notes"]
    assert "S: heavy tails (excess kurtosis" in notes["2"]
    assert "heavy tails" not in notes["1"]
    assert "heavy tails" not in scored(heavy, neuron_map, resamples=0).loc["2", "Notes"]
    assert "S: heavy tails" not in scored(heavy, neuron_map, selectivity="auroc").loc["2", "Notes"]


@pytest.mark.parametrize("measured", [1, 2])
def test_effects_on_a_single_image_give_no_interval(study, neuron_map, measured):
    clean = (study["ground_truth"] == "cat") & (study["level"] == 5)
    kept = study.loc[clean, "image_filename"].unique()[:measured]
    holes = study.assign(ablation_effect_1=study["ablation_effect_1"].where(study["image_filename"].isin(kept)))
    row = scored(holes, neuron_map).loc["1"]
    assert np.isfinite(row[["C", "InterpScore"]].astype(float)).all()
    missing = measured == 1
    assert row[["C_low", "C_high", "InterpScore_low"]].isna().eq(missing).all()
    assert ("C interval: none from 1 image" in row["Notes"]) == missing


def just_below_the_threshold(study):
    """No rating is high-activation, though in many resamples, whose threshold is lower, all are."""
    cat = study["ground_truth"] == "cat"
    others = study[~cat & (study["level"] == 5)].drop_duplicates("image_filename")["activation_1"].astype(float)
    return study.assign(activation_1=study["activation_1"].mask(cat, others.quantile(0.95) - 1e-6))


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("H", just_below_the_threshold),
        ("C", lambda study: study.assign(ablation_effect_1=np.nan)),
        ("R", lambda study: study[(study["ground_truth"] != "cat") | (study["level"] == 5)]),
        ("S", lambda study: study[(study["ground_truth"] != "cat") | (study["level"] != 5)]),
    ],
)
def test_a_missing_value_has_no_interval(study, neuron_map, name, without):
    table = scored(without(study), neuron_map)
    assert np.isnan(table.loc["1", name])
    for column in [column.removesuffix("_low") for column in table if column.endswith("_low")]:
        missing = table[column].isna()
        assert table.loc[missing, [f"{column}_low", f"{column}_high"]].isna().all(axis=None), column


@pytest.mark.parametrize("everyone", [0.0, 1.0])
def test_unanimous_recognition_has_an_interval_of_more_than_a_point(study, neuron_map, everyone):
    row = scored(study.assign(soft_correct=everyone), neuron_map).loc["1"]
    assert row["H"] == everyone
    assert 0.01 < row["H_high"] - row["H_low"] < 0.5
    assert everyone in (row["H_low"], row["H_high"])


@pytest.mark.parametrize("measure", ["auroc", "ap", "auprc_images", "f1_images", "iou_images"])
def test_complete_separation_has_an_interval_of_more_than_a_point(study, neuron_map, measure):
    apart = study.assign(activation_1=study["activation_1"] + 100 * (study["ground_truth"] == "cat"))
    row = scored(apart, neuron_map, selectivity=measure).loc["1"]
    assert row["S"] == row["S_high"] == 1
    assert 0.5 < row["S_low"] < 0.99


@pytest.mark.parametrize("weights", [(0, 1, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0), (1, 0, 0, 0)])
@pytest.mark.parametrize("options", [{}, {"on_missing": "zero"}, {"preset": "published"}])
def test_a_single_weighted_component_is_the_score_with_its_interval(study, neuron_map, weights, options):
    row = scored(study, neuron_map, weights=weights, resamples=100, **options).loc["1"]
    name = "SCRH"[weights.index(1)]
    assert row[["InterpScore", "InterpScore_low", "InterpScore_high"]].tolist() == pytest.approx(
        row[[name, f"{name}_low", f"{name}_high"]].tolist(), nan_ok=True
    )


def test_names_of_datasets_stay_in_what_results_say(study, neuron_map):
    result = run_interpretability_benchmark(study, neuron_map, resamples=0)
    said = replace(result, warnings=["C: on hf:org/birds", "/home/me/photos: none"])
    kept = benchmark._without_folders(said, ["hf:org/birds", "/home/me/photos", study])
    assert kept.warnings == ["C: on hf:org/birds", "photos: none"]
