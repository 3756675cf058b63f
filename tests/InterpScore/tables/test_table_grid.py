"""Guards tables of other programs: each of many combinations reads as the plain table does, or is really ambiguous."""

import csv
import gzip
import io
import random
from collections import Counter
from functools import cache

import numpy as np
import pandas as pd
import pytest

from InterpScore.errors import InputError
from InterpScore.tables.experiment_table import load_experiment_table

UNITS = ["7", "22"]
HEADER = ["trial_category", "ground_truth", "level", "image_filename", "participant", "soft_correct", "activation_7", "activation_22", "response"]  # fmt: skip
CONCEPTS = ["café", "raised hand", "dog", "naïve art"]
VALUES = {
    "any": lambda i: (round(0.37 * (i % 12) - 1.2, 3), [0.125, 12.5, 1234.5][i % 3] + i % 12, [1.0, 0.0, 0.5][i % 3]),
    "three decimals": lambda i: (1.234 + 0.125 * (i % 12), 7.111 + i % 12, [1.0, 0.0, 1.0][i % 3]),
}
"""Two activations and a recognition score of each rating; of one kind all may be read as thousands."""


@cache
def cells(kind):
    """24 ratings of 12 images."""
    rows = []
    for i in range(24):
        one, other, score = VALUES[kind](i)
        response = 'said, it\'s "nice"; or not'[: i % 27]
        rows.append(
            ["experiment", CONCEPTS[i % 4], [5, 3, 2][i % 3], f"picture {i % 12}.png", f"p{i % 5}", score,
             round(one, 3), round(other, 3), response]
        )  # fmt: skip
    return rows


SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " "}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be with a mark", "cp1252", "latin-1")
QUOTES = {"where needed": (csv.QUOTE_MINIMAL, '"'), "everywhere": (csv.QUOTE_ALL, '"'), "words": (csv.QUOTE_NONNUMERIC, '"'), "single": (csv.QUOTE_ALL, "'"), "none": (csv.QUOTE_NONE, None)}  # fmt: skip
HEADERS = {
    "as ours": str,
    "upper case": str.upper,
    "title case": str.title,
    "spaces": lambda name: name.replace("_", " "),
    "dots": lambda name: name.replace("_", "."),
    "no-break spaces": lambda name: name.replace("_", "\u00a0").capitalize(),
    "floats of units": lambda name: name.replace("_7", "_7.0").replace("_22", "_022"),
}
LINE_ENDS = {"LF": "\n", "CRLF": "\r\n", "CR": "\r"}
SCORES = {
    "number": lambda x, d: f"{x:g}".replace(".", d),
    "percent": lambda x, d: f"{100 * x:g}%",
    "percent with a space": lambda x, d: f"{100 * x:.1f}\u00a0%".replace(".", d),
}
GROUPS = {"no groups": "", "groups": "other", "groups of spaces": "\u00a0"}
EXTRAS = (
    "nothing", "sep line", "comments", "blank lines", "blank rows", "blank last column", "blank end of rows", "row names",
    "row names and a blank column", "index column", "unnamed index", "gzip", "spaces around cells", "invisible characters", "comment before header",
)  # fmt: skip


def number(value, decimal, groups):
    """A number as a program with this decimal mark and these groups of digits writes it."""
    text = f"{value:,.3f}".rstrip("0").rstrip(".") if groups else f"{value!r}"
    mark = {"": "", "other": "," if decimal == "." else "."}.get(groups, groups)
    return text.replace(",", "\0").replace(".", decimal).replace("\0", mark)


def rendered(separator, decimal, encoding, quotes, header, end, score, groups, extra, values):
    """The bytes of the table as another program writes it."""
    quoting, quote = QUOTES[quotes]
    names = [HEADERS[header](name) for name in HEADER]
    rows = [[*row[:5], SCORES[score](row[5], decimal), *(number(x, decimal, GROUPS[groups]) for x in row[6:8]), row[8]] for row in cells(values)]  # fmt: skip
    if quotes == "none":
        rows = [[*row[:8], f"answer {i % 3}"] for i, row in enumerate(rows)]
    if extra == "spaces around cells":
        rows = [[f" {cell} " for cell in row] for row in rows]
    if extra == "invisible characters":
        one, other = ("\u00a0", "\u00a0") if encoding in ("cp1252", "latin-1") else ("\u200b", "\ufeff")
        rows = [[f"{one}{row[0]}", f"{row[1]}{one}", row[2], row[3], f"{other}{row[4]}", *row[5:]] for row in rows]
    if extra == "blank last column":
        names, rows = [*names, ""], [[*row, ""] for row in rows]
    if extra == "blank end of rows":
        rows = [[*row, ""] for row in rows]
    if extra == "row names":
        rows = [[i + 1, *row] for i, row in enumerate(rows)]
    if extra == "row names and a blank column":
        rows = [[i + 1, *row[:8], ""] for i, row in enumerate(rows)]
    if extra in ("index column", "unnamed index"):
        names = [{"index column": "", "unnamed index": "Unnamed: 0"}[extra], *names]
        rows = [[i, *row] for i, row in enumerate(rows)]
    if extra == "blank rows":
        rows = [*rows[:9], [""] * len(names), *rows[9:], [""] * len(names)]
    if quotes == "none":
        lines = [SEPARATORS[separator].join(map(str, row)) for row in (names, *rows)] + [""]
    else:
        file = io.StringIO()
        how = {"delimiter": SEPARATORS[separator], "quotechar": quote, "lineterminator": LINE_ENDS[end]}
        csv.writer(file, quoting=quoting, **how).writerows([names, *rows])
        lines = file.getvalue().split(LINE_ENDS[end])
    before = {"sep line": [f"sep={SEPARATORS[separator]}"], "comments": ["# exported, by someone", "#"], "blank lines": ["", ""]}.get(extra, [])  # fmt: skip
    if extra == "comments":
        lines = [*lines[:5], '# a note; with "half a quote', *lines[5:]]
    if extra == "blank lines":
        lines = [*lines[:7], "", *lines[7:], "", ""]
    if extra == "comment before header":
        lines[0] = f"# {lines[0]}"
    text = LINE_ENDS[end].join([*before, *lines])
    data = (b"\xfe\xff" if "mark" in encoding else b"") + text.encode(encoding.removesuffix(" with a mark"))
    return gzip.compress(data, mtime=0) if extra == "gzip" else data


AMBIGUOUS = {
    "a comma is a separator and a decimal mark": "decimal commas need another separator",
    "a number reads as a fraction or in thousands": "expected a number that reads in one way",
    "a cell more than the header is a row name or a blank end": "a row name first, or a blank one last",
}
"""The reasons for which a combination may be refused → what is said."""


def ambiguity(separator, decimal, quotes, score, groups, extra, values, **_):
    """Why a combination reads in several ways, None if it does not."""
    commas = decimal == "," or (groups == "groups" and values == "any")
    if quotes == "none" and separator == "comma" and commas:
        return "a comma is a separator and a decimal mark"
    if extra == "row names and a blank column":
        return "a cell more than the header is a row name or a blank end"
    if values == "three decimals" and score != "percent with a space" and (decimal == "," or separator == "semicolon"):
        return "a number reads as a fraction or in thousands"
    return None


def combinations(n):
    """Random combinations, the same in every run; cells of a table without quotes hold no separator."""
    chance = random.Random(0)
    choices = {
        "separator": list(SEPARATORS), "decimal": [".", ","], "encoding": list(ENCODINGS), "quotes": list(QUOTES),
        "header": list(HEADERS), "end": list(LINE_ENDS), "score": list(SCORES), "groups": list(GROUPS),
        "extra": list(EXTRAS), "values": ["any", "any", "any", "three decimals"],
    }  # fmt: skip
    found = 0
    while found < n:
        chosen = {name: chance.choice(values) for name, values in choices.items()}
        if chosen["quotes"] == "none" and chosen["separator"] == "space":
            continue
        found += 1
        yield chosen


@pytest.mark.parametrize("n", [100, pytest.param(300, marks=pytest.mark.slow)])
def test_a_table_of_another_program_reads_as_the_plain_one_or_is_really_ambiguous(tmp_path, n):
    path = tmp_path / "t.csv"
    plain = {kind: load_experiment_table(pd.DataFrame(cells(kind), columns=HEADER), UNITS) for kind in VALUES}
    outcome = Counter()
    for chosen in combinations(n):
        path.write_bytes(rendered(**chosen))
        reason = ambiguity(**chosen)
        if reason:
            with pytest.raises(InputError) as caught:
                load_experiment_table(path, UNITS)
            assert AMBIGUOUS[reason] in caught.value.problems[0], (chosen, caught.value.problems)
        else:
            same_as(load_experiment_table(path, UNITS), plain[chosen["values"]], chosen)
        outcome[reason or "right"] += 1
    assert outcome.keys() == {"right", *AMBIGUOUS}
    assert outcome["right"] > 0.73 * n


def same_as(table, plain, chosen):
    """Compare every array of two tables."""
    assert (table.images, table.concepts, table.units) == (plain.images, plain.concepts, plain.units), chosen
    for name in ("concept_I", "level_I", "image_R", "participant_R", "score_R"):
        np.testing.assert_array_equal(getattr(table, name), getattr(plain, name), err_msg=str(chosen))
    np.testing.assert_array_equal(table.activation_UI, plain.activation_UI, err_msg=str(chosen))
