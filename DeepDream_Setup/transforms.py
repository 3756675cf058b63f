"""Random views of an image, so that an optimised image does not depend on single pixels.

Padding, jitter, scaling, rotation and cropping are combined into one affine map from view to image, drawn for each image,
and one resampling. Outside the image it is mid-grey.

Shapes: N images, C = 3 colours, H and W space.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, StrictFloat
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

DRAWS = 7
"""Random numbers per view: shift across and down, scale, angle, side and position (two) of the window."""

GREY = 0.5

MOST_PIXELS = 10_000
"""Limit of padding, shifts and, in degrees, rotations."""


def _smaller_first(numbers: tuple[float, float]) -> tuple[float, float]:
    if numbers[0] > numbers[1]:
        raise ValueError
    return numbers


_Amount = Annotated[StrictFloat, Field(ge=0, le=MOST_PIXELS)]
_Factor = Annotated[StrictFloat, Field(ge=1e-3, le=1e3)]
_Range = Annotated[
    tuple[_Factor, _Factor],
    AfterValidator(_smaller_first),
    Field(description="two numbers such as [0.9, 1.1], the smaller first, from 0.001 to 1,000"),
]


@dataclass(frozen=True, config={"extra": "forbid"})
class Transforms:
    """How much views vary; by default, not at all.

    Args:
        pad: pixels of grey added around the image before everything else.
        jitter: largest shift in pixels, in each direction.
        scale: smallest and largest factor, drawn log-uniformly.
        rotate: largest rotation in degrees, either way.
        crop: smallest and largest side of a square window at a random position, as a share of the image's side.
    """

    pad: _Amount = 0.0
    jitter: _Amount = 0.0
    scale: _Range = (1.0, 1.0)
    rotate: _Amount = 0.0
    crop: _Range = (1.0, 1.0)

    def maps(self, draws_ND: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Affine maps from a view's coordinates (x, y, 1) to the image's, `(N, 2, 3)`; -1 and 1 are the outer edges.

        Args:
            draws_ND: `DRAWS` numbers from 0 to 1 for each view.
            size: side of the image in pixels.
        """
        across, down, scale, angle, side, left, top = draws_ND.T
        canvas = size + 2 * self.pad
        factor = self.scale[0] * (self.scale[1] / self.scale[0]) ** scale
        radians = np.radians(self.rotate) * (2 * angle - 1)
        window = self.crop[0] + (self.crop[1] - self.crop[0]) * side
        # From view to image: undo the crop, then rotation and scale, then the shift, then the padding.
        turn = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]]).transpose(2, 0, 1)
        turn = turn / factor[:, None, None]
        place = np.stack([(1 - window) * (2 * left - 1), (1 - window) * (2 * top - 1)], 1)
        shift = np.stack([2 * across - 1, 2 * down - 1], 1) * (2 * self.jitter / canvas)
        linear = turn * window[:, None, None]
        offset = (turn @ place[:, :, None])[:, :, 0] - shift
        return np.concatenate([linear, offset[:, :, None]], 2) * (canvas / size)


def resample(x_NCHW: Tensor, maps: Tensor, height: int, width: int) -> Tensor:
    """Views of images of a height and width, by bilinear sampling along `maps`, `(N, 2, 3)` as of `Transforms.maps`."""
    grid = F.affine_grid(maps.to(x_NCHW), [len(x_NCHW), 3, height, width], align_corners=False)
    return F.grid_sample(x_NCHW - GREY, grid, align_corners=False) + GREY


def plainly(images: int) -> Tensor:
    """Identity maps: `resample` with them only changes the size."""
    return torch.eye(2, 3).expand(images, 2, 3)
