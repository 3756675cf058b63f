"""Guards what is printed, put into HTML and into CSV: nothing that acts, and the text itself can be had back."""

import csv
import io
import warnings

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Activation_Extraction.base.errors import DownloadError, InputError, OutputError, Problem, UnreadableImageWarning
from Activation_Extraction.base.text import (
    as_csv,
    console,
    from_cell,
    from_cells,
    in_html,
    in_markup,
    printable,
    say,
    to_cell,
)
from tests.hostile import NAMES, is_shown

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))  # with lone surrogates
ACTING = "=+-@\t\r\n＝＋－＠"


@given(ANY_TEXT)
def test_printable_text_is_one_visible_line_and_stays_as_it_is(text):
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert not text.isprintable() or shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"), ("\x9b31m", r"\x9b31m"), ("\u202eb", r"\u202eb"), ("\udcff", r"\udcff"),
        ("a\r\nb", r"a\r\nb"), ("\u2028", r"\u2028"), ("\U000e0001", r"\U000e0001"), ("\0", r"\x00"), ("é 猫", "é 猫"),
    ],
)  # fmt: skip
def test_characters_that_act_are_shown_as_escapes(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("name", NAMES)
def test_errors_warnings_and_lines_are_printable(name, capsys):
    for error in (InputError(name), InputError([Problem(name, name, name)]), OutputError(name), DownloadError(name)):
        assert str(error).isprintable()
    assert all(problem.isprintable() for problem in InputError([name, name]).problems)
    with pytest.warns(UnreadableImageWarning) as caught:
        warnings.warn(name, UnreadableImageWarning, stacklevel=1)
    assert str(caught[0].message).isprintable()
    say(name)
    say(name, error=True)
    console().print(in_markup(name), name.replace("[", "("), soft_wrap=True)
    out, err = capsys.readouterr()
    assert is_shown(out)
    assert is_shown(err)
    assert printable(name) in out
    assert err == f"{printable(name)}\n"


def test_console_keeps_the_line_ends_of_a_cell(capsys):
    console().print("a\nb\x1b")
    assert capsys.readouterr().out == "a\nb\\x1b\n"


@pytest.mark.parametrize("name", NAMES)
def test_html_holds_no_markup_and_no_character_that_acts(name):
    shown = in_html(name)
    assert shown.isprintable()
    assert not set("<>\"'") & set(shown)


@given(st.one_of(st.text(), st.text(ACTING + "'1.e ")))
def test_cells_give_back_the_text_and_are_no_formula(text):
    cell = to_cell(text)
    assert from_cell(cell) == text
    if cell[:1] and cell[0] in ACTING:
        float(cell)  # a number alone begins like one


@pytest.mark.parametrize("number", ["-1.5", "+1", "-1e-5", "-.5", "-inf", "3", "", "1.0"])
def test_numbers_stay_numbers(number):
    assert to_cell(number) == from_cell(number) == number


@pytest.mark.parametrize(
    "formula", ["=1+1", "+1+1", "-2+3", "@SUM(1)", "\tx", "\rx", "-", "- 5", "+1_0", "＝1", "-1,5"]
)
def test_formulas_are_text(formula):
    assert to_cell(formula) == f"'{formula}"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1), st.floats(allow_nan=False))
def test_tables_are_read_back_unchanged_by_any_reader(texts, number):
    frame = pd.DataFrame({"=name": texts, "number": number})
    content = as_csv(frame, index=False)
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    assert [next(map(from_cell, row)) for row in rows] == ["=name", *texts]
    read = pyarrow.csv.read_csv(
        pa.BufferReader(content),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pyarrow.csv.ConvertOptions(column_types={"'=name": pa.string()}, strings_can_be_null=False),
    )
    assert from_cells(read)["'=name"].to_pylist() == texts
    assert read["number"].to_pylist() == [number] * len(texts)
