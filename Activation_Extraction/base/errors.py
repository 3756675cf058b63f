"""What can go wrong, as a tree. Every room raises these; the command line turns each problem into one line.

InterpScoreError
├── InputError (also a ValueError)   wrong input; lists every problem found; exit code 2
├── OutputError                      a result that cannot be written; exit code 2
└── DownloadError                    a file that no server gave whole and with the right hash; exit code 2

UnreadableImageWarning               images that could not be read, by name; their rows are NaN
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


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


def did_you_mean(name: object, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The nearest of the known names, to append to a message; empty where none is near.

    >>> did_you_mean("pupy", ["puppies", "puppy"])
    " (did you mean 'puppy'?)"
    """
    near = get_close_matches(str(name), list(known), n=1, cutoff=cutoff)
    return f" (did you mean '{near[0]}'?)" if near else ""


def listed_up_to(items: Sequence[str], limit: int, more: str = "more") -> list[str]:
    """The first items, and how many were left out.

    >>> listed_up_to(["a", "b", "c", "d"], 2, "more neurons")
    ['a', 'b', '… and 2 more neurons']
    """
    left = len(items) - limit
    return [*items[:limit], *([f"… and {left:,} {more}"] if left > 0 else [])]
