"""TensorFlow's operations as torch functions, by TensorFlow's name.

A builder reads a node's attributes and returns the function that runs it. Defaults are those of TensorFlow's own
definition of the operation; unsupported attributes raise InputError before anything runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from Activation_Extraction.models.frozen_graph import windows as graph_windows
from Activation_Extraction.models.frozen_graph.attributes import Attributes

Function: TypeAlias = Callable[..., "Tensor | tuple[Tensor, ...]"]
Builder: TypeAlias = Callable[[Attributes], Function]


@dataclass(frozen=True)
class Operation:
    """What is known of an operation before its nodes are read.

    Args:
        build: from attributes to the function.
        inputs: least and largest number of inputs; None for any number.
        outputs: the attribute with the number of outputs; "" for one output.
        units: the axis of the units in the output: "layout" as `data_format` says, "input" as in the inputs,
            "last", or "" when only the shapes could tell.
    """

    build: Builder
    inputs: tuple[int, int | None]
    outputs: str = ""
    units: str = ""


OPERATIONS: dict[str, Operation] = {}
"""Every supported operation but Const and Placeholder."""


def _add(
    names: str, inputs: int | tuple[int, int | None], *, outputs: str = "", units: str = ""
) -> Callable[..., None]:
    """A decorator that registers a builder under one or more names."""

    def enter(build: Builder) -> None:
        for name in names.split():
            span = (inputs, inputs) if isinstance(inputs, int) else inputs
            OPERATIONS[name] = Operation(build, span, outputs, units)

    return enter


def _plain(function: Function) -> Builder:
    """The builder of an operation without attributes."""
    return lambda attributes: function


# --- element by element ---

_UNARY: dict[str, Function] = {
    "Erf": torch.erf, "Exp": torch.exp, "Identity": lambda x: x, "Neg": torch.neg, "Relu": torch.relu,
    "Relu6": lambda x: x.clamp(0, 6), "Rsqrt": torch.rsqrt, "Sigmoid": torch.sigmoid,
    "Softmax": lambda x: F.softmax(x, -1), "Sqrt": torch.sqrt, "Square": torch.square,
    "StopGradient": lambda x: x.detach(), "Tanh": torch.tanh,
}  # fmt: skip
_BINARY: dict[str, Function] = {
    "Add": torch.add, "AddV2": torch.add, "Maximum": torch.maximum, "Minimum": torch.minimum, "Mul": torch.mul,
    "Pow": torch.pow, "RealDiv": torch.div, "SquaredDifference": lambda x, y: torch.square(x - y), "Sub": torch.sub,
}  # fmt: skip
for _name, _function in _UNARY.items():
    _add(_name, 1, units="input")(_plain(_function))
for _name, _function in _BINARY.items():
    _add(_name, 2, units="input")(_plain(_function))


@_add("Cast", 1, units="input")
def _cast(attributes: Attributes) -> Function:
    attributes.must_be_off("Truncate", False, "floats are rounded as usual")
    dtype = attributes.torch_type("DstT")
    return lambda x: x.to(dtype)


# --- images ---

_add("Conv2D", 2, units="layout")(graph_windows.conv2d)
_add("DepthwiseConv2dNative", 2, units="layout")(graph_windows.depthwise_conv2d)
_add("AvgPool", 1, units="layout")(graph_windows.avg_pool)
_add("MaxPool", 1, units="layout")(graph_windows.max_pool)
_add("BiasAdd", 2, units="layout")(graph_windows.bias_add)
# Its further outputs, the statistics, are for training.
_add("FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3", 5, units="layout")(graph_windows.fused_batch_norm)


# --- products of matrices ---


@_add("MatMul BatchMatMul BatchMatMulV2", 2, units="last")
def _matmul(attributes: Attributes) -> Function:
    attributes.ignore("grad_a", "grad_b", "grad_x", "grad_y")
    left = attributes.flag("transpose_a") or attributes.flag("adj_x")
    right = attributes.flag("transpose_b") or attributes.flag("adj_y")
    return lambda x, y: (x.mT if left else x) @ (y.mT if right else y)


@_add("Einsum", (1, None))
def _einsum(attributes: Attributes) -> Function:
    count = attributes.integer("N", 1)
    equation = attributes.text("equation")
    if not re.fullmatch(r"[A-Za-z,. ]*->[A-Za-z. ]*", equation) or equation.count(",") != count - 1:
        attributes.refuse("equation", f"an equation such as 'ij,jk->ik' of {count} inputs")
    return lambda *x: torch.einsum(equation, *x)


# --- reductions ---


def _reduction(over_axes: Callable[[Tensor, list[int], bool], Tensor]) -> Builder:
    def build(attributes: Attributes) -> Function:
        keep = attributes.flag("keep_dims")

        def run(x: Tensor, axes: Tensor) -> Tensor:
            chosen = sorted({_axis(axis, x.ndim) for axis in axes.reshape(-1).tolist()})
            return over_axes(x, chosen, keep) if chosen else x

        return run

    return build


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in reversed(axes):
        x = x.prod(axis, keep, dtype=x.dtype)
    return x


_add("Mean", 2)(_reduction(lambda x, axes, keep: x.mean(axes, keep)))
_add("Sum", 2)(_reduction(lambda x, axes, keep: x.sum(axes, keep, dtype=x.dtype)))
_add("Max", 2)(_reduction(lambda x, axes, keep: x.amax(axes, keep)))
_add("Prod", 2)(_reduction(_product))


# --- shapes ---


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise IndexError(f"axis {axis} of a tensor of rank {rank}")
    return axis % rank


@_add("Shape", 1)
def _shape(attributes: Attributes) -> Function:
    dtype = attributes.torch_type("out_type", torch.int32)
    return lambda x: torch.tensor(x.shape, dtype=dtype, device=x.device)


_add("Reshape", 2)(_plain(lambda x, shape: x.reshape(shape.tolist())))
_add("Transpose", 2)(_plain(lambda x, axes: x.permute(axes.tolist())))
_add("ExpandDims", 2)(_plain(lambda x, axis: x.unsqueeze(int(axis))))
_add("BroadcastTo", 2)(_plain(lambda x, shape: x.broadcast_to(shape.tolist()).clone()))
_add("Fill", 2)(_plain(lambda shape, value: value.expand(shape.tolist()).clone()))
_add("Tile", 2, units="input")(_plain(lambda x, times: x.repeat(times.tolist())))
_add("Range", 3)(_plain(lambda start, *to: torch.arange(start.item(), *[x.item() for x in to], dtype=start.dtype)))


@_add("Squeeze", 1)
def _squeeze(attributes: Attributes) -> Function:
    axes = attributes.integers("squeeze_dims")

    def run(x: Tensor) -> Tensor:
        if wrong := [axis for axis in axes if x.shape[axis] != 1]:
            raise IndexError(f"axis {wrong[0]} has length {x.shape[wrong[0]]}; only length 1 can go")
        return x.squeeze(axes) if axes else x.squeeze()

    return run


# --- parts and wholes ---


@_add("Pack", (1, None))
def _pack(attributes: Attributes) -> Function:
    attributes.ignore("N")
    axis = attributes.integer("axis")
    return lambda *x: torch.stack(x, axis)


@_add("Unpack", 1, outputs="num")
def _unpack(attributes: Attributes) -> Function:
    attributes.ignore("num")
    axis = attributes.integer("axis")
    return lambda x: x.unbind(axis)


@_add("ConcatV2", (2, None), units="input")
def _concat(attributes: Attributes) -> Function:
    attributes.ignore("N")
    return lambda *x: torch.cat(x[:-1], int(x[-1]))


@_add("Split", 2, outputs="num_split", units="input")
def _split(attributes: Attributes) -> Function:
    count = attributes.integer("num_split")

    def run(axis: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        length = x.shape[int(axis)]
        if count < 1 or length % count:
            raise IndexError(f"{length} elements in {count} equal parts")
        return x.tensor_split(count, int(axis))

    return run


@_add("Slice", 3, units="input")
def _slice(attributes: Attributes) -> Function:
    def run(x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
        for axis, (first, length) in enumerate(zip(begin.tolist(), size.tolist())):
            x = x.narrow(axis, first, x.shape[axis] - first if length == -1 else length)
        return x

    return run


@_add("StridedSlice", 4)
def _strided_slice(attributes: Attributes) -> Function:
    names = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    masks = dict(zip(names, [attributes.integer(name) for name in names]))
    if masks["ellipsis_mask"].bit_count() > 1:
        attributes.refuse("ellipsis_mask", "one bit at most")

    def run(x: Tensor, begin: Tensor, end: Tensor, strides: Tensor) -> Tensor:
        spec = list(zip(begin.tolist(), end.tolist(), strides.tolist()))
        is_set = {name: [bool(mask >> k & 1) for k in range(len(spec))] for name, mask in masks.items()}
        ellipsis, new = is_set["ellipsis_mask"], is_set["new_axis_mask"]
        # An axis that both masks name stands for the ellipsis.
        skipped = x.ndim - sum(not ellipsis[k] and not new[k] for k in range(len(spec)))
        axis = 0
        for k, (first, last, step) in enumerate(spec):
            if ellipsis[k]:
                axis += skipped
            elif new[k]:
                x, axis = x.unsqueeze(axis), axis + 1
            elif is_set["shrink_axis_mask"][k]:
                x = x.select(axis, first)
            else:
                start, stop = None if is_set["begin_mask"][k] else first, None if is_set["end_mask"][k] else last
                x, axis = _every(x, axis, range(x.shape[axis])[start:stop:step]), axis + 1
        return x

    return run


def _every(x: Tensor, axis: int, places: range) -> Tensor:
    if places.step > 0:
        return x[(slice(None),) * axis + (slice(places.start, max(places.stop, places.start), places.step),)]
    return x.index_select(axis, torch.tensor(list(places), dtype=torch.int64, device=x.device))


@_add("GatherV2", 3)
def _gather_v2(attributes: Attributes) -> Function:
    if attributes.integer("batch_dims"):
        attributes.refuse("batch_dims", "0")

    def run(x: Tensor, indices: Tensor, axis: Tensor) -> Tensor:
        at = _axis(int(axis), x.ndim)
        return x.index_select(at, indices.reshape(-1)).reshape(*x.shape[:at], *indices.shape, *x.shape[at + 1 :])

    return run


@_add("Pad", 2, units="input")
def _pad(attributes: Attributes) -> Function:
    # Torch names the last axis first.
    return lambda x, sides: F.pad(x, [int(side) for pair in reversed(sides.tolist()) for side in pair])
