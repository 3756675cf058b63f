"""Parts of a study protocol: checks, catch trials, traps, timing, completion, exclusions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictStr, model_validator

from Activation_Extraction.base.errors import InputError, shown

LONGEST_TEXT, MOST = 50_000, 1_000_000

Line = Annotated[StrictStr, Field(min_length=1, max_length=500)]
Text = Annotated[StrictStr, Field(min_length=1, max_length=LONGEST_TEXT)]
Count = Annotated[int, Field(ge=1, le=MOST)]


class Part(BaseModel):
    """A part of a protocol."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Check(Part):
    """A question on the instructions, with one right option."""

    question: Line
    options: Annotated[list[Line], Field(min_length=2, max_length=8)]
    right: Line

    @model_validator(mode="after")
    def _right_is_an_option(self) -> Check:
        if self.right not in self.options:
            raise InputError(f"right: found {shown(self.right)}; expected one of {', '.join(self.options)}")
        return self


class Catch(Part):
    """Catch trials: clean pictures that anyone names.

    Attributes:
        trials: for each participant.
        accepted: concept → words of which one must be typed. Pictures of these concepts are shown.
    """

    trials: Annotated[int, Field(ge=1, le=100)]
    accepted: Annotated[dict[StrictStr, Annotated[list[Line], Field(min_length=1)]], Field(min_length=1)]


class Trap(Part):
    """A task that people and programs do differently: a program gives one of these answers, a person can't tell."""

    question: Line
    program_answers: Annotated[list[Line], Field(min_length=1, max_length=100)]


class Timing(Part):
    """Limits of time.

    Attributes:
        minimum_ms: before this, a trial accepts no answer.
        lease_minutes: without an answer for so long, a participant's place is given to another; an answer after that is
            still kept.
        seconds_per_trial: for the estimate of a session's length.
    """

    minimum_ms: Annotated[int, Field(ge=0, le=60_000)] = 700
    lease_minutes: Annotated[int, Field(ge=1, le=10_000)] = 30
    seconds_per_trial: Annotated[int, Field(ge=1, le=600)] = 10


CompletionCode = Annotated[
    StrictStr, Field(pattern=r"^([A-Za-z0-9_-]{4,64}|\[FILL IN[^\]]*\])$", description="4 to 64 letters and digits")
]


class Completion(Part):
    """How a participant proves to have finished: Prolific's code, or a code (or none) shown in the lab."""

    path: Literal["prolific", "lab"]
    code: CompletionCode | None = None

    @model_validator(mode="after")
    def _prolific_has_a_code(self) -> Completion:
        if self.path == "prolific" and self.code is None:
            raise InputError("no key 'code'; expected Prolific's completion code")
        return self


class Exclusions(Part):
    """Pre-registered rules: a participant whom one applies to is left out of results, and paid all the same.

    Attributes:
        check_attempts: more than this many attempts at the instruction checks.
        missed_catch: this many catch trials, or more, answered with none of the accepted words.
        program_answers: this many traps, or more, answered as programs do.
        pasted: text pasted in this many answers, or more.
        without_typing: this many answers, or more, whose text was not typed.
        cannot_tell_share: this share of "I can't tell", or more.
        minutes_below: finished faster than this.
        minutes_above: took longer than this.
        refill: whether the place of an excluded participant is given to another.
    """

    check_attempts: Count | None = None
    missed_catch: Count | None = None
    program_answers: Count | None = None
    pasted: Count | None = None
    without_typing: Count | None = None
    cannot_tell_share: Annotated[float, Field(gt=0, le=1, strict=False)] | None = None
    minutes_below: Annotated[float, Field(gt=0, strict=False)] | None = None
    minutes_above: Annotated[float, Field(gt=0, strict=False)] | None = None
    refill: bool = True
