"""Limits of requests: their rate by address and by session, and the size of their bodies. Addresses are kept in memory alone."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 64 * 1024
LONGEST_QUERY = 4096


@dataclass(frozen=True)
class Rate:
    """At most `burst` at once, and `per_second` on average."""

    burst: float
    per_second: float


EVERYTHING = Rate(burst=4000, per_second=400)
"""Of one address: a lab, a university or a proxy without X-Forwarded-For may send all participants from one."""
ANSWERS = Rate(burst=60, per_second=3)
"""Of one session; nobody answers faster for long."""
LOGINS = Rate(burst=5, per_second=1 / 30)
"""Of one address, to the admin page."""


class Buckets:
    """Token buckets by key; the longest unused are forgotten."""

    def __init__(self, rate: Rate, most: int = 20_000) -> None:
        self._rate, self._most = rate, most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> bool:
        """Whether one more is within the rate; it is then counted."""
        now = time.monotonic()
        left, before = self._left.pop(key, (self._rate.burst, now))
        left = min(self._rate.burst, left + (now - before) * self._rate.per_second)
        allowed = left >= 1
        self._left[key] = (left - 1 if allowed else left, now)
        while len(self._left) > self._most:
            self._left.popitem(last=False)
        return allowed


class LimitRequests:
    """Middleware: refuses requests beyond the rate (429), and bodies (413) and queries (414) beyond their length."""

    def __init__(self, app: ASGIApp, rate: Rate = EVERYTHING) -> None:
        self._app, self._addresses = app, Buckets(rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not self._addresses.take(address_of(scope)):
            await _refuse(send, 429, b"Too many requests. Please wait a moment, then reload the page.")
            return
        if len(scope["query_string"]) > LONGEST_QUERY:
            await _refuse(send, 414, b"The address is too long.")
            return
        body = await _whole_body(receive)
        if body is None:
            await _refuse(send, 413, b"The request is too large.")
            return
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Message:
            return next(messages, None) or await receive()

        await self._app(scope, replay, send)


def address_of(scope: Scope) -> str:
    """Where a request comes from; never written anywhere."""
    client = scope.get("client")
    return client[0] if client else ""


async def _whole_body(receive: Receive) -> bytes | None:
    """The body; None if it is too large."""
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > LARGEST_BODY:
            return None
        if not message.get("more_body", False):
            return body


async def _refuse(send: Send, status: int, text: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"2"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
