"""Undecided words: a sheet for raters who know neither level, picture nor participant; and their decisions.

A word is decided where all raters say the same. Everything else stays undecided until somebody fills in `decision`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from Activation_Extraction.base.errors import InputError, Problem, did_you_mean, shown
from Activation_Extraction.tables.identifiers import as_words
from Human_Experiment_Setup.scoring.answers import SCORER, read_raw
from Human_Experiment_Setup.scoring.reliability.agreement import krippendorff_alpha, pair_agreement, values_by_image
from Human_Experiment_Setup.scoring.scored_table import MATCH, TYPED, WORDS
from Human_Experiment_Setup.scoring.words.kinds import UNDECIDED
from Human_Experiment_Setup.scoring.words.normalization import normalized
from InterpScore.tables.experiment_rows import CONCEPT_COLUMN
from InterpScore.tables.neuron_map import normalised as concept_key

WORD, DECISION, NOTE = "word", "decision", "note"
YES_WORDS, NO_WORDS = ("yes", "y", "1", "true", "accept"), ("no", "n", "0", "false", "reject")
EXPECTED = "yes or no, or nothing"
_MOST_PROBLEMS = 10


def read_scored(path: str | os.PathLike[str], csv: str | None = None) -> pd.DataFrame:
    """A table that `interpscore study score` wrote.

    Raises:
        InputError: another table.
    """
    raw = read_raw(path, csv)
    if missing := [name for name in (CONCEPT_COLUMN, MATCH, TYPED, WORDS, SCORER) if name not in raw.frame]:
        raise InputError([Problem(str(path), f"no column {', '.join(missing)}", "a table that `interpscore study score` wrote")])  # fmt: skip
    return raw.frame


def sheet(scored: pd.DataFrame, unlisted: bool = False) -> pd.DataFrame:
    """What people have to decide: each concept and word once, in an order that tells nothing.

    Args:
        unlisted: with the words that no list has, which count as wrong otherwise.
    """
    kinds, concepts = as_words(scored[MATCH]), as_words(scored[CONCEPT_COLUMN])
    items: dict[tuple[str, str], str] = {}
    for kind, concept, typed, words in zip(
        kinds, concepts, as_words(scored[TYPED]), as_words(scored[WORDS]), strict=True
    ):
        chosen = typed if kind in UNDECIDED else words if unlisted and kind == "unlisted" else ""
        for word in filter(None, chosen.split(", ")):
            items.setdefault((concept_key(concept), word), concept)
    order = sorted(items, key=lambda item: sha256("\0".join(item).encode()).digest())
    rows = [{"concept": items[item], WORD: item[1], DECISION: "", NOTE: ""} for item in order]
    return pd.DataFrame(rows, columns=["concept", WORD, DECISION, NOTE])


@dataclass(frozen=True)
class Adjudication:
    """The decisions of several raters.

    Attributes:
        frame: `concept`, `word`, `decision` (empty where raters differ or one has not decided), and a column a rater.
        agreement: share of pairs of raters who agree on a word; alpha: Krippendorff's. NaN where no word has two decisions.
        conflicts, open: words on which raters differ; words that not everybody decided on.
    """

    frame: pd.DataFrame
    agreement: float
    alpha: float
    conflicts: tuple[tuple[str, str], ...]
    open: tuple[tuple[str, str], ...]


def read_sheets(paths: Sequence[str | os.PathLike[str]]) -> Adjudication:
    """The sheets that raters filled in, one a rater.

    Raises:
        InputError: fewer than two sheets, the same one twice, no sheet, other words in one of them, an unknown decision.
    """
    if len(paths) < 2:
        raise InputError(f"--filled: found {len(paths)} sheet; expected those of at least two raters")
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise InputError("--filled: the same sheet twice; expected one a rater")
    found = [_decisions(path) for path in paths]
    _check_same_words(paths, found)
    items = list(found[0])
    concepts = [found[0][item].concept for item in items]
    said = {True: _YES, False: _NO, None: _NOTHING}
    votes = np.array([[said[one[item].verdict] for one in found] for item in items], dtype=np.int64).reshape(
        -1, len(paths)
    )
    agreed = (votes == votes[:, :1]).all(axis=1) & (votes[:, 0] != _NOTHING)
    apart = (votes == _YES).any(axis=1) & (votes == _NO).any(axis=1)
    written = np.array(["no", "yes", ""])  # by vote; the last is _NOTHING
    frame = pd.DataFrame({"concept": concepts, WORD: [word for _, word in items], DECISION: np.where(agreed, written[votes[:, 0]], "")})  # fmt: skip
    for i in range(len(paths)):
        frame[f"rater_{i + 1}"] = written[votes[:, i]]
    item_V, rater_V = np.nonzero(votes != _NOTHING)
    counts_IC = values_by_image(item_V, votes[item_V, rater_V], len(items))
    pairs = [(concept, word) for concept, (_, word) in zip(concepts, items, strict=True)]
    conflicts, undecided = (
        tuple(pair for pair, chosen in zip(pairs, which.tolist(), strict=True) if chosen)
        for which in (apart, ~agreed & ~apart)
    )
    return Adjudication(frame, pair_agreement(counts_IC), krippendorff_alpha(counts_IC), conflicts, undecided)


_NO, _YES, _NOTHING = 0, 1, -1


def _check_same_words(
    paths: Sequence[str | os.PathLike[str]], found: Sequence[dict[tuple[str, str], _Decision]]
) -> None:
    """Raise `InputError` unless all sheets have the same words."""
    for path, other in zip(paths[1:], found[1:], strict=True):
        if apart := sorted(found[0].keys() ^ other.keys()):
            concept, word = apart[0]
            where = paths[0] if apart[0] in found[0] else path
            raise InputError(f"{path}: other words than {paths[0]}, such as {shown(word)} for {shown(concept)}, only in {where}; expected copies of one sheet")  # fmt: skip


def read_decisions(
    path: str | os.PathLike[str] | None, labels: Sequence[str], language: str
) -> dict[str, dict[str, bool]]:
    """The decisions of `interpscore study adjudicate`, or of one filled sheet: label → normalized word → accepted.

    Raises:
        InputError: no such table, an unknown decision.
    """
    if path is None:
        return {}
    found: dict[str, dict[str, bool]] = {}
    decided = _decisions(path)
    for label in labels:
        mine = {word: one.verdict for (key, word), one in decided.items() if key == concept_key(label)}
        found[label] = {normalized(word, language): verdict for word, verdict in mine.items() if verdict is not None}
    return found


def refuse_to_lose(path: Path, frame: pd.DataFrame) -> None:
    """Refuse to write a sheet over one with decisions that the new one does not have.

    Raises:
        InputError: somebody's decisions would be lost.
    """
    if not path.is_file():
        return
    new = {(concept_key(concept), word) for concept, word in zip(frame["concept"][frame[DECISION] != ""], frame[WORD][frame[DECISION] != ""], strict=True)}  # fmt: skip
    try:
        there = _decisions(path)
    except InputError:  # no sheet
        return
    if lost := [
        word for (concept, word), one in there.items() if one.verdict is not None and (concept, word) not in new
    ]:
        raise InputError(
            f"{path}: has decisions that would be lost, such as that on {shown(lost[0])}; expected another name"
        )


@dataclass(frozen=True)
class _Decision:
    concept: str
    verdict: bool | None


def _decisions(path: str | os.PathLike[str]) -> dict[tuple[str, str], _Decision]:
    raw = read_raw(path)
    frame = raw.frame.rename(columns={CONCEPT_COLUMN: "concept"})
    problems = [
        Problem(str(path), f"the column is missing{did_you_mean(name, map(str, frame.columns))}", "a sheet of `interpscore study adjudicate`", name)
        for name in ("concept", WORD, DECISION)
        if name not in frame
    ]  # fmt: skip
    if problems:
        raise InputError(problems)
    found: dict[tuple[str, str], _Decision] = {}
    cells = zip(raw.rows, *(as_words(frame[name]) for name in ("concept", WORD, DECISION)), strict=True)
    for row, concept, word, decision in cells:
        said = decision.casefold()
        if said and said not in YES_WORDS and said not in NO_WORDS:
            problems.append(Problem(str(path), f"found {shown(decision)}", EXPECTED, DECISION, row))
        if (concept_key(concept), word) in found:
            problems.append(Problem(str(path), f"{shown(word)} appears more than once for {shown(concept)}", "each word once", WORD, row))  # fmt: skip
        found[concept_key(concept), word] = _Decision(concept, None if not said else said in YES_WORDS)
    if problems:
        raise InputError([str(problem) for problem in problems[:_MOST_PROBLEMS]])
    return found
