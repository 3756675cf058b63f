"""`interpscore report`: a scoring run as one page that needs no network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from Activation_Extraction.base.text import say

report_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
PICTURES, BESIDE = "Pictures", "Files beside the run"


@report_app.command(no_args_is_help=True)
def report(
    results: Annotated[Path, typer.Argument(help="The CSV of `interpscore score`, with its .json beside it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .html to write.")] = Path("report.html"),
    neurons: Annotated[list[str] | None, typer.Option("--neurons", help="Make cards of these neurons alone, as 90,185 or layer4:90; may be given several times.", show_default="all; the first 10 of more than 200")] = None,
    store: Annotated[list[Path] | None, typer.Option(help="A store of `interpscore extract`: which pictures activate a neuron most. Also the store that was scored, for --data.", rich_help_panel=PICTURES)] = None,
    images: Annotated[list[str] | None, typer.Option(help="The pictures of --store: folders, image tables, tar shards, or hf:NAME.", rich_help_panel=PICTURES)] = None,
    renders: Annotated[Path | None, typer.Option(help="The folder of `interpscore dream`.", rich_help_panel=PICTURES)] = None,
    data: Annotated[Path | None, typer.Option(help="The experiment table that was scored.", rich_help_panel=BESIDE)] = None,
    labels: Annotated[Path | None, typer.Option(help="The table of `interpscore label`.", rich_help_panel=BESIDE)] = None,
    profile: Annotated[Path | None, typer.Option(help="The table of `interpscore profile`.", rich_help_panel=BESIDE)] = None,
    csv: Annotated[list[str] | None, typer.Option(help='How to read an image table in CSV or Excel where that cannot be found out, "sep=; encoding=latin-1"; with file=NAME of one table alone.', show_default="found out")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Write a scoring run as one page: findings, ranking, a card for each neuron, limits, methods, and how to make it again.

    [bold]interpscore report results.csv --store acts.zarr --images photos/ --renders renders/ -o report.html[/bold]

    The page needs no other file and no network. What is not given is left out, and the page says what to add. Pictures are
    found by name and compared by hash.
    """
    from Activation_Extraction.base.progress import doing, stage_progress

    with doing("Loading libraries", shown=not quiet):
        from Activation_Extraction.base.errors import InputError
        from Activation_Extraction.base.files import check_writable, write_together
        from Visualizations.report.page import make_report
        from Visualizations.run import Run, Sources
    check_writable(output)
    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{output}: expected the name of an .html file to write")
    for name, path in {"data": data, "labels": labels, "profile": profile}.items():
        if path is not None and not path.is_file():
            raise InputError(f"--{name}: {path}: no such file")
    sources = Sources(
        results, data=data, stores=store or [], labels=labels, profile=profile, images=images or [], renders=renders
    )
    named = [name for text in neurons or () for name in text.replace(",", " ").split()]
    with stage_progress(shown=not quiet) as progress:
        page = make_report(Run(sources), neurons=named, csv=csv, progress=progress)
    write_together({output: page})
    if not quiet:
        say(f"{output}: {len(page.encode()) / 1e6:.1f} MB, opens in any browser")
