"""Guards `interpscore extract`: every option has its effect, errors are one line, exit codes tell partial from complete."""

import json
import re
import shutil
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from Activation_Extraction.base.commands import run
from Activation_Extraction.cli.extract import extract_app
from Activation_Extraction.models import resources
from Activation_Extraction.models.registry import load_model
from Activation_Extraction.models.surgery.rewrite import FusedConvReLU
from Activation_Extraction.store.reader import ActivationStore
from tests.bfloat16 import needs_bfloat16

pytestmark = pytest.mark.usefixtures("decoding_here")
PICTURES = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for i in range(PICTURES):
        (folder / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (60, 90, 3), np.uint8)).save(folder / "ab"[i % 2] / f"{i}.png")
    return folder


@pytest.fixture
def extract(capfd):
    """Runs the command; gives exit code, standard output and standard error."""

    def extracted(*arguments, layers=("block_4",), backend="eager"):
        options = [part for layer in layers for part in ("--layer", layer)]
        options += ["--model", "clip-mini", "--batch-size", "2", "--backend", backend]
        with pytest.raises(SystemExit) as left:
            run(extract_app, [*options, *map(str, arguments)])
        out, err = capfd.readouterr()
        return left.value.code or 0, out, err

    return extracted


@pytest.fixture(scope="module")
def plain(folder, tmp_path_factory):
    """A store of the pictures, made with no option but those that every test gives."""
    path = tmp_path_factory.mktemp("plain") / "a.zarr"
    options = "--layer block_4 --model clip-mini --batch-size 2 --backend eager --quiet"
    with pytest.raises(SystemExit, match=r"^0$"):
        run(extract_app, [str(folder), "-o", str(path), *options.split()])
    return ActivationStore.open(path)


def identity(path):
    return ActivationStore.open(path).identity


def test_a_folder_becomes_a_store_and_the_end_says_what_it_holds(folder, extract, tmp_path):
    code, out, err = extract(folder, "-o", tmp_path / "a.zarr", layers=("block_4", "layer3.1"))
    assert (code, err) == (0, "")
    assert "6 images × layer4 (512), layer3.1 (256)" in out
    assert re.search(r"6 images computed at [\d.,]+ images/s, 2 at a time", out)
    assert "every image was read" in out
    store = ActivationStore.open(tmp_path / "a.zarr")
    assert store.images["image"].tolist() == ["a/0.png", "a/2.png", "a/4.png", "b/1.png", "b/3.png", "b/5.png"]
    assert store.images["concept"].tolist() == ["a"] * 3 + ["b"] * 3


def test_rows_are_what_the_list_extractor_gives(folder, plain):
    from Activation_Extraction import extract_layer_activations

    paths = [folder / name for name in plain.images["image"]]
    truth = extract_layer_activations(paths, "block_4", load_model("clip-mini")).values
    np.testing.assert_allclose(plain.units("block_4", range(512)), truth, rtol=1e-4, atol=1e-5)


def test_broken_images_are_listed_and_the_exit_code_is_1(folder, extract, tmp_path):
    (tmp_path / "x.csv").write_text(f"image\n{folder / 'a' / '0.png'}\nnowhere.png\n")
    code, out, err = extract(tmp_path / "x.csv", "-o", tmp_path / "a.zarr")
    assert code == 1
    assert err.startswith("not read: ")
    assert "nowhere.png: no such file" in err
    assert "1 of 2 images could not be read; their rows are NaN" in out
    again, _, err = extract(tmp_path / "x.csv", "-o", tmp_path / "a.zarr")
    assert (again, "nowhere.png" in err) == (1, True)  # a complete store says so again


def test_quiet_prints_nothing(folder, extract, tmp_path):
    assert extract(folder, "-o", tmp_path / "a.zarr", "--quiet") == (0, "", "")


@pytest.mark.parametrize(
    ("option", "value", "key", "recorded"),
    [
        ("--pooling", "max", "pooling", "max"),
        ("--preprocessing", "published", "preprocessing", "published"),
        pytest.param("--precision", "bf16", "precision", "bf16", marks=needs_bfloat16),
        ("--top-k", "3", "top_k", 3),
        ("--shard-rows", "5", "shard_rows", 5),
        ("--weights", "random", "weights", "untrained, seed 0"),
    ],
)
def test_options_take_effect_and_are_recorded(folder, extract, plain, tmp_path, option, value, key, recorded):
    code, _, err = extract(folder, "-o", tmp_path / "a.zarr", option, value)
    assert code == 0, err
    recorded_there = identity(tmp_path / "a.zarr")
    assert (recorded_there | recorded_there["provenance"])[key] == recorded
    other = ActivationStore.open(tmp_path / "a.zarr")
    if key == "top_k":
        assert other.statistics("layer4").top_image_UK.shape == (512, 3)
    elif key == "shard_rows":
        assert len(other.shards()) == 2
    else:
        assert not np.array_equal(plain.rows("layer4", [0]), other.rows("layer4", [0]))


@pytest.mark.slow
def test_auto_records_what_it_became_and_takes_what_a_store_was_begun_with(folder, extract, tmp_path):
    there = find_spec("openvino") is not None
    code, out, err = extract(folder, "-o", tmp_path / "a.zarr", backend="auto")
    assert code == 0, err
    became = "openvino" if there else "eager"
    assert identity(tmp_path / "a.zarr")["backend"] == became
    assert f"by {became} in fp32" in out
    extract(folder, "-o", tmp_path / "b.zarr")
    next((tmp_path / "b.zarr" / "manifest").iterdir()).unlink()  # the store is unfinished now
    (tmp_path / "b.zarr" / "complete.json").unlink()
    code, out, err = extract(folder, "-o", tmp_path / "b.zarr", backend="auto")
    assert (code, "6 images computed" in out, "by eager in fp32" in out) == (0, True, True), err


@pytest.mark.slow
def test_batch_size_is_8_or_what_was_asked_for_or_measured(folder, extract, tmp_path):
    for asked, wanted in (("4", {4}), ("auto", {1, 2, 4})):
        code, _, err = extract(folder, "-o", tmp_path / f"{asked}.zarr", "--batch-size", asked)
        assert code == 0, err
        assert identity(tmp_path / f"{asked}.zarr")["batch_size"] in wanted
    for wrong in ("0", "some"):
        code, _, err = extract(folder, "-o", tmp_path / "a.zarr", "--batch-size", wrong)
        assert (code, err) == (
            2,
            f"error: batch_size: found '{wrong}'; expected a whole number of at least 1, or auto\n",
        )


@pytest.mark.parametrize("is_there", [True, False])
def test_bf16_that_the_processor_has_not_is_one_line(folder, extract, tmp_path, monkeypatch, is_there):
    """Whether that is known beforehand, or only a convolution that fails tells."""

    def refused(self, x_NCHW, addend_NCHW=None):
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("mkldnn_convolution: bf16 path needs the cpu support avx512bw")
        return fused(self, x_NCHW, addend_NCHW)

    fused = FusedConvReLU.forward
    monkeypatch.setattr(FusedConvReLU, "forward", refused)
    monkeypatch.setattr(resources, "computes_bfloat16", lambda device: is_there)
    code, out, err = extract(folder, "-o", tmp_path / "a.zarr", "--precision", "bf16")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: precision bf16: ")
    assert "precision fp32" in err.partition("; expected ")[2]
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.decoding_processes
def test_threads_workers_and_devices_are_used(folder, extract, tmp_path):
    assert (
        extract(folder, "-o", tmp_path / "a.zarr", "--threads", "1", "--workers", "1", "--devices", "cpu,cpu")[0] == 0
    )
    begun = json.loads((tmp_path / "a.zarr" / "history.json").read_text())["runs"][0]
    assert (begun["threads"], begun["devices"]) == (1, ["cpu", "cpu"])
    code, _, err = extract(folder, "-o", tmp_path / "b.zarr", "--devices", "cuda:7")
    assert (code, "found 'cuda:7'" in err) == (2, True)


def test_a_memory_limit_below_the_weights_is_refused(folder, extract, tmp_path):
    code, _, err = extract(folder, "-o", tmp_path / "a.zarr", "--memory-limit", "1 MB")
    assert (code, "the memory limit is 1,000,000" in err) == (2, True)


def test_split_and_images_root_choose_rows_and_places(folder, extract, tmp_path):
    table = pd.DataFrame({"image": ["a/0.png", "b/1.png"], "split": ["train", "test"]})
    table.to_csv(tmp_path / "t.csv", index=False)
    code, _, err = extract(tmp_path / "t.csv", "-o", tmp_path / "a.zarr", "--split", "test", "--images-root", folder)
    assert code == 0, err
    assert ActivationStore.open(tmp_path / "a.zarr").images["image"].tolist() == ["b/1.png"]


def test_export_writes_arrays_and_image_table(folder, extract, plain, tmp_path):
    code, out, _ = extract(folder, "-o", plain.path, "--export", tmp_path / "x.npz")
    assert (code, "Exported" in out) == (0, True)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["layer4"], plain.rows("layer4", range(6)))
    assert pd.read_csv(tmp_path / "x.csv")["image"].tolist()[0] == "a/0.png"


def test_verify_hashes_the_store_and_the_images_and_repair_mends_it(folder, extract, plain, tmp_path):
    store = shutil.copytree(plain.path, tmp_path / "a.zarr")
    assert extract(folder, "-o", store, "--verify") == (
        0, f"{store}: complete; all hashes right, and those of 6 images\n", "",
    )  # fmt: skip
    shard = store / "layer4" / "activation" / "c" / "0" / "0"
    whole = shard.read_bytes()
    shard.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    code, out, err = extract("-o", store, "--verify")
    assert (code, err.startswith(f"damaged: {shard}: SHA-256"), "--repair" in out) == (1, True, True)
    extract("-o", store, "--verify", "--repair")
    assert extract(folder, "-o", store)[0] == 0
    assert shard.read_bytes() == whole
    assert extract("-o", store, "--verify")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["-o", "a.zarr"], "error: IMAGES: none given"),
        (["nowhere", "-o", "a.zarr"], "error: nowhere: no such file or folder"),
        (["FOLDER"], "error: Missing option '--output' / '-o'"),
        (["FOLDER", "-o", "a.zarr", "--repair"], "error: --repair: found without --verify"),
        (["-o", "nowhere.zarr", "--verify"], "error: nowhere.zarr: no such folder; expected an activation store"),
        (["FOLDER", "-o", "a.zarr", "--layer", "layer9"], "error: no layer 'layer9'"),
        (["FOLDER", "-o", "a.zarr", "--split", "x"], "error: split: found 'x'"),
        (["FOLDER", "-o", "a.zarr", "--pooling", "sum"], "error: Invalid value for '--pooling'"),
        (["FOLDER", "-o", "a.zarr", "--export", "x.txt"], "error: x.txt: expected the name of an .npz file"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(folder, extract, tmp_path, monkeypatch, arguments, line):
    monkeypatch.chdir(tmp_path)
    code, out, err = extract(*[folder if part == "FOLDER" else part for part in arguments])
    assert (code, out) == (2, "")
    assert err.startswith(line)
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_help_teaches(extract):
    code, out, _ = extract("--help")
    assert code == 0
    assert "Interrupted runs resume with the same command" in " ".join(out.replace("│", " ").split())
