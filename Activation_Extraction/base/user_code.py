"""Python files that the user names to be run: the one place that runs them, and says what fails in them by file and line."""

from __future__ import annotations

import ast
import hashlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from Activation_Extraction.base.errors import InputError, first_line
from Activation_Extraction.base.files import read_bytes

_ROOMS = Path(__file__).parents[1]
_run: set[str] = set()
"""Paths of the files that were run."""
_imported: dict[str, str] = {}
"""SHA-256 of imported files when the last file that imports them was run."""


def imports_of(path: Path, content: bytes) -> dict[str, str]:
    """Files in or below a Python file's folder that it imports, and those that these import; nothing is run.

    Import statements are read wherever they are; `importlib.import_module` is not followed. Packages from elsewhere are
    left out.

    Args:
        content: what was read of the file.

    Returns:
        Path relative to the folder → SHA-256, sorted.
    """
    folder = path.parent
    found: dict[Path, bytes] = {}
    left = [(path, content)]
    while left:
        file, text = left.pop()
        for other in _named_in(file, text, folder):
            if other not in found and other != path:
                found[other] = read_bytes(other)
                left.append((other, found[other]))
    return {file.relative_to(folder).as_posix(): hashlib.sha256(found[file]).hexdigest() for file in sorted(found)}


def _named_in(file: Path, content: bytes, folder: Path) -> Iterator[Path]:
    """The files below a folder that the import statements of a file name."""
    try:
        nodes = list(ast.walk(ast.parse(content)))
    except (SyntaxError, ValueError):  # which running it says
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = file.relative_to(folder).parts[: -node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            names = [module, *(f"{module}.{alias.name}".strip(".") for alias in node.names)]
        else:
            continue
        for name in filter(None, names):
            parts = name.split(".")
            for n in range(1, len(parts) + 1):
                stem = folder.joinpath(*parts[:n])
                yield from (at for at in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")) if at.is_file())


def _forget_changed(path: Path, imports: dict[str, str]) -> None:
    """Have files that changed since they were imported imported again."""
    for name, sha256 in imports.items():
        file = str(path.parent / name)
        if _imported.get(file, sha256) != sha256:
            for module in [key for key, one in sys.modules.items() if getattr(one, "__file__", None) == file]:
                del sys.modules[module]
        _imported[file] = sha256


def run_file(path: Path, content: bytes, imports: dict[str, str]) -> ModuleType:
    """Run a Python file that the user named, as a module of its own; modules beside it can be imported meanwhile.

    Args:
        content: what was read of it, so that a hash is of what runs; imports: `imports_of` it.

    Raises:
        InputError: whatever its code raises.
    """
    module = ModuleType(f"_own_file_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # which dataclasses look up
    _run.add(str(path))
    _forget_changed(path, imports)
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
        raise InputError(lines_in(error, str(path))) from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def lines_of_user_code(error: BaseException) -> list[str]:
    """What to say of an error that arose in a file of the user's; empty where it did not, or where our code failed below."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in _run:
            return lines_in(error, frame.filename)
        if Path(frame.filename).is_relative_to(_ROOMS):
            break
    return []


def lines_in(error: BaseException, file: str) -> list[str]:
    """A line for each problem, with the last place in the file that the error passed through."""
    frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    number = error.lineno if isinstance(error, SyntaxError) and error.filename == file else next(reversed(frames), None)
    place = file if number is None else f"{file}, line {number}"
    if isinstance(error, InputError):
        return [f"{place}: {problem}" for problem in error.problems]
    what = error.msg if isinstance(error, SyntaxError) else first_line(error, 300)
    kind = type(error).__name__
    return [f"{place}: {kind}" if what == kind else f"{place}: {kind}: {what}"]
