"""The reviewed synonym table of a study: which words are accepted, or explicitly rejected, for each concept.

concept,word,verdict,version
puppies,dog,reject,2
puppies,pup,accept,2
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from Activation_Extraction.base.errors import InputError, Problem, did_you_mean, shown
from Activation_Extraction.base.files import sha256_of
from Activation_Extraction.tables.column_names import ColumnNames
from Activation_Extraction.tables.files import read_table
from Activation_Extraction.tables.identifiers import as_words
from Human_Experiment_Setup.scoring.words.kinds import AcceptedWords
from Human_Experiment_Setup.scoring.words.normalization import normalized
from InterpScore.tables.neuron_map import normalised as concept_key

CONCEPT, WORD, VERDICT, VERSION = "concept", "word", "verdict", "version"
ACCEPT, REJECT = ("accept", "yes", "true", "1", ""), ("reject", "no", "false", "0")
EXPECTED = "accept or reject"
_MOST_PROBLEMS = 10


@dataclass(frozen=True)
class SynonymTable:
    """Words by concept.

    Attributes:
        verdicts: concept (as `concept_key` gives it) → word as written → whether it is accepted.
        concepts: the same concepts as they are written.
        sha256: of the file; version: as the file says, if it does.
    """

    verdicts: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    concepts: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""
    version: str = ""

    def accepted(self, labels: Iterable[str], language: str) -> dict[str, AcceptedWords]:
        """The words of each label."""
        return {label: self._of(label, language) for label in labels}

    def _of(self, label: str, language: str) -> AcceptedWords:
        verdicts = self.verdicts.get(concept_key(label), {})
        synonyms = {normalized(word, language): word for word, accept in verdicts.items() if accept}
        rejected = frozenset(normalized(word, language) for word, accept in verdicts.items() if not accept)
        return AcceptedWords(label, synonyms, rejected)

    def unused(self, labels: Sequence[str]) -> list[str]:
        """A remark for each concept of the table that the answers do not have."""
        there = {concept_key(label) for label in labels}
        missing = [name for key, name in self.concepts.items() if key not in there]
        return [f"no answer is about {shown(name)}{did_you_mean(name, labels)}" for name in missing]


def read_synonyms(path: str | os.PathLike[str] | None, language: str = "en") -> SynonymTable:
    """Read and check a synonym table; an empty one without a file.

    Raises:
        InputError: no table; columns or cells missing; an unknown verdict; a word that is both accepted and rejected; a
            concept's own label rejected; several versions.
    """
    if path is None:
        return SynonymTable()
    source, problems = str(path), list[Problem]()
    names = ColumnNames((CONCEPT, WORD, VERDICT, VERSION))
    raw = read_table(path, names.__contains__, lambda name: False)
    frame = names.renamed(raw.frame, source, problems, [])
    for column in (CONCEPT, WORD):
        if column not in frame:
            near = did_you_mean(column, raw.names)
            expected = "concept, word and, where known, verdict"
            problems.append(Problem(source, f"the column is missing{near}", expected, column))
    if problems:
        raise InputError(problems)
    cells = {name: as_words(frame[name]).tolist() if name in frame else [""] * len(frame) for name in (CONCEPT, WORD, VERDICT, VERSION)}  # fmt: skip
    versions = sorted({version for version in cells[VERSION] if version})
    if len(versions) > 1:
        found = f"the versions {', '.join(map(shown, versions[:3]))}"
        problems.append(Problem(source, found, "one version", VERSION))
    verdicts: dict[str, dict[str, bool]] = {}
    concepts: dict[str, str] = {}
    seen: dict[tuple[str, str], bool] = {}
    for row, concept, word, verdict in zip(raw.rows.tolist(), cells[CONCEPT], cells[WORD], cells[VERDICT], strict=True):
        if not concept and not word:
            continue
        key, form, accept = concept_key(concept), normalized(word, language), verdict.casefold() in ACCEPT
        wrong = _wrong_row(concept, word, verdict, form, seen.get((key, form), accept), language)
        if wrong is not None:
            problems.append(Problem(source, *wrong, row))
        elif (key, form) not in seen:
            verdicts.setdefault(key, {})[word] = accept
            concepts.setdefault(key, concept)
            seen[key, form] = accept
    if problems:
        left = len(problems) - _MOST_PROBLEMS
        more = [f"{source}: {left:,} more problems"] if left > 0 else []
        raise InputError([*map(str, problems[:_MOST_PROBLEMS]), *more])
    return SynonymTable(verdicts, concepts, sha256_of(Path(path)), "".join(versions))


def _wrong_row(
    concept: str, word: str, verdict: str, form: str, before: bool, language: str
) -> tuple[str, str, str] | None:
    """What is wrong with a row: what was found, what was expected, and the column.

    Args:
        form: the normalized word.
        before: whether an earlier row accepts the same word.
    """
    accept = verdict.casefold() in ACCEPT
    if not concept:
        return "found ''", "a concept", CONCEPT
    if not form:
        return f"found {shown(word)}", "a word or phrase", WORD
    if not accept and verdict.casefold() not in REJECT:
        return f"found {shown(verdict)}", EXPECTED, VERDICT
    if before != accept:
        return f"{shown(word)} is both accepted and rejected for {shown(concept)}", "one of them", WORD
    if not accept and form == normalized(concept, language):
        return f"{shown(concept)} is rejected for itself", "another word", WORD
    return None
