"""Guards figures of single images: what is plotted is in the values, and the values are those of the table, computed plainly."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from Visualizations.styles import Style

TARGETS = {"1": "cat", "11": "dog", "21": "NA", "31": "raised hand"}


@pytest.fixture(scope="module")
def images(small):
    """A row an image: what the scored table says of it."""
    rated = small.frame.assign(rate=small.frame["soft_correct"].astype(float))
    columns = dict.fromkeys(
        ("ground_truth", "level", "clean_image", *(f"activation_{unit}" for unit in TARGETS)), "first"
    )
    return rated.groupby("image_filename").agg({**columns, "rate": "mean"})


def results(small, unit):
    return small.result.table.set_index("Neuron").loc[unit]


def panel(drawing, unit):
    (axes,) = [axes for axes in drawing.figure.axes if axes.get_title(loc="left") == f"{TARGETS[unit]} · {unit}"]
    return axes


def about(axes):
    return " ".join(text.get_text() for text in axes.texts)


def points(axes, marker):
    """Coordinates of all marks of a kind in a panel."""
    found = [np.column_stack(line.get_data()) for line in axes.lines if line.get_marker() == marker]
    return np.concatenate(found) if found else np.empty((0, 2))


# Heatmap --------------------------------------------------------------------------------------------------------------


def test_heatmap_is_the_mean_by_level_relative_to_the_largest_clean_one(drawn, images):
    values = drawn("heatmap").values.set_index(["panel", "name", "concept"])
    for unit, concept in TARGETS.items():
        mean = images.groupby(["level", "ground_truth"])[f"activation_{unit}"].mean()
        expected = mean[3, "dog"] / mean[5].abs().max()
        assert values.loc[("adversarial, level 3", f"{concept} · {unit}", "dog"), "relative"] == pytest.approx(expected)
    assert len(values) == 5 * 4 * 4
    own = values[values["own"]].reset_index()
    assert (own["name"].str.partition(" · ")[0] == own["concept"]).all()


def test_heatmap_shows_its_values(drawn):
    drawing = drawn("heatmap")
    values = drawing.values
    names, concepts = list(values["name"].unique()), list(values["concept"].unique())
    for axes, (group, cells) in zip(drawing.figure.axes, values.groupby("panel", sort=False)):
        assert axes.get_xlabel() == group.replace(", ", "\n")
        table = cells.pivot_table("relative", "name", "concept").loc[names, concepts]
        np.testing.assert_allclose(axes.images[0].get_array(), table)
        framed = {tuple(patch.get_xy() + np.array([0.5, 0.5])) for patch in axes.patches}
        assert framed == {(concepts.index(name.partition(" · ")[0]), at) for at, name in enumerate(names)}
        above = {text.get_text() for text in axes.texts}
        assert above == {f"{value:.1f}" for value in cells["relative"] if value > 1.05}
    assert [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()] == names


# Selectivity ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", TARGETS)
def test_selectivity_shows_every_clean_image_and_the_effect_size(drawn, small, images, unit):
    drawing, concept = drawn("selectivity"), TARGETS[unit]
    clean = images[images["level"] == 5]
    target, other = (clean[f"activation_{unit}"][(clean["ground_truth"] == concept) == side] for side in (True, False))
    values = drawing.values[drawing.values["name"] == f"{concept} · {unit}"]
    assert dict(zip(values["image"], values["activation"])) == pytest.approx({**target, **other})
    axes = panel(drawing, unit)
    assert sorted(points(axes, ".")[:, 0]) == pytest.approx(sorted([*target, *other]))
    assert sorted(points(axes, "|")[:, 0]) == pytest.approx(sorted([target.mean(), other.mean()]))
    pooled = np.sqrt((5 * target.var() + 17 * other.var()) / 22)
    g = (target.mean() - other.mean()) / pooled * (1 - 3 / (4 * 24 - 9))
    assert results(small, unit)["g"] == pytest.approx(g)
    assert about(axes).startswith(f"g {g:.1f} [".replace("-", "−"))
    assert about(axes).endswith("n.s.") == (not results(small, unit)["S_significant"])


def test_effect_size_has_the_interval_of_s():
    from statistics import NormalDist

    from Visualizations.figures.responses.selectivity import effect_interval

    low, high = effect_interval({"S_low": NormalDist().cdf(0.7 / 2**0.5), "S_high": NormalDist().cdf(2.1 / 2**0.5)})
    assert (low, high) == pytest.approx((0.7, 2.1))
    assert np.isnan(effect_interval({"S_low": 0.9, "S_high": 1.0})[1])
    assert np.isnan(effect_interval({})).all()


# Robustness -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", TARGETS)
def test_robustness_is_the_ratio_to_clean_by_level_and_by_pair(drawn, images, unit):
    drawing, concept = drawn("robustness"), TARGETS[unit]
    mine = images[images["ground_truth"] == concept]
    size = mine[f"activation_{unit}"].abs()
    clean = size[mine["level"] == 5].mean()
    values = drawing.values[drawing.values["name"] == f"{concept} · {unit}"]
    means = values[values["image"].isna()].set_index("level")["ratio"]
    assert means.to_dict() == pytest.approx(
        {level: size[mine["level"] == level].mean() / clean for level in (1, 2, 3, 4)}
    )
    pairs = values[values["image"].notna()].set_index("image")["ratio"]
    perturbed = mine[mine["clean_image"].isin(size.index[size > 0])]
    own = {image: size[image] / size[row["clean_image"]] for image, row in perturbed.iterrows()}
    assert pairs.to_dict() == pytest.approx(own)
    axes = panel(drawing, unit)
    assert axes.get_yscale() == "log"
    bottom = axes.get_ylim()[0] * 1.25
    assert sorted(points(axes, ".")[:, 1]) == pytest.approx(sorted(np.maximum(pairs, bottom)))
    assert points(axes, "_")[:, 1] == pytest.approx(np.maximum(means.to_numpy(), bottom))


def test_robustness_shows_kinds_by_colour_and_says_what_is_no_perturbation(drawn, small):
    drawing = drawn("robustness")
    axes = panel(drawing, "1")
    assert to_hex(points_of(axes, "X").get_color()) == Style().kind_color("adversarial").lower()
    assert any("level 4: made or chosen by activation" in note for note in drawing.notes)
    row = results(small, "1")
    assert about(axes) == f"R {row['R']:.2f} [{row['R_low']:.2f}, {row['R_high']:.2f}]"


def points_of(axes, marker):
    return next(line for line in axes.lines if line.get_marker() == marker)


# Alignment ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", TARGETS)
def test_alignment_is_recognition_against_activation_of_images_that_count(drawn, small, images, unit):
    drawing, concept = drawn("alignment"), TARGETS[unit]
    mine = images[(images["ground_truth"] == concept) & (images["level"] != 4)]  # DeepDream images do not count
    values = drawing.values[drawing.values["name"] == f"{concept} · {unit}"].set_index("image")
    assert values["activation"].to_dict() == pytest.approx(mine[f"activation_{unit}"].to_dict())
    assert values["recognition"].to_dict() == pytest.approx(mine["rate"].to_dict())
    assert (values["ratings"] == 3).all()
    axes = panel(drawing, unit)
    shown = np.concatenate([points(axes, marker) for marker in "osX"])
    np.testing.assert_allclose(
        sorted(shown.tolist()), sorted(values[["activation", "recognition"]].to_numpy().tolist())
    )
    row = results(small, unit)
    rho = values[["activation", "recognition"]].corr("spearman").iloc[0, 1]
    assert row["H_rho"] == pytest.approx(rho)
    ceiling = f" (≤ {row['H_ceiling']:.2f})" if np.isfinite(row["H_ceiling"]) else ""
    assert about(axes) == f"ρ {rho:.2f}{ceiling}".replace("-", "−")
    (threshold,) = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
    assert threshold == pytest.approx(row["threshold"])


# Dose -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", TARGETS)
def test_dose_curves_are_means_of_the_measured_effects(drawn, small, images, unit):
    drawing, concept = drawn("dose"), TARGETS[unit]
    effects = pd.read_parquet(small.sources.effects[0]).set_index("image_filename")
    names = {0.0: "ablation", 0.5: "scale_0.5", 2.0: "amplification", 4.0: "scale_4"}
    is_target = images["ground_truth"].reindex(effects.index) == concept
    curve = {scale: effects[f"{name}_effect_{unit}"] for scale, name in names.items()} | {1.0: effects.iloc[:, 0] * 0}
    values = drawing.values[drawing.values["name"] == f"{concept} · {unit}"]
    means = values[values["image"].isna()].set_index(["side", "scale"])["effect"].to_dict()
    expected = {("concept", scale): effect[is_target].mean() for scale, effect in curve.items()}
    expected |= {("others", scale): effect[~is_target].mean() for scale, effect in curve.items()}
    assert means == pytest.approx(expected)
    axes = panel(drawing, unit)
    wide = [
        line
        for line in axes.lines
        if line.get_linewidth() > 1 and line.get_linestyle() == "-" and line.get_marker() == "None"
    ]
    assert np.column_stack(wide[0].get_data()) == pytest.approx(
        np.array([[s, expected["concept", s]] for s in (0, 0.5, 1, 2, 4)])
    )
    assert len([line for line in axes.lines if line.get_linewidth() < 1]) == 6  # a line an image of the concept
    assert about(axes) == f"C {results(small, unit)['C']:.2f}"


# What is missing ------------------------------------------------------------------------------------------------------


def test_figures_name_the_files_that_they_lack(small):
    from Visualizations.kinds import chosen_kinds

    bare = small.with_files(data=None, effects=())
    for name in ("heatmap", "selectivity", "robustness", "alignment"):
        assert chosen_kinds([name])[0].missing(bare) == ["no experiment table was given; add --data"]
    assert len(chosen_kinds(["dose"])[0].missing(bare)) == 2


def test_two_doses_are_no_curve(small, tmp_path):
    from Visualizations.kinds import chosen_kinds

    effects = pd.read_parquet(small.sources.effects[0])
    effects[[name for name in effects if "scale" not in name]].to_parquet(tmp_path / "e.parquet")
    (why,) = chosen_kinds(["dose"])[0].missing(small.with_files(effects=[tmp_path / "e.parquet"]))
    assert why.startswith("measured at λ = 0, 2; expected at least 3 doses")


def test_images_at_one_level_are_no_robustness(tmp_path):
    from Visualizations.figures.responses.robustness import _no_perturbed

    class Clean:
        levels = (5,)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("Visualizations.figures.responses.robustness.Study.of", lambda run: Clean)
        assert _no_perturbed(None) == "images of level 5 alone; expected perturbed ones"


def test_simulated_participants_are_noted(drawn):
    for name in ("robustness", "alignment"):
        assert "the participants are simulated" in drawn(name).notes
