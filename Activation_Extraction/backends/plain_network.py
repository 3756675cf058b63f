"""A model without changes, up to some of its layers: the reference for every faster way of running it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.resources import limited_threads
from Activation_Extraction.models.surgery.pooling import pooled
from Activation_Extraction.models.trace import trace


class PlainNetwork(nn.Module):
    """A model's image tower with hooks on some layers; a run stops once all of them have returned.

    Args:
        layers: canonical names.
        pooling: of `POOLINGS`.
        on_the_way: give each layer's map as later layers read it, in place of a pooled copy, for gradients at it.
    """

    def __init__(self, model: Model, layers: Sequence[str], pooling: str, *, on_the_way: bool = False) -> None:
        super().__init__()
        self.image_tower = model.image_tower
        self.pooling, self.on_the_way = pooling, on_the_way
        self.axes = dict.fromkeys(layers, 1)
        """Layer → the unit axis of its output; right after the first run."""
        self._model = model

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The `pooled` output of each layer on a batch, as the image tower takes it.

        Raises:
            InputError: the output of a layer has no axis of units.
        """
        keep = {layer: self._keep(layer, len(x)) for layer in self.axes}
        # A reduced copy is not what later layers read.
        with trace(self.image_tower, self.axes, reduce=None if self.on_the_way else keep) as retained:
            retained.run(x)
        found = (retained[layer] for layer in self.axes)
        return tuple(keep[layer](a) for layer, a in zip(self.axes, found)) if self.on_the_way else tuple(found)

    def _keep(self, layer: str, images: int) -> Callable[[Tensor], Tensor]:
        def keep(a: Tensor) -> Tensor:
            axis = self.axes[layer] = unit_axis(self._model, layer, a.shape, images)
            if self.on_the_way:
                return a if axis == 1 else a.movedim(axis, 1)  # later layers do not read a view
            return pooled(a, axis, self.pooling)

        return keep


def unit_axis(model: Model, layer: str, shape: Sequence[int], images: int = 1) -> int:
    """The unit axis of a layer's output, from its shape for a number of images.

    Raises:
        InputError: there is none.
    """
    axis = model.layers.unit_axis(layer, shape)
    if axis is None or len(shape) < 2 or shape[0] != images:
        raise InputError(
            f"layer {shown(layer)} of {model.name}: output of shape {tuple(shape)} for {images} images; "
            "expected one with an axis of units (`interpscore models layers` lists them)"
        )
    return axis


@contextmanager
def running(model: Model) -> Iterator[None]:
    """Run a model in this thread inside the block: no gradients, its number of threads, and no TF32."""
    with torch.inference_mode(), limited_threads(model.threads):
        if model.device.type != "cuda":
            yield
        else:
            # TF32 keeps ten bits of the mantissa; algorithms chosen by timing differ from run to run.
            with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
                yield
