"""Guards the names of layers: every scheme leads to the right submodule, wrong names are answered, listings are true."""

import re
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.models.axes import unit_axis
from Activation_Extraction.models.clip import CLIP, CONFIGS
from Activation_Extraction.models.layers import LayerNames, clip_aliases, graph_aliases
from Activation_Extraction.models.modified_resnet import ModifiedResNet
from Activation_Extraction.models.trace import trace


@pytest.fixture(scope="module")
def rn50x4():
    with torch.device("meta"):
        return CLIP(CONFIGS["clip-rn50x4"]).visual.eval()


@pytest.fixture(scope="module")
def names(rn50x4):
    return LayerNames(rn50x4, clip_aliases(rn50x4), prefix="visual.")


@pytest.fixture(scope="module")
def small():
    """A ModifiedResNet of a few units, with weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ModifiedResNet((1, 2, 1, 3), output_dim=6, heads=2, input_resolution=64, width=4).eval()


class Shared(nn.Module):
    """One ReLU that runs three times, under two names."""

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()
        self.block = nn.Sequential(nn.Linear(3, 4), self.relu)

    def forward(self, x):
        return self.relu(self.relu(self.block(x)))


# Names


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("layer4.5", "layer4.5"),
        ("visual.layer4.5", "layer4.5"),
        ("image_block_4/5/Relu_2", "layer4.5"),
        ("image_block_4/5/Relu_1", "layer4.5.relu2"),
        ("image_block_4/5/Relu", "layer4.5.relu1"),
        ("image_block_4/5/add_6", "layer4.5.add"),
        ("image_block_4/5/add_5", "layer4.5.bn3"),
        ("image_block_4/5/add_1", "layer4.5.bn1"),
        ("image_block_3/9/c2/Conv2D", "layer3.9.conv2"),
        ("image_block_1/0/Relu_2", "layer1.0"),
        ("block_4", "layer4"),
        ("visual.block_1", "layer1"),
        ("visual.image_block_4/5/Relu_2#1", "layer4.5#1"),
        ("layer4.5#2", "layer4.5#2"),
        ("attnpool.c_proj", "attnpool.c_proj"),
    ],
)
def test_every_scheme_leads_to_the_submodule(names, name, canonical):
    assert names.resolve(name) == canonical


def test_every_unit_of_every_stage_has_its_node(names, rn50x4):
    for stage, units in zip((1, 2, 3, 4), (4, 6, 10, 6)):
        for unit in range(units):
            assert names.resolve(f"image_block_{stage}/{unit}/Relu_2") == f"layer{stage}.{unit}"


def test_nodes_are_the_steps_of_a_block_in_values(small):
    aliases = clip_aliases(small)
    block, x = small.layer4[1], torch.randn(2, 128, 2, 2)
    with torch.no_grad(), trace(small.layer4, ["1", "1.relu1", "1.relu2", "1.add", "1.bn1", "1.bn3"]) as retained:
        block(x)
        relu = block.bn1(block.conv1(x)).clamp(min=0)
        relu_1 = block.bn2(block.conv2(relu)).clamp(min=0)
        add_5 = block.bn3(block.conv3(relu_1))
    steps = {"add_1": block.bn1(block.conv1(x)), "Relu": relu, "Relu_1": relu_1, "add_5": add_5, "add_6": add_5 + x}
    steps["Relu_2"] = steps["add_6"].clamp(min=0)
    for node, expected in steps.items():
        kept = retained[aliases[f"image_block_4/1/{node}"].removeprefix("layer4.")]
        torch.testing.assert_close(kept, expected, msg=node)


def test_sums_of_units_with_a_second_branch_have_no_alias(names):
    with pytest.raises(InputError, match="no layer 'image_block_4/0/add_6'"):
        names.resolve("image_block_4/0/add_6")


def test_names_of_a_frozen_graph_are_the_same_the_other_way_round(rn50x4):
    there = clip_aliases(rn50x4)
    back = graph_aliases([*there, "image_block_4/5/c1/w", "input_image", "image_block_7/0/Relu_2"])
    for path, node in back.items():
        if not path.startswith("block_"):
            assert there.get(node, node.replace("image_", "")) == path or node.endswith("/Relu_2"), path
    assert back["layer4.5"] == back["layer4"] == back["block_4"] == "image_block_4/5/Relu_2"
    assert back["layer3.9.conv2"] == "image_block_3/9/c2/Conv2D"
    assert {path for path in back if not path.startswith("block_")} >= set(there.values()) - {"layer0"}


@pytest.mark.parametrize(
    ("spelling", "layer"),
    [
        ("image_block_4/5/Add_6", "layer4.5.add"),
        ("IMAGE_BLOCK_4/5/relu_2", "layer4.5"),
        ("image_block_4/5/Relu_2:0", "layer4.5"),
        ("image_block_4/5/Add_6:0", "layer4.5.add"),
        ("visual.Layer4.5:0", "layer4.5"),
        ("relu1#1:0", "relu1#1"),
        ("relu1:0#1", "relu1#1"),
    ],
)
def test_case_and_the_number_of_an_output_do_not_matter(names, spelling, layer):
    assert names.resolve(spelling) == layer


def test_names_that_differ_in_case_alone_must_be_spelled_exactly():
    network = nn.Module()
    network.relu, network.ReLU = nn.ReLU(), nn.ReLU()
    names = LayerNames(network)
    assert (names.resolve("relu"), names.resolve("ReLU")) == ("relu", "ReLU")
    with pytest.raises(InputError, match="no layer 'Relu' among 2"):
        names.resolve("Relu")


@pytest.mark.parametrize("name", ["layer4.5:1", ":0", "layer4.5:0:0:0"])
def test_other_outputs_are_no_layers(names, name):
    with pytest.raises(InputError, match="no layer"):
        names.resolve(name)


def test_module_under_two_names_has_the_first():
    names = LayerNames(Shared())
    assert names.resolve("block.1") == "relu"
    assert names.aliases_of("relu") == ("block.1",)
    assert names.names == ("relu", "block", "block.0")


def test_alias_of_no_layer_is_refused(small):
    with pytest.raises(InputError, match=r"no layer 'layer4.7' among \d+; nearest: layer4"):
        LayerNames(small, {"last": "layer4.7"})


def test_layers_own_name_comes_before_an_alias():
    names = LayerNames(Shared(), {"block": "relu", "act": "relu"})
    assert (names.resolve("block"), names.resolve("act")) == ("block", "relu")


# Wrong names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("layer4.6", "no layer 'layer4.6': layer4 has blocks 0 to 5"),
        ("layer4.05", "no layer 'layer4.05': layer4 has blocks 0 to 5"),
        ("visual.layer3.10.relu1", "no layer 'visual.layer3.10.relu1': layer3 has blocks 0 to 9"),
        ("image_block_4/6/Relu_2", "no layer 'image_block_4/6/Relu_2': image_block_4 has blocks 0 to 5"),
    ],
)
def test_block_out_of_range_is_told_the_range(names, name, message):
    with pytest.raises(InputError) as caught:
        names.resolve(name)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("layer4/5", "layer4.5"),
        ("layer_4.5", "layer4.5"),
        ("layer4.5.relu", "layer4.5.relu1"),
        ("image_block_4/5/Relu_3", "image_block_4/5/Relu_2"),
        ("image_block4/5/Relu_2", "image_block_4/5/Relu_2"),
        ("block4", "block_4"),
        ("atnpool", "attnpool"),
    ],
)
def test_wrong_name_is_answered_with_the_nearest_of_either_scheme(names, name, nearest):
    with pytest.raises(InputError) as caught:
        names.resolve(name)
    assert nearest in str(caught.value).split("nearest: ")[1].split(", ")


def test_name_that_is_no_text_is_refused(names):
    with pytest.raises(InputError, match=r"layer: found 'None'; expected a name such as .*attnpool"):
        names.resolve(None)


@given(st.text(max_size=40) | st.from_regex(r"(visual\.)?(layer[0-9]|image_block_[0-9])[./][0-9]+[./]?\w*(#[0-9]*)?"))
def test_any_text_is_a_layer_or_a_clear_error(small, name):
    names = LayerNames(small, clip_aliases(small), prefix="visual.")
    try:
        problems = []
        canonical = names.resolve(name)
    except InputError as error:
        problems = error.problems
    if problems:
        assert len(problems) == 1
        assert re.match("no layer ['\"].*(among|has blocks)", problems[0])
    else:
        assert canonical.split("#")[0] in names.names


# Shapes, units, listing


@pytest.mark.parametrize(
    ("shape", "axis"), [((1, 2560, 9, 9), 1), ((1, 50, 768), 2), ((1, 640), 1), ((5,), None), ((), None)]
)
def test_axis_of_the_units_follows_from_the_shape(shape, axis):
    assert unit_axis(shape) == axis


def test_network_may_say_where_its_units_are(small):
    names = LayerNames(small, {"last": "layer4"}, axis=lambda name, shape: 3 if name == "layer4" else unit_axis(shape))
    assert names.axes("last", {1: (1, 2, 2, 64), 2: (2, 2, 2, 64)}) == (0, 3)
    listed = {layer.name: layer.units for layer in names.listing(torch.zeros(1, 3, 64, 64))}
    assert (listed["layer4"], listed["layer3"]) == (2, 64)


def test_listing_of_rn50x4_has_the_known_shapes_and_takes_no_memory_to_speak_of(names):
    began = time.process_time()
    listed = {layer.name: layer for layer in names.listing(torch.empty(1, 3, 288, 288, device="meta"))}
    assert time.process_time() - began < 10  # a real pass would take far longer, and weights 350 MB
    stages = ("avgpool", "layer1", "layer2", "layer3", "layer4")
    shapes = [(1, 80, 72, 72), (1, 320, 72, 72), (1, 640, 36, 36), (1, 1280, 18, 18), (1, 2560, 9, 9)]
    assert [listed[stage].shape for stage in stages] == shapes
    assert [listed[stage].units for stage in stages] == [80, 320, 640, 1280, 2560]
    assert listed["layer4"].aliases == ("block_4",)
    assert listed["layer4.5"].aliases == ("image_block_4/5/Relu_2",)
    assert listed["layer4.5.add"].aliases == ("image_block_4/5/add_6",)
    assert listed["attnpool"].shape == (1, 640)


def test_listing_equals_what_a_real_pass_gives_in_its_order(small):
    x = torch.randn(3, 3, 64, 64)
    expected = []
    handles = [
        module.register_forward_hook(lambda m, i, out, name=name: expected.append((name, tuple(out.shape))))
        for name, module in small.named_modules()
        if name
    ]
    with torch.no_grad():
        small(x)
    for handle in handles:
        handle.remove()
    listed = LayerNames(small, clip_aliases(small)).listing(x)
    assert [(layer.name, layer.shape) for layer in listed] == expected
    assert LayerNames(small).shapes(x) == dict(expected)


def test_every_listed_layer_runs_and_every_alias_leads_to_it(small):
    names = LayerNames(small, clip_aliases(small), prefix="visual.")
    x = torch.randn(1, 3, 64, 64)
    listed = names.listing(x)
    with torch.no_grad(), trace(small, [layer.name for layer in listed]) as retained:
        small(x)
    for layer in listed:
        assert tuple(retained[layer.name].shape) == layer.shape
        for alias in layer.aliases:
            assert names.resolve(alias) == layer.name
    assert {names.resolve(alias) for alias in clip_aliases(small)} <= {layer.name for layer in listed}


def test_listing_leaves_the_network_alone(small):
    state = {name: (value.data_ptr(), value.clone()) for name, value in small.state_dict().items()}
    LayerNames(small).listing(torch.zeros(1, 3, 64, 64))
    for name, value in small.state_dict().items():
        assert value.data_ptr() == state[name][0]
        assert torch.equal(value, state[name][1])


def test_calls_of_a_layer_that_runs_several_times_are_listed_each():
    listed = LayerNames(Shared()).listing(torch.zeros(2, 3))
    assert [(layer.name, layer.units) for layer in listed] == [
        ("block.0", 4), ("relu#1", 4), ("block", 4), ("relu#2", 4), ("relu#3", 4),
    ]  # fmt: skip
    assert listed[1].aliases == ("block.1",)


def test_network_that_needs_values_for_its_shapes_runs_for_real():
    class Nonzero(nn.Module):
        def __init__(self):
            super().__init__()
            self.constant = torch.tensor([1.0, 0.0, 1.0])  # neither parameter nor buffer
            self.same = nn.Identity()

        def forward(self, x):
            return self.same(x[:, : int((self.constant * x[0]).sum())])

    assert LayerNames(Nonzero()).shapes(torch.ones(4, 3)) == {"same": (4, 2)}
