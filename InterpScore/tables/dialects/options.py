"""How a CSV or workbook is to be read, `--csv "sep=; decimal=, encoding=latin-1"`: what is not told is found out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from Activation_Extraction.base.validation import validated
from InterpScore.errors import InputError, shown

OPTION = "--csv"
EXPECTED = 'pairs such as "sep=; decimal=, encoding=latin-1"'

_WORDS = {
    "comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "space": " ", "pipe": "|", "bar": "|", "point": ".",
    "dot": ".", "apostrophe": "'", "none": "",
}  # fmt: skip
_NAMES = {";": "';'", ",": "','", "\t": "tab", "|": "'|'", " ": "space"}
_PAIR = re.compile(r"(\w+)=(.*?)(?=\s+\w+=|\s*$)", re.DOTALL)


def _character(value: Any) -> Any:
    """A character, or the word for it."""
    return _WORDS.get(value.casefold(), value) if isinstance(value, str) else value


def _one_of(characters: str) -> Any:
    def check(value: str) -> str:
        if value not in characters:
            raise ValueError
        return value

    return AfterValidator(check)


def _encoding(value: str) -> str:
    try:
        "a".encode(value)
    except (LookupError, ValueError):
        raise ValueError("the name of an encoding") from None
    return value


Character = BeforeValidator(_character)
Separator = Annotated[str, Character, Field(min_length=1, max_length=1, description="one character, or comma, semicolon, tab, space, pipe")]  # fmt: skip
Decimal = Annotated[str, Character, _one_of(".,"), Field(min_length=1, description="a point or a comma")]
Thousands = Annotated[str, Character, _one_of(".,' "), Field(description="point, comma, space, apostrophe or none")]
Quote = Annotated[str, Character, _one_of("\"'"), Field(description="a double or single quote, or none")]
Comment = Annotated[str, Character, Field(max_length=1, description="the character that comment lines start with, or none")]  # fmt: skip
Encoding = Annotated[str, AfterValidator(_encoding), Field(description="the name of an encoding, such as utf-8, cp1252 or utf-16")]  # fmt: skip


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CsvOptions:
    """What is known of a table in a text file or a workbook; None is found out."""

    sep: Separator | None = None
    decimal: Decimal | None = None
    thousands: Thousands | None = None
    """Between groups of three digits; "" where numbers have no groups."""
    encoding: Encoding | None = None
    quote: Quote | None = None
    comment: Comment | None = None
    sheet: str | None = None

    def as_dict(self) -> dict[str, str]:
        """What is told, as JSON can hold it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def csv_options(given: str | Mapping[str, Any] | CsvOptions | None) -> CsvOptions:
    """Options from text, as on the command line, or from a mapping.

    Raises:
        InputError: an unknown key, a value that is none of its kind, the same key twice.

    >>> csv_options("sep=; decimal=comma").as_dict()
    {'sep': ';', 'decimal': ','}
    """
    if given is None or isinstance(given, CsvOptions):
        return given or CsvOptions()
    if isinstance(given, str):
        pairs = _PAIR.findall(given)
        if _PAIR.sub("", given).strip() or len(dict(pairs)) < len(pairs) or not pairs:
            raise InputError(f"{OPTION}: found {shown(given)}; expected {EXPECTED}")
        given = dict(pairs)
    options = validated(CsvOptions, given, OPTION)
    if options.decimal and options.decimal == options.thousands:
        raise InputError(f"{OPTION}: thousands and decimals have the same mark {mark(options.decimal)}; expected two")
    return options


def mark(separator: str) -> str:
    """A separator in a message."""
    return _NAMES.get(separator, repr(separator))
