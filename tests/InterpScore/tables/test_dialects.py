"""Guards tables as other programs write them: what is read as it is meant, and what the run says of it."""

import gzip
import io

import numpy as np
import pandas as pd
import pytest

from Activation_Extraction.tables.dialects.options import csv_options
from InterpScore.errors import InputError
from InterpScore.tables.effects import read_effects
from InterpScore.tables.experiment_table import load_experiment_table
from InterpScore.tables.neuron_map import read_neuron_map

HEADER = "ground_truth,level,image,participant,soft_correct,activation_7"
PLAIN = "café,5,a.png,p1,1,0.25\ndog,5,b.png,p2,0,1.5\n"


def load(tmp_path, content, units=("7",), name="table.csv", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_experiment_table(path, list(units), options=csv_options(options or None))


def assert_plain(table):
    assert (table.images, table.concepts, table.level_I.tolist()) == (["a.png", "b.png"], ["café", "dog"], [5, 5])
    assert (table.score_R.tolist(), table.participant_R.tolist()) == ([1, 0], [0, 1])
    assert table.activation_UI.tolist() == [[0.25, 1.5]]


def notes(table):
    """What the run says of how the table was read."""
    return [remark.split(": read as: ")[1] for remark in table.remarks if "read as" in remark]


def between(separator, decimal="."):
    return f"{HEADER}\n{PLAIN}".replace(".25", "\0" "25").replace("1.5", "1\0" "5").replace(",", separator).replace("\0", decimal)  # fmt: skip


READ = {
    "as ours": (f"{HEADER}\n{PLAIN}", []),
    "semicolons and decimal commas": (between(";", ","), ["separator ';'; decimal ',' in activation_7"]),
    "semicolons and decimal points": (between(";"), ["separator ';'"]),
    "tabs": (between("\t"), ["separator tab"]),
    "pipes and decimal commas": (between("|", ","), ["separator '|'; decimal ',' in activation_7"]),
    "spaces": (between(" "), ["separator space"]),
    "a line that tells the separator": ("sep=;\r\n" + between(";", ","), ["separator ';'; decimal ',' in activation_7"]),
    "a byte order mark": ("\ufeff" + between(","), []),
    "UTF-16": (between("\t").encode("utf-16"), ["separator tab; encoding utf-16"]),
    "UTF-16 without a mark": (between(",").encode("utf-16-le"), ["encoding utf-16-le"]),
    "UTF-16, the other way round": (b"\xfe\xff" + between(",").encode("utf-16-be"), ["encoding utf-16"]),
    "UTF-32": (between(",").encode("utf-32"), ["encoding utf-32"]),
    "Latin-1": (between(";", ",").encode("latin-1"), ["separator ';'; encoding cp1252; decimal ',' in activation_7"]),
    "gzip": (gzip.compress(between(",").encode()), ["gzip"]),
    "single quotes": ("\n".join(",".join(f"'{cell}'" for cell in line.split(",")) for line in between(",").splitlines()), ["single quotes"]),
    "single quotes around words": (between(",").replace("café", "'café'").replace("dog", "'dog'"), ["single quotes"]),
    "quotes after backslashes": (between(",").replace("\n", ",note\n", 1).replace(".25", '.25,"a \\"b\\", c"').replace("1.5", "1.5,x"), ["quotes after backslashes"]),
    "row names": (between(" ").replace("café", '"1" "café"').replace("dog", '"2" "dog"'), ["separator space; row names first"]),
    "row names between commas": (between(",").replace("café", "1,café").replace("dog", "2,dog"), ["row names first"]),
    "row names that are words": (between("\t").replace("café", "row a\tcafé").replace("dog", "row b\tdog"), ["separator tab; row names first"]),
    "an index of pandas": ("," + between(",").replace("café", "0,café").replace("dog", "1,dog"), []),
    "an index of pandas, saved twice": ("Unnamed: 0.1,Unnamed: 0," + between(",").replace("café", "0,0,café").replace("dog", "1,1,dog"), []),
    "commas at the end": (between(",").replace("\n", ",\n"), []),
    "commas at the end of rows": (between(",").replace("5\n", "5,\n"), []),
    "several commas at the end": (between(",").replace("\n", ",,,\n"), []),
    "comments": ("# by A. Nonymous, 2026\n#\n" + between(",").replace("dog", "# one, left out\ndog"), ["comment lines left out: 1"]),
    "a header that is a comment": ("# " + between(","), []),
    "blank lines": ("\n\n" + between(",").replace("dog", "\n\ndog") + "\n\n", []),
    "blank rows": (between(",").replace("dog", ",,,,,\n , ,,,,\ndog"), ["blank rows left out: 2"]),
    "titles above the header": ("My study\n\n" + between(","), ["lines above the header left out: 2"]),
    "titles of several cells": ("Exported,by,a program\nof;2026\n" + between(","), ["lines above the header left out: 2"]),
    "a title above tabs": ("Sheet 1\n" + between("\t"), ["separator tab; lines above the header left out: 1"]),
    "carets": (between("^"), ["separator '^'"]),
    "tildes and decimal commas": (between("~", ","), ["separator '~'; decimal ',' in activation_7"]),
    "the unit separator": (between("\x1f"), ["separator '\\x1f'"]),
    "aligned columns": (" ground_truth  level  image participant\tsoft_correct  activation_7\n".replace("\t", "  ") + "         café      5  a.png          p1             1          0.25\n          dog      5  b.png          p2             0           1.5\n", ["aligned columns"]),
    "aligned columns with row names": ("  ground_truth level image participant soft_correct activation_7\n1 café             5 a.png p1                     1         0.25\n2 dog              5 b.png p2                     0         1.50\n", ["aligned columns; row names first"]),
    "levels named": (between(",").replace(",5,", ",level 5,"), ["name of the column before numbers (level 5) in level"]),
    "levels with underscores": (between(",").replace(",5,", ",Level_5,"), ["name of the column before numbers (level_5) in level"]),
    "apostrophes before numbers": (between(",").replace(",5,", ",'5,"), ["apostrophe before numbers ('5) in level"]),
    "digits in full width": (between(",").replace(",5,", ",５,").replace("0.25", "０．２５"), ["digits of another script (５) in level, activation_7"]),
    "Arabic digits": (between(",").replace(",5,", ",٥,").replace("0.25", "٠٫٢٥"), ["digits of another script (٥) in level, activation_7"]),
    "CRLF": (between(",").replace("\n", "\r\n"), []),
    "CR": (between(",").replace("\n", "\r"), []),
    "no end of the last line": (between(",").rstrip(), []),
    "spaces after commas": (between(",").replace(",", ", "), []),
    "quotes after spaces": (between(",").replace(",p", ', "p').replace(",1,0", '",1,0').replace(",0,1", '",0,1').replace(',"participant', ",participant"), None),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), READ.values(), ids=READ)
def test_a_file_of_another_program_is_read_as_it_is_meant_and_the_run_says_how(tmp_path, content, said):
    table = load(tmp_path, content)
    assert_plain(table)
    if said is not None:
        assert notes(table) == said


@pytest.mark.parametrize("name", ["table.tsv", "table.txt", "table.CSV.gz", "table", "table.dat"])
def test_the_name_of_a_file_does_not_matter(tmp_path, name):
    content = between("\t").encode()
    assert_plain(load(tmp_path, gzip.compress(content) if name.endswith("gz") else content, name=name))


HEADERS = {
    "title case": str.title,
    "capitals": str.upper,
    "spaces": lambda name: name.replace("_", " "),
    "dots": lambda name: name.replace("_", "."),
    "hyphens": lambda name: name.replace("_", "-"),
    "no-break spaces": lambda name: name.replace("_", "\u00a0"),
    "spaces around": lambda name: f" {name}\u00a0",
    "invisible characters": lambda name: f"\u200b{name}\ufeff",
    "concept for ground_truth": lambda name: name.replace("ground_truth", "Concept"),
    "a unit as a float": lambda name: name.replace("7", "7.0"),
    "a unit with zeros": lambda name: name.replace("7", "007"),
    "a wide digit": lambda name: name.replace("7", "７"),
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("kind", ["csv", "DataFrame", "Parquet"])
def test_a_column_is_known_by_any_spelling(tmp_path, change, kind):
    frame = pd.read_csv(io.StringIO(f"{HEADER}\n{PLAIN}")).rename(columns=change)
    if kind == "csv":
        table = load(tmp_path, frame.to_csv(index=False))
    elif kind == "Parquet":
        frame.to_parquet(tmp_path / "t.parquet")
        table = load_experiment_table(tmp_path / "t.parquet", ["7"])
    else:
        table = load_experiment_table(frame, ["7"])
    assert_plain(table)
    assert len(notes(table)) == 1


def test_concept_beside_the_same_ground_truth_is_no_contradiction(tmp_path):
    both = f"{HEADER},concept\n{PLAIN}".replace("0.25", "0.25,CAFÉ").replace("1.5", "1.5,dog ")
    assert_plain(load(tmp_path, both))


@pytest.mark.parametrize("unit", ["7", "007", "7.0", 7, 7.0, " 7", "7\u200b", np.float64(7)])
@pytest.mark.parametrize("column", ["activation_7", "activation_007", "activation_7.0", "Activation 7"])
def test_a_neuron_of_the_map_finds_its_column_however_either_is_written(tmp_path, unit, column):
    (tmp_path / "t.csv").write_text(f"{HEADER}\n{PLAIN}{PLAIN}".replace("activation_7", column))
    table = load_experiment_table(tmp_path / "t.csv", list(read_neuron_map({unit: "dog"})))
    assert table.activation_UI.tolist() == [[0.25, 1.5]]


def test_units_beyond_a_hundred_thousand_are_known_as_r_writes_them(tmp_path):
    table = load(tmp_path, f"{HEADER}\n{PLAIN}".replace("activation_7", "activation_1e+05"), ["100000"])
    assert table.activation_UI.tolist() == [[0.25, 1.5]]


def participants(tmp_path, *names):
    """The number of participants of a table with these names, and the notes."""
    lines = [f'dog,5,{i}.png,"{name}",1,0.5' for i, name in enumerate(names)]
    table = load(tmp_path, "\n".join([HEADER, *lines, ""]))
    return len(set(table.participant_R.tolist())), notes(table)


PARTICIPANTS = {
    "floats": (["1001.0", "1002.0", "1001.0"], 2, "participant: '1001.0' read as '1001'"),
    "floats beside whole numbers": (["1001.0", "1001", "1002"], 2, "participant: '1001.0' read as '1001'"),
    "floats with commas": (["1001,0", "1002,0"], 2, "participant: '1001,0' read as '1001'"),
    "floats beside words": (["1001.0", "1001", "p7"], 2, "participant: '1001.0' read as '1001'"),
    "no-break spaces": (["p1", "p1\u00a0", "\u00a0p1", "p2"], 2, None),
    "zero-width characters": (["p1", "p1\u200b", "p2"], 2, "participant: invisible characters left out of 1"),
    "byte order marks": (["\ufeffp1", "p1", "p2"], 2, "participant: invisible characters left out of 1"),
    "direction marks": (["p1\u200e", "p1", "p2"], 2, "participant: invisible characters left out of 1"),
    "decimals are other people": (["1.5", "1.0", "1"], 3, None),
    "leading zeros alone": (["007", "008", "010"], 3, None),
    "hexadecimal that looks like a power": (["5e8", "5e9", "12e5"], 3, None),
}  # fmt: skip


@pytest.mark.parametrize(("names", "n", "said"), PARTICIPANTS.values(), ids=PARTICIPANTS)
def test_participants_are_counted_as_they_were_before_another_program_changed_their_names(tmp_path, names, n, said):
    found, how = participants(tmp_path, *names)
    assert found == n
    assert how == ([said] if said else [])


def test_images_that_are_numbers_join_with_effects_that_have_floats(tmp_path):
    frame = pd.DataFrame({"ground_truth": ["cat", "dog"], "level": 5, "image": [1, 2], "soft_correct": 1, "activation_7": [0.5, 1]})  # fmt: skip
    effects = pd.DataFrame({"image": [1.0, 2.0], "ablation_effect_7": [0.1, 0.2], "amplification_effect_7": [0.3, 0.4]})
    assert load_experiment_table(frame, ["7"], effects=effects).ablation_UI.tolist() == [[0.1, 0.2]]


def scores(tmp_path, *cells, sep=","):
    lines = [f"dog,5,{i}.png,p{i},{{}},2".replace(",", sep).format(cell) for i, cell in enumerate(cells)]
    table = load(tmp_path, "\n".join([HEADER.replace(",", sep), *lines, ""]))
    return table.score_R.tolist(), notes(table)


SCORES = {
    "T and F": (["T", "F", "T"], [1, 0, 1], ["f and t as true and false in soft_correct"]),
    "capitals": (["TRUE", "FALSE"], [1, 0], []),
    "yes and no": (["yes", "No", "YES"], [1, 0, 1], ["no and yes as true and false in soft_correct"]),
    "y and n": (["y", "n"], [1, 0], ["n and y as true and false in soft_correct"]),
    "German": (["WAHR", "FALSCH"], [1, 0], ["falsch and wahr as true and false in soft_correct"]),
    "French": (["VRAI", "FAUX"], [1, 0], ["faux and vrai as true and false in soft_correct"]),
    "Spanish": (["VERDADERO", "FALSO"], [1, 0], ["falso and verdadero as true and false in soft_correct"]),
    "percentages": (["50%", "100 %", "0%"], [0.5, 1, 0], ["percentages as fractions in soft_correct"]),
    "percentages and zeros": (["50%", "0", "100%"], [0.5, 0, 1], ["percentages as fractions in soft_correct"]),
    "percentages with decimals": (["12.5%", "37.5%"], [0.125, 0.375], ["percentages as fractions in soft_correct"]),
    "missing as a spreadsheet says it": (["1", "#N/A", "0"], [1, 0], []),
    "missing as pandas says it": (["1", "<NA>", "0"], [1, 0], []),
}  # fmt: skip


@pytest.mark.parametrize(("cells", "values", "said"), SCORES.values(), ids=SCORES)
def test_recognition_is_read_in_any_words(tmp_path, cells, values, said):
    assert scores(tmp_path, *cells) == (values, said)


ACTIVATIONS = {
    "groups of commas": (['"1,234.5"', '"12,000,000"', "0.5"], [1234.5, 12e6, 0.5], ","),
    "groups of points": (["1.234,5", "12.000.000", "0,5"], [1234.5, 12e6, 0.5], ";"),
    "groups of spaces": (["1 234,5", "-12 000", "0,5"], [1234.5, -12000, 0.5], ";"),
    "groups of narrow spaces": (["1\u202f234,5", "2\u202f000", "0,5"], [1234.5, 2000, 0.5], ";"),
    "groups of apostrophes": (["1'234.5", "2'000", "0.5"], [1234.5, 2000, 0.5], ";"),
    "a group like the others": (['"1,234"', '"1,234.5"', "0.5"], [1234, 1234.5, 0.5], ","),
    "a decimal comma like the others": (["1,234", "0,5", "12,25"], [1.234, 0.5, 12.25], ";"),
    "a decimal point like the others": (["1.234", "0.5", "12.25"], [1.234, 0.5, 12.25], ";"),
    "three decimals between commas": (["1.234", "2.345", "3.456"], [1.234, 2.345, 3.456], ","),
    "minus signs of typesetters": (["−0.5", "−2", "3"], [-0.5, -2, 3], ","),
    "exponents": (["1,5e-3", "2E+02", "-1,0E2"], [0.0015, 200, -100], ";"),
    "plus signs": (["+0,5", "+2", "-3"], [0.5, 2, -3], ";"),
    "no digit before the mark": ([",5", "-,25", "1,0"], [0.5, -0.25, 1], ";"),
    "invisible characters": (["0.5\u200b", "\ufeff2", "3\u00a0"], [0.5, 2, 3], ","),
    "decimal commas in quotes": (['"0,5"', '"1,25"', "3"], [0.5, 1.25, 3], ","),
}  # fmt: skip


@pytest.mark.parametrize(("cells", "values", "separator"), ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_a_number_is_read_to_the_last_bit_however_it_is_written(tmp_path, cells, values, separator):
    lines = [f"dog,5,{i}.png,p{i},1,{{}}".replace(",", separator).format(cell) for i, cell in enumerate(cells)]
    table = load(tmp_path, "\n".join([HEADER.replace(",", separator), *lines, ""]))
    assert table.activation_UI[0].tolist() == values


def test_numbers_of_other_columns_decide_where_one_column_does_not(tmp_path):
    content = f"{HEADER};activation_8\n".replace(",", ";") + "dog;5;a;p;1;1,234;0,5\ndog;5;b;p;1;2,345;0,25\n"
    assert load(tmp_path, content, ["7", "8"]).activation_UI.tolist() == [[1.234, 2.345], [0.5, 0.25]]


def test_a_concept_that_looks_like_a_date_is_named(tmp_path):
    table = load(tmp_path, f"{HEADER}\n{PLAIN}".replace("dog", "1-Mar"))
    assert notes(table) == ["ground_truth '1-Mar' looks like a date that a spreadsheet made of another word"]


@pytest.mark.parametrize(
    ("word", "simulated"), [("F", False), ("FALSCH", False), ("n", False), ("T", True), ("WAHR", True)]
)
def test_simulated_is_read_in_any_words(tmp_path, word, simulated):
    content = f"{HEADER},simulated\n{PLAIN}".replace(".25", f".25,{word}").replace("1.5", f"1.5,{word}")
    assert load(tmp_path, content).simulated is simulated


def test_rows_are_numbered_as_a_spreadsheet_shows_them_whatever_comes_before(tmp_path):
    content = "sep=;\n" + between(";") + "\n# a comment\ndog;x;c;p;1;2\n"
    with pytest.raises(InputError, match="row 6: found 'x'; expected a whole number"):
        load(tmp_path, content)


def test_effects_in_a_csv_of_another_program_are_read(tmp_path):
    (tmp_path / "e.csv").write_text("Image;Ablation Effect 7;ablation_effect_8\na.png;0,5;1,25\nb.png;0,125;2\n")
    effects = read_effects(tmp_path / "e.csv")
    table = load_experiment_table(pd.read_csv(io.StringIO(f"{HEADER}\n{PLAIN}")), ["7"], effects=effects)
    assert table.ablation_UI.tolist() == [[0.5, 0.125]]
    assert "read as: separator ';'" in "\n".join(table.remarks)


# --- workbooks ---------------------------------------------------------------------------------


def workbook(path, **sheets):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, lines in sheets.items():
        sheet = book.create_sheet(name)
        for line in lines:
            sheet.append(line)
    book.save(path)
    return path


SHEET = [HEADER.split(","), ["café", 5, "a.png", "p1", True, 0.25], ["dog", 5, "b.png", "p2", False, 1.5]]
SHEETS = {
    "one sheet": ({"a": SHEET}, []),
    "notes before it": ({"notes": [["by", "me"]], "data": SHEET}, ["sheet 'data' of 2"]),
    "an empty sheet before it": ({"empty": [], "data": SHEET}, ["sheet 'data' of 2"]),
    "numbers as text": ({"a": [SHEET[0], ["café", "5", "a.png", "p1", "1", "0,25"], ["dog", "5", "b.png", "p2", "0", "1,5"]]}, ["decimal ',' in activation_7"]),
    "blank rows and columns": ({"a": [[], [None, *SHEET[0]], [], [None, *SHEET[1]], [None, *SHEET[2]]]}, []),
    "other names": ({"a": [["Concept", "LEVEL", "Image", "Participant", "Soft Correct", "Activation 7"], *SHEET[1:]]}, None),
}  # fmt: skip


@pytest.mark.parametrize(("sheets", "said"), SHEETS.values(), ids=SHEETS)
@pytest.mark.parametrize("name", ["t.xlsx", "t.csv"])
def test_a_workbook_is_read_as_its_csv_would_be(tmp_path, sheets, said, name):
    table = load_experiment_table(workbook(tmp_path / name, **sheets), ["7"])
    assert_plain(table)
    if said is not None:
        assert notes(table) == said


def test_a_damaged_workbook_is_refused(tmp_path):
    path = workbook(tmp_path / "t.xlsx", a=SHEET)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match="not a readable workbook"):
        load_experiment_table(path, ["7"])


def test_a_sheet_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    path = workbook(tmp_path / "t.xlsx", data=SHEET, other=SHEET)
    with pytest.raises(InputError, match=r"no sheet 'dat' \(did you mean 'data'\?\); expected one of 'data', 'other'"):
        load_experiment_table(path, ["7"], options=csv_options("sheet=dat"))


# --- the option --------------------------------------------------------------------------------

AMBIGUOUS = f"{HEADER}\n".replace(",", ";") + "dog;5;a;p;1;1.234\ncat;5;b;p;1;2.345\n"
TOLD = {
    "decimal": (AMBIGUOUS, "decimal=.", [1.234, 2.345]),
    "decimal in a word": (AMBIGUOUS, "decimal=point", [1.234, 2.345]),
    "thousands": (AMBIGUOUS, "thousands=.", [1234, 2345]),
    "no thousands": (AMBIGUOUS, "thousands=none", [1.234, 2.345]),
    "decimal of both": (AMBIGUOUS, "decimal=, thousands=.", [1234, 2345]),
    "separator": (AMBIGUOUS.replace(";", "!"), "sep=! decimal=.", [1.234, 2.345]),
    "separator in a word": (AMBIGUOUS, "sep=semicolon decimal=.", [1.234, 2.345]),
    "encoding": (AMBIGUOUS.replace("dog", "собака").encode("cp1251"), "encoding=cp1251 decimal=.", [1.234, 2.345]),
    "quote": (AMBIGUOUS.replace("dog", "~d;g~").replace("~", "'"), "quote=' decimal=.", [1.234, 2.345]),
    "no quote": (AMBIGUOUS.replace("dog", '"dog'), "quote=none decimal=.", [1.234, 2.345]),
    "comment": ("% by me; 5\n" + AMBIGUOUS.replace("cat", "% left; out\ncat"), "comment=% decimal=.", [1.234, 2.345]),
    "no comment": (AMBIGUOUS.replace("dog", "#dog"), "comment=none decimal=.", [1.234, 2.345]),
}  # fmt: skip


@pytest.mark.parametrize(("content", "told", "values"), TOLD.values(), ids=TOLD)
def test_the_option_decides(tmp_path, content, told, values):
    (tmp_path / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    table = load_experiment_table(tmp_path / "t.csv", ["7"], options=csv_options(told))
    assert table.activation_UI.tolist() == [values]
    assert len(table.concepts) == 2


def test_the_option_chooses_a_sheet(tmp_path):
    other = [[cell if cell != 0.25 else 9 for cell in line] for line in SHEET]
    path = workbook(tmp_path / "t.xlsx", data=SHEET, **{"second try": other})
    assert load_experiment_table(path, ["7"], options=csv_options("sheet=second try")).activation_UI.tolist() == [
        [9, 1.5]
    ]


WRONG_OPTIONS = {
    "an unknown key": ("encodng=utf-8", "--csv: no such key 'encodng' (did you mean 'encoding'?)"),
    "a separator of two characters": ("sep=;;", "--csv, sep: found ';;'; expected one character, or comma, semicolon, tab, space, pipe"),
    "a decimal that is none": ("decimal=x", "--csv, decimal: found 'x'; expected a point or a comma"),
    "thousands that are none": ("thousands=x", "--csv, thousands: found 'x'; expected point, comma, space, apostrophe or none"),
    "an encoding that is none": ("encoding=utf-88", "--csv, encoding: found 'utf-88'; expected the name of an encoding"),
    "an encoding of no text": ("encoding=base64", "--csv, encoding: found 'base64'; expected the name of an encoding"),
    "a quote that is none": ("quote=x", "--csv, quote: found 'x'; expected a double or single quote, or none"),
    "a comment of two characters": ("comment=//", "--csv, comment: found '//'; expected the character that comment lines start with"),
    "a key twice": ("sep=; sep=,", "--csv: found 'sep=; sep=,'; expected pairs such as"),
    "no pair": (";", "--csv: found ';'; expected pairs such as"),
    "the same mark twice": ("decimal=. thousands=.", "--csv: thousands and decimals have the same mark '.'; expected two"),
}  # fmt: skip


@pytest.mark.parametrize(("told", "found"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS)
def test_a_wrong_option_is_one_line_with_what_was_expected(told, found):
    with pytest.raises(InputError) as caught:
        csv_options(told)
    assert found in str(caught.value)


def test_bytes_that_are_not_in_the_told_encoding_are_refused(tmp_path):
    with pytest.raises(InputError, match="bytes that are not ascii"):
        load(tmp_path, f"{HEADER}\n{PLAIN}", encoding="ascii")


def test_the_option_of_the_command_reaches_the_table_and_the_signature(files, study, score):
    study["activation_1"] = [f"{1 + i / 1000:.3f}" for i in study.groupby("image_filename").ngroup()]
    study[["ground_truth", "level", "image_filename", "soft_correct", "activation_1"]].to_csv(
        files.data, index=False, sep=";"
    )
    files.neuron_map.write_text('{"1": "cat"}')
    assert "reads in one way" in score(*files.paths, "--resamples", 0).err
    assert score(*files.paths, "--resamples", 0, "--csv", "decimal=.").code == 0
    assert '"csv": {\n' in files.results.with_suffix(".json").read_text()


@pytest.mark.parametrize(
    ("cells", "kind"), [([[1, 2], [3]], "list<"), ([{"a": 1}, {"a": 2}], "struct<"), ([[[1]], [[2]]], "list<")]
)  # fmt: skip
@pytest.mark.parametrize("column", ["activation_7", "level"])
def test_a_parquet_column_of_lists_or_structs_is_named_with_its_type(tmp_path, cells, kind, column):
    frame = pd.read_csv(io.StringIO(f"{HEADER}\n{PLAIN}"))
    frame[column] = cells
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=rf"column '{column}': a column of {kind}.*expected one number or text a row"):
        load_experiment_table(tmp_path / "t.parquet", ["7"])
