"""Small TensorFlow graphs, at least one for every operation that a frozen graph may hold, over a range of attributes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

Build = Callable[[Any], Any]


class Case(NamedTuple):
    """One graph; `twin` computes the same on TensorFlow if it cannot run `build`."""

    operation: str
    x: Any
    build: Build
    twin: Build | None = None


def cases(tf: Any) -> Iterator[Case]:
    """Every case; `tf` is the tensorflow module."""
    yield from element_by_element(tf)
    yield from windows(tf)
    yield from products(tf)
    yield from reductions(tf)
    yield from shapes(tf)
    yield from parts(tf)


def numbers(*shape: int, seed: int = 0, positive: bool = False) -> Any:
    """Multiples of 1/64, which a half-precision float holds exactly."""
    values = np.random.default_rng([seed, *shape]).normal(size=shape)
    values = np.round((np.abs(values) + 0.25 if positive else values) * 64) / 64
    return values.astype(np.float32)


def element_by_element(tf: Any) -> Iterator[Case]:
    raw = tf.raw_ops
    x = numbers(3, 4, 5)
    for name in ("Erf", "Exp", "Neg", "Relu", "Relu6", "Sigmoid", "Square", "Tanh"):
        argument = "features" if "Relu" in name else "x"
        yield Case(name, 3 * x, lambda x, name=name, a=argument: getattr(raw, name)(**{a: x}))
    for name in ("Rsqrt", "Sqrt"):
        yield Case(name, numbers(4, 5, positive=True), lambda x, name=name: getattr(raw, name)(x=x))
    for name in ("Identity", "StopGradient"):
        yield Case(name, x, lambda x, name=name: getattr(raw, name)(input=x))
    for shape in ((4, 5), (2, 3, 4)):
        yield Case("Softmax", numbers(*shape), lambda x: raw.Softmax(logits=x))
    for name in ("Add", "AddV2", "Sub", "Mul", "Maximum", "Minimum", "SquaredDifference", "RealDiv"):
        for shape in ((5,), (4, 1), (2, 3, 4, 5)):
            y = numbers(*shape, seed=1)
            if name == "RealDiv":
                y += np.where(y < 0, -1, 1).astype(np.float32)
            yield Case(name, x, lambda x, name=name, y=y: getattr(raw, name)(x=x, y=tf.constant(y)))
    for name in ("AddV2", "Mul", "Sub"):
        yield Case(
            name,
            9 * x,
            lambda x, name=name: getattr(raw, name)(x=tf.cast(x, tf.int32), y=tf.constant([[3], [-4], [7], [-2]])),
        )
    yield Case("Pow", numbers(4, 5, positive=True), lambda x: raw.Pow(x=x, y=tf.constant([0.5, 2, -1, 0, 3.3])))
    for dtype in (tf.int32, tf.int64, tf.bool, tf.float64, tf.float16, tf.bfloat16, tf.uint8):
        yield Case("Cast", np.abs(9 * x), lambda x, d=dtype: tf.cast(raw.Cast(x=x, DstT=d), tf.float32))


def windows(tf: Any) -> Iterator[Case]:
    raw = tf.raw_ops
    image, odd = numbers(2, 6, 6, 3), numbers(1, 7, 5, 3)
    for x, padding, stride, size in itertools.product((image, odd), ("SAME", "VALID"), (1, 2, 3), (1, 3)):
        yield from _convolution(tf, x, size, size, 2, padding=padding, strides=[1, stride, stride, 1])
    yield from _convolution(tf, odd, 2, 4, 2, padding="SAME", strides=[1, 1, 2, 1])
    yield from _convolution(tf, odd, 5, 3, 2, padding="SAME", strides=[1, 2, 1, 1])
    yield from _convolution(tf, odd, 3, 2, 2, padding="SAME", strides=[1, 1, 1, 1], dilations=[1, 2, 3, 1])
    yield from _convolution(tf, image, 3, 3, 2, padding="VALID", strides=[1, 1, 1, 1], dilations=[1, 2, 1, 1])
    yield from _convolution(
        tf, odd, 3, 3, 2, padding="EXPLICIT", strides=[1, 2, 2, 1], explicit_paddings=[0, 0, 1, 2, 0, 3, 0, 0]
    )
    w = numbers(3, 2, 3, 2, seed=2)
    for padding, stride in itertools.product(("SAME", "VALID"), (1, 2)):
        yield Case(
            "DepthwiseConv2dNative",
            odd,
            lambda x, p=padding, s=stride: raw.DepthwiseConv2dNative(
                input=x, filter=tf.constant(w), padding=p, strides=[1, s, s, 1]
            ),
        )
    for name, x, padding in itertools.product(("AvgPool", "MaxPool"), (image, odd), ("SAME", "VALID")):
        for height, width, stride in ((2, 2, 2), (3, 3, 1), (3, 2, 2), (2, 2, 3)):
            sizes = {"ksize": [1, height, width, 1], "strides": [1, stride, stride, 1], "padding": padding}
            yield from _in_both_layouts(tf, name, x, lambda x, n: {"value" if n == "AvgPool" else "input": x}, sizes)
    yield Case(
        "MaxPool",
        odd,
        lambda x: raw.MaxPool(
            input=x,
            ksize=[1, 3, 3, 1],
            strides=[1, 2, 2, 1],
            padding="EXPLICIT",
            explicit_paddings=[0, 0, 1, 0, 0, 1, 0, 0],
        ),
    )
    statistics = [numbers(3, seed=k, positive=k != 1) for k in range(4)]
    for name, epsilon in itertools.product(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), (1e-3, 0.1)):
        yield from _in_both_layouts(
            tf,
            name,
            image,
            lambda x, n, s=statistics: dict(
                zip(("x", "scale", "offset", "mean", "variance"), (x, *map(tf.constant, s)))
            ),
            {"epsilon": epsilon, "is_training": False},
        )
    bias = numbers(3, seed=6)
    yield from _in_both_layouts(tf, "BiasAdd", image, lambda x, n: {"value": x, "bias": tf.constant(bias)}, {})
    yield Case("BiasAdd", numbers(4, 3), lambda x: raw.BiasAdd(value=x, bias=tf.constant(bias)))


def _convolution(tf: Any, x: Any, height: int, width: int, outputs: int, **options: Any) -> Iterator[Case]:
    w = numbers(height, width, x.shape[-1], outputs, seed=3)
    yield from _in_both_layouts(tf, "Conv2D", x, lambda x, n: {"input": x, "filter": tf.constant(w)}, options)


def _in_both_layouts(
    tf: Any, name: str, x_NHWC: Any, arguments: Callable[[Any, str], dict[str, Any]], options: dict[str, Any]
) -> Iterator[Case]:
    def build(x: Any, layout: str) -> Any:
        order = [0, 3, 1, 2] if layout == "NCHW" else [0, 1, 2, 3]
        moved = {
            key: [value[k] for k in order] if key in ("strides", "ksize", "dilations") else value
            for key, value in options.items()
        }
        if "explicit_paddings" in moved:
            moved["explicit_paddings"] = [options["explicit_paddings"][2 * k + side] for k in order for side in (0, 1)]
        output = getattr(tf.raw_ops, name)(**arguments(x, name), **moved, data_format=layout)
        return output[0] if name.startswith("Fused") else output

    def twin(x: Any) -> Any:
        return tf.transpose(build(tf.transpose(x, [0, 2, 3, 1]), "NHWC"), [0, 3, 1, 2])

    yield Case(name, x_NHWC, lambda x: build(x, "NHWC"))
    yield Case(name, np.ascontiguousarray(x_NHWC.transpose(0, 3, 1, 2)), lambda x: build(x, "NCHW"), twin)


def products(tf: Any) -> Iterator[Case]:
    raw = tf.raw_ops
    for a, b in itertools.product((False, True), repeat=2):
        x, y = numbers(*((3, 4) if not a else (4, 3))), numbers(*((4, 5) if not b else (5, 4)), seed=1)
        yield Case(
            "MatMul", x, lambda x, a=a, b=b, y=y: raw.MatMul(a=x, b=tf.constant(y), transpose_a=a, transpose_b=b)
        )
        x, y = x * np.ones((2, 1, 1), np.float32), y * np.array([1, 2], np.float32)[:, None, None]
        for name in ("BatchMatMul", "BatchMatMulV2"):
            yield Case(
                name, x, lambda x, n=name, a=a, b=b, y=y: getattr(raw, n)(x=x, y=tf.constant(y), adj_x=a, adj_y=b)
            )
    yield Case("BatchMatMulV2", numbers(2, 1, 3, 4), lambda x: raw.BatchMatMulV2(x=x, y=tf.constant(numbers(5, 4, 2))))
    for equation, *others in (
        ("ij->ji",),
        ("ij,jk->ik", (4, 2)),
        ("bi,bj->b", (3, 2)),
        ("...i,ij->...j", (4, 2)),
        ("ij,kj->ik", (5, 4)),
    ):
        yield Case(
            "Einsum",
            numbers(3, 4),
            lambda x, e=equation, o=others: raw.Einsum(
                inputs=[x, *(tf.constant(numbers(*shape, seed=2)) for shape in o)], equation=e
            ),
        )


def reductions(tf: Any) -> Iterator[Case]:
    raw = tf.raw_ops
    for name in ("Mean", "Sum", "Max", "Prod"):
        for axes, keep in itertools.product((1, [-1], [0, 2], [], [0, 1, -1]), (False, True)):
            yield Case(
                name,
                numbers(2, 3, 4),
                lambda x, n=name, a=axes, k=keep: getattr(raw, n)(input=x, axis=tf.constant(a, tf.int32), keep_dims=k),
            )
    yield Case("Sum", 9 * numbers(2, 3), lambda x: raw.Sum(input=tf.cast(x, tf.int32), axis=[-1]))


def shapes(tf: Any) -> Iterator[Case]:
    raw = tf.raw_ops
    x = numbers(2, 3, 4)
    for dtype in (tf.int32, tf.int64):
        yield Case("Shape", x, lambda x, d=dtype: raw.Shape(input=x, out_type=d))
        yield Case("Transpose", x, lambda x, d=dtype: raw.Transpose(x=x, perm=tf.constant([2, 0, 1], d)))
    for shape in ([4, 6], [-1], [2, -1, 2], [1, 2, 3, 4]):
        yield Case("Reshape", x, lambda x, s=shape: raw.Reshape(tensor=x, shape=s))
    yield Case("Reshape", x, lambda x: tf.reshape(x, tf.stack([tf.shape(x)[0], -1])))
    for axis in (0, -1, 2):
        yield Case("ExpandDims", x, lambda x, a=axis: raw.ExpandDims(input=x, axis=a))
    for axes in ([], [0], [-1], [0, 2]):
        yield Case("Squeeze", numbers(1, 3, 1, 1)[..., 0], lambda x, a=axes: raw.Squeeze(input=x, axis=a))
    yield Case("BroadcastTo", numbers(3, 1), lambda x: raw.BroadcastTo(input=x, shape=[2, 3, 4]))
    yield Case("Fill", x, lambda x: x[0, 0, 0] * raw.Fill(dims=[2, 3], value=tf.constant(0.5)))
    yield Case("Fill", x, lambda x: raw.Fill(dims=tf.shape(x)[1:], value=x[0, 1, 2]))
    yield Case("Tile", x, lambda x: raw.Tile(input=x, multiples=[1, 2, 3]))
    for bounds in ((0, 7, 2), (5, -3, -3), (0.5, 3.2, 0.25)):
        yield Case(
            "Range",
            numbers(1),
            lambda x, b=bounds: (
                raw.Range(start=b[0], limit=b[1], delta=b[2])
                + tf.cast(0 * x[0], tf.as_dtype(type(b[0])) if isinstance(b[0], float) else tf.int32)
            ),
        )


def parts(tf: Any) -> Iterator[Case]:
    raw = tf.raw_ops
    x = numbers(4, 5, 6)
    for axis in (0, 1, -1):
        yield Case("Pack", x, lambda x, a=axis: raw.Pack(values=[x[0], x[1]], axis=a))
        yield Case("ConcatV2", x, lambda x, a=axis: raw.ConcatV2(values=[x, 2 * x, -x], axis=a))
        yield Case("Unpack", x, lambda x, a=axis: raw.Unpack(value=x, num=(4, 5, 6)[a], axis=a)[2])
        where = {"indices": [[2, 0], [1, 3]], "axis": axis}
        yield Case("GatherV2", x, lambda x, w=where: raw.GatherV2(params=x, **w))
    yield Case("Split", x, lambda x: raw.Split(axis=-1, value=x, num_split=3)[1])
    yield Case("Split", x, lambda x: raw.Split(axis=0, value=x, num_split=2)[0])
    yield Case("Slice", x, lambda x: raw.Slice(input=x, begin=[1, 0, 2], size=[2, -1, 3]))
    for k, build in enumerate(
        (
            lambda x: x[1],
            lambda x: x[:, -1],
            lambda x: x[..., 2],
            lambda x: x[::-1, 1:-1, ::2],
            lambda x: x[:, tf.newaxis, 1:3],
            lambda x: x[..., tf.newaxis],
            lambda x: x[tf.newaxis, ..., 3:0:-2],
            lambda x: x[-1, ..., tf.newaxis, -2],
            lambda x: x[1:100, -100:3, 4:2],
            lambda x: x[0, :, tf.newaxis, 5:1:-3, tf.newaxis],
            lambda x: x[tf.newaxis, 2, ..., ::-2, tf.newaxis],
        )
    ):
        yield Case("StridedSlice", numbers(4, 5, 6, seed=k), build)
    sides = [[0, 0], [1, 2], [3, 0]]
    yield Case("Pad", x, lambda x: raw.Pad(input=x, paddings=sides))


def network(tf: Any, layout: str) -> tuple[Any, Any]:
    """A small residual network with variables, as they were written for sessions; input and output."""
    v1, rng = tf.compat.v1, np.random.default_rng(5)
    x = v1.placeholder(tf.float32, (None, 8, 9, 3), name="input_image")
    order = [0, 3, 1, 2] if layout == "NCHW" else [0, 1, 2, 3]
    y = tf.transpose((x / 255.0 - np.float32([0.4, 0.5, 0.6])) / 0.25, order)

    def variable(*shape: int, name: str | None = None, positive: bool = False) -> Any:
        value = rng.normal(size=shape).astype(np.float32) / 2
        return v1.Variable(np.abs(value) + 0.5 if positive else value, name=name, use_resource=False)

    def unit(y: Any, outputs: int, number: int) -> Any:
        inputs = y.shape[layout.index("C")]
        with v1.variable_scope(f"c{number}"):
            w = variable(3, 3, inputs, outputs, name="w")
        strides = [1, 2, 2, 1] if number == 1 else [1, 1, 1, 1]
        y = tf.nn.conv2d(y, w, [strides[k] for k in order], "SAME", data_format=layout, name=f"c{number}/Conv2D")
        shape = [1, -1, 1, 1] if layout == "NCHW" else [1, 1, 1, -1]
        mean, scale, shift = (tf.reshape(variable(outputs), shape) for _ in range(3))
        variance = tf.reshape(variable(outputs, positive=True), shape)
        return (y - mean) * tf.math.rsqrt(variance + 1e-5) * scale + shift

    y = tf.nn.relu(unit(y, 4, 1))
    with v1.name_scope("block_1/0"):
        y = tf.nn.relu(y + unit(tf.nn.relu(unit(y, 4, 2)), 4, 3), name="Relu_2")
    window = [(1, 2, 2, 1)[k] for k in order]
    y = tf.nn.avg_pool2d(y, window, window, "SAME", data_format=layout)
    half = tf.constant(0.5, shape=[4, 3]) + tf.constant([[0.0, 1, 1], [0, 0, 0], [1, 1, 1], [1, 1, 1]])
    y = tf.reduce_mean(y, [2, 3] if layout == "NCHW" else [1, 2])
    return x, tf.nn.softmax(tf.matmul(tf.reshape(y, tf.stack([tf.shape(y)[0], -1])), half))
