"""Guards that no score, interval, rank or p-value says more than its data: few images or raters, draws that are alike."""

import numpy as np
import pandas as pd
import pytest

from InterpScore import calculate_causality_score, run_interpretability_benchmark
from InterpScore.sanity.simulation import PlantedUnit, StudyDesign, simulate_table, simulated_frame

pytestmark = pytest.mark.filterwarnings("ignore::InterpScore.errors.TableWarning")
MAP = {"1": "cat", "2": "dog"}
COMPONENTS = ["S", "C", "R", "H"]


@pytest.fixture(scope="module")
def study():
    """Two units that everything is known of; the images of each concept are rated by 4 of 12 people."""
    design = StudyDesign(["cat", "dog", "car"], images_per_concept=8, participants=12, raters_per_image=4, graded=True)
    units = {
        "1": PlantedUnit("cat", 3.0, follows_ease=0.5, effect=0.3),
        "2": PlantedUnit("dog", 2.5, follows_ease=0.3, effect=0.1),
    }
    return simulated_frame(simulate_table(design, units, np.random.default_rng(1)))


def scored(frame, neuron_map=MAP, **options):
    return run_interpretability_benchmark(frame, neuron_map, **{"resamples": 60, **options})


def row_of(frame, neuron="1", **options):
    return scored(frame, **options).table.set_index("Neuron").loc[neuron]


def without_interval(row, *names):
    """Whether none of them has an interval, though all have a value."""
    ends = [f"{name}_{end}" for name in names for end in ("low", "high")]
    return bool(row[list(names)].notna().all() and row[ends].isna().all())


def of_cat(frame, level=5):
    return (frame["ground_truth"] == "cat") & (frame["level"] == level)


def images_of(frame, chosen):
    return frame.loc[chosen, "image_filename"].unique()


# Each takes the study to one in which one image or one rater stands behind a component of neuron 1 --------------------


def effects_of_one_image(frame):
    names = ["ablation_effect_1", "amplification_effect_1"]
    frame.loc[of_cat(frame) & (frame["image_filename"] != images_of(frame, of_cat(frame))[0]), names] = np.nan
    return frame


def one_image_above_the_threshold(frame):
    frame.loc[frame["ground_truth"] == "cat", "activation_1"] -= 100
    frame.loc[frame["image_filename"] == images_of(frame, of_cat(frame))[0], "activation_1"] += 200
    return frame


def one_image_that_sets_the_threshold(frame):
    others = (frame["ground_truth"] != "cat") & (frame["level"] == 5)
    return frame[~others | (frame["image_filename"] == images_of(frame, others)[0])]


def one_rater_of_high_images(frame):
    frame.loc[frame["ground_truth"] == "cat", "participant"] = "p1"
    return frame


def one_rater_who_recognised_a_level(frame):
    level = of_cat(frame, 4)
    frame.loc[level, "soft_correct"] = 0.0
    for image in images_of(frame, level)[:4]:
        first = frame.index[(frame["image_filename"] == image)][0]
        frame.loc[first, ["soft_correct", "participant"]] = 1.0, "p1"
    return frame


def one_recognised_image_at_a_level(frame):
    frame.loc[of_cat(frame, 4) & (frame["image_filename"] != images_of(frame, of_cat(frame, 4))[0]), "soft_correct"] = 0
    frame.loc[frame["image_filename"] == images_of(frame, of_cat(frame, 4))[0], "soft_correct"] = 1.0
    return frame


@pytest.mark.parametrize(
    ("change", "component", "reason"),
    [
        (effects_of_one_image, "C", "1 image"),
        (one_image_above_the_threshold, "H", "1 image"),
        (one_image_that_sets_the_threshold, "H", "1 image"),
        (one_rater_of_high_images, "H", "1 rater"),
        (one_rater_who_recognised_a_level, "R", "1 rater in one of its groups"),
        (one_recognised_image_at_a_level, "R", "1 image in one of its groups"),
    ],
)
def test_one_image_or_rater_behind_a_component_gives_neither_it_nor_the_score_an_interval(
    study, change, component, reason
):
    row = row_of(change(study.copy()))
    assert without_interval(row, component, "InterpScore")
    assert f"{component} interval: none from {reason}" in row["Notes"]
    assert "InterpScore interval: none, as " in row["Notes"]
    assert component in row["Notes"].split("InterpScore interval: none, as ")[1].split(" ha")[0]
    assert pd.isna(row["Rank_low"])
    complete = row_of(study)
    assert not without_interval(complete, component)
    assert complete[["InterpScore_low", "Rank_low"]].notna().all()


@pytest.mark.parametrize(
    ("change", "component"),
    [(effects_of_one_image, "C"), (one_rater_of_high_images, "H"), (one_recognised_image_at_a_level, "R")],
)
def test_a_score_in_which_that_component_has_no_weight_keeps_its_interval(study, change, component):
    weights = {name: 1.0 for name in COMPONENTS if name != component}
    if component == "H":
        weights.pop("R")  # the same rater recognised
    row = row_of(change(study.copy()), weights=weights)
    assert without_interval(row, component)
    assert row[["InterpScore_low", "InterpScore_high"]].notna().all()


def test_two_images_and_two_raters_have_intervals(study):
    frame = study.copy()
    frame.loc[frame["ground_truth"] == "cat", "participant"] = np.where(
        np.arange(int((frame["ground_truth"] == "cat").sum())) % 2, "p1", "p2"
    )
    row = row_of(frame)
    assert row[[f"{name}_low" for name in (*COMPONENTS, "InterpScore", "I_excess")]].notna().all()


def test_one_rating_that_a_score_rests_on_gives_it_no_rank_and_no_interval(study):
    frame = study[[name for name in study if "effect" not in name]]
    frame = frame[frame["level"] == 5]
    cats = frame[frame["ground_truth"] == "cat"].nlargest(1, "activation_1").assign(soft_correct=0.87)
    result = scored(pd.concat([frame[frame["ground_truth"] != "cat"], cats]))
    row = result.table.set_index("Neuron").loc["1"]
    assert (row["InterpScore"], row["H"]) == (0.87, 0.87)
    assert without_interval(row, "H", "InterpScore", "I_excess")
    assert pd.isna(row["Rank"])
    assert "InterpScore: rests on H alone" in row["Notes"]
    assert "H interval: none from 1 image and 1 rater" in row["Notes"]
    assert result.table["Neuron"].tolist() == ["2", "1"]
    assert result.table.loc[0, "Rank"] == 1
    assert any("1 of 2 scored neurons is ranked, those whose score rests on S and H" in r for r in result.warnings)


# Draws that are all alike ----------------------------------------------------------------------------------------------


def the_same_activation_everywhere(frame):
    frame["activation_1"] = 2.5
    return frame


def no_effect_at_all(frame):
    frame[["ablation_effect_1", "amplification_effect_1"]] = 0.0
    return frame


@pytest.mark.parametrize(
    ("change", "component", "value"),
    [(the_same_activation_everywhere, "S", 0.5), (the_same_activation_everywhere, "R", 1.0), (no_effect_at_all, "C", 0.0)],
)  # fmt: skip
def test_what_every_resample_gives_has_no_interval(study, change, component, value):
    row = row_of(change(study.copy()))
    assert row[component] == value
    assert without_interval(row, component)
    assert f"{component} interval: none, every resample gives {value:g}" in row["Notes"]


def test_a_score_of_which_a_part_is_alike_keeps_its_interval_and_says_so(study):
    row = row_of(no_effect_at_all(study.copy()))
    assert row["InterpScore_low"] < row["InterpScore"] < row["InterpScore_high"]
    assert "InterpScore interval: takes C as 0, which every resample gives" in row["Notes"]


def test_a_stand_in_has_no_interval(study):
    frame = study.copy()
    frame.loc[frame["ground_truth"] == "cat", "activation_1"] -= 100
    row = row_of(frame, preset="published")
    assert row["H"] == 0
    assert row["R"] == 0
    assert without_interval(row, "R", "H", "InterpScore")
    assert "InterpScore: rests on S and C, with stand-ins for R and H" in row["Notes"]


@pytest.mark.parametrize(
    ("resamples", "confidence", "said"), [(10, 0.95, True), (39, 0.95, True), (40, 0.95, False), (40, 0.99, True)]
)
def test_resamples_too_few_for_the_ends_of_an_interval_are_said(study, resamples, confidence, said):
    told = scored(study, resamples=resamples, confidence=confidence).warnings
    assert any(f"intervals from {resamples} resamples are too narrow" in remark for remark in told) == said


# Other places ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [1, 2])
def test_calculate_causality_score_has_an_interval_from_two_images_on(study, images):
    frame = study.copy()
    clean = images_of(frame, of_cat(frame))
    frame.loc[frame["image_filename"].isin(clean[images:]), ["ablation_effect_1", "amplification_effect_1"]] = np.nan
    score = calculate_causality_score(frame, 1, "cat", "activation_1", resamples=40)
    assert score.n_images == images
    ends = [score.low, score.high, score.specific_low, score.specific_high]
    assert np.isfinite(ends).tolist() == [images == 2] * 4


def test_ratings_by_one_participant_are_said_and_give_H_and_R_no_interval(study):
    result = scored(study.assign(participant="p1"))
    assert sum("all ratings are by one participant" in remark for remark in result.warnings) == 1
    for _, row in result.table.iterrows():
        assert without_interval(row, "H", "R", "InterpScore", "I_excess")
        assert row[["S_low", "C_low"]].notna().all()
    assert not any("one participant" in remark for remark in scored(study, resamples=0).warnings)
