"""Names that nobody means well with: for every command that makes files, prints or writes tables of names from outside."""

ESCAPES_A_FOLDER = "../../../../x"

NAMES = (
    ESCAPES_A_FOLDER,
    "/tmp/absolute",
    "a/b",
    r"..\..\windows",
    "C:\\x",
    "..",
    ".hidden",
    "-rf",
    "~root",
    "$(id)",
    "two\nlines",
    "return\rover",
    "tab\tbed",
    "\x1b[2J\x1b]0;title\x07red",
    "c1 \x9b31m",
    "\u202egnp.exe",
    "zero\u200bwidth\u2066",
    "nul\0byte",
    "CON",
    "nul.png",
    "Fire",
    "fire",
    "ﬁre",
    "caf\u00e9",
    "cafe\u0301",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "'=quoted",
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "[bold red]markup[/bold red]",
    "長" * 100,
    "long" * 1000,
)
"""Text that Parquet, JSON and YAML can hold; `ON_DISK` are those that a file can have."""

ON_DISK = tuple(name for name in NAMES if not set("/\0") & set(name) and 2 < len(name.encode()) < 200)

NOT_TEXT = b"\xff\xfe \x1b[31m"
"""A file name that is not text; in Python, with lone surrogates."""


def is_safe_part(part):
    """Whether a part of a path can be shown, copied to any disk and given to any command."""
    return (
        part.isprintable()
        and not set('/\\:*?"<>|') & set(part)
        and part[0] not in ".-~"
        and part[-1] not in ". "
        and part.partition(".")[0].casefold() not in ("con", "nul")
        and len(part.encode()) <= 143
    )


def is_shown(text):
    """Whether all lines of an output are printable."""
    return all(line.isprintable() for line in text.split("\n"))
