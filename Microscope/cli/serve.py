"""`interpscore microscope serve`: the explorer as a Streamlit app."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from Activation_Extraction.base.text import say

APP = Path(__file__).parents[1] / "app.py"


def serve(
    bundle: Annotated[str, typer.Argument(help="The bundle: a folder, or its address on any web server.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 8501,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines connect.")] = "localhost",
) -> None:
    """Show a bundle in the browser; Ctrl-C ends the server.

    [bold]interpscore microscope serve bundle/[/bold]

    [bold]interpscore microscope serve https://example.org/bundle/[/bold]

    The same without this command: [bold]streamlit run Microscope/app.py -- bundle/[/bold]
    """
    command = command_of(bundle, port, host)
    say(f"Open http://{'localhost' if host == '0.0.0.0' else host}:{port}")
    os.execv(command[0], command)


def command_of(bundle: str, port: int, host: str) -> list[str]:
    """The command line of the server, once the bundle is known to be one.

    Raises:
        InputError: it is none.
        MissingPackageError: Streamlit is not installed.
    """
    import streamlit  # noqa: F401 - the extra that it comes with is named where it is missing

    from Microscope.serving.opening import is_address, open_bundle

    if not is_address(bundle):
        open_bundle(Path(bundle))
    options = {
        "server.port": port, "server.address": host, "server.headless": "true", "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false", "client.toolbarMode": "minimal",
    }  # fmt: skip
    given = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "streamlit", "run", str(APP), *given, "--", bundle]
