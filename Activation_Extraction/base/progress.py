"""Progress of long work on standard error: bars with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from Activation_Extraction.base.text import console, in_markup, say

Advance = Callable[[int], None]
"""Called with the number of images (or other items) completed since the last call."""

StageProgress = Callable[[str, int, int], None]
"""Progress of a computation with several stages: called with (stage, completed, total)."""

TransferProgress = Callable[[str, int, "int | None"], None]
"""Called with the name of a download, bytes so far, and bytes in all or None."""

_SECONDS = 30
"""Time between two plain lines."""

_TENTHS, _LINE_BYTES = 10, 100_000_000
"""Plain lines of a download, and bytes for each line where the size is unknown."""


@contextmanager
def doing(what: str, *, shown: bool = True) -> Iterator[None]:
    """A line on a terminal while something takes a moment and cannot be counted, such as loading a network."""
    if not shown or not sys.stderr.isatty():
        yield
        return
    with console(stderr=True).status(in_markup(f"{what} …")):
        yield


@contextmanager
def image_progress(
    description: str, total: int, *, done: int = 0, shown: bool = True, counted: str = "images"
) -> Iterator[Advance]:
    """Progress of one loop; the block gets a function to call after each batch.

    Args:
        total: number of images.
        done: images completed by an earlier run; they do not count towards the rate.
        shown: False shows nothing.
        counted: the items, if not images.
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
    """Progress of several stages, each with its own bar or lines from its first call."""
    if not shown:
        yield None
    elif not sys.stderr.isatty():
        lines: dict[str, _Lines] = {}

        def print_lines(stage: str, completed: int, total: int) -> None:
            line = lines.setdefault(stage, _Lines(stage, total, 0, ""))
            line(completed - line.done)

        yield print_lines
    else:
        with _bars("") as bars:
            tasks: dict[str, Any] = {}

            def update_bar(stage: str, completed: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(stage, total=total)
                bars.update(tasks[stage], completed=completed, visible=completed < total)

            yield update_bar


def in_stage(progress: StageProgress | None, stage: str, total: int, done: int = 0) -> Advance:
    """Progress of one stage as a function to call with the number of items completed since the last call.

    Args:
        progress: of the computation; None shows nothing.
        total: number of items; done: those completed by an earlier run.
    """

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(stage, done, total)

    return advance


@contextmanager
def transfer_progress(*, shown: bool = True) -> Iterator[TransferProgress | None]:
    """Progress of downloads in bytes: a bar each with the rate on a terminal, a few plain lines elsewhere."""
    if not shown or not sys.stderr.isatty():
        yield _Tenths() if shown else None
        return
    from rich import progress as rich

    columns = rich.TextColumn("{task.description}"), rich.BarColumn(), rich.DownloadColumn(), rich.TransferSpeedColumn()
    with rich.Progress(*columns, rich.TimeRemainingColumn(), console=console(stderr=True)) as bars:
        tasks: dict[str, rich.TaskID] = {}

        def advance(name: str, done: int, total: int | None) -> None:
            if name not in tasks:  # bytes of an earlier run do not count for the speed
                tasks[name] = bars.add_task(in_markup(name), total=total, completed=done)
            bars.update(tasks[name], completed=done, total=total)

        yield advance


def _bars(counted: str) -> Any:
    """A group of progress bars; Rich is imported here, since most commands finish without one."""
    from rich import progress as rich
    from rich.text import Text

    class Speed(rich.ProgressColumn):
        def render(self, task: rich.Task) -> Text:
            text = "" if task.speed is None or not counted else f"{task.speed:,.1f} {counted}/s"
            return Text(text, style="progress.data.speed")

    columns = rich.TextColumn("{task.description}"), rich.BarColumn(), rich.MofNCompleteColumn()
    options: dict[str, Any] = {"console": console(stderr=True), "transient": True, "speed_estimate_period": 60}
    return rich.Progress(*columns, Speed(), rich.TimeRemainingColumn(), **options)


class _Lines:
    """A line every half minute; short runs print none."""

    def __init__(self, description: str, total: int, done: int, counted: str) -> None:
        self._description, self._total, self.done, self._before = description, total, done, done
        self._counted = f" {counted}" if counted else ""
        self._started = self._printed = monotonic()

    def __call__(self, count: int) -> None:
        self.done += count
        now = monotonic()
        if now - self._printed < _SECONDS or self.done == self._before:
            return
        self._printed = now
        speed = (self.done - self._before) / (now - self._started)
        left = duration((self._total - self.done) / speed)
        line = f"{self._description}: {self.done:,} of {self._total:,}{self._counted}"
        rate = f"{speed:,.1f}{self._counted}/s, " if self._counted else ""
        say(f"{line}, {rate}{left} left", error=True)


class _Tenths:
    """Prints each tenth of a download once."""

    def __init__(self) -> None:
        self._printed: dict[str, int] = {}

    def __call__(self, name: str, done: int, total: int | None) -> None:
        step = done * _TENTHS // total if total else done // _LINE_BYTES
        if step <= self._printed.get(name, -1):
            return
        self._printed[name] = step
        of = f" of {total / 1e6:,.1f} MB, {done / total:.0%}" if total else " MB"
        say(f"{name}: {done / 1e6:,.1f}{of}", error=True)


def duration(seconds: float) -> str:
    """A duration as text.

    >>> duration(42), duration(3700)
    ('42 s', '1 h 01 min')
    """
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    if hours:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{minutes} min {int(seconds) % 60:02d} s" if minutes else f"{seconds:.0f} s"
