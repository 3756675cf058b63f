"""Connections of downloads: http and https alone, redirects that never leave https, heads of answers in time."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import IO
from urllib import request as web
from urllib.parse import urlsplit

from Activation_Extraction.base.downloads.sources import TransferError
from Activation_Extraction.base.errors import shown


def opener() -> web.OpenerDirector:
    """An opener for http and https only, with the proxies of the environment."""
    opener = web.OpenerDirector()
    for handler in (
        web.ProxyHandler(), _Connections(), _Redirects(),
        web.HTTPDefaultErrorHandler(), web.HTTPErrorProcessor(), web.UnknownHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener


class _Head:
    """Of a connection: the head of an answer must be there in the time for a byte, however slowly its bytes come."""

    sock: socket.socket
    timeout: float | None

    def getresponse(self) -> HTTPResponse:
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self.timeout or 0, end)
        timer.daemon = True
        timer.start()
        try:
            answer: HTTPResponse = super().getresponse()  # type: ignore[misc]
        except (OSError, HTTPException):
            if is_late.is_set():
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()
        return answer


class _Plain(_Head, HTTPConnection):
    pass


class _Encrypted(_Head, HTTPSConnection):
    pass


class _Connections(web.AbstractHTTPHandler):
    """Opens http and https."""

    http_request = https_request = web.AbstractHTTPHandler.do_request_

    def http_open(self, request: web.Request) -> HTTPResponse:
        return self.do_open(_Plain, request)

    def https_open(self, request: web.Request) -> HTTPResponse:
        return self.do_open(_Encrypted, request, context=ssl.create_default_context())


class _Redirects(web.HTTPRedirectHandler):
    """Follows redirects to http and https, never from https to http, and keeps the requested range."""

    http_error_308 = web.HTTPRedirectHandler.http_error_302  # Python 3.10 lacks it

    def redirect_request(
        self, req: web.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> web.Request:
        before, after = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if after not in ("http", "https") or (before, after) == ("https", "http"):
            fp.close()
            raise TransferError(f"redirects to {shown(newurl, 200)}, which is not followed", again=False)
        return web.Request(newurl, headers=dict(req.headers), origin_req_host=req.origin_req_host, unverifiable=True)
