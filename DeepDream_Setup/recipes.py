"""Recipes: everything that decides what a render looks like, in one YAML file.

`microscope`, `paper` and `study` come with the package (`recipes/`); a path to a file of one's own is read alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from Activation_Extraction.base.errors import InputError, first_line, shown
from DeepDream_Setup.transforms import Transforms

FOLDER = Path(__file__).with_name("recipes")

PARAMETRIZATIONS = ("pixel", "fourier", "maco")
READINGS = ("channel", "neuron", "cosine")
"""Of a unit: mean over its map, the centre of it, the mean weighted by the cosine of each position."""

TERMS = (*READINGS, "facet", "diversity", "layer_energy", "l2_to_grey", "total_variation")


@dataclass(frozen=True)
class Recipe:
    """How images are made.

    Attributes:
        parametrization: of `PARAMETRIZATIONS`.
        objective: terms of `TERMS` → their weights; exactly one of them is of `READINGS`. What is to be small
            (diversity is how alike images are) has a negative weight.
        steps: of Adam.
        learning_rate: of Adam, on the parameters.
        starts: images that are started from; a unit gets an image from each.
        transforms: how views vary.
        size: pixels a side; below 1 it is a part of the side that the network takes.
        rescue_steps: first steps in which gradients reach dead units.
        facet_layer: layer at which the facets' probes read.
    """

    parametrization: str = "fourier"
    objective: Mapping[str, float] = field(default_factory=lambda: {"channel": 1.0})
    steps: int = 256
    learning_rate: float = 0.05
    starts: tuple[str, ...] = ("fourier",)
    transforms: Transforms = field(default_factory=Transforms)
    size: float = 1.0
    rescue_steps: int = 16
    facet_layer: str | None = None

    @property
    def reading(self) -> str:
        """The term of `READINGS` in the objective."""
        return next(term for term in self.objective if term in READINGS)

    def as_json(self) -> dict[str, Any]:
        """In the types that JSON has."""
        return {**asdict(self), "starts": list(self.starts), "objective": dict(self.objective)}

    def side(self, network_side: int) -> int:
        """Pixels a side of the images, for a network that takes `network_side`."""
        return int(self.size) if self.size > 1 else max(8, round(self.size * network_side))

    def with_starts(self, starts: list[str]) -> Recipe:
        """The same, started from other images."""
        return replace(self, starts=tuple(starts))


def read_recipe(name: str) -> Recipe:
    """A recipe by its name, or of a YAML file.

    Raises:
        InputError: no such recipe; no YAML; a key or value that a recipe does not have, with the nearest key.
    """
    path = FOLDER / f"{name}.yaml" if name in known_recipes() else Path(name)
    if not path.is_file():
        raise InputError(f"recipe: found {shown(name)}; expected {', '.join(known_recipes())}, or a YAML file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: no YAML ({' '.join(first_line(error).split())}); expected a recipe") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: found {shown(content)}; expected keys of a recipe, such as steps: 256")
    return _recipe(content, str(path))


def known_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def _recipe(content: Mapping[str, Any], source: str) -> Recipe:
    _check_keys(content, [entry.name for entry in fields(Recipe)], source)
    values = dict(content)
    for key, least in (("steps", 1), ("rescue_steps", 0)):
        if key in values and not (type(values[key]) is int and values[key] >= least):
            raise InputError(f"{source}, {key}: found {shown(values[key])}; expected a whole number from {least}")
    size = values.get("size", 1.0)
    if not (type(size) is int and size >= 8) and not (type(size) is float and 0 < size <= 1):
        raise InputError(f"{source}, size: found {shown(size)}; expected pixels from 8, or a part such as 0.5")
    if "learning_rate" in values:
        values["learning_rate"] = _number(values["learning_rate"], f"{source}, learning_rate", least=1e-9)
    kind = values.get("parametrization", "fourier")
    if kind not in PARAMETRIZATIONS:
        raise InputError(f"{source}, parametrization: found {shown(kind)}; expected {', '.join(PARAMETRIZATIONS)}")
    starts = values.get("starts", ["fourier"])
    if not (isinstance(starts, list) and starts and all(isinstance(start, str) for start in starts)):
        raise InputError(f"{source}, starts: found {shown(starts)}; expected a list such as [grey, perlin]")
    if not isinstance(values.get("facet_layer", ""), str):
        raise InputError(f"{source}, facet_layer: found {shown(values['facet_layer'])}; expected the name of a layer")
    values["starts"] = tuple(starts)
    values["objective"] = _objective(values.get("objective", {"channel": 1}), source)
    values["transforms"] = _transforms(values.get("transforms", {}), source)
    return Recipe(**values)


def _objective(content: Any, source: str) -> dict[str, float]:
    if not isinstance(content, dict):
        raise InputError(f"{source}, objective: found {shown(content)}; expected terms and weights, as channel: 1")
    _check_keys(content, TERMS, f"{source}, objective")
    if sum(term in READINGS for term in content) != 1:
        raise InputError(f"{source}, objective: found {', '.join(content)}; expected one of {', '.join(READINGS)}")
    return {term: _number(weight, f"{source}, objective, {term}") for term, weight in content.items()}


def _transforms(content: Any, source: str) -> Transforms:
    place = f"{source}, transforms"
    if not isinstance(content, dict):
        raise InputError(f"{place}: found {shown(content)}; expected keys such as jitter: 8")
    _check_keys(content, [entry.name for entry in fields(Transforms)], place)
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key in ("scale", "crop"):
            if not (isinstance(value, list) and len(value) == 2):
                raise InputError(f"{place}, {key}: found {shown(value)}; expected two numbers such as [0.9, 1.1]")
            low, high = (_number(number, f"{place}, {key}", least=1e-3) for number in value)
            if low > high:
                raise InputError(f"{place}, {key}: found {shown(value)}; expected the smaller number first")
            values[key] = low, high
        else:
            values[key] = _number(value, f"{place}, {key}", least=0)
    return Transforms(**values)


def _number(value: Any, place: str, least: float | None = None) -> float:
    if type(value) not in (int, float) or not abs(value) < float("inf") or (least is not None and value < least):
        raise InputError(
            f"{place}: found {shown(value)}; expected a number{'' if least is None else f' from {least:g}'}"
        )
    return float(value)


def _check_keys(content: Mapping[Any, Any], known: Any, place: str) -> None:
    problems = []
    for key in content:
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0.4)
            hint = f"did you mean '{near[0]}'?" if near else f"expected {', '.join(known)}"
            problems.append(f"{place}: no key {shown(key)}; {hint}")
    if problems:
        raise InputError(problems)
