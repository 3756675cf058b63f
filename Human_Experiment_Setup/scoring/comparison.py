"""Two scorings of the same answers compared: where `soft_correct` differs, word by word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from Activation_Extraction.tables.identifiers import as_words
from Human_Experiment_Setup.scoring.answers import SOFT
from Human_Experiment_Setup.scoring.scored_table import GIVEN, MATCH, MATCHED, TYPED, WORDS
from InterpScore.tables.experiment_rows import CONCEPT_COLUMN, NO, YES


@dataclass(frozen=True)
class Comparison:
    """Scores that a table had, against ours.

    Attributes:
        same, different: answers that both scored.
        differences: a row for each concept, word and pair of scores that differ, the most frequent first; the word is the one
            that is right now, or all words of an answer that is wrong now.
        by_concept: per concept, the mean of both scores over the answers that both scored, and the share that agrees.
    """

    same: int
    different: int
    differences: pd.DataFrame
    by_concept: pd.DataFrame


def _as_number(word: str) -> float:
    """1 right, 0 wrong, NaN missing or neither."""
    return 1.0 if word.casefold() in YES else 0.0 if word.casefold() in filter(None, NO) else np.nan


def compared(frame: pd.DataFrame) -> Comparison | None:
    """A scored table whose answers had scores before; None if it had none."""
    column = f"{GIVEN}{SOFT}"
    if column not in frame:
        return None
    given = as_words(frame[column]).map(_as_number)
    ours = frame[SOFT].map({True: 1.0, False: 0.0}).astype(float)
    both = given.notna() & ours.notna()
    apart = both & (given != ours)
    words_of = {1.0: "right", 0.0: "wrong"}
    concepts = as_words(frame[CONCEPT_COLUMN])
    cells = pd.DataFrame(
        {
            "concept": concepts,
            "word": frame[TYPED].where(ours == 1, frame[WORDS]),
            "given": given.map(words_of),
            "ours": ours.map(words_of),
            "match": frame[MATCH],
            "matched_word": frame[MATCHED],
        }
    )
    differences = cells[apart].groupby(list(cells), sort=True).size().reset_index(name="answers")
    differences = differences.sort_values(
        ["answers", "concept", "word"], ascending=[False, True, True], ignore_index=True
    )
    scored = pd.DataFrame({"concept": concepts, "given": given, "ours": ours, "agreement": given == ours})[both]
    by_concept = scored.groupby("concept").agg(answers=("given", "size"), given=("given", "mean"), ours=("ours", "mean"), agreement=("agreement", "mean")).reset_index()  # fmt: skip
    return Comparison(int((both & ~apart).sum()), int(apart.sum()), differences, by_concept)
