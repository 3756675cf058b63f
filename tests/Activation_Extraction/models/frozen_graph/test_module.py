"""A frozen graph of CLIP's image tower equals our own module at every block; broken graphs are refused."""

import copy
import hashlib
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.models.axes import Axes
from Activation_Extraction.models.frozen_graph.graph_def import parse_graph_def
from Activation_Extraction.models.frozen_graph.module import FrozenGraph, load_frozen_graph
from Activation_Extraction.models.frozen_graph.operations import OPERATIONS
from Activation_Extraction.models.modified_resnet import ModifiedResNet
from Activation_Extraction.models.surgery.rewrite import rewritten
from Activation_Extraction.models.trace import trace
from tests.Activation_Extraction.graph_writer import GraphWriter, clip_image_graph

LAYERS, HEADS, RESOLUTION = (2, 1, 1, 2), 4, 64
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module")
def tower():
    torch.manual_seed(0)
    network = ModifiedResNet(LAYERS, 12, HEADS, input_resolution=RESOLUTION, width=8).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.3, 2)
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0, 0.2)
    return network


@pytest.fixture(scope="module")
def pb(tower, tmp_path_factory):
    path = tmp_path_factory.mktemp("graph") / "image32.pb"
    state = {key: value.numpy() for key, value in tower.state_dict().items()}
    path.write_bytes(clip_image_graph(state, LAYERS, HEADS, RESOLUTION, MEAN, STD))
    return path


@pytest.fixture(scope="module")
def graph(pb):
    return load_frozen_graph(pb, sha256=hashlib.sha256(pb.read_bytes()).hexdigest())


@pytest.fixture(scope="module")
def images():
    return torch.randint(0, 256, (2, RESOLUTION, RESOLUTION, 3), generator=torch.Generator().manual_seed(1)).float()


@pytest.fixture(scope="module")
def prepared(images):
    return ((images / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)


def outputs_of(module, names, x):
    """What the sub-modules of these names give, by ordinary forward hooks."""
    found, modules = {}, dict(module.named_modules())
    hooks = [
        modules[name].register_forward_hook(lambda m, i, output, name=name: found.__setitem__(name, output.clone()))
        for name in names
    ]
    found["output"] = module(x)
    for hook in hooks:
        hook.remove()
    return found


def relative(a, b):
    assert a.shape == b.shape
    return float((a - b).abs().max() / b.abs().max())


def written(write):
    """The graph of what `write` puts into a GraphWriter after the placeholder `input_image`."""
    g = GraphWriter()
    g.node("input_image", "Placeholder", dtype=("type", 1))
    write(g)
    return parse_graph_def(bytes(g), "x.pb")


def test_clip_as_a_frozen_graph_equals_our_module_at_every_block(tower, graph, images, prepared):
    pairs = {"image_pre/AvgPool": "avgpool"}
    for stage, blocks in enumerate(LAYERS, start=1):
        for block in range(blocks):
            node, layer = f"image_block_{stage}/{block}", f"layer{stage}.{block}"
            pairs |= {f"{node}/Relu_2": layer, f"{node}/add_6": f"{layer}.add", f"{node}/c2/Conv2D": f"{layer}.conv2"}
            pairs |= {f"{node}/add_1": f"{layer}.bn1", f"{node}/add_5": f"{layer}.bn3"}
    found, expected = outputs_of(graph, pairs, images), outputs_of(tower, pairs.values(), prepared)
    differences = {
        node: relative(found[node], expected[layer]) for node, layer in {**pairs, "output": "output"}.items()
    }
    assert len(differences) == 2 + 5 * sum(LAYERS)
    assert max(differences.values()) < 1e-4, differences


def test_gradients_to_the_image_equal_those_of_our_module(tower, graph, images, prepared):
    x, y = images.clone().requires_grad_(), prepared.clone().requires_grad_()
    graph(x).square().sum().backward()
    tower(y).square().sum().backward()
    expected = y.grad.permute(0, 2, 3, 1) / 255 / torch.tensor(STD)
    assert relative(x.grad, expected) < 1e-3


def test_ascending_a_unit_of_the_rewritten_graph_follows_the_gradient_of_our_module(tower, graph, images):
    ours, _ = rewritten(copy.deepcopy(tower).double(), {"layer4.1": Axes(0, 1)}, "none")
    theirs, _ = rewritten(copy.deepcopy(graph).double(), {"image_block_4/1/Relu_2": Axes(0, 1)}, "none")
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (MEAN, STD))
    x_NCHW = (images[:1].double() / 255).permute(0, 3, 1, 2)
    for _ in range(3):
        gradients = []
        for network, prepare in (
            (ours, lambda x: (x - mean) / std),
            (theirs, lambda x: 255 * x.movedim(1, -1)),
        ):
            (a,) = network(prepare(given := x_NCHW.clone().requires_grad_()))
            (gradient,) = torch.autograd.grad(a[:, 5].mean(), given)
            gradients.append(gradient)
        assert relative(gradients[1], gradients[0]) < 1e-4
        assert gradients[0].norm() > 0
        x_NCHW = x_NCHW + 0.05 * gradients[0] / gradients[0].abs().max()


def test_a_graph_with_nodes_of_several_outputs_can_be_rewritten():
    def write(g):
        g.node("halves", "Split", g.constant("axis", np.int32(-1)), "input_image", num_split=2)
        g.node("product", "Mul", "halves", "halves:1")

    network, _ = rewritten(FrozenGraph(written(write), "x.pb"), {"product": Axes(0, 1)}, "none")
    assert network(torch.tensor([[2.0, 3.0, 5.0, 7.0]]))[0].tolist() == [[10, 21]]


def test_a_hook_on_a_node_edits_what_the_rest_of_the_graph_sees(tower, graph, images, prepared):
    def ablated(module, inputs, output):
        output = output.clone()
        output[:, :64] = 0
        return output

    node = graph.get_submodule("image_block_4/1/Relu_2")
    assert (node.node, node.operation) == ("image_block_4/1/Relu_2", "Relu")
    hooks = [node.register_forward_hook(ablated), tower.layer4[1].register_forward_hook(ablated)]
    found, expected = graph(images), tower(prepared)
    for hook in hooks:
        hook.remove()
    assert relative(found, expected) < 1e-4
    assert not torch.equal(found, graph(images))


def test_trace_keeps_a_node_and_ends_the_run_there(graph, images):
    later = []
    hook = graph.get_submodule("image_block_1/1/c1/Conv2D").register_forward_hook(lambda *_: later.append(1))
    with trace(graph, ["image_block_1/0/Relu_2"]) as retained:
        retained.run(images)
    hook.remove()
    assert retained["image_block_1/0/Relu_2"].shape == (2, 32, 16, 16)
    assert not later


def test_the_graph_says_which_axis_holds_units(graph, images):
    for node, axis in {
        "prep/truediv": 3,
        "prep/transpose": 1,
        "image_pre/c1/Conv2D": 1,
        "image_block_2/0/AvgPool": 1,
        "image_block_4/1/add_6": 1,
        "image_block_4/1/Relu_2": 1,
        "image_block/attn/q/add": -1,
        "image_post/Reshape": None,
        "image_block_4/1/bn1/g/read": None,
    }.items():
        assert graph.unit_axis(node) == axis, node
    with pytest.raises(InputError, match="nearest: image_block_4/1/Relu_2"):
        graph.unit_axis("image_block_4/1/relu_2")


def test_layers_of_a_tensorflow_layout_are_followed_through_transposes_and_means():
    def write(g):
        axes = np.array([0, 3, 1, 2], np.int32)
        w = g.constant("w", np.zeros((1, 1, 3, 5), np.float32))
        g.node("conv", "Conv2D", "input_image", w, strides=[1, 1, 1, 1], padding="SAME")
        g.node("moved", "Transpose", "conv", g.constant("axes", axes))
        g.node("relu", "Relu", "moved")
        space = g.constant("space", np.array([1, 2], np.int32))
        g.node("mean", "Mean", "conv", space)
        g.node("kept", "Mean", "conv", space, keep_dims=True)
        g.node("gone", "Mean", "conv", g.constant("all", np.array([-1], np.int32)))
        g.node("end", "Pack", "relu", "mean", "kept", "gone", N=4)

    graph = FrozenGraph(written(write), "x.pb")
    axes = {name: graph.unit_axis(name) for name in ("conv", "moved", "relu", "mean", "kept", "gone")}
    assert axes == {"conv": 3, "moved": 1, "relu": 1, "mean": 1, "kept": 3, "gone": None}


def test_what_no_later_node_needs_is_freed_while_the_graph_runs(graph, images):
    alive, at_the_end = [], []
    stages = ("image_pre/Relu_2", "image_block_1/1/Relu_2", "image_block_3/0/add_6")
    hooks = [
        graph.get_submodule(name).register_forward_hook(lambda m, i, output: alive.append(weakref.ref(output)))
        for name in stages
    ]
    last = graph.get_submodule("image_block_4/1/Relu_2")
    hooks.append(last.register_forward_hook(lambda *_: at_the_end.extend(ref() is None for ref in alive)))
    with torch.no_grad():
        graph(images)
    for hook in hooks:
        hook.remove()
    assert at_the_end == [True] * 3


def test_a_copy_runs_alike(graph, images):
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(graph)(images), graph(images))


def test_weights_are_buffers_with_the_values_of_the_file(tower, graph):
    state = graph.state_dict()
    w_HWIO = state["image_block_2/0/c2/w.value"]
    assert torch.equal(w_HWIO, tower.layer2[0].conv2.weight.permute(2, 3, 1, 0))
    assert not list(graph.parameters())
    assert not graph.training


def test_an_input_of_another_shape_is_refused(graph, prepared):
    with pytest.raises(InputError, match=r"'input_image': shape \(2, 3, 64, 64\); expected \(any, 64, 64, 3\)"):
        graph(prepared)


def test_whole_numbers_are_taken_as_images(graph, images):
    assert torch.equal(graph(images.to(torch.uint8)), graph(images))


def test_names_that_torch_does_not_allow_are_escaped():
    def write(g):
        g.node("stem.1/relu", "Relu", "input_image")
        g.node("float", "Neg", "stem.1/relu")
        g.node("output_name", "Neg", "float")

    graph = FrozenGraph(written(write), "x.pb")
    names = [name for name, _ in graph.named_modules() if name]
    assert names == ["input_image", "stem%2E1/relu", "%66loat", "%6Futput_name"]
    assert [graph.module_name(name) for name in ("input_image", "stem.1/relu", "float", "output_name")] == names
    assert graph.get_submodule("%66loat").node == "float"
    assert graph.unit_axis("stem%2E1/relu") == graph.unit_axis("stem.1/relu") == -1
    assert graph.output_name == "output_name"
    assert graph(torch.tensor([2.0, -3.0])).tolist() == [2, 0]


def test_the_output_is_the_last_node_that_nothing_consumes():
    def write(g):
        g.node("first", "Neg", "input_image")
        g.node("last", "Square", "input_image")
        g.node("stray", "Neg", g.constant("c", np.float32(1)))
        g.node("check", "NoOp", "^last")

    graph = FrozenGraph(written(write), "x.pb")
    assert graph.output_name == "last"
    assert [name for name, _ in graph.named_modules() if name] == ["input_image", "last"]
    assert FrozenGraph(written(write), "x.pb", output_name="first")(torch.tensor([2.0])).tolist() == [-2]


def test_nodes_run_in_the_order_of_their_inputs_whatever_the_order_of_the_file():
    def write(g):
        g.node("sum", "AddV2", "square", "halves:1")
        g.node("square", "Square", "halves")
        g.node("halves", "Split", "axis", "input_image", num_split=2)
        g.constant("axis", np.int32(0))

    x = torch.tensor([3.0, 5.0])
    assert FrozenGraph(written(write), "x.pb")(x).tolist() == [14]
    assert FrozenGraph(written(write), "x.pb", output_name="halves:1")(x).tolist() == [5]
    with pytest.raises(InputError, match="'the output' takes 'halves:2'; expected one of 2 outputs"):
        FrozenGraph(written(write), "x.pb", output_name="halves:2")


def two_placeholders(g):
    g.node("other", "Placeholder", dtype=("type", 1))
    g.node("scaled", "Mul", "input_image", g.constant("half", np.float32(0.5)))
    g.node("sum", "AddV2", "scaled", "other")


def test_the_input_can_be_named():
    nodes = written(two_placeholders)
    x = torch.tensor([4.0])
    assert FrozenGraph(nodes, "x.pb", output_name="scaled")(x).tolist() == [2]
    assert FrozenGraph(nodes, "x.pb", input_name="other", output_name="other")(x).tolist() == [4]


def unknown(g):
    g.node("a", "NonMaxSuppression", "input_image")
    g.node("b", "Relu7", "a")
    g.node("c", "Relu7", "b")


@pytest.mark.parametrize(
    ("write", "options", "problems"),
    [
        (two_placeholders, {}, ["x.pb: several placeholders: 'input_image', 'other'; expected input_name to be one of them"]),
        (
            two_placeholders,
            {"input_name": "input_image"},
            [
                "x.pb: besides 'input_image' the output 'sum' needs 'other'; "
                "expected one placeholder; choose an output that needs no other"
            ],
        ),
        (
            two_placeholders,
            {"input_name": "inputimage"},
            ["x.pb: no placeholder 'inputimage'; expected the name of one; nearest: input_image"],
        ),
        (two_placeholders, {"output_name": "scald"}, ["x.pb: no output 'scald'; expected the name of one; nearest: scaled"]),
        (
            two_placeholders,
            {"output_name": "half"},
            ["x.pb: the output 'half' does not depend on any placeholder; expected an output that does"],
        ),
        (lambda g: None, {}, ["x.pb: no node depends on a placeholder; expected one that takes the images"]),
        (
            unknown,
            {},
            [
                "x.pb: the operation 'NonMaxSuppression' of 'a' is not supported; "
                f"expected one of the {len(OPERATIONS)} that docs/FROZEN_GRAPH.md lists",
                "x.pb: the operation 'Relu7' of 'b', 'c' is not supported; "
                f"expected one of the {len(OPERATIONS)} that docs/FROZEN_GRAPH.md lists; nearest: Relu, Relu6, RealDiv",
            ],
        ),
        (
            lambda g: (g.node("a", "AddV2", "input_image", "b"), g.node("b", "Relu", "a"), g.node("c", "Relu", "b")),
            {},
            ["x.pb: the nodes form a cycle: a → b → a; expected a graph that runs from input to output"],
        ),
        (
            lambda g: (g.node("a", "AddV2", "input_image", "w/read"), g.node("b", "Relu", "a", "^gone")),
            {},
            [
                "x.pb: node 'a' takes 'w/read', which does not exist; expected a complete graph",
                "x.pb: node 'b' takes '^gone', which does not exist; expected a complete graph",
            ],
        ),
        (
            lambda g: g.node("a", "Relu", "input_image:1"),
            {},
            ["x.pb: 'a' takes 'input_image:1'; expected one of 1 outputs"],
        ),
        (
            lambda g: (g.node("s", "Const", value=b"text"), g.node("a", "AddV2", "input_image", "s")),
            {},
            ["x.pb: node 's' (Const): attribute 'value' is 'text'; expected a tensor of numbers"],
        ),
    ],
)  # fmt: skip
def test_graphs_that_cannot_run_are_refused_line_by_line(write, options, problems):
    with pytest.raises(InputError) as raised:
        FrozenGraph(written(write), "x.pb", **options)
    assert [str(problem) for problem in raised.value.problems] == problems


def test_a_long_list_of_problems_is_cut():
    def write(g):
        for k in range(50):
            g.node(f"n{k}", "Relu", f"missing{k}")

    nodes = written(write)
    with pytest.raises(InputError) as raised:
        FrozenGraph(nodes, "x.pb")
    assert (len(raised.value.problems), raised.value.problems[-1]) == (21, "… and 30 more")
