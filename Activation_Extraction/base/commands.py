"""The command `interpscore`: sub-commands of every room, found by entry point and loaded on use.

Other packages add commands in the same way: an entry point of the group `interpscore.commands` that is a `typer.Typer`.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import select
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points, version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from Activation_Extraction.base.errors import InputError, InterpScoreError, MissingPackageError, first_line
from Activation_Extraction.base.extras import naming_extras
from Activation_Extraction.base.text import say
from Activation_Extraction.base.user_code import lines_of_user_code

ENTRY_POINT_GROUP = "interpscore.commands"
WRONG_INPUT, BUG, STOPPED, PIPE_CLOSED = 2, 70, 130, 141
"""Exit codes, beside 0 and 1 for partial results."""
DEBUG = "--debug"
OF_THE_MACHINE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE,
    errno.ENAMETOOLONG, errno.ENODEV, errno.ESTALE,
}  # fmt: skip
"""Errors of files and disks that no program can prevent."""


class RoomCommands(TyperGroup):
    """Sub-commands named by the entry points of `interpscore.commands`; each is a `typer.Typer`."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(_rooms())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = _rooms().get(cmd_name)
        if found is None:
            return None
        try:
            with naming_extras():
                command = built(found.load())
        except MissingPackageError as error:
            return _Unavailable(cmd_name, error)
        except Exception as error:  # any error of another package's code
            why = InputError(f"command {cmd_name} ({found.value}): cannot be loaded: {first_line(error)}")
            return _Unavailable(cmd_name, why)
        command.name = cmd_name  # groups have no name, so their line in the help would be blank
        return command


@cache
def built(program: typer.Typer) -> Any:
    """The command of a program, built once; lines in paragraphs of its help are joined."""
    command = typer.main.get_command(program)
    _reflow_help(command)
    return command


def _reflow_help(command: Any) -> None:
    """Join the lines of each paragraph in the help of a command and those below it, for terminals of any width."""
    if command.help:
        command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", command.help)
    for below in getattr(command, "commands", {}).values():
        _reflow_help(below)


class _Unavailable(TyperCommand):
    """A command that cannot be loaded: the help lists it with the reason, and running it ends with that."""

    def __init__(self, name: str, why: InterpScoreError) -> None:
        super().__init__(name, help=f"Not available: {why}")
        self._why = why

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        raise self._why


def _rooms() -> dict[str, EntryPoint]:
    return _rooms_on(tuple(sys.path))


@cache
def _rooms_on(path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """The search takes 10 ms, and the help asks for every command."""
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


app = typer.Typer(cls=RoomCommands, no_args_is_help=True, add_completion=False, rich_markup_mode="rich")


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"interpscore {version('interpscore')}")
        raise typer.Exit


@app.callback()
def interpscore(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, help="Show the traceback of an error; accepted by every command.")
    ] = False,
) -> None:
    """Measure how interpretable the single units of vision networks are.

    [bold]interpscore score data.csv neuron_map.json results.csv[/bold]

    [bold]interpscore extract photos/ --model clip-mini --layer block_4 -o acts.zarr[/bold]

    Each command shows its own options and examples with --help.
    """


def run(program: typer.Typer, arguments: list[str] | None = None) -> None:
    """Run a command and exit.

    One line on stderr for each problem and exit code 2 for wrong input; 130 after Ctrl-C or SIGTERM; 70 for an error that
    nobody foresaw, whose traceback goes to a file, or with `--debug` to stderr.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # characters that a terminal or pipe lacks become "?"
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG in arguments
    arguments = [argument for argument in arguments if argument != DEBUG]
    try:
        with _sigterm_interrupts(), naming_extras():
            command = built(program)
            with command.make_context(Path(sys.argv[0]).name, arguments) as context:
                code = command.invoke(context)
            sys.stdout.flush()
    except typer.Exit as end:
        code = end.exit_code
    except InterpScoreError as error:
        fail(error.problems if isinstance(error, InputError) else [str(error)], debug)
    except (KeyboardInterrupt, typer.Abort) as error:
        stopped(error)
    except typer.TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        # Without arguments, the help has been printed and the message is empty.
        fail([f"{' '.join(message.split())} (see --help)"] if message.strip() else [])
    except BrokenPipeError as error:
        if not _reader_has_ended():
            _fail_unforeseen(error, program, arguments, debug)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(PIPE_CLOSED)
    except MemoryError as error:
        fail([f"not enough memory ({first_line(error)}); expected a machine with more, or smaller work"], debug)
    except Exception as error:
        _fail_unforeseen(error, program, arguments, debug)
    sys.exit(code if isinstance(code, int) else 0)


def stopped(error: BaseException) -> NoReturn:
    """Say that an interrupt ended the command, and whether the same command resumes."""
    notes = [note for one in (error, error.__cause__) for note in getattr(one, "__notes__", ())]
    say("; ".join(["stopped", *dict.fromkeys(notes)]), error=True)
    sys.exit(STOPPED)


def fail(problems: list[str], debug: bool = False) -> NoReturn:
    """Print each problem as one line and exit with the code for wrong input."""
    if debug:
        _say_traceback()
    for problem in problems:
        say(f"error: {problem}", error=True)
    sys.exit(WRONG_INPUT)


def _fail_unforeseen(error: Exception, program: typer.Typer, arguments: list[str], debug: bool) -> NoReturn:
    """End with an error of the user's own code, or of the machine, as one line; with any other as a bug."""
    if lines := lines_of_user_code(error):
        fail(lines, debug)
    if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
        fail([f"{error.filename or program.info.name or 'interpscore'}: {error.strerror}"], debug)
    _report_bug(error, arguments, debug)


def _report_bug(error: Exception, arguments: list[str], debug: bool) -> NoReturn:
    """Say in one line that an error is a bug, and leave its traceback in a file to send."""
    made_with = f"interpscore {version('interpscore')}, Python {platform.python_version()}, {platform.platform()}"
    if debug:
        _say_traceback()
        left = made_with
    else:
        handle, path = tempfile.mkstemp(prefix="interpscore-bug-", suffix=".txt")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{made_with}\narguments: {arguments}\n\n{''.join(traceback.format_exception(error))}")
        left = f"please report it with {path} ({DEBUG} shows what is in it)"
    say(f"error: this is a bug in interpscore: {type(error).__name__}: {first_line(error)}; {left}", error=True)
    sys.exit(BUG)


def _reader_has_ended() -> bool:
    """Whether what reads our output, such as `head`, has ended; another pipe that broke is an error."""
    watched = select.poll()
    for stream in (sys.stdout, sys.stderr):
        watched.register(stream.fileno(), 0)  # errors and hang-ups are always reported
    return bool(watched.poll(0))


def _say_traceback() -> None:
    for line in traceback.format_exc().splitlines():
        say(line, error=True)


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """End on SIGTERM as on Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
