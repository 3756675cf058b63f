"""Which axis of a node's output holds the units, as far as the graph tells without running."""

from __future__ import annotations

from Activation_Extraction.models.frozen_graph.attributes import Attributes
from Activation_Extraction.models.frozen_graph.operations import OPERATIONS
from Activation_Extraction.models.frozen_graph.plan import Plan

LAYOUT_AXES = {"NHWC": 3, "NCHW": 1}
REDUCTIONS = ("Mean", "Sum", "Max", "Prod")


def unit_axes(plan: Plan) -> dict[str, int | None]:
    """The axis of units for each node that depends on the images: -1 for the last one, None for unknown."""
    axes: dict[str, int | None] = {}
    for name in plan.order:
        inputs = [reference.name for reference in plan.references[name]]
        if name == plan.input_name:
            lengths = Attributes(plan.nodes[name], plan.source).shape("shape")
            axes[name] = len(lengths) - 1 if lengths else -1
        elif any(other in axes for other in inputs):
            axis = next((axes[other] for other in inputs if axes.get(other) is not None), None)
            axes[name] = _unit_axis(plan, Attributes(plan.nodes[name], plan.source), axis)
    return axes


def _unit_axis(plan: Plan, attributes: Attributes, axis: int | None) -> int | None:
    """From the axis of the inputs."""
    node = attributes.node
    units = OPERATIONS[node.operation].units
    if units == "layout":
        layout = attributes.text("data_format", "NHWC")
        return -1 if node.operation == "BiasAdd" and layout == "NHWC" else LAYOUT_AXES[layout]
    if units:
        return axis if units == "input" else -1
    if axis is None or node.operation not in ("Transpose", *REDUCTIONS):
        return None
    if (constant := plan.constant(plan.references[node.name][1])) is None:
        return None
    numbers: list[int] = constant.values.reshape(-1).tolist()
    if node.operation == "Transpose":
        return numbers.index(axis % len(numbers)) if numbers and axis % len(numbers) in numbers else None
    if attributes.flag("keep_dims"):
        return axis
    gone = {other % 4 for other in numbers}  # an axis with a known number is one of four: N, C, H, W
    return None if axis == -1 or axis in gone else axis - sum(other < axis for other in gone)
