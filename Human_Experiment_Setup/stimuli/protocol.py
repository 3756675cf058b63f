"""Protocols: which levels a study has, what is done to a picture at each, and how strongly.

A protocol is a YAML file; those that come with the package stand in `protocols/`.

    about: noise at two strengths
    size: 288
    levels:
      5: {kind: clean}
      2: {kind: benign, method: gaussian_noise, snr_db: 6}
      1: {kind: benign, method: gaussian_noise, snr_db: 0}
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import yaml

from Activation_Extraction.base.errors import InputError, did_you_mean, shown
from Human_Experiment_Setup.stimuli.calibration import MEASURES, NORMS
from Human_Experiment_Setup.stimuli.perturbations import FAMILIES

FOLDER = Path(__file__).parents[1] / "protocols"
SMALLEST, LARGEST = 32, 2048
"""Pixels a side that a study may have; structural similarity needs 11."""


# What a field may hold ----------------------------------------------------------------------------------------------


def _one_of(choices: Iterable[str], default: Any = MISSING) -> Any:
    known = list(choices)

    def check(value: object) -> str | None:
        if value in known:
            return None
        return f"one of {', '.join(known)}{did_you_mean(value, known)}"

    return field(default=default, metadata={"check": check})


def _number(expected: str, fits: Callable[[float], bool], default: Any = MISSING) -> Any:
    def check(value: object) -> str | None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return None if (value is None and default is None) or (is_number and fits(float(value))) else expected  # type: ignore[arg-type]

    return field(default=default, metadata={"check": check})


def _whole(least: int, default: Any = MISSING) -> Any:
    def check(value: object) -> str | None:
        if (value is None and default is None) or (type(value) is int and value >= least):
            return None
        return f"a whole number from {least}"

    return field(default=default, metadata={"check": check})


# Levels -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Level:
    """What is done at one level.

    Raises:
        InputError: a value that a field cannot hold.
    """

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        problems = []
        for each in fields(self):
            value = getattr(self, each.name)
            if expected := each.metadata["check"](value):
                problems.append(f"{each.name}: found {shown(value)}; expected {expected}")
        if problems:
            raise InputError(problems)

    @property
    def title(self) -> str:
        """What is done, in a few words; nothing for a clean level."""
        return ""


@dataclass(frozen=True)
class CleanLevel(Level):
    """The pictures as they are; the others are made from these."""

    kind: ClassVar[str] = "clean"


@dataclass(frozen=True)
class BenignLevel(Level):
    """A perturbation that no network chose.

    Attributes:
        method: of `FAMILIES`.
        snr_db, rms, ssim: the strength, in one of `MEASURES`.
    """

    kind: ClassVar[str] = "benign"
    method: str = _one_of(FAMILIES)
    snr_db: float | None = _number("a number of decibels", lambda x: -60 <= x <= 60, None)
    rms: float | None = _number("a number above 0, up to 1", lambda x: 0 < x <= 1, None)
    ssim: float | None = _number("a number from 0 to below 1", lambda x: 0 <= x < 1, None)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in MEASURES if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise InputError(f"strength: found {found}; expected one of {', '.join(MEASURES)}")

    @property
    def title(self) -> str:
        return self.method.replace("_", " ")

    @property
    def strength(self) -> tuple[str, float]:
        """The measure it is declared in, and how much of it."""
        return next((name, float(getattr(self, name))) for name in MEASURES if getattr(self, name) is not None)


@dataclass(frozen=True)
class AdversarialLevel(Level):
    """Projected gradient descent within a norm bound (Madry et al. 2018).

    Attributes:
        target: "unit", the concept's unit; or "class", the probability that the model's text tower gives the concept
            among those of the study.
        direction: whether that is lowered or raised.
        norm: of `NORMS`. The usual radius of "l2", the length of the difference where white is 1, is ours · √(3 · size²)
            ÷ 255, and grows with the picture.
        radius: the bound, in levels of 255, on the picture as it is saved.
        steps: of the descent.
        step: length of the first, as a share of the radius.
        schedule: "constant", or "cosine": steps shorten to none.
        starts: random points within the bound from which it descends; the best end is taken.
        prompt: the text for a concept, which stands where {} does; for the target "class".
    """

    kind: ClassVar[str] = "adversarial"
    target: str = _one_of(("unit", "class"))
    norm: str = _one_of(NORMS)
    radius: float = _number("a number of levels, from 1 to 255", lambda x: 1 <= x <= 255)
    direction: str = _one_of(("lower", "raise"), "lower")
    steps: int = _whole(1, 40)
    step: float = _number("a number above 0, up to 2", lambda x: 0 < x <= 2, 0.2)
    schedule: str = _one_of(("constant", "cosine"), "cosine")
    starts: int = _whole(1, 2)
    prompt: str = field(
        default="a picture of {}",
        metadata={"check": lambda x: None if isinstance(x, str) and x.count("{}") == 1 else "a text with one {} in it"},
    )

    @property
    def title(self) -> str:
        return f"pgd {self.norm} {self.direction} {self.target}"

    @property
    def strength(self) -> tuple[str, float]:
        return self.norm, float(self.radius)


@dataclass(frozen=True)
class SyntheticLevel(Level):
    """Renders of what the concept's unit prefers.

    Attributes:
        images: renders a concept; None is all that there are.
    """

    kind: ClassVar[str] = "synthetic"
    images: int | None = _whole(1, None)

    @property
    def title(self) -> str:
        return "render"


@dataclass(frozen=True)
class ExemplarLevel(Level):
    """Natural pictures by what they do to the concept's unit.

    Attributes:
        activation: those that activate it "most", or "least".
        images: pictures a concept.
    """

    kind: ClassVar[str] = "exemplar"
    activation: str = _one_of(("most", "least"))
    images: int = _whole(1, 9)

    @property
    def title(self) -> str:
        return f"{self.activation} active"


KINDS: Mapping[str, type[Level]] = {
    level.kind: level for level in (CleanLevel, BenignLevel, AdversarialLevel, SyntheticLevel, ExemplarLevel)
}


@dataclass(frozen=True)
class Protocol:
    """The levels of a study.

    Attributes:
        name: of the file.
        about: one line for people.
        size: pixels a side of every picture of the study.
        levels: number → what is done, the clean level first, then as numbered.
        images_per_concept: clean pictures of each concept, taken at random; None is all.
    """

    name: str
    about: str
    size: int
    levels: Mapping[int, Level]
    images_per_concept: int | None = None

    @property
    def clean_level(self) -> int:
        return next(number for number, level in self.levels.items() if isinstance(level, CleanLevel))

    def has(self, *kinds: type[Level]) -> bool:
        """Whether a level is of one of these kinds."""
        return any(isinstance(level, kinds) for level in self.levels.values())

    def as_dict(self) -> dict[str, Any]:
        """Everything that it says, defaults included, for JSON."""
        levels = {str(number): {"kind": level.kind, **asdict(level)} for number, level in self.levels.items()}
        said = {
            number: {key: value for key, value in level.items() if value is not None}
            for number, level in levels.items()
        }
        return {
            "name": self.name, "about": self.about, "size": self.size,
            "images_per_concept": self.images_per_concept, "levels": said,
        }  # fmt: skip


# Reading ------------------------------------------------------------------------------------------------------------


def available_protocols() -> list[str]:
    """The names of the protocols that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def protocol_path(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a protocol, by a name of `available_protocols` or by its path.

    Raises:
        InputError: there is none; tells the nearest name.
    """
    path = Path(name_or_path)
    if path.suffix.lower() in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise InputError(
            f"protocol {path}: no such file; expected a YAML file, or one of {', '.join(available_protocols())}"
        )
    known = available_protocols()
    if str(name_or_path) in known:
        return FOLDER / f"{name_or_path}.yaml"
    near = did_you_mean(str(name_or_path), known)
    raise InputError(
        f"protocol: found {shown(name_or_path)}{near}; expected one of {', '.join(known)}, or a .yaml file"
    )


def read_protocol(name_or_path: str | os.PathLike[str]) -> Protocol:
    """Read a protocol by name, or from a YAML file.

    Raises:
        InputError: no such protocol; a key that is misspelt, missing or stands twice; a value that it cannot hold. All
            problems at once, each with the nearest key.
    """
    path = protocol_path(name_or_path)
    source = path.stem if path.parent == FOLDER else str(path)
    try:
        said = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{source}: cannot be read ({error}); expected a protocol in YAML") from None
    except yaml.YAMLError as error:
        raise InputError(f"{source}: not YAML ({' '.join(str(error).split())}); expected a protocol") from None
    if not isinstance(said, dict):
        raise InputError(f"{source}: found {shown(said)}; expected keys such as about, size and levels")
    problems: list[str] = []
    known = [each.name for each in fields(Protocol) if each.name != "name"]
    problems += _misspelt(source, said, known)
    problems += [f"{source}: no key '{key}'" for key in ("about", "size", "levels") if key not in said]
    problems += _whole_between(source, said, "size", SMALLEST, LARGEST)
    problems += _whole_between(source, said, "images_per_concept", 1, None)
    levels = said.get("levels", {})
    if not isinstance(levels, dict) or (not levels and "levels" in said):
        problems.append(f"{source}, levels: found {shown(levels)}; expected a level such as 5: {{kind: clean}}")
        levels = {}
    read: dict[int, Level] = {}
    for number, keys in levels.items():
        try:
            read[number] = _level(f"{source}, level {number}", number, keys)
        except InputError as error:
            problems += error.problems
    clean = [number for number, level in read.items() if isinstance(level, CleanLevel)]
    if not problems and len(clean) != 1:
        problems.append(f"{source}: {len(clean)} levels of the kind clean; expected one")
    if problems:
        raise InputError(problems)
    ordered = {number: read[number] for number in sorted(read, key=lambda number: (number not in clean, number))}
    return Protocol(path.stem, str(said["about"]), said["size"], ordered, said.get("images_per_concept"))


def _level(place: str, number: object, said: object) -> Level:
    if not isinstance(number, int) or isinstance(number, bool):
        raise InputError(f"{place}: found {shown(number)}; expected a whole number")
    if not isinstance(said, dict) or "kind" not in said:
        raise InputError(f"{place}: no key 'kind'; expected one of {', '.join(KINDS)}")
    kind = said["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(
            f"{place}, kind: found {shown(kind)}{did_you_mean(str(kind), KINDS)}; expected one of {', '.join(KINDS)}"
        )
    known = fields(KINDS[kind])
    problems = _misspelt(place, said, ["kind", *(each.name for each in known)])
    problems += [
        f"{place}: no key '{each.name}'" for each in known if each.default is MISSING and each.name not in said
    ]
    if problems:
        raise InputError(problems)
    try:
        return KINDS[kind](**{key: value for key, value in said.items() if key != "kind"})
    except InputError as error:
        raise InputError(f"{place}, {problem}" for problem in error.problems) from None


def _misspelt(place: str, said: Mapping[Any, object], known: Iterable[str]) -> list[str]:
    known = list(known)
    return [
        f"{place}: no such key {shown(key)}{did_you_mean(str(key), known)}; expected {', '.join(known)}"
        for key in said
        if key not in known
    ]


def _whole_between(source: str, said: Mapping[str, object], key: str, least: int, most: int | None) -> list[str]:
    value = said.get(key)
    if value is None or (type(value) is int and least <= value and (most is None or value <= most)):
        return []
    upto = "" if most is None else f" to {most:,}"
    return [f"{source}, {key}: found {shown(value)}; expected a whole number from {least}{upto}"]


class _UniqueKeys(yaml.SafeLoader):
    """Plain YAML in which no key may stand twice: the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise yaml.constructor.ConstructorError(None, None, f"the key '{twice[0]}' stands twice", node.start_mark)
        return super().construct_mapping(node, deep)
