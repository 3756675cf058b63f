"""The errors that every room raises; the command line prints each problem as one line.

Messages may hold names from outside, so all of them are printable (`base.text`), wherever they end up.

InterpScoreError
├── InputError (also a ValueError)   wrong input; lists every problem found; exit code 2
├── OutputError                      a result that cannot be written; exit code 2
├── MissingPackageError (ImportError) a package of an extra is not installed; exit code 2
└── DownloadError                    a file that no server provided completely, with the right hash; exit code 2

InterpScoreWarning (a UserWarning)
└── UnreadableImageWarning           lists images that could not be read; their rows are NaN
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches

from Activation_Extraction.base.text import printable


class InterpScoreError(Exception):
    """Base of every error this library raises on purpose."""

    def __init__(self, *lines: object) -> None:
        super().__init__("\n".join(map(printable, lines)))


class InputError(InterpScoreError, ValueError):
    """Wrong input. `problems` has one line for each."""

    def __init__(self, problems: str | Iterable[object]) -> None:
        self.problems = list(map(printable, [problems] if isinstance(problems, str) else problems))
        super().__init__(*self.problems)


class OutputError(InterpScoreError):
    """A result that cannot be written where it was asked for."""


class MissingPackageError(InterpScoreError, ImportError):
    """A package of an extra is not installed; the message says what to type."""


class DownloadError(InterpScoreError):
    """A file that no server provided completely, with the right hash; the message says how else to get it."""


class InterpScoreWarning(UserWarning):
    """Base of every warning this library gives."""

    def __init__(self, message: object) -> None:
        super().__init__(printable(message))


class UnreadableImageWarning(InterpScoreWarning):
    """Lists images that could not be read; their rows are NaN."""


RESUMES = "the same command resumes"
"""What is noted on an interrupt where work is kept; commands say it as they end."""


@contextmanager
def resumable() -> Iterator[None]:
    """Note on an interrupt that what is done is kept."""
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note(RESUMES)
        raise


@dataclass(frozen=True)
class Problem:
    """One problem with its place; rows are counted as in a spreadsheet, with the header as row 1."""

    source: str
    found: str
    expected: str
    column: str | None = None
    row: int | None = None
    more: int = 0

    def __str__(self) -> str:
        column = "" if self.column is None else f", column '{self.column}'"
        row = "" if self.row is None else f", row {self.row}"
        more = f" (and {self.more} more like it)" if self.more else ""
        return f"{self.source}{column}{row}: {self.found}; expected {self.expected}{more}"


def shown(value: object, limit: int = 60) -> str:
    """A value in one line of a message."""
    text = repr(str(value))
    return text if len(text) <= limit else text[: limit - 2] + "…'"


def first_line(error: BaseException, limit: int = 160) -> str:
    r"""The first line of another library's error message; with the second, where the first only announces it.

    >>> first_line(RuntimeError("Error(s) in loading state_dict for Net:\n\tMissing key(s): 'conv.bias'"))
    "Error(s) in loading state_dict for Net: Missing key(s): 'conv.bias'"
    """
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:limit]


def did_you_mean(name: object, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The nearest known name, to append to a message; empty if none is near.

    >>> did_you_mean("pupy", ["puppies", "puppy"])
    " (did you mean 'puppy'?)"
    """
    near = get_close_matches(str(name), list(known), n=1, cutoff=cutoff)
    return f" (did you mean '{near[0]}'?)" if near else ""


def listed_up_to(items: Sequence[str], limit: int, more: str = "more") -> list[str]:
    """The first items, and how many more there are.

    >>> listed_up_to(["a", "b", "c", "d"], 2, "more neurons")
    ['a', 'b', '… and 2 more neurons']
    """
    left = len(items) - limit
    return [*items[:limit], *([f"… and {left:,} {more}"] if left > 0 else [])]
