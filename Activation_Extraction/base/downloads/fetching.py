"""Fetches a file from its sources: resumes, asks again, gives up what stalls, checks, and moves it into place.

Why not a library: docs/decisions.md.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from Activation_Extraction.base.downloads.part import Part, Report
from Activation_Extraction.base.downloads.sources import Answer, Source, TransferError
from Activation_Extraction.base.errors import DownloadError, OutputError
from Activation_Extraction.base.files import sha256_of

WAITS = (1.0, 2.0, 5.0, 10.0)
"""Seconds between tries that bring nothing new; after the last one the next source is tried."""

BLOCK_BYTES = 1 << 18
LEAST_RATE = 1000
"""Bytes a second, over a server's time limit; slower servers count as stalled."""

MOST_BYTES = 20 * 10**9
"""Of a file whose size its publisher does not state."""

_LONGEST_WAIT = 60.0
_APPEND = (
    os.O_WRONLY
    | os.O_APPEND
    | os.O_CREAT
    | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))
)


def fetch(
    sources: Sequence[Source],
    target: Path,
    *,
    sha256: str | None,
    size: int | None,
    wrong: Callable[[Path], str | None],
    report: Report,
    timeout: float,
    waits: Sequence[float] = WAITS,
    most: int = MOST_BYTES,
) -> None:
    """Fetch a file from the first source that gives it completely, and move it to `target`.

    Args:
        target: its folder exists, and the caller holds `only_one(target)`.
        sha256: expected hash; None accepts any. Parts from several sources are joined only where it is known.
        size: exact bytes, where known.
        wrong: says of a complete file, still in its part, what is wrong with it; None if nothing is.
        timeout: seconds in which fewer bytes than `LEAST_RATE` gives mean that a server has stalled.
        most: bytes, of a file whose size is not known.

    Raises:
        DownloadError: each source with its error. The part that has arrived is kept, unless the complete file is wrong.
        OutputError: disk full, no permission. The part that has arrived is kept.
    """
    part = Part(target, sha256)
    limits = _Limits(size, most, timeout, waits)
    reasons = []
    for source in sources:
        try:
            _from_one(source, part, limits, wrong, report)
            part.move_into_place()
            return
        except TransferError as fault:
            reasons.append(f"{source.name}: {fault}")
    raise DownloadError("; ".join(reasons))


@dataclass(frozen=True)
class _Limits:
    """See `fetch`."""

    size: int | None
    most: int
    timeout: float
    waits: Sequence[float]


def _from_one(source: Source, part: Part, limits: _Limits, wrong: Callable[[Path], str | None], report: Report) -> None:
    while True:
        _transfer(source, part, limits, report)
        if (reason := wrong(part.path)) is None:
            return
        halves_may_differ = part.stitched and not part.fresh
        part.remove()
        part.fresh = True
        if not halves_may_differ:
            raise TransferError(reason)


def _transfer(source: Source, part: Part, limits: _Limits, report: Report) -> None:
    """Ask again until all bytes are there, or tries bring nothing new."""
    failures, at_start = 0, part.size
    most = at_start
    while True:
        try:
            _ask(source, part, limits, report)
            return
        except TransferError as fault:
            if fault.afresh:
                part.remove()
            # The length a server states may be wrong.
            if part.size > most and part.sha256 and sha256_of(part.path) == part.sha256:
                return
            failures = 1 if part.size > most and not fault.slow else failures + 1
            most = max(most, part.size)
            # A refusal is final at the start; later it may be a link that has expired.
            if failures > len(limits.waits) or not (fault.again or most > at_start):
                raise
            time.sleep(min(max(limits.waits[failures - 1], fault.after), _LONGEST_WAIT))


def _ask(source: Source, part: Part, limits: _Limits, report: Report) -> None:
    """Append the answer to one question to the part. Returns when the file is complete as far as lengths tell."""
    with source.ask(*part.resumed_from(source)) as answer:
        total = limits.size if answer.total is None else answer.total
        if limits.size not in (None, total):
            raise TransferError(f"offers {total:,} bytes; expected {limits.size:,}", again=False)
        if limits.size is None and total is not None and total > limits.most:
            raise TransferError(f"offers {total:,} bytes; expected at most {limits.most:,}", again=False)
        if answer.first == 0:
            part.start_over(source, answer.validator)
        elif answer.first != part.size:
            raise TransferError("answered with another range than was asked for", afresh=True)
        else:
            part.stitched = True
        _append(answer, part, total, report, limits)
    if total is not None and part.size < total:
        raise TransferError(f"the connection ended after {part.size:,} of {total:,} bytes")


def _append(answer: Answer, part: Part, total: int | None, report: Report, limits: _Limits) -> None:
    most = limits.most if total is None else total
    since, so_far = time.monotonic(), part.size
    remaining = answer.remaining
    done = part.size
    if total is not None and shutil.disk_usage(part.path.parent).free < total - done:
        raise OutputError(f"{part.path}: the disk is too full; {total - done:,} more bytes are needed there")
    try:
        with open(os.open(part.path, _APPEND, 0o666), "ab") as file:
            while remaining is None or remaining > 0:
                try:
                    block = answer.body.read1(BLOCK_BYTES if remaining is None else min(BLOCK_BYTES, remaining))
                except Exception as error:
                    if (fault := answer.faults(error)) is None:
                        raise
                    raise fault from None
                if not block:
                    return
                file.write(block)
                file.flush()  # keep it if this process is killed
                remaining = None if remaining is None else remaining - len(block)
                done += len(block)
                report(done, total)
                if done > most:
                    raise TransferError(f"gave more than {most:,} bytes", again=False, afresh=True)
                if (seconds := time.monotonic() - since) >= limits.timeout:
                    if done - so_far < LEAST_RATE * seconds and remaining != 0:
                        rate = (done - so_far) / seconds
                        raise TransferError(f"gave {rate:,.0f} bytes a second; expected {LEAST_RATE:,}", slow=True)
                    since, so_far = time.monotonic(), done
    except OSError as error:
        raise OutputError(
            f"{part.path}: cannot be written ({error.strerror}); the {part.size:,} bytes so far are kept"
        ) from None
