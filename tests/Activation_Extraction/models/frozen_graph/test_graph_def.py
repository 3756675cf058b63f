"""The parser of GraphDefs: what TensorFlow writes is read as it is, and broken files end in one clear line."""

import hashlib
import math
import re
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.models.frozen_graph.attributes import Attributes
from Activation_Extraction.models.frozen_graph.graph_def import (
    MalformedError,
    constant,
    parse_graph_def,
    read_graph_def,
)
from Activation_Extraction.models.frozen_graph.messages import NODE
from Activation_Extraction.models.frozen_graph.module import FrozenGraph
from benchmarks.tensorflow_operations import recorded
from tests.Activation_Extraction.graph_writer import GraphWriter, field, shape_message, tensor_message, varint

FROM_TENSORFLOW = next(case.graph for case in recorded()[1] if case.operation == "a residual network, NHWC")
MEGABYTE = 1 << 20


def graph_of_tensor(message):
    """A graph whose only node is a constant with this TensorProto."""
    return field(1, field(1, "c") + field(2, "Const") + field(5, field(1, "value") + field(2, field(8, message))))


def tensor_in(message):
    """What a reader makes of a TensorProto."""
    return Attributes(parse_graph_def(graph_of_tensor(message), "x.pb")["c"], "x.pb").tensor("value")


def test_a_graph_of_tensorflow_is_read_with_names_inputs_and_attributes():
    nodes = parse_graph_def(FROM_TENSORFLOW, "x.pb")
    conv = nodes["c1/Conv2D"]
    assert (conv.operation, conv.inputs[1]) == ("Conv2D", "c1/w/read")
    attributes = Attributes(conv, "x.pb")
    assert attributes.integers("strides") == (1, 2, 2, 1)
    assert (attributes.text("padding"), attributes.text("data_format")) == ("SAME", "NHWC")
    assert attributes.torch_type("T") == torch.float32
    assert Attributes(nodes["input_image"], "x.pb").shape("shape") == (None, 8, 9, 3)
    assert Attributes(nodes["c1/w"], "x.pb").tensor("value").values.shape == (3, 3, 3, 4)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "float16", "uint8"])
def test_a_tensor_is_read_from_its_content(dtype):
    values = np.frombuffer(np.random.default_rng(0).bytes(48), dtype)[:6].reshape(2, 3)
    tensor = tensor_in(tensor_message(values))
    assert tensor.dtype == dtype
    np.testing.assert_array_equal(tensor.values, values)


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ({"_5": np.float32([1, 2, 3, 4]).tobytes()}, [1, 2, 3, 4]),
        ({"_5": 0.5}, [0.5] * 4),
        ({"_5": np.float32([1, 7]).tobytes()}, [1, 7, 7, 7]),
        ({"_5": b""}, [0] * 4),
    ],
)
def test_listed_floats_go_on_with_the_last_one(listed, expected):
    message = tensor_message(np.zeros((2, 2), np.float32), **listed)
    np.testing.assert_array_equal(tensor_in(message).values.ravel(), expected)


def test_floats_that_are_not_packed_are_one_after_the_other():
    message = tensor_message(np.zeros(3, np.float32), _5=1.5) + field(5, 2.5) + field(5, -3.0)
    np.testing.assert_array_equal(tensor_in(message).values, [1.5, 2.5, -3])


def test_listed_integers_may_be_negative_packed_or_not():
    packed = tensor_message(np.zeros(3, np.int32), _7=varint(5) + varint(-2) + varint(300))
    single = tensor_message(np.zeros(3, np.int32), _7=5) + varint(7 << 3) + varint(-2) + field(7, 300)
    for message in (packed, single):
        np.testing.assert_array_equal(tensor_in(message).values, [5, -2, 300])


def test_listed_halves_are_bits():
    bits = [int(bits) for bits in np.float16([1.5, -2]).view(np.uint16)]
    message = tensor_message(np.zeros(2, np.float16), _13=b"".join(map(varint, bits)))
    np.testing.assert_array_equal(tensor_in(message).values, [1.5, -2])


def test_an_integer_that_fills_a_huge_tensor_takes_no_memory():
    message = field(1, 1) + field(2, shape_message([1 << 15, 1 << 15])) + field(5, 0.5)
    tracemalloc.start()
    values = tensor_in(message).values
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (values.shape, values[-1, -1]) == ((1 << 15, 1 << 15), 0.5)
    assert peak < MEGABYTE


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (tensor_message(np.zeros(3, np.float32))[:-4], "a node that cannot be parsed"),
        (field(1, 1) + field(2, shape_message([3])) + field(4, b"12345678"), "8 bytes of content for 3 elements"),
        (tensor_message(np.zeros(1, np.float32), _5=np.zeros(2, np.float32).tobytes()), "2 values for 1 elements"),
        (tensor_message(np.zeros(2, np.float32), _5=b"12345"), "a node that cannot be parsed"),
        (tensor_message(np.zeros(2, np.int32), _7=b"\x80"), "a node that cannot be parsed"),
        (tensor_message(np.zeros(2, np.int32), _7=b"\x80" * 11 + b"\x01"), "a node that cannot be parsed"),
        (tensor_message(np.zeros(2, np.float32), _5=3), "node 'c': a field float_val of wire type 0"),
        (tensor_message(np.zeros(2, np.int64), _10=0.5), "node 'c': a field int64_val of wire type 5"),
        (field(1, 1) + field(2, shape_message([1 << 30, 1 << 30])) + field(5, 0.5), "lists 1"),
        (field(1, 1) + field(2, shape_message([1 << 30])) + field(5, b"\0" * 8), "lists 2"),
        (field(1, 1) + field(2, shape_message([0, 1 << 62])), "lists 0"),
        (field(1, 1) + field(2, shape_message([1] * 33)) + field(5, 0.5), "shape is not known"),
        (field(1, 1) + field(2, shape_message([-1])) + field(5, 0.5), "shape is not known"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_add_up_are_refused(message, what):
    with pytest.raises(InputError, match=f"x.pb: .*byte .*{re.escape(what)}"):
        parse_graph_def(graph_of_tensor(message), "x.pb")


def small_graph():
    g = GraphWriter()
    x = g.node("input_image", "Placeholder", dtype=("type", 1), shape=("shape", (-1, 2, 2, 3)))
    x = g.apply("s", "Mul", x, g.constant("k", np.float32([1, 2, 3])), name="mul")
    g.apply("s", "Relu", x)
    return bytes(g)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "the file is empty"),
        (b"node {\n  name: \"x\"\n}\n", "not a GraphDef: at byte 0"),
        (b"\x80\x03}q\x00.", "not a GraphDef|or not a GraphDef"),
        (b"PK\x03\x04" + bytes(100), "not a GraphDef|or not a GraphDef"),
        (field(4, field(1, 134)), "contains no nodes"),
        (field(1, field(1, "two words") + field(2, "Relu")), "which TensorFlow does not allow"),
        (field(1, field(1, b"\xff")), "not a GraphDef: at byte 0 a node that cannot be parsed"),
        (field(1, field(1, "x")) * 2, "a second node 'x'"),
        (field(1, field(1, "x")) + field(9, 1), "damaged: at byte 5 field 9"),
    ],
)  # fmt: skip
def test_what_is_no_graph_is_refused_in_one_line(tmp_path, data, found):
    path = tmp_path / "graph.pb"
    path.write_bytes(data)
    with pytest.raises(InputError, match=found) as raised:
        read_graph_def(path)
    assert len(raised.value.problems) == 1
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(str(path))


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.pb: no such file"):
        read_graph_def(tmp_path / "none.pb")
    with pytest.raises(InputError, match="cannot be read"):
        read_graph_def(tmp_path)


def test_a_file_cut_off_tells_where(tmp_path):
    path = tmp_path / "graph.pb"
    path.write_bytes(FROM_TENSORFLOW[: len(FROM_TENSORFLOW) // 2])
    with pytest.raises(InputError, match=r"cut off: at byte [\d,]+ begins a field of [\d,]+ bytes, of which [\d,]+"):
        read_graph_def(path)


def test_the_hash_is_checked_before_anything_is_parsed(tmp_path):
    path = tmp_path / "graph.pb"
    path.write_bytes(b"no graph at all")
    with pytest.raises(InputError, match="expected SHA-256 00000"):
        read_graph_def(path, sha256="0" * 64)
    path.write_bytes(small_graph())
    right = hashlib.sha256(small_graph()).hexdigest().upper()
    assert list(read_graph_def(path, sha256=right)) == ["input_image", "k", "s/mul", "s/Relu"]


def loaded_or_refused(data):
    try:
        return FrozenGraph(parse_graph_def(data, "x.pb"), "x.pb")
    except InputError as error:
        problems = error.problems
    assert problems
    assert all("\n" not in str(problem) for problem in problems)
    return None


def test_truncation_at_any_byte_is_an_input_error_or_a_smaller_graph():
    whole = small_graph()
    assert loaded_or_refused(whole) is not None
    refused = [loaded_or_refused(whole[:stop]) is None for stop in range(len(whole))]
    assert sum(refused) > len(whole) * 0.9


@given(st.data())
def test_damage_anywhere_is_an_input_error_and_takes_little_memory(data):
    graph = bytearray(data.draw(st.sampled_from([FROM_TENSORFLOW, small_graph()])))
    places = st.tuples(st.integers(0, len(graph) - 1), st.integers(0, 255))
    for place, byte in data.draw(st.lists(places, min_size=1, max_size=6)):
        graph[place] = byte
    stop = data.draw(st.integers(0, len(graph)) | st.just(len(graph)))
    tracemalloc.start()
    loaded_or_refused(bytes(graph[:stop]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * MEGABYTE


@given(st.binary(max_size=200))
def test_any_bytes_are_a_graph_or_an_input_error(data):
    loaded_or_refused(data)


@given(st.lists(st.integers(0, 1 << 62), max_size=4), st.lists(st.integers(-128, 127), max_size=12))
def test_no_shape_makes_a_few_bytes_many(lengths, listed):
    tensor = NODE().attr.add().value.tensor
    tensor.dtype = 6
    for length in lengths:
        tensor.tensor_shape.dim.add(size=length)
    tensor.int_val.extend(listed)
    try:
        values = constant(tensor).values
    except MalformedError:
        return
    assert values.size == math.prod(lengths)
    assert not any(values.strides) or values.nbytes < MEGABYTE
