"""Columns of a table of answers: those of the published study's table first, and what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

COLUMNS: Mapping[str, str] = {
    "level": "of the picture",
    "batch": "the participant's place in the plan, which is the list of pictures that they were shown",
    "participant": "who answered: a keyed pseudonym, or the id from outside where identities were asked for",
    "image_filename": "the picture, relative to the folder of the stimuli",
    "image_basename": "its name without folders",
    "response": "what was typed, words separated by commas",
    "ground_truth": "the concept of the picture",
    "trial_category": "experiment; practice, catch or trap of other trials, which are never scored",
    "annotation": "the words in capitals, as a JSON list",
    "annotation_string": "the words in capitals, separated by commas",
    "word_1": "the first word as typed; word_2 the second, and so on",
    "cannot_tell": "true where the participant said so in place of words",
    "excluded": "true where the answer is left out of results",
    "excluded_by": "why: pre-registered rules; incomplete and returned sessions; pilots",
    "simulated": "true where no person answered",
    "origin": "of the session: prolific, lab, pilot or simulated; imported from a study run elsewhere",
    "version": "number of the version of the protocol and its pictures",
    "trial": "index of the trial in the session",
    "trial_kind": "naming, or another kind of trial",
    "level_kind": "clean, benign, adversarial, synthetic or exemplar; empty where the stimuli do not say",
    "clean_image": "the picture that it was made from; empty of clean ones",
    "attack_target": "the concept that the picture was attacked towards",
    "image_sha256": "of the picture's file as it was served",
    "shown": "false where the picture could not be loaded; nothing was answered then",
    "rt_ms": "milliseconds from the picture to the answer, measured by the browser",
    "answered_at": "when the answer was on the disk, UTC",
    "pasted": "times that text was pasted into this answer",
    "left": "times that the page lost focus or was hidden",
    "left_ms": "for how long",
    "inputs": "times that a field changed by the participant's own input",
    "keys": "keys pressed",
    "synthetic": "events that a script made",
    "session_minutes": "from consent to the last answer; empty of incomplete sessions",
    "session_check_attempts": "attempts at the instruction checks",
    "session_missed_catch": "catch trials missed",
    "session_program_answers": "traps answered as programs do",
    "session_pasted": "answers with pasted text",
    "session_without_typing": "answers whose text was not typed",
    "session_cannot_tell_share": "share of answers that say “I can't tell”",
}
"""Column → its meaning; `word_1` is for all words."""
FIRST_WORD = "word_1"
_WORD = re.compile(r"word_(\d+)")
_OPTIONAL = ("attack_target",)
"""Only there where they are known."""


def answers_frame(rows: Iterable[Mapping[str, Any]], *, all_columns: bool = True) -> pd.DataFrame:
    """Rows as a table: columns in the order of `COLUMNS`, then those of other kinds of trials; empty cells are missing.

    Whole numbers and truth values stay what they are where cells are missing.

    Args:
        all_columns: also those of `COLUMNS` that no row has.
    """
    listed = list(rows)
    there = dict.fromkeys(name for row in listed for name in row)
    words = sorted((name for name in there if _WORD.fullmatch(name)), key=lambda name: int(name.partition("_")[2]))
    named = [each for name in COLUMNS for each in (words if name == FIRST_WORD else [name])]
    order = [name for name in named if name in there or (all_columns and name not in _OPTIONAL)]
    order += [name for name in there if name not in named]
    return pd.DataFrame({name: _column([row.get(name) for row in listed]) for name in order})


def _column(values: list[Any]) -> pd.Series:
    kinds = {type(value) for value in values if value is not None}
    return pd.Series(values, dtype="boolean" if kinds == {bool} else "Int64" if kinds == {int} else "object")
