"""Operations on images: convolutions, pools, BatchNorm and biases, with TensorFlow's padding and layouts.

Shapes: N images, C channels in, O out, M outputs a channel, H and W space; the layout is the node's `data_format`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from Activation_Extraction.models.frozen_graph.attributes import Attributes

Function = Callable[..., Tensor]
LAYOUTS = ("NHWC", "NCHW")


class Sides(NamedTuple):
    """Padding before and after one axis."""

    before: int
    after: int


def conv2d(attributes: Attributes) -> Function:
    """Convolution with filters HWIO; in groups when the filters have fewer input channels than the images."""
    window = _Window(attributes)
    attributes.ignore("use_cudnn_on_gpu")

    def run(x: Tensor, w_HWIO: Tensor) -> Tensor:
        return window.convolve(x, w_HWIO.permute(3, 2, 0, 1), x.shape[window.channels] // w_HWIO.shape[2])

    return run


def depthwise_conv2d(attributes: Attributes) -> Function:
    """Each channel with its own filters, HWCM."""
    window = _Window(attributes)

    def run(x: Tensor, w_HWCM: Tensor) -> Tensor:
        height, width, channels, multiplier = w_HWCM.shape
        w_OIHW = w_HWCM.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
        return window.convolve(x, w_OIHW, channels)

    return run


def avg_pool(attributes: Attributes) -> Function:
    """Mean over the part of the window inside the image: padding does not count."""
    window = _Window(attributes, "ksize")

    def run(x: Tensor) -> Tensor:
        x_NCHW = window.to_NCHW(x)
        sides = window.sides(x_NCHW.shape[2:], window.size)
        total = F.avg_pool2d(_padded(x_NCHW, sides), window.size, window.strides)
        if any(map(any, sides)):
            inside = _padded(torch.ones_like(x_NCHW[:1, :1]), sides)
            total = total / F.avg_pool2d(inside, window.size, window.strides)
        return window.from_NCHW(total)

    return run


def max_pool(attributes: Attributes) -> Function:
    """Maximum over the part of the window inside the image."""
    window = _Window(attributes, "ksize")

    def run(x: Tensor) -> Tensor:
        x_NCHW = window.to_NCHW(x)
        sides = window.sides(x_NCHW.shape[2:], window.size)
        return window.from_NCHW(F.max_pool2d(_padded(x_NCHW, sides, -torch.inf), window.size, window.strides))

    return run


def fused_batch_norm(attributes: Attributes) -> Function:
    """Normalisation by stored statistics: `(x − mean) · scale / √(variance + epsilon) + offset`."""
    attributes.must_be_off("is_training", True, "a frozen graph has no batch statistics")
    attributes.ignore("exponential_avg_factor")
    epsilon, layout = attributes.number("epsilon", 1e-4), attributes.choice("data_format", LAYOUTS, "NHWC")

    def run(x: Tensor, scale: Tensor, offset: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        x_NCHW = x if layout == "NCHW" else x.permute(0, 3, 1, 2)
        y_NCHW = F.batch_norm(x_NCHW, mean, variance, scale, offset, eps=epsilon)
        return y_NCHW if layout == "NCHW" else y_NCHW.permute(0, 2, 3, 1)

    return run


def bias_add(attributes: Attributes) -> Function:
    """One value added to each channel, of images or of tensors with the channels last."""
    layout = attributes.choice("data_format", LAYOUTS, "NHWC")

    def run(x: Tensor, bias: Tensor) -> Tensor:
        return x + (bias.reshape(-1, *(1,) * (x.ndim - 2)) if layout == "NCHW" else bias)

    return run


class _Window:
    """Strides, dilations, padding and layout of a node."""

    def __init__(self, attributes: Attributes, size: str = "") -> None:
        self.attributes = attributes
        self.layout = attributes.choice("data_format", LAYOUTS, "NHWC")
        self.channels = self.layout.index("C")
        self.strides = self._two("strides")
        self.dilations = (1, 1) if size else self._two("dilations", (1, 1, 1, 1))
        self.size = self._two(size) if size else (0, 0)
        self.padding = attributes.choice("padding", ("SAME", "VALID", "EXPLICIT"))
        explicit = attributes.integers("explicit_paddings")
        if len(explicit) != (8 if self.padding == "EXPLICIT" else 0) or min(explicit, default=0) < 0:
            attributes.refuse("explicit_paddings", "eight numbers with EXPLICIT padding and none without")
        pairs = [Sides(*explicit[k : k + 2]) for k in range(0, len(explicit), 2)]
        self.explicit = [pair for axis, pair in zip(self.layout, pairs) if axis in "HW"]
        if any(any(pair) for axis, pair in zip(self.layout, pairs) if axis in "NC"):
            attributes.refuse("explicit_paddings", "no padding of images and channels")

    def _two(self, name: str, default: Sequence[int] = ()) -> tuple[int, int]:
        values = self.attributes.integers(name, default)
        by_axis = dict(zip(self.layout, values))
        if len(values) != 4 or by_axis["N"] != 1 or by_axis["C"] != 1 or min(values) < 1:
            self.attributes.refuse(name, f"four positive numbers in the order {self.layout}, 1 for N and C")
        return by_axis["H"], by_axis["W"]

    def to_NCHW(self, x: Tensor) -> Tensor:
        return x if self.layout == "NCHW" else x.permute(0, 3, 1, 2)

    def from_NCHW(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW if self.layout == "NCHW" else x_NCHW.permute(0, 2, 3, 1)

    def sides(self, lengths: Sequence[int], window: Sequence[int]) -> list[Sides]:
        """Padding of H and W. SAME gives every stride a window and puts an odd pixel at the end."""
        if self.padding != "SAME":
            return self.explicit or [Sides(0, 0), Sides(0, 0)]
        both = []
        for length, size, stride, dilation in zip(lengths, window, self.strides, self.dilations):
            windows = -(-length // stride)
            missing = max((windows - 1) * stride + (size - 1) * dilation + 1 - length, 0)
            both.append(Sides(missing // 2, missing - missing // 2))
        return both

    def convolve(self, x: Tensor, w_OIHW: Tensor, groups: int) -> Tensor:
        x_NCHW = self.to_NCHW(x)
        sides = self.sides(x_NCHW.shape[2:], w_OIHW.shape[2:])
        padding = (sides[0].before, sides[1].before)
        if any(side.before != side.after for side in sides):
            x_NCHW, padding = _padded(x_NCHW, sides), (0, 0)
        y_NCHW = F.conv2d(x_NCHW, w_OIHW, None, self.strides, padding, self.dilations, groups)
        return self.from_NCHW(y_NCHW)


def _padded(x_NCHW: Tensor, sides: list[Sides], value: float = 0.0) -> Tensor:
    return F.pad(x_NCHW, (*sides[1], *sides[0]), value=value) if any(map(any, sides)) else x_NCHW
