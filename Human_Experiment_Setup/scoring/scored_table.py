"""A table of answers, scored: the columns that scoring adds, the file with them, and the JSON beside it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from Activation_Extraction.base.errors import InputError, OutputError, Problem
from Activation_Extraction.base.files import as_json, sha256_of, write_together
from Activation_Extraction.base.text import as_csv
from Human_Experiment_Setup.scoring.answers import HARD, SCORER, SOFT, Answers
from Human_Experiment_Setup.scoring.rules import ScoringRules
from Human_Experiment_Setup.scoring.synonyms import SynonymTable
from Human_Experiment_Setup.scoring.words.kinds import KINDS, UNDECIDED, Answer, Match
from Human_Experiment_Setup.scoring.words.matching import Matcher
from InterpScore.tables.effects import unit_column
from InterpScore.tables.experiment_rows import CONCEPT_COLUMN, LEVEL_COLUMN

VERSION = "words 1"
"""Changes with every rule that could change a score."""
GIVEN = "given_"
"""Before the names of columns that the table had and that scoring writes as well."""
MATCH, MATCHED, TYPED, WORDS, NAMES_TARGET, SYNONYMS = (
    "match", "matched_word", "typed_word", "words", "names_target", "synonyms_sha256",
)  # fmt: skip
COLUMNS = {
    HARD: "a typed word is the label, case, accents, punctuation and articles aside; empty where that is not known",
    SOFT: "a typed word is accepted; empty where nothing was typed, and until people have decided",
    MATCH: "how: one of the kinds of match",
    MATCHED: "the label or accepted word that was matched",
    TYPED: "the typed word that was matched, or the words that are undecided, normalized",
    WORDS: "all typed words, normalized, joined by ', '",
    NAMES_TARGET: "a typed word is accepted for the concept in attack_target; only where the table has that column",
    SCORER: "version of the scorer",
    SYNONYMS: "the first 12 digits of the SHA-256 of the synonym table; empty without one",
}
"""Column → its meaning."""
_NUMBERS = (unit_column("activation", ""),)


@dataclass(frozen=True)
class ScoredTable:
    """A table of answers with the columns of `COLUMNS`."""

    frame: pd.DataFrame
    signature: dict[str, Any]

    @cached_property
    def kinds(self) -> dict[str, int]:
        """Answers by kind of match."""
        found = Counter(kind for kind in self.frame[MATCH] if kind)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    @property
    def undecided(self) -> int:
        """Answers that people have to decide on."""
        return sum(n for kind, n in self.kinds.items() if kind in UNDECIDED)

    def save(self, path: Path) -> tuple[Path, Path]:
        """Write the table, CSV or Parquet by its name, and the signature as JSON beside it.

        Raises:
            OutputError: another name, or it cannot be written.
        """
        paths = table_paths(path)
        write_together({paths[0]: as_table(self.frame, paths[0]), paths[1]: as_json(self.signature)})
        return paths


def table_paths(path: Path) -> tuple[Path, Path]:
    """The paths of a table and of the JSON beside it.

    Raises:
        OutputError: the name ends neither in .csv nor in .parquet.
    """
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise OutputError(f"{path}: expected a name that ends in .csv or .parquet")
    return path, path.with_suffix(".json")


def as_table(frame: pd.DataFrame, path: Path) -> bytes:
    """The bytes of a table; in Parquet levels and activations are numbers."""
    if path.suffix.lower() == ".csv":
        return as_csv(frame, index=False)
    numbers = [name for name in frame if str(name).startswith(_NUMBERS) or name == LEVEL_COLUMN]
    frame = frame.assign(**{str(name): _as_numbers(frame[name]) for name in numbers})
    file = BytesIO()
    frame.to_parquet(file, index=False)
    return file.getvalue()


def _as_numbers(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    return numbers if numbers.notna().equals(column.notna() & (column.astype(str).str.strip() != "")) else column


def score_answers(answers: Answers, matcher: Matcher, table: SynonymTable) -> pd.DataFrame:
    """The columns that scoring adds, beside all others. Columns of an earlier scoring of ours are replaced.

    Raises:
        InputError: a column that would be renamed to one that is there.

    Source: METRICS.md, section 14.
    """
    scored = [
        _NOT_SCORED if not concept else _CANNOT_TELL if gave_up and not any(fields) else matcher.answer(concept, fields)
        for concept, fields, gave_up in zip(answers.concepts, answers.fields, answers.cannot_tell, strict=True)
    ]
    columns: dict[str, list[Any]] = {
        HARD: [_is_hard(answer) for answer in scored],
        SOFT: [_is_soft(answer.match, matcher.rules) for answer in scored],
        MATCH: [answer.match.kind for answer in scored],
        MATCHED: [answer.match.matched for answer in scored],
        TYPED: [answer.match.typed for answer in scored],
        WORDS: [", ".join(filter(None, answer.words)) for answer in scored],
    }
    if answers.targets is not None:
        columns[NAMES_TARGET] = [
            None
            if not target
            else False
            if answer is _CANNOT_TELL
            else _is_soft(matcher.answer(target, fields).match, matcher.rules)
            for target, fields, answer in zip(answers.targets, answers.fields, scored, strict=True)
        ]
    columns |= {SCORER: [VERSION] * len(scored), SYNONYMS: [table.sha256[:12]] * len(scored)}
    frame = answers.frame
    if SCORER in frame:
        frame = frame.drop(columns=[name for name in COLUMNS if name in frame])
    given = {name: f"{GIVEN}{name}" for name in COLUMNS if name in frame}
    if twins := [new for new in given.values() if new in frame]:
        found = f"the columns {twins[0].removeprefix(GIVEN)} and {twins[0]}"
        raise InputError([Problem(answers.source, found, "one of them: the former is kept under the latter's name")])
    frame = frame.rename(columns=given)
    new = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()}, index=frame.index)
    return pd.concat([frame, new], axis=1)


_NOT_SCORED, _CANNOT_TELL = Answer((), Match(""), False), Answer((), Match("no answer"), False)


def _is_hard(answer: Answer) -> bool | None:
    unknown = answer.match.kind in ("", "too many words") or answer.match.verdict == "missing"
    return None if unknown else answer.is_label


def _is_soft(match: Match, rules: ScoringRules) -> bool | None:
    if not match.kind or match.verdict == "undecided":
        return None
    if match.verdict == "missing":
        return None if rules.empty == "missing" else False
    return match.verdict == "right"


def signature_of(
    answers: Answers, rules: ScoringRules, table: SynonymTable, inputs: Mapping[str, str | os.PathLike[str] | None],
    not_available: Sequence[str], kinds: Mapping[str, int],
) -> dict[str, Any]:  # fmt: skip
    """What a scored table was made with: versions, rules, hashes of inputs, and counts."""
    hashes = {
        name: {"file": Path(path).name, "sha256": sha256_of(path)} for name, path in inputs.items() if path is not None
    }
    return {
        "format": "InterpScore scored words 1",
        "scorer": VERSION,
        "interpscore": version("interpscore"),
        "rapidfuzz": version("rapidfuzz"),
        "wordfreq": version("wordfreq"),
        "rules": rules.as_dict(),
        "not_available": list(not_available),
        "synonyms": {"version": table.version, "sha256": table.sha256},
        "inputs": hashes,
        "words_from": list(answers.word_columns),
        "answers": len(answers.frame),
        "kinds": dict(kinds),
        "columns": {
            name: text for name, text in COLUMNS.items() if name != NAMES_TARGET or answers.targets is not None
        },
    }


def most_common_words(frame: pd.DataFrame, kind: str, most: int) -> dict[str, list[tuple[str, int]]]:
    """The words of answers of a kind that were typed most often, by concept."""
    chosen = frame[frame[MATCH] == kind]
    return {
        str(concept): Counter(word for words in group[WORDS] for word in str(words).split(", ") if word).most_common(
            most
        )
        for concept, group in chosen.groupby(CONCEPT_COLUMN, sort=True)
    }
