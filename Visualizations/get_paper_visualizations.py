"""The documented way to draw the figures: `python Visualizations/get_paper_visualizations.py --config config.yaml`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

if __name__ == "__main__" or __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from any folder

paper_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@paper_app.command(no_args_is_help=True)
def paper(
    config: Annotated[Path, typer.Option(help="YAML: results, data, store, effects, labels, sanity, published, output, figures, formats, venue, theme; only results is required. Paths are relative to its folder.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Draw the figures of a scoring run from a configuration file.

    [bold]python Visualizations/get_paper_visualizations.py --config config.yaml[/bold]
    """
    from Visualizations.cli.figures import carry_out
    from Visualizations.request import read_request

    carry_out(read_request(config), quiet)


if __name__ == "__main__":
    from Activation_Extraction.base.commands import run

    run(paper_app)
