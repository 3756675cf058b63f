"""Runs a TensorFlow frozen graph as a torch module, operation by operation, every node under its own name.

TensorFlow is not needed. Nothing in the file can name code to run: operations are looked up in `OPERATIONS`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
import torch
from torch import nn

from Activation_Extraction.base.errors import InputError, first_line, listed_up_to, shown
from Activation_Extraction.models.frozen_graph.attributes import Attributes
from Activation_Extraction.models.frozen_graph.embedding import before_l2_normalisation
from Activation_Extraction.models.frozen_graph.graph_def import Constant, Node, read_graph_def
from Activation_Extraction.models.frozen_graph.layout import unit_axes
from Activation_Extraction.models.frozen_graph.operations import OPERATIONS, Function
from Activation_Extraction.models.frozen_graph.plan import MAX_PROBLEMS, Plan, Reference, listed, nearest


def load_frozen_graph(
    path: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    input_name: str | None = None,
    output_name: str | None = None,
) -> FrozenGraph:
    """Read a frozen graph, such as OpenAI's `image32.pb` of CLIP RN50x4.

    Args:
        path: a binary GraphDef whose variables are constants.
        sha256: the file's SHA-256, checked before anything is parsed.
        input_name: the placeholder that takes the images; by default the only one that the output needs.
        output_name: the node whose value the graph returns, `name:1` for its second output; by default the last
            node in the file that depends on a placeholder and that nothing consumes, or, if that divides an
            embedding by its l2 norm, the embedding.

    Returns:
        A module in evaluation mode; its weights are buffers.

    Raises:
        InputError: wrong hash, damaged file, unknown operations (all are listed), unsupported attributes, missing
            inputs, a cycle, no or several placeholders.
    """
    nodes = read_graph_def(path, sha256=sha256)
    return FrozenGraph(nodes, str(path), input_name=input_name, output_name=output_name)


class FrozenGraph(nn.Module):
    """The nodes that an output needs, each a submodule that ordinary forward hooks can read or edit.

    A node's module has the node's name: `dict(graph.named_modules())["image_block_4/5/Relu_2"]`. `module_name` gives
    it where torch does not allow that: a dot becomes `%2E`, a reserved name (`float`) `%66loat`. The output of a node
    is freed as soon as its last consumer ran.

    `nodes` come from `read_graph_def`, `source` names the file in messages; for the rest see `load_frozen_graph`.
    """

    def __init__(
        self, nodes: Mapping[str, Node], source: str, *, input_name: str | None = None, output_name: str | None = None
    ) -> None:
        super().__init__()
        plan = Plan(nodes, source, input_name, output_name)
        modules = _modules(plan)
        if output_name is None and (embedding := before_l2_normalisation(plan)) is not None:
            plan = Plan(nodes, source, input_name, str(embedding))
        self.input_name, self.output_name = plan.input_name, str(plan.output)
        self._module_names: dict[str, str] = {}
        self._unit_axes = unit_axes(plan)
        for name in plan.order:
            self._module_names[name] = _allowed_by_torch(self, name)
            self.add_module(self._module_names[name], modules[name])
        self._steps = _steps(plan)
        self._output = plan.output
        operations = {name: OPERATIONS.get(plan.nodes[name].operation) for name in plan.order}
        # Under torch.fx a value does not tell whether it is a tuple.
        self._have_several_outputs = {name for name, operation in operations.items() if operation and operation.outputs}
        self.eval()

    def forward(self, x_NHWC: torch.Tensor) -> torch.Tensor:
        """Run the graph.

        Args:
            x_NHWC: what the placeholder takes; for `image32.pb` images `(N, 288, 288, 3)`, RGB, 0 to 255.

        Raises:
            InputError: a shape that the placeholder does not take.
            RuntimeError: an operation cannot run on its inputs; the message has the node's name.
        """
        values: dict[str, Any] = {}
        for step in self._steps:
            inputs = [x_NHWC] if step.name == self.input_name else [self._value(values, taken) for taken in step.inputs]
            values[step.name] = self.get_submodule(self._module_names[step.name])(*inputs)
            del inputs
            for name in step.last_used:
                del values[name]
        return self._value(values, self._output)

    def _value(self, values: Mapping[str, Any], reference: Reference) -> torch.Tensor:
        value: Any = values[reference.name]
        tensor: torch.Tensor = value[reference.output] if reference.name in self._have_several_outputs else value
        return tensor

    def module_name(self, node: str) -> str:
        """The name among `named_modules` of a node, such as `stem%2E1/Relu` for `stem.1/Relu`."""
        return self._module_names[self._known(node)]

    def unit_axis(self, node: str) -> int | None:
        """The axis of the units in a node's (or module's) output: 1 in NCHW, 3 in NHWC, -1 after a matrix product.

        None for constants, and when the graph does not tell, as after a `Reshape`.
        """
        return self._unit_axes.get(self._known(node))

    def _known(self, name: str) -> str:
        node = unquote(name)  # a node's own name holds no per cent sign and stays as it is
        if node not in self._module_names:
            raise InputError(f"node {shown(name)} is not in the graph{nearest(name, self._module_names)}")
        return node


class GraphNode(nn.Module):
    """One node: `node` and `operation` are TensorFlow's names."""

    runs_once = True  # for `trace`

    def __init__(self, node: str, operation: str, function: Function) -> None:
        super().__init__()
        self.node, self.operation, self.torch_function = node, operation, function

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        try:
            return self.torch_function(*inputs)
        except (RuntimeError, IndexError, ValueError) as error:
            shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
            node = f"node {shown(self.node, 120)} ({self.operation})"
            raise RuntimeError(f"{node} cannot run on shapes {shapes}: {first_line(error)}") from error

    def extra_repr(self) -> str:
        return self.operation


class ConstantNode(nn.Module):
    """A constant, held as the buffer `value`."""

    operation = "Const"
    value: torch.Tensor

    def __init__(self, node: str, value: torch.Tensor) -> None:
        super().__init__()
        self.node = node
        self.register_buffer("value", value)

    def forward(self) -> torch.Tensor:
        return self.value


class InputNode(nn.Module):
    """The placeholder: checks the shape of the input and casts integers to its own type."""

    operation = "Placeholder"

    def __init__(self, node: str, attributes: Attributes) -> None:
        super().__init__()
        self.node = node
        self.dtype = attributes.torch_type("dtype")
        self.lengths = attributes.shape("shape")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.lengths is not None and (
            len(self.lengths) != x.ndim or any(a not in (None, b) for a, b in zip(self.lengths, x.shape))
        ):
            expected = ", ".join("any" if length is None else str(length) for length in self.lengths)
            raise InputError(f"input {shown(self.node)}: shape {tuple(x.shape)}; expected ({expected})")
        return x if x.is_floating_point() else x.to(self.dtype)


class _Step(NamedTuple):
    name: str
    inputs: Sequence[Reference]
    last_used: Sequence[str]


def _steps(plan: Plan) -> list[_Step]:
    uses = Counter(reference.name for name in plan.order for reference in plan.references[name])
    uses[plan.output.name] += 1
    steps = []
    for name in plan.order:
        inputs = plan.references[name]
        taken = dict.fromkeys(reference.name for reference in inputs)
        uses.subtract(reference.name for reference in inputs)
        steps.append(_Step(name, inputs, [node for node in taken if not uses[node]]))
    return steps


def _modules(plan: Plan) -> dict[str, nn.Module]:
    """A module for each node; one InputError lists the problems of all nodes."""
    filters = _filters(plan)
    outputs = dict.fromkeys(plan.order, 1)
    unknown: dict[str, list[str]] = {}
    problems: list[str] = []
    modules: dict[str, nn.Module] = {}
    for node in (plan.nodes[name] for name in plan.order):
        attributes = Attributes(node, plan.source)
        try:
            if node.name == plan.input_name:
                modules[node.name] = InputNode(node.name, attributes)
            elif node.operation == "Const":
                value = _constant(attributes.tensor("value"), is_filter=node.name in filters)
                modules[node.name] = ConstantNode(node.name, value)
            elif node.operation in OPERATIONS:
                count = OPERATIONS[node.operation].outputs
                outputs[node.name] = attributes.integer(count, 1) if count else 1
                modules[node.name] = _operation(node, attributes, len(plan.references[node.name]))
            else:
                unknown.setdefault(node.operation, []).append(node.name)
        except InputError as error:
            problems += error.problems
    listing = f"one of the {len(OPERATIONS)} that docs/FROZEN_GRAPH.md lists"
    problems[:0] = [
        f"{plan.source}: the operation {shown(operation)} of {listed(names)} is not supported; expected {listing}"
        f"{nearest(operation, OPERATIONS)}"
        for operation, names in unknown.items()
    ]
    taken = [(name, reference) for name in plan.order for reference in plan.references[name]]
    problems = problems or [
        f"{plan.source}: {shown(name)} takes {shown(reference)}; expected one of {outputs[reference.name]} outputs"
        for name, reference in [*taken, ("the output", plan.output)]
        if reference.output >= outputs[reference.name]
    ]
    if problems:
        raise InputError(listed_up_to(problems, MAX_PROBLEMS))
    return modules


def _operation(node: Node, attributes: Attributes, inputs: int) -> GraphNode:
    operation = OPERATIONS[node.operation]
    fewest, most = operation.inputs
    if inputs < fewest or (most is not None and inputs > most):
        found = f"node {shown(node.name, 120)} ({node.operation}) has {inputs} inputs"
        raise InputError(f"{attributes.source}: {found}; expected {fewest if most else f'{fewest} or more'}")
    function = operation.build(attributes)
    if problems := attributes.unread():
        raise InputError(problems)
    return GraphNode(node.name, node.operation, function)


def _filters(plan: Plan) -> set[str]:
    """The constants that are filters of a convolution, directly or through an Identity."""
    convolutions = [plan.references[name] for name in plan.order if plan.nodes[name].operation == "Conv2D"]
    return {plan.without_identities(inputs[1]).name for inputs in convolutions if len(inputs) > 1}


def _constant(constant: Constant, *, is_filter: bool) -> torch.Tensor:
    """A copy of a constant; a value repeated for many elements stays one in memory."""
    values = constant.values.astype(constant.values.dtype.newbyteorder("="), copy=False)
    if values.size > 1 and not any(values.strides):
        value = torch.from_numpy(values.reshape(-1)[:1].copy()).expand(values.shape)
    elif is_filter and values.ndim == 4:
        # HWIO to read, OIHW in memory, as the convolution wants it.
        value = torch.from_numpy(np.array(values.transpose(3, 2, 0, 1), order="C")).permute(2, 3, 1, 0)
    else:
        value = torch.from_numpy(np.array(values, order="C"))
    return value.view(torch.bfloat16) if constant.dtype == "bfloat16" else value.to(getattr(torch, constant.dtype))


def _allowed_by_torch(module: nn.Module, name: str) -> str:
    name = f"%{ord(name[0]):02X}{name[1:]}" if hasattr(module, name) else name
    return name.replace(".", "%2E")
