"""A model up to some of its layers, prepared to run: cut, BatchNorm folded, weights frozen, checked against the model.

    network = prepare_network(load_model("clip-rn50x4"), ["layer4.5"], "mean")
    (a_NU,) = network(x)                    # x: a batch as the image tower takes it

A network that cannot be traced symbolically runs unchanged, with temporary hooks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from Activation_Extraction.backends.plain_network import PlainNetwork, noise, running
from Activation_Extraction.base.errors import InputError, first_line
from Activation_Extraction.clip_helpers import network_input
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.resources import DOUBLE, PRECISIONS, check_precision
from Activation_Extraction.models.surgery.pooling import check_pooling
from Activation_Extraction.models.surgery.rewrite import (
    NotTraceableError,
    fuse_conv_relu,
    in_bfloat16,
    rewritten,
    route_through_kept,
)

EXACT, CLOSE = 1e-4, 0.1
"""Largest distance from the original model, relative to the norm of a layer's activations: in fp32, in bf16."""


Network = Callable[[Tensor], Sequence[Tensor]]
"""A batch as the image tower takes it → the pooled output of each layer."""


@dataclass(frozen=True, eq=False)
class PreparedNetwork:
    """A model prepared by `prepare_network`, as a function of a batch.

    Attributes:
        layers: canonical names, each once, in the order given.
        plain: the original model, with hooks; reference: its output for `noise(model, 1)`.
        network: an `fx.GraphModule`, or `plain` if the model cannot be traced.
        form: how it was prepared, in words.
        is_reduced: whether convolutions and matrix products run in bfloat16.
        dtype: of batches and activations: float32, or float64 in fp64.
    """

    model: Model
    layers: tuple[str, ...]
    plain: PlainNetwork
    reference: tuple[Tensor, ...]
    network: nn.Module
    form: str
    is_reduced: bool
    dtype: torch.dtype

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """The pooled output of each layer, of type `dtype`, for a batch as the image tower takes it."""
        x = x.to(self.dtype)
        if self.model.image_input.layout == "NCHW":
            x = x.contiguous(memory_format=torch.channels_last)  # as the weights are
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.is_reduced, cache_enabled=False):
            return tuple(a.to(self.dtype) for a in self.network(x))


def prepare_network(
    model: Model,
    layers: Iterable[str],
    pooling: str = "none",
    precision: str = "fp32",
    *,
    gradients: bool = False,
    rewrite: bool = True,
) -> PreparedNetwork:
    """Make a network that computes some layers of a model and nothing else; the model is not changed.

    Args:
        layers: names of layers.
        pooling: over the positions of a map, or the tokens of a sequence: "mean", "max", or "none" to keep them.
        precision: "fp32" keeps the precision of the weights; "bf16" runs convolutions and matrix products in bfloat16,
            except for gradients at several layers of a network that cannot be traced; "fp64", for gradients, runs all
            in float64.
        rewrite: False runs the model unchanged, which needs no preparation and suits a few images.
        gradients: let gradients reach the images, and with several layers, the maps in between; weights get none.

    Raises:
        InputError: an unknown layer, pooling or precision; a layer without units; a precision that the device lacks or
            that is too inaccurate; with `gradients`, several layers, unless all give (image, unit, …).
    """
    names = tuple(dict.fromkeys(model.layers.resolve(layer) for layer in layers))
    if not names:
        raise InputError("layers: none given; expected at least one")
    check_pooling(pooling)
    check_precision(precision, model.device, (*PRECISIONS, DOUBLE) if gradients else PRECISIONS)
    on_the_way = gradients and len(names) > 1
    assert pooling == "none" or not on_the_way, "no layer reads pooled maps, so they get no gradients"
    plain = PlainNetwork(model, names, pooling, on_the_way=on_the_way)
    x = network_input(torch.from_numpy(noise(model, 1)).to(model.device), model.image_input)
    dtype = torch.float32
    if precision == DOUBLE:
        dtype = torch.float64
        plain, x = copy.deepcopy(plain).double(), x.double()
    with running(model):
        reference = plain(x)
    if on_the_way and set(plain.axes.values()) != {(0, 1)}:
        raise InputError(f"layers {', '.join(names)}: found units on another axis; expected maps, (image, unit, y, x)")
    network, form = (rewrite and _traced(plain, model, x, reference, gradients)) or (plain, "unchanged")
    reduced = precision == "bf16" and not (on_the_way and network is plain)
    if reduced and network is not plain:
        in_bfloat16(network)
    prepared = PreparedNetwork(model, names, plain, reference, network, form, reduced, dtype)
    if reduced:
        check_close(prepared, x, prepared, "precision bf16", CLOSE)
    return prepared


def _traced(
    plain: PlainNetwork, model: Model, x: Tensor, reference: Sequence[Tensor], gradients: bool
) -> tuple[nn.Module, str] | None:
    """The rewritten network and its form; None if it cannot be traced or then gives other numbers."""
    try:
        network, folded = rewritten(plain.image_tower, plain.axes, plain.pooling)
    except NotTraceableError:
        return None
    if plain.on_the_way:
        route_through_kept(network)
    network.requires_grad_(False)
    form = f"rewritten, {folded} BatchNorms folded"
    if not gradients and model.device.type == "cpu":
        fused_network = fx.GraphModule(network, copy.deepcopy(network.graph))  # shares the weights
        fused = fuse_conv_relu(fused_network)
        if fused and _is_exact(fused_network, x, reference, model):
            return fused_network, f"{form}, {fused} ReLUs fused"
    return (network, form) if _is_exact(network, x, reference, model) else None


def _is_exact(network: fx.GraphModule, x: Tensor, reference: Sequence[Tensor], model: Model) -> bool:
    try:
        with running(model):
            return distance(network.forward(x), reference) <= EXACT  # unlike forward, a call prints errors
    except Exception:  # a network's own code may raise anything if it was traced wrongly
        return False


def check_close(network: Network, x: Tensor, prepared: PreparedNetwork, what: str, limit: float) -> None:
    """Compare a network with the original model, for a batch that ends with the noise image.

    Args:
        what: the network's description in the message.
        limit: `EXACT` or `CLOSE`.

    Raises:
        InputError: it fails, or is farther from the original than the limit.
    """
    name = prepared.model.name
    try:
        with running(prepared.model):
            difference = distance(network(x), prepared.reference)
    except RuntimeError as error:  # such as an operation that the processor lacks
        raise InputError(
            f"{what}: {name} does not run ({first_line(error)}); expected backend eager, precision fp32, or smaller batches"
        ) from None
    if not difference <= limit:
        raise InputError(
            f"{what}: activations of {name} differ by {difference:.2g} from those of the network itself; expected at most "
            f"{limit:g} (backend eager in precision fp32 is exact)"
        )


def distance(found: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    """Distance of the last image of a batch from the same image alone, relative to its norm; the worst layer's."""
    pairs = [(a[-1].double().cpu(), b[0].double().cpu()) for a, b in zip(found, reference)]
    return float(torch.stack([(a - b).norm() / b.norm().clamp(min=1e-30) for a, b in pairs]).max())  # NaN stays NaN
