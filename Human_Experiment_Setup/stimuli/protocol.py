"""Protocols: the levels of a study, what each does to a picture, and how strongly.

A protocol is a YAML file; the included ones are in `protocols/`.

    about: noise at two strengths
    size: 288
    levels:
      5: {kind: clean}
      2: {kind: benign, method: gaussian_noise, snr_db: 6}
      1: {kind: benign, method: gaussian_noise, snr_db: 0}
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictFloat, StrictInt, StrictStr, model_validator
from pydantic.dataclasses import dataclass

from Activation_Extraction.base.documents import included, named_yaml, read_yaml
from Activation_Extraction.base.errors import InputError, did_you_mean
from Activation_Extraction.base.validation import validated
from Human_Experiment_Setup.stimuli.calibration import MEASURES
from Human_Experiment_Setup.stimuli.perturbations import families

FOLDER = Path(__file__).parents[1] / "protocols"
SMALLEST, LARGEST = 32, 2048
"""Limits of a study's pixels per side; structural similarity needs 11."""
MOST, MOST_LEVELS, HIGHEST_LEVEL = 1_000_000, 100, 1_000_000
"""Limits of counts (pictures of a concept, steps, starting points), of the number of levels and of their numbers."""

_Number = StrictInt | StrictFloat
_Count = Annotated[StrictInt, Field(ge=1, le=MOST)]


def _of_a_family(method: str) -> str:
    if method not in (known := families()):
        raise ValueError(f"one of {', '.join(known)}{did_you_mean(method, known)}")
    return method


def _with_one_place(prompt: str) -> str:
    if prompt.count("{}") != 1:
        raise ValueError
    return prompt


# Levels -------------------------------------------------------------------------------------------------------------


class Level:
    """One level of a study."""

    @property
    def title(self) -> str:
        """What the level does, in a few words; empty for a clean level."""
        return ""


@dataclass(frozen=True, config={"extra": "forbid"})
class CleanLevel(Level):
    """Unchanged pictures, from which the perturbed levels are made."""

    kind: Literal["clean"] = field(default="clean", kw_only=True)


@dataclass(frozen=True, config={"extra": "forbid"})
class BenignLevel(Level):
    """A perturbation that depends on no network: a method of `families()`, and a strength in one of `MEASURES`."""

    kind: Literal["benign"] = field(default="benign", kw_only=True)
    method: Annotated[StrictStr, AfterValidator(_of_a_family)]
    snr_db: Annotated[_Number | None, Field(ge=-60, le=60, description="decibels from -60 to 60")] = None
    rms: Annotated[_Number | None, Field(gt=0, le=1, description="a number above 0, up to 1")] = None
    ssim: Annotated[_Number | None, Field(ge=0, lt=1, description="a number from 0 to below 1")] = None

    @model_validator(mode="after")
    def _has_one_strength(self) -> BenignLevel:
        given = [name for name in MEASURES if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "no strength"
            raise InputError(f"found {found}; expected one of {', '.join(MEASURES)}")
        return self

    @property
    def title(self) -> str:
        return self.method.replace("_", " ")

    @property
    def strength(self) -> tuple[str, float]:
        """Measure and declared value."""
        return next((name, float(getattr(self, name))) for name in MEASURES if getattr(self, name) is not None)


@dataclass(frozen=True, config={"extra": "forbid"})
class AdversarialLevel(Level):
    """Projected gradient descent within a norm bound (Madry et al. 2018).

    Attributes:
        target: "unit", the concept's unit; or "class", the zero-shot probability of the concept among those of the study.
        norm: "linf", the largest difference; or "l2", the RMS over pixels and channels. The usual l2 radius, the length
            of the difference where white is 1, is ours · √(3 · size²) ÷ 255.
        radius: the bound, on the scale of 0 to 255, for the saved picture.
        direction: lower or raise the target.
        steps: number of steps.
        step: length of the first step, as a share of the radius.
        schedule: "constant", or "cosine": steps shrink to 0.
        starts: number of random starting points within the bound; the best result is kept.
        prompt: text for the target "class"; {} is replaced by the concept.
    """

    kind: Literal["adversarial"] = field(default="adversarial", kw_only=True)
    target: Literal["unit", "class"]
    norm: Literal["linf", "l2"]
    radius: Annotated[_Number, Field(ge=1, le=255, description="a number from 1 to 255")]
    direction: Literal["lower", "raise"] = "lower"
    steps: _Count = 40
    step: Annotated[_Number, Field(gt=0, le=2, description="a number above 0, up to 2")] = 0.2
    schedule: Literal["constant", "cosine"] = "cosine"
    starts: _Count = 2
    prompt: Annotated[StrictStr, AfterValidator(_with_one_place), Field(description="a text with one {} in it")] = (
        "a picture of {}"
    )

    @property
    def title(self) -> str:
        return f"pgd {self.norm} {self.direction} {self.target}"

    @property
    def strength(self) -> tuple[str, float]:
        return self.norm, float(self.radius)


@dataclass(frozen=True, config={"extra": "forbid"})
class SyntheticLevel(Level):
    """Renders of what the concept's unit prefers, `images` per concept; None is all."""

    kind: Literal["synthetic"] = field(default="synthetic", kw_only=True)
    images: _Count | None = None

    @property
    def title(self) -> str:
        return "render"


@dataclass(frozen=True, config={"extra": "forbid"})
class ExemplarLevel(Level):
    """Natural pictures that activate the concept's unit "most" or "least", `images` per concept."""

    kind: Literal["exemplar"] = field(default="exemplar", kw_only=True)
    activation: Literal["most", "least"]
    images: _Count = 9

    @property
    def title(self) -> str:
        return f"{self.activation} active"


_LevelNumber = Annotated[
    StrictInt,
    Field(ge=-HIGHEST_LEVEL, le=HIGHEST_LEVEL, description=f"a whole number of up to {HIGHEST_LEVEL:,}"),
]
AnyLevel = Annotated[
    CleanLevel | BenignLevel | AdversarialLevel | SyntheticLevel | ExemplarLevel, Field(discriminator="kind")
]


def _clean_first(levels: Mapping[int, AnyLevel]) -> dict[int, AnyLevel]:
    clean = [number for number, level in levels.items() if isinstance(level, CleanLevel)]
    if len(clean) != 1:
        raise InputError(f"{len(clean)} levels of the kind clean; expected one")
    return {number: levels[number] for number in sorted(levels, key=lambda number: (number not in clean, number))}


@dataclass(frozen=True, config={"extra": "forbid"})
class Protocol:
    """The levels of a study.

    Attributes:
        name: by default the file's name.
        about: one line for people.
        size: pixels per side of every picture.
        levels: number → level, the clean level first, then by number.
        images_per_concept: clean pictures per concept, taken at random; None is all.
    """

    name: StrictStr
    about: StrictStr
    size: Annotated[StrictInt, Field(ge=SMALLEST, le=LARGEST)]
    levels: Annotated[Mapping[_LevelNumber, AnyLevel], Field(max_length=MOST_LEVELS), AfterValidator(_clean_first)]
    images_per_concept: _Count | None = None

    @property
    def clean_level(self) -> int:
        return next(number for number, level in self.levels.items() if isinstance(level, CleanLevel))

    def has(self, *kinds: type[Level]) -> bool:
        """Whether a level is of one of these kinds."""
        return any(isinstance(level, kinds) for level in self.levels.values())

    def as_dict(self) -> dict[str, Any]:
        """All settings, including defaults, as JSON types."""
        levels = {
            str(number): {key: value for key, value in asdict(level).items() if value is not None}
            for number, level in self.levels.items()
        }
        return {
            "name": self.name, "about": self.about, "size": self.size,
            "images_per_concept": self.images_per_concept, "levels": levels,
        }  # fmt: skip


# Reading ------------------------------------------------------------------------------------------------------------


def available_protocols() -> list[str]:
    """Names of the included protocols."""
    return included(FOLDER)


def protocol_path(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a protocol, by a name of `available_protocols` or by its path.

    Raises:
        InputError: no such protocol.
    """
    return named_yaml(name_or_path, FOLDER, "protocol")


def read_protocol(name_or_path: str | os.PathLike[str]) -> Protocol:
    """Read a protocol by name, or from a YAML file.

    Raises:
        InputError: no such protocol; or all unknown, missing and duplicate keys and wrong values in it.
    """
    path = protocol_path(name_or_path)
    content = read_yaml(path)
    named = {"name": path.stem, **content} if isinstance(content, dict) else content
    return validated(Protocol, named, path.stem if path.parent == FOLDER else str(path))
