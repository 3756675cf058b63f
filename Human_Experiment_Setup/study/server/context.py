"""What the routes of a server share: the database, the keys, the versions, and how to answer with a page."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from Human_Experiment_Setup.study.database.connection import Database
from Human_Experiment_Setup.study.keys import StudyKeys
from Human_Experiment_Setup.study.protocol import StudyProtocol
from Human_Experiment_Setup.study.versions import LiveVersion, Versions

Mark = Literal["pilot", "simulated"]
SESSION_COOKIE, ADMIN_COOKIE = "study_session", "study_admin"
_DAY = 86_400


def now_in_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Served:
    """A study that is being served.

    Attributes:
        version: the newest, which newcomers get.
        folder: the folder of the pictures.
        root_path: where a reverse proxy shows the study, such as /study; empty at the top.
        mark: what every newcomer's session is marked as, in place of prolific or lab.
        now_ms: the clock.
    """

    database: Database
    keys: StudyKeys
    version: LiveVersion
    folder: Path
    root_path: str = ""
    mark: Mark | None = None
    versions: Versions = field(default_factory=Versions)
    now_ms: Callable[[], int] = now_in_ms

    @property
    def protocol(self) -> StudyProtocol:
        return self.version.protocol

    def url(self, path: str) -> str:
        """A path of ours as browsers ask for it."""
        return f"{self.root_path}/{path}"


def study_of(request: Request) -> Served:
    """The study of this server."""
    found: Served = request.app.state.served
    return found


# FastAPI sends every dependency that is not async to another thread; these only look something up.


async def served(request: Request) -> Served:
    """The study of this server."""
    return study_of(request)


async def session_id(request: Request) -> str:
    """The session that the browser's signed cookie names; empty without a valid one."""
    return study_of(request).keys.verified("session", request.cookies.get(SESSION_COOKIE)) or ""


def cookie_options(request: Request) -> dict[str, Any]:
    """How our cookies are set: not for scripts, not from other sites, and only over TLS where the study is served so."""
    return {
        "httponly": True, "samesite": "lax", "secure": request.url.scheme == "https",
        "path": study_of(request).root_path or "/", "max_age": 7 * _DAY,
    }  # fmt: skip


async def form_of(request: Request) -> Mapping[str, list[str]]:
    """The fields of a form."""
    fields: dict[str, list[str]] = {}
    for name, value in parse_qsl((await request.body()).decode("utf-8", "replace"), max_num_fields=200):
        fields.setdefault(name, []).append(value)
    return fields


TheStudy = Annotated[Served, Depends(served)]
SessionId = Annotated[str, Depends(session_id)]
Form = Annotated[Mapping[str, list[str]], Depends(form_of)]
