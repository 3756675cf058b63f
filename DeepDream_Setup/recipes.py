"""Recipes: everything that determines what a render looks like, in one YAML file.

`microscope`, `paper` and `study` are included (`recipes/`); any path to a YAML file works as well.
"""

from __future__ import annotations

from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictFloat, StrictInt, StrictStr
from pydantic.dataclasses import dataclass

from Activation_Extraction.base.documents import included, named_yaml, read_yaml
from Activation_Extraction.base.validation import validated
from DeepDream_Setup.transforms import Transforms

FOLDER = Path(__file__).with_name("recipes")

LARGEST, MOST_STEPS, MOST_STARTS = 4096, 1_000_000, 100
"""Limits of a recipe: pixels per side, steps, images a unit."""

READINGS = ("channel", "neuron", "cosine")
"""How a unit is read: mean over its map, its centre, or the mean weighted by cosine."""

Term = Literal["channel", "neuron", "cosine", "facet", "diversity", "layer_energy", "l2_to_grey", "total_variation"]


def _of_one_reading(objective: dict[Term, float]) -> dict[Term, float]:
    if sum(term in READINGS for term in objective) != 1:
        raise ValueError
    return objective


_Objective = Annotated[
    dict[Term, Annotated[StrictFloat, Field(allow_inf_nan=False)]],
    AfterValidator(_of_one_reading),
    Field(description="terms and their weights, exactly one of them channel, neuron or cosine"),
]
_Starts = Annotated[
    tuple[StrictStr, ...],
    Field(min_length=1, max_length=MOST_STARTS, description=f"a list of up to {MOST_STARTS} such as [grey, perlin]"),
]
_Size = Annotated[
    Annotated[StrictInt, Field(ge=8, le=LARGEST)] | Annotated[StrictFloat, Field(gt=0, le=1)],
    Field(description=f"pixels from 8 to {LARGEST:,}, or a share such as 0.5"),
]
_Steps = Annotated[StrictInt, Field(le=MOST_STEPS)]


@dataclass(frozen=True, config={"extra": "forbid"})
class Recipe:
    """How images are made.

    Attributes:
        parametrization: see `parametrization`.
        objective: term → weight, with exactly one of `READINGS`; penalties (diversity, too: it is similarity) have negative
            weights.
        steps: Adam steps.
        learning_rate: of Adam, on the parameters.
        starts: starting images; a unit gets one image from each.
        transforms: how views vary.
        size: pixels per side; up to 1, a share of the network's input side.
        rescue_steps: initial steps in which gradients pass through inactive ReLUs.
        facet_layer: layer that the facets' probes read.
    """

    parametrization: Literal["pixel", "fourier", "maco"] = "fourier"
    objective: _Objective = field(default_factory=lambda: {"channel": 1.0})
    steps: Annotated[_Steps, Field(ge=1)] = 256
    learning_rate: Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False)] = 0.05
    starts: _Starts = ("fourier",)
    transforms: Transforms = field(default_factory=Transforms)
    size: _Size = 1.0
    rescue_steps: Annotated[_Steps, Field(ge=0)] = 16
    facet_layer: Annotated[StrictStr | None, Field(description="the name of a layer")] = None

    @property
    def reading(self) -> str:
        """The one term of the objective in `READINGS`."""
        return next(term for term in self.objective if term in READINGS)

    def as_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {**asdict(self), "starts": list(self.starts)}

    def side(self, network_side: int) -> int:
        """Pixels per side of the images, for a network input of `network_side`."""
        return int(self.size) if self.size > 1 else max(8, round(self.size * network_side))

    def with_starts(self, starts: list[str]) -> Recipe:
        """The same recipe with other starting images."""
        return replace(self, starts=tuple(starts))


def read_recipe(name: str) -> Recipe:
    """Read a recipe by name or from a YAML file.

    Raises:
        InputError: no such recipe, not YAML, or an unknown key or value.
    """
    path = named_yaml(name, FOLDER, "recipe")
    return validated(Recipe, read_yaml(path), str(path))


def known_recipes() -> list[str]:
    """Names of the included recipes."""
    return included(FOLDER)
