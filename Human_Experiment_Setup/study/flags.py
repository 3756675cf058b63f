"""Signals of a session, and the pre-registered rules that exclude it. A flag never refuses payment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field, ValidationError

from Human_Experiment_Setup.study.protocol import StudyProtocol
from Human_Experiment_Setup.study.protocol_parts import Exclusions, Part
from Human_Experiment_Setup.study.trials.kinds import TrialKind, trial_kind

RULES: Mapping[str, str] = {
    "check_attempts": "attempts at the instruction checks",
    "missed_catch": "catch trials missed",
    "program_answers": "traps answered as programs do",
    "pasted": "answers with pasted text",
    "without_typing": "answers whose text was not typed",
    "cannot_tell_share": "share of “I can't tell”",
    "minutes_below": "finished too fast",
    "minutes_above": "took too long",
}
"""Pre-registered rule → what it counts."""

_Few = Annotated[int, Field(ge=0, le=100_000)]
_Ms = Annotated[int, Field(ge=0, le=10**9)]


class Signals(Part):
    """What the browser noticed while a trial was answered.

    Attributes:
        pasted: times that text was pasted or dropped.
        left: times that the page lost focus or was hidden; left_ms: for how long.
        inputs: times that a field changed by the person's own input; characters: of all fields in the end.
        keys: keys pressed; key_gaps_ms: the first times between two keys.
        synthetic: events that a script made.
        pointer: how the page was used: mouse, touch, pen, or empty.
        width: of the window, in pixels.
    """

    pasted: _Few = 0
    left: _Few = 0
    left_ms: _Ms = 0
    inputs: _Few = 0
    characters: _Few = 0
    keys: _Few = 0
    key_gaps_ms: Annotated[list[_Ms], Field(max_length=60)] = Field(default_factory=list)
    synthetic: _Few = 0
    pointer: Annotated[str, Field(max_length=8, pattern="^[a-z]*$")] = ""
    width: _Few = 0


@dataclass(frozen=True)
class Flags:
    """Counts of one session; what they are is in `RULES`, and beside them how often the page was left."""

    check_attempts: int = 0
    missed_catch: int = 0
    program_answers: int = 0
    pasted: int = 0
    without_typing: int = 0
    cannot_tell_share: float = 0.0
    minutes: float | None = None
    left: int = 0
    not_shown: int = 0
    synthetic: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Given:
    """An answer as flags need it."""

    role: str
    kind: str
    shown: bool
    answer: Mapping[str, Any]
    signals: Mapping[str, Any]
    concept: str | None = None
    trap: int | None = None


def flags_of(protocol: StudyProtocol, given: Sequence[Given], check_attempts: int, minutes: float | None) -> Flags:
    """The flags of a session.

    Args:
        given: its answers.
        minutes: from consent to the last answer; None before that.
    """
    asked = [each for each in given if each.role == "main" and each.shown]
    cannot = sum(bool(each.answer.get("cannot_tell")) for each in asked)
    signals = [Signals.model_validate(each.signals) for each in given]
    return Flags(
        check_attempts=check_attempts,
        missed_catch=sum(each.role == "catch" and each.shown and _missed(protocol, each) for each in given),
        program_answers=sum(each.role == "trap" and _as_programs(protocol, each) for each in given),
        pasted=sum(each.pasted > 0 for each in signals),
        without_typing=sum(each.characters > 0 and each.inputs == 0 and each.pasted == 0 for each in signals),
        cannot_tell_share=cannot / len(asked) if asked else 0.0,
        minutes=minutes,
        left=sum(each.left for each in signals),
        not_shown=sum(not each.shown for each in given),
        synthetic=sum(each.synthetic > 0 for each in signals),
    )


def excluded_by(rules: Exclusions, flags: Flags) -> list[str]:
    """Names of the rules that exclude a complete session, in the order of `RULES`."""
    found = []
    if rules.check_attempts is not None and flags.check_attempts > rules.check_attempts:
        found.append("check_attempts")
    for name in ("missed_catch", "program_answers", "pasted", "without_typing", "cannot_tell_share"):
        limit = getattr(rules, name)
        if limit is not None and getattr(flags, name) >= limit:
            found.append(name)
    if flags.minutes is not None:
        if rules.minutes_below is not None and flags.minutes < rules.minutes_below:
            found.append("minutes_below")
        if rules.minutes_above is not None and flags.minutes > rules.minutes_above:
            found.append("minutes_above")
    return found


def _missed(protocol: StudyProtocol, each: Given) -> bool:
    accepted = protocol.catch.accepted.get(each.concept or "", []) if protocol.catch else []
    return _names(trial_kind(each.kind), each, accepted) is False


def _as_programs(protocol: StudyProtocol, each: Given) -> bool:
    trap = protocol.traps[each.trap] if each.trap is not None else None
    return trap is not None and _names(trial_kind(each.kind), each, trap.program_answers) is True


def _names(kind: TrialKind, each: Given, accepted: Sequence[str]) -> bool | None:
    try:
        answer = kind.answer.model_validate(each.answer)
    except ValidationError:  # settings of an older version; the answer was checked when it came
        answer = kind.answer.model_construct(**each.answer)
    return kind.names(answer, accepted)
