"""The network that optimisation runs: cut off after the last layer needed, in fp32 or bfloat16.

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
    """From images to the activations of some layers, with gradients to the images only.

    Args:
        model: the model; it is not modified.
        layers: names, in either scheme; the first is the layer being rendered.
        precision: see `prepare_network`; activations are fp32, or fp64 in fp64.

    Raises:
        InputError: as `prepare_network`.

    Attributes:
        layers: canonical names.
        units: number of units of the rendered layer.
        input_size: height and width of the images.
        dtype: of the activations, and of images to optimise.
    """

    def __init__(self, model: Model, layers: Sequence[str], precision: str = "fp32") -> None:
        self._network = prepare_network(model, layers, precision=precision, gradients=True)
        self._rescuing = self._network
        if isinstance(self._network.network, fx.GraphModule):
            self._rescuing = replace(self._network, network=_with_rescue(self._network.network))
        self.layers = self._network.layers
        self.units = self._network.reference[0].shape[1]
        self.dtype = self._network.dtype
        self.input_size = model.image_input.height, model.image_input.width

    def __call__(self, x_NCHW: Tensor, *, rescue: bool = False) -> dict[str, Tensor]:
        """Activations `(N, U, …)` of each layer, in the given order; gradients can be taken at each of them.

        Args:
            x_NCHW: images from 0 to 1, of `input_size`.
            rescue: pass gradients through the first layer's ReLU in images where it would block all of them.
        """
        network = self._rescuing if rescue else self._network
        x = network_input(x_NCHW.movedim(1, -1), network.model.image_input, white=1)
        return dict(zip(self.layers, network(x)))


# Rescue -------------------------------------------------------------------------------------------------------------


def _with_rescue(network: fx.GraphModule) -> fx.GraphModule:
    """The same network and weights, with `rescuing_relu` in place of the ReLU that outputs the first layer."""
    rescuing = fx.GraphModule(network, copy.deepcopy(network.graph))
    relu = kept_nodes(rescuing)[0].args[0]
    if relu.op not in ("call_module", "call_function", "call_method"):
        return network
    kind = relu.target
    if relu.op == "call_module":
        module = network.get_submodule(relu.target)
        kind = getattr(module, "torch_function", type(module))  # a frozen graph's nodes name a function
    if kind not in RELUS:
        return network
    with rescuing.graph.inserting_before(relu):
        rescued = rescuing.graph.call_function(rescuing_relu, (relu.args[0],))
    relu.replace_all_uses_with(rescued)
    rescuing.graph.erase_node(relu)
    rescuing.recompile()
    return rescuing


def rescuing_relu(x: Tensor) -> Tensor:
    """A ReLU that, in images where it would block the whole gradient, passes it wherever descent raises the input.

    Assumes a loss that falls as units rise. Source: lucid's redirected ReLU, image by image.
    """
    return torch.as_tensor(_RescuingReLU.apply(x))  # type: ignore[no-untyped-call]


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
