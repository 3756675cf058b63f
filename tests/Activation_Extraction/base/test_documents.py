"""Guards the readers of JSON, YAML, Parquet and NumPy archives: what is read, and one clear line for everything else."""

import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from Activation_Extraction.base import documents
from Activation_Extraction.base.documents import parquet_file, parse_json, parse_npz, read_json, read_yaml
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.files import as_json
from tests.hostile import JSON, YAML, harmed

FINE_AS_SUCH = {"half a character", "a list", "nothing", "size of a planet", "steps for ever"}
"""Documents that other checks refuse."""


def line_of(error):
    (line,) = error.value.problems
    return line


# JSON -----------------------------------------------------------------------------------------------------------------


def test_json_is_read_as_python_does():
    content = {"a": [1, 2.5, None, True, {"b": "\u00e9\ud800"}], "n": 2**100}
    assert parse_json(b"\xef\xbb\xbf" + json.dumps(content).encode(), "x") == content


def test_a_missing_json_is_none(tmp_path):
    assert read_json(tmp_path / "a.json") is None


@pytest.mark.parametrize("kind", [*sorted(JSON.keys() - FINE_AS_SUCH), "a list"])
def test_hostile_json_is_one_line_with_its_place(tmp_path, kind):
    content = JSON[kind]
    path = tmp_path / "a.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        read_json(path, expected="a map")
    line = line_of(error)
    assert line.startswith(str(path))
    assert "expected a map" in line
    assert len(line) < len(str(path)) + 200


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'{"1": "cat",\n oops}', "x, line 2, column 2: not JSON (Expecting property name"),
        (b"", "x, line 1, column 1: not JSON"),
        (b'["cat"]', "x: found \"['cat']\"; expected a map"),
        (b"7", "x: found '7'; expected a map"),
        (b"null", "x: found 'None'; expected a map"),
        (b'{"a": 1, "b": 2, "a": 3}', "x: not JSON (the key 'a' appears twice); expected a map"),
        (b'{"a": {"b": 1, "b": 1}}', "x: not JSON (the key 'b' appears twice)"),
        (b"[" * 200_000, "x: not JSON (nested more than 100 deep)"),
        (b"[" * 101 + b"]" * 101, "x: not JSON (nested more than 100 deep)"),
        (b'{"a": [NaN]}', "x: not JSON (NaN, which is no number)"),
        (b'{"a": -1e400}', "x: not JSON (the number '-1e400', which is too large)"),
        (b"9" * 5000, "x: not JSON (a number of more than 128 bits)"),
        (b'{"a": ' + b"9" * 40 + b"}", "x: not JSON (a number of more than 128 bits)"),
    ],
)
def test_a_json_message_says_what_was_found(content, line):
    with pytest.raises(InputError) as error:
        parse_json(content, "x", "a map")
    assert line_of(error).startswith(line)


def test_a_large_json_is_not_read(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(documents.LARGEST_JSON + 1)
    with pytest.raises(InputError, match=r"67,108,865 bytes; expected a JSON object of up to 67,108,864 bytes"):
        read_json(path)


def test_a_json_that_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    def refused(*arguments, **options):
        raise PermissionError(13, "Permission denied", "a.json")

    monkeypatch.setattr(documents, "check_file", refused)
    with pytest.raises(InputError, match=r"a\.json: cannot be read \(Permission denied\); expected a JSON object"):
        read_json(tmp_path / "a.json")


def test_numbers_that_are_not_finite_are_written_as_null():
    assert parse_json(as_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": -float("inf")}}), "x") == {
        "a": None, "b": [None, 1.5], "c": {"d": None},
    }  # fmt: skip


# YAML -----------------------------------------------------------------------------------------------------------------


def test_plain_yaml_is_read(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: [1, 2.5, null, yes, 'no']\nb: {c: text, 5: '2020-01-01'}\n", encoding="utf-8-sig")
    assert read_yaml(path) == {"a": [1, 2.5, None, True, "no"], "b": {"c": "text", 5: "2020-01-01"}}


@pytest.mark.parametrize("kind", sorted(YAML.keys() - FINE_AS_SUCH))
def test_hostile_yaml_is_one_line(tmp_path, kind):
    content = YAML[kind]
    path = tmp_path / "a.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        read_yaml(path)
    line = line_of(error)
    assert line.startswith(str(path))
    assert "YAML" in line
    assert len(line) < len(str(path)) + 200


def test_a_yaml_message_has_the_line(tmp_path):
    (tmp_path / "a.yaml").write_text("a: 1\nb:\n  - *c\n")
    with pytest.raises(InputError, match=r"a\.yaml, line 3, column 5: not YAML \(an anchor or alias"):
        read_yaml(tmp_path / "a.yaml")


# Parquet --------------------------------------------------------------------------------------------------------------


def test_importing_it_loads_no_library():
    code = "import sys, Activation_Extraction.base.documents; print({'yaml', 'pyarrow', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def table_file(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def rows_of(path):
    with parquet_file(path, "a table") as file:
        return file.read().num_rows


@pytest.mark.parametrize(
    "kind", ["cut off", "without its start", "ones at the end", "zeros at the end", "noise", "empty"]
)
def test_a_damaged_parquet_is_one_line(tmp_path, kind):
    path = table_file(tmp_path / "a.parquet", a=np.arange(1000))
    path.write_bytes(harmed(path.read_bytes())[kind])
    with pytest.raises(InputError, match=r"a\.parquet: .*; expected a table$"):
        rows_of(path)


def test_damaged_pages_are_one_line(tmp_path):
    path = table_file(tmp_path / "a.parquet", a=np.random.default_rng(0).random(5000))
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.parquet: not a readable Parquet file"):
        rows_of(path)


def test_text_that_is_not_utf_8_is_one_line(tmp_path):
    path = table_file(tmp_path / "a.parquet", a=pa.array(["caf\u00e9"]))
    path.write_bytes(path.read_bytes().replace("\u00e9".encode(), b"\xff\xff"))
    with (
        pytest.raises(InputError, match=r"a\.parquet: not a readable Parquet file"),
        parquet_file(path, "a table") as file,
    ):
        file.read().to_pylist()


def test_damaged_metadata_of_pandas_is_not_used(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.Table.from_pandas(pd.DataFrame({"a": [1]}, index=["x"]))
    pq.write_table(table.replace_schema_metadata({b"pandas": b"{"}), path)
    assert rows_of(path) == 1


def test_a_file_that_claims_more_than_it_can_hold_is_not_read(tmp_path, monkeypatch):
    path = table_file(tmp_path / "a.parquet", a=np.zeros(3_000_000, np.int8))
    with pytest.raises(InputError, match=r"claims 3,000,000 rows in [\d,]+ bytes; expected a table"):
        rows_of(path)
    path = table_file(tmp_path / "b.parquet", a=np.zeros(100_000))
    monkeypatch.setattr(documents, "_SMALL_CONTENT", 0)
    monkeypatch.setattr(documents, "_MOST_BYTES_A_BYTE", 0.01)
    with pytest.raises(InputError, match=r"claims to hold [\d,]+ bytes in [\d,]+; expected a table"):
        rows_of(path)


# NumPy ----------------------------------------------------------------------------------------------------------------


def npz(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def zipped(members, compression=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


def header(shape, descr="<f8"):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": descr, "fortran_order": False, "shape": shape})
    return content.getvalue()


def test_arrays_are_read():
    found = parse_npz(npz(a=np.arange(3), b=np.array(["x"])))
    assert found["a"].tolist() == [0, 1, 2]
    assert found["b"].tolist() == ["x"]


HOSTILE_NPZ = {
    **{
        kind: harmed(npz(a=np.arange(100)))[kind] for kind in ("cut off", "without its start", "noise", "empty", "text")
    },
    "Python objects": npz(a=np.array([{}], dtype=object)),
    "an array of a planet": zipped({"a.npy": header((10**12,))}),
    "an array of another size": zipped({"a.npy": header((10,)) + bytes(8)}),
    "an odd type": zipped({"a.npy": header((1,), "<f3") + bytes(8)}),
    "a negative shape": zipped({"a.npy": header((-1,)) + bytes(8)}),
    "compressed zeros": zipped({"a.npy": header((10**6,)) + bytes(8 * 10**6)}, zipfile.ZIP_DEFLATED),
    "no array": zipped({"a.txt": b"hello"}),
    "a header that is code": zipped({"a.npy": b"\x93NUMPY\1\0\x20\0" + b"__import__('os').getcwd()".ljust(32)}),
}


@pytest.mark.parametrize("content", HOSTILE_NPZ.values(), ids=HOSTILE_NPZ)
def test_a_hostile_npz_is_a_value_error(content):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - each has its own words
        parse_npz(content)
    assert not isinstance(error.value, UnicodeError)
