"""How many digits a value is given with: as many as its interval supports."""

from __future__ import annotations

import math

MOST = 3
"""Decimals of a value in [0, 1], however narrow its interval is, and where it has none."""


def decimals(low: float, high: float) -> int:
    """Decimals down to the first significant digit of half the interval's width; one more where that digit is 1.

    >>> decimals(0.55, 0.73), decimals(0.57, 0.60), decimals(0.2, 0.9)
    (2, 3, 1)
    """
    half = (high - low) / 2
    if not math.isfinite(half) or half <= 0:
        return MOST
    place = math.floor(math.log10(half) + 1e-9)
    first = math.floor(half / 10.0**place + 1e-9)
    return int(min(max(0, -place + (first == 1)), MOST))


def rounded(value: float, low: float, high: float) -> tuple[str, str, str]:
    """A value and its ends to the digits that the ends support; "" for what is missing.

    >>> rounded(0.632664, 0.550770, 0.730694), rounded(0.5, float("nan"), float("nan"))
    (('0.63', '0.55', '0.73'), ('0.500', '', ''))
    """
    if not math.isfinite(value):
        return "", "", ""
    digits = decimals(low, high)
    shown = [f"{number:.{digits}f}" if math.isfinite(number) else "" for number in (value, low, high)]
    return shown[0], shown[1], shown[2]
