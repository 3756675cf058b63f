"""Guards what a run says of missing components: of scored neurons alone, each reason with its neurons; means of one neuron."""

import json

import numpy as np
import pandas as pd
import pytest

from InterpScore import run_interpretability_benchmark
from InterpScore.scoring.remarks import reasons_missing
from tests.InterpScore.tables.test_from_stores import StoreInMemory

pytestmark = pytest.mark.filterwarnings("ignore::InterpScore.errors.TableWarning")
MAP = {"1": "cat", "2": "dog", "3": "NA"}
COMPONENTS = ["S", "C", "R", "H"]


def missing(result):
    return [remark for remark in result.warnings if " is missing for " in remark]


def unread_column(frame):
    return frame, {**MAP, "22": "cat"}


def concept_not_shown(frame):
    return frame, {**MAP, "2": "fox"}


def nothing_measured(frame):
    return frame.assign(activation_2=np.nan), MAP


def no_clean_image(frame):
    """Neither S, C, R nor H of the second neuron: its concept has no clean image, and no other does at its level."""
    dogs = frame["ground_truth"] == "dog"
    unrated = frame.assign(soft_correct=frame["soft_correct"].astype(object).where(~dogs))
    return unrated[~dogs | (frame["level"] != 5)], MAP


@pytest.mark.parametrize("change", [unread_column, concept_not_shown, nothing_measured, no_clean_image])
def test_components_count_as_missing_for_scored_neurons_only(simulated_study, change):
    frame, neuron_map = change(simulated_study)
    result = run_interpretability_benchmark(frame, neuron_map, resamples=0)
    scored = int(result.table["InterpScore"].notna().sum())
    assert scored == len(neuron_map) - 1
    assert missing(result) == [f"C is missing for 1 of {scored} neurons (3): InterpScores are not comparable"]


def test_a_neuron_without_any_component_is_named(simulated_study):
    frame, neuron_map = no_clean_image(simulated_study)
    remark = "no component can be computed for 1 of 3 neurons (2); Notes say why"
    assert remark in run_interpretability_benchmark(frame, neuron_map, resamples=0).warnings
    assert remark not in run_interpretability_benchmark(simulated_study, MAP, resamples=0).warnings


def test_no_score_that_is_incomplete_is_compared(simulated_study):
    result = run_interpretability_benchmark(simulated_study, MAP, resamples=0, on_missing="nan")
    assert missing(result) == []
    assert result.table["InterpScore"].notna().sum() == 2


def frame_of(*rows):
    columns = ["Neuron", *COMPONENTS, "Notes"]
    return pd.DataFrame([dict(zip(columns, row, strict=True)) for row in rows])


NONE, HIGH, RATED = np.nan, "no image above the threshold", "no rated image"


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        pytest.param([("1", 1, 1, 1, 1, ""), ("2", 1, 1, 1, NONE, f"H: {HIGH}")], [f"H is missing for 1 of 2: {HIGH}"], id="one"),
        pytest.param(
            [("1", 1, 1, 1, NONE, f"H: {HIGH}; selective (p=0.1)"), ("2", 1, 1, 1, NONE, f"H: {HIGH}")],
            [f"H is missing for 2 of 2: {HIGH}"], id="one reason",
        ),
        pytest.param(
            [("1", 1, 1, 1, NONE, f"H: {HIGH}"), ("2", 1, 1, 1, NONE, f"C: from 1; H: {RATED}"), ("3", 1, 1, 1, NONE, f"H: {HIGH}")],
            [f"H is missing for 3 of 3: {HIGH} (1, 3); {RATED} (2)"], id="two reasons",
        ),
        pytest.param(
            [("1", 1, 1, NONE, NONE, f"R: silent; H: {HIGH}"), ("2", NONE, NONE, NONE, NONE, "not scored: no column")],
            ["R is missing for 1 of 1: silent", f"H is missing for 1 of 1: {HIGH}"], id="unscored rows do not count",
        ),
        pytest.param(
            [("1", 1, 1, 1, 1, ""), ("1", 1, 1, 1, NONE, f"H: {HIGH}")], [], id="nor do rows of single concepts",
        ),
    ],
)  # fmt: skip
def test_each_reason_is_told_with_its_neurons(rows, lines):
    assert reasons_missing(frame_of(*rows), COMPONENTS) == lines


def test_the_command_prints_each_reason_with_its_neurons(simulated_study, files, score):
    frame = simulated_study.astype(object)
    frame.loc[frame["ground_truth"] == "cat", "soft_correct"] = None
    frame.loc[frame["ground_truth"] == "dog", "activation_2"] = -50.0
    frame.to_csv(files.data, index=False)
    files.neuron_map.write_text(json.dumps({**MAP, "22": "cat"}))
    outcome = score(*files.paths, "--resamples", 0)
    assert outcome.code == 0
    (line,) = (line for line in outcome.out.splitlines() if line.startswith("H is missing for "))
    head, _, reasons = line.partition(": ")
    assert head == "H is missing for 2 of 3"
    assert sorted(reasons.split("; ")) == [
        "no rated image of the concept (1)",
        "no rated image of the concept above the activation threshold (2)",
    ]


@pytest.mark.parametrize("units", [1, 2, 10])
def test_the_mean_of_a_layer_of_one_scored_neuron_has_no_interval(simulated_study, units):
    names = [f"activation_{unit}" for unit in (1, 2, 3)]
    images = simulated_study.drop_duplicates("image_filename")
    a_NU = np.random.default_rng(0).normal(size=(len(images), 10))
    a_NU[:, 1:4] = images[names]
    few = np.where(np.arange(10) <= units, a_NU, np.nan)
    store = StoreInMemory("acts.zarr", {"a": a_NU, "b": few}, images["image_filename"].tolist())
    result = run_interpretability_benchmark(simulated_study, MAP, stores=store, resamples=50)
    layers = result.layers.set_index("Layer")
    assert layers.loc["b", "scored"] == min(units, 3)
    assert np.isfinite(layers["InterpScore"]).all()
    assert np.isfinite(layers["InterpScore_low"]).to_dict() == {"a": True, "b": units > 1}
    told = "the mean of layer b is that of a single neuron, without an interval" in result.warnings
    assert told == (units == 1)
