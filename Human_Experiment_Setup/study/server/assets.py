"""Files that browsers load: scripts and styles, each by a name of a fixed list, with a hash so that none is stale."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter
from fastapi.responses import Response

from Activation_Extraction.base.files import read_bytes
from Human_Experiment_Setup.study.operations import RefusedError
from Human_Experiment_Setup.study.trials.kinds import trial_kinds

STATIC = Path(__file__).parents[2] / "static"
FILES = {
    "study.css": "text/css", "admin.css": "text/css", "icon.svg": "image/svg+xml", "study.js": "text/javascript",
    "signals.js": "text/javascript", "saving.js": "text/javascript", "form.js": "text/javascript", "vendor/jspsych.js": "text/javascript",
}  # fmt: skip
"""Name → media type."""

router = APIRouter()


class Asset(NamedTuple):
    """A file as it is sent."""

    content: bytes
    media_type: str
    digest: str


@cache
def assets() -> Mapping[str, Asset]:
    """Every file by its name; scripts of trial kinds are `trials/<kind>.js`."""
    paths = {name: (STATIC / name, media_type) for name, media_type in FILES.items()}
    paths |= {f"trials/{name}.js": (kind.script, "text/javascript") for name, kind in trial_kinds().items()}
    found = {}
    for name, (path, media_type) in paths.items():
        content = read_bytes(path)
        found[name] = Asset(content, media_type, hashlib.sha256(content).hexdigest()[:12])
    return found


def asset_url(name: str) -> str:
    """The path of a file below the study's."""
    return f"static/{assets()[name].digest}/{name}"


@router.get("/static/{digest}/{name:path}")
def get_asset(digest: str, name: str) -> Response:
    found = assets().get(name)
    if found is None:
        raise RefusedError("not_found")
    fresh = "public, max-age=31536000, immutable" if digest == found.digest else "no-store"
    return Response(found.content, media_type=found.media_type, headers={"Cache-Control": fresh})
