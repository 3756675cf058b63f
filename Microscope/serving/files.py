"""Files of a folder over HTTP: regular files below it and nothing else, cached for ever where their name has a hash."""

from __future__ import annotations

import gzip
import mimetypes
import os
import re
from functools import lru_cache
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from Activation_Extraction.base.files import check_file, read_bytes
from Microscope.serving.opening import is_address

PAGES = Path(__file__).parents[1] / "pages"

_HASHED = re.compile(r"\.[0-9a-f]{12}\.\w+$")
_FOR_EVER = "public, max-age=31536000, immutable"
_AT_ONCE = 2**22
"""Bytes of a file that is sent whole: in pieces, each would wait for a thread."""
_INERT = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}
"""Of a bundle's files: whatever is in them, no browser runs it as a page of ours."""


class Files(StaticFiles):
    """Regular files of one folder; links, hidden files and whatever is outside are not found.

    Names with a hash are immutable; others are asked for again each time and answered with 304 where they are the same.
    """

    def __init__(self, folder: Path, *, inert: bool, html: bool = False) -> None:
        super().__init__(directory=folder, html=html)
        self._folder, self._inert = folder.absolute(), inert

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """The file of a path of a request, with its status; None where there is no such file."""
        place = self._folder / path
        if any(part.startswith(".") for part in Path(path).parts if part != "."):
            return "", None
        try:
            if place.is_dir() and self.html:
                return super().lookup_path(path)
            return str(place), check_file(place, within=self._folder)
        except OSError:
            return "", None

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """The file, or 304 where the browser has it."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = _FOR_EVER if _HASHED.search(str(full_path)) else "no-cache"
        if self._inert:
            response.headers.update(_INERT)
        headers = Headers(scope=scope)
        plain = scope["method"] == "GET" and response.status_code == 200 and "range" not in headers
        if not plain:
            return response
        kept = {name: value for name, value in response.headers.items() if name != "content-length"}
        if str(full_path).endswith((".json", ".js", ".css")) and "gzip" in headers.get("accept-encoding", ""):
            content = _compressed(str(full_path), stat_result.st_mtime_ns, stat_result.st_size)
            return Response(content, headers=kept | {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"})
        if stat_result.st_size <= _AT_ONCE:
            return Response(read_bytes(Path(full_path), self._folder), headers=kept)
        return response


@lru_cache(maxsize=512)
def _compressed(path: str, modified: int, size: int) -> bytes:
    """A file compressed once, not for each user: Streamlit would do so each time."""
    return gzip.compress(read_bytes(Path(path)), 6)


def path_of_pages(prefix: str) -> str:
    """Where the pages are on the server of an app below a prefix; the bundle is at `bundle/` below.

    >>> path_of_pages(""), path_of_pages("/a/b/")
    ('/microscope', '/a/b/microscope')
    """
    return f"/{prefix.strip('/')}/microscope".replace("//", "/")


def scripts_at_first() -> list[str]:
    """Scripts that every page needs, as `index.html` names them."""
    page = read_bytes(PAGES / "index.html").decode()
    return re.findall(r'<link rel="modulepreload" href="([\w.]+)">', page)


def routes_of(place: str, prefix: str = "") -> list[Mount]:
    """What a server shows beside the app: the pages, and the bundle where it is a folder.

    Args:
        place: a folder or an address.
        prefix: `server.baseUrlPath` of Streamlit, which it does not put before routes of others.
    """
    for ending, kind in ((".js", "text/javascript"), (".webp", "image/webp")):
        mimetypes.add_type(kind, ending)  # not what a registry of the machine says
    root = path_of_pages(prefix)
    pages = Mount(root, Files(PAGES, inert=False, html=True))
    return [pages] if is_address(place) else [Mount(f"{root}/bundle", Files(Path(place), inert=True)), pages]
