"""What someone asks for: the files of a run, the figures, their style; from a configuration file or the options of a command."""

from __future__ import annotations

from dataclasses import field, fields, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict
from pydantic.dataclasses import dataclass

from Activation_Extraction.base.documents import read_yaml
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.validation import validated
from Visualizations.making import FORMATS, Format
from Visualizations.run import Run, Sources
from Visualizations.styles import Style, Theme, Venue


def _several(value: object) -> object:
    """One name where a list is expected."""
    return [value] if isinstance(value, str | Path) else value


Files = Annotated[list[Path], BeforeValidator(_several)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Request:
    """Files, figures and style. Paths in a configuration file are relative to its folder."""

    results: Path
    data: Path | None = None
    store: Files = field(default_factory=list)
    effects: Files = field(default_factory=list)
    labels: Path | None = None
    sanity: Path | None = None
    published: Path | None = None
    output: Path = Path("figures")
    figures: Annotated[list[str], BeforeValidator(_several)] = field(default_factory=list)
    formats: Annotated[list[Format], BeforeValidator(_several)] = field(default_factory=lambda: list(FORMATS))
    venue: Venue = "neurips"
    theme: Theme = "light"

    @property
    def run(self) -> Run:
        """The run, read.

        Raises:
            InputError: no results, or damaged ones.
        """
        files: dict[str, Any] = {
            "data": self.data,
            "labels": self.labels,
            "sanity": self.sanity,
            "published": self.published,
        }
        for name, path in files.items():
            if path is not None and not path.is_file():
                raise InputError(f"{name}: {path}: no such file")
        return Run(Sources(self.results, stores=self.store, effects=self.effects, **files))

    @property
    def style(self) -> Style:
        """How the figures look."""
        return Style(self.venue, self.theme)


def read_request(config: Path) -> Request:
    """A configuration file, YAML with the fields of `Request`.

    Raises:
        InputError: no such file, unknown keys, wrong values; one line each.
    """
    asked = validated(Request, read_yaml(config), str(config))
    below: dict[str, Any] = {
        one.name: [config.parent / path for path in value] if isinstance(value, list) else config.parent / value
        for one in fields(asked)
        if isinstance(value := getattr(asked, one.name), Path)
        or (isinstance(value, list) and any(isinstance(v, Path) for v in value))
    }
    return replace(asked, **below)
