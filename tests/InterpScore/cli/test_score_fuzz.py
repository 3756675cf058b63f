"""Guards `interpscore score` against any bytes: it scores, or it says what is wrong; nothing else ever comes out."""

import contextlib
import csv
import io
import json
import warnings

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from InterpScore import TableWarning, run_interpretability_benchmark
from InterpScore.errors import InputError
from InterpScore.tables.neuron_map import read_neuron_map

WORDS = [
    "",
    " ",
    "NA",
    "null",
    "nan",
    "None",
    "true",
    "FALSE",
    "0",
    "1",
    "0.5",
    "-1",
    "5",
    "4",
    "3",
    "5.0",
    "1e5",
    "1e-320",
]
WORDS += [
    "inf",
    "-inf",
    "1e308",
    "-1e308",
    "1e999",
    "9" * 400,
    "-" + "9" * 30,
    "1_000",
    "0,5",
    "１",
    "0x10",
    "1j",
    "2.5",
    "+1",
]
WORDS += [
    "cat",
    " CAT ",
    "dog",
    "experiment",
    "practice",
    "cat_level5_1.png",
    "é",
    "日本",
    "e\u0301",
    "\u200b",
    "\u2028",
    "\ufeff",
]
WORDS += [
    '"',
    '""',
    "'",
    ",",
    ";",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\x00",
    "\x1b[31m",
    "[/red]",
    "[bold]",
    "=1+1",
    "\\",
    "%s",
    "{}",
    "x" * 5000,
]
cell = st.one_of(
    st.sampled_from(WORDS),
    st.floats().map(repr),
    st.integers().map(str),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
tolerant = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def table(simulated_study):
    """A small valid table as rows of words, in a function so that reports stay short: two images a concept and level, two ratings each."""
    columns = ["ground_truth", "level", "image_filename", "participant", "soft_correct", "activation_1", "activation_2"]
    columns += ["trial_category", "clean_image", "ablation_effect_1", "response"]
    frame = simulated_study.assign(response="a word")
    frame = frame[frame["level"].isin([5, 3]) & frame["image_filename"].str.contains(r"_[123]\.png")]
    frame = frame.groupby("image_filename").head(2)[columns].astype(str)
    return lambda: [list(columns), *frame.to_numpy().tolist()]


@pytest.fixture(scope="module")
def check(score, tmp_path_factory):
    """Runs the command on some bytes and holds it to its promise."""
    folder = tmp_path_factory.mktemp("fuzz")
    data, neuron_map, results = folder / "data.csv", folder / "map.json", folder / "results.csv"

    def run(table_bytes, map_bytes, *options):
        data.write_bytes(table_bytes)
        neuron_map.write_bytes(map_bytes)
        results.unlink(missing_ok=True)
        outcome = score(data, neuron_map, results, *options)
        if outcome.code == 0:
            assert outcome.err == ""
            with results.open(newline="", encoding="utf-8") as file:
                header, *rows = list(csv.reader(file, strict=True))
            neurons = read_neuron_map(neuron_map)
            assert sorted(row[header.index("Neuron")] for row in rows) == sorted(neurons)
            assert {len(row) for row in rows} == {len(header)}
            assert len(pd.read_csv(results)) == len(neurons)
            assert len(json.loads(results.with_suffix(".json").read_text(encoding="utf-8"))["neurons"]) == len(neurons)
        else:
            assert (outcome.code, outcome.out) == (2, "")
            assert outcome.err.endswith("\n")
            assert all(line.startswith("error: ") for line in outcome.err[:-1].split("\n"))
            assert not results.exists()
        return outcome.code

    return run


def as_csv(rows, **how):
    out = io.StringIO(newline="")
    csv.writer(out, **how).writerows(rows)
    return out.getvalue().encode("utf-8")


MAP = b'{"1": "cat", "2": "dog"}'


@st.composite
def mutated_rows(draw, table):
    """A table with some cells replaced, rows repeated, columns shuffled, renamed or gone."""
    rows = table()
    names = list(rows[0])
    for _ in range(draw(st.integers(0, 4))):
        row, column = draw(st.integers(0, len(rows) - 1)), draw(st.integers(0, len(rows[0]) - 1))
        rows[row][column] = draw(cell)
    for kind in draw(
        st.lists(st.sampled_from(["column", "swap", "drop", "shuffle", "cut", "repeat", "ragged"]), max_size=2)
    ):
        column = draw(st.integers(0, len(rows[0]) - 1))
        if kind == "column":  # the same odd value in the whole column
            value = draw(cell)
            rows[1:] = [[*row[:column], value, *row[column + 1 :]] for row in rows[1:]]
        elif kind == "swap":
            rows[0][column] = draw(st.sampled_from(names))
        elif kind == "drop" and len(rows[0]) > 1:
            rows = [row[:column] + row[column + 1 :] for row in rows]
        elif kind == "shuffle":
            order = draw(st.permutations(range(min(map(len, rows)))))
            rows = [[row[i] for i in order] for row in rows]
        elif kind == "cut":
            rows = rows[: draw(st.integers(1, len(rows)))]
        elif kind == "repeat":
            rows = rows + rows[1:]
        elif kind == "ragged":
            rows[-1] = rows[-1][:column]
    return rows


@st.composite
def odd_numbers(draw, table):
    """A valid table whose images have activations, effects and levels at the edge of what floats hold."""
    header, *rows = table()
    edge = st.sampled_from(["0", "1", "-1", "0.1", "", "1e308", "-1e308", "1.7976931348623157e308", "1e-308", "5e-324"])
    number = st.one_of(edge, edge, st.floats(allow_nan=False, allow_infinity=False).map(repr))
    for column in draw(st.lists(st.sampled_from(["activation_1", "activation_2", "ablation_effect_1"]), unique=True)):
        values = draw(st.lists(number, min_size=1, max_size=4))
        images = {image: i for i, image in enumerate(sorted({row[2] for row in rows}))}
        for row in rows:
            row[header.index(column)] = values[images[row[2]] % len(values)]
    level = draw(st.sampled_from(["3", "5", "-1000000000", "1000000000"]))
    for row in rows:
        row[1] = level if row[1] == "3" else row[1]
    return [header, *rows[: draw(st.sampled_from([None, None, 1, 2, 4]))]]


@tolerant
@given(st.data())
def test_a_table_with_odd_cells_and_columns_is_scored_or_refused(table, check, data):
    rows = data.draw(st.one_of(mutated_rows(table), odd_numbers(table)))
    how = data.draw(
        st.fixed_dictionaries(
            {
                "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
                "lineterminator": st.sampled_from(["\n", "\r\n"]),
            }
        )
    )
    check(as_csv(rows, **how), MAP, "--resamples", data.draw(st.sampled_from([0, 0, 5])))


@tolerant
@given(st.data())
def test_a_table_with_damaged_bytes_is_scored_or_refused(table, check, data):
    content = bytearray(as_csv(table()))
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 3))
        content[start : start + length] = data.draw(
            st.one_of(st.binary(max_size=4), st.sampled_from([b'"', b",", b"\n", b"\r", b"\0", b"\xff"]))
        )
    check(bytes(content[: data.draw(st.one_of(st.none(), st.integers(0, len(content))))]), MAP, "--resamples", 0)


@tolerant
@given(st.one_of(st.binary(max_size=200), st.text(st.characters(codec="utf-8"), max_size=200).map(str.encode)))
def test_any_bytes_for_a_table_are_refused(check, content):
    assert check(content, MAP, "--resamples", 0) == 2


json_value = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=6),
        st.sampled_from(["cat", "dog", " CAT "]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=5,
)
neuron = st.one_of(
    st.sampled_from(["1", "2", " 1", "22", "01", "", "0.", "3,00", "1\u200b", "1²", "㊿", "a:1.0", "1e+05"]),
    st.text(max_size=5),
)
concept = st.one_of(st.sampled_from(["cat", "dog", "NA", " Cat\n", "[/red]", "raised hand"]), st.text(max_size=6))


@tolerant
@given(st.dictionaries(neuron, st.one_of(concept, concept, json_value), max_size=5), st.booleans())
def test_any_map_is_scored_or_refused(table, check, entries, ascii_only):
    content = json.dumps({**entries, "2": "dog"}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    check(as_csv(table()), content, "--resamples", 0)


@tolerant
@given(st.one_of(json_value.map(json.dumps).map(str.encode), st.binary(max_size=60)))
def test_any_bytes_for_a_map_are_scored_or_refused(table, check, content):
    check(as_csv(table()), content, "--resamples", 0)


OPTIONS = {
    "--clean-level": ["4", "3", "-1"],
    "--threshold-percentile": ["0.01", "0.5", "0.999"],
    "--recognizable-levels": ["3", "5", "1 2 3", "3,3,3"],
    "--min-p-value": ["1e-300", "0.5"],
    "--human-score-col": ["activation_1", "level", "response"],
    "--weights": ["1 0 0 0", "0 1 0 0", "1e308 1e308 1e308 1e308", "1e-320 0 0 0"],
    "--selectivity": ["auroc", "ap", "correlation", "COSINE", "F1_images"],
    "--on-missing": ["renormalise", "nan", "zero"],
    "--confidence": ["0.001", "0.9999"],
    "--adjust": ["by", "holm", "none"],
    "--seed": ["1", "9" * 30],
    "--unit-of-analysis": ["image", "rating"],
    "--level-kinds": ["3=synthetic", "5=synthetic", "3=clean 4=adversarial"],
    "--preset": ["default", "published"],
    "--causality": ["", ".", "/"],
}
odd_value = cell.filter(lambda text: "\x00" not in text)


@st.composite
def some_options(draw):
    """Up to three options, most with a value that is valid at the edge."""
    names = draw(st.lists(st.sampled_from(list(OPTIONS)), min_size=1, max_size=3, unique=True))
    return [
        f"{name}={draw(st.one_of(st.sampled_from(OPTIONS[name]), st.sampled_from(OPTIONS[name]), odd_value))}"
        for name in names
    ]


@tolerant
@given(some_options())
def test_any_value_of_an_option_is_used_or_refused(table, check, options):
    check(as_csv(table()), MAP, "--resamples", 5, *options)


@tolerant
@given(st.data())
def test_odd_numbers_make_no_warning_but_those_of_the_library(table, data):
    rows = data.draw(st.one_of(mutated_rows(table), odd_numbers(table)))
    frame = pd.DataFrame([row for row in rows[1:] if len(row) == len(rows[0])], columns=rows[0])
    resamples = data.draw(st.sampled_from([0, 5]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", TableWarning)
        with contextlib.suppress(InputError):
            result = run_interpretability_benchmark(frame, json.loads(MAP), resamples=resamples)
            assert len(result.table) == 2
