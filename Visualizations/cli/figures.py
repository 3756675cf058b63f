"""`interpscore figures`: the figures of a scoring run, for a paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from Activation_Extraction.base.text import say

if TYPE_CHECKING:
    from Visualizations.making import Made
    from Visualizations.request import Request

figures_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
FILES = "Files of the run"


@figures_app.command(no_args_is_help=True)
def figures(
    results: Annotated[Path, typer.Argument(help="The CSV of `interpscore score`, with its .json and .draws.npz beside it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")] = Path("figures"),
    figure: Annotated[list[str] | None, typer.Option(help="A figure by name, may be given several times; --list shows the names.", show_default="all")] = None,
    venue: Annotated[str, typer.Option(help="Whose column and text widths: neurips, iclr, icml, cvpr, nature, plos or screen.")] = "neurips",
    theme: Annotated[str, typer.Option(help="light or dark.")] = "light",
    formats: Annotated[str, typer.Option("--format", help="svg, pdf and png, any of them.")] = "svg,pdf,png",
    list_: Annotated[bool, typer.Option("--list", help="List the figures, and why some cannot be drawn from these files; write nothing.")] = False,
    data: Annotated[Path | None, typer.Option(help="The experiment table that was scored.", rich_help_panel=FILES)] = None,
    store: Annotated[list[Path] | None, typer.Option(help="The activation stores of the run, where it used some.", rich_help_panel=FILES)] = None,
    effects: Annotated[list[Path] | None, typer.Option(help="A file of `interpscore causality`, for dose curves; may be given for several layers.", rich_help_panel=FILES)] = None,
    labels: Annotated[Path | None, typer.Option(help="The table of `interpscore label`.", rich_help_panel=FILES)] = None,
    sanity: Annotated[Path | None, typer.Option(help="The CSV of `interpscore sanity --output`.", rich_help_panel=FILES)] = None,
    published: Annotated[Path | None, typer.Option(help="Published scores of the same neurons, CSV.", rich_help_panel=FILES)] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Draw the figures of a scoring run as SVG, PDF and PNG.

    [bold]interpscore figures results.csv --data data.csv[/bold]

    Beside each figure is a CSV of what it plots, and in tables/ are tables in LaTeX and CSV; index.json has captions, notes, and why figures are missing.

    The same from a file: [bold]python Visualizations/get_paper_visualizations.py --config config.yaml[/bold]
    """
    from Activation_Extraction.base.progress import doing

    with doing("Loading libraries", shown=not quiet):
        import matplotlib  # noqa: F401 - where it is not installed, that is said first

        from Activation_Extraction.base.validation import validated
        from Visualizations.request import Request
    given: dict[str, Any] = {
        "results": results, "output": output, "figures": figure or [], "venue": venue, "theme": theme,
        "formats": formats.replace(",", " ").split(), "data": data, "store": store or [], "effects": effects or [],
        "labels": labels, "sanity": sanity, "published": published,
    }  # fmt: skip
    request = validated(Request, given, None)
    if list_:
        _list(request)
    else:
        carry_out(request, quiet)


def carry_out(request: Request, quiet: bool) -> None:
    """Draw what a request asks for, and say what was made and what was not."""
    from Activation_Extraction.base.progress import stage_progress
    from Visualizations.making import make_figures

    with stage_progress(shown=not quiet) as progress:
        made = make_figures(request.run, request.output, request.figures, request.style, request.formats, progress)
    if not quiet:
        _say_made(made, request.output)
    wanting = [each for each in made if each.failed or (request.figures and each.missing)]
    for each in wanting:
        say(f"error: {each.kind.name}: not drawn: {'; '.join(each.missing)}", error=True)
    if wanting:
        raise typer.Exit(1)


def _say_made(made: list[Made], folder: Path) -> None:
    from Visualizations.making import INDEX

    for each in made:
        say(f"{each.kind.name}: {each.kind.title}{_reasons(each.missing, 'not drawn')}")
    drawn = sum(not each.missing for each in made)
    say(f"{folder}: {drawn} of {len(made)} figures; captions and notes in {INDEX}; tables in LaTeX and CSV in tables/")


def _list(request: Request) -> None:
    from Visualizations.kinds import chosen_kinds

    run = request.run
    run.check()
    for kind in chosen_kinds(request.figures):
        missing = kind.missing(run)
        say(f"{kind.name}: {kind.title}{_reasons(missing, 'cannot be drawn')}")


def _reasons(missing: Sequence[str], so: str) -> str:
    return f" ({so}: {'; '.join(missing)})" if missing else ""
