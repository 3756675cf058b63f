"""Naming: a picture, and one or several words for it, or "I can't tell"."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, StrictBool, StrictStr, ValidationInfo, model_validator

from Activation_Extraction.base.errors import InputError
from Human_Experiment_Setup.study.trials.kinds import Answer, Cell, Settings, TrialKind, clean_text

SCRIPT = Path(__file__).parents[2] / "static" / "trials" / "naming.js"
MOST_WORDS, LONGEST = 10, 200


class NamingSettings(Settings):
    """Words that are asked for.

    Attributes:
        question: above the fields.
        words: fields for words.
        required: words that must be filled in, unless the participant can't tell.
        longest: characters of a word.
    """

    question: Annotated[StrictStr, Field(min_length=1, max_length=LONGEST)] = "What do you see in this picture?"
    words: Annotated[int, Field(ge=1, le=MOST_WORDS)] = 2
    required: Annotated[int, Field(ge=1, le=MOST_WORDS)] = 2
    longest: Annotated[int, Field(ge=1, le=LONGEST)] = 40

    @model_validator(mode="after")
    def _asks_for_no_more_than_there_are(self) -> NamingSettings:
        if self.required > self.words:
            raise InputError(f"required: found {self.required}; expected up to the number of words, {self.words}")
        return self


Word = Annotated[StrictStr, Field(max_length=LONGEST), BeforeValidator(clean_text)]


class NamingAnswer(Answer):
    """The words as typed, in the order of their fields; none if the participant can't tell."""

    words: Annotated[list[Word], Field(max_length=MOST_WORDS)]
    cannot_tell: StrictBool = False

    @model_validator(mode="after")
    def _fits_the_question(self, info: ValidationInfo) -> NamingAnswer:
        asked = (info.context or {}).get("settings", NamingSettings())
        given = [word for word in self.words if word]
        if self.cannot_tell and given:
            raise ValueError("no words where the participant can't tell")
        if not self.cannot_tell and not asked.required <= len(given) <= asked.words:
            raise ValueError(f"{asked.required} to {asked.words} words")
        if any(len(word) > asked.longest for word in given):
            raise ValueError(f"words of up to {asked.longest} characters")
        return self


def columns(answer: NamingAnswer) -> Mapping[str, Cell]:
    """An answer as the published table has it, words in capitals, and beside it the words as typed."""
    words = [word for word in answer.words if word]
    capitals = [word.upper() for word in words]
    return {
        "response": ",".join(words), "cannot_tell": answer.cannot_tell,
        "annotation": json.dumps(capitals, ensure_ascii=False), "annotation_string": ",".join(capitals),
        **{f"word_{number}": word for number, word in enumerate(words, 1)},
    }  # fmt: skip


def names(answer: NamingAnswer, accepted: Sequence[str]) -> bool:
    """Whether a word is one of the accepted, case and accents' encoding aside."""
    known = {_folded(word) for word in accepted}
    return any(_folded(word) in known for word in answer.words if word)


def _folded(word: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", word).casefold().split()).strip(" .,;:!?\"'")


NAMING = TrialKind(
    "naming", "words for a picture", SCRIPT, NamingSettings, NamingAnswer, columns, names,
    simulated=lambda person, picture, settings: person.names(picture, settings),
)  # fmt: skip
