"""Guards the command, its files, index and exit codes, and figures of other packages."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from Activation_Extraction.base.commands import app, run
from Visualizations.kinds import ENTRY_POINT_GROUP, figure_kinds
from Visualizations.making import make_figures
from Visualizations.run import Run, Sources
from Visualizations.styles import Style

from ..installed import installed


@pytest.fixture
def called(capsys):
    """Calls `interpscore figures`; gives the exit code, standard output and standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            run(app, ["figures", *map(str, arguments)])
        return stopped.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def results(small, tmp_path):
    """A copy of the results."""
    return small.result.save(tmp_path / "results.csv")[0]


# Files and index ------------------------------------------------------------------------------------------------------


def test_figures_are_files_with_their_values_and_an_index(small, tmp_path):
    made = make_figures(small.run, tmp_path / "f", ["selectivity", "layers"], formats=["png", "pdf", "svg"])
    index = json.loads((tmp_path / "f" / "index.json").read_text())
    drawn, missing = index["figures"]
    assert drawn["files"] == ["selectivity.png", "selectivity.pdf", "selectivity.svg", "selectivity.csv"]
    assert all((tmp_path / "f" / file).stat().st_size for file in drawn["files"])
    assert (drawn["caption"], drawn["notes"]) == (made[0].caption, list(made[0].notes))
    assert missing == {"name": "layers", "title": "Layers compared", "missing": list(made[1].missing)}
    values = pd.read_csv(tmp_path / "f" / "selectivity.csv", keep_default_na=False)
    assert set(values["side"]) == {"concept", "others"}
    assert b"/Type3" not in (tmp_path / "f" / "selectivity.pdf").read_bytes()  # fonts are embedded as they are


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(small, tmp_path):
    for folder in ("a", "b"):
        make_figures(Run(small.sources), tmp_path / folder, ["published"], formats=["svg", "png"])
    for file in ("published.svg", "published.png", "published.csv", "index.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_png_is_as_wide_as_the_venue_says(small, tmp_path):
    from matplotlib.image import imread

    make_figures(small.run, tmp_path, ["published"], Style("nature"), ["png"])
    assert imread(tmp_path / "published.png").shape[1] == int(7.205 * 300)


# Exit codes -----------------------------------------------------------------------------------------------------------


def some_figures():
    """Of this package: one that results alone draw, and two that they do not."""
    return tuple(kind for kind in figure_kinds() if kind.name in ("ranking", "heatmap", "layers"))


@pytest.mark.parametrize("kinds", [some_figures, pytest.param(figure_kinds, marks=pytest.mark.slow)])
def test_what_cannot_be_drawn_is_said_and_is_an_error_only_where_it_was_named(
    called, results, tmp_path, monkeypatch, kinds
):
    monkeypatch.setattr("Visualizations.kinds.figure_kinds", kinds)
    code, out, err = called(results, "-o", tmp_path / "f", "--format", "png")
    assert (code, err) == (0, "")
    assert (
        "heatmap: Activation of neurons on concepts, by level (not drawn: no experiment table was given; add --data)"
        in out
    )
    code, out, err = called(results, "-o", tmp_path / "f", "--figure", "heatmap", "--quiet")
    assert (code, out) == (1, "")
    assert err == "error: heatmap: not drawn: no experiment table was given; add --data\n"


def test_list_writes_nothing(called, results, tmp_path):
    code, out, _ = called(results, "-o", tmp_path / "f", "--list")
    assert code == 0
    assert "cannot be drawn: no experiment table" in out
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--figure", "selectivty"], "figure 'selectivty': unknown (did you mean 'selectivity'?)"),
        (["--venue", "neurisp"], "--venue"),
        (["--theme", "grey"], "--theme"),
        (["--format", "gif"], "--format"),
        (["--data", "missing.csv"], "data: missing.csv: no such file"),
        (["-o", "/proc/figures"], "/proc/figures"),
    ],
)
def test_wrong_input_is_one_line(called, results, options, message):
    code, out, err = called(results, *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_another_table_than_the_scored_one_is_refused_before_anything_is_written(called, small, results, tmp_path):
    small.frame.iloc[1:].to_parquet(tmp_path / "other.parquet")
    code, out, err = called(results, "--data", tmp_path / "other.parquet", "-o", tmp_path / "f")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "other.parquet: not the table of results.json" in err
    assert not (tmp_path / "f").exists()


def test_a_csv_of_other_scores_is_refused(called, results):
    pd.read_csv(results).assign(InterpScore=0.5).to_csv(results, index=False)
    code, _, err = called(results)
    assert code == 2
    assert "results.csv: other scores than results.json" in err


def test_draws_of_another_run_are_refused(called, results):
    draws = results.with_suffix(".draws.npz")
    draws.write_bytes(draws.read_bytes()[:-10])
    code, _, err = called(results)
    assert (code, err.count("\n")) == (2, 1)
    assert "draws.npz: damaged, or the draws of other results" in err


# Figures of other packages --------------------------------------------------------------------------------------------

WORKED_EXAMPLE = '''
"""A figure of counts: how many ratings each neuron's score rests on."""

from matplotlib.figure import Figure

from Visualizations import Drawing, FigureKind
from Visualizations.needs import columns
from Visualizations.styles import label


def draw(run, style):
    rows = run.scored
    figure = Figure(figsize=(style.column, 0.6 + 0.16 * len(rows)))
    axes = figure.subplots()
    axes.barh(range(len(rows)), rows["n_ratings"], color=style.color("H"))
    axes.set_yticks(range(len(rows)), [label(name) for name in rows["name"]])
    axes.set_xlabel("ratings")
    return Drawing(figure, rows[["name", "n_ratings"]], "Ratings behind each neuron.", run.people)


FIGURE = FigureKind("ratings", "Ratings behind each neuron", draw, (columns("n_ratings", what="no ratings"),))
'''


def test_worked_example_adds_a_figure_without_touching_a_file(tmp_path, called, small):
    with installed(tmp_path / "site", "my_figures", WORKED_EXAMPLE, ENTRY_POINT_GROUP, "ratings", "my_figures:FIGURE"):
        code, out, _ = called(small.sources.results, "-o", tmp_path / "f", "--figure", "ratings")
        assert (code, "ratings: Ratings behind each neuron" in out) == (0, True)
        from Visualizations.kinds import chosen_kinds

        from .layout import layout_problems

        (kind,) = chosen_kinds(["ratings"])
        with Style("icml").applied():
            figure = kind.draw(small.run, Style("icml")).figure
            assert layout_problems(figure) == []
    values = pd.read_csv(tmp_path / "f" / "ratings.csv")
    assert values["n_ratings"].tolist() == small.result.table["n_ratings"].tolist()
    assert "unknown" in called(small.sources.results, "--figure", "ratings")[2]


def test_the_worked_example_of_the_page_is_this_one():
    from pathlib import Path

    page = Path(__file__).parents[2] / "docs" / "figures.md"
    assert WORKED_EXAMPLE.strip() in page.read_text()


FAILING = """
from Visualizations import FigureKind
def draw(run, style):
    {body}
FIGURE = FigureKind("mine", "Mine", draw)
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("1 / 0", "broken.py, line 4: ZeroDivisionError: division by zero"),
        ("run.table['no such']", "broken.py, line 4: KeyError: 'no such'"),
        ("raise SystemExit(3)", "broken.py, line 4: SystemExit: 3"),
        ("return 5", "TypeError: draw gave int; expected a Drawing"),
    ],
)
def test_a_figure_that_fails_is_named_with_its_place_and_the_others_are_made(tmp_path, called, small, body, said):
    code = FAILING.format(body=body)
    with installed(tmp_path / "site", "broken", code, ENTRY_POINT_GROUP, "mine", "broken:FIGURE"):
        ended, out, err = called(
            small.sources.results,
            "-o",
            tmp_path / "f",
            "--figure",
            "mine",
            "--figure",
            "layers",
            "--format",
            "png",
            "--quiet",
        )
        index = json.loads((tmp_path / "f" / "index.json").read_text())["figures"]
    assert (ended, out) == (1, "")
    assert err.startswith("error: mine: not drawn: ")
    assert said in err.splitlines()[0]
    assert [each["name"] for each in index] == ["mine", "layers"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("FIGURE = 5", "found int; expected a FigureKind"),
        ("import no_such_module", "cannot be loaded"),
        ("from Visualizations import FigureKind\nFIGURE = FigureKind('../x', '', None)", "expected lower-case letters"),
        (
            "from Visualizations import FigureKind\nFIGURE = FigureKind('heatmap', '', None)",
            "the name heatmap is taken",
        ),
    ],
)
def test_a_package_whose_figure_is_none_is_one_line(tmp_path, called, small, code, said):
    with installed(tmp_path, "broken", code, ENTRY_POINT_GROUP, "mine", "broken:FIGURE"):
        ended, out, err = called(small.sources.results, "--list")
    assert (ended, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_an_error_in_a_figure_of_ours_is_a_bug(small, tmp_path, monkeypatch):
    from Visualizations.figures import ranking

    broken = replace(ranking.FIGURE, draw=ranking.draw)
    object.__setattr__(broken, "draw", lambda run, style: 1 / 0)
    monkeypatch.setattr(broken.draw, "__module__", "Visualizations.figures.ranking")
    monkeypatch.setattr("Visualizations.making.chosen_kinds", lambda names: (broken,))
    with pytest.raises(ZeroDivisionError):
        make_figures(small.run, tmp_path)


# A run ----------------------------------------------------------------------------------------------------------------


def test_a_configuration_file_is_relative_to_its_folder(called, small, results, tmp_path):
    from Visualizations.request import read_request

    (tmp_path / "config.yaml").write_text(
        "results: results.csv\ndata: d.parquet\neffects: [a.parquet]\noutput: out\nfigures: heatmap\n"
    )
    asked = read_request(tmp_path / "config.yaml")
    assert (asked.results, asked.data, asked.output) == (results, tmp_path / "d.parquet", tmp_path / "out")
    assert (asked.effects, asked.figures) == ([tmp_path / "a.parquet"], ["heatmap"])


def test_a_run_without_resamples_has_empty_intervals(small, tmp_path):
    table = small.result.table.drop(columns=[name for name in small.result.table if name.endswith(("_low", "_high"))])
    path = replace(small.result, table=table, draws=None).save(tmp_path / "results.csv")[0]
    assert np.isnan(Run(Sources(path)).table[["S_low", "InterpScore_high"]].to_numpy()).all()
