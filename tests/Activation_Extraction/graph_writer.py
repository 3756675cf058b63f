"""Writes TensorFlow GraphDefs by hand, and CLIP's image tower as the frozen graph of its authors is built.

Names of nodes: `image_block_B/i/c1/w/read`, `…/c1/Conv2D`, `…/bn1/g`, moving statistics as
`Variable_N`, BatchNorm as Reshape, sub, Rsqrt, mul, add, the residual sum `add_6` and `Relu_2`.
"""

import struct
from collections import Counter

import numpy as np

NUMBERS = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10, "bfloat16": 14, "float16": 19}
FLOAT, INT32 = 1, 3


def varint(value):
    """The seven-bit groups of a number, lowest first; negative ones as 64 bits."""
    value &= (1 << 64) - 1
    groups = []
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def field(number, payload):
    """A number as a varint, a float in four bytes, anything else with its length before it."""
    if isinstance(payload, int):
        return varint(number << 3) + varint(payload)
    if isinstance(payload, float):
        return varint(number << 3 | 5) + struct.pack("<f", payload)
    payload = payload.encode() if isinstance(payload, str) else payload
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def shape_message(lengths):
    return b"".join(field(2, field(1, length)) for length in lengths)


def tensor_message(values, **listed):
    """A tensor by its content, or with `number=payload` fields (`_5=…`) in the place of the content."""
    values = np.asarray(values)
    head = field(1, NUMBERS[str(values.dtype)]) + field(2, shape_message(values.shape))
    if listed:
        return head + b"".join(field(int(key[1:]), payload) for key, payload in listed.items())
    return head + field(4, values.astype(values.dtype.newbyteorder("<")).tobytes())


def attribute(value):
    """An AttrValue: text, bool, whole number, float, list of whole numbers, tensor, or ("type" | "shape", value)."""
    if isinstance(value, tuple):
        kind, value = value
        return field(6, value) if kind == "type" else field(7, shape_message(value))
    if isinstance(value, bool):
        return field(5, int(value))
    if isinstance(value, int):
        return field(3, value)
    if isinstance(value, float):
        return field(4, value)
    if isinstance(value, list):
        return field(1, field(3, b"".join(map(varint, value))))
    return field(8, tensor_message(value)) if isinstance(value, np.ndarray) else field(2, value)


class GraphWriter:
    """Collects nodes; `bytes()` is the GraphDef."""

    def __init__(self):
        self.nodes = []
        self._names = Counter()

    def __bytes__(self):
        return b"".join(field(1, node) for node in self.nodes) + field(4, field(1, 134))

    def node(self, name, operation, *inputs, **attributes):
        """Add a node under just this name; returns the name."""
        message = field(1, name) + field(2, operation) + b"".join(field(3, text) for text in inputs)
        for key, value in attributes.items():
            message += field(5, field(1, key) + field(2, attribute(value)))
        self.nodes.append(message)
        return name

    def unique(self, name):
        """`name`, `name_1`, `name_2` … as TensorFlow counts names."""
        count = self._names[name]
        self._names[name] += 1
        return f"{name}_{count}" if count else name

    def constant(self, name, values):
        values = np.asarray(values)
        return self.node(name, "Const", value=values, dtype=("type", NUMBERS[str(values.dtype)]))

    def variable(self, name, values):
        """What freezing makes of a variable: a constant and the Identity that reads it."""
        return self.node(f"{name}/read", "Identity", self.constant(name, values), T=("type", FLOAT))

    def apply(self, scope, operation, *inputs, name=None, **attributes):
        return self.node(
            self.unique(f"{scope}/{name or operation}"), operation, *inputs, T=("type", FLOAT), **attributes
        )

    def reshape(self, scope, x, shape):
        name = self.unique(f"{scope}/Reshape")
        shape = self.constant(f"{name}/shape", np.array(shape, np.int32))
        return self.node(name, "Reshape", x, shape, T=("type", FLOAT), Tshape=("type", INT32))


def clip_image_graph(state, layers, heads, resolution, mean, std, epsilon=1e-5):
    """CLIP's image tower as a frozen graph.

    Args:
        state: a state dict of the tower, as NumPy arrays.
        layers, heads, resolution: of the tower.
        mean, std: of the colours, in 0 to 1.
    """
    g = GraphWriter()
    x = g.node("input_image", "Placeholder", dtype=("type", FLOAT), shape=("shape", (-1, resolution, resolution, 3)))
    x = g.apply("prep", "RealDiv", x, g.constant("prep/scale", np.float32(255)), name="truediv")
    x = g.apply("prep", "Sub", x, g.constant("prep/mean", np.float32(mean)), name="sub")
    x = g.apply("prep", "RealDiv", x, g.constant("prep/std", np.float32(std)), name="truediv")
    axes = g.constant("prep/transpose/perm", np.array([0, 3, 1, 2], np.int32))
    x = g.apply("prep", "Transpose", x, axes, name="transpose", Tperm=("type", INT32))

    def normalised(scope, number, x, key):
        gain = g.variable(f"{scope}/bn{number}/g", state[f"{key}.weight"])
        bias = g.variable(f"{scope}/bn{number}/b", state[f"{key}.bias"])
        moving = [g.variable(g.unique("Variable"), state[f"{key}.running_{what}"]) for what in ("mean", "var")]
        mean, variance, gain, bias = (g.reshape(scope, value, [1, -1, 1, 1]) for value in (*moving, gain, bias))
        x = g.apply(scope, "Sub", x, mean, name="sub")
        name = g.unique(f"{scope}/add")
        y = g.constant(f"{name}/y", np.float32(epsilon))
        g.node(name, "AddV2", variance, y, T=("type", FLOAT))
        x = g.apply(scope, "Mul", x, g.apply(scope, "Rsqrt", name), name="mul")
        x = g.apply(scope, "Mul", x, gain, name="mul")
        return g.apply(scope, "AddV2", x, bias, name="add")

    def convolved(scope, number, x, key, bn, stride=1):
        filters = np.ascontiguousarray(state[f"{key}.weight"].transpose(2, 3, 1, 0))
        w = g.variable(f"{scope}/c{number}/w", filters)
        size = len(filters)
        # CLIP pads by one on each side, which under a stride is not what SAME does.
        options = {"padding": "SAME"} if stride == 1 else {
            "padding": "EXPLICIT", "explicit_paddings": [0, 0, 0, 0, size // 2, size // 2, size // 2, size // 2]
        }  # fmt: skip
        x = g.apply(
            f"{scope}/c{number}", "Conv2D", x, w, data_format="NCHW", strides=[1, 1, stride, stride],
            dilations=[1, 1, 1, 1], use_cudnn_on_gpu=True, **options
        )  # fmt: skip
        return normalised(scope, number, x, bn)

    def pooled(scope, x):
        return g.apply(
            scope, "AvgPool", x, data_format="NCHW", ksize=[1, 1, 2, 2], strides=[1, 1, 2, 2], padding="VALID"
        )

    for k in (1, 2, 3):
        x = g.apply("image_pre", "Relu", convolved("image_pre", k, x, f"conv{k}", f"bn{k}", stride=2 if k == 1 else 1))
    x = pooled("image_pre", x)
    for stage, blocks in enumerate(layers, start=1):
        for block in range(blocks):
            scope, key = f"image_block_{stage}/{block}", f"layer{stage}.{block}"
            strided = stage > 1 and block == 0
            y = g.apply(scope, "Relu", convolved(scope, 1, x, f"{key}.conv1", f"{key}.bn1"))
            y = g.apply(scope, "Relu", convolved(scope, 2, y, f"{key}.conv2", f"{key}.bn2"))
            y = convolved(scope, 3, pooled(scope, y) if strided else y, f"{key}.conv3", f"{key}.bn3")
            if f"{key}.downsample.0.weight" in state:
                x = pooled(scope, x) if strided else x
                # Its own scope keeps the residual sum at add_6: two additions in each of three BatchNorms come before.
                x = convolved(f"{scope}/down", 0, x, f"{key}.downsample.0", f"{key}.downsample.1")
            x = g.apply(scope, "AddV2", y, x, name="add")
            x = g.apply(scope, "Relu", x)
    _attention(g, state, x, heads)
    return bytes(g)


def _attention(g, state, x, heads):
    post, scope = "image_post", "image_block/attn"
    positions, width = state["attnpool.positional_embedding"].shape
    x = g.reshape(post, x, [-1, width, positions - 1])
    axes = g.constant("image_post/transpose_1/perm", np.array([0, 2, 1], np.int32))
    x = g.node("image_post/transpose_1", "Transpose", x, axes)
    axis = g.constant("image_post/Mean/reduction_indices", np.array([1], np.int32))
    mean = g.apply(post, "Mean", x, axis, keep_dims=True, Tidx=("type", INT32))
    x = g.apply(post, "ConcatV2", mean, x, g.constant("image_post/concat/axis", np.int32(1)), name="concat", N=2)
    x = g.apply(post, "AddV2", x, g.variable("image_post/wp", state["attnpool.positional_embedding"]), name="add")
    count = _first_of_shape(g, scope, x)
    flat = g.reshape(scope, x, [-1, width])

    def linear(name, x):
        w = g.variable(f"{scope}/{name}/w", np.ascontiguousarray(state[f"attnpool.{name[0]}_proj.weight"].T))
        b = g.variable(f"{scope}/{name}/b", state[f"attnpool.{name[0]}_proj.bias"])
        product = g.apply(f"{scope}/{name}", "MatMul", x, w, transpose_a=False, transpose_b=False)
        return g.apply(f"{scope}/{name}", "AddV2", product, b, name="add")

    def packed(*lengths):
        name = g.unique(f"{scope}/stack")
        numbers = [g.constant(f"{name}/{k}", np.int32(length)) for k, length in enumerate(lengths, start=1)]
        return g.node(name, "Pack", count, *numbers, N=1 + len(lengths), axis=0, T=("type", INT32))

    def split(name, axes):
        parts = g.apply(scope, "Reshape", linear(name, flat), packed(positions, heads, width // heads))
        order = g.constant(f"{scope}/{name}/perm", np.array(axes, np.int32))
        return g.apply(scope, "Transpose", parts, order, name="transpose")

    scale = g.constant(f"{scope}/scale", np.float32((width // heads) ** -0.5))
    scores = g.apply(scope, "BatchMatMulV2", split("q", [0, 2, 1, 3]), split("k", [0, 2, 3, 1]), name="MatMul")
    weights = g.apply(scope, "Softmax", g.apply(scope, "Mul", scores, scale, name="mul"))
    mixed = g.apply(scope, "BatchMatMulV2", weights, split("v", [0, 2, 1, 3]), name="MatMul")
    order = g.constant(f"{scope}/merge/perm", np.array([0, 2, 1, 3], np.int32))
    mixed = g.apply(scope, "Transpose", mixed, order, name="transpose")
    projected = linear("c_proj", g.reshape(scope, mixed, [-1, width]))
    width_out = len(state["attnpool.c_proj.bias"])
    tokens = g.apply(scope, "Reshape", projected, packed(positions, width_out))
    name = "image_post/strided_slice"
    bounds = [g.constant(f"{name}/stack_{k}", np.array(v, np.int32)) for k, v in enumerate(([0, 0], [0, 1], [1, 1]))]
    g.node(name, "StridedSlice", tokens, *bounds, begin_mask=1, end_mask=1, shrink_axis_mask=2, ellipsis_mask=0)


def _first_of_shape(g, scope, x):
    shape = g.apply(scope, "Shape", x, out_type=("type", INT32))
    name = f"{scope}/strided_slice"
    bounds = [g.constant(f"{name}/stack_{k}", np.array([v], np.int32)) for k, v in enumerate((0, 1, 1))]
    return g.node(name, "StridedSlice", shape, *bounds, shrink_axis_mask=1)
