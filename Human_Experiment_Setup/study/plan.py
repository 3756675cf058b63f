"""What a protocol asks for: cells, places, participants and minutes. `study check` prints it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from Human_Experiment_Setup.study.assignment import places_of, timeline
from Human_Experiment_Setup.study.protocol import StudyProtocol
from Human_Experiment_Setup.study.stimuli_table import Stimulus

INSTRUCTIONS_SECONDS = 120
"""Reading and consent, for the estimate of a session's length."""


@dataclass(frozen=True)
class Plan:
    """The places of a study.

    Attributes:
        places: rows of the pictures of each place.
        trials: of each participant, with practice, catch trials and traps.
        minutes: estimated length of a session.
        ratings: fewest and most that a picture gets.
        cells: concept and level → pictures.
    """

    places: list[list[int]]
    trials: int
    minutes: int
    ratings: tuple[int, int]
    cells: Counter[tuple[str, int]]


def plan_of(protocol: StudyProtocol, stimuli: Sequence[Stimulus]) -> Plan:
    """The places of a study, every one checked to have its practice and catch trials.

    Raises:
        InputError: the stimuli are too few for the protocol.
    """
    places = places_of(protocol, stimuli)
    trials = max(len(timeline(protocol, stimuli, place, 0)) for place in places)
    counts = Counter(row for place in places for row in place)
    seconds = INSTRUCTIONS_SECONDS + trials * protocol.timing.seconds_per_trial
    return Plan(
        places, trials, math.ceil(seconds / 60), (min(counts.values()), max(counts.values())),
        Counter((each.concept, each.level) for each in stimuli),
    )  # fmt: skip


def plan_lines(protocol: StudyProtocol, plan: Plan) -> list[str]:
    """The plan as lines to print."""
    concepts = list(dict.fromkeys(concept for concept, _ in plan.cells))
    width = max(map(len, [*concepts, "Concept"]))
    lines = ["  ".join(["Concept".ljust(width), *(f"level {level}".rjust(9) for level in protocol.levels)])]
    for concept in concepts:
        counts = (f"{plan.cells[concept, level]:,}" if plan.cells[concept, level] else "" for level in protocol.levels)
        lines.append("  ".join([concept.ljust(width), *(count.rjust(9) for count in counts)]).rstrip())
    low, high = plan.ratings
    extra = [f"{count} {what}" for what, count in (
        ("practice", protocol.practice), ("catch", protocol.catch.trials if protocol.catch else 0), ("trap", len(protocol.traps)),
    ) if count]  # fmt: skip
    return [
        *lines,
        "",
        f"Pictures        {sum(plan.cells.values()):,} in {len(plan.cells)} cells of concept and level",
        f"Ratings         {low if low == high else f'{low} to {high}'} a picture, "
        f"{sum(map(len, plan.places)):,} in all",
        f"Trials          {plan.trials} a participant: {_pictures(protocol, plan)}"
        + (f", {', '.join(extra)}" if extra else ""),
        f"Participants    {len(plan.places):,} needed, each in a place of their own"
        + (" (more where some are excluded)" if protocol.exclusions.refill else ""),
        f"Time            about {plan.minutes} minutes a participant",
    ]


def _pictures(protocol: StudyProtocol, plan: Plan) -> str:
    """How many pictures a participant sees."""
    fewest, most = min(map(len, plan.places)), max(map(len, plan.places))
    count = f"{most}" if fewest == most else f"{fewest} to {most}"
    return f"{count} pictures" + (" of one level" if protocol.levels_per_participant == "one" else "")
