"""From URL to file over HTTP: what one request asks for and what its answer means; `base/downloads` does the rest."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib import request as web
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from Activation_Extraction.base.downloads import fetching
from Activation_Extraction.base.downloads.fetching import MOST_BYTES, WAITS
from Activation_Extraction.base.downloads.part import Report
from Activation_Extraction.base.downloads.sources import Answer, TransferError
from Activation_Extraction.base.errors import shown
from Activation_Extraction.base.files import sha256_of
from Activation_Extraction.models.weights.connections import opener

_LONGEST_REASON = 160
_BUSY = (408, 425, 429)


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
    """Fetch a file from the first URL that gives it completely, and move it to `target`; see `fetching.fetch`.

    Args:
        timeout: seconds without a byte, without the head of an answer, or with too few bytes, after which a server counts
            as stalled.

    Returns:
        The SHA-256 of the file.

    Raises:
        DownloadError, OutputError: as `fetching.fetch`.
    """
    digest = ""

    def wrong(path: Path) -> str | None:
        nonlocal digest
        digest = sha256_of(path)
        return None if sha256 in (None, digest) else f"gave a file with SHA-256 {digest}; expected {sha256}"

    sources = [_Url(url, timeout) for url in urls]
    fetching.fetch(
        sources, target, sha256=sha256, size=size, wrong=wrong, report=report, timeout=timeout, waits=waits, most=most
    )
    return digest


@dataclass(frozen=True)
class _Url:
    """An address of a file."""

    name: str
    timeout: float

    @contextmanager
    def ask(self, first: int, validator: str | None) -> Iterator[Answer]:
        if urlsplit(self.name).scheme not in ("http", "https"):
            raise TransferError("is no http or https address", again=False)
        headers = {"User-Agent": "interpscore"}
        headers |= {"Range": f"bytes={first}-"} if first else {}
        headers |= {"If-Range": validator} if validator else {}
        try:
            answer: HTTPResponse = opener().open(web.Request(self.name, headers=headers), timeout=self.timeout)
        except HTTPError as error:
            with error:
                if error.code != 416 or not first or _content_range(error.headers)[1] != first:
                    raise _refusal(error) from None
                yield Answer(error, first, 0, first, None, self._fault)
                return
        except (OSError, HTTPException, ValueError) as error:  # ValueError: an invalid address in a redirect
            raise self._fault(error) or error from None
        with answer:
            if answer.status not in (200, 206):
                raise TransferError(f"answered {answer.status}; expected 200", again=False)
            at, total = _content_range(answer.headers) if answer.status == 206 else (0, answer.length)
            yield Answer(answer, at, answer.length, total, _validator(answer.headers), self._fault)

    def _fault(self, error: Exception) -> TransferError | None:
        if not isinstance(error, OSError | HTTPException | ValueError):
            return None
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, TimeoutError):
            return TransferError(f"no answer within {self.timeout:g} seconds")
        # Unknown hosts and untrusted certificates fail again.
        again = not isinstance(cause, socket.gaierror | ssl.SSLCertVerificationError | ValueError)
        reason = str(getattr(cause, "strerror", None) or cause or type(cause).__name__)
        return TransferError(" ".join(reason.split())[:_LONGEST_REASON], again=again)


def _validator(headers: Message) -> str | None:
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _content_range(headers: Message) -> tuple[int | None, int | None]:
    """First byte and length of the complete file, from `bytes 5-9/10` or `bytes */10`."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", headers.get("Content-Range", "").strip())
    if not found:
        return None, None
    first, total = found.groups()
    return int(first) if first else None, int(total) if total != "*" else None


def _refusal(error: HTTPError) -> TransferError:
    if error.code == 416:
        return TransferError("answered that the rest does not exist", afresh=True)
    if error.code in (301, 302, 303, 307, 308):
        address = error.url or ""
        endless = urlsplit(address).scheme in ("http", "https")
        reason = "redirects without end" if endless else f"redirects to {shown(address, 200)}, which is not followed"
        return TransferError(reason, again=False)
    wait = error.headers.get("Retry-After", "")
    after = float(wait) if re.fullmatch(r"\d{1,4}", wait) else 0.0
    again = error.code >= 500 or error.code in _BUSY
    return TransferError(f"answered {error.code} {shown(error.reason)}", again=again, after=after)
