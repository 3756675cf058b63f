"""How a CSV or workbook is to be read, `--csv "sep=; decimal=, encoding=latin-1"`: what is not told is found out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.base.text import printable
from Activation_Extraction.base.validation import validated

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
    file: Annotated[str, Field(min_length=1, description="the name of a table")] | None = None
    """The table that this is told of, where it is not the one that a command is about."""

    def as_dict(self) -> dict[str, str]:
        """What is told of how to read, as JSON can hold it."""
        return {name: value for name, value in asdict(self).items() if value is not None and name != "file"}

    def typed(self, pairs: str) -> str:
        """What to type for this table.

        >>> CsvOptions(file="b.csv").typed("decimal=,")
        '--csv "file=b.csv decimal=,"'
        """
        return f'{OPTION} "{"" if self.file is None else f"file={self.file} "}{pairs}"'


Given: TypeAlias = "str | Mapping[str, Any] | CsvOptions | None"


@plain_dataclass(frozen=True)
class TableOptions:
    """What is told of the tables of a command: of those that it is about, and, with `file=`, of any.

    Attributes:
        is_main: whether these tables are what the command is about.
    """

    told: tuple[CsvOptions, ...] = ()
    is_main: bool = True

    def of(self, path: str | os.PathLike[str]) -> CsvOptions:
        """What is told of a table."""
        mine = next((options for options in self.told if options.file and _is_named(options.file, path)), None)
        if mine is None and self.is_main:
            mine = next((options for options in self.told if options.file is None), CsvOptions())
        name = None if self.is_main else printable(os.path.basename(path)) or None
        return CsvOptions(file=name) if mine is None else replace(mine, file=name)

    def of_others(self) -> TableOptions:
        """The same for tables that the command is not about."""
        return replace(self, is_main=False)

    def refuse_unused(self, main: Sequence[Any], others: Sequence[Any] = ()) -> None:
        """Refuse what is told of no table.

        Args:
            main, others: what the command is about, and what else it reads; those that are no paths are left out.

        Raises:
            InputError: a file that is none of them; no file, where it could be of several.
        """
        of_main, of_others = ([os.fspath(one) for one in some if isinstance(one, str | os.PathLike)] for some in (main, others))  # fmt: skip
        paths = [*of_main, *of_others]
        names = " or ".join(f"file={os.path.basename(path)}" for path in dict.fromkeys(paths)) or "a table to read"
        for options in self.told:
            if options.file is None and not of_main:
                raise InputError(f"{OPTION}: names no file; expected {names} in it")
            if options.file is not None and not any(_is_named(options.file, path) for path in paths):
                raise InputError(f"{OPTION}: file={options.file} is none of the tables; expected {names}")


def _is_named(name: str, path: str | os.PathLike[str]) -> bool:
    """Whether a name is that of a path, or the end of it."""
    parts = os.path.normpath(path).split(os.sep)
    named = os.path.normpath(name).split(os.sep)
    return parts[-len(named) :] == named


def table_options(given: Given | Sequence[Given] | TableOptions) -> TableOptions:
    """Options of several tables, each as `csv_options` takes them.

    Raises:
        InputError: those of one table twice.

    >>> table_options(["sep=;", "file=b.csv decimal=,"]).of_others().of("data/b.csv").as_dict()
    {'decimal': ','}
    """
    if isinstance(given, TableOptions):
        return given
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    told = tuple(csv_options(one) for one in several if one is not None)
    files = [options.file for options in told]
    if twice := next((file for file in files if file is not None and files.count(file) > 1), None):
        raise InputError(f"{OPTION}: found twice for {shown(twice)}; expected one for each table")
    if files.count(None) > 1:
        raise InputError(f"{OPTION}: found {files.count(None)} times without file=; expected the name of a table in each, such as file=data.csv")  # fmt: skip
    return TableOptions(told)


def csv_options(given: Given) -> CsvOptions:
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
