"""Rules of scoring, from the key `scoring` of a study's protocol.

scoring:
  language: en
  words: 2
  heads: true
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr
from pydantic.dataclasses import dataclass

from Activation_Extraction.base.documents import read_yaml
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.validation import validated

KEY = "scoring"


@dataclass(frozen=True, config={"extra": "forbid"})
class ScoringRules:
    """How typed words are scored.

    Attributes:
        language: of the answers, such as en or de. Only English has rules for articles, plurals, negations and "I can't
            tell"; see `Human_Experiment_Setup.scoring.words.vocabulary.Vocabulary.not_available`.
        words: how many words a trial asks for. An answer with more, one of which is accepted, is undecided.
        heads: accept the last word of a label of several words (*model* for *fashion model*).
        spelling: accept misspellings (METRICS.md, section 14).
        known_words: words of the language that are never taken for misspellings, besides those of wordfreq.
        empty: an empty answer is missing, or counts as not recognized.
    """

    language: Annotated[
        StrictStr, Field(pattern=r"^[a-z]{2,3}$", description="the code of a language, such as en or de")
    ] = "en"
    words: Annotated[StrictInt, Field(ge=1, le=20)] = 2
    heads: StrictBool = True
    spelling: StrictBool = True
    known_words: Annotated[tuple[StrictStr, ...], Field(max_length=10_000, description="a list of words")] = ()
    empty: Literal["missing", "wrong"] = "missing"

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self) | {"known_words": list(self.known_words)}


def read_rules(path: str | os.PathLike[str] | None) -> ScoringRules:
    """The rules in a protocol, or the defaults without a file.

    Where the key `scoring` does not say it, the language is the study's, and the number of words that of its trials. Other
    keys are not read.

    Raises:
        InputError: no YAML with keys and values; all unknown keys and wrong values of the rules.
    """
    if path is None:
        return ScoringRules()
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: found {type(content).__name__}; expected keys and values, such as {KEY}: {{language: en}}")  # fmt: skip
    given = content.get(KEY, {})
    if isinstance(given, dict):
        given = _of_study(content) | given
    return validated(ScoringRules, given, f"{path}, {KEY}")


def _of_study(content: dict[str, Any]) -> dict[str, Any]:
    """The rules that follow from the rest of a study's protocol: `language: pt-BR`, `trial: {words: 2}`."""
    found: dict[str, Any] = {}
    if isinstance(language := content.get("language"), str):
        found["language"] = language.partition("-")[0]
    if isinstance(trial := content.get("trial"), dict) and "words" in trial:
        found["words"] = trial["words"]
    return found
