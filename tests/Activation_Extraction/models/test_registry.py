"""Models by name: loaded once and shared, reloaded when a file changes, and refused with what to do about it."""

import gc
import hashlib
import shutil
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import sleep

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from Activation_Extraction.backends.batch_sizes import largest_batch
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.models import registry
from Activation_Extraction.models.clip import CLIP, CONFIGS, CLIPConfig
from Activation_Extraction.models.layers import LayerNames
from Activation_Extraction.models.modified_resnet import ModifiedResNet
from Activation_Extraction.models.registry import (
    Model,
    ModelSpec,
    available_models,
    find_spec,
    load_model,
    register_model,
)
from Activation_Extraction.models.weights.cache import cache_path
from Activation_Extraction.models.weights.known import VOCABULARY, WEIGHTS, WeightsFile
from tests.Activation_Extraction.graph_writer import clip_image_graph


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    """A cache, models loaded and models registered of the test's own."""
    monkeypatch.setenv("INTERPSCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "_cache", {})
    monkeypatch.setattr(registry, "_registered", {})


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save(network, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    return path


def mini(seed):
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return CLIP(CONFIGS["clip-mini"])


@pytest.fixture
def weights(tmp_path):
    """A file of clip-mini's sizes."""
    return save(mini(5), tmp_path / "mini.safetensors")


def plain_spec(name="plain", load=None):
    def make(file, sha256):
        network = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU())
        return Model(name, network, network, ImageInput(8), LayerNames(network))

    return ModelSpec(name, "one convolution", load or make)


OURS = [*CONFIGS, "efficientnet-lite0"]


def refusal(*args, **options):
    with pytest.raises(InputError) as caught:
        load_model(*args, **options)
    assert all("\n" not in problem for problem in caught.value.problems)
    return caught.value.problems


# Names --------------------------------------------------------------------------------------------------------------


def test_all_sizes_are_known_with_a_line_for_people():
    known = available_models()
    assert list(known) == OURS
    assert [name for name, spec in known.items() if spec.embedded] == ["clip-mini", "efficientnet-lite0"]
    assert "2,560 units in layer4, 288 px" in known["clip-rn50x4"].about
    assert [file.source for file in known["clip-rn50x4"].files] == ["huggingface", "openai", "tensorflow"]


@pytest.mark.parametrize("name", ["clip", "clip-rn50x4", "CLIP", " Clip-RN50x4 ", "clip_rn50x4"])
def test_clip_is_rn50x4_however_it_is_written(name):
    assert find_spec(name).name == "clip-rn50x4"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("clip-rn50x5", "no model 'clip-rn50x5'; nearest: clip-rn50x4, "),
        ("clpi", "no model 'clpi'; nearest: clip"),
        ("resnet", "no model 'resnet'; "),
        ("", f"no model ''; expected one of {', '.join([*OURS, 'clip'])}"),
        (None, "no model 'None'; "),
    ],
)
def test_unknown_name_is_answered_with_the_nearest(name, said):
    (problem,) = refusal(name)
    assert problem.startswith(said)


# Loading ------------------------------------------------------------------------------------------------------------


def test_embedded_model_loads_by_default_and_works_offline():
    model = load_model()
    assert (model.name, model.device.type, model.image_input.size) == ("clip-mini", "cpu", 96)
    assert not any(module.training for module in model.module.modules())
    assert not any(p.requires_grad for p in model.module.parameters())
    assert model.provenance["weights"] == "weights.safetensors"
    assert set(model.provenance) == {"weights", "weights_sha256", "torch"}
    assert model.encode_image(model.example()).shape == (1, 128)
    assert model.encode_text(["a boat", "a house"]).shape == (2, 128)
    assert model.tokenizer.vocab_size <= CONFIGS["clip-mini"].vocab_size  # every token has a row in the embedding
    assert model.layers.resolve("image_block_4/0/Relu_2") == model.layers.resolve("visual.layer4.0") == "layer4.0"


def test_model_is_loaded_once_whatever_it_may_use():
    first = load_model("clip-mini", weights="random")
    second = load_model("CLIP-mini", weights="random", threads=1, memory_limit="1 GB", device="cpu:0")
    assert second.module is first.module
    assert (first.threads, first.memory_limit, second.threads, second.memory_limit) == (None, None, 1, 10**9)
    assert load_model("clip-mini").module is not first.module


def test_threads_that_ask_at_the_same_time_get_the_same_model():
    loads = []

    def slow(file, sha256):
        loads.append(file)
        sleep(0.1)
        network = nn.Linear(1, 1)
        return Model("slow", network, network, ImageInput(8), LayerNames(network))

    register_model(plain_spec("slow", slow))
    with ThreadPoolExecutor(4) as pool:
        modules = {id(model.module) for model in pool.map(lambda _: load_model("slow"), range(8))}
    assert (len(modules), loads) == (1, [None])


def test_registering_another_model_reloads_nothing():
    before = load_model("clip-mini", weights="random").module
    register_model(plain_spec())
    assert load_model("clip-mini", weights="random").module is before


def test_changed_file_is_loaded_anew_and_the_old_network_is_let_go(tmp_path, weights):
    first = load_model("clip-mini", weights=weights)
    assert load_model("clip-mini", weights=str(weights)).module is first.module
    assert torch.equal(first.module.visual.conv1.weight, mini(5).visual.conv1.weight)
    save(mini(6), tmp_path / "other.safetensors").replace(weights)
    second = load_model("clip-mini", weights=weights)
    assert torch.equal(second.module.visual.conv1.weight, mini(6).visual.conv1.weight)
    assert second.provenance["weights_sha256"] == sha(weights) != first.provenance["weights_sha256"]
    gone = weakref.ref(first.module)
    del first
    gc.collect()
    assert gone() is None


def test_name_registered_anew_gives_the_new_model():
    register_model(plain_spec())
    first = load_model("plain").module
    register_model(plain_spec())
    assert load_model("plain").module is not first


def test_random_weights_are_the_same_each_time_and_leave_the_callers_random_numbers_alone(monkeypatch):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = load_model("clip-mini", weights="random")
    assert torch.equal(torch.rand(2), expected)
    assert first.provenance["weights"] == "untrained, seed 0"
    monkeypatch.setattr(registry, "_cache", {})
    second = load_model("clip-mini", weights="random")
    assert second.module is not first.module
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.module.state_dict().values(), second.module.state_dict().values(), strict=True)
    )


def test_relative_and_absolute_path_are_one_file(tmp_path, monkeypatch, weights):
    monkeypatch.chdir(tmp_path)
    assert load_model("clip-mini", weights="mini.safetensors").module is load_model("clip-mini", weights=weights).module


# Weights that are wrong or missing ----------------------------------------------------------------------------------


def test_weights_of_another_size_are_named(tmp_path, weights):
    (problem,) = refusal("clip", weights=weights)
    assert problem == f"{weights}: the weights of clip-mini; expected those of clip-rn50x4"
    odd = save(CLIP(CLIPConfig(8, 64, (1, 1, 2, 1), 4, 2, 64, 1, 1, 8, 600)), tmp_path / "odd.safetensors")
    (problem,) = refusal("clip-mini", weights=odd)
    assert problem == f"{odd}: the weights of a CLIP with stages (1, 1, 2, 1), 128 units; expected those of clip-mini"


def test_weights_of_something_else_are_refused_by_file_and_tensor(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"fc.weight": torch.zeros(2, 2)}, path)
    (problem,) = refusal("clip-mini", weights=path)
    assert problem.startswith(f"{path}: no tensor 'visual.layer1.0.conv1.weight' among 1; expected a CLIP")


@pytest.mark.parametrize(("source", "option"), [(None, ""), ("openai", " --source openai")])
def test_missing_weights_are_answered_with_what_to_fetch_and_where_to_put_it(source, option):
    (problem,) = refusal("clip", weights=source)
    file = next(f for f in WEIGHTS.values() if f.model == "clip-rn50x4" and f.source == (source or "huggingface"))
    assert f"run `interpscore models download clip-rn50x4{option}`, or fetch {file.urls[0]} " in problem
    assert f"SHA-256 {file.sha256}" in problem
    assert f"put it at {cache_path(file)} " in problem


@pytest.mark.parametrize(
    ("wrong", "said"), [("opanai", "weights opanai: no such file; "), (".", "weights .: is a folder; ")]
)
def test_wrong_path_is_answered_with_all_that_can_be_given(wrong, said):
    (problem,) = refusal("clip", weights=wrong)
    assert problem == f"{said}expected a weights file, 'random', or one of huggingface, openai, tensorflow"


def test_missing_vocabulary_is_answered_with_what_to_fetch(monkeypatch):
    monkeypatch.setattr(registry, "find_weights", lambda file: None)
    model = replace(load_model("clip-mini", weights="random"), make_tokenizer=None)
    with pytest.raises(InputError, match="clip-mini: no text tower"):
        model.encode_text("a cat")
    monkeypatch.setitem(CONFIGS, "clip-rn50", CONFIGS["clip-mini"])  # its weights are not looked at
    large = find_spec("clip-rn50").load("random", None)
    with pytest.raises(InputError) as caught:
        large.encode_text("a cat")
    assert "clip-rn50: the vocabulary of its text tower is not on this machine; fetch " in str(caught.value)
    assert VOCABULARY.sha256 in str(caught.value)


@pytest.fixture
def known(weights):
    """A model of clip-mini's sizes with two known files, neither of which is there."""
    other = save(mini(8), weights.with_name("second.safetensors"))
    files = [
        WeightsFile(path.name, ("http://a.example/x",), sha(path), None, "safetensors", "a test", "small", source)
        for path, source in ((weights, "first"), (other, "second"))
    ]
    register_model(replace(find_spec("clip-mini"), name="small", files=tuple(files), embedded=False))
    for file in files:
        cache_path(file).parent.mkdir(parents=True, exist_ok=True)
    return files, (weights, other)


def test_weights_are_found_in_the_cache_in_order_of_preference(known):
    files, paths = known
    assert "its weights are not on this machine" in refusal("small")[0]
    cache_path(files[1]).write_bytes(paths[1].read_bytes())
    assert load_model("small").provenance["weights_sha256"] == files[1].sha256
    assert "--source first`" in refusal("small", weights="first")[0]
    cache_path(files[0]).write_bytes(paths[0].read_bytes())
    model = load_model("small")
    assert (model.name, model.provenance["weights_sha256"]) == ("small", files[0].sha256)
    assert load_model("small", weights="second").provenance["weights_sha256"] == files[1].sha256


def test_damaged_file_of_the_cache_does_not_hide_a_whole_one_of_another_source(known):
    files, (_, second) = known
    cache_path(files[0]).write_bytes(b"damaged")
    shutil.copy(second, cache_path(files[1]))
    assert load_model("small").provenance["weights_sha256"] == sha(second)


def test_damaged_file_of_the_cache_is_refused(known):
    files, paths = known
    cache_path(files[0]).write_bytes(paths[1].read_bytes())
    (problem,) = refusal("small")
    assert problem == (
        f"{cache_path(files[0])}: SHA-256 {files[1].sha256}; expected {files[0].sha256}: "
        "remove it, or download it again"
    )


# SHA-256 ------------------------------------------------------------------------------------------------------------


def test_right_hash_loads_in_any_case_and_shares(weights):
    first = load_model("clip-mini", weights=weights)
    assert load_model("clip-mini", weights=weights, sha256=f" {sha(weights).upper()}\n").module is first.module


@pytest.mark.parametrize("given", ["0" * 64, "abc", ""])
def test_wrong_hash_is_refused_even_after_the_file_was_loaded(weights, given):
    load_model("clip-mini", weights=weights)
    load_model("clip-mini", weights=weights, sha256=sha(weights))
    assert refusal("clip-mini", weights=weights, sha256=given) == [
        f"{weights}: SHA-256 {sha(weights)}; expected {given}"
    ]


@pytest.mark.parametrize("name", ["garbled.safetensors", "garbled.pb"])
def test_hash_is_checked_before_anything_is_parsed(tmp_path, weights, name):
    path = tmp_path / name
    path.write_bytes(weights.read_bytes()[:5000])
    (problem,) = refusal("clip-mini", weights=path, sha256="0" * 64)
    assert (sha(path) in problem, "0" * 64 in problem) == (True, True)
    (problem,) = refusal("clip-mini", weights=path, sha256=sha(path))
    assert sha(path) not in problem


def test_hash_is_checked_for_embedded_weights_and_refused_without_any(weights):
    digest = load_model("clip-mini").provenance["weights_sha256"]
    assert load_model("clip-mini", sha256=digest).module is load_model("clip-mini").module
    assert f"SHA-256 {digest}; expected {sha(weights)}" in refusal("clip-mini", sha256=sha(weights))[0]
    (problem,) = refusal("clip-mini", weights="random", sha256=digest)
    assert problem.endswith("with random weights; expected a weights file")


def test_archive_that_can_run_code_loads_only_with_its_hash(tmp_path):
    network, path = mini(7).eval(), tmp_path / "archive.pt"
    x, tokens = torch.zeros(1, 3, 96, 96), torch.ones(1, 32, dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the format and of tracing
        torch.jit.save(torch.jit.trace(network, (x, tokens), check_trace=False), path)
    (problem,) = refusal("clip-mini", weights=path)
    assert "can run code" in problem
    assert sha(path) in problem
    model = load_model("clip-mini", weights=path, sha256=sha(path))
    with torch.inference_mode():
        assert torch.equal(model.encode_image(x + 1), network.encode_image(x + 1))


# Models of others ---------------------------------------------------------------------------------------------------


def test_registered_model_is_known_loads_and_is_suggested():
    register_model(plain_spec("my-net"))
    assert list(available_models())[-1] == "my-net"
    model = load_model("My_Net", threads=1)
    assert (model.name, model.threads, list(model.provenance)) == ("my-net", 1, ["torch"])
    assert not any(p.requires_grad for p in model.module.parameters())
    assert refusal("my-nett")[0].endswith("nearest: my-net")


@pytest.mark.parametrize("name", ["clip", "clip-rn50x4", "clip-mini", "My-Net", "my_net", " my-net"])
def test_names_that_are_taken_or_could_not_be_found_again_are_refused(name):
    with pytest.raises(InputError, match=f"register_model: the name '{name}'"):
        register_model(plain_spec(name))
    assert list(available_models()) == OURS


PACKAGE = """
from torch import nn
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.models.layers import LayerNames
from Activation_Extraction.models.registry import Model, ModelSpec

def load(file, sha256):
    network = nn.Conv2d(3, 4, 1)
    return Model("theirs", network, network, ImageInput(16), LayerNames(network))

spec = ModelSpec("theirs", "of another package", load)
ours = ModelSpec("clip-mini", "in disguise", load)
number = 5
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package that offers an object as a model."""

    def install(entry):
        folder = tmp_path / "site"
        info = folder / "plugged-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / "plugged_models.py").write_text(PACKAGE)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[interpscore.models]\nnet = {entry}\n")
        monkeypatch.syspath_prepend(folder)

    return install


def test_model_of_an_installed_package_is_known(package):
    package("plugged_models:spec")
    assert set(available_models()) == {*OURS, "theirs"}
    assert load_model("theirs").encode_image(torch.zeros(2, 3, 16, 16)).shape == (2, 4, 16, 16)


def test_package_cannot_take_the_name_of_a_model_of_ours(package):
    package("plugged_models:ours")
    assert list(available_models()) == OURS
    assert available_models()["clip-mini"].embedded
    assert isinstance(load_model("clip-mini", weights="random").module, CLIP)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("plugged_models:number", "int; expected a ModelSpec"),
        ("plugged_models:nothing", "cannot be imported ("),
        ("no_such_module:spec", "cannot be imported (No module named 'no_such_module')"),
    ],
)
def test_broken_package_is_named_and_leaves_our_models_alone(package, entry, said):
    package(entry)
    with pytest.raises(InputError) as caught:
        available_models()
    assert caught.value.problems[0].startswith(f"entry point net ({entry}): ")
    assert said in caught.value.problems[0]
    assert load_model("clip-mini", weights="random").name == "clip-mini"


# What a model may use -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "cuda:99"}, "device: found 'cuda:99'; expected one of this machine: cpu"),
        ({"device": "gpu"}, "device: found 'gpu'; expected one of this machine: cpu"),
        ({"threads": 0}, "threads: found '0'; expected a whole number of at least 1"),
        ({"threads": "2"}, "threads: found '2'; expected a whole number of at least 1"),
        ({"threads": 1.5}, "threads: found '1.5'; expected a whole number of at least 1"),
        ({"memory_limit": "lots"}, "memory limit: found 'lots'; expected bytes, or a size"),
        ({"memory_limit": "1 kB"}, "clip-mini: the weights take "),
    ],
)
def test_what_cannot_be_had_is_refused(options, said):
    (problem,) = refusal("clip-mini", weights="random", **options)
    assert problem.startswith(said)


def test_file_larger_than_the_memory_limit_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.truncate(10**12)
    (problem,) = refusal("clip-mini", weights=path, memory_limit="2 GB")
    assert problem == f"{path}: the weights take 1,000,000,000,000 bytes; the memory limit is 2,000,000,000"


def test_threads_are_given_back_after_use_and_after_an_error():
    inside, before = [], torch.get_num_threads()
    model = load_model("clip-mini", weights="random", threads=before + 1)
    handle = model.image_tower.register_forward_pre_hook(lambda module, inputs: inside.append(torch.get_num_threads()))
    model.encode_image(model.example())
    with pytest.raises(RuntimeError):
        model.encode_image(torch.zeros(1, 4, 96, 96))
    handle.remove()
    assert (inside, torch.get_num_threads()) == ([before + 1] * 2, before)


# A frozen graph -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """A small image tower for images of 288 pixels, and the file of its frozen graph."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(2)
        tower = ModifiedResNet((1, 1, 1, 2), 12, 4, input_resolution=288, width=24).eval()
    path = tmp_path_factory.mktemp("graph") / "image32.pb"
    state = {key: value.numpy() for key, value in tower.state_dict().items()}
    path.write_bytes(clip_image_graph(state, (1, 1, 1, 2), 4, 288, registry.CLIP_MEAN, registry.CLIP_STD))
    return tower, path


def test_frozen_graph_runs_in_the_place_of_the_image_tower(graph):
    tower, path = graph
    model = load_model("clip", weights=path, sha256=sha(path))
    assert (model.name, model.image_input.layout, model.image_input.preset) == ("clip-rn50x4", "NHWC", "published")
    assert {**model.provenance, "torch": ""} == {
        "weights": "image32.pb",
        "weights_sha256": sha(path),
        "format": "TensorFlow frozen graph",
        "embedding": "image_post/strided_slice",
        "torch": "",
    }
    images = torch.randint(0, 256, (2, 288, 288, 3), generator=torch.Generator().manual_seed(0)).float()
    prepared = (images / 255 - torch.tensor(registry.CLIP_MEAN)) / torch.tensor(registry.CLIP_STD)
    with torch.inference_mode():
        torch.testing.assert_close(model.encode_image(images), tower(prepared.movedim(3, 1)), rtol=1e-4, atol=1e-5)
    assert model.layers.resolve("layer4.1") == model.layers.resolve("block_4") == "image_block_4/1/Relu_2"
    assert model.example().shape == (1, 288, 288, 3)
    with pytest.raises(InputError, match="clip-rn50x4: no text tower with these weights"):
        model.encode_text("a cat")


def test_weights_inside_a_graph_do_not_count_as_what_an_image_needs(graph):
    tower, path = graph
    free = load_model("clip", weights=path)
    stem = 4 * 24 * 144 * 144
    assert stem < 4 * tower.attnpool.v_proj.weight.numel()
    whole = sum(t.nbytes for t in (*free.module.parameters(), *free.module.buffers()))
    model = load_model("clip", weights=path, memory_limit=whole + 5 * 6 * stem)
    assert largest_batch(model) == 5


def test_graph_that_is_none_is_refused(tmp_path):
    path = tmp_path / "image32.pb"
    path.write_bytes(b"\x89PNG\r\n")
    assert str(path) in refusal("clip", weights=path)[0]
