"""What can go wrong when scoring: errors that all rooms share (Activation_Extraction.base.errors), and warnings of this one.

InterpScoreError
├── InputError (also a ValueError)   wrong input; lists every problem found; exit code 2
└── OutputError                      a result that cannot be written; exit code 2

InterpScoreWarning (a UserWarning)
├── MissingScoreWarning              a score is NaN, and why
└── TableWarning                     the table can be scored, but the reader should know something
"""

from __future__ import annotations

from Activation_Extraction.base.errors import (
    InputError,
    InterpScoreError,
    InterpScoreWarning,
    OutputError,
    Problem,
    shown,
)

__all__ = ["InputError", "InterpScoreError", "MissingScoreWarning", "OutputError", "Problem", "TableWarning", "shown"]


class MissingScoreWarning(InterpScoreWarning):
    """A score is NaN; the message says why."""


class TableWarning(InterpScoreWarning):
    """Something about the input that changes how the result should be read."""
