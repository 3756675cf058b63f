"""Answers of a study that was run elsewhere: files and a column map into rows of a table of answers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from Activation_Extraction.base.errors import InputError, Problem, shown
from Activation_Extraction.base.files import sha256_of
from Human_Experiment_Setup.study.imports.column_map import FILE, ColumnMap
from Human_Experiment_Setup.study.imports.records import Records, cell, chosen, found_column, read_records
from InterpScore.tables.experiment_rows import NO, YES

IMPORTED, EXPERIMENT = "imported", "experiment"
_IMAGE_TAG = re.compile(r"<img\b[^>]*?\bsrc\s*=\s*[\"']?([^\"'\s>]+)", re.IGNORECASE)
_WHOLE = re.compile(r"(-?[0-9]{1,9})(\.0*)?")
_TRUTHS = ("cannot_tell", "excluded")
_TRIAL, _ROW = "(trial)", "(row)"
_OF_A_ROW = {_TRIAL, _ROW}
"""What is known of a row beside its answer."""
_DIFFERS = {"rt_ms", "answered_at"}
"""What rows of one trial may say differently; the last one counts."""
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{0,20})?")
_MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Imported:
    """Rows of a table of answers; `notes` say what was left out, and what is unusual."""

    rows: list[dict[str, Any]]
    notes: list[str]


def imported(paths: Sequence[Path], columns: ColumnMap, csv: str | None = None) -> Imported:
    """The answers in files from elsewhere.

    Raises:
        InputError: a file twice; no such column; cells that are not what the table of answers has; no answer at all.
    """
    hashes = [sha256_of(path) if path.is_file() else str(path) for path in paths]
    if twins := [str(path) for at, path in enumerate(paths) if hashes[at] in hashes[:at]]:
        raise InputError(f"{twins[0]}: has the content of another file; expected each answer once")
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for path in paths:
        records = read_records(path, csv)
        made, problems = _rows(records, columns)
        if problems:
            raise InputError(problems[:_MOST_PROBLEMS])
        notes += records.left_out
        if left := len(records.rows) - len(made):
            notes.append(f"{path}: {left:,} of {len(records.rows):,} rows left out, as `keep` says")
        trials = _trials(made, path) if columns.same_trial else made
        if len(trials) < len(made):
            notes.append(f"{path}: {len(made):,} rows are {len(trials):,} trials, as `same_trial` says")
        rows += [_as_answer({name: value for name, value in row.items() if name not in _OF_A_ROW}) for row in trials]
    if not rows:
        raise InputError(f"{paths[0]}: no row has what `keep` asks for; expected answers")
    return Imported(rows, [*notes, *_repeated(rows, columns)])


def _rows(records: Records, columns: ColumnMap) -> tuple[list[dict[str, Any]], list[Problem]]:
    where = {
        name: None if column == FILE else found_column(records, column, name)
        for name, column in {**columns.required, **columns.optional}.items()
    }
    words_in = [found_column(records, name, "words") for name in columns.words]
    trial_in = [found_column(records, name, "same_trial") for name in columns.same_trial]
    rows, problems = [], []
    for number, row in chosen(records, columns.kept):
        place = f"{records.source}, row {number}"
        cells = {name: records.source.stem if at is None else cell(row, *at, place) for name, at in where.items()}
        words = [cell(row, *at, place) for at in words_in]
        problems += [
            Problem(str(records.source), f"found {shown(cells[name])}", expected, _named(columns, name), number)
            for name, expected in _wrong(cells)
        ]
        of_trial = (cells["participant"], *(cell(row, *at, place) for at in trial_in))
        rows.append(
            cells | {"words": words, "simulated": columns.simulated, "origin": IMPORTED, _TRIAL: of_trial, _ROW: number}
        )
    return rows, problems


def _trials(rows: Sequence[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """Trials whose words are in rows of their own: the words in the order of the rows, the rest as their last row has it.

    Raises:
        InputError: rows of a trial show different pictures, or say different things of the participant's.
    """
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        before = found.setdefault(row[_TRIAL], row | {"words": []})
        for name in (name for name in row if name not in {*_DIFFERS, *_OF_A_ROW, "words"}):
            if row[name] != before[name]:
                raise InputError(
                    f"{path}, row {row[_ROW]}: found {name} {shown(row[name])}; expected {shown(before[name])} as in row "
                    f"{before[_ROW]}, since `same_trial` says that both are of one trial"
                )
        before |= {name: row[name] for name in _DIFFERS & row.keys()} | {"words": [*before["words"], *row["words"]]}
    return list(found.values())


def _named(columns: ColumnMap, name: str) -> str:
    return str(getattr(columns, name))


def _wrong(cells: Mapping[str, str]) -> list[tuple[str, str]]:
    """Columns whose cell is none of theirs, and what was expected."""
    found = []
    for name in ("participant", "ground_truth"):
        if not cells[name] and not _is_other_trial(cells):
            found.append((name, "who answered" if name == "participant" else "the concept of the picture"))
    if not _is_other_trial(cells):
        if _picture(cells["image_filename"]) is None:
            found.append(("image_filename", "the name of one picture"))
        if _whole(cells["level"]) is None:
            found.append(("level", "a whole number"))
    if cells.get("rt_ms") and _milliseconds(cells["rt_ms"]) is None:
        found.append(("rt_ms", "milliseconds"))
    for name in _TRUTHS:
        if cells.get(name, "").casefold() not in (*YES, *NO):
            found.append((name, "true or false"))
    return found


def _is_other_trial(cells: Mapping[str, str]) -> bool:
    """Whether a row is of a trial that is never scored, such as practice."""
    return cells.get("trial_category", "").casefold() not in ("", EXPERIMENT)


def _whole(text: str) -> int | None:
    """A whole number, which other programs may write with decimals; None of others."""
    found = _WHOLE.fullmatch(text)
    return int(found[1]) if found else None


def _milliseconds(text: str) -> int | None:
    """Milliseconds, rounded; None of what is no number from 0."""
    return round(float(text)) if _NUMBER.fullmatch(text) else None


def _picture(text: str) -> str | None:
    """The name of a picture, also from the HTML that shows it; None if there is none, or several."""
    if "<" not in text:
        return text or None
    found = _IMAGE_TAG.findall(text)
    return str(found[0]) if len(found) == 1 else None


def _as_answer(cells: dict[str, Any]) -> dict[str, Any]:
    """The columns of a table of answers."""
    words = cells.pop("words")
    typed = [word for word in words if word]
    capitals = [word.upper() for word in typed]
    image = _picture(cells["image_filename"]) or ""
    truths = {name: cells[name].casefold() in YES for name in _TRUTHS if name in cells}
    numbered = {f"word_{at}": word or None for at, word in enumerate(words, 1)} if len(words) > 1 else {}
    return {
        **{name: value if value != "" else None for name, value in cells.items()}, **truths, **numbered,
        **{name: _milliseconds(cells[name]) for name in ("rt_ms",) if name in cells}, "level": _whole(cells["level"]),
        "image_filename": image or None, "image_basename": PurePosixPath(image.replace("\\", "/")).name or None,
        "response": ",".join(typed), "annotation": json.dumps(capitals, ensure_ascii=False),
        "annotation_string": ",".join(capitals), "trial_category": cells.get("trial_category") or EXPERIMENT,
    }  # fmt: skip


def _repeated(rows: Sequence[Mapping[str, Any]], columns: ColumnMap) -> list[str]:
    """A note on participants who answered a picture more than once.

    Raises:
        InputError: a participant has a trial twice; most pictures are in several rows, and nothing says what a row is.
    """
    if columns.trial is not None:
        trials = Counter((row["participant"], row["trial"]) for row in rows)
        who, count = trials.most_common(1)[0]
        if count > 1:
            raise InputError(f"trial {shown(who[1])} of participant {shown(who[0])}: is there {count} times; expected each answer once (or same_trial: [columns] where each word has a row)")  # fmt: skip
    pairs = Counter((row["participant"], row["image_filename"]) for row in rows if row["trial_category"] == EXPERIMENT)
    twice = [pair for pair, count in pairs.items() if count > 1]
    if not twice:
        return []
    first = ": ".join(map(shown, twice[0]))
    if columns.trial is None and 2 * len(twice) > len(pairs):
        raise InputError(
            f"{len(twice):,} of {len(pairs):,} pictures are in several rows of the same participant ({first}); expected one row "
            "an answer, or in the column map same_trial: [columns in which the rows of one trial agree] or trial: COLUMN"
        )
    return [f"{len(twice):,} pictures were answered more than once by the same participant ({first})"]
