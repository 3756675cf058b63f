"""What the figures of components and of differences plot: equal to their CSV, and to the draws by slower ways."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from scipy.stats import false_discovery_control, kendalltau, norm, spearmanr

from Activation_Extraction.base.errors import InputError
from tests.Visualizations.planted_run import drawn, planted_run
from tests.Visualizations.score.test_figures_of_ranks import draws_of, ranked_rows
from Visualizations.figures.score import components, correlation, dimensions, pairwise, power

LANES = ("S", "C", "R", "H", "InterpScore")


def pairs(run, name):
    """Difference, standard deviation over the draws of both and two-sided p of every pair of ranked neurons."""
    value, draws = ranked_rows(run)[name].to_numpy(), draws_of(run, name)
    found = []
    for i, j in combinations(range(len(value)), 2):
        spread = np.nanstd(draws[i] - draws[j], ddof=1)
        found.append((value[i] - value[j], spread, 2 * norm.sf(abs(value[i] - value[j]) / spread)))
    return np.array(found).T


# Distributions --------------------------------------------------------------------------------------------------------


def test_every_neuron_is_a_point_of_each_component_that_it_has(run):
    drawing = drawn(run, components)
    points = [c for c in drawing.figure.axes[0].collections if isinstance(c, PathCollection)]
    for name, lane in zip(LANES, points, strict=True):
        expected = run.table[name].dropna().tolist()
        assert lane.get_offsets()[:, 0].tolist() == expected
        assert drawing.values.loc[drawing.values["component"] == name, "value"].tolist() == expected
    assert "H is missing for 1 neuron" in drawing.notes


@pytest.mark.parametrize("name", LANES)
def test_the_mean_has_the_interval_of_the_mean_in_every_draw(run, name):
    value = run.table[name].to_numpy()
    draws = (
        run.draws.of(name) - np.nanmedian(run.draws.of(name), axis=1, keepdims=True) + value[:, None]
        if name != "H"
        else draws_of(run, "H")
    )
    mean_B = np.nanmean(draws, axis=0)
    low, high = np.quantile(mean_B - np.median(mean_B) + np.nanmean(value), [0.025, 0.975])
    values = drawn(run, components).values.set_index("component")
    found = values.loc[name, ["lane_mean", "lane_mean_low", "lane_mean_high"]].iloc[0]
    np.testing.assert_allclose(found.astype(float), [np.nanmean(value), low, high], atol=1e-9)


def test_distributions_of_many_have_a_density_behind_the_points(many, monkeypatch):
    monkeypatch.setattr(components, "DENSE", 60)
    few, dense = len(LANES), drawn.__wrapped__(many, components).figure.axes[0].collections
    assert sum(not isinstance(c, PathCollection) and len(c.get_paths()[0].vertices) > 300 for c in dense) == few


# Correlation ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_correlations_are_those_of_scipy_over_the_neurons_with_both(run):
    drawing = drawn(run, correlation)
    assert list(zip(drawing.values["x"], drawing.values["y"])) == [(b, a) for a, b in combinations("SCRH", 2)]
    for row in drawing.values.itertuples():
        both = run.table[[row.x, row.y]].dropna()
        assert row.neurons == len(both)
        assert row.rho == pytest.approx(spearmanr(both[row.x], both[row.y]).statistic)
        assert row.low <= row.rho <= row.high
    shown = [text.get_text().replace("−", "-") for axes in drawing.figure.axes for text in axes.texts]
    assert {f"{rho:+.2f}" for rho in drawing.values["rho"]} <= set(shown)


def test_scatters_hold_the_values_of_the_results(run):
    axes = next(a for a in drawn(run, correlation).figure.axes if (a.get_xlabel(), a.get_ylabel()) == ("S", "H"))
    offsets = np.ma.filled(axes.collections[0].get_offsets().astype(float), np.nan)
    there = run.table["H"].notna()
    np.testing.assert_array_equal(offsets[there], run.table.loc[there, ["S", "H"]])


# Pairs ----------------------------------------------------------------------------------------------------------------


def test_pairwise_differences_and_their_p_are_those_of_the_draws(run):
    drawing = drawn(run, pairwise)
    difference, spread, p = pairs(run, "InterpScore")
    np.testing.assert_allclose(drawing.values[["difference", "sd", "p"]].T, [difference, spread, p], rtol=1e-5)
    np.testing.assert_allclose(drawing.values["p_adjusted"], false_discovery_control(p), rtol=1e-5)
    assert drawing.values["significant"].tolist() == (false_discovery_control(p) <= 0.05).tolist()


def test_cells_show_the_differences_below_and_the_p_above_the_diagonal(run):
    drawing, rows = drawn(run, pairwise), ranked_rows(run)["name"].tolist()
    cells = {text.get_position(): text for text in drawing.figure.axes[0].texts}
    for pair in drawing.values.itertuples():
        i, j = rows.index(pair.name), rows.index(pair.other)
        assert float(cells[i, j].get_text().replace("−", "-")) == round(pair.difference, 2)
        assert cells[j, i].get_text() == pairwise.p_text(pair.p_adjusted)
        assert (cells[i, j].get_weight() == "bold") == pair.significant


def test_pairs_are_adjusted_as_the_run_is(tmp_path):
    run = planted_run(tmp_path, adjust="holm")
    p = pairs(run, "InterpScore")[2]
    order = np.argsort(p)
    expected, highest = np.empty(len(p)), 0.0
    for tested, at in enumerate(order):
        highest = max(highest, min(1, p[at] * (len(p) - tested)))
        expected[at] = highest
    np.testing.assert_allclose(drawn(run, pairwise).values["p_adjusted"], expected, rtol=1e-5)


# Dimensions -----------------------------------------------------------------------------------------------------------


def test_a_set_tells_a_pair_apart_where_one_of_its_components_does(run):
    drawing = drawn(run, dimensions)
    p = {name: pairs(run, name)[2] for name in "SCRH"}
    assert len(drawing.values) == 15
    for row in drawing.values.itertuples():
        names = row.components.split("+")
        smallest = np.minimum(np.min([p[name] for name in names], axis=0) * len(names), 1)
        assert row.told_apart == (false_discovery_control(smallest) <= 0.05).sum()
    assert [bar.get_height() for bar in drawing.figure.axes[0].patches] == drawing.values["told_apart"].tolist()


def test_a_set_is_ranked_by_its_weighted_components(run):
    values, rows = drawn(run, dimensions).values.set_index("components"), ranked_rows(run)
    for names in ("S", "C+H", "S+R+H"):
        score = sum(weight * rows[name] for name, weight in zip("SCRH", run.options.weights) if name in names)
        assert values.loc[names, "tau"] == pytest.approx(kendalltau(score, rows["InterpScore"]).statistic)
    assert values.loc["S+C+R+H", "tau"] == 1


def test_the_smallest_sets_that_suffice_are_marked(run):
    values = drawn(run, dimensions).values
    for marked, enough in (("fewest_pairs", values["told_apart"] >= values["told_apart"].iloc[-1]),
                           ("fewest_ranking", values["tau"] >= dimensions.KEEPS)):  # fmt: skip
        assert values.loc[values[marked], "size"].tolist() == [values.loc[enough, "size"].min()]
        assert enough[values[marked]].all()


def test_of_many_neurons_evenly_spaced_ones_are_compared_and_counted(many, monkeypatch):
    monkeypatch.setattr(dimensions, "COMPARED", 12)
    drawing = drawn.__wrapped__(many, dimensions)
    assert (
        drawing.notes[0]
        == f"12 of {len(ranked_rows(many))} ranked neurons are compared, evenly spaced over the ranking"
    )
    assert drawing.figure.axes[0].get_ylabel().endswith("(of 66)")


# Power ----------------------------------------------------------------------------------------------------------------


def test_detectable_differences_follow_from_the_spreads_of_pairs(run):
    curves = drawn(run, power).values.query("mark == 'curve'").set_index(["tests", "size"])
    spread = pairs(run, "InterpScore")[1]
    for tests in (1, 15):
        z = norm.ppf(1 - 0.05 / tests / 2) + norm.ppf(0.8)
        for size in (0.25, 1.0, 16.0):
            assert curves.loc[(tests, size), "detectable"] == pytest.approx(z * np.median(spread) / size**0.5, rel=1e-5)


def test_curves_are_the_detectable_differences(run):
    drawing = drawn(run, power)
    line = next(line for line in drawing.figure.axes[0].lines if line.get_label() == "one pair")
    curve = drawing.values[(drawing.values["mark"] == "curve") & (drawing.values["tests"] == 1)]
    np.testing.assert_array_equal(line.get_xydata(), curve[["size", "detectable"]].astype(float))


def test_shares_of_the_variance_are_covariances_with_the_score(run):
    values = drawn(run, power).values.query("mark == 'variance'").reset_index(drop=True)
    for i in range(len(values)):
        parts = np.array([w * draws_of(run, name)[i] for name, w in zip("SCRH", run.options.weights)])
        covariance = np.cov(parts[:, np.isfinite(parts).all(0)])
        expected = covariance.sum(1) / covariance.sum()
        np.testing.assert_allclose(values.loc[i, [f"share_{n}" for n in "SCRH"]].astype(float), expected, atol=1e-6)


def test_too_few_draws_for_a_standard_deviation_are_refused(tmp_path):
    run = planted_run(tmp_path, draws=5)
    with pytest.raises(InputError, match="over 20 draws; score again with more --draws"):
        drawn(run, power)


@pytest.mark.parametrize("module", [correlation, pairwise, dimensions, power])
def test_figures_of_draws_give_the_reason_without_them(without_draws, module):
    assert module.FIGURE.missing(without_draws) == [
        "the results keep no draws; score again with --resamples and --draws above 0"
    ]


def test_scores_of_one_component_have_no_dimensions(tmp_path):
    run = planted_run(tmp_path, weights="S=1")
    assert dimensions.FIGURE.missing(run) == ["the scores rest on S alone; expected at least 2 components"]
