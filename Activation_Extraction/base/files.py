"""Files on disk: their hashes, and writing them all or nothing."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from Activation_Extraction.base.errors import OutputError


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


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of `path` once that is done; until then `path` is what it was.

    What a killed run leaves beside it, the next one overwrites.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)  # its room is needed on a disk that is full
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is never there in part.

    Raises:
        OutputError: disk full, no permission.
    """
    try:
        with written_whole(path) as file:
            file.write(content)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None


def write_together(contents: Mapping[Path, str]) -> None:
    """Write several text files so that each is either the old one or the whole new one.

    All are written beside their targets first and moved into place only when every one is complete.

    Raises:
        OutputError: disk full, no permission; the old files are untouched.
    """
    written: list[tuple[str, Path]] = []
    path = next(iter(contents))
    try:
        for path, text in contents.items():
            if path.is_dir():
                raise OutputError(f"{path}: is a folder; expected the name of a file to write")
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
            written.append((temporary, path))
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
        for temporary, path in written:
            os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        for temporary, _ in written:
            Path(temporary).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
