"""What matching is given and what it finds: the words of a concept, and the kinds of match."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from Human_Experiment_Setup.scoring.words.normalization import LONGEST

Verdict = Literal["right", "wrong", "undecided", "missing"]

RIGHT = {
    "exact": "the label",
    "compound": "the label, divided or joined in another way",
    "inflection": "singular or plural of the label",
    "head": "the last word of a label of several words",
    "synonym": "an accepted word of the synonym table, also divided in another way, or its singular or plural",
    "spelling": "a misspelling of the label or of an accepted word",
    "adjudicated": "accepted by the raters",
}
UNDECIDED = {
    "too many words": "an accepted word among more words than the trial asks for",
    "choice": "an accepted word beside others, joined by “or” or “and”",
    "phrase": "a phrase that contains an accepted word",
    "near": "no word of the language, nearly a misspelling of an accepted word",
    "script": "another script than the accepted words, or a pictogram",
}
WRONG = {
    "rejected": "rejected by the synonym table or by the raters",
    "negation": "a negation: “not a dog”",
    "no answer": "no word for what is seen: “I can't tell”, “???”",
    "too long": f"more than {LONGEST} characters in one field",
    "unlisted": "any other word",
}
MISSING = {"empty": "nothing was typed"}
KINDS = RIGHT | UNDECIDED | WRONG | MISSING
"""Kind of match → its meaning, in the order in which they are reported."""


@dataclass(frozen=True)
class Match:
    """What became of a word or of an answer.

    Attributes:
        kind: one of `KINDS`.
        typed: the normalized word that decides; of undecided answers all undecided words, joined by ", ".
        matched: the label or accepted word, as the study writes it; empty where none is.
    """

    kind: str
    typed: str = ""
    matched: str = ""

    @property
    def verdict(self) -> Verdict:
        if self.kind in RIGHT:
            return "right"
        return "undecided" if self.kind in UNDECIDED else "missing" if self.kind in MISSING else "wrong"


@dataclass(frozen=True)
class Answer:
    """A scored answer: its normalized words, its match, and whether a word is the label itself."""

    words: tuple[str, ...]
    match: Match
    is_label: bool


@dataclass(frozen=True)
class AcceptedWords:
    """The words of one concept.

    Attributes:
        label: the concept, as the table of answers writes it.
        synonyms: normalized word → as the synonym table writes it.
        rejected: normalized words that are wrong, however near they are.
    """

    label: str
    synonyms: Mapping[str, str] = field(default_factory=dict)
    rejected: frozenset[str] = frozenset()
