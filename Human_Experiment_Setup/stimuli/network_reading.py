"""What a network makes of a square picture, as a function that gradients pass: its preprocessing, a unit, a class.

The presets scale with Pillow, whose filters are linear along each axis, in whole levels after each: two matrices that
Pillow itself gives (it scales the identity) and two roundings that gradients pass as if they were not there.

Shapes: N pictures, C = 3 channels, S side of a picture, H, W sides of the network's input, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from Activation_Extraction.backends.preparation import PreparedNetwork
from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.clip_helpers import ImageInput, network_input
from Activation_Extraction.models.registry import Model

Score = Callable[[Tensor], Tensor]
"""A batch as the image tower takes it → a number for each picture, `(N,)`."""

_FILTERS = {"clip": Image.Resampling.BICUBIC, "published": Image.Resampling.LANCZOS}


class NetworkReading:
    """How a network reads pictures of one size: as `clip_helpers.prepare`, with gradients.

    The same to the level where the input is square; else Pillow may scale along the other axis first, which shows where
    values are clipped.

    Args:
        image_input: what the network takes.
        preset: "clip" or "published".
        side: of the pictures, in pixels.

    Raises:
        InputError: a preset that gradients cannot pass.
    """

    def __init__(self, image_input: ImageInput, preset: str, side: int) -> None:
        if preset not in _FILTERS:
            raise InputError(
                f"preprocessing: found {shown(preset)}; an adversarial level expects {' or '.join(_FILTERS)}"
            )
        height, width = image_input.height, image_input.width
        larger = max(height, width)
        scaled = (larger, larger) if preset == "clip" else (height, width)
        self._input = image_input
        self._rows_HS = _cut(_scaling(side, scaled[0], _FILTERS[preset]), height)
        self._columns_WS = _cut(_scaling(side, scaled[1], _FILTERS[preset]), width)

    def __call__(self, pixels_NCSS: Tensor) -> Tensor:
        """What the image tower takes, of pictures in levels from 0 to 255."""
        x_NCSW = _whole_levels(pixels_NCSS @ self._columns_WS.T.to(pixels_NCSS))
        x_NCHW = _whole_levels(self._rows_HS.to(pixels_NCSS) @ x_NCSW)
        return network_input(x_NCHW.movedim(1, -1), self._input)


def unit_activation(network: PreparedNetwork, unit: int) -> Score:
    """The activation of a unit, its mean over positions, as extraction gives it.

    Args:
        network: its layer, prepared with pooling "mean" for gradients.
    """

    def score(x: Tensor) -> Tensor:
        (a_NU,) = network(x)
        return a_NU[:, unit]

    return score


def class_log_odds(model: Model, texts: Sequence[str], target: int) -> Score:
    """The log odds of one text among several, by zero-shot probability; unlike that, they never saturate.

    Raises:
        InputError: a model without a text tower, or no other text.
    """
    others = [k for k in range(len(texts)) if k != target]
    if not others:
        raise InputError(
            f"concepts: {shown(texts[target])} alone; an adversarial level against the class expects two or more"
        )
    with torch.no_grad():
        texts_KE = torch.nn.functional.normalize(model.encode_text(list(texts)), dim=1)
        scale = getattr(model.module, "logit_scale", torch.tensor(np.log(100.0))).exp()  # CLIP's, where none is told

    def score(x: Tensor) -> Tensor:
        images_NE = torch.nn.functional.normalize(model.image_tower(x), dim=1)
        logits_NK = scale * images_NE @ texts_KE.T
        return logits_NK[:, target] - logits_NK[:, others].logsumexp(dim=1)

    return score


def _scaling(before: int, after: int, resampling: Image.Resampling) -> Tensor:
    """What Pillow's scaling does along an axis, `(after, before)`."""
    identity = Image.fromarray(np.eye(before, dtype=np.float32))
    return torch.from_numpy(np.asarray(identity.resize((after, before), resampling)).T.copy())


def _cut(matrix: Tensor, length: int) -> Tensor:
    start = round((len(matrix) - length) / 2)
    return matrix[start : start + length]


def _whole_levels(x: Tensor) -> Tensor:
    clipped = x.clamp(0, 255)
    return clipped + (clipped.round() - clipped).detach()
