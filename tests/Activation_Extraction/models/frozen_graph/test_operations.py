"""Every operation of a frozen graph gives what TensorFlow gave; what is not supported is refused before it runs."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.models.frozen_graph.graph_def import parse_graph_def
from Activation_Extraction.models.frozen_graph.module import FrozenGraph
from Activation_Extraction.models.frozen_graph.operations import OPERATIONS
from benchmarks.tensorflow_operations import recorded, relative_difference
from tests.Activation_Extraction.graph_writer import GraphWriter

ABOUT, RECORDED = recorded()
DOCUMENT = (Path(__file__).parents[4] / "docs" / "FROZEN_GRAPH.md").read_text(encoding="utf-8")
KINDS = sorted({case.operation for case in RECORDED})


@pytest.mark.parametrize("operation", KINDS)
def test_an_operation_equals_tensorflow(operation):
    differences = [relative_difference(case) for case in RECORDED if case.operation == operation]
    assert max(differences) < 1e-6


def test_every_operation_was_held_against_tensorflow():
    assert set(OPERATIONS) <= set(KINDS)


def test_the_document_tells_every_operation_and_how_many_cases_it_has():
    rows = dict(re.findall(r"^\| ([^|]+?) \| (\d+) \|", DOCUMENT, re.MULTILINE))
    assert {name: int(count) for name, count in rows.items()} == {
        kind: sum(case.operation == kind for case in RECORDED) for kind in KINDS
    }
    assert ABOUT["tensorflow"] in DOCUMENT


def graph(operation, *others, shape=(1, 4, 4, 2), **attributes):
    """The images, then further constants, into one operation called `node`."""
    g = GraphWriter()
    x = g.node("input_image", "Placeholder", dtype=("type", 1), shape=("shape", shape))
    constants = [g.constant(f"constant_{k}", value) for k, value in enumerate(others)]
    g.node("node", operation, x, *constants, **attributes)
    return FrozenGraph(parse_graph_def(bytes(g), "x.pb"), "x.pb")


W = np.ones((3, 3, 2, 2), np.float32)
V = np.ones(2, np.float32)
SOUND = {"strides": [1, 1, 1, 1], "padding": "SAME"}


@pytest.mark.parametrize(
    ("operation", "others", "attributes", "found"),
    [
        ("Conv2D", [W], {**SOUND, "padding": "REFLECT"}, "'padding' is 'REFLECT'; expected SAME or VALID or EXPLICIT"),
        ("Conv2D", [W], {"strides": [1, 1, 1, 1]}, "'padding' is missing"),
        ("Conv2D", [W], {**SOUND, "data_format": "NCHW_VECT_C"}, "'data_format' is 'NCHW_VECT_C'; expected NHWC or NCHW"),
        ("Conv2D", [W], {**SOUND, "strides": [2, 1, 1, 1]}, r"'strides' is '\[2, 1, 1, 1\]'; expected four"),
        ("Conv2D", [W], {**SOUND, "strides": [1, 0, 1, 1]}, "expected four positive"),
        ("Conv2D", [W], {**SOUND, "strides": [1, 1]}, "expected four positive"),
        ("Conv2D", [W], {**SOUND, "strides": 1}, "'strides' is '1'; expected a list"),
        ("Conv2D", [W], {**SOUND, "explicit_paddings": [1] * 8}, "expected eight numbers with EXPLICIT"),
        ("Conv2D", [W], {**SOUND, "padding": "EXPLICIT", "explicit_paddings": [1] * 8}, "no padding of images"),
        ("Conv2D", [W], {**SOUND, "sparsity": 2}, "'sparsity' is '2'; expected an operation without it"),
        ("AvgPool", [], {**SOUND, "ksize": [1, 1, 1, 2]}, "'ksize'"),
        ("FusedBatchNormV3", [V] * 4, {"epsilon": 1e-3}, "'is_training' is missing; expected false"),
        ("FusedBatchNormV3", [V] * 4, {"is_training": False, "epsilon": 1}, "'epsilon' is '1'; expected a float"),
        ("MatMul", [V], {"transpose_a": 1}, "'transpose_a' is '1'; expected a bool"),
        ("GatherV2", [np.int32(0), np.int32(0)], {"batch_dims": 1}, "'batch_dims' is '1'; expected 0"),
        ("Einsum", [], {"equation": "ij,jk->ik", "N": 1}, "expected an equation"),
        ("Cast", [], {"DstT": ("type", 8)}, "'DstT'.*DT_8.*expected a type of numbers"),
        ("StridedSlice", [np.zeros(2, np.int32)] * 3, {"ellipsis_mask": 3}, "expected one bit at most"),
        ("Relu", [V], {}, "'node' .Relu. has 2 inputs; expected 1"),
        ("ConcatV2", [], {}, "has 1 inputs; expected 2 or more"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_with_its_node_and_value(operation, others, attributes, found):
    with pytest.raises(InputError, match=found) as raised:
        graph(operation, *others, **attributes)
    assert len(raised.value.problems) == 1
    assert str(raised.value).startswith(f"x.pb: node 'node' ({operation})")


@pytest.mark.parametrize(
    ("operation", "others", "attributes", "found"),
    [
        ("Reshape", [np.int32([5, -1])], {}, r"cannot run on shapes \(1, 4, 4, 2\), \(2,\): "),
        ("Mean", [np.int32([4])], {}, "axis 4 of a tensor of rank 4"),
        ("Squeeze", [], {"squeeze_dims": [1]}, "axis 1 has length 4"),
        ("StridedSlice", [np.int32([0]), np.int32([1]), np.int32([0])], {}, "cannot run"),
        ("GatherV2", [np.int32([7]), np.int32(1)], {}, "cannot run"),
    ],
)
def test_an_operation_that_cannot_run_names_its_node(operation, others, attributes, found):
    with pytest.raises(RuntimeError, match=f"node 'node' .{operation}. .*{found}"):
        graph(operation, *others, **attributes)(torch.zeros(1, 4, 4, 2))


def test_split_refuses_parts_that_do_not_come_out_even():
    g = GraphWriter()
    x = g.node("input_image", "Placeholder", dtype=("type", 1))
    g.node("node", "Split", g.constant("axis", np.int32(1)), x, num_split=3)
    with pytest.raises(RuntimeError, match="4 elements in 3 equal parts"):
        FrozenGraph(parse_graph_def(bytes(g), "x.pb"), "x.pb")(torch.zeros(1, 4))


def test_same_padding_puts_the_odd_pixel_at_the_end():
    graph_of_sums = graph("Conv2D", np.ones((2, 2, 1, 1), np.float32), shape=(1, 2, 2, 1), **SOUND)
    x = torch.tensor([[1.0, 2], [4, 8]])[None, :, :, None]
    assert graph_of_sums(x)[0, :, :, 0].tolist() == [[15, 10], [12, 8]]


def test_the_mean_of_a_padded_pool_counts_only_what_is_there():
    pool = graph("AvgPool", shape=(1, 2, 2, 1), ksize=[1, 2, 2, 1], **SOUND)
    x = torch.tensor([[1.0, 2], [4, 8]])[None, :, :, None]
    assert pool(x)[0, :, :, 0].tolist() == [[15 / 4, 5], [6, 8]]


def test_gradients_flow_to_the_image_but_not_past_stop_gradient():
    x = torch.ones(1, 4, 4, 2, requires_grad=True)
    graph("Square")(x).sum().backward()
    assert x.grad.unique().tolist() == [2]
    assert not graph("StopGradient")(x).requires_grad
