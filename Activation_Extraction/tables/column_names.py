"""The columns that a table's headers mean: in any case, with spaces, dots or hyphens, and units as numbers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

import pandas as pd

from Activation_Extraction.base.errors import Problem, listed_up_to, shown
from Activation_Extraction.tables.identifiers import unit_number, visible

SHOWN_NAMES = 4
"""Columns named in a note; the rest are counted."""

_GAP = r"[\s._-]+"
_OF_UNIT = re.compile(
    rf"((?:(?:mean{_GAP}|resample{_GAP})?ablation|amplification|toward|scale_[-+.\de]+){_GAP}effect|activation){_GAP}(.+)",
    re.IGNORECASE | re.DOTALL,
)
_FOLDED = re.compile(r"[a-z]+(?:_[a-z]+)*(?:_(?:0|[1-9][0-9]*))?")
"""Most names."""
_GAPS = re.compile(_GAP)


def folded(name: str) -> str:
    """A header for comparison.

    >>> folded(" Soft.Correct"), folded("activation 022.0"), folded("Ablation.Effect_layer4.5:7")
    ('soft_correct', 'activation_22', 'ablation_effect_layer4.5:7')
    """
    if _FOLDED.fullmatch(name):
        return name
    name = visible(unicodedata.normalize("NFKC", name))
    if match := _OF_UNIT.fullmatch(name):
        return f"{_plain(match[1])}_{unit_number(match[2])}"
    return _plain(name)


def _plain(name: str) -> str:
    if name.casefold().startswith("scale_"):  # its number may have a point
        return name.casefold()
    return _GAPS.sub("_", name).strip("_").casefold()


class ColumnNames:
    """Finds expected columns among the headers of a table.

    Args:
        expected: the names of our columns.
        units: whether columns of any unit are expected, too.
    """

    def __init__(self, expected: Iterable[str], units: bool = False) -> None:
        self._expected = set(expected)
        self._meant = {folded(name): name for name in self._expected}
        self._units = units
        self._seen: dict[str, str | None] = {}

    def meant(self, name: str) -> str | None:
        """Our name of a header, None if it is none of ours."""
        if name in self._expected:
            return name
        if name not in self._seen:
            key = folded(name)
            is_unit = self._units and "_" in key and bool(_OF_UNIT.fullmatch(key))
            self._seen[name] = self._meant.get(key, key if is_unit else None)
        return self._seen[name]

    def __contains__(self, name: object) -> bool:
        return self.meant(str(name)) is not None

    def renamed(self, frame: pd.DataFrame, source: str, problems: list[Problem], notes: list[str]) -> pd.DataFrame:
        """A table with our names; two columns that mean the same are a problem."""
        headers: dict[str, list[str]] = {}
        for header in frame:
            if (name := self.meant(str(header))) is not None:
                headers.setdefault(name, []).append(header)
        for name, same in headers.items():
            if len(same) > 1:
                found = f"the columns {' and '.join(shown(header) for header in same)} may both be {name}"
                problems.append(Problem(source, found, "one of them"))
        other = {header: name for name, (header, *_) in headers.items() if header != name}
        if other:
            notes.append(f"column {', '.join(_listed(other))}")
        if other or len(headers) < frame.shape[1]:  # otherwise not even copied
            frame = frame.rename(columns=other)
            frame = frame.loc[:, ~frame.columns.duplicated()]
        return frame


def _listed(other: dict[str, str]) -> list[str]:
    def pairs() -> Iterator[str]:
        for header, name in other.items():
            yield f"{shown(header)} as {name}"

    return listed_up_to(list(pairs()), SHOWN_NAMES)
