"""`interpscore study`: the group of study commands, each in a file `<name>.py`, loaded when it is called or listed."""

from __future__ import annotations

from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from Activation_Extraction.base.commands import built


class StudyCommands(TyperGroup):
    """The commands of the files beside this one (`import` is in `import_.py`); each has a `typer.Typer` called `<name>_app`."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(path.stem.rstrip("_") for path in Path(__file__).parent.glob("[a-z]*.py"))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a file; its Python is read only now."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f"{__package__}.{cmd_name}{'_' if iskeyword(cmd_name) else ''}")
        command = built(getattr(module, f"{cmd_name}_app"))
        command.name = cmd_name
        return command


study_app = typer.Typer(
    cls=StudyCommands,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    no_args_is_help=True,
)


@study_app.callback()
def study() -> None:
    """Run a study in which people name pictures, score their words, and report how reliable the answers are.

    [bold]interpscore study check mine.yaml --stimuli stimuli[/bold]

    [bold]interpscore study serve mine.yaml --stimuli stimuli --database study.db[/bold]

    [bold]interpscore study export study.db -o answers.csv[/bold]

    [bold]interpscore study score answers.csv --synonyms synonyms.csv -o scored.csv[/bold]

    [bold]interpscore study report scored.csv -o report.json[/bold]
    """
