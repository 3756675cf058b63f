"""Which axis of a node's output holds the units, as far as a graph tells it without being run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from Activation_Extraction.models.frozen_graph.graph_def import Node, Shape, Tensor
from Activation_Extraction.models.frozen_graph.operations import OPERATIONS
from Activation_Extraction.models.frozen_graph.plan import Reference

LAYOUT_AXES: dict[object, int] = {b"NHWC": 3, b"NCHW": 1}
REDUCTIONS = ("Mean", "Sum", "Max", "Min", "Prod", "All", "Any")


def unit_axes(order: Sequence[Node], references: Mapping[str, Sequence[Reference]]) -> dict[str, int | None]:
    """Follow the axis of units through the graph.

    Args:
        order: nodes, each after its inputs, all known to be sound.
        references: the inputs of every node.

    Returns:
        For each node that depends on the images the axis, which may be -1 for the last; `None` when it is not known.
    """
    nodes = {node.name: node for node in order}
    axes: dict[str, int | None] = {}
    for node in order:
        inputs = [reference.name for reference in references[node.name]]
        if node.operation.startswith("Placeholder"):
            shape = node.attributes.get("shape")
            axes[node.name] = len(shape.lengths) - 1 if isinstance(shape, Shape) and shape.lengths else -1
        elif any(name in axes for name in inputs):
            axis = next((axes[name] for name in inputs if axes.get(name) is not None), None)
            numbers = _constant_numbers(nodes, references, inputs[1]) if len(inputs) > 1 else None
            axes[node.name] = _unit_axis(node, axis, numbers)
    return axes


def _unit_axis(node: Node, axis: int | None, numbers: list[int] | None) -> int | None:
    """From the axis of the inputs, and the second input's numbers if they are constant."""
    units = OPERATIONS[node.operation].units if node.operation in OPERATIONS else ""
    if units == "layout":
        layout = node.attributes.get("data_format", b"NHWC")
        return -1 if node.operation == "BiasAdd" and layout == b"NHWC" else LAYOUT_AXES[layout]
    if units:
        return axis if units == "input" else -1
    if node.operation == "Transpose" and numbers and axis is not None:
        return numbers.index(axis % len(numbers)) if axis % len(numbers) in numbers else None
    if node.operation in REDUCTIONS and numbers is not None and axis is not None:
        return _reduced(axis, numbers, keep=node.attributes.get("keep_dims") is True)
    return None


def _reduced(axis: int, reduced: Sequence[int], *, keep: bool) -> int | None:
    if keep:
        return axis
    if axis == -1:
        return None
    gone = {other % 4 for other in reduced}  # an axis that is known by its number is one of four, N, C, H, W
    return None if axis in gone else axis - sum(other < axis for other in gone)


def _constant_numbers(
    nodes: Mapping[str, Node], references: Mapping[str, Sequence[Reference]], name: str
) -> list[int] | None:
    while nodes[name].operation == "Identity" and references[name]:
        name = references[name][0].name
    value = nodes[name].attributes.get("value")
    if nodes[name].operation != "Const" or not isinstance(value, Tensor) or value.values is None:
        return None
    return value.values.reshape(-1).tolist() if value.values.size <= 32 and value.values.dtype.kind == "i" else None
