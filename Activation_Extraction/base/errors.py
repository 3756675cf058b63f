"""What can go wrong, as a tree. Every room raises these; the command line turns each problem into one line.

InterpScoreError
├── InputError (also a ValueError)   wrong input; lists every problem found; exit code 2
├── OutputError                      a result that cannot be written; exit code 2
└── DownloadError                    a file that no server gave whole and with the right hash; exit code 2

UnreadableImageWarning               images that could not be read, by name; their rows are NaN
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class InterpScoreError(Exception):
    """Base of every error this library raises on purpose."""


class InputError(InterpScoreError, ValueError):
    """Wrong input. `problems` holds one line for each thing that is wrong."""

    def __init__(self, problems: str | Iterable[object]) -> None:
        self.problems = [problems] if isinstance(problems, str) else [str(p) for p in problems]
        super().__init__("\n".join(self.problems))


class OutputError(InterpScoreError):
    """A result that cannot be written where it was asked for."""


class DownloadError(InterpScoreError):
    """A file that no server gave whole and with the right hash; the message tells how to get it otherwise."""


class UnreadableImageWarning(UserWarning):
    """Images that could not be read; the message names them, and their rows are NaN."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, with its place.

    `row` is counted as a spreadsheet does: the header is row 1.
    """

    source: str
    found: str
    expected: str
    column: str | None = None
    row: int | None = None
    more: int = 0

    def __str__(self) -> str:
        place = [self.source]
        if self.column is not None:
            place.append(f"column '{self.column}'")
        if self.row is not None:
            place.append(f"row {self.row}")
        again = f" (and {self.more} more like it)" if self.more else ""
        return f"{', '.join(place)}: {self.found}; expected {self.expected}{again}"


def shown(value: object, limit: int = 60) -> str:
    """A value as it can stand in one line of a message."""
    text = repr(str(value))
    return text if len(text) <= limit else text[: limit - 2] + "…'"


def first_line(error: BaseException, limit: int = 160) -> str:
    """What an error of another library says, as it can stand in one line of ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:limit]
