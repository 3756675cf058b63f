"""Guards profiles of stores and arrays: images are matched by hash, baselines stand beside scores, wrong input is one line."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xarray as xr

from Activation_Extraction.base.commands import app, run
from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.store.reader import ActivationStore
from Activation_Extraction.store.writer import StoreWriter
from InterpScore import profile_units
from InterpScore.baselines.stores import MANIFEST, store_path
from InterpScore.errors import InputError, OutputError
from InterpScore.profiles.layer import PERMUTED, SCORES
from InterpScore.profiles.results import columns

N = 150
NAMES = [f"{i}.png" for i in range(N)]


def write(path, layers, *, names=NAMES, hashes=None, broken=(), weights="mine", model="m", complete=True):
    """A store of images that are their names, unless hashes are given; unreadable ones are NaN."""
    images = ImageSet(pa.table({"image": list(names)}), "f" * 64, [], [])
    identity = {
        "model": model, "preprocessing": "clip", "pooling": "mean", "input": "4x4", "batch_size": 4,
        "provenance": {"weights": weights, "state_sha256": weights},
    }  # fmt: skip
    hashes = list(names) if hashes is None else hashes
    shapes = {layer: values.shape[1:] for layer, values in layers.items()}
    with StoreWriter(path, identity, images, shapes, shard_rows=64) as writer:
        for shard in writer.missing if complete else writer.missing[:1]:
            rows = list(shard.rows)
            sha256 = [None if names[row] in broken else hashes[row] for row in rows]
            errors = [f"{names[row]}: broken" if names[row] in broken else "" for row in rows]
            values = {layer: a[rows].astype(np.float32) for layer, a in layers.items()}
            for a in values.values():
                a[[bool(error) for error in errors]] = np.nan
            writer.commit(shard, values, sha256, errors)
        if complete:
            writer.finish()
    return path


@pytest.fixture(scope="module")
def arrays():
    generator = np.random.default_rng(0)
    return {
        "layer4": np.maximum(generator.normal(size=(N, 40)), 0),
        "pooled": generator.normal(size=(N, 6)) + 0.5,
        "untrained": [np.maximum(generator.normal(size=(N, 40)) + 1, 0) for _ in range(2)],
    }


@pytest.fixture(scope="module")
def home(arrays, tmp_path_factory):
    """Stores of a layer, its embedding and a baseline of two seeds."""
    home = tmp_path_factory.mktemp("profiles")
    write(home / "acts.zarr", {"layer4": arrays["layer4"]})
    write(home / "embedding.zarr", {"pooled": arrays["pooled"]}, weights="other", model="n")
    write(home / "two.zarr", {"a": arrays["pooled"][:, :2], "b": arrays["pooled"]}, weights="another", model="o")
    (home / "untrained").mkdir()
    for seed, a in enumerate(arrays["untrained"]):
        write(store_path(home / "untrained", seed), {"layer4": a}, weights=f"untrained, seed {seed}")
    (home / "untrained" / MANIFEST).write_text(json.dumps({"seeds": [0, 1]}))
    return home


@pytest.fixture(scope="module")
def profile(home):
    return profile_units(home / "acts.zarr", home / "embedding.zarr", baseline=home / "untrained")


def same(one, other, **tolerance):
    for name in SCORES:
        np.testing.assert_allclose(
            one.table[name].astype(float), other.table[name].astype(float), err_msg=name, **tolerance
        )


def test_stores_give_what_arrays_give(profile, arrays):
    of_arrays = profile_units(arrays["layer4"], arrays["pooled"], baseline=arrays["untrained"])
    same(profile, of_arrays, rtol=1e-4, atol=1e-5)
    assert list(profile.table) == list(of_arrays.table) == list(columns())
    np.testing.assert_allclose(profile.table["MS_untrained_higher"], of_arrays.table["MS_untrained_higher"], atol=0.02)


@pytest.mark.parametrize("case", ["another order", "other names and more images", "copies"])
def test_images_are_matched_by_hash(case, home, arrays, profile, tmp_path):
    e_ND, order, hashes, scored = arrays["pooled"], np.arange(N), np.array(NAMES, object), home / "acts.zarr"
    names = hashes
    if case == "another order":
        order = np.random.default_rng(0).permutation(N)
    elif case == "other names and more images":
        order = np.concatenate([[5, 6], order])
        names = np.array([f"folder/{name}" for name in NAMES], object)
    else:  # images 0 and 1 are one picture, which the other store has once
        hashes = np.array(["0.png", "0.png", *NAMES[2:]], object)
        e_ND = e_ND[[0, 0, *range(2, N)]]
        scored = write(tmp_path / "copies.zarr", {"layer4": arrays["layer4"]}, hashes=list(hashes))
        profile = profile_units(arrays["layer4"].astype(np.float32), e_ND.astype(np.float32))
        order = np.delete(order, 1)
    told = [f"x{row}" if len(order) > N and row < 2 else hashes[i] for row, i in enumerate(order)]
    other = tmp_path / "embedding.zarr"
    write(other, {"pooled": e_ND[order]}, names=list(names[order]), hashes=told, weights="other", model="n")
    same(profile_units(scored, other), profile, rtol=1e-6, atol=1e-6)


def test_unreadable_images_are_left_out_and_counted(home, arrays, tmp_path):
    scored = write(tmp_path / "acts.zarr", {"layer4": arrays["layer4"]}, broken=["3.png"])
    values = {"pooled": arrays["pooled"]}
    other = write(tmp_path / "embedding.zarr", values, broken=["3.png", "9.png"], weights="other", model="n")
    found = profile_units(scored, other)
    assert found.signature["n"] == {"units": 40, "images": 148, "excluded": {"could not be read": 2}}
    assert "2 images could not be read and are left out" in found.warnings
    kept = np.delete(np.arange(N), [3, 9])
    same(found, profile_units(*(arrays[name][kept].astype(np.float32) for name in ("layer4", "pooled"))), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hashes": ["0.png", *(f"x{i}" for i in range(1, N))]}, "149 of the 150 images of .*acts.zarr are not in it, by hash .1.png, 2.png, 3.png, … and 146 more"),
        ({"names": NAMES[:100]}, "50 of the 150 images"),
        ({"weights": "mine"}, "of n, the network that is scored; expected embeddings by another one"),
        ({"complete": False}, "unfinished, 86 of 150 images are still to be computed"),
    ],
    ids=["other contents", "fewer", "same weights", "unfinished"],
)  # fmt: skip
def test_another_embedding_is_refused_in_one_line(change, said, home, arrays, tmp_path):
    change = {"weights": "other", "model": "n"} | change
    values = arrays["pooled"][: len(change.get("names", NAMES))]
    other = write(tmp_path / "embedding.zarr", {"pooled": values}, **change)
    with pytest.raises(InputError, match=said) as error:
        profile_units(home / "acts.zarr", other)
    assert len(error.value.problems) == 1


def test_layers_are_chosen_by_name(home, profile):
    same(profile_units(home / "acts.zarr", home / "two.zarr", embedding_layer="b"), profile, rtol=1e-12)
    of_two = profile_units(home / "two.zarr", home / "embedding.zarr", layer="a")
    assert (len(of_two.table), of_two.signature["activations"]["layer"]) == (2, "a")
    with pytest.raises(InputError, match=r"--layer: none given; .*two.zarr has a, b; expected one of them"):
        profile_units(home / "two.zarr", home / "embedding.zarr")


def test_the_network_itself_is_refused_unless_asked_for_and_then_it_is_said(home):
    acts = ActivationStore.open(home / "acts.zarr")
    with pytest.raises(InputError, match="of m, the network that is scored; expected embeddings by another one"):
        profile_units(acts, acts)
    found = profile_units(acts, acts, same_network=True)
    assert found.signature["embedding"]["same_network"] is True
    assert any("asked about itself" in warning for warning in found.warnings)


def test_signature_names_network_layer_and_weights_and_no_path(profile, home):
    told = profile.signature["embedding"]
    assert (told["model"], told["layer"], told["provenance"]["state_sha256"]) == ("n", "pooled", "other")
    assert told["same_network"] is False
    assert [copy["provenance"]["weights"] for copy in profile.signature["untrained"]] == [
        "untrained, seed 0",
        "untrained, seed 1",
    ]
    assert str(home) not in json.dumps(profile.signature)


def test_untrained_columns_are_shares_and_moments_of_all_copies(home, arrays, profile):
    copies = [profile_units(home / "untrained" / f"seed_{seed}.zarr", home / "embedding.zarr").table for seed in (0, 1)]
    for name in SCORES:
        values = np.concatenate([copy[name] for copy in copies])
        values = values[~np.isnan(values)]
        row = profile.table.iloc[7]
        share = np.mean([1.0 if v > row[name] else 0.5 if v == row[name] else 0.0 for v in values])
        np.testing.assert_allclose(row[f"{name}_untrained_higher"], share)
        np.testing.assert_allclose(row[f"{name}_untrained_mean"], values.mean())
        np.testing.assert_allclose(row[f"{name}_untrained_spread"], values.std(ddof=1))
    assert not any("--baseline" in warning for warning in profile.warnings)


def test_without_a_baseline_untrained_columns_are_empty_and_it_is_said_once(arrays):
    found = profile_units(arrays["layer4"], arrays["pooled"])
    assert found.table.filter(like="_untrained_").isna().all(axis=None)
    assert sum("--baseline" in warning for warning in found.warnings) == 1


@pytest.mark.parametrize(
    ("activations", "embeddings", "said"),
    [
        (np.ones((5, 2)), np.ones((4, 2)), "embeddings: 4 images; expected 5"),
        (np.ones(5), np.ones((5, 2)), r"activations: found an array of shape \(5,\)"),
        (np.ones((5, 2)), [[1]] * 5, "embeddings: found list"),
        (np.ones((5, 2)), "acts.zarr", "embeddings: found str; expected stores alone, or arrays alone"),
        (np.full((5, 2), "a"), np.ones((5, 2)), "activations: found an array"),
        (np.ones((5, 0)), np.ones((5, 2)), "activations: no column"),
        (xr.DataArray(np.ones((2, 2)), {"image": ["a", "b"]}, ["image", "unit"]), xr.DataArray(np.ones((2, 2)), {"image": ["b", "a"]}, ["image", "unit"]), "embeddings: other images than in activations, or in another order"),
    ],
    ids=["images", "one dimension", "a list", "a store", "text", "no unit", "names"],
)  # fmt: skip
def test_wrong_arrays_are_refused_in_one_line(activations, embeddings, said):
    with pytest.raises(InputError, match=said):
        profile_units(activations, embeddings)


# Files and the command ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_saved_tables_are_the_table_and_tell_their_columns(suffix, profile, tmp_path):
    table, about = profile.save(tmp_path / f"profile{suffix}")
    read = pd.read_parquet(table) if suffix == ".parquet" else pd.read_csv(table, keep_default_na=True)
    assert list(read) == list(json.loads(about.read_text())["columns"]) == list(profile.table)
    np.testing.assert_allclose(read["MS_top"], profile.table["MS_top"])
    assert read["overlap_with"].dropna().between(0, 39).all()


def test_every_column_is_documented():
    guide = (Path(__file__).parents[3] / "Data" / "README.md").read_text(encoding="utf-8")
    section = guide.split("## Profiles of units")[1].split("\n## ")[0]
    told = {name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)}
    generic = {
        re.sub(f"^({'|'.join(sorted(SCORES, reverse=True))})_(?!with|top$)", "<score>_", name) for name in columns()
    }
    assert told == generic


@pytest.mark.parametrize("name", ["profile.json", "profile", "profile.xlsx"])
def test_other_files_are_refused_before_the_work(name, profile, tmp_path):
    with pytest.raises(OutputError, match=r"expected the name of a table to write, .parquet or .csv"):
        profile.save(tmp_path / name)


def test_summary_counts_units_clearly_above_chance(profile):
    summary = profile.summary().set_index("score")
    table = profile.table
    above = (table["clarity"] - table["clarity_chance"]) / table["clarity_spread"] > 3
    assert summary.loc["clarity", "above_chance"] == above.sum()
    assert summary.loc["MS", "median"] == table["MS"].median()
    assert summary.loc["kurtosis", ["chance", "above_chance"]].isna().all()


def test_notebook_shows_the_highest_first_with_chance(profile):
    shown = profile._repr_html_()
    best = profile.best_first().iloc[0]
    assert f'<td style="text-align:left">{best["unit"]}</td>' in shown
    assert f"{best['MS_top']:.3f} ({best['MS_top_chance']:.3f} ± {best['MS_top_spread']:.3f})" in shown
    assert len(profile.to_frame()) == 40


@pytest.fixture
def called(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            run(app, ["profile", *map(str, arguments)])
        out, err = capsys.readouterr()
        return stopped.value.code, out, err

    return call


def test_command_writes_the_table_and_prints_medians_units_and_what_is_next(called, home, profile, tmp_path):
    out_file = tmp_path / "profile.csv"
    code, out, _ = called(
        home / "acts.zarr", "--embedding", home / "embedding.zarr", "--baseline", home / "untrained", "-o", out_file
    )
    assert code == 0
    np.testing.assert_allclose(pd.read_csv(out_file)["MS"], profile.table["MS"])
    best = profile.best_first()["unit"].head(9)
    assert f"--units {','.join(map(str, best))}" in out
    for name in PERMUTED:
        assert f"{profile.table[name].median():.3f}" in out
    assert "untrained higher" in out
    assert max(map(len, out.splitlines()[:-3])) <= 100


def test_command_without_an_embedding_says_how_to_make_one(called, home, tmp_path):
    code, _, err = called(home / "acts.zarr", "-o", tmp_path / "p.csv")
    assert code == 2
    assert "--model efficientnet-lite0 --layer pooled -o embedding.zarr" in err
    assert "[imagenet]" in err
    assert err.count("\n") == 1


def test_quiet_prints_nothing_and_options_reach_the_profile(called, home, tmp_path):
    options = ("--embedding", home / "two.zarr", "--embedding-layer", "b", "-o", tmp_path / "p.parquet")
    assert called(home / "acts.zarr", "--layer", "layer4", *options, "--quiet") == (0, "", "")
    assert json.loads((tmp_path / "p.json").read_text())["signature"]["embedding"]["layer"] == "b"
    code, _, err = called(home / "two.zarr", "--layer", "a", *options)
    assert (code, "--same-network" in err) == (2, True)
    assert called(home / "two.zarr", "--layer", "a", *options, "--same-network", "--quiet")[0] == 0
    told = json.loads((tmp_path / "p.json").read_text())["signature"]
    assert (told["activations"]["layer"], told["embedding"]["same_network"]) == ("a", True)


def test_an_output_inside_a_store_is_refused(called, home):
    code, _, err = called(
        home / "acts.zarr", "--embedding", home / "embedding.zarr", "-o", home / "acts.zarr" / "p.csv"
    )
    assert (code, "is inside" in err) == (2, True)
