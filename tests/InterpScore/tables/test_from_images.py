"""Guards the experiment table of labelled pictures and a store: what is in it, that it is scored, and what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from Activation_Extraction import image_set
from Activation_Extraction.base.commands import app, run
from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.store.writer import StoreWriter
from InterpScore.benchmark import run_interpretability_benchmark

CONCEPTS = ("cat", "cat", "cat", "dog", "dog", "dog")
LAYER = "layer4"


@pytest.fixture
def called(tmp_path, monkeypatch, capsys):
    """Runs `interpscore` in a folder; gives its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            run(app, list(map(str, arguments)))
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return call


@pytest.fixture
def pictures(tmp_path):
    """Six pictures in folders of two concepts."""
    folder = tmp_path / "photos"
    for i, concept in enumerate(CONCEPTS):
        (folder / concept).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (40 * i, 0, 0)).save(folder / concept / f"{i}.png")
    return folder


def write_store(path, images, layers=(LAYER,), unread=()):
    """A store of three units: unit 0 likes cats, unit 1 dogs, unit 2 nothing."""
    import hashlib

    names = images.table["image"].to_pylist()
    cat_N = np.array([name.startswith("cat") for name in names])
    a_NU = np.stack([cat_N + np.arange(len(names)) / 10, ~cat_N + 0.1, np.zeros(len(names))], 1).astype(np.float32)
    a_NU[list(unread)] = np.nan
    sha256 = [hashlib.sha256(images.read(row)).hexdigest() for row in range(len(images))]
    errors = [f"{name}: broken" if i in unread else "" for i, name in enumerate(names)]
    identity = {"model": "m", "batch_size": 2}
    with StoreWriter(path, identity, images, dict.fromkeys(layers, (3,)), shard_rows=4) as writer:
        for shard in writer.missing:
            rows = slice(shard.rows.start, shard.rows.stop)
            writer.commit(shard, dict.fromkeys(layers, a_NU[rows]), sha256[rows], errors[rows])
        writer.finish()
    return path, a_NU


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.filterwarnings("ignore::InterpScore.errors.TableWarning")
def test_a_folder_and_a_store_are_scored_without_ratings(called, pictures, suffix):
    write_store("acts.zarr", image_set(pictures))
    table = f"table{suffix}"
    code, out, err = called("table", "--images", pictures, "--store", "acts.zarr", "-o", table, "--units", "0,1")
    assert (code, err.count("error")) == (0, 0)
    assert "6 images of 2 concepts, 2 units of layer4, no ratings" in out
    result = run_interpretability_benchmark(table, {"0": "cat", "1": "dog"}, resamples=0).table.set_index("Neuron")
    assert result["S"].tolist() == pytest.approx([1, 1], abs=1e-3)
    assert result[["R", "H", "C"]].isna().all(axis=None)
    assert result["Notes"].str.contains("R: .+; H: ").all(), result["Notes"].tolist()
    called("table", "--images", pictures, "--store", "acts.zarr", "-o", "plain.csv")
    joined = run_interpretability_benchmark("plain.csv", {"0": "cat", "1": "dog"}, stores="acts.zarr", resamples=0)
    pd.testing.assert_frame_equal(joined.table.set_index("Neuron")[["S", "d"]], result[["S", "d"]])


def test_effects_give_causality(called, pictures):
    write_store("acts.zarr", image_set(pictures))
    called("table", "--images", pictures, "--store", "acts.zarr", "-o", "table.csv", "--units", "0")
    names = image_set(pictures).table["image"].to_pylist()
    pd.DataFrame({"image": names, "ablation_effect_0": 0.5, "amplification_effect_0": 0.5}).to_csv("e.csv", index=False)
    Path("map.json").write_text('{"0": "cat"}')
    assert called("score", "table.csv", "map.json", "results.csv", "--causality", "e.csv", "--resamples", "0")[0] == 0
    assert pd.read_csv("results.csv")["C"].tolist() == pytest.approx([1 - np.exp(-0.5)])


def test_columns_of_an_image_table_are_kept(called, pictures):
    images = image_set(pictures)
    names = images.table["image"].to_pylist()
    labels = pd.DataFrame(
        {"image": names, "concept": CONCEPTS, "level": [5, 5, 3, 5, 5, 2], "split": "test",
         "kind": ["clean", "clean", "adversarial", "clean", "clean", "synthetic"], "clean_image": ["", "", names[0], "", "", names[3]]}
    )  # fmt: skip
    labels.to_csv(pictures / "images.csv", index=False)
    write_store("acts.zarr", images)
    code, out, _ = called("table", "--images", pictures / "images.csv", "--store", "acts.zarr", "-o", "table.csv")
    assert (code, "--level-kinds '3=adversarial 2=synthetic'" in out) == (0, True)
    table = pd.read_csv("table.csv", keep_default_na=False)
    assert table["image_filename"].tolist() == names
    assert table["level"].tolist() == labels["level"].tolist()
    assert table["clean_image"].tolist() == labels["clean_image"].tolist()
    assert table["split"].eq("test").all()


def test_clean_level_is_that_of_images_without_one(called, pictures):
    write_store("acts.zarr", image_set(pictures))
    called("table", "--images", pictures, "--store", "acts.zarr", "-o", "table.csv", "--clean-level", "9")
    assert pd.read_csv("table.csv")["level"].eq(9).all()


def test_images_without_activations_are_named_and_empty(called, pictures):
    write_store("acts.zarr", image_set(pictures), unread=[1])
    Image.new("RGB", (4, 4)).save(pictures / "cat" / "new.png")
    code, _, err = called("table", "--images", pictures, "--store", "acts.zarr", "-o", "table.csv", "--units", ":")
    assert code == 1
    assert err.splitlines()[-2:] == ["not in the store: cat/new.png", "not read: cat/1.png: broken"]
    empty = pd.read_csv("table.csv").set_index("image_filename")["activation_0"].isna()
    assert empty[empty].index.tolist() == ["cat/1.png", "cat/new.png"]


def table_with(**columns):
    names = [f"{c}/{i}.png" for i, c in enumerate(CONCEPTS)]
    return lambda folder: pd.DataFrame({"image": names, "concept": CONCEPTS, **columns}).to_csv(folder / "images.csv", index=False)  # fmt: skip


REFUSED = {
    "no concept": (lambda folder: Image.new("RGB", (4, 4)).save(folder / "a.png"), ".", "has no concept"),
    "empty level": (table_with(level=["5", "5", "", "5", "5", "5"]), "images.csv", "has no level"),
    "empty concept": (table_with(concept=["cat", "", *CONCEPTS[2:]]), "images.csv", "image 'cat/1.png' has no concept"),
    "level as word": (table_with(level=["5", "5", "x", "5", "5", "5"]), "images.csv", "level"),
    "no clean level": (table_with(level=3), "images.csv", "no image at the clean level 5; its levels are 3"),
    "changed": (lambda folder: Image.new("RGB", (5, 5)).save(folder / "dog" / "4.png"), ".", "1 of its pictures are not those of acts.zarr (dog/4.png)"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_label_can_be_taken_from_is_refused(called, pictures, case):
    change, source, message = REFUSED[case]
    write_store("acts.zarr", image_set(pictures))
    change(pictures)
    code, _, err = called("table", "--images", pictures / source, "--store", "acts.zarr", "-o", "table.csv", "--quiet")
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
    assert not Path("table.csv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--units", "0"], "--layer: none given; acts.zarr has layer4, layer3"),
        (["--units", "7", "--layer", "layer4"], "found 7; expected 0 to 2"),
        (["--units", "0+1", "--layer", "layer4"], "expected single units"),
        (["--layer", "layer9"], "no layer 'layer9'"), (["-o", "table.xlsx"], ".csv or .parquet"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(called, pictures, options, message):
    write_store("acts.zarr", image_set(pictures), layers=("layer4", "layer3"))
    code, _, err = called("table", "--images", pictures, "--store", "acts.zarr", "-o", "table.csv", "--quiet", *options)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err


def test_an_unfinished_store_is_refused(called, pictures):
    images = image_set(pictures)
    with StoreWriter("acts.zarr", {"model": "m", "batch_size": 2}, ImageSet(pa.table({"image": ["a"]}), "f", [], []), {LAYER: (3,)}):  # fmt: skip
        pass
    code, _, err = called("table", "--images", pictures, "--store", "acts.zarr", "-o", "table.csv")
    assert (code, "unfinished" in err, len(images)) == (2, True, 6)
