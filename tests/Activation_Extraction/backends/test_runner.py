"""Guards the ways to run a network: the activations of the network itself, row by row, and clear words where one cannot."""

import copy
import re
import subprocess
import sys
import threading
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from Activation_Extraction.backends import runner as backends
from Activation_Extraction.backends.batch_sizes import BATCH_SIZE, SIZES
from Activation_Extraction.backends.plain_network import PlainNetwork, running
from Activation_Extraction.backends.runner import BACKENDS, prepare_runner
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.extras import install_command
from Activation_Extraction.clip_helpers import ImageInput, network_input
from Activation_Extraction.models import resources
from Activation_Extraction.models.adapters import from_module
from Activation_Extraction.models.registry import load_model
from tests.bfloat16 import EVERY_PRECISION

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
EVERY_BACKEND = [pytest.param(name, marks=needs_openvino if name == "openvino" else ()) for name in BACKENDS]
LAYERS = ["layer2.0.conv2", "layer3", "layer4.0.add", "layer4"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Other work on the machine slows small networks down where threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    return load_model("clip-mini")


@pytest.fixture(scope="module")
def runner(model):
    return prepare_runner(model, ["layer4"], backend="eager", batch_size=5)


def pixels(count, model, seed=0):
    shape = (count, model.image_input.height, model.image_input.width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def expected(images, layer, model, pooling="mean"):
    """By the network itself, one image at a time."""
    return expected_of(images, [layer], model, pooling)[layer]


def expected_of(images, layers, model, pooling="mean"):
    """The same, of several layers at once."""
    plain = PlainNetwork(model, layers, pooling)
    with running(model):
        rows = [plain(network_input(torch.from_numpy(image[None]), model.image_input)) for image in images]
    return {layer: torch.cat(found).numpy() for layer, found in zip(layers, zip(*rows), strict=True)}


def distance(found, reference):
    """Of the farthest image, relative to the length of its activations."""
    found, reference = (a.reshape(len(a), -1).astype(np.float64) for a in (found, reference))
    return (np.linalg.norm(found - reference, axis=1) / np.linalg.norm(reference, axis=1)).max()


# What runs is the network ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", EVERY_PRECISION)
@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_every_backend_gives_the_activations_of_the_network(model, backend, precision):
    runner = prepare_runner(model, LAYERS, backend=backend, precision=precision, batch_size=3)
    images = pixels(3, model)
    found = runner(images)
    assert list(found) == LAYERS
    for layer in LAYERS:
        reference = expected(images, layer, model)
        assert found[layer].dtype == np.float32
        assert found[layer].shape[1:] == runner.shapes[layer]
        assert distance(found[layer], reference) <= (1e-5 if precision == "fp32" else 0.03)
        if precision == "bf16":
            assert not np.array_equal(found[layer], reference)


@pytest.mark.parametrize(
    ("name", "weights", "every"),
    [("clip-mini", None, 1), pytest.param("clip-rn50", "random", 5, marks=pytest.mark.slow)],
)
def test_layers_of_clip_are_those_of_the_network_to_1e_5(name, weights, every):
    # Together, and some alone, as what is folded and cut depends on what is asked for.
    network = load_model(name, weights=weights)
    images = pixels(1, network, seed=1)
    layers = [layer.name for layer in network.layers.listing(network.example()) if layer.units is not None][::every]
    reference = expected_of(images, layers, network)
    for asked in [layers, *([layer] for layer in layers[::8])]:
        found = prepare_runner(network, asked, backend="eager", batch_size=1)(images)
        for layer in asked:
            assert distance(found[layer], reference[layer]) <= 1e-5, layer


@pytest.mark.parametrize("pooling", ["mean", "max", "none"])
def test_each_pooling_is_that_of_extraction(model, pooling):
    runner = prepare_runner(model, ["layer3", "layer4.0.relu1"], pooling=pooling, backend="eager", batch_size=2)
    images = pixels(2, model)
    for layer, found in runner(images).items():
        reference = expected(images, layer, model, pooling=pooling)
        assert found.shape == reference.shape
        assert distance(found, reference) <= 1e-5
    assert runner.shapes["layer3"] == ((256, 6, 6) if pooling == "none" else (256,))


def test_layers_are_known_by_any_of_their_names_and_kept_once(model):
    runner = prepare_runner(model, ["block_4", "image_block_3/1/Relu_2", "layer4"], backend="eager", batch_size=1)
    assert list(runner.shapes) == ["layer4", "layer3.1"]


@pytest.mark.parametrize("precision", EVERY_PRECISION)
def test_model_is_left_as_it_is(model, precision):
    before = copy.deepcopy(model.module.state_dict())
    prepare_runner(model, LAYERS, backend="eager", precision=precision, batch_size=2)(pixels(2, model))
    after = model.module.state_dict()
    assert all(torch.equal(value, after[key]) and value.dtype == after[key].dtype for key, value in before.items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.module.modules())


def test_provenance_tells_what_ran(model, runner):
    norms, relus = (sum(isinstance(m, k) for m in model.image_tower.modules()) for k in (nn.BatchNorm2d, nn.ReLU))
    assert runner.provenance == {
        "backend": "eager",
        "network": f"rewritten, {norms} BatchNorms folded, {relus} ReLUs fused",
        "precision": "float32",
        "torch": torch.__version__,
    }


# Which backend ------------------------------------------------------------------------------------------------------


@needs_openvino
def test_auto_takes_openvino_where_it_runs_the_network(model):
    runner = prepare_runner(model, ["layer1"], batch_size=1)
    assert (runner.provenance["backend"], runner.provenance["network"]) == ("openvino", "converted")


@pytest.mark.parametrize("reason", ["absent", "not convertible", "too far"])
def test_auto_takes_eager_where_openvino_does_not(model, reason, monkeypatch):
    def refused(*_):
        raise InputError("the network cannot be converted")

    if reason == "absent":
        monkeypatch.setitem(sys.modules, "openvino", None)
    else:
        monkeypatch.setattr(backends, "import_openvino", lambda: torch)
        wrong = {"not convertible": refused, "too far": lambda plain, *_: lambda x: [2 * a for a in plain(x)]}
        monkeypatch.setattr(backends, "converted", wrong[reason])
    runner = prepare_runner(model, ["layer1"], batch_size=1)
    assert runner.provenance["backend"] == "eager"
    images = pixels(1, model)
    assert distance(runner(images)["layer1"], expected(images, "layer1", model)) <= 1e-5


# Rows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", EVERY_PRECISION)
@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_row_depends_neither_on_its_place_nor_on_the_other_rows(model, backend, precision):
    runner = prepare_runner(model, ["layer3.1.conv2", "layer4"], backend=backend, precision=precision, batch_size=4)
    image, others = pixels(1, model, seed=5)[0], pixels(4, model, seed=6)
    rows = []
    for place in range(4):
        for neighbours in (others, np.zeros_like(others), others[::-1]):
            batch = neighbours.copy()
            batch[place] = image
            rows.append({layer: values[place] for layer, values in runner(batch).items()})
    assert all(np.array_equal(row[layer], rows[0][layer]) for row in rows for layer in row)


@settings(max_examples=6)
@given(order=st.permutations(range(5)))
def test_any_order_of_images_gives_the_same_rows(model, runner, order):
    images = pixels(5, model, seed=7)
    assert np.array_equal(runner(images[list(order)])["layer4"], runner(images)["layer4"][list(order)])


def test_same_rows_whatever_thread_runs_them_and_however_often_it_is_prepared(model, runner):
    images, found = pixels(5, model), []
    again = prepare_runner(model, ["layer4"], backend="eager", batch_size=5)
    threads = [threading.Thread(target=lambda r=r: found.append(r(images)["layer4"])) for r in (runner, again)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(a, runner(images)["layer4"]) for a in found)


def test_read_only_pixels_are_taken(model, runner):
    images = pixels(5, model)
    images.flags.writeable = False
    runner(images)


def test_batch_of_another_size_is_an_error_of_the_caller(model, runner):
    with pytest.raises(AssertionError, match="4 images for a batch of 5"):
        runner(pixels(4, model))


# Networks of other kinds ---------------------------------------------------------------------------------------------


INPUT = ImageInput(12, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))


class Branching(nn.Module):
    """Cannot be traced symbolically."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.tokens = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 6)

    def forward(self, x):
        x = self.norm(self.conv(x))
        if x.abs().sum() < 0:
            return x
        return self.tokens(x.flatten(2).transpose(1, 2))


class Deceptive(nn.Module):
    """Traced symbolically, it does something else."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return self.conv(2 * x if isinstance(x, torch.Tensor) else x)


class Far(nn.Module):
    """What is left of it is lost in bfloat16."""

    def __init__(self):
        super().__init__()
        self.conv, self.far = nn.Conv2d(3, 8, 3), nn.Identity()

    def forward(self, x):
        return self.far((self.conv(x) + 1e4) - 1e4)


def adapted(network, **options):
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return from_module(network(), INPUT, name="a network", **options)


@pytest.mark.parametrize("precision", EVERY_PRECISION)
@pytest.mark.parametrize("backend", EVERY_BACKEND)
@pytest.mark.parametrize(("network", "layers"), [(Branching, ["norm", "tokens"]), (Deceptive, ["conv"])])
def test_network_that_cannot_be_traced_symbolically_runs_as_it_is(network, layers, backend, precision):
    model = adapted(network)
    runner = prepare_runner(model, layers, backend=backend, precision=precision, batch_size=3)
    images = pixels(3, model)
    assert runner.provenance["network"] == ("unchanged" if backend == "eager" else "converted")
    for layer, found in runner(images).items():
        assert distance(found, expected(images, layer, model)) <= (1e-6 if precision == "fp32" else 0.03)


def test_floats_of_a_model_s_own_transform_go_in_as_they_are():
    def transform(image):
        return torch.from_numpy(np.asarray(image.resize((12, 12)), np.float32)).permute(2, 0, 1) / 255

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = from_module(Branching(), transform, name="own")
    image = Image.fromarray(pixels(1, model)[0])
    floats = np.stack([transform(image).numpy(), np.zeros((3, 12, 12), np.float32)])
    found = prepare_runner(model, ["tokens"], backend="eager", batch_size=2)(floats)["tokens"]
    with torch.no_grad():
        assert distance(found[:1], model.module(torch.from_numpy(floats[:1])).mean(1).numpy()) <= 1e-6


def test_weights_in_half_precision_are_recorded_as_what_they_are():
    model = adapted(lambda: nn.Sequential(ToHalf(), nn.Conv2d(3, 4, 1).half()))
    runner = prepare_runner(model, ["1"], backend="eager", batch_size=1)
    assert runner.provenance["precision"] == "float16"
    assert runner(pixels(1, model))["1"].dtype == np.float32


class ToHalf(nn.Module):
    def forward(self, x):
        return x.half()


# Batch sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "images", "size"), [(None, 100, BATCH_SIZE), (None, 3, 3), (3, 100, 3), (20, 3, 20)])
def test_batch_size_is_fixed_and_no_larger_than_there_are_images_unless_it_is_given(model, asked, images, size):
    found = prepare_runner(model, ["layer1.0.bn1"], backend="eager", batch_size=asked, images=images)
    assert found.batch_size == size


def test_batch_size_is_measured_where_that_is_asked_for(model, monkeypatch):
    sizes = []
    monkeypatch.setattr(backends, "fastest", lambda given, prepare: sizes.extend(given) or given[1])
    runner = prepare_runner(model, ["layer1.0.bn1"], backend="eager", batch_size="auto", images=10)
    assert (sizes, runner.batch_size) == ([size for size in SIZES if size <= 10], 2)


def test_batch_size_is_within_the_memory_limit():
    weights = sum(t.nbytes for t in load_model("clip-mini", weights="random").module.state_dict().values())
    one = 6 * 4 * 16 * 48 * 48
    limited = load_model("clip-mini", weights="random", memory_limit=weights + 2 * one + one // 2)
    assert prepare_runner(limited, ["layer1.0.bn1"], backend="eager").batch_size == 2
    with pytest.raises(InputError, match="one image needs about"):
        prepare_runner(limited, ["layer4"], backend="eager")  # whose rewritten network has weights of its own


# bfloat16 ---------------------------------------------------------------------------------------------------------------


class Refusing(nn.Module):
    """Fails as oneDNN does where a processor lacks an instruction."""

    def forward(self, x):
        if x.dtype == torch.bfloat16:
            raise RuntimeError("bf16 path needs the cpu support avx512bw\nand more")
        return x


@pytest.mark.parametrize("backend", ["eager", "openvino", "auto"])
def test_precision_that_the_device_has_not_is_refused_with_the_one_to_take(backend, monkeypatch):
    monkeypatch.setattr(resources, "computes_bfloat16", lambda device: False)
    with pytest.raises(
        InputError, match=r"^precision bf16: this device \(cpu .*\) has no fast bfloat16; expected precision fp32$"
    ):
        prepare_runner(adapted(Branching), ["tokens"], backend=backend, precision="bf16", batch_size=1)


def test_precision_that_the_device_has_is_taken(monkeypatch):
    monkeypatch.setattr(resources, "computes_bfloat16", lambda device: True)
    model = adapted(Branching)
    runner = prepare_runner(model, ["tokens"], backend="eager", precision="bf16", batch_size=1)
    images = pixels(1, model)
    found, reference = runner(images)["tokens"], expected(images, "tokens", model)
    assert runner.provenance["precision"] == "bfloat16"
    assert 0 < distance(found, reference) <= 0.03


def test_operation_that_the_device_has_not_after_all_is_one_line(monkeypatch):
    monkeypatch.setattr(resources, "computes_bfloat16", lambda device: True)
    model = adapted(lambda: nn.Sequential(nn.Conv2d(3, 8, 3), Refusing()))
    with pytest.raises(
        InputError, match=r"a network does not run \(bf16 path needs .*bw\); expected backend eager, precision fp32"
    ):
        prepare_runner(model, ["1"], backend="eager", precision="bf16", batch_size=1)


def test_bf16_that_is_too_far_from_the_network_is_refused(monkeypatch):
    monkeypatch.setattr(resources, "computes_bfloat16", lambda device: True)
    model = adapted(Far)
    prepare_runner(model, ["far"], backend="eager", batch_size=1)
    with pytest.raises(
        InputError, match=r"^precision bf16: activations of a network differ by \d.*from those of the network itself"
    ):
        prepare_runner(model, ["far"], backend="eager", precision="bf16", batch_size=1)


# What goes wrong --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": []}, "layers: none given; expected at least one"),
        ({"layers": ["layer9"]}, "no layer 'layer9'"),
        ({"pooling": "meen"}, r"pooling: found 'meen'; expected mean, max or none \(did you mean 'mean'\?\)"),
        ({"backend": "tensorrt"}, "backend: found 'tensorrt'; expected eager, openvino or auto"),
        ({"precision": "fp16"}, "precision: found 'fp16'; expected fp32 or bf16"),
        ({"batch_size": 0}, "batch_size: found '0'; expected a whole number of at least 1, or auto"),
        ({"batch_size": 2.5}, "batch_size: found '2.5'; expected a whole number of at least 1"),
    ],
)
def test_wrong_input_is_one_clear_line(model, options, message):
    with pytest.raises(InputError, match=f"^{message}"):
        prepare_runner(model, **{"layers": ["layer4"], **options})


def test_layer_without_units_is_refused(model):
    class Total(nn.Module):
        def forward(self, x):
            return x.sum()

    with pytest.raises(
        InputError, match=r"^layer '0': output \(\) for a batch of 1 and \(\) for a batch of 2; expected"
    ):
        prepare_runner(adapted(lambda: nn.Sequential(Total())), ["0"], backend="eager", batch_size=1)


def test_absent_openvino_is_one_line_that_says_how_to_get_it(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    told = f"backend openvino: is not installed; type: {install_command('openvino')}"
    with pytest.raises(InputError, match=f"^{re.escape(told)}$"):
        prepare_runner(model, ["layer4"], backend="openvino", batch_size=1)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_openvino_is_imported_without_its_telemetry():
    script = """
import sys
from Activation_Extraction.backends.openvino_network import import_openvino
import_openvino()
print([name for name in sys.modules if name.startswith("openvino_telemetry")], "openvino" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[] True", "")
