"""A loss of power at some operation on files, for tests of what is on the disk by then."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

_CHANGING = [
    (os, "replace"), (os, "rename"), (os, "fsync"), (os, "mkdir"), (os, "unlink"),
    (Path, "replace"), (Path, "rename"), (Path, "unlink"), (shutil, "rmtree"),
]  # fmt: skip


class Killed(BaseException):
    """Stands for the end of the process: nothing handles it."""


@contextmanager
def power_lost_at(call, folder):
    """From the `call`-th operation that changes files on, nothing works; what was not flushed by then is empty.

    Yields a list, which holds something once that has happened.
    """
    originals = {(place, name): getattr(place, name) for place, name in _CHANGING}
    flushed: set[int] = set()
    lost: list[str] = []
    count = 0

    def dying(place, name):
        def operation(*arguments, **options):
            nonlocal count
            count += 1
            if lost or count == call:
                lost.append(name)
                raise Killed(f"{name} {arguments}")
            result = originals[place, name](*arguments, **options)
            if name == "fsync":
                flushed.add(os.fstat(arguments[0]).st_ino)
            return result

        return operation

    for place, name in _CHANGING:
        setattr(place, name, dying(place, name))
    try:
        yield lost
    finally:
        for (place, name), original in originals.items():
            setattr(place, name, original)
        if lost:
            for path in folder.rglob("*"):
                if path.is_file() and path.stat().st_ino not in flushed:
                    path.write_bytes(b"")
