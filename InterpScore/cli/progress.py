"""Progress of a computation with several named stages: a bar each on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

_SECONDS = 60
"""Between two lines where there is no terminal."""


@contextmanager
def stage_progress(quiet: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress bar on a terminal, a line a minute elsewhere."""
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield advance


class _Lines:
    """How far a run is, where there is no terminal; short runs print nothing."""

    def __init__(self) -> None:
        self._said = monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        if monotonic() - self._said >= _SECONDS:
            self._said = monotonic()
            print(f"{what}: {done:,} of {total:,}", file=sys.stderr)
