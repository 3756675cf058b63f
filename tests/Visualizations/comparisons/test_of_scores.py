"""Guards figures that put scores beside something else: what is plotted equals the values, and these the files."""

import re

import numpy as np
import pandas as pd
import pytest

from Visualizations.kinds import chosen_kinds

from ..small_run import with_baseline


def lines(axes, marker):
    return [np.column_stack(line.get_data()).astype(float) for line in axes.lines if line.get_marker() == marker]


def panel(drawing, name):
    (axes,) = [axes for axes in drawing.figure.axes if axes.get_xlabel() == name]
    return axes


def segments(axes):
    """Ends of all horizontal lines, `(lines, 2)`."""
    paths = [path for collection in axes.collections for path in collection.get_segments()]
    return np.array([path[:, 0] if len(path) else [np.nan, np.nan] for path in paths])


# Untrained networks ---------------------------------------------------------------------------------------------------


def test_untrained_shows_the_neuron_the_mean_and_the_best_of_each_score(drawn, small):
    drawing, table = drawn("untrained"), with_baseline(small.result)["table"]
    assert list(drawing.values["score"].unique()) == ["InterpScore", "S", "C"]
    for score, mark in (("S", "o"), ("C", "s"), ("InterpScore", "o")):
        axes = panel(drawing, score)
        np.testing.assert_allclose(lines(axes, mark)[-1][:, 0], table[f"{score}_evaluation"].astype(float))
        np.testing.assert_allclose(lines(axes, "|")[0][:, 0], table[f"{score}_untrained"])
        np.testing.assert_allclose(lines(axes, "D")[0][:, 0], table[f"{score}_untrained_best"])
        mean, sd = table[f"{score}_untrained"], table[f"{score}_untrained_sd"]
        np.testing.assert_allclose(segments(axes), np.column_stack([mean - sd, mean + sd]))
    assert "2 untrained networks" in drawing.caption
    assert "R does not exist" in drawing.notes


def test_a_run_without_a_baseline_says_what_to_do(small):
    (why,) = chosen_kinds(["untrained"])[0].missing(small.run)
    assert why.startswith("no untrained baseline in the results; score again with --baseline")


# Published scores -----------------------------------------------------------------------------------------------------


def test_published_and_recomputed_scores_lie_beside_each_other(drawn, small):
    drawing = drawn("published")
    theirs, mine = pd.read_csv(small.sources.published, dtype={"neuron": str}), small.result.table
    both = mine[mine["Neuron"].isin(theirs["neuron"])]
    assert [axes.get_xlabel() for axes in drawing.figure.axes] == ["S", "R", "H", "InterpScore"]
    for score, mark in (("S", "o"), ("R", "^"), ("H", "D")):
        axes = panel(drawing, score)
        np.testing.assert_allclose(lines(axes, mark)[0][:, 0], both[score].astype(float))
        expected = theirs.set_index("neuron").loc[both["Neuron"], score]
        np.testing.assert_allclose(lines(axes, "o")[-1][:, 0], expected)
        ends = both[[f"{score}_low", f"{score}_high"]].astype(float).to_numpy()
        np.testing.assert_allclose(segments(axes)[: len(both)], ends)


def test_published_says_which_conventions_differ_and_which_values_do(drawn):
    drawing = drawn("published")
    assert "weights 0.3 0.3 0.2 0.2 (published 0.25 0.25 0.25 0.25)" in drawing.caption
    assert "H without DeepDream images" in drawing.caption
    notes = " ".join(drawing.notes)
    assert "published and not in this run: 999" in notes
    assert "at its ceiling" in notes
    outside = drawing.values[
        (drawing.values["published"] < drawing.values["low"]) | (drawing.values["published"] > drawing.values["high"])
    ]
    for score, count in outside.groupby("score").size().items():
        assert f"{score}: {count} of 2 published values lie outside" in notes


def test_published_formulas_leave_the_data_as_the_difference():
    from InterpScore.options import scoring_options
    from Visualizations.figures.comparisons.published import _differs

    assert _differs(scoring_options("published")).startswith("Both by the published formulas")


# Layers ---------------------------------------------------------------------------------------------------------------


def test_layers_show_every_neuron_and_the_mean_with_its_interval(drawn, small):
    drawing = drawn("layers")
    scores, excess = drawing.figure.axes
    assert [label.get_text() for label in scores.get_yticklabels()] == ["layer2\nn = 4", "layer10\nn = 4"]
    assert lines(scores, "D")[0][:, 0].tolist() == [1.5, 0.5]
    assert segments(scores).tolist() == [[0.4, 1.7], [0.4, 0.7]]
    for row in lines(scores, "."):
        np.testing.assert_allclose(sorted(row[:, 0]), sorted(small.result.table["InterpScore"].astype(float)))
    assert segments(excess).tolist() == [[-0.05, 0.2]] * 2
    assert any("6% of the layer's units" in note for note in drawing.notes)


# Labels ---------------------------------------------------------------------------------------------------------------


def test_labels_show_the_best_unit_of_each_concept(drawn, small):
    drawing = drawn("labels")
    table, (best, everyone) = pd.read_parquet(small.sources.labels), drawing.figure.axes
    first = table.dropna(subset="concept").sort_values("score", ascending=False).drop_duplicates("concept")
    np.testing.assert_allclose(lines(best, "o")[0][:, 0], first["score"])
    np.testing.assert_allclose(segments(best), first[["score_low", "score_high"]])
    names = [label.get_text() for label in best.get_yticklabels()]
    assert names == ["cat · 0 (1 unit)", "dog · 2 (2 units)", "NA · 3 (2 units)"]
    assert sum(patch.get_height() for patch in everyone.patches) == len(table)
    assert any("1 label without an interval" in note for note in drawing.notes)


# Checks ---------------------------------------------------------------------------------------------------------------


def test_label_tests_mark_what_falls(drawn, small):
    drawing, checks = drawn("label_tests"), pd.read_csv(small.sources.sanity)
    told = checks[checks["section"].astype(str) == "7.4"]
    assert len(drawing.values) == len(told)
    shown = {mark: sum(len(points) for axes in drawing.figure.axes for points in lines(axes, mark)) for mark in "oX"}
    assert shown == {"o": int(told["passed"].sum()), "X": int((~told["passed"]).sum())}
    falls = told["figure"].str.extract(r"falls by (\S+) of")[0].astype(float)
    np.testing.assert_allclose(drawing.values["fall"], falls)
    # A mark of a score lies in the row of the score.
    missing = drawing.figure.axes[0]
    row = [label.get_text() for label in missing.get_yticklabels()].index("correlation")
    of_score = drawing.values[
        (drawing.values["score"] == "correlation") & (drawing.values["labels"] == missing.get_title(loc="left"))
    ]
    assert sum((points[:, 1] == row).sum() for mark in "oX" for points in lines(missing, mark)) == len(of_score) == 4


def test_sanity_counts_what_passes_and_plots_what_intervals_cover(drawn):
    drawing = drawn("sanity")
    bars, coverage = drawing.figure.axes
    passed = drawing.values[drawing.values["panel"] == "passed"].set_index(["section", "whose"])
    assert passed.loc[("7.1 noise scores nothing", "published conventions"), ["passed", "checks"]].tolist() == [0, 1]
    assert passed.loc[("7.5 invariance", "InterpScore"), ["passed", "checks"]].tolist() == [1, 1]
    labels = {f"{row.passed:.0f}/{row.checks:.0f}" for row in passed.itertuples()}
    assert {text.get_text() for text in bars.texts} == labels
    assert sorted(bar.get_width() for bar in bars.patches) == pytest.approx(sorted(passed["passed"] / passed["checks"]))
    shares = {"S": [96, 41, 74, 100], "InterpScore": [94, 90]}
    rows = [label.get_text() for label in coverage.get_yticklabels()]
    for of, expected in shares.items():
        points = np.concatenate([p for mark in "oX" for p in lines(coverage, mark)])
        here = points[np.abs(points[:, 1] - rows.index(of)) < 0.5]
        assert sorted(here[:, 0]) == sorted(expected)
    assert any(re.search("50 simulated studies", note) for note in drawing.notes)


@pytest.mark.parametrize(
    ("name", "file", "content", "why"),
    [
        ("labels", "labels", "none", "no unit has a label better than chance"),
        ("label_tests", "sanity", "none", "no check of section 7.4"),
        ("published", "published", "neuron,S\n998,1\n", "no neuron of this run is in"),
    ],
)
def test_files_with_nothing_to_show_are_named(small, tmp_path, name, file, content, why):
    path = tmp_path / getattr(small.sources, file).name
    if file == "labels":
        pd.read_parquet(small.sources.labels).assign(concept=pd.Series([None] * 9, dtype=object)).to_parquet(path)
    elif file == "sanity":
        pd.read_csv(small.sources.sanity).head(3).to_csv(path, index=False)
    else:
        path.write_text(content)
    (found,) = chosen_kinds([name])[0].missing(small.with_files(**{file: path}))
    assert found.startswith(why)
