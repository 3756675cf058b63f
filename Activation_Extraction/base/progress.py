"""How far a long run is: a bar with images/s (or steps/s) and time left on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Advance = Callable[[int], None]
"""Takes the number of images, or of what else is counted, done since the last call."""

_SECONDS = 30
"""Between two lines where there is no terminal."""


@contextmanager
def image_progress(
    description: str, total: int, *, done: int = 0, shown: bool = True, counted: str = "images"
) -> Iterator[Advance]:
    """Show progress on standard error inside the block, which gets a function to call after each batch.

    Args:
        total: images in all.
        done: of these, images that an earlier run did; they count as there, not as fast.
        shown: False shows nothing.
        counted: what is counted in their place.
    """
    console = Console(stderr=True)
    if not shown:
        yield lambda count: None
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(counted), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console, transient=True, speed_estimate_period=60) as bar:
            task = bar.add_task(description, total=total, completed=done)
            yield lambda count: bar.advance(task, count)
    else:
        yield _Lines(console, description, total, done, counted)


class _Speed(ProgressColumn):
    def __init__(self, counted: str) -> None:
        super().__init__()
        self._counted = counted

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.1f} {self._counted}/s", style="progress.data.speed")


class _Lines:
    """A line every half minute; short runs print none."""

    def __init__(self, console: Console, description: str, total: int, done: int, counted: str) -> None:
        self._console, self._description, self._total, self._done = console, description, total, done
        self._counted = counted
        self._started = self._said = monotonic()
        self._before = done

    def __call__(self, count: int) -> None:
        self._done += count
        now = monotonic()
        if now - self._said < _SECONDS:
            return
        self._said = now
        speed = (self._done - self._before) / (now - self._started)
        left = (self._total - self._done) / speed
        self._console.print(
            f"{self._description}: {self._done:,} of {self._total:,} {self._counted}, "
            f"{speed:,.1f} {self._counted}/s, {duration(left)} left",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def duration(seconds: float) -> str:
    """A length of time for people.

    >>> duration(42), duration(3700)
    ('42 s', '1 h 01 min')
    """
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    if hours:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{minutes} min {int(seconds) % 60:02d} s" if minutes else f"{seconds:.0f} s"
