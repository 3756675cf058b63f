"""Checksums of files: lists as `sha256sum` writes them, and several digests of a file in one pass."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from Activation_Extraction.base.errors import InputError, Problem, shown
from Activation_Extraction.base.files import open_file

LIST_NAME = "SHA256SUMS"
LARGEST_LIST = 64 * 2**20
"""Bytes; a line a file is some 100."""

_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(.+)")
_BLOCK_BYTES = 1 << 20
_MOST_PROBLEMS = 5


class Checked(NamedTuple):
    """A complete file compared with what is known of it.

    Attributes:
        by: what it was compared by, such as "SHA-256"; `BY_SIZE` where nothing else is known.
        wrong: what differs; None if nothing does.
    """

    by: str
    wrong: str | None = None


BY_SHA256, BY_SIZE = "SHA-256", "size"


def parse_sums(data: bytes, source: str) -> dict[str, str]:
    """File → SHA-256, from a list as `sha256sum` writes it: a hash and a name in each line.

    Args:
        source: its name in messages.

    Raises:
        InputError: another line, or a file with two hashes.

    >>> list(parse_sums(b"0" * 64 + b"  ./a/b.png\\n", "SHA256SUMS"))
    ['a/b.png']
    """
    if len(data) > LARGEST_LIST:
        raise InputError(f"{source}: {len(data):,} bytes; expected a list of up to {LARGEST_LIST:,} bytes")
    sums: dict[str, str] = {}
    problems = []
    for number, line in enumerate(data.decode("utf-8-sig", "backslashreplace").split("\n"), 1):
        line = line.removesuffix("\r")
        if not line or line.startswith("#"):
            continue
        if (found := _LINE.fullmatch(line)) is None:
            problems.append(Problem(source, shown(line), "64 hexadecimal digits and the name of a file", row=number))
            continue
        digest, name = found[1].lower(), found[2].removeprefix("./")
        if sums.setdefault(name, digest) != digest:
            problems.append(Problem(source, f"{shown(name)} has two hashes", "one a file", row=number))
    if problems:
        raise InputError(problems[:_MOST_PROBLEMS])
    if not sums:
        raise InputError(f"{source}: no line in it; expected the SHA-256 and the name of a file in each line")
    return sums


def compared(path: Path, sha256: str) -> Checked:
    """A file compared with its SHA-256."""
    found = digests_of(path, ["sha256"])["sha256"].hex()
    return Checked(BY_SHA256, None if found == sha256 else f"has the SHA-256 {found}; expected {sha256}")


def digests_of(path: Path, algorithms: Iterable[str]) -> dict[str, bytes]:
    """Digests of a file: `md5`, `sha1`, `sha256` or `crc32`, read once.

    Raises:
        OSError: it cannot be read.
    """
    hashes = {name: _Crc32() if name == "crc32" else hashlib.new(name, usedforsecurity=False) for name in algorithms}
    with open_file(path, path.parent) as file:
        while block := file.read(_BLOCK_BYTES):
            for one in hashes.values():
                one.update(block)
    return {name: one.digest() for name, one in hashes.items()}


def md5_of_parts(path: Path, sizes: Sequence[int]) -> str:
    """The MD5 of the MD5s of a file's parts, in hexadecimal.

    Args:
        sizes: bytes of each part, in order; together those of the file.

    Raises:
        OSError: it cannot be read.
    """
    digests = hashlib.md5(usedforsecurity=False)
    with open_file(path, path.parent) as file:
        for size in sizes:
            part = hashlib.md5(usedforsecurity=False)
            while size and (block := file.read(min(_BLOCK_BYTES, size))):
                part.update(block)
                size -= len(block)
            digests.update(part.digest())
    return digests.hexdigest()


class _Crc32:
    """CRC-32 with the methods of a hash."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, block: bytes) -> None:
        self._value = zlib.crc32(block, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")
