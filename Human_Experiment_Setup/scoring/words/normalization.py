"""Typed words for comparison: Unicode forms, case, accents, punctuation and leading articles aside."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

LONGEST = 100
"""Characters; a longer text in one field names nothing."""
_SEPARATORS = re.compile(r"[,;/|\r\n，；、]+")
_APOSTROPHES = frozenset("'’‘ʼ`´")
_ACCENTS = re.compile("[\u0300-\u036f]")  # of Latin, Greek and Cyrillic; marks of other scripts are letters of theirs
_ARTICLES = {"en": ("a", "an", "the")}


def split_fields(text: str) -> list[str]:
    """What was typed in one field, at commas, semicolons, slashes, bars and line ends.

    >>> split_fields("Bonfire, FIRE")
    ['Bonfire', 'FIRE']
    """
    return [part for part in map(str.strip, _SEPARATORS.split(text)) if part]


@lru_cache(maxsize=2**16)
def normalized(text: str, language: str = "en") -> str:
    """A word or phrase for comparison; empty if it has neither letters, digits nor pictograms.

    >>> normalized("  The PUPPY's! "), normalized("café-crème"), normalized("ﬁre"), normalized("???")
    ('puppys', 'cafe creme', 'fire', '')
    """
    text = unicodedata.normalize("NFKC", text[: 4 * LONGEST]).casefold()
    text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))
    words = "".join(map(_plain, text)).split()
    if len(words) > 1 and words[0] in _ARTICLES.get(language, ()):
        words = words[1:]
    return " ".join(words)


def _plain(character: str) -> str:
    kind = unicodedata.category(character)
    if character in _APOSTROPHES or kind == "Cf" or "\ufe00" <= character <= "\ufe0f":
        return ""
    return character if kind[0] in "LNM" or kind in ("So", "Sk") else " "


def squeezed(words: str) -> str:
    """Normalized words without the spaces between them, so that *sail boat*, *sail-boat* and *sailboat* are one.

    >>> squeezed("sail boat")
    'sailboat'
    """
    return words.replace(" ", "")


def script_of(text: str) -> str:
    """The script of the first letter, such as LATIN; empty without letters.

    >>> script_of("犬"), script_of("dog"), script_of("🐶")
    ('CJK', 'LATIN', '')
    """
    letter = next((c for c in text if c.isalpha()), "")
    return unicodedata.name(letter, "").partition(" ")[0] if letter else ""
