"""`interpscore microscope export`: a bundle as a static site."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from Activation_Extraction.base.text import say


def export(
    bundle: Annotated[Path, typer.Argument(help="The bundle of `interpscore microscope build`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:
    """Write a static site of all pages, for any web server; it needs no server of ours.

    [bold]interpscore microscope export bundle/ -o site/[/bold]

    A site exported before is replaced; a folder with other files is refused.
    """
    from Microscope.serving.site import export_site

    files = export_site(bundle, output)
    if not quiet:
        say(f"{output}: {files:,} files")
        say(
            f"To look at it: python -m http.server --directory {shlex.quote(str(output))} 8000, then http://localhost:8000"
        )
