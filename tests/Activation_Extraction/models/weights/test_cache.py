"""Guards weights: the table, a cache that holds only what it should, and reading that runs nothing."""

import contextlib
import hashlib
import io
import pickle
import sys
import zipfile
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.models.weights import cache as weights
from Activation_Extraction.models.weights.cache import cache_folder, cache_path, find_weights, read_state_dict
from Activation_Extraction.models.weights.known import VOCABULARY, WEIGHTS, WeightsFile


def sha(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("INTERPSCORE_CACHE", str(tmp_path / "cache"))


def wanted(*urls, content=b"", **changes):
    given = {"name": "net.bin", "sha256": sha(content), "bytes": None, "kind": "safetensors", "about": "a test"}
    return WeightsFile(urls=urls, **{**given, **changes})


def test_cache_folder_is_where_the_documentation_says(monkeypatch, tmp_path):
    monkeypatch.setenv("INTERPSCORE_CACHE", str(tmp_path / "a"))
    assert cache_folder() == tmp_path / "a"
    monkeypatch.delenv("INTERPSCORE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_folder() == tmp_path / "b" / "interpscore"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "interpscore"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a\\b", "x" * 101, "a\n"])
def test_name_that_could_leave_the_cache_is_refused(name):
    with pytest.raises(InputError, match="expected a plain file name"):
        wanted("http://a.example/", name=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "abc"}, "expected 64 hexadecimal digits"),
        ({"sha256": None, "kind": "torchscript"}, "TorchScript can run code"),
        ({"urls": ("file:///etc/passwd",)}, "expected http:// or https://"),
    ],
)
def test_weights_file_that_could_not_be_checked_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        replace(wanted("http://a.example/"), **changes)


def test_hashes_of_the_archives_are_those_in_their_addresses():
    archives = [file for file in WEIGHTS.values() if file.kind == "torchscript"]
    assert len(archives) == 5
    assert all(file.urls[0].split("/")[-2] == file.sha256 for file in archives)


def test_every_known_file_is_fetched_over_https_under_a_name_of_its_own():
    assert all(url.startswith("https://") for file in WEIGHTS.values() for url in file.urls)
    assert len({cache_path(file) for file in WEIGHTS.values()}) == len(WEIGHTS)


def package_with(tmp_path, monkeypatch, content):
    package = tmp_path / "site" / "open_clip"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / VOCABULARY.name).write_bytes(content)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "open_clip", raising=False)
    return package / VOCABULARY.name


def test_vocabulary_is_found_in_an_installed_package_that_is_not_imported(tmp_path, monkeypatch):
    file = replace(VOCABULARY, sha256=sha(b"merges"), packages=("no_such_package", "open_clip"))
    path = package_with(tmp_path, monkeypatch, b"merges")
    assert find_weights(file) == path
    assert "open_clip" not in sys.modules


def test_another_vocabulary_in_a_package_is_passed_over(tmp_path, monkeypatch):
    package_with(tmp_path, monkeypatch, b"other merges")
    assert find_weights(replace(VOCABULARY, packages=("open_clip",))) is None


class Payload:
    """What a hostile pickle holds: reading it leaves a file behind."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return (open, (str(self.witness), "w"))


class Net(torch.nn.Module):
    """What OpenAI's archives look like: half-precision weights, and sizes among the buffers."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2).half()
        self.norm = torch.nn.BatchNorm1d(2)
        for name in ("input_resolution", "context_length", "vocab_size"):
            self.register_buffer(name, torch.tensor(7))

    def forward(self, x):
        return self.linear(x)


@pytest.fixture(scope="session")
def archive():
    """A TorchScript archive and the network it was made of."""
    import warnings

    net, buffer = Net(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(net), buffer)
    return net, buffer.getvalue()


def test_safetensors_are_read_whatever_their_name_and_halves_become_singles(tmp_path):
    tensors = {
        "half": torch.randn(3, 4).half(),
        "brain": torch.randn(5).bfloat16(),
        "single": torch.randn(2),
        "double": torch.randn(2).double(),
        "count": torch.tensor(3),
        "empty": torch.empty(0, 4),
    }
    path = tmp_path / "weights.pt"
    save_file(tensors, path)
    state = read_state_dict(path, sha256=sha(path.read_bytes()))
    assert set(state) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(state[name], tensor.to(state[name].dtype)), name
    kinds = {name: tensor.dtype for name, tensor in state.items()}
    single = torch.float32
    assert kinds == {
        "half": single, "brain": single, "single": single, "double": torch.float64, "count": torch.int64, "empty": single,
    }  # fmt: skip


def test_archive_is_read_once_its_hash_is_known(tmp_path, archive, monkeypatch):
    net, data = archive
    path = tmp_path / "RN50.pt"
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"can run code, with the unknown SHA-256 {sha(data)}"):
        read_state_dict(path)
    stated = read_state_dict(path, sha256=sha(data))
    monkeypatch.setattr(weights, "WEIGHTS", {"x": wanted("http://a.example/", content=data, kind="torchscript")})
    known = read_state_dict(path)
    expected = {name: t.float() if t.dtype == torch.float16 else t for name, t in net.state_dict().items()}
    for name in ("input_resolution", "context_length", "vocab_size"):
        del expected[name]
    for state in (stated, known):
        assert set(state) == set(expected)
        assert all(torch.equal(state[name], expected[name]) for name in expected)
        assert state["linear.weight"].dtype == torch.float32


def test_hash_of_a_file_that_is_no_archive_does_not_open_archives(tmp_path, archive, monkeypatch):
    _, data = archive
    (tmp_path / "x.pt").write_bytes(data)
    monkeypatch.setattr(weights, "WEIGHTS", {"x": wanted("http://a.example/", content=data, kind="frozen_graph")})
    with pytest.raises(InputError, match="unknown SHA-256"):
        read_state_dict(tmp_path / "x.pt")


def test_archive_with_another_hash_is_never_handed_to_torch(tmp_path, archive, monkeypatch):
    _, data = archive
    path = tmp_path / "RN50.pt"
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    def never(*_, **__):
        raise AssertionError("torch read a file whose hash had not matched")

    monkeypatch.setattr(torch.jit, "load", never)
    monkeypatch.setattr(torch, "load", never)
    monkeypatch.setattr(pickle, "loads", never)
    with pytest.raises(InputError, match="SHA-256"):
        read_state_dict(path, sha256=sha(data))
    with pytest.raises(InputError, match=r"SHA-256|archive"):
        read_state_dict(path)


def hostile_archive(archive, witness):
    """The archive with its pickles replaced by ones that leave a witness when they are read by Python."""
    _, data = archive
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, pickle.dumps(Payload(witness)) if name.endswith(".pkl") else old.read(name))
    return out.getvalue()


def test_hostile_archive_is_refused_and_its_payload_does_not_run(tmp_path, archive):
    witness, path = tmp_path / "witness", tmp_path / "RN50x4.pt"
    data = hostile_archive(archive, witness)
    path.write_bytes(data)
    for options in ({}, {"sha256": "0" * 64}, {"sha256": sha(data)}):  # even when someone states its hash
        with pytest.raises(InputError):
            read_state_dict(path, **options)
    assert not witness.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_hostile_pickle_is_refused_and_its_payload_does_not_run(tmp_path, protocol):
    witness, path = tmp_path / "witness", tmp_path / "model.safetensors"
    data = pickle.dumps(Payload(witness), protocol=protocol)
    path.write_bytes(data)
    for options in ({}, {"sha256": sha(data)}):
        with pytest.raises(InputError):
            read_state_dict(path, **options)
    assert not witness.exists()
    pickle.loads(data).close()
    assert witness.exists()  # the payload works where it is allowed to


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoint_of_torch_save_is_refused_with_a_way_out(tmp_path, zipped):
    path = tmp_path / "model.pt"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match="can run code when it is read; where you trust it, convert it"):
        read_state_dict(path, sha256=sha(path.read_bytes()))


def test_the_way_out_that_the_message_shows_works(tmp_path):
    path, new_path = tmp_path / "model.pt", tmp_path / "model.safetensors"
    torch.save({"a": torch.ones(2)}, path)
    with pytest.raises(InputError) as caught:
        read_state_dict(path)
    import safetensors.torch

    exec(
        str(caught.value).split("convert it: ")[1],
        {"safetensors": safetensors, "torch": torch, "path": path, "new_path": new_path},
    )
    assert torch.equal(read_state_dict(new_path)["a"], torch.ones(2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"GIF89a...", "starts with b'GIF89a...'"),
        (b"\x0a\x0bgraph", "starts with"),
        (b"PK\x03\x04 and nothing more", "a truncated or garbled archive"),
        ((10**9).to_bytes(8, "little") + b"{", "starts with"),
    ],
)
def test_what_is_no_checkpoint_is_one_clear_line(tmp_path, content, message):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_state_dict(path)
    assert f"{path}: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_state_dict(tmp_path / "none")
    with pytest.raises(InputError, match="is a folder"):
        read_state_dict(tmp_path)


SMALL = save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4).half()})


def test_safetensors_with_another_hash_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(SMALL)
    with pytest.raises(InputError, match=f"SHA-256 {sha(SMALL)}; expected {'0' * 64}"):
        read_state_dict(path, sha256="0" * 64)


@pytest.mark.parametrize("cut", [1, 8, 9, 40, len(SMALL) - 1])
def test_truncated_safetensors_are_refused(tmp_path, cut):
    path = tmp_path / "x.safetensors"
    path.write_bytes(SMALL[:cut])
    with pytest.raises(InputError):
        read_state_dict(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.integers(0, len(SMALL) - 1), st.integers(0, 255), min_size=1, max_size=6))
def test_garbled_safetensors_are_read_or_refused_but_never_crash(tmp_path, changes):
    data = bytearray(SMALL)
    for at, value in changes.items():
        data[at] = value
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        assert all(tensor.numel() <= len(SMALL) for tensor in read_state_dict(path).values())
