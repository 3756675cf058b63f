"""Guards extraction into a store: rows match whatever the order, the batches, the shards, the broken files, the kills."""

import filecmp
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from Activation_Extraction.base.errors import InputError, OutputError
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.extract_full_layer_activations import extract_full_layer_activations
from Activation_Extraction.images.sets import image_set
from Activation_Extraction.models.adapters import from_module
from Activation_Extraction.store.reader import ActivationStore

pytestmark = pytest.mark.usefixtures("decoding_here")
SIDE = 12
COUNT = 23
BROKEN = {"cut.png": b"\x89PNG\r\n\x1a\n", "empty.png": b"", "text.png": b"not an image at all"}


class Whole(nn.Module):
    """Weights and pixels are small whole numbers, so every sum is exact and does not depend on the batch."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 9, 3, stride=2, bias=False)
        self.relu = nn.ReLU()
        self.second = nn.Conv2d(9, 5, 2, bias=False)
        generator = torch.Generator().manual_seed(0)
        for conv in (self.first, self.second):
            conv.weight.data = torch.randint(-2, 3, conv.weight.shape, generator=generator).float()

    def forward(self, x_NCHW):
        return self.second(self.relu(self.first(x_NCHW)))


@cache
def whole():
    return from_module(Whole(), ImageInput(SIDE, value_range="0-255", preset="published"), name="whole")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for i in range(COUNT):
        Image.fromarray(generator.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(folder / f"{i:02d}.png")
    for name, content in BROKEN.items():
        (folder / name).write_bytes(content)
    return folder


def expected(paths, layer="second"):
    """Spatial means by the network itself, one image at a time; NaN for what is broken."""
    rows = []
    for path in paths:
        if path.name in BROKEN:
            rows.append(np.full(5 if layer == "second" else 9, np.nan))
            continue
        x_NCHW = torch.from_numpy(np.asarray(Image.open(path)).transpose(2, 0, 1)[None].astype(np.float32))
        a = whole().module.first(x_NCHW)
        a = whole().module.second(a.relu()) if layer == "second" else a
        rows.append(a.double().mean((0, 2, 3)).numpy())
    return np.array(rows)


def extract(images, output, layers=("second",), **options):
    options = {"backend": "eager", "batch_size": 4, "shard_rows": 8, "workers": 1, "progress": False, **options}
    return extract_full_layer_activations(images, list(layers), output, whole(), **options)


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """A store of the folder, which no test changes."""
    return extract(folder, tmp_path_factory.mktemp("finished") / "a.zarr").store


def same_bytes(one: Path, other: Path) -> bool:
    def files(root):
        found = {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
        return {path for path in found if path.name not in ("history.json", ".lock")}

    return files(one) == files(other) and all(filecmp.cmp(one / p, other / p, shallow=False) for p in files(one))


@pytest.mark.parametrize(
    "where", ["here", pytest.param("in processes", marks=[pytest.mark.slow, pytest.mark.decoding_processes])]
)
@settings(max_examples=4)
@given(data=st.data())
def test_rows_match_in_any_order_with_duplicates_broken_images_and_any_batches_and_shards(
    folder, tmp_path_factory, where, data
):
    names = [*(f"{i:02d}.png" for i in range(COUNT)), *BROKEN]
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=40).filter(lambda c: set(c) - set(BROKEN)))
    options = {
        "batch_size": data.draw(st.integers(1, 9)),
        "shard_rows": data.draw(st.integers(1, 20)),
        "workers": data.draw(st.integers(1, 2)),
        "top_k": data.draw(st.integers(1, 5)),
    }
    paths = [folder / name for name in chosen]
    report = extract(paths, tmp_path_factory.mktemp("out") / "a.zarr", ["second", "first"], **options)
    store = report.store
    assert store.images["image"].tolist() == chosen
    assert (store.images["error"] != "").tolist() == [name in BROKEN for name in chosen]
    assert len(report.unreadable) == sum(name in BROKEN for name in chosen)
    for layer in ("first", "second"):
        truth = expected(paths, layer)
        found = store.units(layer, range(truth.shape[1]))
        rounding = 1e-6 * np.nanmax(abs(truth))  # float32 terms of either sign may sum to almost nothing
        np.testing.assert_allclose(found, truth, rtol=0, atol=rounding)
        statistics = store.statistics(layer)
        np.testing.assert_allclose(statistics.mean_U, np.nanmean(truth, 0), rtol=0, atol=rounding)
        for unit in range(truth.shape[1]):
            order = [i for i in np.argsort(-found[:, unit], kind="stable") if chosen[i] not in BROKEN]
            top = statistics.top_image_UK[unit]
            assert top[top >= 0].tolist() == order[: options["top_k"]]


def test_the_result_does_not_depend_on_batch_or_shard_size(folder, tmp_path):
    stores = [
        extract(folder, tmp_path / f"{batch}-{rows}.zarr", batch_size=batch, shard_rows=rows).store
        for batch, rows in ((1, 3), (5, 16), (32, 2))
    ]
    first = stores[0].units("second", range(5))
    for store in stores[1:]:
        np.testing.assert_array_equal(store.units("second", range(5)), first)
        np.testing.assert_array_equal(
            store.statistics("second").top_image_UK, stores[0].statistics("second").top_image_UK
        )


@pytest.mark.slow
def test_each_pooling_keeps_what_it_says(folder, tmp_path):
    maps = extract(folder, tmp_path / "none.zarr", pooling="none").store
    assert maps.shapes == {"second": (5, 4, 4)}
    a_NUyx = maps.rows("second", range(len(maps)))
    for pooling, pooled in (("mean", a_NUyx.mean((2, 3))), ("max", a_NUyx.max((2, 3)))):
        store = extract(folder, tmp_path / f"{pooling}.zarr", pooling=pooling).store
        np.testing.assert_allclose(store.units("second", range(5)), pooled, rtol=1e-6)


def test_public_name_stays_the_function_after_its_module_was_imported():
    import Activation_Extraction

    assert Activation_Extraction.extract_full_layer_activations is extract_full_layer_activations


def test_two_devices_give_the_bytes_of_one(folder, tmp_path, monkeypatch):
    """With two replicas on the processor: shards are handed out, and are committed in any order."""
    one = extract(folder, tmp_path / "one.zarr", shard_rows=2)
    monkeypatch.setattr(
        sys.modules[extract_full_layer_activations.__module__], "_replicas", lambda *given: [whole(), whole()]
    )
    two = extract(folder, tmp_path / "two.zarr", shard_rows=2)
    assert same_bytes(one.store.path, two.store.path)


def test_a_complete_store_is_left_as_it_is(folder, tmp_path):
    first = extract(folder, tmp_path / "a.zarr")
    before = {path: path.stat().st_mtime_ns for path in first.store.path.rglob("*")}
    again = extract(folder, tmp_path / "a.zarr")
    assert (first.computed, again.computed) == (COUNT + len(BROKEN), 0)
    assert again.unreadable == first.unreadable
    assert {path: path.stat().st_mtime_ns for path in first.store.path.rglob("*")} == before


def test_goes_on_after_an_error_in_the_middle_to_the_same_bytes(folder, finished, tmp_path, monkeypatch):
    from Activation_Extraction.store.writer import StoreWriter

    commit, calls = StoreWriter.commit, []

    def failing(self, *arguments):
        calls.append(1)
        if len(calls) in (2, 3):
            raise OutputError("the disk is full")
        commit(self, *arguments)

    monkeypatch.setattr(StoreWriter, "commit", failing)
    for _ in range(2):
        with pytest.raises(OutputError, match="the disk is full"):
            extract(folder, tmp_path / "broken.zarr")
    assert ActivationStore.open(tmp_path / "broken.zarr").missing_shards()
    report = extract(folder, tmp_path / "broken.zarr")
    assert report.computed < COUNT + len(BROKEN)
    assert same_bytes(finished.path, tmp_path / "broken.zarr")


def test_goes_on_with_the_batch_size_the_store_was_begun_with(folder, tmp_path, monkeypatch):
    from Activation_Extraction.store.writer import StoreWriter

    commit = StoreWriter.commit
    monkeypatch.setattr(StoreWriter, "commit", lambda self, *given: (_ for _ in ()).throw(OutputError("no")))
    with pytest.raises(OutputError):
        extract(folder, tmp_path / "a.zarr", batch_size=3)
    monkeypatch.setattr(StoreWriter, "commit", commit)
    assert extract(folder, tmp_path / "a.zarr", batch_size=None).batch_size == 3


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"pooling": "max"}, "holds pooling 'mean'; asked for 'max'"),
        ({"precision": "bf16"}, "holds precision 'fp32'; asked for 'bf16'"),
        ({"batch_size": 5}, "holds batch_size '4'; asked for '5'"),
        ({"preprocessing": "clip"}, "holds preprocessing 'published'; asked for 'clip'"),
        ({"layers": ["first"]}, "holds the layers second; asked for first"),
        ({"top_k": 7}, "holds top_k '100'; asked for '7'"),
    ],
)
def test_a_store_of_something_else_is_refused_with_the_difference(folder, finished, changed, line):
    with pytest.raises(InputError) as refused:
        extract(folder, finished.path, **changed)
    assert refused.value.problems[0] == f"{finished.path}: {line}"


def test_a_store_of_other_images_is_refused(folder, finished):
    with pytest.raises(InputError, match=r"25 of the images are gone: .01.png., "):
        extract([folder / "00.png"], finished.path)


def test_a_store_of_another_network_is_refused(folder, finished):
    other = from_module(Whole(), whole().image_input, name="whole")
    other.module.first.weight.data += 1
    other = from_module(other.module, whole().image_input, name="whole")
    with pytest.raises(InputError, match=r"holds provenance\.state_sha256"):
        extract_full_layer_activations(folder, "second", finished.path, other, batch_size=4, progress=False)


@pytest.mark.parametrize(
    "provenance",
    [
        {"format": "frozen graph", "path": "/there", "sha256": "ab"},
        {"model": "another", "rows": "0", "layers": "none", "shard_rows": "0"},
        {"version": "2", "layer": "last", "images": "others", "pooling": "max", "unit": "kg"},
    ],
)
def test_what_a_model_says_of_its_origin_replaces_nothing_that_a_store_says(folder, finished, tmp_path, provenance):
    model = from_module(Whole(), whole().image_input, name="whole", provenance=provenance)
    options = {"backend": "eager", "batch_size": 4, "shard_rows": 8, "workers": 1, "progress": False}
    store = extract_full_layer_activations(folder, ["second"], tmp_path / "a.zarr", model, **options).store
    assert provenance.items() <= store.identity["provenance"].items()
    assert {**store.identity, "provenance": 0} == {**finished.identity, "provenance": 0}
    attributes = store.dataset("second").attrs
    assert {f"model_{name}": value for name, value in provenance.items()}.items() <= attributes.items()
    assert (attributes["model"], attributes["layer"]) == ("whole", "second")
    again = extract_full_layer_activations(folder, ["second"], tmp_path / "a.zarr", model, **options)
    assert again.computed == 0


def test_only_broken_images_are_an_error(tmp_path):
    for name, content in BROKEN.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"none of the 3 images could be read: .*cut\.png"):
        extract(tmp_path, tmp_path / "a.zarr")


@pytest.mark.decoding_processes
def test_a_folder_that_goes_away_stops_the_run_and_the_store_goes_on_when_it_is_back(folder, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(folder, images)
    whole = extract(images, tmp_path / "whole.zarr").store.path
    listed = image_set(images)
    images.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="images"):
        extract(listed, tmp_path / "a.zarr")
    assert len(ActivationStore.open(tmp_path / "a.zarr").missing_shards()) == 4
    (tmp_path / "elsewhere").rename(images)
    extract(images, tmp_path / "a.zarr")
    assert same_bytes(whole, tmp_path / "a.zarr")


def test_a_loaded_model_takes_no_options_of_loading(folder, tmp_path):
    with pytest.raises(InputError, match="threads: found with a model that is loaded already"):
        extract(folder, tmp_path / "a.zarr", threads=1)


# The command, stopped -----------------------------------------------------------------------------------------------

COMMAND = [sys.executable, "-c", "from Activation_Extraction.base.start import main; main()", "extract"]
OPTIONS = [
    "--model",
    "clip-mini",
    "--layer",
    "block_4",
    "--layer",
    "layer3.1",
    "--backend",
    "eager",
    "--batch-size",
    "4",
    "--shard-rows",
    "16",
]


def command(*arguments, **options):
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments), *OPTIONS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(1)
    for i in range(count):
        low = generator.integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(low).resize((160, 120), Image.Resampling.BICUBIC).save(folder / f"{i:04d}.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


@pytest.mark.slow
def test_interrupted_by_the_keyboard_it_says_so_and_keeps_what_is_done(tmp_path):
    images = pictures(tmp_path / "images", 60)
    running = command(images, "-o", tmp_path / "a.zarr")
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("a.zarr/manifest/*.json")) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate()
    assert running.returncode == 130, errors
    assert errors.strip().splitlines() == ["stopped; the same command resumes"]
    assert ActivationStore.open(tmp_path / "a.zarr").missing_shards()


def mounted(folder: Path, size: str) -> bool:
    folder.mkdir()
    return subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True
    ).returncode == 0  # fmt: skip


def test_a_full_disk_is_one_clear_line_and_the_store_goes_on_with_more_room(folder, tmp_path):
    disk = tmp_path / "disk"
    if not mounted(disk, "64k"):
        pytest.skip("mounting a small disk is not permitted here")
    try:
        options = {"pooling": "none", "layers": ["first"], "shard_rows": 4, "top_k": 2}
        with pytest.raises(OutputError) as full:
            extract(folder, disk / "a.zarr", **options)
        assert "No space left on device" in str(full.value)
        assert "\n" not in str(full.value)
        assert ActivationStore.open(disk / "a.zarr").missing_shards()
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        extract(folder, disk / "a.zarr", **options)
        whole = extract(folder, tmp_path / "whole.zarr", **options).store.path
        assert same_bytes(whole, disk / "a.zarr")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_target_that_cannot_be_written_is_one_clear_line(folder, tmp_path):
    with pytest.raises(OutputError, match=r"the folder .*nowhere does not exist"):
        extract(folder, tmp_path / "nowhere" / "a.zarr")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        extract(folder, tmp_path / "file")
    with pytest.raises(InputError, match="is no activation store, and not empty"):
        extract(folder, folder)
