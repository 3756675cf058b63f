"""The tables for papers: LaTeX that compiles, digits that intervals support, and nothing lost on the way."""

import json
import math
import re

import pandas as pd
import pytest

from Activation_Extraction.base.text import printable
from tests.hostile import NAMES
from tests.Visualizations.planted_run import UNITS, planted_run
from Visualizations.making import make_figures
from Visualizations.tables.contents import ranking, reason_of, settings, summary
from Visualizations.tables.digits import rounded
from Visualizations.tables.latex import in_latex, table

NASTY = (
    *NAMES, r"\end{tabular}", r"a\\b", "{", "}", "}{", "50%", "% comment", "#1", "x_i", "x^2", "~", "$x^2$", "$", "a & b", "[t]", "*",
    "--", "---", "``quoted''", "<<", "?`", "two  spaces", "Ünïcödé", "Łódź", "naïve café", "straße", "≤ ½ ± 3", "λ", "\u0301", "é\u0301",
    "fi", '"a', "αβγ", "🔥", "ﬀ", "a\u00a0b",
)  # fmt: skip
COMMANDS = {
    r"\begin", r"\end", r"\centering", r"\caption", r"\label", r"\footnotesize", r"\scriptsize", r"\setlength", r"\tabcolsep", r"\toprule",
    r"\midrule", r"\bottomrule", r"\par", r"\smallskip", r"\linewidth", r"\raggedright", r"\textsuperscript", r"\textendash",
}  # fmt: skip
OF_TEXT = {
    r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\textless{}": "<", r"\textgreater{}": ">",
    r"\textbar{}": "|", r"\char34{}": '"', "{[}": "[", "{]}": "]", "{*}": "*", r"\ ": " ", r"\{": "{", r"\}": "}", r"\$": "$", r"\&": "&",
    r"\%": "%", r"\#": "#", r"\_": "_", "{}": "",
}  # fmt: skip
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[^\\]", re.DOTALL)


def read_back(latex):
    """The text of ASCII that LaTeX shows."""
    return re.sub("|".join(map(re.escape, OF_TEXT)), lambda found: OF_TEXT[found.group()], latex)


def faults(document, columns):
    """What TeX would stumble over or take for something else: one line each."""
    found, depth, open_environments = [], 0, []
    lines = document.split("\n")
    assert lines[0].startswith("%")
    body = "\n".join(lines[1:])
    for token in _TOKEN.findall(body):
        depth += (token == "{") - (token == "}")
        if depth < 0 or token in ("#", "$", "^", "_", "~", "%"):
            found.append(f"{token} at depth {depth}")
    found += [f"depth {depth} at the end"] * (depth != 0)
    for command, after in re.findall(r"(\\[A-Za-z]+)(.?)", body):
        if command not in COMMANDS and (after.isspace() or after.isalpha() or not after):
            found.append(f"{command} swallows what follows")
    if not body.isascii():
        found.append("not ASCII")
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        if kind == "begin":
            open_environments.append(name)
        elif not open_environments or open_environments.pop() != name:
            found.append(f"end of {name}")
    found += [f"{name} stays open" for name in open_environments]
    rows = re.findall(r"^(.*) \\\\$", body, re.MULTILINE)
    found += [f"cells of {row}" for row in rows if len(re.findall(r"(?<!\\)&", row)) != columns - 1]
    return found + [f"{row} after a line end" for row in body.split("\\\\\n")[1:] if row[:1] in ("[", "*")]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return planted_run(tmp_path_factory.mktemp("run"))


# LaTeX ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NASTY)
def test_any_name_is_text_in_latex(name):
    assert (
        faults(table("t", "ll", ["a", in_latex(name)], [[in_latex(name), "1"]], in_latex(name), [in_latex(name)]), 2)
        == []
    )


@pytest.mark.parametrize("name", [name for name in NASTY if printable(name).isascii()])
def test_names_of_ascii_are_there_in_full(name):
    assert read_back(in_latex(name)) == printable(name)


@pytest.mark.parametrize(("name", "latex"), [
    ("é", r"\'{e}"), ("e\u0301", r"\'{e}"), ("Ł", r"\L{}"), ("長", r"\textbackslash{}u9577"), ("--", "-{}-"), ("ﬁ", r"\textbackslash{}ufb01"),
    ("🔥", r"\textbackslash{}U0001f525"),
])  # fmt: skip
def test_letters_that_plain_latex_lacks_become_commands_or_escapes(name, latex):
    assert in_latex(name) == latex


@pytest.mark.parametrize("broken", ["{", "}", "%", "a_b", "&", r"\end{tabular}", "é", r"\nothing"])
def test_the_check_of_these_tests_finds_what_is_not_escaped(broken):
    assert faults(table("t", "ll", ["a", "b"], [[broken, "1"]], "", []), 2)


@pytest.mark.parametrize(("make", "columns"), [(ranking, 8), (summary, 8), (settings, 2)])
def test_every_table_is_sound_latex(run, make, columns):
    assert faults(make(run).latex, columns) == []


# Digits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "low", "high", "expected"), [
    (0.632664, 0.550770, 0.730694, ("0.63", "0.55", "0.73")),  # half the width .09
    (0.5719, 0.4899, 0.7134, ("0.57", "0.49", "0.71")),  # .11: begins with 1
    (0.7026, 0.4133, 0.8970, ("0.7", "0.4", "0.9")),  # .24
    (0.14905, 0.13776, 0.16164, ("0.149", "0.138", "0.162")),  # .012
    (0.9999999, 0.9999990, 1.0, ("1.000", "1.000", "1.000")),  # never more than three
    (0.5, 0.4, 0.6, ("0.50", "0.40", "0.60")),  # exactly .1
    (0.25, math.nan, math.nan, ("0.250", "", "")),
    (0.25, 0.25, 0.25, ("0.250", "0.250", "0.250")),
    (math.nan, 0.0, 1.0, ("", "", "")),
])  # fmt: skip
def test_digits_are_those_that_the_interval_supports(value, low, high, expected):
    assert rounded(value, low, high) == expected


# Contents -------------------------------------------------------------------------------------------------------------


def cells(latex):
    """The rows of a table below its head, as texts."""
    return [[read_back(cell) for cell in row.split(" & ")] for row in re.findall(r"^(.*) \\\\$", latex, re.MULTILINE)][
        1:
    ]


def test_the_ranking_shows_the_values_of_the_results(run):
    made = ranking(run)
    for row, plain, shown in zip(
        run.table.to_dict("records"), made.values.to_dict("records"), cells(made.latex), strict=True
    ):
        assert shown[1:3] == [row["Concept"], row["Neuron"]] == [plain["Concept"], plain["Neuron"]]
        for name, cell in zip(("S", "C", "R", "H", "InterpScore"), shown[3:], strict=True):
            if pd.isna(row[name]):
                assert cell.startswith(r"\textendash")
                continue
            value, low, high = (float(plain[f"{name}{end}"] or "nan") for end in ("", "_low", "_high"))
            half = (row[f"{name}_high"] - row[f"{name}_low"]) / 2
            assert value == pytest.approx(row[name], abs=max(half / 2, 0.0006))
            assert cell.startswith(f"{plain[name]} [{plain[f'{name}_low']}, {plain[f'{name}_high']}]")
            assert low <= value <= high
            assert cell.endswith(r"\textsuperscript*") == (row.get(f"{name}_significant") is True)


def test_missing_values_are_dashes_with_the_reason_below(run):
    made = ranking(run)
    reason = "H: no rated image of the concept above the activation threshold"
    assert made.values["H_missing"].dropna().tolist() == [reason]
    assert r"\textendash{}\textsuperscript{1}" in made.latex
    assert rf"\textsuperscript{{1}} {reason}." in made.latex


def test_marks_of_significance_have_a_legend(run):
    assert (
        r"\textsuperscript{*} Significant S or H: p adjusted over the neurons (Benjamini-Hochberg) at most 0.05."
        in ranking(run).latex
    )


def test_simulated_participants_are_named_so_in_every_table(run):
    assert all("simulated" in make(run).latex for make in (ranking, summary, settings))


def test_the_summary_is_of_all_neurons_that_have_a_value(run):
    for row in summary(run).values.to_dict("records"):
        value = run.table[row["Component"]].dropna()
        assert row["Neurons"] == str(len(value))
        assert [row["SD"], row["Median"]] == [f"{value.std():.3f}", f"{value.median():.3f}"]
        assert (float(row["Mean_low"]), float(row["Mean_high"])) == pytest.approx(
            run.mean_of(row["Component"])[1:], abs=0.006
        )
    assert summary(run).values["Significant"].tolist() == [str(run.table["S_significant"].sum()), "", "", "0", ""]


def test_settings_are_those_of_the_signature(run):
    found = dict(settings(run).values.to_numpy())
    assert found["Weights"] == "S 0.3, C 0.3, R 0.2, H 0.2"
    assert found["Levels"] == "clean 5; others benign"
    assert found["Intervals"] == "95%, 80 resamples, seed 0"
    assert found["Participants"] == "12, simulated"
    assert found["Threshold of H"] == "quantile 0.95"


def test_of_many_neurons_the_latex_has_the_best_forty_and_the_csv_all(tmp_path):
    units = {f"{copy}{unit}": planted for copy in range(7) for unit, planted in UNITS.items()}
    made = ranking(planted_run(tmp_path, resamples=0, units=units))
    assert (len(cells(made.latex)), len(made.values)) == (40, 49)
    assert "The 9 other neurons are in the CSV." in made.latex
    assert "without intervals, as the run has no resamples" in made.caption


def test_reasons_are_of_the_component_itself():
    notes = "S: heavy tails; H interval: from the 64% of resamples; H: no recognised image"
    assert [reason_of(notes, name) for name in ("H", "R", "S")] == ["H: no recognised image", "", "S: heavy tails"]


def test_tables_are_written_beside_the_figures_and_listed(run, tmp_path):
    make_figures(run, tmp_path, ["components"], formats=["svg"])
    listed = json.loads((tmp_path / "index.json").read_text())["tables"]
    assert [each["name"] for each in listed] == ["ranking", "summary", "settings"]
    for each in listed:
        assert each["caption"]
        assert [(tmp_path / name).stat().st_size > 0 for name in each["files"]] == [True, True]
    assert (tmp_path / "tables" / "ranking.tex").read_text() == ranking(run).latex
