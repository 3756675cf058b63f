"""Guards correlation, cosine, AUPRC, F1 and IoU of images in a scoring run: values, chance, intervals, reasons. METRICS.md, 8."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, f1_score, jaccard_score
from sklearn.metrics.pairwise import cosine_similarity

from InterpScore import InputError, run_interpretability_benchmark
from InterpScore.metric import components
from InterpScore.options import scoring_options
from InterpScore.pairs.top_images import tie_order
from InterpScore.sanity.pair_coverage import pair_coverage

pytestmark = pytest.mark.filterwarnings("ignore::InterpScore.errors.TableWarning")
FIVE = ("correlation", "cosine", "AUPRC", "F1_images", "IoU_images")
OF_HITS = FIVE[2:]


def pictures(activations, concepts=("cat",) * 12 + ("dog",) * 20 + ("owl",) * 28, **columns):
    """A table of clean images, one row each, in an order that has nothing to do with their names."""
    names = [f"{concept} {k}.png" for k, concept in enumerate(concepts)]
    frame = pd.DataFrame({"image_filename": names, "ground_truth": concepts, "level": 5, "soft_correct": 1.0})
    return frame.assign(**{f"activation_{u}": a for u, a in activations.items()}, **columns)


def drawn(seed=0, n=60, positives=12):
    """Units of every kind: normal and skewed, sparse with ties, selective, perfect, and against their concept."""
    generator, shows = np.random.default_rng(seed), np.arange(n) < positives
    normal = generator.standard_normal(n)
    return {
        "1": normal + 2 * shows, "2": np.exp(normal + shows), "3": np.maximum(normal - 0.8 + shows, 0),
        "4": normal + 9 * shows, "5": normal - 2 * shows, "6": normal,
    }  # fmt: skip


def scored(frame, **options):
    neurons = [name.removeprefix("activation_") for name in frame if name.startswith("activation_")]
    result = run_interpretability_benchmark(frame, dict.fromkeys(neurons, "cat"), **{"resamples": 0, **options})
    return result.table.set_index("Neuron").sort_index()


def plain(activation, shows, order):
    """The five by loops over images; ties in `order`."""
    n, n_y = len(shows), sum(shows)
    k = max(-(-5 * n // 1000), n_y)
    top = sorted(range(n), key=lambda i: (-activation[i], list(order).index(i)))[:k]
    hits = sum(1 for i in top if shows[i])
    mean_a, mean_y = sum(activation) / n, n_y / n
    covariance = sum((a - mean_a) * (y - mean_y) for a, y in zip(activation, shows, strict=True))
    spread = sum((a - mean_a) ** 2 for a in activation) * sum((y - mean_y) ** 2 for y in shows)
    product = sum(a for a, y in zip(activation, shows, strict=True) if y)
    size = (sum(a**2 for a in activation) * n_y) ** 0.5
    precision, recall = hits / n_y, hits / k
    area = precision * recall + k / n * (1 - recall)
    return [covariance / spread**0.5, product / size, area, 2 * hits / (n_y + k), hits / (n_y + k - hits)]


@pytest.mark.parametrize("options", [{}, {"preset": "published"}, {"selectivity": "f1_images"}])
def test_scores_are_those_of_plain_loops_and_of_numpy_and_scikit_learn(options):
    units = drawn()
    frame = pictures(units)
    found = scored(frame, **options)
    shows, order = (frame["ground_truth"] == "cat").to_numpy(), tie_order(frame["image_filename"])
    for u, a in units.items():
        top = np.isin(np.arange(60), order[np.argsort(-a[order], kind="stable")[:12]])
        public = [
            np.corrcoef(a, shows)[0, 1], cosine_similarity(a[None], shows[None].astype(float))[0, 0],
            average_precision_score(top, shows), f1_score(top, shows), jaccard_score(top, shows),
        ]  # fmt: skip
        for expected in (public, plain(a.tolist(), shows.tolist(), order)):
            assert found.loc[u, list(FIVE)].tolist() == pytest.approx(expected, abs=1e-9)
        assert (found.loc[u, "n_top_images"], found.loc[u, "n_top_of_concept"]) == (12, (top & shows).sum())


@pytest.mark.parametrize("unit", ["1", "2", "3"])
def test_chance_is_the_mean_over_permutations_of_the_labels(unit):
    units, generator = {unit: drawn()[unit]}, np.random.default_rng(1)
    row = scored(pictures(units)).loc[unit]
    chance = row[list(FIVE)].to_numpy(float) - row[[f"{name}_excess" for name in FIVE]].to_numpy(float)
    shows, a = np.arange(60) < 12, units[unit]
    top = np.argsort(np.argsort(-a, kind="stable"), kind="stable") < 12
    found = []
    for _ in range(1500):
        y = generator.permutation(shows)
        hits = (y & top).sum()
        area = (hits / 12) ** 2 + 0.2 * (1 - hits / 12)
        found.append([np.corrcoef(a, y)[0, 1], a[y].sum() / np.sqrt(12 * (a @ a)), area, hits / 12, hits / (24 - hits)])
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert np.abs(np.mean(found, axis=0) - chance) == pytest.approx(0, abs=float(4 * error.max()))
    assert (np.abs(np.mean(found, axis=0) - chance) < 4 * error).all()


@pytest.fixture(scope="module")
def resampled():
    return scored(pictures(drawn()), resamples=300)


def test_intervals_contain_the_scores_and_end_within_their_range(resampled):
    for name in FIVE:
        units = ["1"] if name in OF_HITS else ["1", "2", "3", "5", "6"]
        low, value, high = (resampled.loc[units, f"{name}{end}"] for end in ("_low", "", "_high"))
        assert (low < value).all()
        assert (value < high).all()
        assert (high <= 1).all()


def test_an_ideal_unit_has_an_interval_below_1(resampled):
    row = resampled.loc["4"]
    for name in OF_HITS:
        assert (row[name], row[f"{name}_high"]) == (1, 1)
        assert 0.5 < row[f"{name}_low"] < 0.99


def test_no_interval_rests_on_fewer_than_five_top_images_of_the_concept(resampled):
    few = resampled["n_top_of_concept"] < 5
    assert few.any()
    for name in OF_HITS:
        assert resampled.loc[few, f"{name}_low"].isna().all()
        assert resampled.loc[~few, f"{name}_low"].notna().all()
    hits = resampled["n_top_of_concept"]["5"]
    assert f"AUPRC, F1_images and IoU_images interval: none from {hits} top image" in resampled.loc["5", "Notes"]
    assert resampled["correlation_low"].notna().all()  # which counts no top images


def test_p_values_are_adjusted_and_judged_for_each_score(resampled):
    for name in FIVE:
        assert resampled.loc["4", f"{name}_p"] < 1e-6
        assert resampled.loc["4", f"{name}_significant"]
        assert not resampled.loc["5", f"{name}_significant"]
        assert (resampled[f"{name}_p_adjusted"] >= resampled[f"{name}_p"]).all()
    assert "selective" in resampled.loc["4", "Notes"]
    assert resampled.loc["4", "Notes"].count("(p=") == 1  # S alone: the notes leave these tests out


@pytest.mark.parametrize(
    ("change", "reason", "missing"),
    [
        ({"activation_1": 3.0}, "the same activation on every clean image", {"correlation", *OF_HITS}),
        ({"activation_1": 0.0}, "the same activation on every clean image", set(FIVE)),
        ({"ground_truth": "cat"}, "no clean image of another concept", set(FIVE)),
        ({"level": [3] * 12 + [5] * 48}, "no clean image of the concept", set(FIVE)),
    ],
)
def test_a_score_that_cannot_be_computed_says_why(change, reason, missing):
    units = drawn()
    frame = pictures({"1": units["1"], "2": units["2"]}).assign(
        **change, ablation_effect_1=0.1, amplification_effect_1=0.1
    )
    row = scored(frame).loc["1"]
    assert set(row.index[row.isna()]) & set(FIVE) == missing
    assert reason in row["Notes"]


def test_equal_activations_do_not_favor_the_concept_that_comes_first():
    """A unit that is active on two images takes its other top images from zeros, whatever the order of the rows."""
    quiet = {str(u): np.where(np.isin(np.arange(60), [20 + u, 40]), 1.0, 0.0) for u in range(3)}
    frame = pictures(quiet)
    found = scored(frame, resamples=40)
    assert (found["F1_images_p"] > 0.05).all()
    pd.testing.assert_frame_equal(scored(frame[::-1], resamples=40), found)


@pytest.mark.parametrize("name", [*FIVE, "AUPRC"])
def test_scores_beside_the_components_have_no_weight(name):
    with pytest.raises(InputError, match=f"{name} enters in the place of S, with --selectivity"):
        scoring_options(weights=f"S=.5 {name}=.5")
    assert name not in [metric.name for metric in components()]


@pytest.mark.parametrize("given", ["auprc", "AUPRC", "Auprc"])
def test_the_name_of_two_scores_is_refused_with_both(given):
    with pytest.raises(InputError) as refused:
        scoring_options(selectivity=given)
    assert "expected ap (average precision of images ranked by activation, which auprc was) or auprc_images (" in str(
        refused.value
    )
    assert len(str(refused.value).splitlines()) == 1


def test_a_negative_score_counts_as_0_in_the_place_of_S():
    found = scored(pictures(drawn()), selectivity="correlation", resamples=200)
    assert found.loc["5", "correlation"] < -0.5
    assert found.loc["5", "S"] == 0
    assert f"S: correlation {found.loc['5', 'correlation']:.2f} counts as 0" in found.loc["5", "Notes"]
    np.testing.assert_array_equal(
        found.loc["1", ["S", "S_low", "S_high"]], found.loc["1", ["correlation", "correlation_low", "correlation_high"]]
    )
    assert abs(found.loc["6", "S_excess"]) < abs(found.loc["1", "S_excess"])


def test_sources_are_resampled_as_one_and_said(tmp_path):
    """Twelve crops of three cats say less than twelve cats."""
    units, generator = drawn(), np.random.default_rng(2)
    of_source = np.repeat(generator.standard_normal(20), 3) + 1.5 * (np.arange(60) < 12)
    frame = pictures({"1": of_source + 0.1 * units["6"]})
    groups = np.repeat([f"source {k}" for k in range(20)], 3)
    alone = scored(frame, resamples=300).loc["1"]
    result = run_interpretability_benchmark(frame.assign(group=groups), {"1": "cat"}, resamples=300)
    together = result.table.loc[0]
    for name in ("correlation", "cosine"):
        assert together[name] == alone[name]
        assert together[f"{name}_high"] - together[f"{name}_low"] > 1.3 * (alone[f"{name}_high"] - alone[f"{name}_low"])
        assert together[f"{name}_p"] > alone[f"{name}_p"]
    assert together["AUPRC_p"] > alone["AUPRC_p"]
    assert together["S_low"] == alone["S_low"]
    assert any("60 clean images are of 20 sources" in warning for warning in result.warnings)


@pytest.mark.parametrize("column", ["group", "clean_image"])
def test_sources_of_one_image_each_change_nothing(column):
    frame = pictures({"1": drawn()["1"]})
    pd.testing.assert_frame_equal(
        scored(frame.assign(**{column: frame["image_filename"]}), resamples=50), scored(frame, resamples=50)
    )


def test_groups_of_participants_are_no_sources():
    frame = pd.concat([pictures({"1": drawn()["1"]}).assign(group=group) for group in ("control", "treatment")])
    result = run_interpretability_benchmark(frame, {"1": "cat"}, resamples=0)
    assert any("group differs among the rows of an image" in warning for warning in result.warnings)


def test_files_describe_the_scores_and_the_terminal_leaves_them_out(files, score):
    outcome = score(*files.paths, "--resamples", 30)
    document = json.loads(files.results.with_suffix(".json").read_text())
    table = pd.read_csv(files.results)
    for name in FIVE:
        assert {
            name,
            *(f"{name}{end}" for end in ("_low", "_high", "_excess", "_p", "_p_adjusted", "_significant")),
        } <= set(table)
        assert "METRICS 8" in document["columns"][name]
        assert name not in outcome.out
    assert "presence ranked by activation" in document["columns"]["AUPRC"]
    assert document["signature"]["options"]["weights"] == [0.3, 0.3, 0.2, 0.2]


@pytest.mark.parametrize(("tails", "strength"), [("normal", 2.0), ("normal", 8.0), ("gamma", 2.0)])
def test_intervals_cover_the_truth_in_simulated_studies(tails, strength):
    for name, cell in pair_coverage(tails, strength, 24, 150, 0).items():
        assert cell.share > 0.9, name


def test_intervals_of_heavy_tails_do_not_cover_and_are_noted():
    assert pair_coverage("lognormal", 4.0, 24, 150, 0)["correlation"].share < 0.9
    found = scored(pictures({"1": np.exp(2 * drawn()["6"]), "2": drawn()["6"]}), resamples=50)
    assert "correlation and cosine: heavy tails (excess kurtosis" in found.loc["1", "Notes"]
    assert "heavy tails" not in found.loc["2", "Notes"]


@pytest.mark.slow
@pytest.mark.parametrize("images", [24, 48, 100])
@pytest.mark.parametrize("tails", ["normal", "gamma"])
@pytest.mark.parametrize("strength", [1.0, 2.0, 8.0])
def test_intervals_cover_the_truth_in_93_percent_of_500_studies(tails, strength, images):
    for name, cell in pair_coverage(tails, strength, images, 500, 0).items():
        assert cell.share >= 0.93, name
