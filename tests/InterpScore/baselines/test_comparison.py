"""Guards scores beside those of untrained networks: the numbers of a plain loop, and never a unit chosen and scored on the same images."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from Activation_Extraction.base.commands import app, run
from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.store.writer import StoreWriter
from InterpScore import InputError, run_interpretability_benchmark
from InterpScore.baselines import comparison
from InterpScore.baselines.halves import halves_of
from InterpScore.baselines.stores import MANIFEST, effects_path, store_path
from InterpScore.metric import metrics
from InterpScore.scoring.results import UNTRAINED, columns, untrained_columns
from InterpScore.tables.effects import FORMAT
from InterpScore.tables.experiment_table import load_experiment_table

pytestmark = pytest.mark.filterwarnings("ignore::InterpScore.errors.TableWarning")
LAYER, UNITS, SEEDS = "layer4", 30, (0, 1)
LEVELS = {5: "clean", 2: "noise", 3: "attack"}
SOURCES = 16
"""Clean pictures a concept; each has one more at levels 2 and 3."""
MAP = {"0": "cat", "1": "dog", **{str(unit): "cat" for unit in range(2, 12)}}
FEW = {"resamples": 0, "level_kinds": {3: "adversarial"}, "recognizable_levels": (2, 3, 5)}


def study():
    """Every picture rated by two; unit 0 is planted on cats, all others are noise."""
    rows = [
        (f"{concept}_{k}_{name}.png", concept, level, f"{concept}_{k}_clean.png")
        for concept in ("cat", "dog")
        for k in range(SOURCES)
        for level, name in LEVELS.items()
    ]
    images = pd.DataFrame(rows, columns=["image", "ground_truth", "level", "clean_image"])
    images.loc[images["level"] == 5, "clean_image"] = ""
    table = pd.concat([images.rename(columns={"image": "image_filename"})] * 2, ignore_index=True)
    table["participant"] = np.repeat(["a", "b"], len(images))
    clean = (table["level"] == 5).to_numpy()
    for kind in ("ablation", "amplification"):
        table[f"{kind}_effect_0"] = np.where(clean, 0.05, np.nan)
    return images, table.assign(soft_correct=np.random.default_rng(1).random(len(table)) > 0.4)


def write(path, images, weights, activation_NU):
    table = pa.table({"image": pa.array(images["image"].tolist(), pa.string())})
    about = {"model": "m", "preprocessing": "clip", "pooling": "mean", "input": "4x4", "batch_size": 2}
    about["provenance"] = {"weights": weights, "state_sha256": weights}
    with StoreWriter(path, about, ImageSet(table, "f", [], []), {LAYER: (UNITS,)}, shard_rows=1000) as writer:
        for shard in writer.missing:
            writer.commit(shard, {LAYER: activation_NU.astype(np.float32)}, ["0"] * len(images), [""] * len(images))
        writer.finish()


def write_effects(folder, seed, images, weights):
    names = images["image"][images["level"] == 5]
    generator = np.random.default_rng(seed + 50)
    values = {
        f"{kind}_effect_{unit}": generator.random(len(names)).astype(np.float32) / 10
        for kind in ("ablation", "amplification")
        for unit in range(UNITS)
    }
    path = effects_path(folder, seed)
    pd.DataFrame({"image_filename": names, **values}).to_parquet(path)
    from Activation_Extraction.base.files import sha256_of

    about = {
        "format": FORMAT, "sha256": sha256_of(path), "layer": LAYER, "layer_aliases": [], "model": "m", "method": "x",
        "units": "all", "provenance": {"weights": weights, "state_sha256": weights},
    }  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(about))
    return values


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    images, table = study()
    generator = np.random.default_rng(0)
    trained = generator.gamma(2, size=(len(images), UNITS))
    trained[images["ground_truth"] == "cat", 0] += 12
    write(folder / "acts.zarr", images, "trained.pt", trained)
    (folder / "untrained").mkdir()
    (folder / "untrained" / MANIFEST).write_text(json.dumps({"seeds": list(SEEDS)}))
    for seed in SEEDS:
        write(
            store_path(folder / "untrained", seed),
            images,
            f"untrained, seed {seed}",
            generator.gamma(2, size=trained.shape),
        )
        write_effects(folder / "untrained", seed, images, f"untrained, seed {seed}")
    table.to_csv(folder / "table.csv", index=False)
    return folder


def activations(home, seed):
    from Activation_Extraction.store.reader import ActivationStore

    return ActivationStore.open(store_path(home / "untrained", seed)).to_frame()


def scored(home, table=None, baseline=None, **options):
    data = home / "table.csv" if table is None else table
    return run_interpretability_benchmark(
        data, MAP, stores=home / "acts.zarr", baseline=baseline or home / "untrained", **{**FEW, **options}
    )


@pytest.fixture(scope="module")
def result(home):
    return scored(home)


@pytest.fixture(scope="module")
def by_neuron(result):
    return result.table.set_index("Neuron")


@pytest.fixture(scope="module")
def halves(home):
    """Those of the run, and its table."""
    table = load_experiment_table(home / "table.csv", [])
    images, _ = study()
    row_of = {name: row for row, name in enumerate(images["image"])}
    row_I = np.array([row_of[name] for name in table.images])
    return table, row_I, halves_of(table, row_I, {}, 5, 0)


# Numbers --------------------------------------------------------------------------------------------------------------


def test_a_planted_unit_is_far_above_untrained_ones_and_noise_is_among_them(by_neuron):
    planted = by_neuron.loc["0"]
    assert planted["S_evaluation"] > 0.95
    assert planted["S_untrained_higher"] == 0
    assert planted["S_untrained_best"] < 0.85
    noise = by_neuron.drop("0")["S_untrained_higher"]
    assert 0.3 < noise.mean() < 0.7


def plain_S(on, off):
    n, m = len(on), len(off)
    pooled = ((n - 1) * on.var(ddof=1) + (m - 1) * off.var(ddof=1)) / (n + m - 2)
    g = (on.mean() - off.mean()) / np.sqrt(pooled) * (1 - 3 / (4 * (n + m) - 9))
    return (1 + math.erf(g / 2)) / 2, g


def test_columns_are_those_of_a_plain_loop(home, by_neuron, halves):
    table, _, found = halves
    scored_on = {table.images[i] for i in np.flatnonzero(found.evaluation_I)}
    images, _ = study()
    clean, is_cat = images["level"] == 5, images["ground_truth"] == "cat"
    here = images["image"].isin(scored_on)
    sides = [(clean & of & half).to_numpy() for half in (here, ~here) for of in (is_cat, ~is_cat)]
    values, best = [], []
    for seed in SEEDS:
        a_NU = activations(home, seed).to_numpy().astype(float)
        of_unit = [plain_S(a_N[sides[0]], a_N[sides[1]])[0] for a_N in a_NU.T]
        chosen_by = [plain_S(a_N[sides[2]], a_N[sides[3]])[1] for a_N in a_NU.T]
        values += of_unit
        best.append(of_unit[int(np.argmax(chosen_by))])
    row = by_neuron.loc["2"]
    assert row["S_untrained"] == pytest.approx(np.mean(values))
    assert row["S_untrained_sd"] == pytest.approx(np.std(values, ddof=1))
    assert row["S_untrained_higher"] == pytest.approx(np.mean(np.array(values) > row["S_evaluation"]))
    assert row["S_untrained_best"] == pytest.approx(np.mean(best))
    assert row["S_untrained_best_sd"] == pytest.approx(np.std(best, ddof=1))


def test_every_metric_has_its_columns_and_they_are_documented(by_neuron, result):
    for name in (*(metric.name for metric in metrics()), "InterpScore"):
        assert np.isfinite(by_neuron.loc["0", f"{name}_untrained"]), name
        assert 0 <= by_neuron.loc["0", f"{name}_untrained_higher"] <= 1, name
    described = json.loads(result.to_json())["columns"]
    assert {f"<score>_{end}" for end in UNTRAINED} <= {*described} & {*columns()}
    assert list(by_neuron)[-len(untrained_columns()) :] == untrained_columns()
    plain = run_interpretability_benchmark  # without a baseline, none of them
    assert not {*untrained_columns()} & {*plain(result_table(), {"0": "cat"}, resamples=0).table}


def result_table():
    frame = study()[1]
    return frame.assign(activation_0=np.random.default_rng(0).random(len(frame) // 2).tolist() * 2)


def test_ties_count_half_and_units_without_a_value_are_not_higher():
    assert comparison.share_higher(1.0, np.array([1.0, 1.0, 0.5, np.nan])) == 0.25
    assert np.isnan(comparison.share_higher(np.nan, np.array([1.0])))
    assert np.isnan(comparison.share_higher(0.3, np.array([np.nan])))


def test_units_read_in_shares_give_the_same(home, by_neuron, monkeypatch):
    monkeypatch.setattr(comparison, "READ_AT_ONCE", 7)
    monkeypatch.setattr(comparison, "UNITS_AT_ONCE", 3)
    again = scored(home).table.set_index("Neuron")
    names = list(untrained_columns())
    pd.testing.assert_frame_equal(again[names], by_neuron[names])


@pytest.mark.slow
def test_the_command_prints_them_and_writes_them(home, by_neuron, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(home)
    (tmp_path / "map.json").write_text(json.dumps(MAP))
    options = ["--resamples", "0", "--level-kinds", "3=adversarial", "--recognizable-levels", "2 3 5"]
    command = ["score", "table.csv", tmp_path / "map.json", tmp_path / "results.csv", "--store", "acts.zarr", *options]
    with pytest.raises(SystemExit) as end:
        run(app, [str(word) for word in [*command, "--baseline", "untrained"]])
    printed = capsys.readouterr().out
    assert end.value.code == 0
    assert "Beside 2 untrained copies of m (30 units of layer4 each)" in printed
    assert "Best by effect size g on 16 clean images, half of the study's, drawn by source with seed 0" in printed
    row = by_neuron.loc["0"]
    line = next(line for line in printed.partition("Beside 2")[2].splitlines() if line.startswith("     0  cat"))
    shown = [f"{row[f'{name}_evaluation']:.3f}" for name in ("S", "C", "R", "H", "InterpScore")]
    assert line.split()[2:] == shown
    assert f"{row['S_untrained_best']:.2f}, 0%".replace("0.", ".", 1) in printed
    written = pd.read_csv(tmp_path / "results.csv", dtype={"Neuron": str}).set_index("Neuron")
    assert written.loc["2", "S_untrained_best"] == pytest.approx(by_neuron.loc["2", "S_untrained_best"])
    about = json.loads((tmp_path / "results.json").read_text())["signature"]["baseline"]
    assert [one["weights"] for one in about["networks"]] == ["untrained, seed 0", "untrained, seed 1"]
    assert {*about["best_units"]} == {"cat", "dog"}
    inside = [*command[:3], "untrained/r.csv", *command[4:], "--baseline", "untrained"]
    with pytest.raises(SystemExit):
        run(app, [str(word) for word in inside])
    assert "untrained/r.csv: is inside the baseline untrained; expected another folder" in capsys.readouterr().err


def test_images_that_the_baseline_lacks_count_on_neither_side(home, halves):
    table, row_I, _ = halves
    lost_I = np.arange(len(row_I)) % 5 == 0
    found = halves_of(table, np.where(lost_I, -1, row_I), {}, 5, 0)
    assert not (found.evaluation_I & lost_I).any()
    assert -1 not in found.selection_N
    frame = result_table()
    more = frame.tail(6).assign(image_filename=[f"new_{i // 2}.png" for i in range(6)], clean_image="")
    more["activation_0"] = [float(i // 2) for i in range(6)]
    more["level"], more["participant"] = 5, ["a", "b"] * 3
    more[["ablation_effect_0", "amplification_effect_0"]] = np.nan
    frame = pd.concat([frame, more], ignore_index=True)
    result = run_interpretability_benchmark(frame, {"0": "cat"}, baseline=home / "untrained", **FEW)
    expected = "3 of 99 images of the table have no activations there; they count on neither side"
    assert expected in result.signature["baseline"]["notes"]


# Halves ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_no_image_and_no_source_is_in_both_halves(halves, seed):
    table, row_I, _ = halves
    found = halves_of(table, row_I, {}, 5, seed)
    chosen = {table.images[i] for i in range(len(table.images)) if row_I[i] in set(found.selection_N.tolist())}
    scored_on = {table.images[i] for i in np.flatnonzero(found.evaluation_I)}
    assert chosen
    assert not chosen & scored_on
    source = lambda name: name.rpartition("_")[0]  # noqa: E731
    assert not {source(name) for name in chosen} & {source(name) for name in scored_on}
    assert all(name.endswith("clean.png") for name in chosen)
    for concept in ("cat", "dog"):
        assert sum(shown == concept for shown in found.concepts) == SOURCES // 2


def test_halves_depend_on_the_seed(halves):
    table, row_I, first = halves
    assert not np.array_equal(halves_of(table, row_I, {}, 5, 1).evaluation_I, first.evaluation_I)
    assert np.array_equal(halves_of(table, row_I, {}, 5, 0).evaluation_I, first.evaluation_I)


def changed_where(home, folder, selection, halves):
    """A copy of the baseline whose activations on one of the halves are others."""
    _, row_I, found = halves
    shutil.copytree(home / "untrained", folder)
    images, _ = study()
    rows = found.selection_N if selection else row_I[found.evaluation_I]
    for seed in SEEDS:
        values = activations(home, seed).to_numpy().copy()
        values[rows] = np.random.default_rng(9 + seed).gamma(2, size=(len(rows), UNITS))
        shutil.rmtree(store_path(folder, seed))
        write(store_path(folder, seed), images, f"untrained, seed {seed}", values)
    return scored(home, baseline=folder).table.set_index("Neuron")


def test_the_selection_half_moves_the_choice_alone(home, by_neuron, halves, tmp_path):
    other = changed_where(home, tmp_path / "untrained", True, halves)
    for name in ("S", "C", "R", "H", "InterpScore"):
        same = [f"{name}{what}" for what in ("_evaluation", "_untrained", "_untrained_sd", "_untrained_higher")]
        pd.testing.assert_frame_equal(other[same], by_neuron[same])
    assert (other["S_untrained_best"] != by_neuron["S_untrained_best"]).any()


@pytest.mark.parametrize("where", ["table", "store", "elsewhere"])
def test_a_column_split_tells_the_halves(home, tmp_path, where):
    images, table = study()
    marked = images["image"].str.contains("_[0-3]_")
    images = images.assign(split=np.where(marked, "selection", "evaluation"), concept=images["ground_truth"])
    baseline, data = home / "untrained", table
    if where == "table":
        data = table.assign(split=np.where(table["image_filename"].str.contains("_[0-3]_"), "Selection", ""))
    else:
        baseline = tmp_path / "untrained"
        shutil.copytree(home / "untrained", baseline)
        for seed in SEEDS:
            path = store_path(baseline, seed) / "images.parquet"
            stored = pq.read_table(path)
            for column in ("split", "concept", "level"):
                stored = stored.append_column(column, pa.array(images[column].tolist()))
            pq.write_table(stored, path)
        if where == "elsewhere":  # pictures for the choice alone
            data = table[~table["image_filename"].str.contains("_[0-3]_")]
    about = scored(home, data, baseline).signature["baseline"]
    assert about["chosen_on"] == "8 clean images, which the column split marks as selection"
    assert about["compared_on"] == int((~marked).sum())


def test_too_few_images_to_choose_on_are_said(home):
    _, table = study()
    keep = ~((table["ground_truth"] == "dog") & ~table["image_filename"].str.contains("_[0-2]_"))
    result = scored(home, table[keep])
    notes = result.table.set_index("Neuron").loc["1", "Notes"]
    assert "untrained: too few clean images of the concept, or of others, to choose untrained units on" in notes


# What exists ----------------------------------------------------------------------------------------------------------


def test_notes_say_what_does_not_exist(home, result, tmp_path):
    notes = result.signature["baseline"]["notes"]
    assert "R is without level 3 (adversarial), whose pictures were made against the trained network" in notes
    assert "H of untrained units is from the same ratings, which are of the same pictures" in notes
    without = tmp_path / "untrained"
    shutil.copytree(home / "untrained", without, ignore=shutil.ignore_patterns("effects*"))
    result = scored(home, baseline=without, level_kinds={2: "adversarial", 3: "adversarial"})
    notes = result.signature["baseline"]["notes"]
    assert "C does not exist for untrained units" in notes
    assert "for C, measure effects in the untrained networks: interpscore baseline --effects" in notes
    row = result.table.set_index("Neuron").loc["0"]
    assert np.isnan(row["R_evaluation"])
    assert np.isnan(row["C_untrained_higher"])
    assert row["InterpScore_evaluation"] == pytest.approx((0.3 * row["S_evaluation"] + 0.2 * row["H_evaluation"]) / 0.5)


def test_effects_of_another_network_are_refused(home, tmp_path):
    folder = tmp_path / "untrained"
    shutil.copytree(home / "untrained", folder)
    path = effects_path(folder, 1).with_suffix(".json")
    about = json.loads(path.read_text())
    about["provenance"]["weights"] = "trained.pt"
    path.write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"effects_1.parquet: weights 'trained.pt'; expected 'untrained, seed 1', as"):
        scored(home, baseline=folder)


def test_activations_of_a_table_need_a_baseline_of_one_layer(home, tmp_path):
    frame = result_table()
    result = run_interpretability_benchmark(frame, {"0": "cat"}, baseline=home / "untrained", **FEW)
    assert result.signature["baseline"]["layers"] == {LAYER: UNITS}
    assert 0 <= result.table["S_untrained_higher"][0] <= 1
