"""A network as optimisation runs it: cut off behind the last layer that is read, in bfloat16 where it serves.

Shapes: N images, C = 3 colours, H and W space, U units, and the positions … of a layer's map.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from Activation_Extraction.backends.preparation import prepare_network
from Activation_Extraction.clip_helpers import network_input
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.surgery.rewrite import RELUS, kept_nodes


class CutNetwork:
    """Images to the activations of some layers, with gradients to the images and none to the weights.

    Args:
        model: what is run; it is left as it is.
        layers: names, in either scheme; the first is the one that is rendered.
        precision: see `prepare_network`; activations are handed out in fp32.

    Raises:
        InputError: what `prepare_network` raises.
    """

    def __init__(self, model: Model, layers: Sequence[str], precision: str = "fp32") -> None:
        self._network = prepare_network(model, layers, precision=precision, gradients=True)
        self._rescuing = self._network
        if isinstance(self._network.network, fx.GraphModule):
            self._rescuing = replace(self._network, network=_with_rescue(self._network.network))
        self.layers = self._network.layers
        self.units = self._network.reference[0].shape[1]
        """Of the layer that is rendered."""
        self.input_size = model.image_input.height, model.image_input.width
        """Height and width of the images."""

    def __call__(self, x_NCHW: Tensor, *, rescue: bool = False) -> dict[str, Tensor]:
        """Activations `(N, U, …)` of each layer, in the order in which they were named.

        Each lies on the way from the images to those of later layers, so gradients at it can be asked for.

        Args:
            x_NCHW: images from 0 to 1, of `input_size`.
            rescue: lets gradients reach a unit of the first layer that its ReLU holds at 0, in images where none would.
        """
        network = self._rescuing if rescue else self._network
        x = network_input(x_NCHW.movedim(1, -1), network.model.image_input, white=1)
        return dict(zip(self.layers, network(x)))


# Rescue -------------------------------------------------------------------------------------------------------------


def _with_rescue(network: fx.GraphModule) -> fx.GraphModule:
    """The same network with the same weights, where the ReLU that gives the first layer lets dead units be reached."""
    rescuing = fx.GraphModule(network, copy.deepcopy(network.graph))
    relu = kept_nodes(rescuing)[0].args[0]
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
