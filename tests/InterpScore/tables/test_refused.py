"""Guards what is refused because it reads in several ways, or in none; `docs/refused.md` is made from these examples."""

import io
import runpy
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

import InterpScore
from InterpScore.errors import InputError
from InterpScore.tables.experiment_table import load_experiment_table
from InterpScore.tables.neuron_map import read_neuron_map

ROOT = Path(InterpScore.__file__).parents[1]
HEADER = "ground_truth,level,participant,soft_correct,activation_7"


@dataclass(frozen=True)
class Kind:
    """A kind of table that is refused: why, what helps, and examples, name → (content, what is said)."""

    why: str
    helps: str
    examples: dict[str, tuple[object, str]]


def rows(*lines, header=HEADER):
    """A CSV."""
    return "\n".join([header, *lines, ""])


def with_participants(*names):
    return rows(*(f"cat,5,{name},1,0.{i + 1}" for i, name in enumerate(names)))


def with_activations(*cells, sep=","):
    return rows(*(f"cat,5,p,1,{cell}".replace(",", sep, 4) for cell in cells), header=HEADER.replace(",", sep))


def workbook(**sheets):
    """An Excel workbook of lists of rows."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, lines in sheets.items():
        sheet = book.create_sheet(name)
        for line in lines:
            sheet.append(line)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


SHEET = [HEADER.split(","), ["cat", 5, "p", 1, 0.5]]

REFUSED = {
    "Participants or images whose names a spreadsheet rounded": Kind(
        "`6.03E+23` was a longer number; several people may have become one.",
        "export again with the column as text, or leave the column out: then every rating counts as another participant",
        {
            "sixty people that became two": (with_participants("6.03E+23", "5.99E+23", "6.03E+23"), "column 'participant', row 2: found '6.03E+23'; expected the participant as it was (rounded by a spreadsheet"),
            "one of many": (with_participants("5e8f0c1", "6.03E+23", "77a"), "row 3: found '6.03E+23'"),
            "written by pandas": (with_participants("6.03456789e+23", "p2"), "row 2: found '6.03456789e+23'"),
            "with a decimal comma": (with_participants('"6,03E+23"', "p2"), "row 2: found '6,03E+23'"),
            "images": (rows("cat,5,1.00E+05,1,0.1", "cat,5,2.00E+05,1,0.2", header=HEADER.replace("participant", "image")), "column 'image', row 2: found '1.00E+05'; expected the name of an image as it was"),
            "numbers that end in zeros after 15 digits": (with_participants("603456789012345000", "598765432109876000"), "row 2: found '603456789012345000'"),
        },
    ),
    "Names that may be one or two": Kind(
        "A program that takes names for numbers drops their leading zeros, so `7` beside `007` may be the same or another.",
        "write each name in one way",
        {
            "participants": (with_participants("007", "7", "8"), "found '007'; expected the participant as it was (may be the same, without its leading zeros, as"),
            "images": (rows("cat,5,01,1,0.1", "cat,5,1,1,0.2", header=HEADER.replace("participant", "image")), "column 'image', row 2: found '01'"),
            "columns of units": (rows("cat,5,p,1,.5,.6", header=f"{HEADER},activation_007"), "the columns 'activation_7' and 'activation_007' may both be activation_7; expected one of them"),
            "columns of units as floats": (rows("cat,5,p,1,.5,.6", header=f"{HEADER},activation_7.0"), "the columns 'activation_7' and 'activation_7.0' may both be activation_7"),
            "neurons of the map": ({"7": "cat", "007": "dog"}, "neuron 7, as '7' and '007', appears more than once; expected each neuron once"),
            "neurons of the map as floats": ({"22": "cat", "22.0": "dog"}, "neuron 22 appears more than once"),
        },
    ),
    "Columns that mean the same": Kind(
        "Headers match in any case, with spaces, dots or hyphens; of two that match, either may be meant.",
        "rename or remove one",
        {
            "in another case": (rows("cat,5,p,1,.5,3", header=f"{HEADER},Level"), "the columns 'level' and 'Level' may both be level; expected one of them"),
            "with a dot and a space": (rows("cat,5,p,1,.5,3", header=f"{HEADER},Soft.Correct".replace("soft_correct", "soft correct")), "the columns 'soft correct' and 'Soft.Correct' may both be soft_correct"),
            "capitals of a unit's column": (rows("cat,5,p,1,.5,3", header=f"{HEADER},Activation 7"), "may both be activation_7"),
            "concept and ground_truth": (rows("cat,5,p,1,.5,dog", header=f"{HEADER},concept"), "column 'concept': differs from ground_truth, which says the same; expected one of the two columns"),
            "the same name twice": (rows("cat,5,p,1,.5,3", header=f"{HEADER},level"), "column 'level': the name appears more than once in the header"),
        },
    ),
    "Numbers that read in two ways": Kind(
        "`1,234` is 1.234 where commas are decimal marks and 1234 where they group digits. Other numbers of the table decide; here none does.",
        '`--csv "decimal=,"` or `--csv "thousands=,"`',
        {
            "a comma before three digits": (with_activations("1,234", "2,345", sep=";"), "row 2: found '1,234'; expected a number that reads in one way (--csv \"decimal=,\" for 1.234, --csv \"thousands=,\" for 1234)"),
            "a point before three digits, between semicolons": (with_activations("1.234", "2.345", sep=";"), "row 2: found '1.234'; expected a number that reads in one way (--csv \"decimal=.\" for 1.234, --csv \"thousands=.\" for 1234)"),
            "in quotes between commas": (with_activations('"1,234"', "3"), "row 2: found '1,234'"),
            "between tabs": (with_activations("1,234", "17", sep="\t"), "row 2: found '1,234'"),
            "one among decimal points": (with_activations("0.5", '"1,234"', "0.25"), "row 3: found '1,234'"),
            "one among decimal commas": (with_activations("0,5", "1.234", "0,25", sep=";"), "row 3: found '1.234'"),
        },
    ),
    "A column with decimal points and decimal commas": Kind(
        "Parts of it were written by programs of different countries; what one of them groups, another takes for a decimal mark.",
        "write all numbers of a column in one way",
        {
            "between semicolons": (with_activations("0,5", "0,75", "0.25", sep=";"), "row 4: found '0.25'; expected a finite number"),
            "between tabs": (with_activations("0.5", "0,75", "0.25", sep="\t"), "row 3: found '0,75'; expected a finite number"),
            "in quotes": (with_activations("0.5", '"0,75"', "0.25"), "row 3: found '0,75'"),
        },
    ),
    "A column with percentages and other numbers": Kind(
        "Beside `50%`, 1 may be 100% or 1%.",
        "write all of them with a percent sign, or all as fractions",
        {
            "one without a sign": (rows("cat,5,p,50%,1", "cat,5,q,1,1"), "column 'soft_correct', row 3: found '1'; expected true, false or a number from 0 to 1"),
            "one with a sign": (rows("cat,5,p,0.5,1", "cat,5,q,75%,1"), "row 2: found '0.5'"),
            "with a decimal comma": (rows("cat;5;p;12,5%;1", "cat;5;q;0,125;1", header=HEADER.replace(",", ";")), "row 3: found '0,125'"),
        },
    ),
    "Rows that do not fit their header": Kind(
        "A cell too many or too few moves all others.",
        "quotes around cells that hold the separator, or another separator",
        {
            "decimal commas without quotes, between commas": (rows("cat,5,p,1,0,5", "cat,5,q,1,0,25"), "row 2: 6 cells; expected 5, as the header has; decimal commas need another separator, such as \";\", or quotes"),
            "a row cut short": (rows("cat,5,p,1,.5", "cat,5"), "row 3: 2 cells; expected 5, as the header has"),
            "another separator than the header's": (rows("cat;5;p;1;0,5"), "row 2: 2 cells; expected 5"),
            "row names, or blank last cells": (rows("1;5;p;1;0,5;", "2;5;p;1;0,5;", header=HEADER.replace(",", ";")), "rows have a cell more than the header: a row name first, or a blank one last"),
            "a quote that is not closed": (rows('"cat,5,p,1,.5', "cat,5,p,1,.5"), "row 2: a quote that is not closed"),
        },
    ),
    "Text in an encoding that is not certain": Kind(
        "Bytes above 127 that are not UTF-8 are read as CP1252 (Latin-1) where they are single accented letters; otherwise several encodings fit.",
        '`--csv "encoding=cp1251"`, or the table saved in UTF-8',
        {
            "Cyrillic": (rows("собака,5,p,1,.5").encode("cp1251"), "row 2: bytes that are not UTF-8, and may be in several other encodings"),
            "Japanese": (rows("犬小屋,5,p,1,.5").encode("shift_jis"), "row 2: bytes that are not UTF-8"),
            "an old Macintosh": (rows("Jäger,5,p,1,.5").encode("mac_roman"), "row 2: bytes that are not UTF-8"),
            "UTF-8 and Latin-1 in one file": (rows("café,5,p,1,.5").encode() + "café,5,q,1,.6\n".encode("latin-1"), "row 3: bytes that are not UTF-8"),
        },
    ),
    "Dates in the place of levels": Kind(
        "Spreadsheets turn `3-5` or `1.5` into a date, and the level is lost.",
        "format the column as text before typing, and export again",
        {
            "a day and a month": (rows("cat,5-Mar,p,1,.5"), "column 'level', row 2: found '5-Mar', a date that a spreadsheet may have made of it; expected a whole number"),
            "a full date": (rows("cat,2026-03-05,p,1,.5"), "found '2026-03-05', a date"),
            "with points": (rows("cat;01.05.2026;p;1;0,5", header=HEADER.replace(",", ";")), "found '01.05.2026', a date"),
            "a date cell of a workbook": (lambda: workbook(a=[SHEET[0], ["cat", pd.Timestamp("2026-05-03"), "p", 1, 0.5]]), "found '2026-05-03 00:00:00', a date"),
        },
    ),
    "Workbooks that leave a choice, or hold no values": Kind(
        "Of two sheets with the same columns either may be meant; a formula that no spreadsheet has computed has no value.",
        '`--csv "sheet=NAME"`; open the workbook in a spreadsheet and save it',
        {
            "two sheets with the same columns": (lambda: workbook(a=SHEET, b=SHEET), "sheets 'a' and 'b' have the same columns; expected one of them: --csv \"sheet=a\""),
            "a formula without a value": (lambda: workbook(a=[SHEET[0], ["cat", 5, "p", 1, "=A1*2"]]), "column 'activation_7', row 2: the formula '=A1*2' without a value"),
            "an old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "an old Excel workbook (.xls) or an encrypted one; expected the sheet saved as .xlsx or as CSV UTF-8"),
            "a zip archive": (b"PK\x03\x04" + b"\0" * 60, "a zip archive; expected the table that is in it"),
        },
    ),
    "Rows of an example": Kind(
        "`...` stands for rows that an example leaves out; it is no data.",
        "the rows themselves",
        {
            "in every cell": (rows("cat,5,p,1,.5", "...,...,...,...,..."), "row 3: a row of '...', which stands for rows left out of an example"),
            "alone in its line": (rows("cat,5,p,1,.5", "...", "dog,5,p,1,.5"), "row 3: a row of '...'"),
            "as one character": (rows("cat,5,p,1,.5", "…,…,…,…,…"), "row 3: a row of '...'"),
            "in a DataFrame": (pd.DataFrame({"ground_truth": ["cat", "..."], "level": [5, "..."], "soft_correct": 1, "activation_7": 0.5}), "row 3: a row of '...'"),
        },
    ),
}  # fmt: skip
EXAMPLES = [pytest.param(content, said, id=f"{kind}: {name}") for kind, one in REFUSED.items() for name, (content, said) in one.examples.items()]  # fmt: skip


@pytest.mark.parametrize(("content", "said"), EXAMPLES)
def test_what_reads_in_several_ways_is_refused_with_its_reason(tmp_path, content, said):
    path = tmp_path / "table.csv"
    content = content() if callable(content) else content
    if isinstance(content, str | bytes):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        content = path
    with pytest.raises(InputError) as caught:
        read_neuron_map(content) if isinstance(content, dict) else load_experiment_table(content, ["7"])
    assert said in "\n".join(caught.value.problems)


def test_the_page_of_refusals_is_made_from_these_examples():
    make_refused = runpy.run_path(str(ROOT / "docs" / "make_refused.py"))
    assert make_refused["page"](REFUSED) == (ROOT / "docs" / "refused.md").read_text(encoding="utf-8")
