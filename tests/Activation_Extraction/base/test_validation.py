"""Guards that every mistake in what people write is one line with its place, the value found and what was expected."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field, StrictFloat, StrictInt, StrictStr, model_validator
from pydantic.dataclasses import dataclass

from Activation_Extraction.base.documents import read_yaml
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.validation import validated


def even(number: int) -> int:
    if number % 2:
        raise ValueError("an even number")
    return number


@dataclass(config={"extra": "forbid"})
class Steeped:
    minutes: StrictFloat = Field(gt=0, le=10)
    kind: Literal["steeped"] = field(default="steeped", kw_only=True)


@dataclass(config={"extra": "forbid"})
class Boiled:
    pair: tuple[StrictInt, StrictInt] = (1, 2)
    kind: Literal["boiled"] = field(default="boiled", kw_only=True)


class Tea(BaseModel, extra="forbid"):
    """A tea."""

    colour: Literal["green", "black"] = "green"
    cup_count: Annotated[StrictInt, Field(ge=1)] | None = None
    size: StrictInt | Annotated[StrictFloat, Field(lt=1)] = Field(1, description="pixels, or a part such as 0.5")
    guests: Annotated[int, AfterValidator(even)] = 0
    names: list[StrictStr] = Field([], description="a list such as [Ada, Bob]")
    weights: Mapping[Literal["milk", "sugar"], StrictFloat] = {}
    makings: Mapping[StrictInt, Annotated[Steeped | Boiled, Field(discriminator="kind")]] = {}

    @model_validator(mode="after")
    def _sugar_needs_milk(self):
        if "sugar" in self.weights and "milk" not in self.weights:
            raise InputError("found sugar; expected milk with it")
        return self


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("tea", "found 'tea'; expected keys and values: colour, cup_count, size, guests, names, weights, makings"),
        ({"color": "green"}, "no such key 'color' (did you mean 'colour'?)"),
        ({"tray": 1}, "no such key 'tray'; expected colour, cup_count, size, guests, names, weights, makings"),
        ({"colour": "blak"}, "colour: found 'blak'; expected one of green, black (did you mean 'black'?)"),
        ({"cup_count": 0}, "cup_count: found '0'; expected a whole number from 1"),
        ({"cup_count": "2"}, "cup_count: found '2'; expected a whole number from 1"),
        ({"size": 1.5}, "size: found '1.5'; expected pixels, or a part such as 0.5"),
        ({"guests": 3}, "guests: found '3'; expected an even number"),
        ({"names": "Ada"}, "names: found 'Ada'; expected a list such as [Ada, Bob]"),
        ({"names": ["Ada", 3]}, "names: found '['Ada', 3]'; expected a list such as [Ada, Bob]"),
        ({"weights": {"mlk": 1}}, "weights: no such key 'mlk' (did you mean 'milk'?)"),
        ({"weights": {"milk": "much"}}, "weights.milk: found 'much'; expected a number"),
        ({"weights": {"sugar": 1}}, "found sugar; expected milk with it"),
        ({"makings": {"one": {"kind": "boiled"}}}, "makings: found the key 'one'; expected a valid integer"),
        ({"makings": {1: {}}}, "makings.1: no key 'kind'; expected one of boiled, steeped"),
        ({"makings": {1: {"kind": "boild"}}}, "makings.1.kind: found 'boild'; expected one of boiled, steeped (did you mean 'boiled'?)"),
        ({"makings": {1: {"kind": "steeped"}}}, "makings.1: no key 'minutes'"),
        ({"makings": {1: {"kind": "steeped", "minutes": 0}}}, "makings.1.minutes: found '0'; expected a number above 0, up to 10"),
        ({"makings": {1: {"kind": "boiled", "pear": 0}}}, "makings.1: no such key 'pear' (did you mean 'pair'?)"),
        ({"makings": {1: {"kind": "boiled", "pair": [1, "x"]}}}, "makings.1.pair.1: found 'x'; expected a whole number"),
        ({"makings": {1: {"kind": "boiled", "pair": [1]}}}, "makings.1.pair: found '[1]'; expected a list of 2"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(content, line):
    with pytest.raises(InputError) as raised:
        validated(Tea, content, "tea.yaml")
    separator = ": " if line.startswith(("found", "no such key 'color'", "no such key 'tray'")) else ", "
    assert [problem.replace('"', "'") for problem in raised.value.problems] == [f"tea.yaml{separator}{line}"]


def test_all_mistakes_are_listed_at_once():
    with pytest.raises(InputError) as raised:
        validated(Tea, {"colour": 3, "sise": 1, "guests": "x"}, "tea.yaml")
    assert len(raised.value.problems) == 3


def test_options_are_shown_as_they_are_written_in_a_command():
    with pytest.raises(InputError) as raised:
        validated(Tea, {"cup_count": 0, "gusts": 2, "weights": {"milk": "x"}}, None)
    assert raised.value.problems == [
        "--cup-count: found '0'; expected a whole number from 1",
        "--weights.milk: found 'x'; expected a number",
        "options: no such key '--gusts' (did you mean '--guests'?)",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: [", ", line 1, column 5: not YAML"),
        (b"a: 1\na: 2", ", line 2, column 1: not YAML .the key 'a' appears twice"),
        (b"\xff\xfe\xfd", ": not YAML"),
        (None, ": cannot be read .No such file"),
    ],
)
def test_yaml_that_cannot_be_read_is_one_line(tmp_path, text, message):
    path = tmp_path / "tea.yaml"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(InputError, match=f"^{path}{message}") as raised:
        read_yaml(path)
    assert "\n" not in str(raised.value)


def test_importing_it_loads_no_pydantic():
    code = "import sys, Activation_Extraction.base.validation; print({'pydantic', 'yaml', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
