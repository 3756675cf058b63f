"""Guards the fast ways of reading texts and numbers: what they read is what the slow ways read, or they leave it alone."""

import numpy as np
import pandas as pd
import pytest

from Activation_Extraction.tables.dialects import number_words
from Activation_Extraction.tables.dialects.number_words import NumberWords
from Activation_Extraction.tables.dialects.options import CsvOptions
from Activation_Extraction.tables.dialects.records import Dialect, dialect_of, rows_of
from Activation_Extraction.tables.dialects.simple_text import simple_columns

TEXTS = {
    "plain": "a;b;c\n1;x;y\n2;é;\n",
    "carriage returns": "a;b;c\r\n1;x;y\r\n2; ;z\r\n".replace("; ;", ";_;"),
    "no end": "a;b;c\n1;x;y\n2;;'",
    "an end of cells": "a;b;c\n1;x;\n",
    "empty cells": "a;b;c\n;x;y\n;;z\n",
    "apostrophes and formulas": "a;b;c\n'=1;'tis;=2\n",
    "null": "a;b;c\nNA;null;nan\n",
}
LEFT_ALONE = {
    "quotes": 'a;b;c\n"1;1";x;y\n',
    "a quote within": 'a;b;c\n1;x"y;z\n',
    "spaces before cells": "a;b;c\n1; x;y\n",
    "a space before a row": "a;b;c\n 1;x;y\n",
    "comments": "a;b;c\n1;x;y\n# said\n2;x;y\n",
    "a blank line": "a;b;c\n1;x;y\n\n2;x;y\n",
    "a blank line with returns": "a;b;c\r\n1;x;y\r\n\r\n2;x;y\r\n",
    "a blank row": "a;b;c\n1;x;y\n;;\n2;x;y\n",
    "a blank row with returns": "a;b;c\r\n;;\r\n2;x;y\r\n",
    "a blank row last": "a;b;c\n1;x;y\n;;",
    "a short row": "a;b;c\n1;x;y\n2;x\n",
    "a long row": "a;b;c\n1;x;y\n2;x;y;z\n",
    "lone returns": "a;b;c\r1;x;y\r2;x;y\r",
    "row names": "a;b;c\nr;1;x;y\ns;2;x;y\n",
    "sep=": "sep=;\na;b;c\n1;x;y\n",
    "lines before": "# said\na;b;c\n1;x;y\n",
}


def dialect(text):
    return dialect_of(text, {"a", "b", "c"}.__contains__, CsvOptions(), "t.csv")


@pytest.mark.parametrize("text", TEXTS)
def test_simple_texts_are_read_as_row_by_row(text):
    found = dialect(TEXTS[text])
    columns = simple_columns(TEXTS[text], found, [0, 2])
    cells_C, numbers, problems = rows_of(TEXTS[text], found, "t.csv", [0, 2], [])
    assert [column.to_pylist() for column in columns] == cells_C
    assert numbers == list(range(2, 2 + len(cells_C[0])))
    assert not problems


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_other_texts_are_left_to_the_reader_of_rows(text):
    assert simple_columns(LEFT_ALONE[text], dialect(LEFT_ALONE[text]), [0, 2]) is None


def test_a_dialect_with_escapes_is_left_alone():
    assert simple_columns("a;b\n1;2\n", Dialect(";", escape="\\", names=("a", "b")), [0]) is None


def numbers(count=40):
    return [f"{i}.{i:02d}5" for i in range(count)]


COLUMNS = {
    "points": numbers(),
    "commas": [word.replace(".", ",") for word in numbers()],
    "exponents": [f"{word}e-3" for word in numbers()],
    "some missing": [*numbers(), "", "NA", "null"],
    "another missing": [*numbers(), " nA "],
    "spaces": [f" {word}" for word in numbers()],
    "a word": [*numbers(), "cat"],
    "both marks": [*numbers(), "1,5"],
    "groups": [word.replace(".", ",") for word in numbers()] + ["1.234,5"],
    "an undecided group": [word.replace(".", ",") for word in numbers()] + ["1.234"],
    "underscores": [*numbers(), "1_0"],
    "percent": [f"{word}%" for word in numbers()],
    "whole": [str(i) for i in range(60)],
    "three digits": [f"{i}.125" for i in range(1, 50)],
    "infinite": [*numbers(), "inf", "-inf"],
}


@pytest.mark.parametrize("is_local", [False, True])
@pytest.mark.parametrize("column", COLUMNS)
def test_columns_read_at_once_are_read_as_word_by_word(monkeypatch, column, is_local):
    values = pd.Series(COLUMNS[column], dtype=object)
    found = []
    for large in (0, 10**9):
        monkeypatch.setattr(number_words, "LARGE", large)
        words = NumberWords(lambda: [values], is_local, CsvOptions())
        found.append((*words.read("x", values), words.said()))
    for at_once, word_by_word in zip(*found, strict=True):
        np.testing.assert_array_equal(at_once, word_by_word)


@pytest.mark.parametrize("column", ["points", "commas", "exponents", "some missing", "infinite"])
def test_plain_columns_are_read_at_once(monkeypatch, column):
    monkeypatch.setattr(number_words, "LARGE", 0)
    monkeypatch.setattr(number_words.pd, "factorize", lambda *_: pytest.fail("read word by word"))
    values = pd.Series(COLUMNS[column], dtype=object)
    NumberWords(lambda: [values], True, CsvOptions()).read("x", values)
