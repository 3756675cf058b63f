"""Where the parts of a long job are computed: here, on this process's devices.

    local([job], folder.missing(parts, name_of), keep, advance)

An engine hands the parts of a job out, in any order and number, to copies of the job in as many places as it has, and
gives each result to `keep` in this process, which writes it. A result depends on the job and the part alone, so every
engine ends with the same bytes, on the same kind of processor with the same threads and library versions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing
from typing import Protocol, TypeVar

from Activation_Extraction.base.progress import Advance

P = TypeVar("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Job(Protocol[P, R_co]):
    """What computes parts. It can be pickled, so that another process can compute some of them."""

    def compute(self, parts: Iterator[P], advance: Advance) -> Generator[tuple[P, R_co]]:
        """Compute parts one after another; later ones may be taken while a result is not given yet.

        Args:
            parts: some of the job's, in any order.
            advance: called with how much is done since the last call.

        Yields:
            Each part with its result, which is a function of the job and the part.
        """
        ...


class Engine(Protocol):
    """What runs jobs; `local` is one."""

    def __call__(
        self, jobs: Sequence[Job[P, R]], parts: Sequence[P], keep: Callable[[P, R], object], advance: Advance
    ) -> None:
        """Compute every part once and keep its result.

        Args:
            jobs: the same job for each device.
            keep: writes a result; called for one part at a time.
            advance: called with how much is done.
        """
        ...


def local(jobs: Sequence[Job[P, R]], parts: Sequence[P], keep: Callable[[P, R], object], advance: Advance) -> None:
    """Compute parts in this process, on each device in turn what it has time for, and write one while the next is computed."""
    shared = _Shared(parts)
    with ThreadPoolExecutor(1) as writing:
        if len(jobs) == 1:
            _stream(jobs[0], shared, keep, advance, writing)
            return
        with ThreadPoolExecutor(len(jobs)) as computing:
            running = [computing.submit(_stream, job, shared, keep, advance, writing) for job in jobs]
            try:
                for done in as_completed(running):
                    done.result()
            finally:
                shared.stop()  # whatever ends the run: no device begins another part


def _stream(
    job: Job[P, R], parts: Iterator[P], keep: Callable[[P, R], object], advance: Advance, writing: ThreadPoolExecutor
) -> None:
    """Compute parts on one device; at most one result waits to be written, so memory stays flat."""
    written: Future[object] | None = None
    try:
        with closing(job.compute(parts, advance)) as results:
            for part, result in results:
                if written is not None:
                    written.result()
                written = writing.submit(keep, part, result)
    finally:
        if written is not None:
            written.result()


class _Shared(Iterator[P]):
    """Parts, handed out in order to the devices that ask."""

    def __init__(self, parts: Iterable[P]) -> None:
        self._parts = iter(parts)
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    def __next__(self) -> P:
        with self._lock:
            if self._stopped:
                raise StopIteration
            return next(self._parts)
