"""A model as it is, up to some of its layers: what every faster way of running it is compared with."""

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
    """A model's image tower, with hooks that keep some layers; a run ends when all of them are there.

    Args:
        model: what to run.
        layers: canonical names.
        pooling: of `POOLINGS`.
        on_the_way: gives each layer's whole map as later layers read it, in place of a pooled copy.
    """

    def __init__(self, model: Model, layers: Sequence[str], pooling: str, *, on_the_way: bool = False) -> None:
        super().__init__()
        self.image_tower = model.image_tower
        self.pooling, self.on_the_way = pooling, on_the_way
        self.axes = dict.fromkeys(layers, 1)
        """Layer → which axis of its output holds the units; right after the first run."""
        self._model = model

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """What `pooled` makes of each layer on a batch, as the image tower takes it.

        Raises:
            InputError: the output of a layer has no axis of units.
        """
        keep = {layer: self._keep(layer, len(x)) for layer in self.axes}
        # What is reduced is no longer on the way.
        with trace(self.image_tower, self.axes, reduce=None if self.on_the_way else keep) as retained:
            retained.run(x)
        found = (retained[layer] for layer in self.axes)
        return tuple(keep[layer](a) for layer, a in zip(self.axes, found)) if self.on_the_way else tuple(found)

    def _keep(self, layer: str, images: int) -> Callable[[Tensor], Tensor]:
        def keep(a: Tensor) -> Tensor:
            axis = self.axes[layer] = unit_axis(self._model, layer, a.shape, images)
            if self.on_the_way:
                return a if axis == 1 else a.movedim(axis, 1)  # even a view of the same shape would be off the way
            return pooled(a, axis, self.pooling)

        return keep


def unit_axis(model: Model, layer: str, shape: Sequence[int], images: int = 1) -> int:
    """Which axis of a layer's output, of that shape for so many images, holds its units.

    Raises:
        InputError: none does.
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
    """Inside the block, this thread runs the model: without gradients, with its threads, and fp32 is fp32."""
    with torch.inference_mode(), limited_threads(model.threads):
        if model.device.type != "cuda":
            yield
        else:
            # TF32 would keep ten bits of a float, and an algorithm that is chosen by time differs from run to run.
            with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
                yield
