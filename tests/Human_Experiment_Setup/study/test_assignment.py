"""Guards who sees what: each base picture once, ratings equal to one, levels and concepts balanced, the least filled first."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Human_Experiment_Setup.study.assignment import (
    Fill,
    balanced_places,
    next_place,
    number_of_places,
    places_of,
    timeline,
)  # fmt: skip
from Human_Experiment_Setup.study.stimuli_table import Stimulus
from tests.Human_Experiment_Setup.study.small_study import TRAP, protocol


def stimuli_of(concepts, pictures, levels, renders=0):
    photos = [
        Stimulus(f"{c}_{at}_{level}", f"c{c}", level, "", f"{c}_{at}", "")
        for c in range(concepts)
        for at in range(pictures)
        for level in levels
    ]
    return photos + [
        Stimulus(f"{c}_r{at}", f"c{c}", 4, "", f"{c}_r{at}", "") for c in range(concepts) for at in range(renders)
    ]


@given(
    concepts=st.integers(1, 4), pictures=st.integers(1, 5), levels=st.integers(1, 4), renders=st.integers(0, 2),
    ratings=st.integers(1, 5), share=st.floats(0, 1), seed=st.integers(0, 5),
)  # fmt: skip
def test_places_give_every_picture_its_ratings_and_show_no_base_picture_twice(
    concepts, pictures, levels, renders, ratings, share, seed
):
    stimuli = stimuli_of(concepts, pictures, range(10, 10 + levels), renders)
    bases = {each.clean_image for each in stimuli}
    trials = 1 + int(share * (len(bases) - 1))
    places = balanced_places(stimuli, ratings, trials, seed)
    assert len(places) == number_of_places(stimuli, ratings, trials)
    for place in places:
        assert len({stimuli[row].clean_image for row in place}) == trials == len(place)
    counts = Counter(row for place in places for row in place)
    assert min(counts[row] for row in range(len(stimuli))) >= ratings


def test_ratings_levels_and_concepts_are_equal_to_one_where_they_divide():
    stimuli = stimuli_of(5, 8, (5, 1, 2))
    places = balanced_places(stimuli, 4, 15, 0)
    assert set(Counter(row for place in places for row in place).values()) == {4}
    for place in places:
        levels = Counter(stimuli[row].level for row in place)
        assert max(levels.values()) - min(levels.values()) <= 2
    half = Counter(row for place in places[: len(places) // 2] for row in place)
    assert max(half.values()) <= 4


@pytest.mark.parametrize(("levels", "renders"), [((5, 1), 0), ((5, 1, 2), 2), ((5, 1, 2, 4), 3)])
def test_one_level_for_each_participant_gives_every_picture_its_ratings_and_every_first_places_all_levels(
    levels, renders
):
    stimuli = stimuli_of(3, 8, [level for level in levels if level != 4], renders)
    chosen = protocol(levels=list(levels), trials_per_participant=12, ratings_per_image=5, levels_per_participant="one")
    stimuli = [each for each in stimuli if each.level in levels]
    places = places_of(chosen, stimuli)
    of_level = [{stimuli[row].level for row in place} for place in places]
    assert {len(each) for each in of_level} == {1}
    assert min(Counter(row for place in places for row in place)[row] for row in range(len(stimuli))) >= 5
    assert all(len({stimuli[row].clean_image for row in place}) == len(place) <= 12 for place in places)
    needed = Counter(level for each in of_level for level in each)
    half = Counter(level for each in of_level[: len(places) // 2] for level in each)
    assert all(abs(half[level] - needed[level] / 2) <= 1 for level in levels)


def test_levels_are_mixed_unless_the_protocol_says_otherwise():
    stimuli = stimuli_of(3, 8, (5, 1, 2))
    places = places_of(protocol(levels=[5, 1, 2], trials_per_participant=12), stimuli)
    assert places == balanced_places(stimuli, 2, 12, 0)
    assert {len({stimuli[row].level for row in place}) for place in places} == {3}


def test_the_same_seed_gives_the_same_places_and_another_others():
    stimuli = stimuli_of(3, 4, (5, 1))
    assert balanced_places(stimuli, 2, 5, 1) == balanced_places(stimuli, 2, 5, 1) != balanced_places(stimuli, 2, 5, 2)


@pytest.mark.parametrize(
    ("fills", "chosen"),
    [
        ([Fill(1, 1, 0, 9), Fill(2, 0, 1, 9), Fill(3, 0, 0, 0)], 3),  # nobody is there
        ([Fill(1, 0, 0, 0), Fill(2, 0, 0, 0)], 1),  # in order
        ([Fill(1, 1, 0, 9), Fill(2, 0, 0, 5)], 2),  # dropped out: open again
        ([Fill(1, 0, 1, 9), Fill(2, 0, 1, 5)], 2),  # all taken: whose participant is silent longest
        ([Fill(1, 0, 2, 1), Fill(2, 0, 1, 5)], 2),  # given twice already
        ([Fill(1, 1, 0, 9), Fill(2, 1, 1, 9)], None),  # all complete
        ([], None),
    ],
)
def test_the_least_filled_place_is_next(fills, chosen):
    assert next_place(fills) == chosen


def test_timeline_starts_with_practice_and_spreads_catch_trials_and_traps():
    stimuli = stimuli_of(2, 10, (5, 1))
    chosen = protocol(
        practice=2, traps=[TRAP, TRAP], catch={"trials": 2, "accepted": {"c0": ["x"]}}, trials_per_participant=8
    )
    place = balanced_places(stimuli, 2, 8, 0)[0]
    trials = timeline(chosen, stimuli, place, 0)
    roles = [trial.role for trial in trials]
    assert Counter(roles) == {"practice": 2, "main": 8, "catch": 2, "trap": 2}
    assert roles[:3] == ["practice", "practice", "main"]
    assert sorted(trial.picture for trial in trials if trial.role == "main") == sorted(place)
    shown = [stimuli[trial.picture].clean_image for trial in trials if trial.picture is not None]
    assert len(set(shown)) == len(shown)
    assert all(stimuli[each.picture].level == 5 for each in trials if each.role in ("practice", "catch"))
    gaps = [at for at, role in enumerate(roles) if role in ("catch", "trap")]
    assert max(gaps) - min(gaps) >= 5


def test_the_next_in_a_place_sees_the_same_pictures_in_another_order():
    stimuli = stimuli_of(2, 10, (5, 1))
    place = balanced_places(stimuli, 2, 12, 0)[0]
    first, again, second = (timeline(protocol(), stimuli, place, turn) for turn in (0, 0, 1))
    assert first == again != second
    assert sorted(each.picture for each in first) == sorted(each.picture for each in second)
