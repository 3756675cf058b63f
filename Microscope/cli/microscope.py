"""`interpscore microscope`: the explorer of units; each command has a file of its own."""

from __future__ import annotations

import typer

from Microscope.cli.build import build
from Microscope.cli.export import export
from Microscope.cli.serve import serve

microscope_app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich", no_args_is_help=True
)


@microscope_app.callback()
def microscope() -> None:
    """See what every unit of a network sees, in a browser.

    [bold]interpscore microscope build acts.zarr --images photos/ -o bundle[/bold]

    [bold]interpscore microscope serve bundle[/bold]
    """


for command in (build, serve, export):
    microscope_app.command(no_args_is_help=True)(command)
