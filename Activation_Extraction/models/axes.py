"""Which axes of a layer's output hold the images and the units, from its shapes in batches of two sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from Activation_Extraction.base.errors import InputError, shown

Shape = Sequence[int]
Axis = Callable[[str, Shape], "int | None"]
"""A layer's canonical name and the shape of its output → an axis; None where it is not known."""


class Axes(NamedTuple):
    """The axes of images and of units in a layer's output; every other axis is a position."""

    images: int
    units: int

    def images_first(self, a: Tensor) -> Tensor:
        """A view `(image, …)`, the rest in its order."""
        return a if self.images == 0 else a.movedim(self.images, 0)

    def as_given(self, a: Tensor) -> Tensor:
        """The inverse of `images_first`, contiguous where the order changes."""
        return a if self.images == 0 else a.movedim(0, self.images).contiguous()

    @property
    def units_after_images(self) -> int:
        """The axis of units in `images_first`."""
        return self.units + (self.units < self.images)


def unit_axis(shape: Shape, images: int = 0) -> int | None:
    """The axis of units by convention: NCHW → 1, three axes → the last, two axes → the one that is not the images'.

    None for other shapes, and where the convention does not say it.

    Args:
        images: the axis of images.
    """
    if len(shape) == 2:
        return 1 - images
    return {(4, 0): 1, (3, 0): 2, (3, 1): 2}.get((len(shape), images))


def find_axes(layer: str, shapes: Mapping[int, Shape], units: Axis | None = None, images: Axis | None = None) -> Axes:
    """The axes of a layer's output. The images' axis is as long as the batch; no other one changes with it.

    Args:
        layer: its canonical name.
        shapes: number of images in a batch → shape of the output; one entry where the network runs no other batch.
        units: says where the units are, if not where `unit_axis` says.
        images: says where the images are; needed if several axes are as long as the only batch.

    Raises:
        InputError: the shapes do not tell, or contradict what `units` or `images` says.
    """
    one, *others = shapes.values()
    found = f"layer {shown(layer)}: output {' and '.join(f'{tuple(shape)} for a batch of {n}' for n, shape in shapes.items())}"  # fmt: skip
    fitting = [
        axis
        for axis in range(len(one))
        if all(len(shape) == len(one) and shape[axis] == n for n, shape in shapes.items())
        and all(shape[i] == one[i] for shape in others for i in range(len(one)) if i != axis)
    ]
    if images is not None and (named := images(layer, one)) is not None:
        named %= max(len(one), 1)
        if named not in fitting:
            raise InputError(f"{found}; the images are not on axis {named}, which `image_axis` names")
        fitting = [named]
    if len(fitting) != 1:
        hint = ", or the `image_axis` of the model to name it" if fitting else ""
        raise InputError(f"{found}; expected one axis that is as long as the batch, and others that stay{hint}")
    axis = unit_axis(one, fitting[0]) if units is None else units(layer, one)
    if axis is None or axis % len(one) == fitting[0]:
        raise InputError(
            f"{found}; images are on axis {fitting[0]}, the axis of units is not known; expected another layer "
            "(`interpscore models layers` lists them), or the `axis` of the model to name it"
        )
    return Axes(fitting[0], axis % len(one))
