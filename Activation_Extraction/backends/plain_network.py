"""A model without changes, up to some of its layers: the reference for every faster way of running it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.clip_helpers import network_input
from Activation_Extraction.models.axes import Axes
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.resources import limited_threads
from Activation_Extraction.models.surgery.pooling import pooled
from Activation_Extraction.models.surgery.suffix import relative_distance, tolerance
from Activation_Extraction.models.trace import trace


class PlainNetwork(nn.Module):
    """A model's image tower with hooks on some layers; a run stops once all of them have returned.

    Args:
        model: the model.
        layers: canonical names.
        pooling: of `POOLINGS`.
        on_the_way: give each layer's map as later layers read it, in place of a pooled copy, for gradients at it.

    Raises:
        InputError: see `checked_axes`.
    """

    def __init__(self, model: Model, layers: Sequence[str], pooling: str, *, on_the_way: bool = False) -> None:
        super().__init__()
        self.image_tower = model.image_tower
        self.pooling, self.on_the_way = pooling, on_the_way
        self.axes = checked_axes(model, layers)
        """Layer → the axes of images and units in its output."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The `pooled` output of each layer on a batch, as the image tower takes it."""
        keep = {layer: self._keep(axes) for layer, axes in self.axes.items()}
        # A reduced copy is not what later layers read.
        with trace(self.image_tower, self.axes, reduce=None if self.on_the_way else keep) as retained:
            retained.run(x)
        found = (retained[layer] for layer in self.axes)
        return tuple(keep[layer](a) for layer, a in zip(self.axes, found)) if self.on_the_way else tuple(found)

    def _keep(self, axes: Axes) -> Callable[[Tensor], Tensor]:
        def keep(a: Tensor) -> Tensor:
            if self.on_the_way:
                return a if axes == (0, 1) else a.movedim(axes, (0, 1))  # later layers do not read a view
            return pooled(a, axes, self.pooling)

        return keep


def checked_axes(model: Model, layers: Sequence[str]) -> dict[str, Axes]:
    """The axes of images and units in the output of each layer, checked with two images of noise.

    The batch of both gives the axes, and what it holds of each image must be what that image gives alone. A network
    that runs no batch of two is taken by its output for one. Each layer of a model is checked once.

    Args:
        layers: canonical names.

    Raises:
        InputError: no axis, or several, may be that of the images, or of the units; an output that depends on the rest
            of the batch; a layer that does not run or gives no tensor.
    """
    checked = model.layers.checked
    if missing := [layer for layer in dict.fromkeys(layers) if layer not in checked]:
        x = network_input(torch.from_numpy(noise(model, 2)).to(model.device), model.image_input)
        with running(model):
            first, second = (_outputs(model, missing, image[None]) for image in x)
            try:
                both = _outputs(model, missing, x)
            except Exception:  # a network's own code may refuse two images in any way
                both = {}
        for layer in missing:
            shapes = {1: first[layer].shape} | {len(x): a.shape for name, a in both.items() if name == layer}
            axes = model.layers.axes(layer, shapes)
            if layer in both:
                _check_images(layer, both[layer], [first[layer], second[layer]], axes, model)
            checked[layer] = axes
    return {layer: checked[layer] for layer in layers}


def _outputs(model: Model, layers: Sequence[str], x: Tensor) -> dict[str, Tensor]:
    with trace(model.image_tower, layers) as retained:
        retained.run(x)
    return dict(retained)


def _check_images(layer: str, both: Tensor, alone: Sequence[Tensor], axes: Axes, model: Model) -> None:
    """Refuse a layer whose output for an image in a batch is not that of the image alone."""
    limit = tolerance(model.image_tower, *alone)
    for image, (found, wanted) in enumerate(zip(both.chunk(len(alone), axes.images), alone, strict=True)):
        if not (off := relative_distance(found, wanted)) <= limit:
            raise InputError(
                f"layer {shown(layer)} of {model.name}: for image {image} of a batch of {len(alone)} the output differs "
                f"by {off:.2g} from that for the image alone; expected at most {limit:.2g}, whatever the rest of the batch"
            )


def noise(model: Model, images: int) -> NDArray[np.uint8]:
    """Different images of noise; the last one does not depend on their number."""
    shape = (model.image_input.height, model.image_input.width, 3)
    pixels_HWC = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return np.stack([np.roll(pixels_HWC, i, axis=1) for i in reversed(range(images))])


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
