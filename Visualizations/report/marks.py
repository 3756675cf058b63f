"""What the page is made of: names that stay text, numbers that tell which cell of the results they are, bars of intervals.

A number is `<span data-column="S">0.992</span>` inside an element with `data-row`, its row in the CSV, so that scripts and
tests can look it up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from statistics import median
from typing import Any

from markupsafe import Markup

from Activation_Extraction.base.text import printable

Row = Mapping[str, Any]
WORDS = {"S": "Selectivity", "C": "Causality", "R": "Robustness", "H": "Human alignment"}
MISSING = Markup('<span class="none"><span aria-hidden="true">–</span><span class="hidden">missing</span></span>')
MOST_DOTS, _BINS = 200, 50
_COUNTS = ("Rank", "Rank_low", "Rank_high")


def named(text: object) -> Markup:
    r"""A name from outside: every character visible, and its direction of writing kept to itself.

    >>> named("<b>\u202efire")
    Markup('<bdi>&lt;b&gt;\\u202efire</bdi>')
    """
    return Markup("<bdi>{}</bdi>").format(printable(text))


def coded(text: str) -> Markup:
    """A sentence in which `names of commands` and --options look like code.

    >>> coded("add --data, of `interpscore score`")
    Markup('add <code>--data</code>, of <code>interpscore score</code>')
    """
    parts = re.split(r"`([^`]+)`|((?<![\w-])--[a-z][a-z-]+)", printable(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if at % 3 and part else (part or "") for at, part in enumerate(parts)
    )


def is_missing(value: object) -> bool:
    """Whether a cell is empty."""
    return value is None or value == "" or (isinstance(value, float) and not math.isfinite(value))


def digits(value: float, decimals: int = 3) -> str:
    """A number as text, with a real minus and no negative zero; small ones in powers of ten.

    >>> digits(0.99194), digits(-0.0001, 2), digits(-0.28, 2), digits(3.9e-6), digits(2040), digits(123.456)
    ('0.992', '0.00', '−0.28', '3.9e−06', '2,040', '123.5')
    """
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 10):
        return f"{int(value):,}".replace("-", "−")
    if decimals >= 3 and 0 < abs(value) < 0.0005:
        return f"{value:.1e}".replace("-", "−")
    text = f"{value:.{decimals if abs(value) < 100 else 1}f}"
    return text.removeprefix("-") if not float(text) else text.replace("-", "−")


def number(row: Row, column: str, decimals: int = 3) -> Markup:
    """A cell of the results as text; "–" where it is empty."""
    value: Any = row.get(column)
    if is_missing(value):
        return MISSING
    is_count = column in _COUNTS or column.startswith("n_")
    shown = digits(int(value), 0) if is_count else digits(value, decimals)
    return Markup('<span data-column="{}">{}</span>').format(printable(column), shown)


def interval(row: Row, column: str, decimals: int = 2) -> Markup:
    """`[0.55, 0.73]`; nothing where there is no interval, or no value that it could be of."""
    low, high = f"{column}_low", f"{column}_high"
    if any(is_missing(row.get(name)) for name in (column, low, high)):
        return Markup("")
    return Markup('<span class="ends">[{}, {}]</span>').format(number(row, low, decimals), number(row, high, decimals))


def bar(row: Row, column: str, untrained: str = "") -> Markup:
    """A component from 0 to 1: its value, its interval, and where `untrained` names a column, a mark at that.

    It repeats numbers that are written beside it, so screen readers skip it.
    """
    value: Any = row.get(column)
    if is_missing(value):
        return Markup("")
    parts = ['<line class="axis" x1="0%" x2="100%" y1="8" y2="8"/>']
    low: Any = row.get(f"{column}_low")
    high: Any = row.get(f"{column}_high")
    if not is_missing(low) and not is_missing(high):
        parts.append(f'<line class="interval" x1="{_at(low)}" x2="{_at(high)}" y1="8" y2="8"/>')
    other: Any = row.get(untrained)
    if not is_missing(other):
        parts.append(f'<svg x="{_at(other)}" y="8" class="untrained"><path d="M0-4.5 4.5 0 0 4.5-4.5 0z"/></svg>')
    parts.append(f'<circle class="value" cx="{_at(value)}" cy="8" r="3.75"/>')
    name = column if column in WORDS or column == "InterpScore" else "other"
    return Markup(f'<svg class="bar {name}" height="16" aria-hidden="true" focusable="false">{"".join(parts)}</svg>')


def dots(rows: list[Row], column: str) -> Markup:
    """A component of all neurons on one line from 0 to 1, with a stroke at the median: dots, of many neurons a histogram."""
    values = sorted(float(row[column]) for row in rows if not is_missing(row.get(column)))
    if not values:
        return Markup("")
    if len(values) > MOST_DOTS:
        marks = _histogram(values)
    else:
        marks = "".join(f'<circle class="value" cx="{_at(value)}" cy="8" r="3.75"/>' for value in values)
    name, middle = column if column in WORDS or column == "InterpScore" else "other", _at(median(values))
    return Markup(
        f'<svg class="bar dots {name}" height="16" aria-hidden="true" focusable="false"><line class="axis" x1="0%" '
        f'x2="100%" y1="8" y2="8"/>{marks}<line class="median" x1="{middle}" x2="{middle}" y1="0" y2="16"/></svg>'
    )


def _histogram(values: list[float]) -> str:
    """Bars on the axis of `dots`, as high as they have neurons."""
    counts = [0] * _BINS
    for value in values:
        counts[min(_BINS - 1, max(0, int(value * _BINS)))] += 1
    heights = [16 * count / max(counts) for count in counts]
    return "".join(
        f'<rect class="bin" x="{100 * at / _BINS:g}%" width="{100 / _BINS:g}%" y="{8 - height / 2:.2f}" height="{height:.2f}"/>'
        for at, height in enumerate(heights)
        if height
    )


def component(name: str) -> Markup:
    """A component by its word and its letter."""
    return Markup("{} <b>{}</b>").format(WORDS[name], name) if name in WORDS else named(name)


def spread(rows: list[Row], column: str) -> Markup:
    """The median of a component, and its range over neurons."""
    values = [float(row[column]) for row in rows if not is_missing(row.get(column))]
    if not values:
        return MISSING
    of = [("median", median(values), 3), ("min", min(values), 2), ("max", max(values), 2)]
    said = [Markup('<span data-of="{}" data-is="{}">{}</span>').format(column, what, digits(x, n)) for what, x, n in of]
    return Markup('{} <span class="ends">({} to {})</span>').format(*said)


def _at(value: float) -> str:
    """A place on the axis; values outside lie on its ends."""
    return f"{100 * min(1.0, max(0.0, float(value))):.2f}%"
