"""Guards image tables as other programs write them: the same rows as a plain CSV, a note how they were read, or a refusal."""

import io

import pandas as pd
import pytest
from PIL import Image

from Activation_Extraction import image_set
from Activation_Extraction.base.errors import InputError

PLAIN = "image,concept,level,split,score,note\na.png,café,5,train,0.5,x y\nb.png,dog,4,val,1.25,\n"
SEMICOLONS = PLAIN.replace(",", ";")
FRAME = pd.read_csv(io.StringIO(PLAIN), keep_default_na=False)


def workbook():
    pytest.importorskip("openpyxl")
    file = io.BytesIO()
    with pd.ExcelWriter(file) as writer:
        pd.DataFrame({"a": [1]}).to_excel(writer, sheet_name="about", index=False)
        FRAME.to_excel(writer, sheet_name="images", index=False)
    return file.getvalue()


DIALECTS = {
    "plain": ("t.csv", PLAIN, None),
    "semicolons": ("t.csv", SEMICOLONS, "separator ';'"),
    "tabs": ("t.tsv", PLAIN.replace(",", "\t"), "separator tab"),
    "decimal commas": ("t.csv", SEMICOLONS.replace("0.5", "0,5").replace("1.25", "1,25"), "decimal ',' in score"),
    "latin-1": ("t.csv", SEMICOLONS.encode("cp1252"), "encoding cp1252"),
    "utf-16": ("t.csv", PLAIN.encode("utf-16"), "encoding utf-16"),
    "sep=": ("t.csv", f"sep=;\n{SEMICOLONS}", "separator ';'"),
    "comments": ("t.csv", f"# made by hand\n{PLAIN}", None),
    "blank rows": ("t.csv", f"{SEMICOLONS};;;;;\n\n;;;;;\n", "separator ';'"),
    "names": (
        "t.csv",
        PLAIN.replace("image,concept,level", "Image,Concept,LEVEL"),
        "column 'Image' as image, 'Concept'",
    ),
    "workbook": ("t.xlsx", workbook, "sheet 'images' of 2"),
}


@pytest.fixture
def write(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)

    def written(name, content):
        content = content() if callable(content) else content
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / name

    return written


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_table_of_another_program_is_the_same_set_and_says_how_it_was_read(write, dialect):
    plain = image_set(write("plain.csv", PLAIN))
    name, content, said = DIALECTS[dialect]
    images = image_set(write(name, content))
    assert images.table.schema == plain.table.schema
    assert images.fingerprint == plain.fingerprint
    notes = [remark for remark in images.remarks if remark.startswith(f"{name}: read as: ")]
    assert [said in note for note in notes] == ([True] if said else [])
    assert image_set(write(name, content), split="val").table["image"].to_pylist() == ["b.png"]


@pytest.mark.parametrize(
    ("cells", "read"),
    [
        (["1", "2"], [1, 2]), (["1", ""], [1, None]), (["1,5", "NA"], [1.5, None]), (["5,0", "4,0"], [5.0, 4.0]),
        (["12345678901234567890", "1"], ["12345678901234567890", "1"]), (["1", "x"], ["1", "x"]),
        (["1.234", "2"], ["1.234", "2"]), (["50%", "5%"], [0.5, 0.05]), (["", ""], ["", ""]),
    ],
)  # fmt: skip
def test_columns_are_numbers_where_all_cells_are_in_one_way(write, cells, read):
    images = image_set(write("t.csv", f"image;score\na.png;{cells[0]}\nb.png;{cells[1]}\n"))
    assert images.table["score"].to_pylist() == read


CYRILLIC = "image,concept\na.png,кот\nb.png,пёс\n".encode("cp1251")


def two_sheets():
    pytest.importorskip("openpyxl")
    file = io.BytesIO()
    with pd.ExcelWriter(file) as writer:
        FRAME.to_excel(writer, sheet_name="one", index=False)
        FRAME.assign(concept="cat").to_excel(writer, sheet_name="two", index=False)
    return file.getvalue()


AMBIGUOUS = {
    "encoding": ("t.csv", CYRILLIC, '--csv "encoding=cp1252" (or cp1251', "encoding=cp1251", ["кот", "пёс"]),
    "shift_jis": ("t.csv", "image,concept\na.png,花火\nb.png,日本\n".encode("shift_jis"), "encoding=", {"encoding": "shift_jis"}, ["花火", "日本"]),
    "sheet": ("t.xlsx", two_sheets, '--csv "sheet=one"', "file=t.xlsx sheet=two", ["cat", "cat"]),
    "last cell": ("t.csv", "image,concept\n0,a.png,\n1,b.png,\n", "a name for each column", None, None),
}  # fmt: skip


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_reads_in_several_ways_is_refused_with_what_to_type(write, case):
    name, content, message, told, concepts = AMBIGUOUS[case]
    path = write(name, content)
    with pytest.raises(InputError) as caught:
        image_set(path)
    assert message in str(caught.value)
    if told:
        assert image_set(path, csv=told).table["concept"].to_pylist() == concepts


WRONG = {
    "a number": ("image,level\na.png,5\nb.png\n", "row 3: 1 cell; expected 2, as the header has"),
    "an empty name": ("image;level\na.png;5\n;4\n", "column 'image', row 3: is empty"),
    "a blank row before it": ("image;level\n\na.png;5\n\n;4\n", "column 'image', row 5: is empty"),
    "two columns": ("image;Image\na.png;b.png\n", "the name appears more than once"),
    "no column": ("file;level\na.png;5\n", "no column 'image' (did you mean 'file'? rename it)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_its_row(write, case):
    content, message = WRONG[case]
    with pytest.raises(InputError) as caught:
        image_set(write("t.csv", content))
    assert message in str(caught.value)


def test_options_are_of_all_tables_or_of_the_one_they_name(write):
    one, other = write("one.csv", CYRILLIC), write("other.csv", "image,concept\na.png,花火\n".encode("shift_jis"))
    told = ["encoding=cp1251", "file=other.csv encoding=shift_jis"]
    concepts = image_set([one, other], csv=told).table["concept"].to_pylist()
    assert concepts == ["кот", "пёс", "花火"]
    assert image_set([one, one], csv="encoding=cp1251").table["concept"].to_pylist() == ["кот", "пёс"] * 2


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("file=u.csv sep=;", "--csv: file=u.csv is none of the tables; expected file=t.csv"),
        (["sep=;", "decimal=,"], "--csv: found 2 times without file="),
        (["file=t.csv sep=;", {"file": "t.csv"}], "--csv: found twice for 't.csv'"),
        ("sepp=;", "sepp"),
    ],
)
def test_options_of_no_table_are_refused(write, told, message):
    with pytest.raises(InputError) as caught:
        image_set(write("t.csv", PLAIN), csv=told)
    assert message in str(caught.value)


def test_options_without_any_table_are_refused(write):
    with pytest.raises(InputError, match="--csv: names no file; expected a table to read in it"):
        image_set(write("t.csv", PLAIN).parent, csv="sep=;")
