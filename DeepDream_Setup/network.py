"""A network as optimisation runs it: frozen, cut off behind the last layer that is read, in bfloat16 where it serves.

Shapes: N images, C = 3 colours, H and W space, U units, and the positions … of a layer's map.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from Activation_Extraction.backends.plain_network import PlainNetwork
from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.surgery.rewrite import RELUS, NotTraceableError, in_bfloat16, rewritten
from Activation_Extraction.models.trace import trace

PRECISIONS = ("fp32", "bf16")

EXACT = 1e-4
"""How far the rewritten network may be from the network itself, as a part of the norm of a layer's activations."""


class CutNetwork:
    """Images to the activations of some layers, with gradients to the images and none to the weights.

    The network is rewritten without what lies behind the layers, BatchNorms folded; one that cannot be traced
    symbolically is run as it is, through hooks that are gone after each run.

    Args:
        model: what is run; it is left as it is.
        layers: names, in either scheme; the first is the one that is rendered.
        precision: of convolutions and matrix products, of `PRECISIONS`; activations are handed out in fp32. Several
            layers of a network that cannot be traced are always in fp32.

    Raises:
        InputError: an unknown layer or precision, a layer without units, or several whose units lie on a later axis.
    """

    def __init__(self, model: Model, layers: Sequence[str], precision: str = "fp32") -> None:
        if precision not in PRECISIONS:
            raise InputError(f"precision: found {shown(precision)}; expected {' or '.join(PRECISIONS)}")
        self.model, self.precision = model, precision
        self.layers = tuple(dict.fromkeys(model.layers.resolve(layer) for layer in layers))
        self._plain = PlainNetwork(model, self.layers, "none")
        noise = torch.rand(1, 3, *self.input_size, generator=torch.Generator().manual_seed(0)).to(model.device)
        with torch.no_grad():
            reference = self._plain(self._network_input(noise))
        if len(self.layers) > 1 and set(self._plain.axes.values()) != {1}:
            raise InputError(
                f"layers {', '.join(self.layers)}: found units on a later axis; expected maps, (N, unit, y, x)"
            )
        self.units = reference[0].shape[1]
        """Of the layer that is rendered."""
        self._network: fx.GraphModule | None = None
        with contextlib.suppress(NotTraceableError):
            self._network = self._rewritten(self._network_input(noise), reference)
        self._rescuing = None if self._network is None else _with_rescue(self._network)

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.model.image_input.height, self.model.image_input.width

    def __call__(self, x_NCHW: Tensor, *, rescue: bool = False) -> dict[str, Tensor]:
        """Activations `(N, U, …)` of each layer, in the order in which they were named.

        Each lies on the way from the images to those of later layers, so gradients at it can be asked for.

        Args:
            x_NCHW: images from 0 to 1, of `input_size`.
            rescue: lets gradients reach a unit of the first layer that its ReLU holds at 0, in images where none would.
        """
        x = self._network_input(x_NCHW)
        reduced = self.precision == "bf16" and (self._network is not None or len(self.layers) == 1)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=reduced, cache_enabled=False):
            network = self._rescuing if rescue else self._network
            found: Mapping[str, Tensor] = self._hooked(x) if network is None else dict(zip(self.layers, network(x)))
        return {layer: found[layer].float() for layer in self.layers}

    def _hooked(self, x: Tensor) -> dict[str, Tensor]:
        with trace(self.model.image_tower, self.layers) as retained:
            retained.run(x)
        axes = self._plain.axes
        # A view would no longer lie on the way to later layers.
        return {layer: a if axes[layer] == 1 else a.movedim(axes[layer], 1) for layer, a in retained.items()}

    def _network_input(self, x_NCHW: Tensor) -> Tensor:
        wanted = self.model.image_input
        x = x_NCHW if wanted.value_range == "0-1" else 255 * x_NCHW
        if wanted.mean is not None and wanted.std is not None:
            mean, std = (x.new_tensor(values)[:, None, None] for values in (wanted.mean, wanted.std))
            x = (x - mean) / std
        if wanted.layout == "NHWC":
            return x.movedim(1, -1)
        return x.contiguous(memory_format=torch.channels_last)

    def _rewritten(self, x: Tensor, reference: Sequence[Tensor]) -> fx.GraphModule:
        axes = self._plain.axes
        network, _ = rewritten(self.model.image_tower, axes, "none")
        if len(self.layers) > 1:
            for kept in _kept(network):
                kept.args[0].replace_all_uses_with(kept, delete_user_cb=lambda user, kept=kept: user is not kept)
            network.recompile()
        with torch.no_grad():
            pairs = zip(network(x), reference)
            if any(float((a - b).norm()) > EXACT * float(b.norm()) for a, b in pairs):
                raise NotTraceableError("the traced network gives something else")
        if self.precision == "bf16":
            in_bfloat16(network)
        return network


def _kept(network: fx.GraphModule) -> list[Any]:
    """The nodes of a rewritten network that give the layers, in order."""
    (output,) = network.graph.find_nodes(op="output")
    kept: Any = output.args[0]
    return list(kept)


# Rescue -------------------------------------------------------------------------------------------------------------


def _with_rescue(network: fx.GraphModule) -> fx.GraphModule:
    """The same network with the same weights, where the ReLU that gives the first layer lets dead units be reached."""
    rescuing = fx.GraphModule(network, copy.deepcopy(network.graph))
    relu = _kept(rescuing)[0].args[0]
    if relu.op not in ("call_module", "call_function", "call_method"):
        return network
    kind = relu.target
    if relu.op == "call_module":
        module = network.get_submodule(relu.target)
        kind = getattr(module, "torch_function", type(module))  # the former: a node of a frozen graph
    if kind not in RELUS:
        return network
    with rescuing.graph.inserting_before(relu):
        rescued = rescuing.graph.call_function(rescuing_relu, (relu.args[0],))
    relu.replace_all_uses_with(rescued)
    rescuing.graph.erase_node(relu)
    rescuing.recompile()
    return rescuing


def rescuing_relu(x: Tensor) -> Tensor:
    """A ReLU whose gradient, in an image where all of it would be lost, passes wherever descent raises the input.

    What is minimised must fall as units rise. Source: lucid's redirected ReLU, an image at a time.
    """
    rescued: Tensor = _RescuingReLU.apply(x)  # type: ignore[no-untyped-call]
    return rescued


class _RescuingReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,), (above,) = ctx.saved_tensors, gradients
        passed = above * (x > 0)
        dead_N = passed.flatten(1).count_nonzero(1) == 0
        return torch.where(dead_N.reshape(-1, *[1] * (x.ndim - 1)), above * ((x > 0) | (above < 0)), passed)
