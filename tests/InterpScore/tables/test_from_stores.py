"""Guards scoring from activation stores: the numbers are those of columns, nothing disappears, and layers count together."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Activation_Extraction.base.extras import install_command
from Activation_Extraction.base.files import sha256_of
from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.store.writer import StoreWriter
from InterpScore import InputError, run_interpretability_benchmark
from InterpScore.helpers import competition_ranks
from InterpScore.resampling import adjusted_p_values
from InterpScore.tables.effects import FORMAT, Effects
from InterpScore.tables.experiment_table import load_experiment_table, with_effects
from InterpScore.tables.from_stores import neurons_in_stores

pytestmark = pytest.mark.filterwarnings("ignore::InterpScore.errors.TableWarning")
IDENTITY = {
    "model": "tiny", "weights": "tiny.safetensors", "weights_sha256": "ab" * 32, "preprocessing": "clip",
    "input": "8x8", "pooling": "mean", "backend": "eager", "precision": "fp32",
}  # fmt: skip
FEW = {"resamples": 20}


class StoreInMemory:
    """As much of a store as scoring reads."""

    is_complete = True

    def __init__(self, path, layers, images, errors=None, sha256=None):
        self.path, self._layers = Path(path), layers
        self.identity = dict(IDENTITY)
        self.shapes = {name: a_NU.shape[1:] for name, a_NU in layers.items()}
        sha256 = sha256 or [f"hash of {name}" for name in images]
        self.images = pd.DataFrame({"image": images, "sha256": sha256, "error": errors or [""] * len(images)})
        self.read = []

    def __len__(self):
        return len(self.images)

    def missing_shards(self):
        return []

    def resolve_layer(self, name):
        if name not in self.shapes:
            raise InputError(f"no layer {name}")
        return name

    def units(self, layer, units):
        self.read += [(layer, unit) for unit in units]
        return self._layers[layer][:, units]


def written(path, layers, images, errors=None, *, stop_after=None, **identity):
    """A real store; unfinished when stopped after some of its shards of 50 images."""
    table = pa.table({"image": pa.array(images, pa.string())})
    image_set = ImageSet(table, "fingerprint of the images", [], [])
    shapes = {name: a_NU.shape[1:] for name, a_NU in layers.items()}
    aliases = {f"image_block/{name}": name for name in layers}
    errors = errors or [""] * len(images)
    with StoreWriter(
        path, {**IDENTITY, **identity}, image_set, shapes, aliases=aliases, shard_rows=50, top_k=3
    ) as writer:
        for shard in writer.missing[:stop_after]:
            at = slice(shard.rows.start, shard.rows.stop)
            values = {name: np.ascontiguousarray(a_NU[at], np.float32) for name, a_NU in layers.items()}
            writer.commit(shard, values, ["0" * 64] * len(shard.rows), errors[at])
        if stop_after is None:
            writer.finish()
    return path


@pytest.fixture(scope="session")
def measured(simulated_study):
    """The study with activations that single precision holds, and its layer `a`: units 0 to 9 of each image."""
    names = [f"activation_{unit}" for unit in (1, 2, 3)]
    frame = simulated_study.assign(**{name: simulated_study[name].astype(np.float32).astype(float) for name in names})
    images = frame.drop_duplicates("image_filename").reset_index(drop=True)
    a_NU = np.random.default_rng(0).normal(size=(len(images), 10)).astype(np.float32)
    a_NU[:, 1:4] = images[names]
    return frame, images["image_filename"].tolist(), a_NU


@pytest.fixture(scope="session")
def columns_of(measured):
    return [name for name in measured[0] if name.startswith("activation_")]


def without_layer(result):
    return result.table.drop(columns="Layer")


# The same numbers ------------------------------------------------------------------------------------------------------


@given(st.randoms(use_true_random=False), st.data())
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_duplicates_and_folders_give_the_scores_of_columns(measured, neurons, columns_of, random, data):
    frame, images, a_NU = measured
    order = data.draw(st.permutations(range(len(images)))) + random.sample(range(len(images)), 5)
    in_store, in_table = data.draw(st.sampled_from([("", ""), ("x/y/", ""), ("", "/data/x/"), ("x/", "/data/x/")]))
    stored_a_NU = a_NU[order].copy()
    stored_a_NU[len(images) :] = 99  # rows of a file that is there already: the first counts
    store = StoreInMemory("acts.zarr", {"a": stored_a_NU}, [in_store + images[i] for i in order])
    table = frame.drop(columns=columns_of).assign(image_filename=in_table + frame["image_filename"])
    from_store = run_interpretability_benchmark(table, neurons, stores=store, **FEW)
    from_columns = run_interpretability_benchmark(
        frame.assign(image_filename=in_table + frame["image_filename"]), neurons, **FEW
    )
    pd.testing.assert_frame_equal(without_layer(from_store), from_columns.table, check_exact=True)
    assert set(from_store.table["Layer"]) == {"a"}


@pytest.fixture
def from_store(measured, columns_of, files, tmp_path, score):
    """Scores the study, without activation columns, from a real store with some options."""
    frame, images, a_NU = measured
    frame.drop(columns=columns_of).to_csv(files.data, index=False)
    acts = written(tmp_path / "acts.zarr", {"a": a_NU, "b": a_NU[:, ::-1]}, [f"study/{name}" for name in images])

    def run(*options, store=acts, code=0, resamples=20):
        outcome = score(*files.paths, "--store", store, "--resamples", resamples, *options)
        assert outcome.code == code, outcome.err
        if code:
            assert outcome.out == ""
            assert not files.results.exists()
            return [line.removeprefix("error: ") for line in outcome.errors]
        table = pd.read_csv(files.results, dtype={"Neuron": str}, keep_default_na=False, na_values=[""])
        return table, json.loads(files.results.with_suffix(".json").read_text()), outcome.out

    return run


def test_a_store_on_disk_gives_the_table_of_columns_to_the_last_digit(from_store, measured, files, score):
    table, document, printed = from_store("--layer", "a")
    measured[0].to_csv(files.data, index=False)
    assert score(*files.paths, "--resamples", 20).code == 0
    columns = pd.read_csv(files.results, dtype={"Neuron": str}, keep_default_na=False, na_values=[""])
    assert list(table)[:3] == ["Neuron", "Layer", "Concept"]
    assert "Layer" not in columns
    pd.testing.assert_frame_equal(table.drop(columns="Layer"), columns, check_exact=True)
    assert "layers" not in document
    assert "Activations: a of" in printed


def test_maps_of_a_layer_count_by_their_mean(measured, neurons, columns_of, tmp_path):
    frame, images, a_NU = measured
    offsets = np.array([[-1, 2], [0, -1]], np.float32)  # their mean is 0
    store = written(tmp_path / "maps.zarr", {"a": a_NU[:, :, None, None] + offsets}, images, pooling="none")
    plain = StoreInMemory("acts.zarr", {"a": a_NU}, images)
    tables = [
        run_interpretability_benchmark(frame, neurons, stores=[s], resamples=0).table[["Neuron", "S", "R", "H"]]
        for s in (store, plain)
    ]
    pd.testing.assert_frame_equal(*tables, rtol=1e-5)


def test_only_the_units_of_the_map_are_read(measured):
    frame, images, a_NU = measured
    store = StoreInMemory("acts.zarr", {"a": a_NU, "b": a_NU}, images)
    run_interpretability_benchmark(frame, {"3": "NA", "1": "cat"}, stores=store, layers="b", resamples=0)
    assert store.read == [("b", 1), ("b", 3)]


def test_columns_beside_a_store_are_not_used_and_that_is_said(measured, neurons, columns_of):
    frame, images, a_NU = measured
    store = StoreInMemory("acts.zarr", {"a": a_NU}, images)
    result = run_interpretability_benchmark(
        frame.assign(**dict.fromkeys(columns_of, "no number")), neurons, stores=store, **FEW
    )
    plain = run_interpretability_benchmark(frame.drop(columns=columns_of), neurons, stores=store, **FEW)
    pd.testing.assert_frame_equal(result.table, plain.table)
    remark = "the table: its activation columns are not used: activations come from acts.zarr, as asked"
    assert (remark in result.warnings, remark in plain.warnings) == (True, False)


# What is missing --------------------------------------------------------------------------------------------------------


def test_images_that_are_absent_or_broken_are_missing_as_blank_cells_are(measured, neurons, columns_of):
    frame, images, a_NU = measured
    absent, broken, odd = images[:4], images[30:35], images[60]
    kept = [i for i, name in enumerate(images) if name not in absent]
    errors = [f"{images[i]}: truncated; expected a complete file" if images[i] in broken else "" for i in kept]
    values_NU = a_NU[kept].copy()
    values_NU[[images[i] in broken for i in kept]] = 0  # whatever stands there, it is no activation
    values_NU[[images[i] == odd for i in kept]] = np.inf
    store = StoreInMemory("acts.zarr", {"a": values_NU}, [images[i] for i in kept], errors)
    result = run_interpretability_benchmark(frame.drop(columns=columns_of), neurons, stores=store, **FEW)
    lost = frame["image_filename"].isin([*absent, *broken, odd])
    blank = frame.assign(**{name: frame[name].mask(lost) for name in columns_of})
    pd.testing.assert_frame_equal(
        without_layer(result), run_interpretability_benchmark(blank, neurons, **FEW).table, check_exact=True
    )
    assert [remark for remark in result.warnings if remark.startswith("acts.zarr")] == [
        f"acts.zarr: 4 of {len(images)} images of the table are not in the store "
        f"({', '.join(sorted(absent)[:3])}, … and 1 more); their activations are missing",
        f"acts.zarr: 5 of {len(images)} images of the table could not be read when it was made "
        f"({'; '.join(f'{name}: truncated' for name in sorted(broken)[:3])}; … and 2 more); their activations are missing",
        "acts.zarr: 3 activations of a are not finite; they count as missing",
    ]


def test_signature_of_a_store_names_its_own_path_and_hash_whatever_its_model_says(tmp_path):
    (tmp_path / "complete.json").write_text("{}")
    store = StoreInMemory(tmp_path, {"a": np.ones((2, 1))}, ["x", "y"])
    store.identity |= {"name": "there", "sha256": "ab", "layers": "none"}  # as earlier versions mixed them
    (source,) = neurons_in_stores([store], [], {"0": "cat"}).signature()
    assert (source["name"], source["layers"]) == (tmp_path.name, ["a"])
    assert source["sha256"] == sha256_of(tmp_path / "complete.json")


def test_an_activation_that_is_not_finite_is_NaN(measured):
    store = StoreInMemory("acts.zarr", {"a": np.array([[1], [np.inf], [2], [-np.inf]])}, list("wxyz"))
    activation_UI, remarks = neurons_in_stores([store], [], {"0": "cat"}).activations(list("zyxw"), "the table")
    np.testing.assert_array_equal(activation_UI, [[np.nan, 2, np.nan, 1]])
    assert remarks == ["acts.zarr: 2 activations of a are not finite; they count as missing"]


@pytest.mark.parametrize(
    ("hashes", "said"),
    [
        (["hash of w", "hash of x"], None),
        (["HASH OF W", ""], None),
        (
            ["hash of w", "another"],
            "1 of its images are other files in acts.zarr (x; their SHA-256 differs from image_sha256)",
        ),
        (["one", "two"], "2 of its images are other files in acts.zarr (w, x;"),
    ],
)
def test_an_image_that_is_another_file_in_the_store_is_refused(hashes, said):
    store = StoreInMemory("acts.zarr", {"a": np.arange(4.0)[:, None]}, list("wxyz"))
    frame = pd.DataFrame(
        {
            "ground_truth": ["cat", "dog"],
            "level": 5,
            "soft_correct": 1,
            "image_filename": ["w", "x"],
            "image_sha256": hashes,
        }
    )
    neurons = neurons_in_stores([store], [], {"0": "cat"})
    if said is None:
        assert load_experiment_table(frame, ["0"], stored=neurons).activation_UI.tolist() == [[0, 1]]
        return
    with pytest.raises(InputError) as refused:
        load_experiment_table(frame, ["0"], stored=neurons)
    assert said in str(refused.value)


def test_two_hashes_of_an_image_in_a_table_are_refused():
    frame = pd.DataFrame(
        {"ground_truth": "cat", "level": 5, "soft_correct": 1, "image_filename": "w", "image_sha256": ["one", "two"]}
    )
    with pytest.raises(InputError, match="one file an image; image 'w' has another in row 2"):
        load_experiment_table(frame, [])


def test_a_concept_without_any_activation_says_so(measured, neurons):
    frame, images, a_NU = measured
    cats = [name for name in images if name.startswith("cat")]
    errors = [f"{name}: truncated" if name in cats else "" for name in images]
    store = StoreInMemory("acts.zarr", {"a": a_NU}, images, errors)
    table = run_interpretability_benchmark(frame, neurons, stores=store, **FEW).table.set_index("Neuron")
    assert table.loc["1", ["S", "R", "H"]].isna().all()
    assert "S: no activation on any image of the concept" in table.loc["1", "Notes"]


def test_a_unit_that_the_layer_lacks_keeps_its_row_with_the_reason(measured):
    frame, images, a_NU = measured
    store = StoreInMemory("acts.zarr", {"a": a_NU}, images)
    units = {"10": "cat", "1": "cat", "-1": "dog", "one": "dog", "layer9:1": "cat", "a:2": "dog", "9" * 30: "dog"}
    table = run_interpretability_benchmark(frame, units, stores=store, resamples=0).table.set_index(["Layer", "Neuron"])
    notes = table["Notes"].to_dict()
    for unit in ("10", "-1", "one", "9" * 30):
        assert notes["a", unit] == f"not scored: no unit {unit} in a of acts.zarr, which has 0 to 9"
    assert notes["layer9", "1"] == "not scored: no layer 'layer9' among those scored"
    assert table["InterpScore"].dropna().index.tolist() == [("a", "1"), ("a", "2")]
    assert len(table) == len(units)


def test_a_store_without_any_unit_of_the_map_is_refused(measured):
    frame, images, a_NU = measured
    store = StoreInMemory("acts.zarr", {"a": a_NU}, images)
    with pytest.raises(InputError) as refused:
        run_interpretability_benchmark(frame, {"77": "cat"}, stores=store)
    assert refused.value.problems == [
        "the table: no neuron of the map can be scored",
        "no unit 77 in a of acts.zarr, which has 0 to 9",
    ]


# Several layers ---------------------------------------------------------------------------------------------------------


def test_layers_are_ranked_and_adjusted_together_and_compared(from_store, measured):
    table, document, printed = from_store(resamples=40)
    table = table.sort_values("InterpScore", ascending=False, ignore_index=True)
    assert sorted(zip(table["Layer"], table["Neuron"], strict=True)) == [(n, u) for n in "ab" for u in "123"]
    for name in ("S", "H"):
        together = adjusted_p_values(table[f"{name}_p"].to_numpy(), "bh")
        np.testing.assert_allclose(table[f"{name}_p_adjusted"], together)
        alone = [adjusted_p_values(part[f"{name}_p"].to_numpy(), "bh") for _, part in table.groupby("Layer")]
        assert not np.allclose(np.sort(np.concatenate(alone)), np.sort(together))
    scores = table["InterpScore"].to_numpy()
    complete = table[["S", "R", "H"]].notna().all(axis=1).to_numpy()
    np.testing.assert_array_equal(table["Rank"][complete], competition_ranks(scores[complete, None])[:, 0])
    assert table["Rank"].notna().tolist() == complete.tolist()
    assert [layer["Layer"] for layer in document["layers"]] == ["a", "b"]
    for layer in document["layers"]:
        part = table[table["Layer"] == layer["Layer"]]
        assert layer["InterpScore"] == pytest.approx(part["InterpScore"].mean())
        assert layer["InterpScore_median"] == part["InterpScore"].median()
        assert layer["I_excess"] == pytest.approx(part["I_excess"].mean())
        for name in ("InterpScore", "I_excess"):
            assert layer[f"{name}_low"] < layer[name] < layer[f"{name}_high"]
        assert (layer["neurons"], layer["scored"]) == (3, 3)
        assert layer["S_significant"] == part["S_significant"].sum()
        assert layer["H_significant"] == part["H_significant"].sum()
        assert f"{layer['InterpScore']:.3f}" in printed
    assert "mean InterpScore" in printed


def test_a_layer_is_scored_the_same_beside_another_one(measured, neurons):
    frame, images, a_NU = measured
    store = StoreInMemory("acts.zarr", {"a": a_NU, "b": a_NU[:, ::-1]}, images)
    frame = frame[[name for name in frame if "effect" not in name]]  # with several layers they would name one
    both = run_interpretability_benchmark(frame, neurons, stores=store, **FEW).table
    alone = run_interpretability_benchmark(frame, neurons, stores=store, layers=["b"], **FEW).table
    over_all = re.compile("Rank|Notes|.*_p_adjusted|.*_significant")
    own = [name for name in alone if not over_all.match(name)]
    of_b = both.loc[both["Layer"] == "b", own].reset_index(drop=True)
    pd.testing.assert_frame_equal(of_b, alone[own], rtol=1e-12)


def test_the_mean_of_a_layer_without_intervals_or_scores_is_null(measured):
    frame, images, a_NU = measured
    store = StoreInMemory("acts.zarr", {"a": a_NU, "b": a_NU[:, :1]}, images)
    result = run_interpretability_benchmark(frame, {"1": "cat"}, stores=store, resamples=0)
    layers = json.loads(result.to_json())["layers"]
    found = [(layer["neurons"], layer["scored"], layer["InterpScore"] is None) for layer in layers]
    assert found == [(1, 1, False), (1, 0, True)]
    assert [layer["InterpScore_median"] is None for layer in layers] == [False, True]
    assert {layer[name] for layer in layers for name in ("InterpScore_low", "I_excess", "I_excess_high")} == {None}


def test_a_layer_asked_for_by_two_of_its_names_is_scored_once(from_store):
    table, _, _ = from_store("--layer", "b", "--layer", "image_block/b", resamples=0)
    assert sorted(table["Neuron"]) == ["1", "2", "3"]


def test_a_neuron_may_name_its_layer_by_any_of_its_names(measured, tmp_path):
    frame, images, a_NU = measured
    store = written(tmp_path / "acts.zarr", {"a": a_NU, "b": a_NU}, images)
    units = {"image_block/a:1": "cat", "b:2": "dog", "3": "NA"}
    table = run_interpretability_benchmark(frame, units, stores=store, resamples=0).table
    found = sorted(zip(table["Layer"], table["Neuron"], table["Concept"], strict=True))
    assert found == [("a", "1", "cat"), ("a", "3", "NA"), ("b", "2", "dog"), ("b", "3", "NA")]


def test_effects_of_several_layers_stand_in_columns_that_name_the_layer(measured):
    frame, images, a_NU = measured
    store = StoreInMemory("acts.zarr", {"a": a_NU, "b": a_NU}, images)
    result = run_interpretability_benchmark(frame, {"1": "cat"}, stores=store, resamples=0)
    assert result.table["C"].isna().all()
    expected = "ablation_effect_1 names no layer and is not used; among several layers expected ablation_effect_a:1"
    assert f"the table: {expected}" in result.warnings
    named = frame.rename(columns=lambda name: name.replace("effect_1", "effect_b:1"))
    result = run_interpretability_benchmark(named, {"1": "cat"}, stores=store, resamples=0)
    assert not any("measured effects" in remark for remark in result.warnings)
    table = result.table.set_index("Layer")
    assert np.isfinite(table["C"]).to_dict() == {"a": False, "b": True}
    alone = run_interpretability_benchmark(frame, {"1": "cat"}, stores=store, layers="b", resamples=0).table
    assert alone.loc[0, "C"] == table.loc["b", "C"]


def test_effects_beside_one_layer_are_taken_as_its_own_and_that_is_said(measured):
    frame, images, a_NU = measured
    store = StoreInMemory("acts.zarr", {"a": a_NU, "b": a_NU}, images)
    remark = "the table: measured effects name no layer; they are taken as those of b"
    result = run_interpretability_benchmark(frame, {"1": "cat"}, stores=store, layers="b", resamples=0)
    assert remark in result.warnings
    unmeasured = run_interpretability_benchmark(frame, {"3": "NA"}, stores=store, layers="b", resamples=0)
    assert remark not in unmeasured.warnings


def effects_of(frame, *units, images=slice(None)):
    """The effects of a table's own columns, a row an image."""
    names = [f"{kind}_effect_{unit}" for unit in units for kind in ("ablation", "amplification")]
    return frame.drop_duplicates("image_filename")[["image_filename", *names]].iloc[images]


ORIGIN = {"layer_aliases": [], "model": "m", "method": "m", "units": [1]}


def effects_file(path, frame, **about):
    """An effects file with its JSON beside it."""
    frame.to_parquet(path, index=False)
    document = {
        "format": FORMAT,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "layer": "b",
        **ORIGIN,
        **about,
    }
    path.with_suffix(".json").write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("about", "columns_stay", "neurons_read", "images_read", "said"),
    [
        pytest.param({}, False, (1, 2), slice(None), False, id="the JSON names the layer"),
        pytest.param({"layer": "blocks.b", "layer_aliases": ["b"]}, False, (1,), slice(None), False, id="by an alias"),
        pytest.param({}, True, (1, 2), slice(None), False, id="instead of columns that name none"),
        pytest.param({}, True, (1,), slice(None), True, id="beside another neuron's columns"),
        pytest.param({}, True, (1, 2), slice(0, 9), True, id="beside columns for other images"),
        pytest.param({"format": "another"}, False, (1, 2), slice(None), True, id="no JSON of this format"),
    ],
)
def test_effects_are_said_to_name_no_layer_only_if_they_do_not(
    measured, tmp_path, about, columns_stay, neurons_read, images_read, said
):
    frame, images, a_NU = measured
    columns = [name for name in frame if "_effect_" in name]
    store = StoreInMemory("acts.zarr", {"b": a_NU}, images)
    file = effects_file(tmp_path / "effects.parquet", effects_of(frame, *neurons_read, images=images_read), **about)
    table = frame if columns_stay else frame.drop(columns=columns)
    neuron_map = {"1": "cat", "2": "dog"}
    result = run_interpretability_benchmark(table, neuron_map, stores=store, causality=str(file), resamples=0)
    remark = "the table: measured effects name no layer; they are taken as those of b"
    assert result.warnings.count(remark) == said
    assert np.isfinite(result.table.set_index("Neuron").loc["1", "C"])


@pytest.mark.parametrize("measured_again", [(1, 2), (1,)])
def test_measured_effects_take_the_place_of_columns_that_name_no_layer(measured, measured_again):
    frame, images, a_NU = measured
    stored = neurons_in_stores([StoreInMemory("acts.zarr", {"b": a_NU}, images)], [], {"1": ("cat",), "2": ("dog",)})
    table = load_experiment_table(frame, [], stored=stored)
    remark = "the table: measured effects name no layer; they are taken as those of b"
    assert table.remarks.count(remark) == 1
    table = with_effects(table, Effects(effects_of(frame, *measured_again), "the network", {"layer": "b"}))
    assert table.remarks.count(remark) == (len(measured_again) < 2)


def test_the_same_layer_of_two_stores_is_told_apart(measured):
    frame, images, a_NU = measured
    stores = [StoreInMemory(name, {"a": a_NU}, images) for name in ("x/acts.zarr", "y/acts.zarr", "y/more.zarr")]
    table = run_interpretability_benchmark(frame, {"1": "cat", "a:2": "dog"}, stores=stores, resamples=0).table
    assert set(table["Layer"]) == {"x/acts.zarr:a", "y/acts.zarr:a", "more.zarr:a"}
    assert table["Neuron"].tolist().count("2") == 3
    labelled = {"more.zarr:a:1": "cat"}
    table = run_interpretability_benchmark(frame, labelled, stores=stores, resamples=0).table
    assert table[["Layer", "Neuron"]].to_numpy().tolist() == [["more.zarr:a", "1"]]


# Provenance -------------------------------------------------------------------------------------------------------------


def test_the_signature_says_where_activations_come_from(from_store, files, tmp_path):
    _, document, _ = from_store("--layer", "image_block/b")
    (source,) = document["signature"]["stores"]
    assert source["name"] == "acts.zarr"
    assert source["sha256"] == hashlib.sha256((tmp_path / "acts.zarr" / "complete.json").read_bytes()).hexdigest()
    assert source["layers"] == ["b"]  # whatever name it was asked by
    assert source["images"] == "fingerprint of the images"
    assert source.items() >= IDENTITY.items()
    assert set(document["signature"]["inputs"]) == {"data", "neuron_map"}


def test_without_a_store_there_is_no_layer(measured, neurons):
    result = run_interpretability_benchmark(measured[0], neurons, resamples=0)
    assert ("Layer" in result.table, result.layers, "stores" in result.signature) == (False, None, False)


# Refusals ---------------------------------------------------------------------------------------------------------------


def test_a_path_that_is_no_store_is_refused(from_store, files, tmp_path):
    assert from_store(store=tmp_path / "no.zarr", code=2) == [
        f"{tmp_path / 'no.zarr'}: no such folder; expected an activation store"
    ]
    assert from_store(store=files.data, code=2) == [f"{files.data}: is a file; expected an activation store"]


def test_an_unfinished_store_is_refused_with_what_is_missing(from_store, measured, tmp_path):
    path = written(tmp_path / "part.zarr", {"a": measured[2]}, measured[1], stop_after=1)
    n = len(measured[1])
    assert from_store(store=path, code=2) == [
        f"{path}: unfinished, {n - 50} of {n} images are still to be computed; expected a complete store "
        "(the same `interpscore extract` command again resumes it)"
    ]


def test_an_unknown_layer_is_refused_with_the_nearest(from_store, tmp_path):
    (line,) = from_store("--layer", "image_block/c", code=2)
    assert line.startswith(f"{tmp_path / 'acts.zarr'}: no layer 'image_block/c' (did you mean 'image_block/")


def test_a_layer_needs_a_store(files, score):
    outcome = score(*files.paths, "--layer", "a")
    assert (outcome.code, outcome.err) == (
        2, "error: --layer: found 'a' without a store; expected --store as well\n",
    )  # fmt: skip


def test_the_same_store_twice_is_refused(from_store, tmp_path):
    acts = tmp_path / "acts.zarr"
    assert from_store("--store", f"{acts}/", code=2) == [
        f"--store: found {acts} more than once; expected each store once"
    ]


def test_a_store_with_none_of_the_layers_is_refused(measured, neurons):
    frame, images, a_NU = measured
    stores = [StoreInMemory("x.zarr", {"a": a_NU}, images), StoreInMemory("y.zarr", {"b": a_NU}, images)]
    with pytest.raises(InputError, match=r"y.zarr: has none of the layers a; expected at least one of them"):
        run_interpretability_benchmark(frame, neurons, stores=stores, layers=["a"])
    assert len(run_interpretability_benchmark(frame, neurons, stores=stores, layers=["a", "b"], resamples=0).table) == 6


def test_different_images_of_the_same_name_are_refused_where_the_table_has_them(measured, neurons):
    frame, images, a_NU = measured
    sha256 = [*map(str, range(len(images))), None, "another", "a third"]
    sha256[7] = None  # could not be read
    names = [*images, images[4], images[7], images[7]]
    store = StoreInMemory("acts.zarr", {"a": np.vstack([a_NU, a_NU[:3]])}, names, sha256=sha256)
    with pytest.raises(InputError) as refused:
        run_interpretability_benchmark(frame, neurons, stores=store)
    assert refused.value.problems == [
        f"acts.zarr: rows {len(images) + 1} and {len(images) + 2} are both called '{images[7]}' and are different images; "
        "expected a name for each"
    ]
    without = frame[frame["image_filename"] != images[7]]
    assert len(run_interpretability_benchmark(without, neurons, stores=store, resamples=0).table) == 3


def test_a_neuron_named_twice_is_refused(from_store, files):
    files.neuron_map.write_text(json.dumps({"1": "cat", "image_block/a:1": "dog"}))
    assert from_store(code=2) == [
        "the neuron map: neuron image_block/a:1 is named more than once; expected each neuron once"
    ]


def test_a_table_without_names_of_images_is_refused(from_store, measured, files):
    measured[0].drop(columns="image_filename").to_csv(files.data, index=False)
    (line,) = from_store(code=2)
    assert line.startswith(f"{files.data}: no column image_filename or image or image_basename")
    assert line.endswith("expected the name of each row's image, to find it in the store")


def test_other_images_are_refused_with_a_name_of_either_side(from_store, measured, files, tmp_path):
    measured[0].assign(image_filename="other_" + measured[0]["image_filename"]).to_csv(files.data, index=False)
    (line,) = from_store(code=2)
    assert "the table has names such as 'other_NA_level1_1.png', " in line
    assert f"{tmp_path / 'acts.zarr'} 'study/cat_level5_1.png'; expected the same names" in line


def test_results_inside_the_store_are_refused(from_store, files, tmp_path, score):
    acts = tmp_path / "acts.zarr"
    before = sorted(acts.rglob("*"))
    outcome = score(files.data, files.neuron_map, acts / "results.csv", "--store", acts)
    assert (outcome.code, outcome.err) == (
        2, f"error: {acts / 'results.csv'}: is inside the store {acts}; expected another folder\n",
    )  # fmt: skip
    assert sorted(acts.rglob("*")) == before


@pytest.mark.slow
def test_a_store_needs_zarr_and_no_network(from_store, files, tmp_path):
    script = """
import sys
sys.modules |= dict.fromkeys(["torch", "zarr"])
from InterpScore.cli.score import score_app
from Activation_Extraction.base.commands import run
for _ in range(2):
    try:
        run(score_app)
    except SystemExit as end:
        print(end.code)
    sys.modules.pop("zarr")
"""
    arguments = [*files.paths, "--store", tmp_path / "acts.zarr", "--resamples", "0", "--quiet"]
    done = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True)
    need = f"error: activation stores need zarr, which is not installed; type: {install_command('models')}\n"
    assert (done.stdout, done.stderr) == ("2\n0\n", need)


def test_help_teaches_how_a_store_is_scored(score):
    outcome = score("--help")
    told = " ".join(outcome.out.replace("│", " ").split())
    assert outcome.code == 0
    assert "interpscore score data.csv neuron_map.json results.csv --store acts.zarr" in told
    assert 'In the map "layer4.5:89" is a unit of one layer, "89" of each.' in told
    assert all(option in told for option in ("--store", "--layer"))
