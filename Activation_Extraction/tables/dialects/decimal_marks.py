"""What the words of numbers show of their decimal mark and of groups of digits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from Activation_Extraction.tables.identifiers import visible

MARKS = {".": ",", ",": "."}
"""Decimal mark → what groups digits beside it, apart from spaces and apostrophes."""

_SPACES = re.compile("[\u00a0\u202f\u2009]")
PLAIN = {d: re.compile(rf"[+-]?(?:\d+(?:{re.escape(d)}\d*)?|{re.escape(d)}\d+)(?:e[+-]?\d+)?", re.ASCII) for d in MARKS}
GROUPED = {
    d: re.compile(rf"[+-]?[1-9]\d{{0,2}}([{re.escape(g)} '’])\d{{3}}(?:\1\d{{3}})*(?:{re.escape(d)}\d*)?", re.ASCII)
    for d, g in MARKS.items()
}


def bare(word: str) -> str:
    """A number's text with ordinary spaces and minus signs, and without a percent sign."""
    return visible(_SPACES.sub(" ", word)).replace("−", "-").removesuffix("%").strip()


@dataclass(frozen=True)
class Evidence:
    """How many distinct numbers of some columns read in one way alone."""

    point: int = 0
    comma: int = 0
    points_of_both: int = 0
    """Read either way, with different values, plain with a decimal point: `1.234`."""
    commas_of_both: int = 0
    point_groups: int = 0
    """Certainly grouped, and readable with a decimal point: `1,234.5`."""
    comma_groups: int = 0

    @classmethod
    def of(cls, words: Iterable[str]) -> Evidence:
        """The evidence in distinct words."""
        count = dict.fromkeys(cls.__dataclass_fields__, 0)
        for word in map(bare, words):
            plain = [bool(PLAIN[d].fullmatch(word)) for d in MARKS]
            if all(plain):
                continue
            grouped = [bool(GROUPED[d].fullmatch(word)) for d in MARKS]
            count["point"] += (plain[0] or grouped[0]) and not (plain[1] or grouped[1])
            count["comma"] += (plain[1] or grouped[1]) and not (plain[0] or grouped[0])
            count["points_of_both"] += plain[0] and grouped[1]
            count["commas_of_both"] += plain[1] and grouped[0]
            count["point_groups"] += grouped[0] and not plain[1]
            count["comma_groups"] += grouped[1] and not plain[0]
        return cls(**count)

    def decimal(self) -> str | None:
        """The decimal mark that all of it shows."""
        if bool(self.point) == bool(self.comma):
            return None
        return "." if self.point else ","

    def groups(self, decimal: str) -> int:
        return self.point_groups if decimal == "." else self.comma_groups


def reads_in_two_ways(text: str) -> bool:
    return any(PLAIN[d].fullmatch(text) and GROUPED[MARKS[d]].fullmatch(text) for d in MARKS)
