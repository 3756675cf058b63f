"""Progress of long work on standard error: bars with rate and time left on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

Advance = Callable[[int], None]
"""Called with the number of images, or of what else is counted, done since the last call."""

StageProgress = Callable[[str, int, int], None]
"""Progress of a computation with several stages: called with (stage, completed, total)."""

_SECONDS = 30
"""Between two lines where there is no terminal."""


@contextmanager
def image_progress(
    description: str, total: int, *, done: int = 0, shown: bool = True, counted: str = "images"
) -> Iterator[Advance]:
    """Progress of one loop; the block gets a function to call after each batch.

    Args:
        total: images in all.
        done: images that an earlier run completed; they count as done, not towards the rate.
        shown: False shows nothing.
        counted: what is counted in place of images.
    """
    if not shown:
        yield lambda count: None
    elif not sys.stderr.isatty():
        yield _Lines(description, total, done, counted)
    else:
        with _bars(counted) as bars:
            task = bars.add_task(description, total=total, completed=done)
            yield lambda count: bars.advance(task, count)


@contextmanager
def stage_progress(*, shown: bool = True) -> Iterator[StageProgress | None]:
    """Progress of several stages, each with a bar or lines of its own from its first call on."""
    if not shown:
        yield None
    elif not sys.stderr.isatty():
        yield _Stages(lambda stage, total: _Lines(stage, total, 0, ""))
    else:
        with _bars("") as bars:
            yield _Stages(lambda stage, total: _advance_of(bars, bars.add_task(stage, total=total)))


class _Stages:
    def __init__(self, begin: Callable[[str, int], Advance]) -> None:
        self._begin = begin
        self._stages: dict[str, tuple[Advance, int]] = {}

    def __call__(self, stage: str, completed: int, total: int) -> None:
        advance, before = self._stages.get(stage) or (self._begin(stage, total), 0)
        self._stages[stage] = advance, completed
        advance(completed - before)


def _advance_of(bars: Any, task: Any) -> Advance:
    return lambda count: bars.advance(task, count)


def _bars(counted: str) -> Any:
    """A group of progress bars; Rich is imported here, since most commands finish without one."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            text = "" if task.speed is None or not counted else f"{task.speed:,.1f} {counted}/s"
            return Text(text, style="progress.data.speed")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=60)


class _Lines:
    """A line every half minute; short runs print none."""

    def __init__(self, description: str, total: int, done: int, counted: str) -> None:
        self._description, self._total, self._done, self._before = description, total, done, done
        self._counted = f" {counted}" if counted else ""
        self._started = self._said = monotonic()

    def __call__(self, count: int) -> None:
        self._done += count
        now = monotonic()
        if now - self._said < _SECONDS or self._done == self._before:
            return
        self._said = now
        speed = (self._done - self._before) / (now - self._started)
        left = duration((self._total - self._done) / speed)
        line = f"{self._description}: {self._done:,} of {self._total:,}{self._counted}"
        rate = f"{speed:,.1f}{self._counted}/s, " if self._counted else ""
        print(f"{line}, {rate}{left} left", file=sys.stderr, flush=True)  # noqa: T201


def duration(seconds: float) -> str:
    """A length of time for people.

    >>> duration(42), duration(3700)
    ('42 s', '1 h 01 min')
    """
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    if hours:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{minutes} min {int(seconds) % 60:02d} s" if minutes else f"{seconds:.0f} s"
