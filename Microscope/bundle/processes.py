"""A function on many parts, over all processors, in the order of the parts, a few of them ahead of their use.

The results are the same as in one process. Processes end with their parent, however it ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing.connection import wait
from typing import Any, TypeVar

from Activation_Extraction.base.errors import InterpScoreError

P = TypeVar("P")
R = TypeVar("R")
_AHEAD = 2
"""Parts for each process that are computed before they are used; more would fill memory."""


def in_processes(
    function: Callable[[P], R], parts: Iterable[P], processes: int | None = None
) -> Generator[tuple[P, R]]:
    """Each part with its result.

    Args:
        function: can be pickled, and is sent to a process once.
        processes: None takes one a processor; 1 computes here.
    """
    from Activation_Extraction.decoding.decoders import (
        default_workers,  # late: it loads torch, which processes do without
    )

    count = default_workers() if processes is None else processes
    if count == 1:
        for part in parts:
            yield part, function(part)
        return
    remaining, pending = iter(parts), deque[tuple[P, "Future[R]"]]()
    context = multiprocessing.get_context("spawn")  # a copy of a process with threads may hang
    with ProcessPoolExecutor(count, context, _begin, (function,)) as pool:
        try:
            while True:
                for part in islice(remaining, count * _AHEAD - len(pending)):
                    pending.append((part, pool.submit(_compute, part)))
                if not pending:
                    return
                part, future = pending.popleft()
                try:
                    result = future.result()
                except RuntimeError as error:  # BrokenProcessPool
                    raise InterpScoreError(f"a process of the build ended early ({error}); expected enough memory for it") from None  # fmt: skip
                yield part, result
        finally:
            pool.shutdown(cancel_futures=True)


_function: Callable[..., Any] | None = None


def _begin(function: Callable[..., object]) -> None:
    """In a process: wait for parts; a Ctrl-C is the parent's to handle."""
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=partial(_end_with, parent.sentinel), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _compute(part: Any) -> Any:
    assert _function is not None
    return _function(part)
