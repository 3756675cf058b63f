"""Pictures by opaque names, to participants of the study and its makers alone."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import select

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.files import read_bytes
from Human_Experiment_Setup.study.database.schema import Picture
from Human_Experiment_Setup.study.operations import RefusedError
from Human_Experiment_Setup.study.server.context import Served, SessionId, TheStudy
from Human_Experiment_Setup.study.stimuli_table import media_type_of

router = APIRouter()


@router.get("/pictures/{token}")
def get_picture(token: str, study: TheStudy, session_id: SessionId, request: Request) -> Response:
    """A picture of any version; its name tells neither concept nor level."""
    name = picture_path(study, token) if session_id else None
    if name is None:
        raise RefusedError("not_found")
    path = study.folder / name
    try:
        content, media_type = read_bytes(path, study.folder), media_type_of(path, study.folder)
    except (OSError, InputError):
        raise RefusedError("not_found") from None
    return Response(content, media_type=media_type, headers={"Cache-Control": "private, max-age=86400, immutable"})


def picture_path(study: Served, token: str) -> str | None:
    """The file of a picture, relative to the stimuli's folder; None of an unknown name."""
    for picture, known in study.version.tokens.items():
        if known == token:
            return study.version.stimuli[picture].image
    with study.database.reading() as session:  # of an older version
        return session.scalar(select(Picture.path).where(Picture.token == token))
