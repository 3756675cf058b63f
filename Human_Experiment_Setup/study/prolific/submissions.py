"""Prolific's export of a study's submissions, in the dialects that it has had."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from Activation_Extraction.base.errors import InputError, Problem, did_you_mean, shown
from Activation_Extraction.tables.dialects.options import CsvOptions
from Activation_Extraction.tables.files import read_table
from Activation_Extraction.tables.identifiers import as_words

ACTIVE, AWAITING, APPROVED = "ACTIVE", "AWAITING REVIEW", "APPROVED"
REJECTED, RETURNED, TIMED_OUT = "REJECTED", "RETURNED", "TIMED-OUT"
STATUSES = (ACTIVE, AWAITING, APPROVED, REJECTED, RETURNED, TIMED_OUT)
LIVE = (ACTIVE, AWAITING, APPROVED)
"""Statuses of submissions that take one of the places that Prolific gives out; the others' are given out again."""
_SUBMISSION, _PARTICIPANT, _STATUS = "submission id", "participant id", "status"
_NAMES: Mapping[str, Sequence[str]] = {
    _SUBMISSION: ("submission id", "session id", "submission", "id"),
    _PARTICIPANT: ("participant id", "prolific pid", "prolific id", "participant", "participant id ppid"),
    _STATUS: ("status", "submission status"),
}
"""What is needed → names of its column, those of today first; case, spaces and underscores aside."""


@dataclass(frozen=True)
class Listed:
    """A submission as Prolific lists it; `status` is one of `STATUSES`, or as the export has it."""

    submission: str
    participant: str
    status: str


def read_submissions(path: Path) -> list[Listed]:
    """The submissions of an export, each once.

    Raises:
        InputError: no table; a column is missing or there in two ways; rows without ids; a submission with two statuses; no
            status of Prolific's at all.
    """
    raw = read_table(path, lambda name: True, lambda name: False, CsvOptions())
    source, frame = str(path), raw.frame
    found = {what: _column(frame, source, what) for what in _NAMES}
    cells = {what: as_words(frame[name]).tolist() for what, name in found.items()}
    problems: list[Problem] = []
    seen: dict[str, Listed] = {}
    for row, submission, participant, status in zip(
        raw.rows.tolist(), cells[_SUBMISSION], cells[_PARTICIPANT], map(plain_status, cells[_STATUS]), strict=True
    ):
        for what, cell in ((_SUBMISSION, submission), (_PARTICIPANT, participant), (_STATUS, status)):
            if not cell:
                problems.append(Problem(source, "found ''", f"the {what} of the submission", found[what], row))
        listed = Listed(submission, participant, status)
        if seen.setdefault(submission, listed) != listed and submission:
            before = seen[submission]
            text = f"submission {shown(submission)} is {before.status} of {before.participant} in one row, {status} of {participant} in another"  # fmt: skip
            problems.append(Problem(source, text, "one row a submission: an export of one moment", row=row))
    if not problems and seen and not any(each.status in STATUSES for each in seen.values()):
        some = ", ".join(sorted({each.status for each in seen.values()})[:3])
        problems.append(Problem(source, f"found {shown(some)}", f"one of {', '.join(STATUSES)}", found[_STATUS]))
    if problems:
        raise InputError(problems[:20])
    return list(seen.values())


def plain_status(text: str) -> str:
    """A status as `STATUSES` has it.

    >>> plain_status("timed_out"), plain_status("Awaiting Review"), plain_status("SCREENED OUT")
    ('TIMED-OUT', 'AWAITING REVIEW', 'SCREENED OUT')
    """
    words = " ".join(re.split(r"[\s_-]+", text.strip())).upper()
    return TIMED_OUT if words in ("TIMED OUT", "TIMEDOUT") else words


def _column(frame: pd.DataFrame, source: str, what: str) -> str:
    """The name of the column that has something."""
    plain = {str(name): " ".join(re.split(r"[\W_]+", str(name).strip().casefold())).strip() for name in frame}
    there = [name for wanted in _NAMES[what] for name, words in plain.items() if words == wanted]
    if not there:
        near = did_you_mean(what, plain.values())
        raise InputError([Problem(source, f"no column {shown(what.capitalize())}{near}", "Prolific's export of submissions")])  # fmt: skip
    first = as_words(frame[there[0]])
    if others := [name for name in there[1:] if not as_words(frame[name]).equals(first)]:
        raise InputError([Problem(source, f"the columns {shown(there[0])} and {shown(others[0])} differ", f"one column with the {what}")])  # fmt: skip
    return there[0]
