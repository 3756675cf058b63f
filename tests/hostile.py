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


# Files ----------------------------------------------------------------------------------------------------------------

DEEP = 3000

YAML = {
    "aliases of aliases": "a: &a [x, x]\n" + "".join(f"{i}: &n{i} [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n" for i in range(9)),
    "an anchor": "steps: &a 1",
    "deep lists": "[" * DEEP,
    "deep mappings": "{a: " * DEEP,
    "deep blocks": "- " * DEEP,
    "a tag": "steps: !!int foo",
    "bytes": "steps: !!binary aGk=",
    "a set": "steps: !!set {a, b}",
    "Python": "steps: !!python/object/apply:os.system [ls]",
    "a date": "about: 2020-13-45",
    "many digits": "steps: " + "9" * 5000,
    "many hexadecimal digits": "steps: 0x" + "f" * 6000,
    "two documents": "steps: 1\n---\nsteps: 2",
    "a zero byte": "steps: 1\0",
    "a control character": "steps: \x1b[2J",
    "Latin-1": "about: \xe9".encode("latin-1"),
    "UTF-16": "steps: 1".encode("utf-16"),
    "a key twice": "steps: 1\nsteps: 2",
    "a number twice": "1: a\n0x1: b",
    "a list as a key": "? [a, b]\n: 1",
    "a mapping as a key": "{a: 1}: 2",
    "a merged key": "<<: {a: 1}",
    "large": "a: 1\n" * 50_000,
    "size of a planet": "size: 1000000000",
    "steps for ever": "steps: 1000000000000",
    "a list": "- 1",
    "nothing": "# nothing",
    "cut off": "steps: [1, 2",
}  # fmt: skip

JSON = {
    "deep lists": "[" * DEEP,
    "deep objects": '{"a":' * DEEP,
    "deep and complete": '{"a":' * 500 + "1" + "}" * 500,
    "not a number": '{"a": NaN}',
    "infinite": '{"a": -Infinity}',
    "too large": '{"a": 1e999}',
    "many digits": '{"a": ' + "9" * 5000 + "}",
    "many bits": '{"a": ' + "9" * 100 + "}",
    "a key twice": '{"a": "b", "a": "c"}',
    "half a character": '{"a": "\\ud800"}',
    "a list": "[1]",
    "text": '"a"',
    "null": "null",
    "UTF-16": '{"a": "b"}'.encode("utf-16"),
    "Latin-1": '{"a": "\xe9"}'.encode("latin-1"),
    "a zero byte": '{"a": "b"}\0',
    "cut off": '{"a": "b',
    "more after the end": '{"a": "b"} {"c": "d"}',
}
"""None is a neuron map, a manifest, a record or an origin."""


def harmed(content):
    """What may become of the bytes of any file with a structure."""
    middle = len(content) // 2
    return {
        "cut off": content[:middle],
        "without its start": content[middle:],
        "zeros inside": content[:middle] + bytes(64) + content[middle + 64 :],
        "zeros at the end": content[:-64] + bytes(64),
        "ones at the end": content[:-64] + b"\xff" * 64,
        "noise": bytes(range(256)) * 4,
        "text": b"hello\n",
        "empty": b"",
    }
