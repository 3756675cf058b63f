"""Many files into a folder: what is there and right is kept, the rest is fetched in parallel, resumed and checked."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from Activation_Extraction.base.downloads.fetching import WAITS, fetch
from Activation_Extraction.base.downloads.part import bytes_so_far, only_one
from Activation_Extraction.base.downloads.sources import Source, TransferError
from Activation_Extraction.base.errors import DownloadError, InterpScoreError, OutputError
from Activation_Extraction.base.files import check_file, check_no_link
from InterpScore.journey.checksums import Checked, compared

T = TypeVar("T")
R = TypeVar("R")
Advance = Callable[[int, int], None]
"""Called with bytes so far and bytes in all, by one thread at a time."""

STALLED_SECONDS = 30.0
MOST_FAILURES = 20
"""In a row; then the network, the disk or the credentials are gone, and the rest is not tried."""


class State(StrEnum):
    """What a folder has of a file."""

    NEW = "new"
    HERE = "here"
    DIFFERENT = "different"
    FETCHED = "fetched"
    FAILED = "failed"


@dataclass(frozen=True)
class Wanted:
    """A file that is to be in a folder.

    Attributes:
        path: relative to the folder, of parts that are safe; source: where its bytes come from.
        sha256: where a list states it; else `checked` compares the complete file with what its server states.
    """

    path: str
    size: int
    sha256: str | None
    source: Source
    checked: Callable[[Path], Checked]

    def compared(self, path: Path) -> Checked:
        """A complete file compared with the best that is known of it."""
        return compared(path, self.sha256) if self.sha256 else self.checked(path)


@dataclass(frozen=True)
class Outcome:
    """What became of a file.

    Attributes:
        by: what it was compared by, where it is right; said: what differs, or why it failed.
        so_far: bytes of it that have arrived earlier and are kept.
    """

    wanted: Wanted
    state: State
    by: str = ""
    said: str = ""
    so_far: int = 0


def compare_all(wanted: Sequence[Wanted], folder: Path, jobs: int, advance: Advance) -> list[Outcome]:
    """Compare files with what is in a folder, in the order given; nothing is written."""
    there = {one.path: one.size for one in wanted if os.path.lexists(folder / one.path)}
    total = _Total(sum(there.values()), advance)

    def work(one: Wanted) -> Outcome:
        found = _outcome(one, lambda: _in_place(one, folder))
        if one.path in there:
            total.of(one, one.size)
        return found

    found = {outcome.wanted.path: outcome for outcome in _parallel(work, wanted, jobs, threading.Event())}
    return [found[one.path] for one in wanted]


def check_space(outcomes: Iterable[Outcome], folder: Path) -> None:
    """Refuse now what would fill the disk later.

    Raises:
        OutputError: the missing bytes do not fit.
    """
    needed = sum(outcome.wanted.size - outcome.so_far for outcome in outcomes)
    free = shutil.disk_usage(next(place for place in (folder, *folder.absolute().parents) if place.exists())).free
    if needed > free:
        raise OutputError(
            f"{folder}: {amount(needed)} to fetch, and {amount(free)} free there; expected a larger disk (--to)"
        )


def fetch_all(
    outcomes: Sequence[Outcome],
    folder: Path,
    jobs: int,
    advance: Advance,
    *,
    timeout: float = STALLED_SECONDS,
    waits: Sequence[float] = WAITS,
) -> list[Outcome]:
    """Fetch files, each beside its place until it is complete and right; what lies at its place is replaced then.

    Args:
        outcomes: of `compare_all`.

    Returns:
        What became of each; failures end nothing, but for `MOST_FAILURES` in a row.
    """
    total, stop = _Total(sum(outcome.wanted.size for outcome in outcomes), advance), threading.Event()

    def fetch_one(before: Outcome) -> Outcome:
        one = before.wanted
        target = folder / one.path
        check_no_link(target, folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        compared_by = []

        def wrong(path: Path) -> str | None:
            compared_by.append(one.compared(path))
            return compared_by[-1].wrong

        def report(done: int, _: int | None) -> None:
            if stop.is_set():
                raise DownloadError(f"{one.source.name}: stopped")
            total.of(one, done)

        with only_one(target, report):
            now = _in_place(one, folder)
            if now.state is State.HERE or (now.state, before.state) == (State.DIFFERENT, State.NEW):
                return now  # somebody else has just put it there
            fetch(
                [one.source], target, sha256=one.sha256, size=one.size, wrong=wrong, report=report, timeout=timeout,
                waits=waits,
            )  # fmt: skip
        return Outcome(one, State.FETCHED, compared_by[-1].by, so_far=before.so_far)

    found: dict[str, Outcome] = {}
    in_a_row = 0
    for outcome in _parallel(lambda o: _outcome(o.wanted, lambda: fetch_one(o)), outcomes, jobs, stop):
        found[outcome.wanted.path] = outcome
        in_a_row = in_a_row + 1 if outcome.state is State.FAILED else 0
        if in_a_row >= MOST_FAILURES:
            stop.set()
    not_tried = f"not tried, after {MOST_FAILURES} failures in a row"
    return [found.get(o.wanted.path) or replace(o, state=State.FAILED, said=not_tried) for o in outcomes]


def amount(count: float) -> str:
    """Bytes as text.

    >>> amount(812), amount(2_100_000_000)
    ('812 bytes', '2.1 GB')
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,.0f} bytes"


def _in_place(one: Wanted, folder: Path) -> Outcome:
    """A file compared with what is at its place.

    Raises:
        OSError: what is there is no file, or a link leads there.
    """
    target = folder / one.path
    check_no_link(target, folder)
    try:
        size = check_file(target, folder).st_size
    except FileNotFoundError:
        return Outcome(one, State.NEW, so_far=min(bytes_so_far(target), one.size))
    if size != one.size:
        return Outcome(one, State.DIFFERENT, said=f"has {size:,} bytes; expected {one.size:,}")
    found = one.compared(target)
    return Outcome(one, State.HERE if found.wrong is None else State.DIFFERENT, found.by, found.wrong or "")


def _outcome(one: Wanted, work: Callable[[], Outcome]) -> Outcome:
    """The outcome of work on a file, whose expected errors are its own alone."""
    try:
        return work()
    except OSError as error:
        said = f"{one.path}: {error.strerror or error}"
    except TransferError as error:
        said = f"{one.source.name}: {error}"
    except InterpScoreError as error:
        said = str(error)
    return Outcome(one, State.FAILED, said=said)


class _Total:
    """Bytes of many files that arrive at once."""

    def __init__(self, total: int, advance: Advance) -> None:
        self._total, self._advance = total, advance
        self._lock, self._done, self._sum = threading.Lock(), dict[str, int](), 0

    def of(self, one: Wanted, done: int) -> None:
        with self._lock:
            self._sum += done - self._done.get(one.path, 0)
            self._done[one.path] = done
            self._advance(self._sum, self._total)


def _parallel(work: Callable[[T], R], items: Iterable[T], jobs: int, stop: threading.Event) -> Iterator[R]:
    """Results as they are ready. `stop` is set where the caller ends early; once it is set, no more work begins."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in as_completed(futures):
                if future.cancelled():
                    continue
                yield future.result()
                if stop.is_set():
                    for waiting in futures:
                        waiting.cancel()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
