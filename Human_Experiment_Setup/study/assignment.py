"""Who sees which picture: balanced places made before the study starts, and the order of a participant's trials.

All functions are pure. A *place* (slot) lists the pictures of one participant: each base picture at most once, so at one
level; levels (or the protocol's one level of each participant) and concepts as equally as they divide. Any number of places from the first on is balanced, so a study that
ends early is as well.

Shapes: S places, N pictures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.errors import InputError
from Human_Experiment_Setup.study.protocol import StudyProtocol
from Human_Experiment_Setup.study.stimuli_table import Stimulus

_CLOSE = 1e-9
Floats = NDArray[np.float64]


class Fill(NamedTuple):
    """How far a place is filled.

    Attributes:
        complete: participants who finished it and count.
        live: participants who are at it, with a lease that has not ended.
        seen_ms: when the last of them answered.
    """

    slot: int
    complete: int
    live: int
    seen_ms: int


def number_of_places(stimuli: Sequence[Stimulus], ratings: int, trials: int) -> int:
    """Places that give every picture its ratings: a base picture with L levels needs L · ratings different participants."""
    most = max(Counter(each.clean_image for each in stimuli).values())
    return max(math.ceil(len(stimuli) * ratings / trials), most * ratings)


def places_of(protocol: StudyProtocol, stimuli: Sequence[Stimulus]) -> list[list[int]]:
    """Rows of the pictures of each place: levels mixed, or one level in each, the levels' places in turn.

    Raises:
        InputError: fewer base pictures than trials, where levels are mixed. Of one level, a place has as many as there are.
    """
    ratings, trials = protocol.ratings_per_image, protocol.trials_per_participant
    if protocol.levels_per_participant == "mixed":
        return balanced_places(stimuli, ratings, trials, protocol.seed)
    found: list[tuple[float, list[int]]] = []
    for level in protocol.levels:
        rows = [row for row, each in enumerate(stimuli) if each.level == level]
        mine = [stimuli[row] for row in rows]
        most = min(trials, len({each.clean_image for each in mine}))
        places = balanced_places(mine, ratings, most, protocol.seed)
        found += [((at + 1) / len(places), [rows[each] for each in place]) for at, place in enumerate(places)]
    return [place for _, place in sorted(found, key=lambda each: each[0])]


def balanced_places(stimuli: Sequence[Stimulus], ratings: int, trials: int, seed: int) -> list[list[int]]:
    """Rows of the pictures of each place, `(S, trials)`.

    Each place takes the base pictures that are most behind their share of the places so far, of each the picture with the
    fewest ratings; ties go to the concept, then the cell of concept and level, that the place has fewest of.

    Raises:
        InputError: fewer base pictures than trials.
    """
    bases = {base: number for number, base in enumerate(dict.fromkeys(each.clean_image for each in stimuli))}
    if trials > len(bases):
        raise InputError(
            f"trials_per_participant: found {trials}; expected up to the number of base pictures, {len(bases)}, since a "
            "participant sees each once"
        )
    base_N = np.array([bases[each.clean_image] for each in stimuli])
    level_N, concept_N, cell_N = (
        np.unique([str(key(each)) for each in stimuli], return_inverse=True)[1]
        for key in (lambda each: each.level, lambda each: each.concept, lambda each: (each.concept, each.level))
    )
    levels_B, sizes_L = np.bincount(base_N), np.bincount(level_N)
    generator = np.random.default_rng([seed, len(stimuli)])
    count = number_of_places(stimuli, ratings, trials)
    rated_N, visits_B = np.zeros(len(stimuli)), np.zeros(len(bases))
    places = []
    for place in range(count):
        due_N = (levels_B * ratings * (place + 1) / count - visits_B)[base_N]
        lowest_B = np.full(len(bases), np.inf)
        np.minimum.at(lowest_B, base_N, rated_N)
        ahead_N = rated_N - lowest_B[base_N]
        full_N = rated_N >= ratings
        # What must be shown now for every picture to have its ratings in the end comes first.
        rank_N = np.where(due_N > 1 - _CLOSE, 0, np.where(due_N > _CLOSE, 1, 2)) + 3 * (ahead_N > 1) + 10 * full_N
        counts_L, counts_C, counts_X = (np.zeros(index.max() + 1) for index in (level_N, concept_N, cell_N))
        chance_N, free_N = generator.random(len(stimuli)), np.ones(len(stimuli), bool)
        chosen: list[int] = []
        for _ in range(trials):
            keys = (chance_N, -due_N, counts_X[cell_N], counts_C[concept_N], (counts_L / sizes_L)[level_N], rank_N)
            row = int(_smallest(keys, free_N))
            chosen.append(row)
            free_N &= base_N != base_N[row]
            rated_N[row] += 1
            visits_B[base_N[row]] += 1
            for counts, index in ((counts_L, level_N), (counts_C, concept_N), (counts_X, cell_N)):
                counts[index[row]] += 1
        places.append(chosen)
    return places


def _smallest(keys: Sequence[Floats], free_N: NDArray[np.bool_]) -> int:
    """The row with the smallest keys among the free ones; the last key counts most."""
    rows = np.flatnonzero(free_N)
    for key in reversed(keys):
        values = key[rows]
        rows = rows[values <= values.min() + _CLOSE]
        if len(rows) == 1:
            break
    return int(rows[0])


def next_place(fills: Sequence[Fill]) -> int | None:
    """The place for a newcomer: the least filled first; None where all are complete.

    Of places that are all taken and not complete, the one whose participant has been silent longest is given a second
    time: nobody who was recruited is sent away because somebody else may still finish.
    """
    open_places = [fill for fill in fills if fill.complete == 0]
    chosen = min(open_places, key=lambda fill: (fill.live, fill.seen_ms if fill.live else 0, fill.slot), default=None)
    return None if chosen is None else chosen.slot


# The trials of one participant ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """A trial in a participant's timeline.

    Attributes:
        role: practice, main, catch or trap.
        picture: row of the picture; None of a trap.
        trap: number of the trap in the protocol; None of others.
    """

    role: str
    picture: int | None = None
    trap: int | None = None


def timeline(protocol: StudyProtocol, stimuli: Sequence[Stimulus], place: Sequence[int], turn: int) -> list[Trial]:
    """Practice, then the pictures of a place in random order, with catch trials and traps spread among them.

    Args:
        place: rows of its pictures; practice and catch trials show clean pictures of other base pictures.
        turn: 0 for the first participant in the place, 1 for the next; another order each.

    Raises:
        InputError: too few clean pictures beside those of the place.
    """
    random = Random(f"order {protocol.seed} {sorted(place)} {turn}")
    used = {stimuli[row].clean_image for row in place}
    clean = [
        row for row, each in enumerate(stimuli) if each.level == protocol.clean_level and each.clean_image not in used
    ]
    random.shuffle(clean)
    catch: list[int] = []
    if protocol.catch is not None:
        fitting = [row for row in clean if stimuli[row].concept in protocol.catch.accepted]
        catch = fitting[: protocol.catch.trials]
        _check_enough(len(catch), protocol.catch.trials, "catch.trials", "of the concepts in catch.accepted")
    practice = [row for row in clean if row not in set(catch)][: protocol.practice]
    _check_enough(len(practice), protocol.practice, "practice", f"of level {protocol.clean_level}")
    main = [Trial("main", row) for row in place]
    random.shuffle(main)
    extra = [Trial("catch", row) for row in catch] + [Trial("trap", trap=at) for at in range(len(protocol.traps))]
    random.shuffle(extra)
    return [Trial("practice", row) for row in practice] + _spread(main, extra, random)


def _check_enough(found: int, wanted: int, key: str, what: str) -> None:
    if found < wanted:
        raise InputError(
            f"{key}: found {wanted}; expected up to {found}: a participant sees each base picture once, and there are no "
            f"more clean ones {what} beside the pictures of a place (lower it, or trials_per_participant)"
        )


def _spread(main: list[Trial], extra: list[Trial], random: Random) -> list[Trial]:
    """Extra trials among the others, one in each of as many equal stretches, never first."""
    found, stretch = list(main), len(main) / max(len(extra), 1)
    for number in reversed(range(len(extra))):
        low, high = int(number * stretch), max(int((number + 1) * stretch), 1)
        found.insert(random.randint(min(low + 1, high), high), extra[number])
    return found
