"""Python files that the user names to be run: the one place that runs them, and says what fails in them by file and line."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from Activation_Extraction.base.errors import InputError, first_line

_ROOMS = Path(__file__).parents[1]
_run: set[str] = set()
"""Paths of the files that were run."""


def run_file(path: Path, content: bytes) -> ModuleType:
    """Run a Python file that the user named, as a module of its own; modules beside it can be imported meanwhile.

    Args:
        content: what was read of it, so that a hash is of what runs.

    Raises:
        InputError: whatever its code raises.
    """
    module = ModuleType(f"_own_file_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # which dataclasses look up
    _run.add(str(path))
    with in_user_code(path):
        exec(compile(content, str(path), "exec"), vars(module))
    return module


@contextmanager
def in_user_code(path: Path) -> Iterator[None]:
    """Run code of a file: its folder can be imported from, and every error is one line with its place.

    Raises:
        InputError: whatever the code raises.
    """
    folder = str(path.parent)
    sys.path.insert(0, folder)
    try:
        yield
    except (Exception, SystemExit) as error:
        raise InputError(_lines(error, str(path))) from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def lines_of_user_code(error: BaseException) -> list[str]:
    """What to say of an error that arose in a file of the user's; empty where it did not, or where our code failed below."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in _run:
            return _lines(error, frame.filename)
        if Path(frame.filename).is_relative_to(_ROOMS):
            break
    return []


def _lines(error: BaseException, file: str) -> list[str]:
    """A line for each problem, with the last place in the file that the error passed through."""
    frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    number = error.lineno if isinstance(error, SyntaxError) and error.filename == file else next(reversed(frames), None)
    place = file if number is None else f"{file}, line {number}"
    if isinstance(error, InputError):
        return [f"{place}: {problem}" for problem in error.problems]
    what = error.msg if isinstance(error, SyntaxError) else first_line(error)
    kind = type(error).__name__
    return [f"{place}: {kind}" if what == kind else f"{place}: {kind}: {what}"]
