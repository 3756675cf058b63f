"""What the figures of ranks plot: equal to their CSV, and to the results and draws by slower ways."""

import numpy as np
import pytest
from scipy.stats import kendalltau, norm, rankdata

from InterpScore.aggregated_measure import calculate_interpretability_score
from tests.Visualizations.planted_run import drawn
from Visualizations.figures import ranking
from Visualizations.figures.score import leave_one_out, rank_uncertainty, weights


def ranked_rows(run):
    return run.table[run.table["Rank"].notna()].reset_index(drop=True)


def draws_of(run, name):
    """Of the ranked neurons, each row's median its estimate."""
    found = run.draws.of(name)[: len(ranked_rows(run))]
    return found - np.nanmedian(found, axis=1, keepdims=True) + ranked_rows(run)[name].to_numpy()[:, None]


def bars(axes):
    """Ends of the horizontal lines of the first collection, `(N, 2)`."""
    return np.array([segment[:, 0] for segment in axes.collections[0].get_segments()])


def below(value, others):
    """The rank of a value among all, ties sharing the best."""
    return 1 + sum(other > value for other in others)


# Ranking --------------------------------------------------------------------------------------------------------------


def test_ranking_plots_score_and_s_with_the_intervals_of_the_results(run):
    drawing, rows = drawn(run, ranking), ranked_rows(run)
    for axes, name in zip(drawing.figure.axes, ("InterpScore", "S")):
        np.testing.assert_array_equal(axes.lines[0].get_xdata(), rows[name])
        np.testing.assert_array_equal(bars(axes), rows[[f"{name}_low", f"{name}_high"]])
        np.testing.assert_array_equal(drawing.values[name], rows[name])
    assert [text.get_text() for text in drawing.figure.axes[0].get_yticklabels()] == rows["name"].tolist()


def test_ranking_plots_ranks_by_s_with_neurons_that_do_not_clearly_differ(run):
    drawing, rows = drawn(run, ranking), ranked_rows(run)
    s, draws = rows["S"].to_numpy(), draws_of(run, "S")
    np.testing.assert_array_equal(drawing.values["Rank_S"], [below(value, s) for value in s])
    for i in range(len(s)):
        least = norm.ppf(0.975) * (draws - draws[i]).std(axis=1, ddof=1)
        assert drawing.values["Rank_S_low"][i] == 1 + (s - s[i] > least).sum()
        assert drawing.values["Rank_S_high"][i] == len(s) - (s - s[i] < -least).sum()
    axes = drawing.figure.axes[2]
    np.testing.assert_array_equal(bars(axes), drawing.values[["Rank_S_low", "Rank_S_high"]])
    assert f"is {kendalltau(rows['InterpScore'], s).statistic:.2f} [" in drawing.caption


def test_ranking_without_draws_has_no_intervals_and_says_so(without_draws):
    drawing = drawn(without_draws, ranking)
    assert drawing.values[["InterpScore_low", "Rank_S_low"]].isna().all(axis=None)
    assert "No intervals" in drawing.caption


# Probabilities of ranks -----------------------------------------------------------------------------------------------


def test_rank_probabilities_are_shares_of_the_draws(run):
    drawing, draws = drawn(run, rank_uncertainty), draws_of(run, "InterpScore")
    shares = np.zeros((len(draws), len(draws)))
    for i in range(len(draws)):
        there = [b for b in range(draws.shape[1]) if np.isfinite(draws[i, b])]
        for b in there:
            others = np.where(np.isfinite(draws[:, b]), draws[:, b], ranked_rows(run)["InterpScore"])
            shares[i, below(draws[i, b], others) - 1] += 1 / len(there)
    np.testing.assert_allclose(drawing.figure.axes[0].collections[0].get_array(), shares, atol=1e-12)
    names = ranked_rows(run)["name"].tolist()
    for mark in drawing.values.to_dict("records"):
        assert mark["from"] == mark["to"]
        assert mark["probability"] == pytest.approx(shares[names.index(mark["name"]), mark["to"] - 1])
    assert drawing.values.groupby("name")["probability"].sum().to_numpy() == pytest.approx(1)


def test_rank_intervals_are_those_of_the_results(run):
    axes, rows = drawn(run, rank_uncertainty).figure.axes[0], ranked_rows(run)
    ends = [segment[:, 0] for segment in axes.collections[1].get_segments()]
    np.testing.assert_array_equal(ends, rows[["Rank_low", "Rank_high"]])
    np.testing.assert_array_equal(axes.lines[-1].get_xdata(), rows["Rank"])


def test_ranks_of_many_are_grouped_and_still_sum_to_one(many):
    drawing = drawn(many, rank_uncertainty)
    sums = drawing.values.groupby("name")["probability"].sum(min_count=1)
    assert sums.dropna().to_numpy() == pytest.approx(1)
    unknown = ranked_rows(many).head(40).set_index("name")["InterpScore_low"].isna()
    assert (sums.isna() == unknown[sums.index]).all()
    assert unknown.any()
    assert (drawing.values["to"] > drawing.values["from"]).any()


# Leave one out --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "name"), list(enumerate("SCRH")))
def test_ranks_without_a_component_are_those_of_the_formula_without_its_weight(run, left, name):
    drawing, rows = drawn(run, leave_one_out), ranked_rows(run)
    reduced = [weight * (other != name) for weight, other in zip(run.options.weights, "SCRH")]
    score = calculate_interpretability_score(*(rows[other] for other in "SCRH"), weights=reduced)
    expected = [below(value, score) for value in score]
    here = drawing.values[drawing.values["without"] == name].reset_index(drop=True)
    assert here["rank_without"].tolist() == expected
    assert here["tau"][0] == pytest.approx(kendalltau(rows["InterpScore"], score).statistic)
    assert drawing.figure.axes[0].lines[0].get_ydata()[left] == here["tau"][0]
    assert here["tau_low"][0] <= here["tau"][0] <= here["tau_high"][0]
    cells = {text.get_position(): text.get_text() for text in drawing.figure.axes[1].texts}
    assert [cells[left + 1, row].split()[0] for row in range(len(rows))] == [str(rank) for rank in expected]
    for row, rank in enumerate(expected):
        assert ("▲" in cells[left + 1, row], "▼" in cells[left + 1, row]) == (rank < row + 1, rank > row + 1)


# Other weights --------------------------------------------------------------------------------------------------------


def test_ranks_under_other_weights_are_those_of_weighted_means(run):
    drawing, rows = drawn(run, weights), ranked_rows(run)
    values = rows[list("SCRH")].to_numpy()
    ranks = np.array([rankdata(-(values @ of), "min") for of in weights.sampled(4)])
    table = drawing.values[drawing.values["mark"] == "neuron"]
    np.testing.assert_array_equal(table["rank_best"], ranks.min(0))
    np.testing.assert_array_equal(table["rank_worst"], ranks.max(0))
    np.testing.assert_allclose(table["share_first"], (ranks == 1).mean(0))
    np.testing.assert_allclose(table["share_top_3"], (ranks <= 3).mean(0))
    shown = [text.get_text() for text in drawing.figure.axes[0].texts]
    assert shown[1 : 1 + len(table)] == [f"{share:.0%}" for share in table["share_first"]]


def test_triangles_show_who_is_first_at_each_weighting(run):
    drawing, rows = drawn(run, weights), ranked_rows(run)
    cells = drawing.values[drawing.values["mark"] == "weights"]
    of = cells[[f"weight_{name}" for name in "SCRH"]].to_numpy(dtype=float)
    np.testing.assert_allclose(of.sum(1), 1)
    best = (of @ rows[list("SCRH")].to_numpy().T).argmax(1)
    assert cells["name"].tolist() == rows["name"].to_numpy()[best].tolist()


def test_small_triangles_fill_the_large_one():
    corners = weights.lattice(5)
    sides = corners[:, 1:, :2] - corners[:, :1, :2]
    assert np.abs(np.linalg.det(sides)).sum() == pytest.approx(1)
    assert corners.min() >= -1e-12


# Many and few ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [ranking, rank_uncertainty])
def test_of_many_neurons_the_best_forty_have_a_row_and_the_rest_is_counted(many, module):
    drawing = drawn(many, module)
    assert drawing.values["name"].drop_duplicates().tolist() == ranked_rows(many)["name"].head(40).tolist()
    unranked = len(many.table) - len(ranked_rows(many))
    assert drawing.notes[:2] == (
        f"{len(ranked_rows(many)) - 40} more ranked neurons not shown", f"{unranked} neurons without a rank not shown",
    )  # fmt: skip


@pytest.mark.parametrize("module", [rank_uncertainty, leave_one_out])
def test_figures_of_draws_give_the_reason_without_them(without_draws, module):
    assert module.FIGURE.missing(without_draws) == [
        "the results keep no draws; score again with --resamples and --draws above 0"
    ]
