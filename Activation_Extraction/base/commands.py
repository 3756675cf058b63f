"""The command `interpscore`: sub-commands of every room, found by entry point and loaded on use.

Other packages add commands in the same way: an entry point of the group `interpscore.commands` that is a `typer.Typer`.
"""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points, version
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from Activation_Extraction.base.errors import InputError, InterpScoreError, first_line

ENTRY_POINT_GROUP = "interpscore.commands"
WRONG_INPUT = 2


class RoomCommands(TyperGroup):
    """Sub-commands named by the entry points of `interpscore.commands`; each is a `typer.Typer`."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(_rooms())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = _rooms().get(cmd_name)
        if found is None:
            return None
        try:
            command = typer.main.get_command(found.load())
        except Exception as error:  # any error of another package's code
            raise InputError(f"command {cmd_name} ({found.value}): cannot be loaded: {first_line(error)}") from error
        command.name = cmd_name  # groups have no name, so their line in the help would be blank
        return command


def _rooms() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


app = typer.Typer(cls=RoomCommands, no_args_is_help=True, add_completion=False, rich_markup_mode="rich")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"interpscore {version('interpscore')}")
        raise typer.Exit


@app.callback()
def interpscore(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Measure how interpretable the single units of vision networks are.

    [bold]interpscore score data.csv neuron_map.json results.csv[/bold]

    [bold]interpscore extract photos/ --model clip-mini --layer block_4 -o acts.zarr[/bold]

    Each command shows its own options and examples with --help.
    """


def main() -> None:
    """Entry point of the command `interpscore`."""
    run(app)


def run(program: typer.Typer, arguments: list[str] | None = None) -> None:
    """Run a command and exit: one line on stderr for each problem, exit code 2 for wrong input."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # characters that a terminal or pipe lacks become "?"
    try:
        code = program(args=arguments, standalone_mode=False)
    except InterpScoreError as error:
        fail(error.problems if isinstance(error, InputError) else [str(error)])
    except typer.Abort:
        sys.exit(130)
    except typer.TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        # Without arguments, the help has been printed and the message is empty.
        fail([f"{' '.join(message.split())} (see --help)"] if message.strip() else [])
    sys.exit(code if isinstance(code, int) else 0)


def fail(problems: list[str]) -> None:
    """Print each problem as one line and exit with the code for wrong input."""
    for problem in problems:
        print(f"error: {' '.join(str(problem).splitlines())}", file=sys.stderr)
    sys.exit(WRONG_INPUT)
