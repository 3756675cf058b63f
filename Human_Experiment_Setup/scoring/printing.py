"""Tables on a terminal: columns of text and numbers that fit into 80 characters where they can."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from Activation_Extraction.base.text import console, in_markup

PLAIN_WIDTH = 100
"""Where the output is no terminal."""
_MANY = 10
"""Columns from which on they stand closer."""


def grid(columns: Sequence[str], rows: Sequence[Sequence[object]], text: Sequence[int] = (0,)) -> None:
    """Print a table.

    Args:
        text: positions of the columns that are text, which may wrap; numbers stand to the right, and keep their lines.
    """
    from rich.table import Table  # late: only commands print

    screen = console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    gap = 2 if len(columns) < _MANY else 1
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
    for at, name in enumerate(columns):
        is_text = at in text
        table.add_column(in_markup(name), justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold")
    for row in rows:
        table.add_row(*("\n".join(map(in_markup, str(cell).split("\n"))) for cell in row))
    screen.print(table)
    screen.print()
