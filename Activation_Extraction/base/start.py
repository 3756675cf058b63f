"""The first thing that runs in a command: it can be interrupted quietly while libraries load.

Nothing else is imported here before the interrupt is handled.
"""

import sys


def main() -> None:
    """Entry point of the command `interpscore`."""
    start("Activation_Extraction.base.commands:app")


def start(command: str) -> None:
    """Run a command, named as `module:name` of its Typer app."""
    try:
        from importlib import import_module

        from Activation_Extraction.base.commands import run

        module, _, name = command.partition(":")
        run(getattr(import_module(module), name))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
