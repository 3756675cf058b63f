"""A kind of trial: a jsPsych plug-in, the answers that the server accepts, and the columns that an export makes of them.

Other packages add kinds by entry point of the group `interpscore.trials`; docs/study.md shows one.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from Activation_Extraction.base.errors import InputError, did_you_mean
from Activation_Extraction.base.extensions import registered

if TYPE_CHECKING:
    from Human_Experiment_Setup.study.simulation.people import Person

ENTRY_POINT_GROUP = "interpscore.trials"
Cell = str | float | int | bool | None


class Settings(BaseModel):
    """What a protocol says of a trial, beside its kind. Everything in it is sent to the browser."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Answer(BaseModel):
    """What the browser sends as the answer to a trial."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def no_columns(answer: Any) -> Mapping[str, Cell]:
    """Of answers that no export holds."""
    return {}


def names_nothing(answer: Any, accepted: Sequence[str]) -> bool | None:
    """Of answers without words: whether they name one of the accepted words is unknown."""
    return None


@dataclass(frozen=True)
class TrialKind:
    """A kind of trial.

    Attributes:
        name: as protocols write it.
        about: one line for people.
        script: a JavaScript file that sets `interpscoreTrials[name]` to the class of a jsPsych plug-in. Its trials have
            the parameters `picture` (an image element, already loaded), `settings`, `wording` and `minimum_ms`, and end
            with `finishTrial({answer, signals})`.
        settings: what the protocol may say.
        answer: the answer's schema; its `model_validate` is given the settings as context.
        columns: an answer as columns of an export, which scoring reads.
        names: whether an answer names one of the accepted words; None where that is unknown. Catch trials are judged by it.
        has_picture: whether it shows one.
        simulated: the answer of a simulated participant to a picture (a `Stimulus`; None if the kind has none) under these
            settings; without it, `interpscore study simulate` refuses the kind.
    """

    name: str
    about: str
    script: Path
    settings: type[Settings]
    answer: type[Answer]
    columns: Callable[[Any], Mapping[str, Cell]] = no_columns
    names: Callable[[Any, Sequence[str]], bool | None] = names_nothing
    has_picture: bool = True
    simulated: Callable[[Person, Any, Mapping[str, Any]], Mapping[str, Any]] | None = None


def trial_kinds() -> Mapping[str, TrialKind]:
    """Name → kind: ours, and those that other packages register.

    Raises:
        InputError: a package's kind is broken, or has a name that is taken.
    """
    return _registered(tuple(sys.path))


def trial_kind(name: str) -> TrialKind:
    """The kind of a name.

    Raises:
        InputError: there is none.
    """
    known = trial_kinds()
    if name not in known:
        raise InputError(f"trial: found {name!r}; expected one of {', '.join(known)}{did_you_mean(name, known)}")
    return known[name]


@cache
def _registered(path: tuple[str, ...]) -> Mapping[str, TrialKind]:
    """The kinds that are installed on this search path."""
    from Human_Experiment_Setup.study.trials.naming import NAMING
    from Human_Experiment_Setup.study.trials.question import QUESTION

    kinds = {kind.name: kind for kind in (NAMING, QUESTION)}
    for name, source, kind in registered(ENTRY_POINT_GROUP, "trial"):
        if not isinstance(kind, TrialKind):
            raise InputError(f"{source}: found {type(kind).__name__}; expected a TrialKind")
        if name in kinds:
            raise InputError(f"{source}: the name is taken; expected another")
        if kind.name != name:
            raise InputError(f"{source}: its kind is called {kind.name!r}; expected the name of the entry point")
        if not kind.script.is_file():
            raise InputError(f"{source}: {kind.script}: no such file; expected the script of a jsPsych plug-in")
        kinds[name] = kind
    return kinds


def clean_text(text: Any) -> Any:
    r"""What a person typed, without what they cannot mean: control characters become spaces, half an emoji U+FFFD.

    What is no text stays, for validation to refuse.

    >>> clean_text(" fire\x00works\n"), clean_text("\ud800")
    ('fire works', '\ufffd')
    """
    if not isinstance(text, str):
        return text
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "".join(" " if unicodedata.category(c) == "Cc" else c for c in whole).strip()
