"""Guards reading of CSV, Parquet and JSON files, and writing that is all or nothing."""

import os

import numpy as np
import pandas as pd
import pytest

from Activation_Extraction.base.files import check_writable, write_together
from Activation_Extraction.tables.files import read_table
from InterpScore.errors import InputError, OutputError

WORDS = ["null", "NA", "nan", "None", "", " x "]


def read(path, numeric=(), wanted=None):
    """Read a table; every column is wanted unless told."""
    table = read_table(
        path, (lambda _: True) if wanted is None else set(wanted).__contains__, set(numeric).__contains__
    )
    assert list(table.frame.columns) == [name for name in table.names if wanted is None or name in wanted]
    return table.frame


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def problems_of(path, **how):
    with pytest.raises(InputError) as caught:
        read(path, **how)
    return caught.value.problems


@pytest.mark.parametrize("word", ["null", "NULL", "NA", "N/A", "nan", "NaN", "None", "true", "1", "01", "1e5", ""])
def test_what_people_type_stays_a_word(tmp_path, word):
    path = write(tmp_path / "t.csv", f'response,a\n"{word}",1\nother,2\n')
    assert read(path, numeric=["a"])["response"].tolist() == [word, "other"]


@pytest.mark.parametrize("blank", ["", "NA", "N/A", "nan", "NaN", "null", "None"])
def test_a_blank_in_a_column_of_numbers_is_missing(tmp_path, blank):
    path = write(tmp_path / "t.csv", f"a,b\n{blank},1\n2,2\n")
    np.testing.assert_array_equal(read(path, numeric=["a", "b"])["a"], [np.nan, 2])


def test_numbers_come_back_to_the_last_bit(tmp_path):
    numbers = np.random.default_rng(0).standard_normal(200) * 10.0 ** np.arange(-100, 100)
    path = write(tmp_path / "t.csv", "a,b\n" + "".join(f"{x!r},x\n" for x in numbers.tolist()))
    np.testing.assert_array_equal(read(path, numeric=["a"])["a"], numbers)


def test_a_number_that_is_none_leaves_its_column_as_words(tmp_path):
    path = write(tmp_path / "t.csv", "a,b\n1.50,x\ntwo,y\n")
    assert read(path, numeric=["a"])["a"].tolist() == ["1.50", "two"]


def test_columns_that_nobody_asked_for_are_named_but_not_read(tmp_path):
    path = write(tmp_path / "t.csv", "a,notes,b\n1,x,2\n")
    table = read_table(path, {"a", "b"}.__contains__, {"a", "b"}.__contains__)
    assert (list(table.frame.columns), table.names) == (["a", "b"], ["a", "notes", "b"])


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    path = write(tmp_path / "t.csv", "\ufefflevel,b\n5,x\n")
    assert read(path)["level"].tolist() == ["5"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system(tmp_path, newline):
    path = write(tmp_path / "t.csv", newline.join(["a,b", "1,x", "2,y", ""]))
    assert read(path, numeric=["a"]).values.tolist() == [[1.0, "x"], [2.0, "y"]]


def test_commas_quotes_and_line_breaks_in_quotes_stay_in_their_cell(tmp_path):
    path = write(tmp_path / "t.csv", 'response,a\n"one, ""two""\nthree",1\nfour,2\n')
    frame = read(path, numeric=["a"])
    assert frame["response"].tolist() == ['one, "two"\nthree', "four"]
    assert frame["a"].tolist() == [1, 2]


def test_a_quote_never_closed_is_found_however_much_it_swallows(tmp_path):
    path = write(tmp_path / "t.csv", 'a,response\n1,x\n2,"y\n' + "3,z\n" * 100_000)
    assert "row 3: a quote that is not closed" in problems_of(path, numeric=["a"])[0]


def test_an_inch_mark_in_a_cell_without_quotes_is_a_character(tmp_path):
    path = write(tmp_path / "t.csv", 'response,a\n5" pipe,1\nx,2\n')
    assert read(path, numeric=["a"])["response"].tolist() == ['5" pipe', "x"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_come_in_the_order_of_the_file(tmp_path, suffix):
    frame = pd.DataFrame({"a": np.arange(50_000)[::-1] * 1.0, "w": "x"})
    path = tmp_path / f"t{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path, row_group_size=1000)
    np.testing.assert_array_equal(read(path, numeric=["a"])["a"], frame["a"])


def test_a_column_that_pandas_used_as_index_is_still_a_column_of_the_parquet(tmp_path):
    frame = pd.DataFrame({"image": ["x", "y"], "a": [1.0, 2.0]}).set_index("image")
    frame.to_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", {"image", "a"}.__contains__, {"a"}.__contains__)
    assert sorted(table.frame) == ["a", "image"]


def test_rows_of_a_sliced_frame_in_parquet_count_from_nought(tmp_path):
    pd.DataFrame({"a": np.arange(10.0)})[4:].to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet").index.tolist() == list(range(6))


def test_words_in_parquet_are_never_made_missing(tmp_path):
    pd.DataFrame({"response": WORDS}).to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet")["response"].tolist() == WORDS


REFUSED = {
    "no such file": (None, "no such file"),
    "empty": (b"", "the file is empty"),
    "no header": (b"\n,,\n", "no header; expected the names of the columns in the first line"),
    "Cyrillic in another encoding": ("a,b\n1,x\n2,ключ\n".encode("cp1251"), "row 3: bytes that are not UTF-8, and may be in several other encodings"),
    "a short row": (b"a,b\n1,2\n3\n", "row 3: 1 cell; expected 2, as the header has"),
    "a long row": (b"a,b\n1,2,3\n", "row 2: 3 cells; expected 2, as the header has"),
    "a quote never closed": (b'a,b\n1,2\n3,"4\n5,6\n7,8\n', "row 3: a quote that is not closed"),
    "a header too long for a table": (b'"' + b"a" * 200_000 + b'",b\n1,2\n', "the header is not readable (field larger"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "found"), REFUSED.values(), ids=REFUSED)
def test_a_csv_that_is_no_table_is_refused_with_file_and_reason(tmp_path, content, found):
    path = tmp_path / "t.csv"
    if content is not None:
        write(path, content)
    (problem,) = problems_of(path)
    assert problem.startswith(str(path))
    assert found in problem


def test_a_column_that_stands_twice_is_named(tmp_path):
    (problem,) = problems_of(write(tmp_path / "t.csv", "a,b,a\n1,2,3\n"))
    assert "column 'a': the name appears more than once in the header" in problem


def test_a_column_that_stands_twice_in_parquet_is_named(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "t.parquet")
    (problem,) = problems_of(tmp_path / "t.parquet")
    assert "column 'a': the name appears more than once in the header" in problem


def test_every_ragged_row_is_told_of_and_the_many_are_counted(tmp_path):
    path = write(tmp_path / "t.csv", "a,b\n1\n1,2\n1,2,3\n1\n" + "1\n" * 7)
    problems = problems_of(path)
    assert [p.split(": ")[0].rpartition("row ")[2] for p in problems] == ["2", "4", "5"]
    assert problems[-1].endswith("(and 7 more like it)")


def test_the_row_of_a_ragged_line_counts_records_and_not_lines(tmp_path):
    path = write(tmp_path / "t.csv", 'a,b\n"x\ny\nz",1\n2\n')
    assert "row 3: 1 cell" in problems_of(path)[0]


def test_garbled_bytes_in_a_column_that_is_not_read_are_no_problem(tmp_path):
    path = write(tmp_path / "t.csv", "a,response\n1,é\n".encode("latin-1"))
    assert read(path, numeric=["a"], wanted=["a"])["a"].tolist() == [1]


def test_a_folder_is_no_table(tmp_path):
    assert problems_of(tmp_path) == [f"{tmp_path}: is a folder; expected a CSV, Excel or Parquet table"]


def test_a_name_too_long_for_the_disk_is_an_input_error(tmp_path):
    (problem,) = problems_of(tmp_path / ("x" * 300))
    assert "expected a CSV, Excel or Parquet table" in problem


@pytest.mark.parametrize("cut", [0.0, 0.5, 0.99], ids=["only its head", "half of it", "all but its end"])
def test_a_truncated_parquet_is_refused(tmp_path, cut):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": np.arange(1000.0)}).to_parquet(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(4, int(len(whole) * cut))])
    (problem,) = problems_of(path)
    assert problem.startswith(f"{path}: not a readable Parquet file")


def test_a_parquet_with_damaged_pages_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": np.random.default_rng(0).random(5000)}).to_parquet(path)
    damaged = bytearray(path.read_bytes())
    damaged[4:60] = b"\xff" * 56
    path.write_bytes(damaged)
    assert problems_of(path)[0].startswith(str(path))


def test_write_together_writes_every_file_to_the_byte(tmp_path):
    write_together({tmp_path / "a.csv": "x\r\né\n", tmp_path / "b.json": "{}"})
    assert (tmp_path / "a.csv").read_bytes() == "x\r\né\n".encode()
    assert (tmp_path / "b.json").read_bytes() == b"{}"


def test_written_files_have_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "ordinary").touch()
    write_together({tmp_path / "a.csv": "x"})
    assert (tmp_path / "a.csv").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_half_way_leaves_the_old_files_and_nothing_else(tmp_path, monkeypatch, step):
    old = {tmp_path / "a.csv": "old a", tmp_path / "b.json": "old b"}
    write_together(old)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OutputError, match="cannot be written \\(No space left on device\\)"):
        write_together(dict.fromkeys(old, "new"))
    assert {path: path.read_text() for path in tmp_path.iterdir()} == old


def test_when_the_second_file_cannot_be_written_the_first_is_left_too(tmp_path, monkeypatch):
    write_together({tmp_path / "a.csv": "old a"})
    monkeypatch.setattr(os, "fsync", fail_at_call(2))
    with pytest.raises(OutputError, match=r"b\.json: cannot be written"):
        write_together({tmp_path / "a.csv": "new", tmp_path / "b.json": "new"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.csv": "old a"}


def fail_at_call(number):
    calls = []

    def fsync(_):
        calls.append(None)
        if len(calls) == number:
            raise OSError(5, "Input/output error")

    return fsync


def test_a_folder_in_the_place_of_the_second_file_leaves_the_first(tmp_path):
    write_together({tmp_path / "a.csv": "old a"})
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OutputError, match=r"a\.json: is a folder"):
        write_together({tmp_path / "a.csv": "new", tmp_path / "a.json": "new"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.json"]
    assert (tmp_path / "a.csv").read_text() == "old a"


def test_an_interrupted_write_leaves_no_part_behind(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_together({tmp_path / "a.csv": "new"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("", "is a folder"),
        ("no/where.csv", "does not exist; expected an existing folder"),
        ("x" * 300, "cannot be written"),
    ],
)
def test_check_writable_tells_before_the_work(tmp_path, name, found):
    with pytest.raises(OutputError, match=found):
        check_writable(tmp_path / name)


def test_check_writable_touches_nothing(tmp_path):
    check_writable(tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []
