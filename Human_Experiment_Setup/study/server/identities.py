"""Who arrives: ids in the study's link, checked before anything is written."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

from Human_Experiment_Setup.study.database.schema import ORIGINS
from Human_Experiment_Setup.study.keys import StudyKeys
from Human_Experiment_Setup.study.operations import Arrival, RefusedError
from Human_Experiment_Setup.study.server.context import Mark

PROLIFIC = ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")
PARTICIPANT = "participant"
_PROLIFIC_ID = re.compile(r"[0-9a-f]{24}")
_LAB_CODE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PURPOSE = "arrival"


def prolific_arrival(query: Mapping[str, str], mark: Mark | None) -> Arrival:
    """An arrival from Prolific, whose ids have 24 hexadecimal digits.

    Raises:
        RefusedError: an id is missing, a placeholder such as {{%PROLIFIC_PID%}}, or malformed.
    """
    participant, study, submission = (query.get(name, "") for name in PROLIFIC)
    if not all(_PROLIFIC_ID.fullmatch(each) for each in (participant, study, submission)):
        raise RefusedError("link")
    return Arrival(participant, mark or "prolific", study, submission)


def lab_arrival(code: str, mark: Mark | None) -> Arrival:
    """An arrival in the lab, with the code that the experimenter gave.

    Raises:
        RefusedError: the code is malformed.
    """
    if not _LAB_CODE.fullmatch(code):
        raise RefusedError("lab_link")
    return Arrival(code, mark or "lab")


def preview_arrival() -> Arrival:
    """Someone who only looks: another each time."""
    return Arrival(f"preview-{secrets.token_hex(8)}", "preview")


def signed_arrival(keys: StudyKeys, arrival: Arrival) -> str:
    """An arrival as a form carries it from the information page to consent."""
    return keys.signed(
        _PURPOSE, "\n".join([arrival.participant, arrival.origin, arrival.study_id, arrival.submission_id])
    )


def verified_arrival(keys: StudyKeys, token: str | None) -> Arrival:
    """The arrival of a form that we made.

    Raises:
        RefusedError: it is another's.
    """
    parts = (keys.verified(_PURPOSE, token) or "").split("\n")
    if len(parts) != 4 or parts[1] not in ORIGINS:
        raise RefusedError("link")
    return Arrival(*parts)
