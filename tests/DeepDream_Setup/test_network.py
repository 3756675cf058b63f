"""Guards the network that optimisation runs: what it gives, what it leaves out, whom it rescues, what it leaves behind."""

import copy

import pytest
import torch
from torch import nn

from Activation_Extraction.backends.preparation import prepare_network
from Activation_Extraction.models import resources
from Activation_Extraction.models.adapters import from_module
from DeepDream_Setup.network import CutNetwork, rescuing_relu
from InterpScore import InputError
from tests.Activation_Extraction.layouts import CHANNELS, IN_ORDER, INPUT, SIDE, TOKENS, TokenFirstViT, arranged
from tests.bfloat16 import needs_bfloat16


def hooks_of(module):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def images(count=3, side=16):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def plain(model, x, layer):
    """What the network itself gives at a layer."""
    kept = []
    handle = model.module.get_submodule(layer).register_forward_hook(lambda module, given, a: kept.append(a.clone()))
    model.module((x - 0.5) / 0.25)
    handle.remove()
    return kept[0]


@pytest.mark.parametrize("kind", ["small", "by_value"])
def test_activations_and_gradients_are_those_of_the_network_itself(kind, request):
    model, x = request.getfixturevalue(kind), images().requires_grad_()
    network = CutNetwork(model, ["relu2", "relu1"])
    found = network(x)
    for layer in ("relu2", "relu1"):
        torch.testing.assert_close(found[layer], plain(model, x, layer))
    (gradient,) = torch.autograd.grad(found["relu2"].square().sum(), x)
    (wanted,) = torch.autograd.grad(plain(model, x, "relu2").square().sum(), x)
    torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("kind", ["small", "by_value"])
def test_gradients_at_a_layer_on_the_way_can_be_asked_for(kind, request):
    model = request.getfixturevalue(kind)
    found = CutNetwork(model, ["relu2", "relu1"])(images().requires_grad_())
    (at,) = torch.autograd.grad(found["relu2"].sum(), found["relu1"])
    head = copy.deepcopy(model.module)
    below = found["relu1"].detach().requires_grad_()
    (wanted,) = torch.autograd.grad(head.relu2(head.conv2(below)).sum(), below)
    torch.testing.assert_close(at, wanted)


def test_network_ends_at_the_layer_and_stays_as_it_was(small):
    before = copy.deepcopy(small.module.state_dict())
    network = CutNetwork(small, ["relu2"])
    runs = small.module.heads_run
    network(images().requires_grad_())["relu2"].sum().backward()
    assert small.module.heads_run == runs
    assert not any(parameter.requires_grad for parameter in small.module.parameters())
    assert all(parameter.grad is None for parameter in small.module.parameters())
    assert hooks_of(small.module) == 0
    assert all(torch.equal(before[name], value) for name, value in small.module.state_dict().items())


def test_untraceable_network_is_left_without_hooks(by_value):
    network = CutNetwork(by_value, ["conv2"])
    runs = by_value.module.heads_run
    network(images())
    assert (hooks_of(by_value.module), by_value.module.heads_run) == (0, runs)


@needs_bfloat16
def test_bf16_is_close_and_is_not_fp32(clip_mini):
    x = images(2, 96)
    exact, close = (CutNetwork(clip_mini, ["block_4"], p)(x)["layer4"] for p in ("fp32", "bf16"))
    assert close.dtype == torch.float32
    assert 0 < float((exact - close).norm() / exact.norm()) < 0.03


@pytest.mark.parametrize("kind", ["small", "by_value"])
@pytest.mark.parametrize("layers", [["relu2"], ["relu2", "relu1"]])
def test_fp64_is_the_network_in_double_precision(kind, layers, request):
    model, x = request.getfixturevalue(kind), images().double()
    network = CutNetwork(model, layers, "fp64")
    found = network(x)
    model.module.double()
    for layer in layers:
        torch.testing.assert_close(found[layer], plain(model, x, layer), rtol=1e-12, atol=1e-12)
    assert network.dtype == found["relu2"].dtype == torch.float64


def test_fp64_is_of_gradients_alone(small):
    with pytest.raises(InputError, match=r"^precision: found 'fp64'; expected fp32 or bf16$"):
        prepare_network(small, ["relu2"], precision="fp64")


@pytest.mark.slow
def test_unit_of_a_frozen_graph_is_reached_as_in_the_network_it_was_made_of(clip_mini, tmp_path):
    from Activation_Extraction.models.registry import CLIP_MEAN, CLIP_STD, load_model
    from tests.Activation_Extraction.graph_writer import clip_image_graph

    config = clip_mini.module.config
    state = {key: value.numpy() for key, value in clip_mini.image_tower.state_dict().items()}
    shape = config.vision_layers, config.vision_heads, config.image_resolution
    (tmp_path / "graph.pb").write_bytes(clip_image_graph(state, *shape, CLIP_MEAN, CLIP_STD))
    graph = CutNetwork(load_model("clip-mini", weights=tmp_path / "graph.pb"), ["block_4"])
    tower, x = CutNetwork(clip_mini, ["block_4"]), images(1, 96)
    with torch.no_grad():
        a = tower(x)["layer4"].flatten(2)
    dead = int((a.amax((0, 2)) == 0).nonzero()[0])
    for rescue in (False, True):
        gradients = []
        for network in (tower, graph):
            (a,) = network(given := x.clone().requires_grad_(), rescue=rescue).values()
            (-a[:, dead].sum() - 1e-3 * a.sum() * (not rescue)).backward()
            gradients.append(given.grad)
        assert gradients[0].norm() > 0
        assert (gradients[1] - gradients[0]).norm() < 1e-4 * gradients[0].norm()


def test_images_of_255_and_channels_last_are_made_for_networks_that_take_them(small):
    from dataclasses import replace

    from Activation_Extraction.clip_helpers import ImageInput

    class Last(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner((x.movedim(-1, 1) / 255 - 0.5) / 0.25)

    from Activation_Extraction.models.layers import LayerNames

    tower = Last(small.module)
    wanted_input = ImageInput(16, value_range="0-255", layout="NHWC")
    model = replace(small, module=tower, image_tower=tower, image_input=wanted_input, layers=LayerNames(tower))
    found = CutNetwork(model, ["inner.relu2"])(images())["inner.relu2"]
    torch.testing.assert_close(found, plain(small, images(), "relu2"), rtol=1e-4, atol=1e-5)


def test_gradients_reach_images_through_fp32_where_bf16_would_lose_the_way(by_value, monkeypatch):
    monkeypatch.setattr(resources, "computes_bfloat16", lambda device: True)
    found = CutNetwork(by_value, ["relu2", "relu1"], "bf16")(images().requires_grad_())
    torch.testing.assert_close(found["relu2"], plain(by_value, images(), "relu2"))
    torch.autograd.grad(found["relu2"].sum(), found["relu1"])


def test_rescue_reaches_dead_units_in_their_images_alone(small):
    x = images(2)
    with torch.no_grad():
        small.module.conv2.bias[4] = -100.0
    network = CutNetwork(small, ["relu2"])

    def gradients(rescue):
        given = x.clone().requires_grad_()
        a = network(given, rescue=rescue)["relu2"]
        (-(a[0, 4].mean() + a[1, 2].mean())).backward()
        return given.grad

    without, rescued = gradients(False), gradients(True)
    assert without[0].count_nonzero() == 0
    assert rescued[0].count_nonzero() > 0
    torch.testing.assert_close(rescued[1], without[1], rtol=0, atol=0)
    given = x - 1e-3 * rescued / rescued.norm()
    before, after = (plain(small, images, "conv2")[0, 4].mean() for images in (x, given))
    assert after > before


def test_rescue_passes_only_what_raises_the_input():
    x = torch.tensor([[-1.0, -2.0], [-1.0, 3.0]], requires_grad=True)
    rescuing_relu(x).backward(torch.tensor([[-5.0, 7.0], [-5.0, 7.0]]))
    assert x.grad.tolist() == [[-5.0, 0.0], [0.0, 7.0]]


def test_unknown_layer_and_precision_are_refused(small):
    with pytest.raises(InputError, match=r"no layer 'relu3'.*relu2"):
        CutNetwork(small, ["relu3"])
    with pytest.raises(InputError, match="precision: found 'fp8'; expected fp32 or bf16"):
        CutNetwork(small, ["relu2"], "fp8")


# Layouts of the layer's output ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_tuple", [False, True])
@pytest.mark.parametrize("layout", IN_ORDER)
def test_activations_and_gradients_in_every_layout_are_those_of_the_map(layout, in_tuple):
    model = arranged(layout, in_tuple)
    x = images(TOKENS, SIDE).requires_grad_()  # as many images as tokens
    network = CutNetwork(model, ["layer"])
    found, wanted = network(x)["layer"], model.module.map((x - 0.5) / 0.25)
    assert network.units == CHANNELS
    torch.testing.assert_close(found.flatten(2) if found.ndim > 2 else found, wanted.flatten(2) if wanted.ndim > 2 else wanted)  # fmt: skip
    gradients = [torch.autograd.grad(a[:, 2].square().sum(), x)[0] for a in (found, wanted)]
    torch.testing.assert_close(*gradients)


def test_image_of_a_batch_gets_the_gradient_that_it_gets_alone_where_tokens_come_first():
    network = CutNetwork(from_module(TokenFirstViT(), INPUT, name="vit"), ["blocks.0"])
    x = images(TOKENS + 1, SIDE).requires_grad_()
    (together,) = torch.autograd.grad(network(x)["blocks.0"][:, 3].square().sum(), x)
    alone = []
    for one in x.detach().split(1):
        one.requires_grad_()
        alone += torch.autograd.grad(network(one)["blocks.0"][:, 3].square().sum(), one)
    torch.testing.assert_close(together, torch.cat(alone))


def test_several_layers_with_the_images_on_another_axis_are_refused():
    with pytest.raises(InputError, match=r"^layers blocks\.0, blocks\.1: found units on another axis; expected maps"):
        CutNetwork(from_module(TokenFirstViT(), INPUT, name="vit"), ["blocks.0", "blocks.1"])
