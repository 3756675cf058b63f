"""Guards `interpscore baseline`: a store a seed, of the trained store's images and settings; interrupted runs resume."""

import json
import shutil
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from Activation_Extraction import extract_full_layer_activations
from Activation_Extraction.base.commands import app, run
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.store.reader import ActivationStore
from InterpScore.baselines.stores import MANIFEST, effects_path, store_path, untrained_stores

NETWORK = """
import torch
from torch import nn
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.models.adapters import from_module

def load():
    torch.manual_seed(0)
    net = nn.Sequential()
    net.add_module("conv", nn.Conv2d(3, 4, 3, stride=2))
    net.add_module("norm", nn.BatchNorm2d(4))
    net.add_module("relu", nn.ReLU())
    net.add_module("mean", nn.AdaptiveAvgPool2d(1))
    net.add_module("flat", nn.Flatten())
    return from_module(net, ImageInput(8, (0.5,) * 3, (0.25,) * 3), name="net")
"""
MODEL = ("--model", "net.py:load", "--layer", "relu")


@pytest.fixture(autouse=True)
def one_decoder_and_no_openvino(monkeypatch, decoding_here):
    def absent():
        raise InputError("openvino is not installed")

    monkeypatch.setattr("Activation_Extraction.backends.runner.import_openvino", absent)
    extraction = import_module("Activation_Extraction.extract_full_layer_activations")  # not the function of that name
    monkeypatch.setattr(extraction, "default_workers", lambda: 1)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A network in a file, six pictures in a table of levels and splits, and the trained network's store of the first four."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "net.py").write_text(NETWORK)
    (folder / "photos").mkdir()
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (12, 9, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{i}.png")
    rows = pd.DataFrame({"image": [f"{i}.png" for i in range(6)], "concept": "cat", "level": [4, 4, 1, 1, 4, 4]})
    rows.assign(split=["a"] * 4 + ["b"] * 2).to_csv(folder / "images.csv", index=False)
    (folder / "four").mkdir()
    for i in range(4):
        shutil.copy(folder / "photos" / f"{i}.png", folder / "four")
    from Activation_Extraction import load_model

    extract_full_layer_activations(
        folder / "four", ["relu", "conv"], folder / "acts.zarr", load_model(f"{folder}/net.py:load"), pooling="max",
        preprocessing="published", backend="eager", workers=1, progress=False,
    )  # fmt: skip
    return folder


@pytest.fixture
def called(home, monkeypatch, capsys):
    """Runs `interpscore baseline` at home; gives its exit code, output and errors."""
    monkeypatch.chdir(home)

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            run(app, ["baseline", *map(str, arguments)])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return call


def test_a_store_and_effects_for_each_seed(called, home, tmp_path):
    out = tmp_path / "untrained"
    options = ("--split", "a", "--images-root", "photos", "--clean-level", 4, "--seeds", 2, "--effects")
    code, printed, err = called(
        "images.csv", *MODEL, "--preprocessing", "published", "--pooling", "max", *options, "-o", out
    )
    assert (code, err) == (0, "")
    assert printed.splitlines() == [
        f"{out}: 2 untrained copies of net.py:load, relu (4), 4 images each",
        "BatchNorm statistics measured on 4 of the images",
        "effects of the units of relu on 2 images, for C",
        "8 images computed",
    ]
    first, second = untrained_stores(out)
    assert (first.identity["pooling"], first.identity["preprocessing"]) == ("max", "published")
    assert first.identity["provenance"]["weights"] == "untrained, seed 0"
    assert first.identity["provenance"]["batchnorm"].startswith("statistics of 4 of 4 images ")
    assert not np.allclose(first.to_frame(), second.to_frame())
    assert pd.read_parquet(effects_path(out, 1))["image_filename"].tolist() == ["0.png", "1.png"]
    about = json.loads(effects_path(out, 1).with_suffix(".json").read_text())
    assert about["provenance"]["weights"] == "untrained, seed 1"


def test_the_store_gives_network_layers_settings_and_order_and_an_interrupted_run_resumes(called, home, tmp_path):
    out = tmp_path / "untrained"
    command = ("four", "--store", "acts.zarr", "--model", "net.py:load", "--seeds", 1, "-o", out)
    code, printed, err = called(*command)
    assert (code, err) == (0, "")
    assert "effects" not in printed  # not where units are run one at a time, unless asked for
    trained = ActivationStore.open(home / "acts.zarr")
    (store,) = untrained_stores(out, trained)
    assert store.layers == trained.layers
    assert store.identity["pooling"] == "max"
    before = store.to_frame("relu")
    shutil.rmtree(store_path(out, 0))
    assert "4 images computed" in called(*command)[1]
    pd.testing.assert_frame_equal(ActivationStore.open(store_path(out, 0)).to_frame("relu"), before)
    assert "already complete; nothing computed" in called(*command)[1]
    assert json.loads((out / MANIFEST).read_text())["seeds"] == [0]
    code, _, err = called("four", *MODEL, "--seeds", 1, "-o", out)
    assert code == 2
    assert "holds pooling 'max'; asked for 'mean'" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*MODEL], "IMAGES: none given"),
        (["four", "--model", "net.py:load"], "--layer: none given"),
        (["four", "--model", "net.py:load", "--layer", "rely"], "relu"),
        (
            ["four", "--store", "acts.zarr"],
            "--model: not given, and acts.zarr is of the model 'net.py:load'; expected --model",
        ),
        (
            ["four", "--store", "acts.zarr", "--model", "other.py:load"],
            "model 'other.py:load'; expected 'net.py:load', as",
        ),
        (["four", "--store", "acts.zarr", "--pooling", "max"], "--pooling: found with --store"),
        (["four", "--store", "acts.zarr", "--preprocessing", "clip"], "--preprocessing: found with --store"),
        (["four", "--store", "acts.zarr", "--layer", "layer9"], "no layer 'layer9'"),
        (
            ["photos", "--store", "acts.zarr", "--model", "net.py:load"],
            "photos: 2 of the images are new: '4.png', '5.png'",
        ),
        (
            ["other", "--store", "acts.zarr", "--model", "net.py:load"],
            "other: 1 of its pictures are not those of acts.zarr",
        ),
        (["four", "--store", "acts.zarr", "--model", "net.py:load", "-o", "acts.zarr/u"], "is inside the store"),
        (
            ["four", "--store", "acts.zarr", "--model", "net.py:load", "--effects"],
            "--effects: found 2 layers; expected one",
        ),
        (["four", *MODEL, "--device", "cuda:9"], "cuda:9"),
        (["four", *MODEL, "--seeds", 5000], "--seeds: found 5000; expected 1 to 1000"),
        (["four", *MODEL, "--precision", "bf16", "--device", "meta"], "meta"),
        (["four", "--model", "clip-mini", "--layer", "nowhere"], "nowhere"),
    ],
)
def test_wrong_input_is_one_line(called, home, tmp_path, arguments, said):
    shutil.copytree(home / "four", home / "other", dirs_exist_ok=True)
    shutil.copy(home / "photos" / "4.png", home / "other" / "0.png")
    (home / "other.py").write_text(NETWORK)
    output = [] if "-o" in arguments else ["-o", tmp_path / "untrained"]
    code, _, err = called(*arguments, *output)
    assert code == 2
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "untrained").exists()


def test_a_network_without_an_initializer_is_refused_before_anything_is_written(called, home, tmp_path):
    scaled = NETWORK.replace("    return", "    net.relu.scale = nn.Parameter(torch.ones(1))\n    return")
    (home / "scaled.py").write_text(scaled)
    code, _, err = called("four", "--model", "scaled.py:load", "--layer", "relu", "-o", tmp_path / "untrained")
    assert code == 2
    assert "scaled.py:load: module 'relu' (ReLU) has no initializer of its tensor 'scale'" in err
    assert not (tmp_path / "untrained").exists()


def test_a_network_whose_file_has_changed_since_is_refused(called, tmp_path):
    (tmp_path / "net.py").write_text(NETWORK + "# changed")
    code, _, err = called(
        "four", "--store", "acts.zarr", "--model", tmp_path / "net.py:load", "-o", tmp_path / "untrained"
    )
    assert code == 2
    assert "file_sha256 '" in err
    assert err.count("\n") == 1


def test_a_store_of_a_frozen_graph_is_refused(called, home, tmp_path):
    shutil.copytree(home / "acts.zarr", tmp_path / "graph.zarr")
    path = tmp_path / "graph.zarr" / "provenance.json"
    provenance = json.loads(path.read_text())
    provenance["identity"]["provenance"]["format"] = "TensorFlow frozen graph"
    path.write_text(json.dumps(provenance))
    code, _, err = called("four", "--store", tmp_path / "graph.zarr", "-o", tmp_path / "untrained")
    assert code == 2
    assert "is of a TensorFlow frozen graph, whose weights are constants without an initializer" in err


def test_effects_are_measured_by_default_where_all_units_are_computed_at_once():
    from Activation_Extraction import load_model
    from InterpScore.baselines.make import _layer_of_effects

    model = load_model("clip-mini")
    assert _layer_of_effects(model, ["block_3", "block_4"], None) == "layer4"
    assert _layer_of_effects(model, ["block_3"], None) is None
    assert _layer_of_effects(model, ["block_3"], True) == "layer3"
    assert _layer_of_effects(model, ["block_4"], False) is None


@pytest.mark.slow
def test_effects_of_clip_are_measured_unless_told_not_to(called, tmp_path):
    options = ("four", "--model", "clip-mini", "--layer", "block_4", "--seeds", 1, "--quiet")
    code, printed, err = called(*options, "-o", tmp_path / "untrained")
    assert (code, printed, err) == (0, "", "")
    assert effects_path(tmp_path / "untrained", 0).is_file()
    assert called(*options, "--no-effects", "-o", tmp_path / "without")[0] == 0
    assert not effects_path(tmp_path / "without", 0).is_file()
