"""Files on disk: their hashes, and writing them all or nothing."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from Activation_Extraction.base.errors import InputError, OutputError

PART = ".part"
"""Ends the name of a file that is not complete yet."""


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise `OutputError` now rather than after the work when `path` cannot be written."""
    path = Path(path)
    try:
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; expected the name of a file to write")
        if not path.parent.is_dir():
            raise OutputError(f"{path}: the folder {path.parent} does not exist; expected an existing folder")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no file.

    Raises:
        InputError: it cannot be read, or is no JSON object.
    """
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); expected JSON") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: damaged; expected a JSON object")
    return found


def as_json(content: Mapping[str, Any]) -> bytes:
    """The bytes of a JSON file that people can read."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


# Writing, all or nothing ----------------------------------------------------------------------------------------------


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which is moved to `path` once it is on the disk; until then `path` is what it was.

    Raises:
        OSError: disk full, no permission.
    """
    with _beside(path) as file:
        yield file
        _finish(file)
        _move(file, path)


def write_together(contents: Mapping[Path, str | bytes | memoryview]) -> None:
    """Write files so that each is either the old one or the complete new one.

    All are written beside their targets first and moved into place only when every one is on the disk.

    Raises:
        OutputError: disk full, no permission; the old files are untouched.
    """
    path = next(iter(contents))
    try:
        with ExitStack() as stack:
            written = []
            for path, content in contents.items():
                if path.is_dir():
                    raise OutputError(f"{path}: is a folder; expected the name of a file to write")
                file = stack.enter_context(_beside(path))
                file.write(content.encode() if isinstance(content, str) else content)
                _finish(file)
                written.append((file, path))
            for file, path in written:
                _move(file, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None


@contextmanager
def _beside(path: Path) -> Iterator[BinaryIO]:
    """A new file in the folder of `path`, which is removed at the end if it was not moved."""
    part = path.with_name(f".{path.name[:32]}.{secrets.token_hex(8)}{PART}")
    # New: nothing that lies there is written to, nor what a link points to.
    file = open(part, "xb")  # noqa: SIM115 - closing it may fail as well, and it is to be removed even then
    try:
        with file:
            yield file
    finally:
        part.unlink(missing_ok=True)


def _finish(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()  # an open file cannot be moved everywhere


def _move(file: BinaryIO, path: Path) -> None:
    os.replace(file.name, path)
    flush(path.parent)


def flush(path: Path) -> None:
    """See to it that a file or folder is on the disk."""
    if os.name == "nt":
        return  # can flush neither a folder nor what was opened to be read
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_below(folder: Path, names: Iterable[str]) -> None:
    """See to it that files of a folder are on the disk, and can be found there."""
    files = [PurePosixPath(name) for name in names]
    for path in dict.fromkeys([*files, *(parent for file in files for parent in file.parents)]):
        flush(folder / path)
