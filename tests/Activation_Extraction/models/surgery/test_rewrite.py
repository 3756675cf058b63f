"""Guards the rewriting of networks: the same activations, BatchNorm folded only where that is exact, the rest cut off."""

import copy
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from Activation_Extraction.models.axes import Axes
from Activation_Extraction.models.surgery.pooling import POOLINGS, pooled
from Activation_Extraction.models.surgery.rewrite import (
    FusedConvReLU,
    NotTraceableError,
    fuse_conv_relu,
    in_bfloat16,
    rewritten,
)
from Activation_Extraction.models.trace import trace
from tests.bfloat16 import needs_bfloat16


class Block(nn.Module):
    """A residual block with a shared ReLU that overwrites its input, and a sum in place."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 1)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x
        return self.relu(out)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4))
        self.blocks = nn.Sequential(Block(4), Block(4))
        self.head = nn.Linear(4, 5)

    def forward(self, x, scale=1.0):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)) * scale)


LAYERS = [
    "stem.0", "stem.1", "stem", "blocks.0.conv1", "blocks.0.bn1", "blocks.0.relu#1", "blocks.0.conv2", "blocks.0.bn2",
    "blocks.0.relu#2", "blocks.0", "blocks.1.relu", "blocks.1", "blocks", "head",
]  # fmt: skip


def with_statistics(network, seed=0):
    """A network whose BatchNorms have seen something."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.2, 3, generator=generator)
            if module.affine:
                module.weight.data.normal_(generator=generator)
                module.bias.data.normal_(generator=generator)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return with_statistics(Network())


@pytest.fixture(scope="module")
def x():
    return torch.randn(3, 3, 9, 8, generator=torch.Generator().manual_seed(1))


def plain(network, layers, x, pooling="mean"):
    reduce = {layer: lambda a: pooled(a, (0, 1), pooling) for layer in layers}
    with torch.no_grad(), trace(network, layers, reduce=reduce) as retained:
        retained.run(x)
    return [retained[layer] for layer in layers]


def assert_same(network, layers, x, pooling="mean"):
    rewrite, folded = rewritten(network, dict.fromkeys(layers, Axes(0, 1)), pooling)
    found, expected = rewrite(x), plain(network, layers, x, pooling)
    assert len(found) == len(layers)
    for layer, a, b in zip(layers, found, expected):
        assert a.dtype == torch.float32
        assert a.shape == b.shape
        assert (a - b).norm() <= 1e-6 * b.norm(), layer
    return rewrite, folded


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_alone_is_that_of_the_network(network, x, layer, pooling):
    assert_same(network, [layer], x, pooling)


@settings(max_examples=12)
@given(layers=st.lists(st.sampled_from(LAYERS), min_size=1, unique=True), pooling=st.sampled_from(POOLINGS))
def test_any_layers_in_any_order_are_those_of_the_network(network, x, layers, pooling):
    assert_same(network, layers, x, pooling)


@pytest.mark.parametrize(
    ("layers", "folded", "left"),
    [
        (["stem.0"], 0, 0),
        (["stem.1"], 1, 0),
        (["blocks.0.conv1"], 1, 0),
        (["blocks.0.bn1"], 2, 0),
        (["head"], 5, 0),
        (["head", "blocks.0.conv2"], 4, 1),
        (["head", "blocks.0.bn2"], 5, 0),
    ],
)
def test_batchnorm_is_folded_unless_its_convolution_is_asked_for(network, x, layers, folded, left):
    rewrite, count = assert_same(network, layers, x)
    norms = [module for module in rewrite.modules() if isinstance(module, nn.BatchNorm2d)]
    assert (count, len(norms)) == (folded, left)


def test_what_comes_after_the_last_layer_is_cut_off(network):
    rewrite, _ = rewritten(network, {"blocks.0.bn1": Axes(0, 1)}, "mean")
    assert sum(p.numel() for p in rewrite.parameters()) == (4 * 3 * 9 + 4) + (4 * 4 * 9 + 4)


def test_network_itself_is_left_as_it_is(network, x):
    before = copy.deepcopy(network.state_dict())
    names = [name for name, _ in network.named_modules()]
    rewrite, _ = rewritten(network, {"blocks": Axes(0, 1), "stem.0": Axes(0, 1)}, "none")
    in_bfloat16(rewrite)
    for parameter in rewrite.parameters():
        parameter.data.zero_()
    assert [name for name, _ in network.named_modules()] == names
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_whole_maps_are_copies_that_nothing_overwrites(network, x):
    # The residual sum and the ReLU after it are made in place of these very tensors.
    rewrite, _ = rewritten(
        network, {"blocks.0.conv2": Axes(0, 1), "blocks.0.bn2": Axes(0, 1), "blocks.0": Axes(0, 1)}, "none"
    )
    first = [value.clone() for value in rewrite(x)]
    assert len({value.untyped_storage().data_ptr() for value in rewrite(x)}) == 3
    for a, b in zip(first, plain(network, ["blocks.0.conv2", "blocks.0.bn2", "blocks.0"], x, "none")):
        torch.testing.assert_close(a, b)


class Shared(nn.Module):
    """One convolution before two BatchNorms, one BatchNorm after two convolutions, and one convolution read twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.other, self.twice = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.bn1, self.bn2, self.bn3 = (nn.BatchNorm2d(3) for _ in range(3))

    def forward(self, x):
        x = self.bn1(self.conv(x)) + self.bn2(self.conv(x))
        x = self.bn3(self.other(x)) * self.bn3(self.twice(x))
        y = self.twice(x)
        return F.relu(self.bn1(y) + y)


@pytest.mark.parametrize("layers", [["bn3#1"], ["bn3#2"], ["bn1#1", "bn1#2"], ["twice#2"], ["bn2", "conv#2"]])
def test_modules_that_run_twice_are_folded_call_by_call(x, layers):
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(3)
        assert_same(with_statistics(Shared()), layers, x)


@settings(max_examples=15)
@given(
    dimensions=st.sampled_from([1, 2, 3]),
    groups=st.sampled_from([1, 2, 4]),
    stride=st.integers(1, 2),
    padding_mode=st.sampled_from(["zeros", "reflect", "circular"]),
    bias=st.booleans(),
    affine=st.booleans(),
    seed=st.integers(0, 99),
)
def test_folded_convolution_is_both_steps_in_one(dimensions, groups, stride, padding_mode, bias, affine, seed):
    conv, norm = ((nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))[dimensions - 1]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        layers = nn.Sequential(
            conv(4, 8, 3, stride, 1, groups=groups, bias=bias, padding_mode=padding_mode), norm(8, affine=affine)
        )
        x = torch.randn(2, 4, *[5] * dimensions)
    _, folded = assert_same(with_statistics(layers, seed), ["1"], x, "none")
    assert folded == 1


class Standardised(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(x, (self.weight - self.weight.mean()) / self.weight.std(), self.bias)


class Activated(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x).relu()


@pytest.mark.parametrize(("conv", "norm"), [(Standardised, nn.BatchNorm2d), (nn.Conv2d, Activated)])
def test_layers_that_do_more_than_their_base_class_are_not_folded(x, conv, norm):
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(4)
        layers = with_statistics(nn.Sequential(conv(3, 4, 1), norm(4)))
    _, folded = assert_same(layers, ["1"], x)
    assert folded == 0


def test_bf16_weights_are_those_that_autocast_would_make(network, x):
    rewrite, _ = rewritten(network, {"blocks": Axes(0, 1), "head": Axes(0, 1)}, "mean")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        before = rewrite(x)
        in_bfloat16(rewrite)
        after = rewrite(x)
    assert {p.dtype for p in rewrite.parameters()} == {torch.bfloat16}
    assert all(torch.equal(a, b) for a, b in zip(before, after))


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else self.conv(-x)


class Several(nn.Module):
    """Layers that are called twice with weights, return a tuple, or never run."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.pair = Pair()
        self.spare = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.pair(self.conv(self.conv(x)))[0]


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Identity()

    def forward(self, x):
        return self.one(x), x


@pytest.mark.parametrize(
    ("network", "layer", "reason"),
    [
        (Branching, "conv", "control flow"),
        (Several, "conv", "conv runs 2 times"),
        (Several, "conv#3", "conv#3 is not reached"),
        (Several, "spare", "spare is not reached"),
        (Several, "pair", "pair returns tuple"),
    ],
)
def test_what_cannot_be_told_by_tracing_is_refused_with_the_reason(network, layer, reason):
    with pytest.raises(NotTraceableError, match=reason):
        rewritten(network().eval(), {layer: Axes(0, 1)}, "mean")


class InTwoThreads(nn.Module):
    """While its forward is traced, another thread runs its parts."""

    def __init__(self):
        super().__init__()
        self.conv, self.by_hand = nn.Conv2d(3, 4, 1), ByHand()
        self.found = []

    def forward(self, x):
        image = torch.ones(1, 4, 2, 2)
        thread = threading.Thread(target=lambda: self.found.append(self.by_hand(image)))
        thread.start()
        thread.join()
        return self.by_hand(self.conv(x))


class ByHand(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((2, 4, 1, 1), 0.5))
        self.inner = nn.Identity()

    def forward(self, x):
        return F.conv2d(self.inner(x), self.weight)


def test_what_other_threads_run_meanwhile_is_not_traced(x):
    network = InTwoThreads().eval().requires_grad_(False)
    rewrite, _ = rewritten(network, {"by_hand": Axes(0, 1)}, "mean")
    (found,) = network.found
    assert torch.equal(found, torch.full((1, 2, 2, 2), 2.0))
    torch.testing.assert_close(rewrite(x)[0], network(x).mean((2, 3)))


def test_network_with_hooks_is_refused_as_they_may_change_what_it_gives(network):
    handle = network.blocks[0].register_forward_hook(lambda module, inputs, output: output * 2)
    try:
        with pytest.raises(NotTraceableError, match="hooks"):
            rewritten(network, {"blocks": Axes(0, 1)}, "mean")
    finally:
        handle.remove()


# ReLUs that are fused with a convolution ------------------------------------------------------------------------


def joint(network, layers, x, pooling="mean"):
    """What the network gives with ReLUs fused, beside what it gives itself; and how many were."""
    rewrite, _ = rewritten(network, dict.fromkeys(layers, Axes(0, 1)), pooling)
    fused = fuse_conv_relu(rewrite)
    assert fused == sum(type(module) is FusedConvReLU for module in rewrite.modules())
    with torch.inference_mode():
        found = rewrite(x)
    for a, b in zip(found, plain(network, layers, x, pooling)):
        assert (a - b).norm() <= 1e-6 * b.norm()
    return fused


@settings(max_examples=12)
@given(layers=st.lists(st.sampled_from(LAYERS), min_size=1, unique=True), pooling=st.sampled_from(POOLINGS))
def test_fused_relus_change_no_layer(network, x, layers, pooling):
    joint(network, layers, x, pooling)


@pytest.mark.parametrize(
    ("layers", "fused"),
    [
        (["head"], 4),
        (["blocks.0.bn1"], 0),
        (["blocks.0.relu#1"], 1),
        (["head", "blocks.0.bn1"], 3),  # what goes into the ReLU is asked for
        (["head", "blocks.0.relu#1", "blocks.0.relu#2"], 4),
    ],
)
def test_relu_is_fused_unless_what_goes_into_it_is_asked_for(network, x, layers, fused):
    assert joint(network, layers, x) == fused


class Head(nn.Module):
    """A convolution and what comes after it."""

    def __init__(self, after, **geometry):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, **geometry)
        self.after = after

    def forward(self, x):
        return self.after(self.conv(x), x)


@pytest.mark.parametrize(
    ("after", "fused"),
    [
        (lambda y, x: F.relu(y), 1),
        (lambda y, x: torch.relu(y), 1),
        (lambda y, x: y.relu_(), 1),
        (lambda y, x: F.relu(y + x), 1),
        (lambda y, x: F.relu(y.add(x)), 1),
        (lambda y, x: F.relu(torch.add(y, x)), 1),
        (lambda y, x: F.relu(torch.add(y, x, alpha=2)), 0),
        (lambda y, x: F.relu(y + 1.5), 0),
        (lambda y, x: F.relu(y * x), 0),
        (lambda y, x: F.relu(y) + y, 0),
        (lambda y, x: F.relu(x + y), 0),
        (lambda y, x: F.leaky_relu(y), 0),
        (lambda y, x: F.relu(F.relu(y)), 1),
        (lambda y, x: torch.relu(input=y), 0),
        (lambda y, x: F.relu(y + y), 0),
    ],
)
def test_only_a_relu_right_after_a_convolution_is_fused(after, fused):
    network = with_statistics(Head(after, padding=1))
    assert joint(nn.Sequential(network), ["0"], torch.randn(2, 4, 6, 5)) == fused


@pytest.mark.parametrize(
    ("geometry", "fused"),
    [
        ({"stride": 2, "padding": (0, 1)}, 1),
        ({"dilation": 2, "groups": 2, "bias": False}, 1),
        ({"padding": "same"}, 0),
        ({"padding": 1, "padding_mode": "reflect"}, 0),
    ],
)
def test_geometry_of_the_convolution_is_kept(geometry, fused):
    network = with_statistics(Head(lambda y, x: F.relu(y), **geometry))
    assert joint(nn.Sequential(network), ["0"], torch.randn(2, 4, 7, 9)) == fused


@needs_bfloat16
def test_fused_relus_run_in_bfloat16(network, x):
    rewrite, _ = rewritten(network, {"blocks": Axes(0, 1)}, "mean")
    fuse_conv_relu(rewrite)
    in_bfloat16(rewrite)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        (found,) = rewrite(x)
    (expected,) = plain(network, ["blocks"], x)
    assert 0 < (found - expected).norm() <= 0.03 * expected.norm()
