"""Guards the suffix of a network: what it gives is what the whole network gives, and what came before does not run."""

import copy
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.models.frozen_graph.graph_def import parse_graph_def
from Activation_Extraction.models.frozen_graph.module import FrozenGraph
from Activation_Extraction.models.modified_resnet import ModifiedResNet
from Activation_Extraction.models.registry import load_model
from Activation_Extraction.models.surgery.suffix import Suffix
from Activation_Extraction.models.trace import trace
from tests.Activation_Extraction.graph_writer import clip_image_graph
from tests.Activation_Extraction.small_networks import Block, hooks_of


def made(make):
    """A network with the same random weights each time, in evaluation mode."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return make().eval()


def noise(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def variants_of(a, count=5):
    """As many variants of a layer's output, the first one unchanged."""
    return a * torch.cat([torch.ones(1, *a.shape[1:]), noise(count - 1, *a.shape[1:], seed=2)])


def whole(network, layer, x, variants):
    """What the whole network gives."""
    with trace(network, edit={layer: lambda _: variants}):
        return network(x.expand(len(variants), *x.shape[1:]).clone())


def tensor_of(output):
    return output if isinstance(output, torch.Tensor) else output[0]


def check(network, layer, x, count=5):
    """Record an image, compare the suffix with the whole network, and return the suffix."""
    suffix = Suffix(network, layer)
    with torch.no_grad():
        check_image(suffix, network, layer, x, count)
    return suffix


def check_image(suffix, network, layer, x, count=5):
    a, output = suffix.record(x)
    seen = []
    with trace(network, edit={layer: lambda a: seen.append(a) or a}):
        plain = tensor_of(network(x.clone()))
    assert torch.equal(a, seen[0])
    assert torch.equal(tensor_of(output), plain)
    for variants in (variants_of(a, count), variants_of(a, 1), variants_of(a, count)):
        given = variants.clone()
        close(tensor_of(suffix(given)), tensor_of(whole(network, layer, x, variants)))
        assert torch.equal(given, variants)


def close(found, wanted):
    assert found.shape == wanted.shape
    assert (found - wanted).norm() <= 2e-6 * wanted.norm()


class Network(nn.Module):
    """Modules, and functions between them that write in place, join and read again what came before."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.side = nn.Conv2d(4, 4, 1)
        self.stage = nn.Sequential(Block(), Block())
        self.join = nn.Conv2d(11, 4, 1)
        self.head = nn.Linear(4, 5)
        self.spare = nn.Linear(2, 2)

    def forward(self, x):
        stem = F.relu_(self.stem(x))
        side = self.side(F.max_pool2d(stem, 3, 1, 1))
        y = self.stage(stem)
        y = self.join(torch.cat([y, F.relu_(side), x], 1))
        return self.head(F.relu(y + stem).mean((2, 3)))


NAMES = [
    "stem", "side", "stage.0.conv1", "stage.0.bn1", "stage.0.relu#1", "stage.0.conv2", "stage.0.relu#2", "stage.0",
    "stage.1.bn1", "stage.1.relu#2", "stage.1", "stage", "join", "head", "",
]  # fmt: skip


@pytest.fixture(scope="module")
def network():
    return made(Network)


@pytest.fixture
def x():
    return noise(1, 3, 6, 6)


# The same as the whole network


@pytest.mark.parametrize("layer", NAMES)
def test_functions_between_modules_residuals_and_writing_in_place(network, x, layer):
    before = x.clone()
    assert check(network, layer, x).full_run_reason is None
    assert torch.equal(x, before)


@pytest.mark.parametrize("layer", ["relu1", "layer1.0.downsample.0", "layer4.0.conv2", "attnpool.k_proj"])
def test_image_tower_of_clip_mini(layer):
    tower = load_model("clip-mini").image_tower
    assert check(tower, layer, noise(1, 3, 96, 96), count=2).full_run_reason is None


@pytest.fixture(scope="module")
def frozen_graph():
    tower = made(lambda: ModifiedResNet((1, 1, 1, 1), 16, 4, input_resolution=32, width=8))
    state = {key: value.numpy() for key, value in tower.state_dict().items()}
    data = clip_image_graph(state, (1, 1, 1, 1), 4, 32, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    return FrozenGraph(parse_graph_def(data, "graph.pb"), "graph.pb")


@pytest.mark.parametrize("node", ["image_block_1/0/c2/Conv2D", "image_block_3/0/Relu_2", "image_block_4/0/Relu_2"])
def test_frozen_graph(frozen_graph, node):
    assert check(frozen_graph, node, noise(1, 32, 32, 3).abs() * 100).full_run_reason is None


class Tokens(nn.Module):
    """A small vision transformer; with `batch_axis=1` as OpenAI wrote it, tokens first."""

    def __init__(self, batch_axis=0):
        super().__init__()
        self.batch_axis = batch_axis
        self.patches = nn.Conv2d(3, 8, 2, stride=2)
        self.first = nn.Parameter(torch.randn(1, 1, 8))
        self.places = nn.Embedding(10, 8)
        encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=batch_axis == 0)
        self.encoder = nn.TransformerEncoder(encoder, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(x.shape[0], -1, -1), tokens], 1) + self.places(torch.arange(10))
        tokens = self.encoder(tokens.transpose(0, self.batch_axis)).transpose(0, self.batch_axis)
        return self.head(tokens[:, 0])


@pytest.mark.parametrize("batch_axis", [0, 1])
@pytest.mark.parametrize("layer", ["patches", "encoder", "encoder.layers.1", "encoder.layers.0.linear1", "head"])
def test_tokens_with_a_class_token_and_embedded_places(layer, batch_axis, x):
    network = made(lambda: Tokens(batch_axis))
    if batch_axis and layer.startswith("encoder"):
        with pytest.raises(
            InputError, match=rf"layer '{layer}': gives \(10, 1, \d+\) for one image; expected \(1, …\)"
        ):
            Suffix(network, layer).record(x)
    else:
        assert check(network, layer, x).full_run_reason is None


def test_what_is_embedded_for_all_images_may_differ_between_variants(x):
    network = made(Tokens)
    network.places = nn.Sequential(nn.Embedding(10, 8), nn.Unflatten(0, (1, 10)))
    suffix = Suffix(network, "places")
    with torch.no_grad():
        a, _ = suffix.record(x)
        variants = variants_of(a)
        assert a.shape == (1, 10, 8)
        close(suffix(variants), torch.cat([whole(network, "places", x, variant[None]) for variant in variants]))


@pytest.mark.parametrize("shared", [True, False])
def test_filters_that_a_module_gives_are_no_images(x, shared):
    class Filtering(nn.Module):
        def __init__(self):
            super().__init__()
            self.filters, self.conv = Filters(), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            filters = self.filters()
            x = self.conv(x)
            return F.conv2d(x, filters if shared else filters.mul_(2))

    class Filters(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("kernel", torch.randn(1, 3, 1, 1))

        def forward(self):
            return self.kernel if shared else self.kernel.clone()

    assert check(made(Filtering), "conv", x).full_run_reason is None


def test_what_only_some_variants_write_to_stays_as_it_was(x):
    class Writing(nn.Module):
        def __init__(self):
            super().__init__()
            self.side, self.conv, self.head = (nn.Conv2d(3, 3, 1) for _ in range(3))

        def forward(self, x):
            side = self.side(x)
            y = self.conv(x)
            if y.amax() > 1000:
                side.add_(5)
            return self.head(side + y)

    network = made(Writing)
    suffix = Suffix(network, "conv")
    with torch.no_grad():
        a, _ = suffix.record(x)
        for variants in (a + 2000, a, a.expand(4, -1, -1, -1), a.expand(4, -1, -1, -1) + 2000):
            close(suffix(variants), whole(network, "conv", x, variants))
    assert suffix.full_run_reason is None


@dataclass(frozen=True)
class Output:
    note: str
    hidden: torch.Tensor
    more: tuple = ()


class Returning(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.wrap = wrap

    def forward(self, x):
        y = self.conv(x)
        return self.wrap(y, x * 2)


WRAPS = {
    "tuple": (lambda y, z: (None, y, z), lambda out: out[1:]),
    "list": (lambda y, z: [y, z, "note"], lambda out: out[:2]),
    "dictionary": (lambda y, z: {"n": 1, "y": y, "more": {"z": z}}, lambda out: (out["y"], out["more"]["z"])),
    "dataclass": (lambda y, z: Output("note", y, (z,)), lambda out: (out.hidden, *out.more)),
}


@pytest.mark.parametrize("kind", WRAPS)
@pytest.mark.parametrize("layer", ["first", "first.conv", "second", "second.conv", "head"])
def test_modules_that_return_more_than_a_tensor(kind, layer, x):
    wrap, unwrap = WRAPS[kind]

    class Several(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)
            self.first, self.second = Returning(wrap), Returning(wrap)

        def forward(self, x):
            first = self.first(self.stem(x))
            if kind in ("list", "dictionary"):
                assert len(first) == 3
                first.pop() if kind == "list" else first.pop("n")
            y, z = unwrap(first)
            y, again = unwrap(self.second(F.relu_(y)))
            return self.head(y * again + z), y

    assert check(made(Several), layer, x).full_run_reason is None


def test_module_that_calls_itself(x):
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x, depth=2):
            return self.last(self(self.conv(x), depth - 1) if depth else x)

    network = made(lambda: nn.Sequential(Nested()))
    for layer in ("0.last#1", "0.last#2", "0.conv#2", "0#2"):
        assert check(network, layer, x).full_run_reason is None


def test_hooks_of_the_network_act_in_the_suffix_too(x):
    network = made(Network)
    network.stage[0].register_forward_hook(lambda module, inputs, output: output * 2)
    network.side.register_forward_hook(lambda module, inputs, output: output + 1)
    for layer in ("stem", "stage.0", "stage.1"):
        assert check(network, layer, x).full_run_reason is None


def test_images_one_after_the_other_and_of_other_sizes(network):
    suffix = Suffix(network, "stage.1.conv2")
    with torch.no_grad():
        for seed, size in enumerate((6, 6, 9, 6)):
            check_image(suffix, network, "stage.1.conv2", noise(1, 3, size, size, seed=seed))
    assert suffix.full_run_reason is None


def test_image_that_takes_another_path_than_the_one_before(x):
    class Either(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.left, self.right = (nn.Conv2d(3, 3, 1) for _ in range(3))
            self.head, self.weight = nn.Conv2d(3, 3, 1), Call(lambda y: torch.arange(3.0)[:, None, None])

        def forward(self, x):
            y = self.conv(x)
            if x[0].sum() > 0:
                y, weight = self.left(y), 1
            else:
                weight = self.weight(y)
                y = self.right(F.relu(y))  # nothing holds what is read here when the head runs
            return self.head(y) * weight

    network = made(Either)
    suffix = Suffix(network, "head")
    with torch.no_grad():
        for image in (x.abs(), -x.abs(), x.abs()):
            check_image(suffix, network, "head", image)
    assert suffix.full_run_reason is None


def test_network_that_catches_what_its_functions_raise(x):
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            x = self.conv(x)
            try:
                x = F.relu(x)
            except Exception:
                raise AssertionError from None
            return self.head(x)

    assert check(made(Careful), "head", x).full_run_reason is None


MODES = {"no_grad": torch.no_grad, "inference": torch.inference_mode, "gradients": torch.enable_grad}


@pytest.mark.parametrize("replaying", MODES)
@pytest.mark.parametrize("recording", MODES)
def test_modes_of_torch(network, recording, replaying):
    suffix = Suffix(network, "stage.0.conv2")
    with MODES[recording]():
        x = noise(1, 3, 6, 6) * 1
        a, output = suffix.record(x)
    assert not any(value.requires_grad or value.is_inference() for value in (a, output))
    assert suffix.full_run_reason is None
    variants = variants_of(a)
    with MODES[replaying]():
        found = suffix(variants)
        assert found.is_inference() == (replaying == "inference")
        close(found, whole(network, "stage.0.conv2", noise(1, 3, 6, 6), variants))


@pytest.mark.parametrize("layer", ["stem", "stage.0.conv2", "stage.1.relu#2", "head"])
def test_gradients_of_the_variants_are_those_of_the_whole_network(network, x, layer):
    suffix = Suffix(network, layer)
    variants = variants_of(suffix.record(x)[0]).requires_grad_()
    (found,) = torch.autograd.grad(suffix(variants)[:, 2].square().sum(), variants)
    (wanted,) = torch.autograd.grad(whole(network, layer, x, variants)[:, 2].square().sum(), variants)
    close(found, wanted)
    assert found.abs().sum() > 0


@pytest.mark.parametrize("autocast", [False, True])
def test_numbers_of_fewer_bits_may_be_further_off(autocast):
    tower, x = load_model("clip-mini").image_tower, noise(1, 3, 96, 96)
    if not autocast:
        tower = nn.Sequential(Call(torch.Tensor.bfloat16), copy.deepcopy(tower).bfloat16())
    with torch.autocast("cpu", enabled=autocast):
        suffix = Suffix(nn.Sequential(nn.Identity(), tower, Call(torch.Tensor.float)), "0")
        a, output = suffix.record(x)
    assert (a.dtype, output.dtype) == (torch.float32, torch.float32)
    assert suffix.full_run_reason is None


# What runs, and what is kept


def test_what_came_before_does_not_run_again(x):
    ran = []

    class Counting(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name, self.conv = name, nn.Conv2d(3, 3, 1)

        def forward(self, x):
            ran.append(self.name)
            return self.conv(x)

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.side, self.c = (Counting(name) for name in ("a", "b", "side", "c"))

        def forward(self, x):
            return self.c(self.b(self.a(x)) + self.side(x))

    network = made(lambda: nn.Sequential(Counting("first"), Two(), Counting("last")))
    for layer, wanted in {
        "0": ["a", "b", "side", "c", "last"],
        "1.a": ["b", "side", "c", "last"],
        "1.b.conv": ["b", "side", "c", "last"],
        "1.side": ["c", "last"],
        "1": ["last"],
        "2": [],
    }.items():
        suffix = Suffix(network, layer)
        variants = variants_of(suffix.record(x)[0])
        ran.clear()
        suffix(variants)
        assert ran == wanted
        suffix.record(x)
        assert ran == [*wanted, "first", "a", "b", "side", "c", "last"]


@pytest.fixture
def few_objects():
    """Garbage collection sees only what the test itself makes, which is quick to search."""
    gc.freeze()
    yield
    gc.unfreeze()


def numbers_held():
    gc.collect()
    return sum(value.numel() for value in gc.get_objects() if type(value) is torch.Tensor)


@pytest.mark.parametrize("between", [lambda x: x, F.relu])
@pytest.mark.usefixtures("few_objects")
def test_outputs_that_the_suffix_does_not_read_are_not_kept(between):
    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(1, 1, 1) for _ in range(20))

        def forward(self, x):
            for conv in self.convs:
                x = conv(between(x))
            return x.mean((2, 3))

    network, x = made(Chain), noise(1, 1, 100, 100)
    suffix = Suffix(network, "convs.18")
    before = numbers_held()
    suffix.record(x)
    kept = (numbers_held() - before) / x.numel()
    # One for the image, and the outputs of convolutions.
    assert 1 <= kept < 5 if between is not F.relu else 19 < kept < 23
    gc.disable()
    try:
        del suffix
        assert sum(value.numel() for value in gc.get_objects() if type(value) is torch.Tensor) - before < x.numel()
    finally:
        gc.enable()


@pytest.mark.usefixtures("few_objects")
def test_output_of_which_only_a_view_is_held_is_kept_alone():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.deep = nn.ModuleList(nn.Linear(4, 4) for _ in range(20))
            self.query, self.key = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            for linear in self.deep:
                x = linear(x)
            query = self.query(x).unflatten(2, (2, 2)).transpose(1, 2)
            return (query * self.key(x).unflatten(2, (2, 2)).transpose(1, 2)).sum((2, 3))

    network, x = made(Attending), noise(1, 1000, 4)
    before = numbers_held()
    suffix = check(network, "key", x)
    assert suffix.full_run_reason is None
    assert (numbers_held() - before) / x.numel() < 7


def test_parameters_and_buffers_are_shared(network, x):
    network = copy.deepcopy(network)
    suffix = Suffix(network, "stage.0")
    a, before = suffix.record(x)
    with torch.no_grad():
        network.head.bias += 1
        network.stage[1].bn1.running_mean += 1
        found = suffix(a)
        close(found, network(x))
    assert (found - before).abs().min() > 0.5


# The network is left alone


class BrokenError(Exception):
    pass


class Fragile(nn.Module):
    def forward(self, x):
        if x.isnan().any():
            raise BrokenError
        return x


def test_network_is_as_it_was_whatever_happened(x):
    network = made(Network)
    network.head = nn.Sequential(Fragile(), network.head)
    plain = network(x)
    suffix = Suffix(network, "stage.0")
    a, _ = suffix.record(x)
    wanted = suffix(a)
    with pytest.raises(BrokenError):
        suffix(a * float("nan"))
    assert hooks_of(network) == 0
    assert torch.equal(network(x), plain)
    assert torch.equal(suffix(a), wanted)
    with pytest.raises(BrokenError):
        suffix.record(x * float("nan"))
    with pytest.raises(InputError, match="no image yet"):
        suffix(a)
    assert suffix.record(x)[0].equal(a)
    assert suffix.full_run_reason is None
    assert hooks_of(network) == 0
    assert torch.equal(network(x), plain)


def test_threads_with_suffixes_of_one_network(network):
    start = threading.Barrier(4, timeout=30)

    def work(number):
        layer, x = NAMES[number], noise(1, 3, 6, 6, seed=number)
        start.wait()
        for _ in range(3):
            assert check(network, layer, x).full_run_reason is None

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert hooks_of(network) == 0


def test_hooks_that_come_and_go_while_the_network_is_copied(x):
    network = made(Network)

    class Meddling:
        def __call__(self, module, inputs, output):
            return output * 2

        def __deepcopy__(self, memo):
            network.side.register_forward_hook(Meddling()).remove()  # as another thread might
            return self

    network.side.register_forward_hook(Meddling())
    network.side.register_forward_hook(Meddling())
    assert check(network, "stage.0", x).full_run_reason is None


def test_threads_with_one_suffix(network, x):
    suffix = Suffix(network, "stage.0.conv1")
    a, _ = suffix.record(x)
    start = threading.Barrier(2, timeout=30)

    def work(count):
        variants = variants_of(a, count)
        start.wait()
        with torch.no_grad():
            return [suffix(variants) for _ in range(20)]

    with ThreadPoolExecutor(2) as pool, torch.no_grad():
        for count, found in zip((3, 7), pool.map(work, (3, 7))):
            wanted = whole(network, "stage.0.conv1", x, variants_of(a, count))
            for output in found:
                close(output, wanted)


# Where the suffix alone cannot be run


class Windows(nn.Module):
    """Cuts maps into four windows each, which lie in the batch: those of an image side by side, or not."""

    def __init__(self, side_by_side):
        super().__init__()
        self.side_by_side = side_by_side
        self.conv, self.inner, self.last = (nn.Conv2d(3, 3, 1) for _ in range(3))

    def forward(self, x):
        n = len(x)
        windows = self.conv(x).unflatten(2, (2, -1)).unflatten(4, (2, -1)).permute(0, 2, 4, 1, 3, 5)
        if not self.side_by_side:
            windows = windows.permute(1, 2, 0, 3, 4, 5)
        windows = self.inner(windows.flatten(0, 2))
        y = self.last(x)
        if self.side_by_side:
            return y.mean((2, 3)) + windows.unflatten(0, (n, 4)).flatten(3).mean(3)[:, 1]
        return y.mean((2, 3)) + windows.unflatten(0, (4, n)).flatten(3).mean(3)[1]


def test_windows_in_the_batch(x):
    assert check(made(lambda: Windows(True)), "last", x).full_run_reason is None
    assert "is not that for each (off by" in check(made(lambda: Windows(False)), "last", x).full_run_reason
    with pytest.raises(InputError, match=r"layer 'inner': gives \(4, 3, 3, 3\) for one image; expected \(1, …\)"):
        Suffix(made(lambda: Windows(True)), "inner").record(x)


class Remembered(nn.Module):
    """A part writes down what another part reads."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 1)
        self.notes = Notes()
        self.middle, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(6, 3, 1)

    def forward(self, x):
        y = self.middle(self.notes(self.stem(x)))
        return self.head(torch.cat([y, self.notes.seen], 1))


class Notes(nn.Module):
    def forward(self, x):
        self.seen = x * 2
        return x


class Odd:
    def __init__(self, x):
        self.x = x


class ReturnsOdd(nn.Module):
    def __init__(self, factor=2):
        super().__init__()
        self.odd, self.conv = Call(lambda x: Odd(x * factor)), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        odd = self.odd(x)
        return self.conv(x) + odd.x


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.size, self.conv = Call(len), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        size = self.size(x)
        return self.conv(x)[:size]


class Locked(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 3, 1)
        self.lock = threading.Lock()


class Single(nn.Identity):
    def __deepcopy__(self, memo):
        return self


class Aliasing(nn.Module):
    """What a module returned is written to under another name."""

    def __init__(self):
        super().__init__()
        self.same, self.conv = nn.Identity(), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        y = x * 2
        self.same(y).add_(1)
        return self.conv(x) + y


class ManyAtOnce(nn.Module):
    """Takes another way when there are many images."""

    def __init__(self):
        super().__init__()
        self.few, self.many, self.conv = (nn.Conv2d(3, 3, 1) for _ in range(3))

    def forward(self, x):
        return self.conv(self.many(x) if len(x) > 4 else self.few(x))


UNFIT = {
    "state": (Remembered, "middle", "RuntimeError: Sizes of tensors must match"),
    "object": (ReturnsOdd, "conv", "a Call returns Odd, which might change"),
    "number of images": (Counts, "conv", "a Call returns other things than tensors, which depend on the number"),
    "lock": (lambda: nn.Sequential(Locked(), nn.Conv2d(3, 3, 1)), "1", "it cannot be copied (TypeError: "),
    "no copy": (lambda: nn.Sequential(Single(), nn.Conv2d(3, 3, 1)), "1", "one of its modules cannot be copied"),
    "closure": (lambda: with_closure(nn.Conv2d(3, 3, 1)), "conv", "in a copy of the network the layer gives nothing"),
    "aliases": (Aliasing, "conv", "is not that for each"),
}


def with_closure(conv):
    network = Call(lambda x: conv(x) * 2)
    network.conv = conv
    return network


@pytest.mark.parametrize("kind", UNFIT)
def test_whole_network_runs_where_the_suffix_alone_cannot(x, kind):
    make, layer, because = UNFIT[kind]
    network = made(make)
    suffix = check(network, layer, x)
    assert because in suffix.full_run_reason
    assert "\n" not in suffix.full_run_reason
    with torch.no_grad():
        check_image(suffix, network, layer, -x)
    assert hooks_of(network) == 0


def test_more_variants_may_take_another_way_than_the_image(x):
    network = made(ManyAtOnce)
    suffix = Suffix(network, "conv")
    with torch.no_grad():
        a, _ = suffix.record(x)
        close(suffix(a), network(x))
        assert suffix.full_run_reason is None
        variants = variants_of(a)
        close(suffix(variants), whole(network, "conv", x, variants))
    assert suffix.full_run_reason == "other modules run before the layer than ran for the image"


def test_more_variants_may_read_what_was_not_kept(x):
    class Checking(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.side, self.conv = (nn.Conv2d(3, 3, 1) for _ in range(4))

        def forward(self, x):
            x = self.first(x)
            if len(x) > 4:
                assert torch.relu(x).isfinite().all()
            x = self.second(x)
            side = self.side(x)
            return self.conv(x) + F.relu_(side)

    network = made(Checking)
    suffix = Suffix(network, "conv")
    a, _ = suffix.record(x)
    with torch.inference_mode():
        for count in (3, 5, 3):
            variants = variants_of(a, count)
            close(suffix(variants), whole(network, "conv", x, variants))
    assert suffix.full_run_reason is None


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_whole_network_runs_where_a_module_is_compiled(x):
    first, last = made(lambda: nn.Conv2d(3, 3, 1)), made(lambda: nn.Conv2d(3, 3, 1))
    suffix = check(nn.Sequential(torch.jit.script(first), last).eval(), "1", x)
    assert "not supported on ScriptModules" in suffix.full_run_reason


# Errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3).train()), "is not that for each"),
        (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), Call(lambda x: x - x.mean(0))), "is not that for each"),
        (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), Call(lambda x: x + torch.rand(()))), "is not that for each"),
        (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), Call(lambda x: x.mean())), "is not that for each"),
        (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), Call(lambda x: "nothing")), "the output has no tensors"),
    ],
)
def test_network_that_mixes_images_or_changes_is_refused(x, make, message):
    network = make()
    with pytest.raises(InputError) as caught:
        Suffix(network, "0").record(x)
    assert message in str(caught.value)
    assert str(caught.value).startswith("layer '0': the output ")
    assert str(caught.value).endswith(
        "expected a network that gives the same for an image each time, whatever the rest of the batch"
    )
    assert hooks_of(network) == 0


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x):
        y = self.relu(x)
        self.relu(-x)
        return y


def test_layer_that_runs_several_times_needs_a_number(network, x):
    with pytest.raises(InputError) as caught:
        Suffix(network, "stage.0.relu").record(x)
    assert str(caught.value) == ("layer 'stage.0.relu': runs 2 times; expected one of stage.0.relu#1, stage.0.relu#2")
    with pytest.raises(InputError, match="layer 'relu': runs 2 times"):
        Suffix(Unused(), "relu").record(x)
    same = made(Locked)  # which cannot be copied
    with pytest.raises(InputError, match=r"layer '0': runs 6 times; expected one of 0#1, 0#2, …, 0#6$"):
        Suffix(nn.Sequential(*[same] * 6), "0").record(x)


def test_layer_that_does_not_run(network, x):
    with pytest.raises(InputError, match=r"layer 'spare' was not reached .*: it did not run"):
        Suffix(network, "spare").record(x)
    with pytest.raises(InputError, match=r"layer 'stage.0.relu#3' was not reached .*: it ran 2 times"):
        Suffix(network, "stage.0.relu#3").record(x)


def test_unknown_layer_is_refused_as_by_trace(network):
    for name in ("stage.2", "stem#0"):
        with pytest.raises(InputError) as wanted, trace(network, name):
            pass
        with pytest.raises(InputError) as caught:
            Suffix(network, name)
        assert caught.value.problems == wanted.value.problems


def test_layer_without_a_tensor_or_a_row_for_each_image(x):
    network = nn.Sequential(Call(lambda x: ("text", x)), Call(lambda y: y[0]), Call(lambda y: torch.ones(1, 3)))
    with pytest.raises(InputError, match="layer '1': returned str without a tensor in it"):
        Suffix(network, "1").record(x)
    network = nn.Sequential(nn.Conv2d(3, 3, 1), Call(lambda x: x.mean((0, 2, 3))))
    with pytest.raises(InputError, match=r"layer '1': gives \(3,\) for one image; expected \(1, …\)"):
        Suffix(network, "1").record(x)


@pytest.mark.parametrize("shape", [(2, 3, 6, 6), (0, 3, 6, 6), ()])
def test_anything_but_one_image_is_refused(network, shape):
    with pytest.raises(InputError) as caught:
        Suffix(network, "stem").record(torch.ones(shape))
    assert str(caught.value) == f"input of shape {shape}; expected one image, (1, …)"


def test_error_of_the_network_is_its_own(network, x):
    suffix = Suffix(network, "stem")
    with pytest.raises(RuntimeError, match="channels"):
        suffix.record(x[:, :1])
    assert suffix.full_run_reason is None


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda a: a[:, :2], "(1, 2, 6, 6) of torch.float32"),
        (lambda a: a[:0], "(0, 4, 6, 6) of torch.float32"),
        (lambda a: a[0], "(4, 6, 6) of torch.float32"),
        (lambda a: a.double(), "(1, 4, 6, 6) of torch.float64"),
        (lambda a: a.sum(), "() of torch.float32"),
    ],
)
def test_variants_of_another_kind_are_refused(network, x, change, found):
    suffix = Suffix(network, "stage.0")
    a, _ = suffix.record(x)
    with pytest.raises(InputError) as caught:
        suffix(change(a))
    assert str(caught.value) == (
        f"variants of layer 'stage.0': a tensor {found} on cpu; expected (V, 4, 6, 6) of torch.float32 on cpu"
    )


def test_variants_before_any_image_are_refused(network, x):
    with pytest.raises(InputError, match="suffix of layer 'stem': no image yet; expected `record` to come first"):
        Suffix(network, "stem")(x)
