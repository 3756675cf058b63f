"""Files of a bundle as bytes: numbers rounded, nothing that is no number, names by hash."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from pydantic import BaseModel

from Activation_Extraction.base.files import as_bytes

DIGITS = 5
"""Significant digits of numbers."""
_HASH = 12


def as_document(content: BaseModel) -> bytes:
    """A model as JSON on one line, rounded."""
    return as_bytes(json.dumps(rounded(content.model_dump()), ensure_ascii=False, separators=(",", ":")))


def rounded(value: Any) -> Any:
    """Numbers with `DIGITS` significant digits; NaN and infinities are None.

    >>> rounded([0.1234567, 123456.0, float("nan"), 7])
    [0.12346, 123460.0, None, 7]
    """
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return value


def hashed(name: str, ending: str, content: bytes) -> str:
    """The name of a file that may be cached for ever.

    >>> hashed("units/89", "json", b"{}")
    'units/89.44136fa355b3.json'
    """
    return f"{name}.{hashlib.sha256(content).hexdigest()[:_HASH]}.{ending}"
