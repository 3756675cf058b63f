"""`interpscore study protocols`: the included study protocols."""

from __future__ import annotations

from typing import Annotated

import typer

from Activation_Extraction.base.text import say

protocols_app = typer.Typer()


@protocols_app.command()
def protocols(
    name: Annotated[str | None, typer.Argument(help="Protocol to print.", show_default="list all")] = None,
) -> None:
    """List the included study protocols, or print one as a template for your own.

    [bold]interpscore study protocols published > mine.yaml[/bold]
    """
    from Activation_Extraction.base.files import read_bytes
    from Human_Experiment_Setup.study.protocol import (
        available_study_protocols,
        read_study_protocol,
        study_protocol_path,
    )

    if name is not None:
        for line in read_bytes(study_protocol_path(name)).decode().splitlines():
            say(line)
        return
    for each in available_study_protocols():
        say(f"{each:<12}{read_study_protocol(each).about}")
