"""Rewrites a network to compute some of its layers, pooled, and nothing else.

The network is traced symbolically; operations that no requested layer depends on are removed, and BatchNorms are folded
into convolutions that nothing else reads; on processors, `fuse_conv_relu` does the same with ReLUs. Networks that cannot
be traced (value-dependent control flow, outputs that are not tensors) are an error here; wrong traces are found when
`backends.preparation` compares a rewritten network with the original.
"""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Callable, Collection, Mapping
from threading import Lock, get_ident
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from Activation_Extraction.base.errors import first_line
from Activation_Extraction.models.axes import Axes
from Activation_Extraction.models.modified_resnet import Sum
from Activation_Extraction.models.surgery.pooling import pooled
from Activation_Extraction.models.trace import split_call

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
RELUS = (nn.ReLU, F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_")
SUMS = (Sum, operator.add, operator.iadd, torch.add, "add", "add_")

FOLDED = "folded_"
"""Prefix of the names of convolutions with a folded BatchNorm."""

_tracing = Lock()
"""Symbolic tracing temporarily replaces methods of `nn.Module`."""


class NotTraceableError(Exception):
    """A network that cannot be traced; the message says why."""


def rewritten(tower: nn.Module, kept: Mapping[str, Axes], pooling: str) -> tuple[fx.GraphModule, int]:
    """A network that computes `pooled` outputs of some layers of another one, with copied weights.

    Args:
        tower: the network, in evaluation mode; it is not changed.
        kept: names of layers, as `trace` takes them → the axes of their outputs.
        pooling: of `POOLINGS`.

    Returns:
        The network, which returns a tuple in the order of `kept`, and the number of folded BatchNorms.

    Raises:
        NotTraceableError: the network cannot be traced.
    """
    if any(module._forward_hooks or module._forward_pre_hooks for module in tower.modules()):
        raise NotTraceableError("it carries hooks")
    recorder = _Recorder(tower, kept, pooling)
    try:
        with _tracing:
            graph = recorder.trace(tower, _defaults(tower.forward))
    except Exception as error:  # a network's own code may raise anything if its input is not a tensor
        raise NotTraceableError(first_line(error)) from error
    (output,) = graph.find_nodes(op="output")
    output.args = (tuple(recorder.node_of(name, tower) for name in kept),)
    network = fx.GraphModule(tower, graph)
    graph.eliminate_dead_code()
    folded = _fold(network)
    network.delete_all_unused_submodules()
    network.recompile()
    made = {id(weight): weight for name, weight in network.named_parameters() if name.startswith(FOLDED)}
    network = copy.deepcopy(network, made)  # all weights but the new ones
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network, folded


def kept_nodes(network: fx.GraphModule) -> list[Any]:
    """The nodes of a rewritten network that return the layers, in order."""
    (output,) = network.graph.find_nodes(op="output")
    return list(output.args[0])


def route_through_kept(network: fx.GraphModule) -> None:
    """Make later layers read the returned maps (which must not be pooled), so that gradients pass through them."""
    for kept in kept_nodes(network):
        kept.args[0].replace_all_uses_with(kept, delete_user_cb=lambda user, kept=kept: user is not kept)
    network.recompile()


class _Recorder(fx.Tracer):
    """Traces a network, and pools the outputs of some layers as soon as they return, before anything changes them."""

    def __init__(self, tower: nn.Module, kept: Mapping[str, Axes], pooling: str) -> None:
        super().__init__()
        self._layers = {name for name, _ in tower.named_modules()}
        self._axes = {split_call(name, self._layers)[0]: tuple(axes) for name, axes in kept.items()}
        self._pooling = pooling
        self._calls: dict[str, list[fx.Node]] = {}
        self._thread = get_ident()  # other threads may run networks meanwhile, which must not be traced

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return super().is_leaf_module(m, module_qualified_name) or next(m.children(), None) is None

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if get_ident() != self._thread:
            return forward(*args, **kwargs)
        output = super().call_module(m, forward, args, kwargs)
        name = self.path_of_module(m)
        if name in self._axes:
            if not isinstance(output, fx.Proxy):
                raise NotTraceableError(f"{name} returns {type(output).__name__}")
            kept = self.create_proxy("call_function", pooled, (output, self._axes[name], self._pooling), {})
            self._calls.setdefault(name, []).append(kept.node)
        return output

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        mine = get_ident() == self._thread
        return super().getattr(attr, attr_val, parameter_proxy_cache) if mine else attr_val

    def node_of(self, address: str, tower: nn.Module) -> fx.Node:
        name, call = split_call(address, self._layers)
        calls = self._calls.get(name, [])
        if call is None and len(calls) > 1 and next(tower.get_submodule(name).parameters(), None) is not None:
            raise NotTraceableError(f"{name} runs {len(calls)} times")  # the last call depends on the other layers
        if len(calls) < (call or 1):
            raise NotTraceableError(f"{address} is not reached")
        return calls[call - 1 if call else -1]


def _defaults(forward: Callable[..., object]) -> dict[str, Any]:
    """The arguments after the first, with their default values."""
    arguments = list(inspect.signature(forward).parameters.values())[1:]
    return {argument.name: argument.default for argument in arguments if argument.default is not argument.empty}


def _fold(network: fx.GraphModule) -> int:
    """Fold each BatchNorm that is the only reader of a convolution into it; their number."""
    folded = 0
    for node in list(network.graph.nodes):
        before = node.args[0] if node.op == "call_module" and len(node.args) == 1 else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        norm, convolution = network.get_submodule(str(node.target)), network.get_submodule(str(before.target))
        # Subclasses are excluded, since they may do more.
        if type(norm) not in BATCH_NORMS or type(convolution) not in CONVOLUTIONS or norm.running_mean is None:
            continue
        name = f"{FOLDED}{folded}"
        network.add_submodule(name, _fused(convolution, norm))
        before.target = name
        node.replace_all_uses_with(before)
        network.graph.erase_node(node)
        folded += 1
    return folded


def _fused(convolution: Any, norm: Any) -> nn.Module:
    """A convolution and the BatchNorm after it as one convolution, computed in float64."""
    single: list[Any] = [
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias,
    ]  # fmt: skip
    double: list[Any] = [value.detach().double() if isinstance(value, Tensor) else value for value in single]
    weight, bias = fuse_conv_bn_weights(*double)
    fused: nn.Module = copy.copy(convolution)
    fused._parameters = {}
    for name, value in (("weight", weight), ("bias", bias)):
        fused.register_parameter(name, nn.Parameter(value.to(convolution.weight.dtype), requires_grad=False))
    return fused


def fuse_conv_relu(network: fx.GraphModule) -> int:
    """Fuse each ReLU with the convolution, or sum with a convolution, of which it is the only reader; for inference.

    On a processor this takes one pass over memory in place of two or three. In-place changes of a map are not tracked.

    Returns:
        The number of fused ReLUs; 0 if torch has no such operation.
    """
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not available or not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return 0
    fused = 0
    for relu in list(network.graph.nodes):
        if not _is_one_of(RELUS, relu, network) or not relu.args:
            continue
        last, addend = relu.args[0], None
        if _is_one_of(SUMS, last, network) and len(last.args) == 2 and not last.kwargs and len(last.users) == 1:
            last, addend = last.args
        if not _is_one_of((nn.Conv2d,), last, network) or len(last.users) > 1 or len(last.args) != 1:
            continue
        if addend is last or not isinstance(addend, (fx.Node, type(None))):
            continue
        convolution: Any = network.get_submodule(last.target)
        if convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
            continue
        name = f"fused_{fused}"
        network.add_submodule(name, FusedConvReLU(convolution))
        with network.graph.inserting_before(relu):
            node = network.graph.call_module(name, (*last.args, *([] if addend is None else [addend])))
        relu.replace_all_uses_with(node)
        for replaced in dict.fromkeys([relu, relu.args[0], last]):
            network.graph.erase_node(replaced)
        fused += 1
    network.delete_all_unused_submodules()
    network.recompile()
    return fused


class FusedConvReLU(nn.Module):
    """The ReLU of a convolution, or of its sum with another map, by oneDNN; for inference only."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        self._geometry = (
            *(list(pair) for pair in (convolution.padding, convolution.stride, convolution.dilation)),
            convolution.groups,
        )

    def forward(self, x_NCHW: Tensor, addend_NCHW: Tensor | None = None) -> Tensor:
        x, parts = x_NCHW.to(self.weight.dtype), (self.weight, self.bias, *self._geometry)
        if addend_NCHW is None:
            y: Tensor = torch.ops.mkldnn._convolution_pointwise(x, *parts, "relu", [], "")
        else:
            addend = addend_NCHW.to(self.weight.dtype)
            y = torch.ops.mkldnn._convolution_pointwise.binary(x, addend, *parts, "add", None, "relu", [], "")
        return y


def _is_one_of(kinds: Collection[object], node: object, network: fx.GraphModule) -> bool:
    """Whether a node runs a module of one of some classes (no subclasses), or one of some functions or methods."""
    if not isinstance(node, fx.Node):
        return False
    what = type(network.get_submodule(str(node.target))) if node.op == "call_module" else node.target
    return node.op in ("call_module", "call_function", "call_method") and what in kinds


def in_bfloat16(network: nn.Module) -> None:
    """Convert the weights that autocast would otherwise convert in every run."""
    for module in network.modules():
        if type(module) in (*CONVOLUTIONS, FusedConvReLU, nn.Linear):
            module.to(torch.bfloat16)
