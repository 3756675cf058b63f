"""Names from outside (concepts, units, images, layers, models) as names of files; manifests keep the names themselves."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.base.files import as_bytes

K = TypeVar("K", bound=Hashable)

LONGEST = 120
"""Bytes; disks allow from 143, and suffixes follow."""

LONGEST_PART = 130
"""Bytes of a part of a path with its suffix; what a download adds until it is complete follows."""

_DIGITS = 12
_NOT_IN_NAMES = frozenset('/\\:*?"<>|')
"""On one disk or another."""
_SUFFIX = re.compile(r"[A-Za-z0-9]{1,8}")
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)\d?)(\.|$)", re.IGNORECASE)
"""Devices on Windows, whatever the suffix."""


def file_name(name: str) -> str:
    """A name as that of a file or folder, without a suffix: one part of a path, the same for the same name.

    Letters, digits and `_.+#-` stay, others become `_`, also a dot or dash at the start; long names are cut and end with
    a part of their hash. Where several names share a folder, `file_names` tells them apart.

    >>> file_name("image_block_4/5/Relu_2"), file_name("../x"), file_name("-rf"), file_name("NUL")
    ('image_block_4_5_Relu_2', '_._x', '_rf', '_NUL')
    """
    text = "".join(c if _is_kept(c) else "_" for c in unicodedata.normalize("NFC", name)) or "_"
    text = re.sub(r"^[.-]|\.$", "_", text)
    if unicodedata.category(text[0])[0] == "M" or _RESERVED.match(unicodedata.normalize("NFKC", text)):
        text = f"_{text}"
    return text if len(text.encode()) <= LONGEST else _marked(text, name)


def file_names(wanted: Mapping[K, str]) -> dict[K, str]:
    """Names for files of one folder, different on every disk: none are the same but for capitals or accents' encoding.

    Args:
        wanted: what each file is for → its name; where two would be one, both end with a part of the hash of the key.

    Raises:
        InputError: names that were made to collide.

    >>> file_names({"fire": "fire", "Fire": "Fire", "a/b": "a/b"})
    {'fire': 'fire-dc9f28b12dd1', 'Fire': 'Fire-c141faa80e43', 'a/b': 'a_b'}
    """
    chosen = {key: file_name(name) for key, name in wanted.items()}
    taken = Counter(map(folded, chosen.values()))
    chosen = {key: _marked(text, key) if taken[folded(text)] > 1 else text for key, text in chosen.items()}
    taken = Counter(map(folded, chosen.values()))
    if twins := [name for key, name in wanted.items() if taken[folded(chosen[key])] > 1]:
        raise InputError(f"names {' and '.join(map(shown, twins[:2]))}: cannot be told apart as files; expected others")
    return chosen


def paths_below(names: Iterable[str], beside: Iterable[str] = ()) -> dict[str, str]:
    """Names of several parts, such as keys of a bucket, as paths below a folder, different on every disk.

    Parts that every disk can hold stay as they are; others become what `file_name` makes of them, with their suffix, so
    that no path leaves the folder. Where a path is also that of another name, or of a folder that another name needs, it
    ends with a part of the hash of its name.

    Args:
        beside: ends of names that each path reserves for itself, such as `.part`.

    Raises:
        InputError: names that were made to collide.

    >>> list(paths_below(["a/cat 1.png", "../x", "/etc/a:b.txt", "fire", "fire/1.png"]).values())
    ['a/cat 1.png', '__/x', '_/etc/a_b.txt', 'fire-dc9f28b12dd1', 'fire/1.png']
    """
    ends = ("", *beside)
    paths = {name: "/".join(map(_part, name.split("/"))) for name in names}
    for twin in _not_alone(paths, ends):
        folder, _, last = paths[twin].rpartition("/")
        stem, suffix = _stem_and_suffix(last)
        paths[twin] = f"{folder}/{_marked(stem, twin)}{suffix}".removeprefix("/")
    if twins := _not_alone(paths, ends):
        raise InputError(f"names {' and '.join(map(shown, twins[:2]))}: cannot be told apart as files; expected others")
    return paths


def _not_alone(paths: Mapping[str, str], ends: Iterable[str]) -> list[str]:
    """Names whose path, or what it reserves, is also that of another file or of a folder."""
    same = {name: folded(path) for name, path in paths.items()}
    claims = Counter(path + end for path in same.values() for end in ends)
    folders: set[str] = set()
    for path in same.values():
        while (path := path.rpartition("/")[0]) and path not in folders:
            folders.add(path)
    return [name for name, path in same.items() if any(claims[path + e] > 1 or path + e in folders for e in ends)]


def _part(text: str) -> str:
    """One part of a path, unchanged where every disk can hold it."""
    if (
        text.isprintable()
        and text
        and not _NOT_IN_NAMES & set(text)
        and text[0] not in ".-~"
        and text[-1] not in ". "
        and unicodedata.category(text[0])[0] != "M"
        and len(text.encode()) <= LONGEST_PART
        and not _RESERVED.match(unicodedata.normalize("NFKC", text))
    ):
        return text
    stem, suffix = _stem_and_suffix(text)
    return file_name(stem) + suffix


def _stem_and_suffix(text: str) -> tuple[str, str]:
    stem, dot, suffix = text.rpartition(".")
    return (stem, dot + suffix) if stem and _SUFFIX.fullmatch(suffix) else (text, "")


def without_folders(content: Any, paths: Iterable[str | os.PathLike[str]]) -> Any:
    """What a file says, with the last part of each of these paths in the place of the path, wherever a text has it.

    Results and manifests are shared, and where files were on one machine tells nobody else anything.

    >>> without_folders({"notes": ["/home/me/data.csv: 3 rows"], "n": 3}, ["/home/me/data.csv"])
    {'notes': ['data.csv: 3 rows'], 'n': 3}
    >>> without_folders("/a/b/ and /a/b", ["/a/b/"])
    'b and b'
    """
    given = [os.fspath(path) for path in paths]
    spelled = {text for path in given for text in (path, str(Path(path)))}  # with a slash at the end, and without
    named = {text: Path(text).name for text in sorted(spelled, key=len, reverse=True)}

    def of(value: Any) -> Any:
        if isinstance(value, str):
            for path, name in named.items():
                value = value.replace(path, name) if name else value
            return value
        if isinstance(value, Mapping):
            return {of(key): of(one) for key, one in value.items()}
        return [of(one) for one in value] if isinstance(value, list | tuple) else value

    return of(content)


def folded(name: str) -> str:
    """What a disk that tells neither capitals nor encodings of accents apart takes a name for."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _is_kept(character: str) -> bool:
    return character in "_.+#-" or character.isalnum() or unicodedata.category(character)[0] == "M"


def _marked(text: str, key: object) -> str:
    """A file's name that ends with a part of a hash."""
    digest = hashlib.sha256(as_bytes(key if isinstance(key, str) else repr(key))).hexdigest()[:_DIGITS]
    return f"{text.encode()[: LONGEST - 1 - _DIGITS].decode(errors='ignore')}-{digest}"
