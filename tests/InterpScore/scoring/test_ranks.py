"""Guards ranks: among neurons whose scores rest on the same components, the others after them; their intervals."""

import numpy as np
import pandas as pd
import pytest

from InterpScore import run_interpretability_benchmark
from InterpScore.sanity.simulation import PlantedUnit, StudyDesign, simulate_table, simulated_frame
from InterpScore.scoring.ranks import most_complete_set, rank_intervals

pytestmark = pytest.mark.filterwarnings("ignore::InterpScore.errors.TableWarning")
WEIGHTS = (0.3, 0.3, 0.2, 0.2)
CONCEPTS = ("cat", "dog", "car", "cup", "hat")
NEURON_MAP = {str(n): concept for n, concept in enumerate(CONCEPTS)}


@pytest.fixture(scope="module")
def study():
    design = StudyDesign(list(CONCEPTS), images_per_concept=6, participants=8, raters_per_image=3)
    units = {
        str(n): PlantedUnit(concept, 3.0 - 0.2 * n, follows_ease=0.3, effect=0.1 * n + 0.1)
        for n, concept in enumerate(CONCEPTS)
    }
    return simulated_frame(simulate_table(design, units, np.random.default_rng(3)))


def scored(frame, **options):
    return run_interpretability_benchmark(frame, NEURON_MAP, **{"resamples": 0, **options})


def without(frame, component, *neurons):
    """The study in which a component of some neurons cannot be computed."""
    frame = frame.copy()
    for neuron in neurons:
        mine = frame["ground_truth"] == NEURON_MAP[neuron]
        if component == "C":
            frame[[f"ablation_effect_{neuron}", f"amplification_effect_{neuron}"]] = np.nan
        elif component == "R":
            frame.loc[mine & (frame["level"] != 5), "soft_correct"] = False
        elif component == "H":
            frame.loc[mine, f"activation_{neuron}"] = frame[f"activation_{neuron}"].min() / 2
    return frame


def ranked(result):
    return result.table.loc[result.table["Rank"].notna(), "Neuron"].tolist()


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        pytest.param(["SCRH", "SRH", "SRH", "SRH"], "SCRH", id="the largest, however rare"),
        pytest.param(["SC", "SH", "SH", "S"], "SH", id="of one size the most common"),
        pytest.param(["SC", "SH", "RH"], "SC", id="of equally common ones that of the most weight"),
        pytest.param(["CR", "SH", "R"], "SH", id="of equal weight the first in order"),
        pytest.param(["H", "H", "R"], "H", id="a single component"),
        pytest.param([], "", id="nothing scored"),
    ],
)
def test_most_complete_set(sets, expected):
    present_KU = np.array([[name in held for held in sets] for name in "SCRH"], dtype=bool).reshape(4, len(sets))
    found = most_complete_set(present_KU, WEIGHTS)
    assert "".join(np.array(list("SCRH"))[found]) == expected


def test_a_component_without_weight_makes_no_set_larger():
    present_KU = np.array([[1, 1], [1, 0], [0, 1], [0, 1]], dtype=bool)
    assert most_complete_set(present_KU, (0.5, 0.5, 0, 0)).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("component", "lacking"), [("C", ["4"]), ("R", ["0"]), ("H", ["1", "3"]), ("C", ["0", "1", "2"])]
)
def test_neurons_that_lack_a_component_come_after_the_others_without_a_rank(study, component, lacking):
    result = scored(without(study, component, *lacking))
    table, complete = result.table, [n for n in NEURON_MAP if n not in lacking]
    assert sorted(table["Neuron"][: len(complete)]) == complete
    assert table["Rank"].tolist()[: len(complete)] == list(range(1, len(complete) + 1))
    assert table["Rank"][len(complete) :].isna().all()
    for part in (table[: len(complete)], table[len(complete) :]):
        assert part["InterpScore"].is_monotonic_decreasing
        assert part["InterpScore"].notna().all()
    first, second, third = (name for name in "SCRH" if name != component)
    notes = table.set_index("Neuron")["Notes"]
    told = {neuron: f"InterpScore: rests on {first}, {second} and {third}" in notes[neuron] for neuron in NEURON_MAP}
    assert [neuron for neuron, there in told.items() if there] == lacking
    head = f"{len(complete)} of 5 scored neurons are ranked, those whose score rests on S, C, R and H; the others ("
    assert sum(remark.startswith(head) for remark in result.warnings) == 1


def test_of_sets_of_one_size_the_one_of_most_neurons_is_ranked(study):
    frame = without(without(without(study, "C", "0", "1", "2"), "H", "3"), "R", "4")
    assert sorted(ranked(scored(frame))) == ["0", "1", "2"]


@pytest.mark.parametrize("options", [{"rank_all": True}, {"preset": "published"}])
def test_all_are_ranked_when_asked_to_and_in_preset_published(study, options):
    result = scored(without(without(study, "C", "4"), "H", "0"), **options)
    assert result.table["Rank"].tolist() == [1, 2, 3, 4, 5]
    assert result.table["InterpScore"].is_monotonic_decreasing
    assert not any("are ranked" in remark for remark in result.warnings)


def test_preset_published_ranks_the_complete_alone_when_told_so(study):
    result = scored(without(study, "C", "4"), preset="published", rank_all=False)
    assert sorted(ranked(result)) == ["0", "1", "2", "3"]


def test_rank_intervals_are_among_those_ranked(study):
    table = scored(without(study, "C", "0", "1"), resamples=100).table.set_index("Neuron")
    assert table.loc[["0", "1"], ["Rank_low", "Rank_high"]].isna().all(axis=None)
    others = table.loc[["2", "3", "4"]].dropna(subset="Rank_low")
    assert len(others)
    assert others["Rank_high"].max() <= 3
    assert ((others["Rank_low"] <= others["Rank"]) & (others["Rank"] <= others["Rank_high"])).all()


def test_a_score_without_an_interval_may_have_any_rank():
    score_U = np.array([0.9, 0.5, 0.4])
    draws_UB = score_U[:, None] + np.random.default_rng(0).normal(0, 0.01, (3, 200))
    rank_U, all_U = np.array([1.0, 2.0, 3.0]), np.ones(3, dtype=bool)
    low, high = rank_intervals(rank_U, draws_UB, all_U, all_U, 0.95)
    assert (low.tolist(), high.tolist()) == ([1, 2, 3], [1, 2, 3])
    low, high = rank_intervals(rank_U, draws_UB, all_U, np.array([False, True, True]), 0.95)
    np.testing.assert_array_equal(low, [np.nan, 1, 2])
    np.testing.assert_array_equal(high, [np.nan, 2, 3])
    low, high = rank_intervals(rank_U, draws_UB, all_U, np.array([True, True, False]), 0.95)
    np.testing.assert_array_equal(low, [1, 2, np.nan])
    np.testing.assert_array_equal(high, [2, 3, np.nan])


def test_a_single_ranked_neuron_has_no_interval_of_its_rank(study):
    row = run_interpretability_benchmark(study, {"0": "cat"}, resamples=60).table.loc[0]
    assert row["Rank"] == 1
    assert pd.isna(row["Rank_low"])
