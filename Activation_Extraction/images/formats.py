"""Which files are images that are read here, by their suffixes; some formats depend on what is installed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec

from Activation_Extraction.base.extras import install_command

ALWAYS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .tif .tiff .ppm .pgm .pbm .pnm".split()  # noqa: SIM905
)
JPEG_2000, AVIF, HEIF = "JPEG2000", "AVIF", "HEIF"
OPTIONAL = {
    **dict.fromkeys((".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"), JPEG_2000),
    **dict.fromkeys((".avif", ".avifs"), AVIF),
    **dict.fromkeys((".heic", ".heics", ".heif", ".heifs", ".hif"), HEIF),
}
"""Suffix → the format, as Pillow calls it."""

_FEATURES = {JPEG_2000: "jpg_2000", AVIF: "avif"}
_SHOWN_KINDS, _NO_SUFFIX = 8, "without a suffix"


@cache
def is_installed(kind: str) -> bool:
    """Whether an optional format can be read: Pillow was built with it, or pillow-heif is installed."""
    if kind == HEIF:
        return find_spec("pillow_heif") is not None
    try:
        from PIL import features  # late: images are listed without Pillow
    except ImportError:
        return False
    known = {**features.modules, **features.codecs}
    return _FEATURES[kind] in known and bool(features.check(_FEATURES[kind]))


def suffix_of(name: str) -> str:
    """The suffix of a file's name, in lower case with its dot; "" without one."""
    last = name[name.rfind("/") + 1 :]
    return last[last.rfind(".") :].lower() if "." in last[1:] else ""


def is_image(name: str) -> bool:
    """Whether a file name has the suffix of an image that can be read."""
    suffix = name[name.rfind(".") :].lower()
    return suffix in ALWAYS or (suffix in OPTIONAL and is_installed(OPTIONAL[suffix]))


def remark_on_others(place: str, others: Mapping[str, int]) -> list[str]:
    """What to say of files that are not read, given how many have each suffix.

    >>> remark_on_others("photos", {".heic": 2, "": 1})[0].partition(" (")[0]
    'photos: 3 files are not read as images: 2 .heic, 1 without a suffix'
    """
    if not others:
        return []
    total = sum(others.values())
    common = sorted(others.items(), key=lambda pair: (-pair[1], pair[0]))
    named = [f"{count:,} {suffix or _NO_SUFFIX}" for suffix, count in common[:_SHOWN_KINDS]]
    named += [f"{sum(count for _, count in common[_SHOWN_KINDS:]):,} others"] if len(common) > _SHOWN_KINDS else []
    need = " (HEIC needs " + install_command("heif") + ")" if any(OPTIONAL.get(s) == HEIF for s in others) else ""
    line = f"{place}: {total:,} file{'s are' if total > 1 else ' is'} not read as images: {', '.join(named)}{need}"
    return [line]
