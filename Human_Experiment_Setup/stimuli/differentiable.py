"""A network's preprocessing, units and classes as differentiable functions of a square picture.

The presets resize with Pillow: a linear filter along each axis, rounding to 8 bits after each. That is two matrices,
which Pillow itself provides by resizing the identity, and two roundings, which gradients ignore.

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
"""A batch of the image tower's input → a number for each picture, `(N,)`."""

_FILTERS = {"clip": Image.Resampling.BICUBIC, "published": Image.Resampling.LANCZOS}


class Preprocessing:
    """`clip_helpers.prepare` for pictures of one size, with gradients.

    For square inputs, pixels differ by at most 1 of 255. For others, Pillow may resize the other axis first, which makes a
    difference where values are clipped.

    Args:
        image_input: input of the network.
        preset: "clip" or "published".
        side: of the pictures, in pixels.

    Raises:
        InputError: the preset is not differentiable.
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
        """The image tower's input, of pictures from 0 to 255."""
        x_NCSW = rounded((pixels_NCSS @ self._columns_WS.T.to(pixels_NCSS)).clamp(0, 255))
        x_NCHW = rounded((self._rows_HS.to(pixels_NCSS) @ x_NCSW).clamp(0, 255))
        return network_input(x_NCHW.movedim(1, -1), self._input)


def unit_activation(network: PreparedNetwork, unit: int) -> Score:
    """The activation of a unit as extraction gives it, of a layer prepared with pooling "mean" and gradients."""
    return lambda x: network(x)[0][:, unit]


def class_log_odds(model: Model, texts: Sequence[str], target: int) -> Score:
    """The log odds of one text among several in zero-shot classification; unlike probability, they do not saturate.

    Raises:
        InputError: the model has no text tower, or there is no other text.
    """
    others = [k for k in range(len(texts)) if k != target]
    if not others:
        raise InputError(
            f"concepts: {shown(texts[target])} alone; an adversarial level against the class expects two or more"
        )
    with torch.no_grad():
        texts_KE = torch.nn.functional.normalize(model.encode_text(list(texts)), dim=1)
        scale = getattr(
            model.module, "logit_scale", torch.tensor(np.log(100.0))
        ).exp()  # CLIP's, where the model has none

    def score(x: Tensor) -> Tensor:
        images_NE = torch.nn.functional.normalize(model.image_tower(x), dim=1)
        logits_NK = scale * images_NE @ texts_KE.T
        return logits_NK[:, target] - logits_NK[:, others].logsumexp(dim=1)

    return score


def _scaling(before: int, after: int, resampling: Image.Resampling) -> Tensor:
    """Pillow's resizing along an axis as a matrix, `(after, before)`."""
    identity = Image.fromarray(np.eye(before, dtype=np.float32))
    return torch.from_numpy(np.asarray(identity.resize((after, before), resampling)).T.copy())


def _cut(matrix: Tensor, length: int) -> Tensor:
    start = round((len(matrix) - length) / 2)
    return matrix[start : start + length]


def rounded(x: Tensor) -> Tensor:
    """Rounded to integers, with the gradient of the identity."""
    return x + (x.round() - x).detach()
