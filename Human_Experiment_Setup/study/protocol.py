"""Study protocols: what participants read, see and are asked, how answers are judged, and who is left out.

A protocol is a YAML file; the included ones are in `protocols/study/`. It is the pre-registration of a study: the server
keeps every version that it has run in the database, and each session belongs to one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictStr, model_validator

from Activation_Extraction.base.documents import included, named_yaml, read_yaml
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.validation import validated
from Human_Experiment_Setup.study.protocol_parts import (
    Catch,
    Check,
    Completion,
    Count,
    Exclusions,
    Line,
    Part,
    Text,
    Timing,
    Trap,
)
from Human_Experiment_Setup.study.trials.kinds import Settings, TrialKind, trial_kind, trial_kinds
from Human_Experiment_Setup.study.wording import ENGLISH, Wording, complete_wording

FOLDER = Path(__file__).parents[1] / "protocols" / "study"
PLACE_TO_FILL = re.compile(r"\[FILL IN[^\]]*\]")
HIGHEST_LEVEL = 1_000_000

_Level = Annotated[int, Field(ge=-HIGHEST_LEVEL, le=HIGHEST_LEVEL)]


def _distinct(levels: list[int]) -> list[int]:
    if len(set(levels)) < len(levels):
        raise ValueError("each level once")
    return levels


class StudyProtocol(Part):
    """A study.

    Attributes:
        name: by default the file's name.
        about: one line for its makers.
        title: one line for participants.
        language: of all texts, as in HTML (en, de, pt-BR).
        wording: texts of buttons and messages, in place of the English ones.
        levels: of the stimuli, those that are shown; the first is the clean one.
        ratings_per_image: participants that each picture is shown to.
        trials_per_participant: pictures that each participant is shown, beside practice and catch trials.
        levels_per_participant: mixed, or one: a participant's pictures, practice and catch trials aside, are of one level.
        trial: kind of trial, and its settings.
        practice: trials before the study, with clean pictures; their answers are kept and never exported as data.
        break_every: trials between two breaks; without it, none.
        information, consent, retention, debrief: texts. A line "- …" is an item of a list, a blank line a new paragraph.
        consent: statements that a participant must agree to, one by one.
        scoring: rules of `interpscore study score`, which checks them.
        seed: of the balanced plan.
    """

    name: StrictStr
    about: Line
    title: Line
    language: Annotated[StrictStr, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", description="a language such as en")] = "en"  # fmt: skip
    wording: Annotated[Wording, AfterValidator(complete_wording)] = Field(default_factory=dict)
    levels: Annotated[list[_Level], Field(min_length=1, max_length=100), AfterValidator(_distinct)]
    ratings_per_image: Count
    trials_per_participant: Annotated[int, Field(ge=1, le=2000)]
    levels_per_participant: Literal["mixed", "one"] = "mixed"
    trial: dict[str, Any]
    practice: Annotated[int, Field(ge=0, le=20)] = 0
    break_every: Count | None = None
    information: Text
    consent: Annotated[list[Text], Field(min_length=1, max_length=20)]
    retention: Text
    instructions: Text
    checks: Annotated[list[Check], Field(max_length=10)] = Field(default_factory=list)
    catch: Catch | None = None
    traps: Annotated[list[Trap], Field(max_length=20)] = Field(default_factory=list)
    timing: Timing = Field(default_factory=Timing)
    debrief: Text
    completion: Completion
    exclusions: Exclusions = Field(default_factory=Exclusions)
    scoring: dict[str, Any] = Field(default_factory=dict)
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _is_of_a_kind(self) -> StudyProtocol:
        if not self.kind.has_picture:
            raise InputError(f"trial: the kind {self.kind.name} shows no picture; expected one that does")
        _ = self.settings
        if self.language.partition("-")[0] != "en" and (missing := sorted(set(ENGLISH) - set(self.wording))):
            raise InputError(f"wording: no {', '.join(missing)}; expected all texts in the language {self.language}")
        return self

    @property
    def kind(self) -> TrialKind:
        """The kind of its trials."""
        name = self.trial.get("kind")
        if not isinstance(name, str):
            raise InputError(f"trial: no key 'kind'; expected one of {', '.join(trial_kinds())}")
        return trial_kind(name)

    @cached_property
    def settings(self) -> Settings:
        """The settings of its trials."""
        rest = {key: value for key, value in self.trial.items() if key != "kind"}
        return validated(self.kind.settings, rest, f"trial {self.kind.name}")

    @cached_property
    def texts(self) -> Mapping[str, str]:
        """Wording of buttons and messages, complete."""
        return ENGLISH | dict(self.wording)

    @property
    def clean_level(self) -> int:
        return self.levels[0]

    def as_dict(self) -> dict[str, Any]:
        """All settings, including defaults, as JSON types."""
        return self.model_dump(mode="json")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all settings: another one is another version."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()


# Places to fill -------------------------------------------------------------------------------------------------------


def places_to_fill(protocol: StudyProtocol) -> list[str]:
    """A line for each place of a template that nobody has filled yet: where it is, and what it asks for."""
    return [f"{path}: {found}" for path, text in _texts_in(protocol.as_dict()) for found in PLACE_TO_FILL.findall(text)]


def _texts_in(content: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(content, str):
        yield path, content
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from _texts_in(value, f"{path}.{key}" if path else str(key))


def refuse_places_to_fill(protocol: StudyProtocol, source: str) -> None:
    """Refuse a protocol that still has places to fill.

    Raises:
        InputError: one line for each.
    """
    if found := places_to_fill(protocol):
        raise InputError([f"{source}, {place} is not filled in; expected your own text" for place in found])


# Reading --------------------------------------------------------------------------------------------------------------


def available_study_protocols() -> list[str]:
    """Names of the included protocols."""
    return included(FOLDER)


def study_protocol_path(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a study protocol, by a name of `available_study_protocols` or by its path.

    Raises:
        InputError: no such protocol.
    """
    return named_yaml(name_or_path, FOLDER, "study protocol")


def read_study_protocol(name_or_path: str | os.PathLike[str]) -> StudyProtocol:
    """Read a study protocol by name, or from a YAML file.

    Raises:
        InputError: no such protocol; or all unknown, missing and duplicate keys and wrong values in it.
    """
    path = study_protocol_path(name_or_path)
    content = read_yaml(path)
    named = {"name": path.stem, **content} if isinstance(content, dict) else content
    return validated(StudyProtocol, named, path.stem if path.parent == FOLDER else str(path))
