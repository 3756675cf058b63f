"""Names of units, images and participants as they were before another program damaged them, where that is certain."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from Activation_Extraction.base.errors import shown

_INVISIBLE = re.compile(
    "[\u00ad\u200b\u2060\ufeff\u200e\u200f\u202a-\u202e\u2066-\u2069]|^[\u200c\u200d]+|[\u200c\u200d]+$"
)
_WHOLE = re.compile(r"(\d+)(?:[.,]0*)?")
_POWER_OF_TEN = re.compile(r"(\d)e\+(\d{1,2})", re.IGNORECASE)
_ROUNDED = re.compile(r"\d([.,]\d+)?e\+\d+", re.IGNORECASE)
_FRACTION = re.compile(r"\d+[.,]\d*[1-9]\d*")
_WHOLE_AS_FRACTION = re.compile(r"(\d+)[.,]0+")
_DIGITS = re.compile(r"\d+", re.ASCII)
EXACT_DIGITS = 15
"""Digits of a number that spreadsheets keep; those beyond become 0."""


def as_words(values: pd.Series) -> pd.Series:
    """A column as text without surrounding space; missing values are empty."""
    cells = values.to_numpy(dtype=object)
    listed = cells.tolist()
    if set(map(type, listed)) == {str}:
        words = [cell.strip() for cell in listed]
    else:
        words = [str(cell).strip() if is_there else "" for cell, is_there in zip(listed, pd.notna(cells).tolist())]
    return pd.Series(words, index=values.index, dtype=object)  # several times faster than methods of pandas


def visible(text: str) -> str:
    r"""A text without invisible characters, and without space around it.

    >>> visible("\ufeffcat\u200b\u00a0")
    'cat'
    """
    return text.strip() if text.isascii() else _INVISIBLE.sub("", text).strip()


def unit_number(unit: object) -> str:
    """A unit's name for comparison: as a number without leading zeros, decimals or exponent; else as it is.

    >>> unit_number("007"), unit_number(" 22.0"), unit_number("layer4.5:089"), unit_number("1e+05"), unit_number("5+9")
    ('7', '22', 'layer4.5:89', '100000', '5+9')
    >>> unit_number("¨"), unit_number("1²")  # no numbers: left as they are
    ('¨', '1²')
    """
    layer, colon, name = visible(str(unit)).rpartition(":")
    if any(sign.isnumeric() and not sign.isdecimal() for sign in name):  # superscripts, circled numbers, fractions
        return f"{layer}{colon}{name}"
    number = unicodedata.normalize("NFKC", name)
    if power := _POWER_OF_TEN.fullmatch(number):
        number = power[1] + "0" * int(power[2])
    if whole := _WHOLE.fullmatch(number):
        name = str(int(whole[1])) if len(whole[1]) < 1000 else whole[1]
    return f"{layer}{colon}{name}"


@dataclass(frozen=True)
class Identifiers:
    """A column of names, repaired.

    Attributes:
        words: the names.
        notes: what was repaired.
        lost: cells whose name cannot be told; why: the reason.
    """

    words: pd.Series
    notes: list[str] = field(default_factory=list)
    lost: NDArray[np.bool_] | None = None
    why: str = ""


def repaired(words: pd.Series) -> Identifiers:
    """Names of participants or images, without surrounding space, with `1001.0` as `1001`.

    Names in scientific notation are lost, and so are `7` beside `007` and numbers whose last digits a spreadsheet made 0:
    several people may share such a name.
    """
    distinct = words.unique().tolist()
    clean = {word: visible(word) for word in distinct}
    notes = []
    if changed := sum(clean[word] != word.strip() for word in distinct):
        notes.append(f"invisible characters left out of {changed}")
    if not any(_FRACTION.fullmatch(word) for word in clean.values()):
        whole = {word: _WHOLE_AS_FRACTION.sub(r"\1", text) if _WHOLE_AS_FRACTION.fullmatch(text) else text for word, text in clean.items()}  # fmt: skip
        if changed := [word for word in distinct if whole[word] != clean[word]]:
            notes.append(f"{shown(changed[0])} read as {shown(whole[changed[0]])}")
        clean = whole
    names = set(clean.values())
    lost, why = (
        {name for name in names if _ROUNDED.fullmatch(name)},
        "rounded by a spreadsheet, so that several may be one",
    )
    if not lost:
        long = {name for name in names if _DIGITS.fullmatch(name) and len(name) > EXACT_DIGITS}
        tails = "".join(name[EXACT_DIGITS:] for name in long)
        lost = long if len(tails) > 2 and not tails.strip("0") else set()
    if not lost:
        twins: dict[str, set[str]] = {}
        for name in filter(_DIGITS.fullmatch, names):
            twins.setdefault(name.lstrip("0"), set()).add(name)
        lost = {name for same in twins.values() if len(same) > 1 for name in same}
        why = f"may be the same, without its leading zeros, as {shown(max(lost, key=len))}" if lost else ""
    repaired_words = pd.Series([clean[word] for word in words], index=words.index, dtype=object)
    return Identifiers(repaired_words, notes, repaired_words.isin(lost).to_numpy() if lost else None, why)
