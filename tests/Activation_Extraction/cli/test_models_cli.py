"""Guards `interpscore models`: what it lists, fetches and checks, and that errors are one line with exit code 2."""

import contextlib
import functools
import hashlib
import io
import os
import pickle
from dataclasses import dataclass, replace
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from Activation_Extraction.base.commands import run
from Activation_Extraction.cli import models as cli
from Activation_Extraction.cli.models import models_app
from Activation_Extraction.models import registry
from Activation_Extraction.models.registry import ModelSpec, available_models, load_model
from Activation_Extraction.models.weights import cache as weights
from Activation_Extraction.models.weights import known
from Activation_Extraction.models.weights.cache import cache_path
from Activation_Extraction.models.weights.known import WeightsFile
from tests.Activation_Extraction.local_server import serving

ROOT = Path(cli.__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str


def models(*arguments):
    """Run `interpscore models` in this process; any exception but the exit passes through."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stopped:
        run(models_app, [str(argument) for argument in arguments])
    return Outcome(stopped.value.code, out.getvalue(), err.getvalue())


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *_):
        pass


@pytest.fixture
def shelf(tmp_path):
    """A folder that a real server serves, and its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    with serving(functools.partial(Quiet, directory=folder)) as address:
        yield folder, address


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own; proxies do not stand between the command and its server."""
    monkeypatch.setenv("INTERPSCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def net(shelf, monkeypatch):
    """A registered model, "net", whose weights the server has."""
    folder, address = shelf
    save_file({"a": torch.arange(6.0)}, folder / "net.safetensors")
    digest = hashlib.sha256((folder / "net.safetensors").read_bytes()).hexdigest()
    url = (f"{address}/net.safetensors",)
    file = WeightsFile("net.safetensors", url, digest, None, "safetensors", "a test", "net", "shelf")
    return with_file(monkeypatch, file)


def with_file(monkeypatch, file):
    def load(*_):
        raise AssertionError("the model was loaded")

    monkeypatch.setitem(registry._registered, "net", ModelSpec("net", "a test", load, (file,)))
    return file


def row(outcome, name):
    return next(line for line in outcome.out.splitlines() if line.split()[0] == name)


def test_every_model_is_listed_with_the_state_of_its_weights(net):
    listed = models("list")
    assert (listed.code, listed.err) == (0, "")
    assert [line.split()[0] for line in listed.out.splitlines()[1:]] == list(available_models())
    assert "embedded" in row(listed, "clip-mini")
    assert "to download: huggingface, openai, tensorflow" in row(listed, "clip-rn50x4")
    assert "to download: shelf" in row(listed, "net")
    models("download", "net")
    assert "here: shelf" in row(models("list"), "net")
    cache_path(net).write_bytes(b"damaged")
    assert "damaged: shelf" in row(models("list"), "net")


@pytest.mark.slow
def test_layers_of_clip_are_listed_with_shapes_and_other_names_without_weights():
    listed = models("layers", "clip")
    assert (listed.code, listed.err) == (0, "")
    assert row(listed, "layer4.5").split() == ["layer4.5", "2560×9×9", "image_block_4/5/Relu_2"]
    assert row(listed, "layer4").split() == ["layer4", "2560×9×9", "block_4"]
    assert row(listed, "attnpool").split()[:2] == ["attnpool", "640"]


def test_layers_without_weights_are_those_of_the_loaded_network():
    model = load_model("clip-mini", weights="random")
    expected = [(layer.name, "×".join(map(str, layer.shape[1:]))) for layer in model.layers.listing(model.example())]
    for arguments in (("clip-mini",), ("clip-mini", "--weights", "random")):
        lines = models("layers", *arguments).out.splitlines()[1:]
        assert [tuple(line.split()[:2]) for line in lines] == expected


def test_weights_that_are_not_here_are_told_with_what_to_fetch():
    outcome = models("layers", "clip-rn50x4", "--weights", "tensorflow")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "interpscore models download clip-rn50x4 --source tensorflow" in outcome.err
    assert "image32.pb" in outcome.err


@pytest.mark.parametrize("command", ["layers", "download"])
def test_unknown_model_is_answered_with_the_nearest(command):
    outcome = models(command, "clip-rn50x5")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: no model 'clip-rn50x5'; nearest: clip-rn50x4")


def test_download_tells_where_the_file_is(net):
    outcome = models("download", "net")
    assert outcome.code == 0
    assert outcome.out == f"{cache_path(net)}: a test\n"
    assert outcome.err.splitlines()[-1] == "net.safetensors: 0.0 of 0.0 MB, 100%"
    again = models("download", "net")
    assert (again.code, again.out, again.err) == (0, outcome.out, "")


def test_quiet_download_says_nothing(net):
    outcome = models("download", "net", "--quiet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert cache_path(net).is_file()


def test_download_brings_the_merges_of_the_tokenizer_too(net, shelf, monkeypatch):
    folder, address = shelf
    (folder / "merges").write_bytes(b"merges")
    merges = WeightsFile(
        "merges", (f"{address}/merges",), hashlib.sha256(b"merges").hexdigest(), 6, "vocabulary", "merges"
    )
    monkeypatch.setattr(known, "VOCABULARY", merges)
    monkeypatch.setitem(registry._OURS, "clip-rn50", replace(registry._OURS["clip-rn50"], files=(net,)))
    outcome = models("download", "clip-rn50", "--quiet")
    assert (outcome.code, outcome.err) == (0, "")
    assert cache_path(merges).read_bytes() == b"merges"
    assert cache_path(net).is_file()


def test_download_to_a_folder(net, tmp_path):
    (tmp_path / "stick").mkdir()
    assert models("download", "net", "--to", tmp_path / "stick").code == 0
    assert os.listdir(tmp_path / "stick") == ["net.safetensors"]
    outcome = models("download", "net", "--to", tmp_path / "nowhere")
    assert (outcome.code, outcome.err) == (
        2,
        f"error: --to {tmp_path / 'nowhere'}: no such folder; expected an existing folder\n",
    )


def test_hash_that_nobody_publishes_is_noted_in_plain_words(net, monkeypatch):
    file = with_file(monkeypatch, replace(net, sha256=None, kind="frozen_graph"))
    first, again = models("download", "net"), models("download", "net")
    assert f"no SHA-256 is published for net.safetensors; {net.sha256} of this first download is recorded" in first.err
    assert "noted" not in again.err
    cache_path(file).unlink()
    stated = models("download", "net", "--sha256", "0" * 64)
    assert stated.code == 2
    assert f"expected {net.sha256}" in stated.err


def test_stated_hash_is_checked(net, monkeypatch):
    with_file(monkeypatch, replace(net, sha256=None, kind="frozen_graph"))
    monkeypatch.setattr(weights, "WAITS", ())
    wrong = models("download", "net", "--sha256", "0" * 64, "--quiet")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert f"expected {'0' * 64}" in wrong.err
    right = models("download", "net", "--sha256", net.sha256, "--quiet")
    assert (right.code, right.err) == (0, "")


def test_failed_download_is_one_line_with_what_to_do(net, shelf):
    (shelf[0] / "net.safetensors").unlink()
    outcome = models("download", "net")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "answered 404" in outcome.err
    assert f"put it at {cache_path(net)}" in outcome.err


def test_source_that_a_model_lacks_is_answered_with_those_it_has():
    outcome = models("download", "clip-rn50", "--source", "tensorflow")
    assert (outcome.code, outcome.err) == (
        2,
        "error: --source tensorflow: not for clip-rn50; expected openai\n",
    )


def test_embedded_model_needs_no_download():
    for command in ("download", "check"):
        outcome = models(command, "clip-mini")
        assert (outcome.code, outcome.err) == (0, "")
        assert "clip-mini comes with its package" in outcome.out


def test_interrupted_download_says_that_it_can_go_on(net, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(weights, "download", interrupted)
    outcome = models("download", "net")
    assert outcome.code == 130
    assert outcome.err.strip() == "stopped; the same command resumes"


def test_check_tells_whole_missing_and_damaged_weights_apart(net):
    missing = models("check", "net")
    assert missing.code == 1
    assert missing.out.startswith("net.safetensors: not on this machine; fetch http://127.0.0.1")
    models("download", "net")
    whole = models("check", "net")
    assert (whole.code, whole.out) == (0, f"{cache_path(net)}: intact, SHA-256 {net.sha256}\n")
    path = cache_path(net)
    stat = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # even where size and time tell nothing
    damaged = models("check", "net")
    assert (damaged.code, damaged.err.count("\n")) == (2, 1)
    assert f"expected {net.sha256}" in damaged.err


def test_merges_alone_are_not_the_weights_of_a_model(net, shelf, monkeypatch):
    monkeypatch.setitem(registry._OURS, "clip-rn50", replace(registry._OURS["clip-rn50"], files=(net,)))
    merges = replace(net, name="merges", kind="vocabulary")
    monkeypatch.setattr(known, "VOCABULARY", merges)
    cache_path(merges).parent.mkdir(parents=True)
    cache_path(merges).write_bytes((shelf[0] / "net.safetensors").read_bytes())
    assert models("check", "vocabulary").code == 0
    assert models("check", "clip-rn50").code == 1


def test_check_of_a_path_says_what_it_is(net, shelf):
    path = shelf[0] / "net.safetensors"
    outcome = models("check", path, "--sha256", net.sha256)
    expected = f"{path}: 6 numbers in tensors: 1; not a known file; SHA-256 {net.sha256}\n"
    assert (outcome.code, outcome.out) == (0, expected)
    assert models("check", path, "--sha256", "0" * 64).code == 2


class Payload:
    """What a hostile pickle holds: reading it leaves a file behind."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return (open, (str(self.witness), "w"))


def test_check_refuses_a_pickle_and_does_not_run_it(tmp_path):
    path, witness = tmp_path / "RN50x4.pt", tmp_path / "witness"
    path.write_bytes(pickle.dumps(Payload(witness)))
    outcome = models("check", path)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "a Python pickle, which can run code" in outcome.err
    assert not witness.exists()


def test_check_reads_a_frozen_graph(tmp_path):
    path = tmp_path / "graph.pb"
    node = b"\x0a\x01x" + b"\x12\x0bPlaceholder"
    path.write_bytes(b"\x0a" + bytes([len(node)]) + node)
    outcome = models("check", path)
    assert (outcome.code, outcome.err) == (0, "")
    assert "a TensorFlow graph of 1 nodes" in outcome.out
