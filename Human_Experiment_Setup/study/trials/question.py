"""A question without a picture: one line of text, or "I can't tell". Cognitive traps are of this kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, StrictBool, StrictStr, model_validator

from Human_Experiment_Setup.study.trials.kinds import Answer, Cell, Settings, TrialKind, clean_text

SCRIPT = Path(__file__).parents[2] / "static" / "trials" / "question.js"
LONGEST = 200


class QuestionSettings(Settings):
    """The question."""

    question: Annotated[StrictStr, Field(min_length=1, max_length=1000)]


class QuestionAnswer(Answer):
    """The text as typed; empty if the participant can't tell."""

    text: Annotated[StrictStr, Field(max_length=LONGEST), BeforeValidator(clean_text)]
    cannot_tell: StrictBool = False

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> QuestionAnswer:
        if bool(self.text) == self.cannot_tell:
            raise ValueError("a text, or that the participant can't tell")
        return self


def columns(answer: QuestionAnswer) -> Mapping[str, Cell]:
    return {"response": answer.text, "cannot_tell": answer.cannot_tell}


def names(answer: QuestionAnswer, accepted: Sequence[str]) -> bool:
    """Whether the text is one of the accepted, but for case, spaces and the marks within numbers."""
    return _bare(answer.text) in {_bare(text) for text in accepted}


def _bare(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


QUESTION = TrialKind(
    "question", "a line of text", SCRIPT, QuestionSettings, QuestionAnswer, columns, names, has_picture=False,
    simulated=lambda person, picture, settings: person.answers_question(settings["question"]),
)  # fmt: skip
