"""From URL to file over HTTP: resumed after interruptions, checked by SHA-256, moved into place when complete.

A download is in `<target>.part` until then; `<target>.part.json` records its source, so that a later run or another
process resumes. One process at a time writes them. Why not a library: docs/decisions.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib import request as web
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import DownloadError, InputError, OutputError, shown
from Activation_Extraction.base.files import NotAFileError, check_file, sha256_of, write_together
from Activation_Extraction.models.weights.connections import TransferError, opener

Report = Callable[[int, "int | None"], None]
"""Called with bytes so far, and bytes in all or None."""

WAITS = (1.0, 2.0, 5.0, 10.0)
"""Seconds between tries that bring nothing new; after the last one the next URL is tried."""

BLOCK_BYTES = 1 << 18
LEAST_RATE = 1000
"""Bytes a second, over a server's time limit; slower servers count as stalled."""

MOST_BYTES = 20 * 10**9
"""Of a file whose size its publisher does not state."""

_LONGEST_WAIT = 60.0
_LONGEST_REASON = 160
_BUSY = (408, 425, 429)
_APPEND = (
    os.O_WRONLY
    | os.O_APPEND
    | os.O_CREAT
    | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))
)


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    sha256: str | None,
    size: int | None,
    report: Report,
    timeout: float,
    waits: Sequence[float] = WAITS,
    most: int = MOST_BYTES,
) -> str:
    """Fetch a file from the first URL that gives it completely, and move it to `target`.

    Args:
        target: its folder exists, and the caller holds `only_one(target)`.
        sha256: expected hash; None accepts any.
        size: exact bytes, where known.
        timeout: seconds without a byte, without the head of an answer, or with fewer bytes than `LEAST_RATE` gives, after
            which a server counts as stalled.
        most: bytes, of a file whose size is not known.

    Returns:
        The SHA-256 of the file.

    Raises:
        DownloadError: each URL with its error. The part that has arrived is kept, unless its hash is wrong.
        OutputError: disk full, no permission. The part that has arrived is kept.
    """
    part = _Part(target, sha256)
    reasons = []
    for url in urls:
        try:
            digest = _from_one(url, part, _Limits(size, most, timeout, waits), report)
            part.move_into_place()
            return digest
        except TransferError as fault:
            reasons.append(f"{url}: {fault}")
    raise DownloadError("; ".join(reasons))


@contextmanager
def only_one(target: Path, report: Report) -> Iterator[None]:
    """Lock `target`; while another process has the lock, report its progress.

    Raises:
        OutputError: it cannot be written, or something else than a file is at the name of its part.
    """
    part = _Part(target, None)
    part.check()
    lock = FileLock(f"{part.path}.lock")
    try:
        while not lock.is_locked:
            try:
                lock.acquire(timeout=0)
                if not os.path.exists(lock.lock_file):  # removed by the process that had it, so no other would see it
                    lock.release()
            except Timeout:
                report(part.size, None)
                time.sleep(0.2)
    except OSError as error:
        raise OutputError(f"{lock.lock_file}: cannot be written ({error.strerror})") from None
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(lock.lock_file)
        lock.release()


@dataclass(frozen=True)
class _Limits:
    """See `fetch`."""

    size: int | None
    most: int
    timeout: float
    waits: Sequence[float]


class _Part:
    """The bytes that have arrived so far, and their source."""

    def __init__(self, target: Path, sha256: str | None) -> None:
        self.target, self.sha256 = target, sha256
        self.path = target.with_name(f"{target.name}.part")
        self.origin_path = target.with_name(f"{target.name}.part.json")
        self.stitched = self.size > 0  # from several answers, so perhaps from two versions of the file
        self.fresh = False  # fetched again for that reason

    def check(self) -> None:
        """Refuse what is no file at the names of the part; a link there would be written through."""
        for path in (self.path, self.origin_path, Path(f"{self.path}.lock")):
            with suppress(FileNotFoundError):
                try:
                    check_file(path, path.parent)
                except NotAFileError as error:
                    message = f"{path}: {error.strerror}; expected the part of a download, or nothing: remove it"
                    raise OutputError(message) from None

    @property
    def size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def range_headers(self, url: str) -> dict[str, str]:
        """Headers that ask for the missing bytes; removes a part that cannot be resumed."""
        if not self.size:
            return {}
        origin = self._origin()
        validator = origin.get("validator") if origin.get("url") == url else None
        # A known hash detects parts of different versions; without one the server's validator must.
        if origin.get("sha256") != self.sha256 or not (self.sha256 or validator):
            self.remove()
            return {}
        return {"Range": f"bytes={self.size}-", **({"If-Range": validator} if validator else {})}

    def _origin(self) -> dict[str, str]:
        try:
            origin = read_json(self.origin_path) or {}
        except InputError:
            return {}
        return {name: value for name, value in origin.items() if isinstance(value, str) and value.isprintable()}

    def start_over(self, url: str, headers: Message) -> None:
        self.remove()
        tag = headers.get("ETag")
        validator = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")
        origin = {"url": url, "validator": validator, "sha256": self.sha256}
        write_together({self.origin_path: json.dumps(origin, indent=1) + "\n"})

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.origin_path.unlink(missing_ok=True)
        self.stitched = False

    def move_into_place(self) -> None:
        try:
            with self.path.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(self.path, self.target)
        except OSError as error:
            raise OutputError(f"{self.target}: cannot be written ({error.strerror})") from None
        self.remove()


def _from_one(url: str, part: _Part, limits: _Limits, report: Report) -> str:
    while True:
        _transfer(url, part, limits, report)
        digest = sha256_of(part.path)
        if part.sha256 in (None, digest):
            return digest
        halves_may_differ = part.stitched and not part.fresh
        part.remove()
        part.fresh = True
        if not halves_may_differ:
            raise TransferError(f"gave a file with SHA-256 {digest}; expected {part.sha256}")


def _transfer(url: str, part: _Part, limits: _Limits, report: Report) -> None:
    """Ask again until all bytes are there, or tries bring nothing new."""
    failures, at_start = 0, part.size
    most = at_start
    while True:
        try:
            _ask(url, part, limits, report)
            return
        except TransferError as fault:
            # The length a server states may be wrong.
            if part.size > most and part.sha256 and sha256_of(part.path) == part.sha256:
                return
            failures = 1 if part.size > most and not fault.slow else failures + 1
            most = max(most, part.size)
            # A refusal is final at the start; later it may be a link that has expired.
            if failures > len(limits.waits) or not (fault.again or most > at_start):
                raise
            time.sleep(min(max(limits.waits[failures - 1], fault.after), _LONGEST_WAIT))


def _ask(url: str, part: _Part, limits: _Limits, report: Report) -> None:
    """Append the answer to one request to the part. Returns when the file is complete as far as lengths tell."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise TransferError("is no http or https address", again=False)
    headers = {"User-Agent": "interpscore", **part.range_headers(url)}
    try:
        answer: HTTPResponse = opener().open(web.Request(url, headers=headers), timeout=limits.timeout)
    except HTTPError as error:
        with error:
            if error.code == 416 and part.size and _content_range(error.headers)[1] == part.size:
                return
            raise _refusal(error, part) from None
    except (OSError, HTTPException, ValueError) as error:  # ValueError: an invalid address in a redirect
        raise _network_fault(error, limits.timeout) from None
    size = limits.size
    with answer:
        first, total = _content_range(answer.headers) if answer.status == 206 else (0, answer.length)
        if answer.status not in (200, 206):
            raise TransferError(f"answered {answer.status}; expected 200", again=False)
        total = size if total is None else total
        if size not in (None, total):
            raise TransferError(f"offers {total:,} bytes; expected {size:,}", again=False)
        if size is None and total is not None and total > limits.most:
            raise TransferError(f"offers {total:,} bytes; expected at most {limits.most:,}", again=False)
        if answer.status == 200:
            part.start_over(url, answer.headers)
        elif first != part.size:
            part.remove()
            raise TransferError("answered with another range than was asked for")
        else:
            part.stitched = True
        _append(answer, part, total, report, limits)
    if total is not None and part.size < total:
        raise TransferError(f"the connection ended after {part.size:,} of {total:,} bytes")


def _append(answer: HTTPResponse, part: _Part, total: int | None, report: Report, limits: _Limits) -> None:
    most = limits.most if total is None else total
    since, so_far = time.monotonic(), part.size
    remaining = answer.length  # None: until the connection ends
    done = part.size
    if total is not None and shutil.disk_usage(part.path.parent).free < total - done:
        raise OutputError(f"{part.path}: the disk is too full; {total - done:,} more bytes are needed there")
    try:
        with open(os.open(part.path, _APPEND, 0o666), "ab") as file:
            while remaining is None or remaining > 0:
                try:
                    block = answer.read1(BLOCK_BYTES if remaining is None else min(BLOCK_BYTES, remaining))
                except (OSError, HTTPException) as error:
                    raise _network_fault(error, limits.timeout) from None
                if not block:
                    return
                file.write(block)
                file.flush()  # keep it if this process is killed
                remaining = None if remaining is None else remaining - len(block)
                done += len(block)
                report(done, total)
                if done > most:
                    part.remove()
                    raise TransferError(f"gave more than {most:,} bytes", again=False)
                if (seconds := time.monotonic() - since) >= limits.timeout:
                    if done - so_far < LEAST_RATE * seconds and remaining != 0:
                        rate = (done - so_far) / seconds
                        raise TransferError(f"gave {rate:,.0f} bytes a second; expected {LEAST_RATE:,}", slow=True)
                    since, so_far = time.monotonic(), done
    except OSError as error:
        raise OutputError(
            f"{part.path}: cannot be written ({error.strerror}); the {part.size:,} bytes so far are kept"
        ) from None


def _content_range(headers: Message) -> tuple[int | None, int | None]:
    """First byte and length of the complete file, from `bytes 5-9/10` or `bytes */10`."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", headers.get("Content-Range", "").strip())
    if not found:
        return None, None
    first, total = found.groups()
    return int(first) if first else None, int(total) if total != "*" else None


def _refusal(error: HTTPError, part: _Part) -> TransferError:
    if error.code == 416:
        part.remove()
        return TransferError("answered that the rest does not exist")
    if error.code in (301, 302, 303, 307, 308):
        address = error.url or ""
        endless = urlsplit(address).scheme in ("http", "https")
        reason = "redirects without end" if endless else f"redirects to {shown(address, 200)}, which is not followed"
        return TransferError(reason, again=False)
    wait = error.headers.get("Retry-After", "")
    after = float(wait) if re.fullmatch(r"\d{1,4}", wait) else 0.0
    again = error.code >= 500 or error.code in _BUSY
    return TransferError(f"answered {error.code} {shown(error.reason)}", again=again, after=after)


def _network_fault(error: Exception, timeout: float) -> TransferError:
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return TransferError(f"no answer within {timeout:g} seconds")
    # Unknown hosts and untrusted certificates fail again.
    again = not isinstance(cause, socket.gaierror | ssl.SSLCertVerificationError | ValueError)
    reason = str(getattr(cause, "strerror", None) or cause or type(cause).__name__)
    return TransferError(" ".join(reason.split())[:_LONGEST_REASON], again=again)
