"""Which characters figures can show: DejaVu Sans, which comes with Matplotlib, then fonts of other scripts that are installed."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

FAMILY = "DejaVu Sans"
OTHERS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK KR", "Source Han Sans", "Hiragino Sans",
    "PingFang SC", "Apple SD Gothic Neo", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "WenQuanYi Zen Hei",
    "Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Thai", "Noto Sans Hebrew", "Noto Sans Arabic",
    "Noto Sans", "Noto Sans Symbols", "Noto Sans Symbols 2", "Noto Emoji", "Segoe UI Symbol", "Symbola",
)  # fmt: skip
"""Fonts with characters that DejaVu Sans lacks, where they are installed."""


@cache
def families() -> tuple[str, ...]:
    """DejaVu Sans, and those of `OTHERS` that this machine has."""
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    return (FAMILY, *(name for name in OTHERS if name in there))


@cache
def has_glyph(character: str) -> bool:
    """Whether one of the fonts shows a character."""
    return any(font.get_char_index(ord(character)) for font in _fonts())


@cache
def _fonts() -> tuple[FT2Font, ...]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return tuple(get_font(findfont(FontProperties(family=[name]), fallback_to_default=False)) for name in families())


def displayable(character: str) -> str:
    r"""A character as figures show it: itself, or its escape where no font has it.

    >>> displayable("é"), displayable("\ue000")
    ('é', '\\ue000')
    """
    if character.isascii() or has_glyph(character):
        return character
    return character.encode("unicode_escape").decode()
