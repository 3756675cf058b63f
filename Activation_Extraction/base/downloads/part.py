"""The part of a file that has arrived so far: beside its place, with a record of its source, written by one process at a time.

It is `<target>.part`; `<target>.part.json` records its source, so that a later run or another process resumes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.downloads.sources import Source
from Activation_Extraction.base.errors import InputError, OutputError
from Activation_Extraction.base.files import PART, NotAFileError, check_file, write_together

Report = Callable[[int, "int | None"], None]
"""Called with bytes so far, and bytes in all or None."""

BESIDE = (PART, f"{PART}.json", f"{PART}.lock")
"""What a download adds to the name of its target until it is complete."""


@contextmanager
def only_one(target: Path, report: Report) -> Iterator[None]:
    """Lock `target`; while another process has the lock, report its progress.

    Raises:
        OutputError: it cannot be written, or something else than a file is at the name of its part.
    """
    part = Part(target, None)
    part.check()
    lock = FileLock(f"{part.path}.lock")
    try:
        while not lock.is_locked:
            try:
                lock.acquire(timeout=0)
                if not os.path.exists(lock.lock_file):  # removed by the process that had it, so no other would see it
                    lock.release()
            except Timeout:
                report(part.size, None)
                time.sleep(0.2)
    except OSError as error:
        raise OutputError(f"{lock.lock_file}: cannot be written ({error.strerror})") from None
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(lock.lock_file)
        lock.release()


def bytes_so_far(target: Path) -> int:
    """How much of a file has arrived and is kept in its part."""
    return Part(target, None).size


class Part:
    """The bytes that have arrived so far, and their source."""

    def __init__(self, target: Path, sha256: str | None) -> None:
        self.target, self.sha256 = target, sha256
        self.path, self.origin_path, self.lock_path = (target.with_name(f"{target.name}{end}") for end in BESIDE)
        self.stitched = self.size > 0  # from several answers, so perhaps from two versions of the file
        self.fresh = False  # fetched again for that reason

    def check(self) -> None:
        """Refuse what is no file at the names of the part; a link there would be written through."""
        for path in (self.path, self.origin_path, self.lock_path):
            with suppress(FileNotFoundError):
                try:
                    check_file(path, path.parent)
                except NotAFileError as error:
                    message = f"{path}: {error.strerror}; expected the part of a download, or nothing: remove it"
                    raise OutputError(message) from None

    @property
    def size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def resumed_from(self, source: Source) -> tuple[int, str | None]:
        """The first missing byte, and the version that it must be of; removes a part that cannot be resumed."""
        if not self.size:
            return 0, None
        origin = self._origin()
        validator = origin.get("validator") if origin.get("url") == source.name else None
        # A known hash detects parts of different versions; without one the server's validator must.
        if origin.get("sha256") != self.sha256 or not (self.sha256 or validator):
            self.remove()
            return 0, None
        return self.size, validator

    def _origin(self) -> dict[str, str]:
        try:
            origin = read_json(self.origin_path) or {}
        except InputError:
            return {}
        return {name: value for name, value in origin.items() if isinstance(value, str) and value.isprintable()}

    def start_over(self, source: Source, validator: str | None) -> None:
        self.remove()
        origin = {"url": source.name, "validator": validator, "sha256": self.sha256}
        write_together({self.origin_path: json.dumps(origin, indent=1) + "\n"})

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.origin_path.unlink(missing_ok=True)
        self.stitched = False

    def move_into_place(self) -> None:
        try:
            with self.path.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(self.path, self.target)
        except OSError as error:
            raise OutputError(f"{self.target}: cannot be written ({error.strerror})") from None
        self.remove()
