"""Records of a file from elsewhere: rows of a table, or trials of jsPsych's JSON; and how a cell of them is found by name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from Activation_Extraction.base.documents import LARGEST_JSON, parse_json, parse_json_list
from Activation_Extraction.base.errors import InputError, Problem, did_you_mean, shown
from Activation_Extraction.base.files import check_file, read_bytes
from Activation_Extraction.tables.dialects.options import csv_options
from Activation_Extraction.tables.files import read_table

_QUALTRICS = '{"ImportId":'
_END = "END OF FILE"
_TRIALS = "jsPsych's data: a JSON list of trials"
Missing = None


@dataclass(frozen=True)
class Records:
    """Rows of a file.

    Attributes:
        rows: column → cell, of each row; numbers: what messages call each row.
        columns: all names.
        left_out: what was left out, and is no answer.
    """

    source: Path
    rows: Sequence[Mapping[str, Any]]
    numbers: Sequence[int]
    columns: Sequence[str]
    left_out: list[str] = field(default_factory=list)


def read_records(path: Path, csv: str | None = None) -> Records:
    """The rows of a table, or the trials of a JSON file.

    Args:
        csv: as of scoring: how to read a CSV where it can't be found out.

    Raises:
        InputError: it can be read as neither.
    """
    return _trials(path) if path.suffix.lower() in (".json", ".jsonl", ".txt") and _is_json(path) else _table(path, csv)


def _is_json(path: Path) -> bool:
    try:
        check_file(path)
        return read_bytes(path)[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{")
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"{path}: {reason}; expected {_TRIALS}, or a table") from None


def _trials(path: Path) -> Records:
    """Trials: a list, or, as JATOS has it, a list in each line."""
    if (size := check_file(path).st_size) > LARGEST_JSON:
        raise InputError(f"{path}: {size:,} bytes; expected {_TRIALS}, of up to {LARGEST_JSON:,} bytes")
    data = read_bytes(path)
    lines = [line for line in data.splitlines() if line.strip()]
    if len(lines) > 1 and all(line.strip()[:1] + line.strip()[-1:] == b"[]" for line in lines):
        lists = [parse_json_list(line, f"{path}, line {at}", _TRIALS) for at, line in enumerate(lines, 1)]
        found = [trial for trials in lists for trial in trials]
    else:
        found = parse_json_list(data, str(path), _TRIALS)
    for at, trial in enumerate(found):
        if not isinstance(trial, dict):
            raise InputError(f"{path}, trial {at}: found {shown(trial)}; expected {_TRIALS}")
    columns = list(dict.fromkeys(name for trial in found for name in trial))
    return Records(path, found, range(len(found)), columns)


def _table(path: Path, csv: str | None) -> Records:
    raw = read_table(path, lambda name: True, lambda name: False, csv_options(csv))
    rows = raw.frame.astype(object).where(raw.frame.notna(), None).to_dict("records")
    numbers, left_out = raw.rows.tolist(), []
    heads = next((at for at, row in enumerate(rows[:3]) if any(str(cell).startswith(_QUALTRICS) for cell in row.values())), -1)  # fmt: skip
    if heads >= 0:
        left_out.append(f"{path}: {heads + 1} rows below the header say what Qualtrics's columns are")
        rows, numbers = rows[heads + 1 :], numbers[heads + 1 :]
    if rows and _END in map(str, rows[-1].values()):
        left_out.append(f"{path}: the last row says {_END}")
        rows, numbers = rows[:-1], numbers[:-1]
    return Records(path, rows, numbers, list(map(str, raw.frame.columns)), left_out)


def found_column(records: Records, name: str, key: str) -> tuple[str, tuple[str, ...]]:
    """The column of a name, and the keys within its cells: `response.Q0` is Q0 of what is in `response`.

    Raises:
        InputError: no such column.
    """
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        column = ".".join(parts[:count])
        if column in records.columns:
            return column, tuple(parts[count:])
    near = did_you_mean(name, records.columns)
    raise InputError([Problem(str(records.source), f"the column is missing{near}", f"the column of {key}", name)])


def cell(row: Mapping[str, Any], column: str, keys: Sequence[str], place: str) -> str:
    """A cell as text; empty where there is nothing.

    Raises:
        InputError: keys lead into something that is no JSON.
    """
    value = row.get(column)
    if keys and isinstance(value, str) and value.strip()[:1] in ("{", "["):
        text = value.strip().encode(errors="surrogatepass")
        value = parse_json(text, place) if text[:1] == b"{" else parse_json_list(text, place)
    for key in keys:
        if isinstance(value, list) and key.isdecimal() and len(key) < 5:
            value = value[int(key)] if int(key) < len(value) else None
        elif isinstance(value, dict):
            value = value.get(key)
        elif value is not None:
            raise InputError(f"{place}: found {shown(value)}; expected JSON with the key {shown(key)}")
    return as_text(value)


def as_text(value: Any) -> str:
    """A value as text: whole numbers without decimals, lists separated by commas.

    >>> as_text(5.0), as_text(["fire", None, "flame"]), as_text(None), as_text(True)
    ('5', 'fire,flame', '', 'true')
    """
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | dict):
        return ",".join(filter(None, map(as_text, value if isinstance(value, list) else value.values())))
    return str(value).strip()


def chosen(records: Records, keep: Mapping[str, frozenset[str]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Number and row, of the rows that have the values asked for."""
    columns = {name: found_column(records, name, "keep") for name in keep}
    for number, row in zip(records.numbers, records.rows, strict=True):
        place = f"{records.source}, row {number}"
        if all(cell(row, *columns[name], place).casefold() in values for name, values in keep.items()):
            yield number, row
