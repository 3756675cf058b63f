"""Bytes of a text file as text: compressed or not, in UTF-8, UTF-16, UTF-32 or, where nothing else fits, CP1252."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from io import BytesIO
from pathlib import Path

from Activation_Extraction.base.errors import InputError, Problem
from Activation_Extraction.tables.dialects.options import CsvOptions

HEAD_BYTES = 2**20
"""Bytes from which a file's encoding, separator and quotes are found out."""
LARGEST = 2**32
"""Bytes of a compressed table."""
GZIP = b"\x1f\x8b"

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_WESTERN = re.compile(
    r"(?:[À-ÖØ-öø-ÿŒœ]|(?<![A-Za-z])[€–—•…‰«»°±²³µ¹¼½¾¿¡§©®™·ªº¶£¥¢´‘‚“”„†‡‹›\u00a0]|[€–—…°²³™®©”“ªº»’\u00a0](?![A-Za-z])|’){1,2}"
)
"""Letters and marks in CP1252 that are unlikely to be letters of another encoding there."""
_OTHER = re.compile(r"[^\x00-\x7f]+")


def unpacked(data: bytes, path: Path) -> bytes:
    """The bytes of a file, decompressed if it is gzip.

    Raises:
        InputError: a damaged file.
    """
    if not data.startswith(GZIP):
        return data
    try:
        with gzip.GzipFile(fileobj=BytesIO(data)) as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise InputError([Problem(str(path), "a gzip file of very much", f"up to {LARGEST:,} bytes in it")])
        return text
    except (OSError, EOFError, zlib.error) as error:
        raise InputError([Problem(str(path), f"not a readable gzip file ({error})", "a complete one")]) from None


def decoded(data: bytes, path: Path, options: CsvOptions) -> tuple[str, str]:
    """The text of a file and its encoding.

    Raises:
        InputError: bytes that are not in the encoding told; without one, bytes that may be in several.
    """
    encoding = options.encoding or encoding_of(data)
    try:
        if encoding:
            return data.decode(encoding).removeprefix("\ufeff"), encoding
    except (UnicodeDecodeError, UnicodeError) as error:
        found = f"bytes that are not {encoding} (at byte {getattr(error, 'start', 0)})"
        raise InputError([Problem(str(path), found, f"another encoding: {options.typed('encoding=…')}")]) from None
    row = data[: _first_wrong_byte(data)].replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n") + 1
    found = "bytes that are not UTF-8, and may be in several other encodings"
    expected = f"a CSV in UTF-8, or its encoding: {options.typed('encoding=cp1252')} (or cp1251, shift_jis, …)"
    raise InputError([Problem(str(path), found, expected, row=row)])


def encoding_of(data: bytes) -> str | None:
    """The one encoding that bytes can be in; None if it is undecided."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    head = data[:HEAD_BYTES]
    for encoding, of_ascii in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if len(head) > 3 and of_ascii.count(0) > 0.7 * len(of_ascii) and not len(data) % 2:
            return encoding
    if _first_wrong_byte(data) is None:
        return "utf-8"
    return "cp1252" if _is_western(data) else None


def _first_wrong_byte(data: bytes) -> int | None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def _is_western(data: bytes) -> bool:
    """Whether bytes above 127 are single accented letters and typographic marks, and no UTF-8 is among them."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return False
    return all(
        _WESTERN.fullmatch(text, found.start(), found.end()) and not _is_utf8(found[0])
        for found in _OTHER.finditer(text)
    )


def _is_utf8(run: str) -> bool:
    try:
        run.encode("cp1252").decode()
    except UnicodeDecodeError:
        return False
    return True
