"""Files on disk: opening only regular ones, and writing them all or nothing; their names are in `base/names`."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from Activation_Extraction.base.errors import OutputError

PART = ".part"
"""Ends the name of a file that is not complete yet."""


# Reading --------------------------------------------------------------------------------------------------------------

_READ = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


class NotAFileError(OSError):
    """What is there is no file to read: a folder, pipe, socket or device, or, in a folder of ours, a link."""


def check_file(path: str | os.PathLike[str], within: Path | None = None) -> os.stat_result:
    """Check that a path is one that `open_file` opens; its status.

    Raises:
        OSError: as `open_file`.
    """
    if within is not None:
        check_no_link(Path(path), within)
    try:
        status = os.stat(path)
    except ValueError:
        raise NotAFileError(errno.EINVAL, "is no file name (it has a zero byte)", str(path)) from None
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        found = "is a folder" if stat.S_ISDIR(status.st_mode) else "is a pipe, socket or device"
        raise NotAFileError(errno.EINVAL, found, str(path))
    return status


def check_no_link(path: Path, within: Path) -> None:
    """Check that a path is in a folder and that no part of it below the folder is a link.

    Raises:
        NotAFileError: it is not.
    """
    place = within
    inside = path.parts[len(within.parts) :]
    if not path.is_relative_to(within) or os.pardir in inside:
        raise NotAFileError(errno.EINVAL, f"is outside the folder {within}", str(path))
    for part in inside:
        place = place / part
        if place.is_symlink():
            raise NotAFileError(errno.ELOOP, f"{place.name} is a link, which is not followed here", str(path))


def open_file(path: str | os.PathLike[str], within: Path | None = None) -> BinaryIO:
    """Open a regular file to be read in bytes; never a pipe, socket or device, which may have no end.

    Args:
        path: may be a link if it is what a user names: a table, weights, an image or a folder of images, since data sets
            are often put together from links.
        within: the folder in which the file is read by a name of ours, or by one that the folder states, such as a shard
            of a store, a record or a render. There neither it nor a folder on the way to it may be a link: a folder that
            was downloaded could show any file of this machine as its own.

    Raises:
        OSError: as `open`; `NotAFileError` where no such file is there.
    """
    check_file(path, within)
    return os.fdopen(os.open(path, _READ | (0 if within is None else getattr(os, "O_NOFOLLOW", 0))), "rb")


def read_bytes(path: str | os.PathLike[str], within: Path | None = None) -> bytes:
    """The bytes of a file that `open_file` opens."""
    with open_file(path, within) as file:
        return file.read()


def sha256_of(path: str | os.PathLike[str], within: Path | None = None) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal; `within` as in `open_file`."""
    digest = hashlib.sha256()
    with open_file(path, within) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# Writing, all or nothing ----------------------------------------------------------------------------------------------


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise `OutputError` now rather than after the work when `path` cannot be written."""
    path = Path(path)
    try:
        _refuse_other_than_file(path)
        if not path.parent.is_dir():
            raise OutputError(f"{path}: the folder {path.parent} does not exist; expected an existing folder")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None


def check_creatable(folder: str | os.PathLike[str]) -> None:
    """Raise `OutputError` now rather than after the work when a folder, which need not exist, cannot be written into."""
    folder = Path(folder)
    there = next((place for place in (folder, *folder.parents) if place.exists()), Path())
    if not there.is_dir():
        raise OutputError(f"{folder}: cannot be written ({there} is a file); expected the name of a folder")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from None


def _refuse_other_than_file(path: Path) -> None:
    try:
        check_file(path)
    except FileNotFoundError:
        pass
    except NotAFileError as error:
        raise OutputError(f"{path}: {error.strerror}; expected the name of a file to write") from None


def as_json(content: Mapping[str, Any]) -> bytes:
    """The bytes of a JSON file that people can read; numbers that are not finite become null."""
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    except ValueError:  # JSON has neither NaN nor infinity
        text = json.dumps(_finite(content), indent=1, ensure_ascii=False)
    return as_bytes(text + "\n")


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def as_bytes(text: str) -> bytes:
    """Text in UTF-8; of names that are no text on disk, the bytes become escapes, which JSON reads back."""
    return text.encode(errors="backslashreplace")


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
                _refuse_other_than_file(path)
                file = stack.enter_context(_beside(path))
                file.write(as_bytes(content) if isinstance(content, str) else content)
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
