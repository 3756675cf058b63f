"""Parametrizations of an image: parameters → image, one function each, and back.

| kind      | parameters                                                                                          |
|-----------|-----------------------------------------------------------------------------------------------------|
| `pixel`   | the logit of each pixel                                                                               |
| `fourier` | the spectrum of decorrelated colours, divided by frequency: all scales move alike (Olah et al. 2017)  |
| `maco`    | its phase; the magnitudes are those of natural images (Fel et al. 2023)                               |

Images are from 0 to 1. Shapes: N images, C = 3 colours, H = W = S pixels, K = S // 2 + 1 frequencies across.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

NATURAL_COLOURS_CC = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""A square root of the colour covariance of ImageNet's pixels (from lucid)."""

EDGE = 1 / 512
"""Starting images are clipped to this distance from black and white, whose logits are infinite."""


class Parametrization(Protocol):
    """One way to parametrize images."""

    def image(self, parameters: Tensor) -> Tensor:
        """Images `(N, C, S, S)` from 0 to 1."""

    def parameters(self, x_NCHW: Tensor) -> Tensor:
        """Parameters of the nearest image that the parametrization can express."""


@dataclass(frozen=True)
class Pixel:
    """The logit of each pixel, `(N, C, S, S)`."""

    def image(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid()

    def parameters(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW.clamp(EDGE, 1 - EDGE).logit()


@dataclass(frozen=True, eq=False)
class Fourier:
    """The spectrum of decorrelated colours times frequency, `(N, C, S, K, 2)`, of images with `size` pixels a side."""

    size: int

    def image(self, parameters: Tensor) -> Tensor:
        scaled = torch.view_as_complex(parameters) / (4 * self._frequency(parameters))
        decorrelated = torch.fft.irfft2(scaled, s=(self.size, self.size), norm="ortho")
        return _mixed(decorrelated, _colours(parameters)).sigmoid()

    def parameters(self, x_NCHW: Tensor) -> Tensor:
        logits = x_NCHW.clamp(EDGE, 1 - EDGE).logit()
        spectrum = torch.fft.rfft2(_mixed(logits, _colours(logits).inverse()), norm="ortho")
        return torch.view_as_real(spectrum * 4 * self._frequency(logits))

    def _frequency(self, like: Tensor) -> Tensor:
        """Frequencies in cycles per pixel, `(S, K)`; the mean counts as the lowest frequency."""
        down, across = torch.fft.fftfreq(self.size), torch.fft.rfftfreq(self.size)
        return torch.hypot(down[:, None], across).clamp(min=1 / self.size).to(like)


@dataclass(frozen=True, eq=False)
class Maco:
    """The phase of each frequency, `(N, C, S, K)`, with the magnitudes of natural images of the rendered size."""

    statistics: ImageStatistics

    def image(self, parameters: Tensor) -> Tensor:
        natural = self.statistics
        spectrum = torch.polar(natural.magnitude_CSK.to(parameters).expand_as(parameters), parameters)
        size = natural.magnitude_CSK.shape[1]
        x = _mixed(torch.fft.irfft2(spectrum, s=(size, size), norm="ortho"), natural.colours_CC.to(parameters))
        x = x + natural.mean_C.to(parameters)[:, None, None]
        return x + (x.clamp(0, 1) - x).detach()  # clipped values keep a gradient

    def parameters(self, x_NCHW: Tensor) -> Tensor:
        phase: Tensor = torch.fft.rfft2(self.statistics.decorrelated(x_NCHW), norm="ortho").angle()
        return phase


@dataclass(frozen=True, eq=False)
class ImageStatistics:
    """Colours and spectrum of natural images.

    Attributes:
        mean_C: mean colour.
        colours_CC: a square root of the colour covariance.
        magnitude_CSK: RMS magnitude of each frequency of decorrelated colours.
    """

    mean_C: Tensor
    colours_CC: Tensor
    magnitude_CSK: Tensor

    def decorrelated(self, x_NCHW: Tensor) -> Tensor:
        """Images in centred, decorrelated colours of unit variance."""
        return _mixed(x_NCHW - self.mean_C.to(x_NCHW)[:, None, None], self.colours_CC.to(x_NCHW).inverse())


def image_statistics(batches: Iterable[Tensor]) -> ImageStatistics:
    """Statistics of images, read once.

    Args:
        batches: of images `(N, C, S, S)` from 0 to 1, all of one size.
    """
    images, sum_C, product_CC, power_SK = 0, torch.zeros(3).double(), torch.zeros(3, 3).double(), torch.zeros(1)
    for x_NCHW in batches:
        x = x_NCHW.double()
        pixels_MC = x.movedim(1, -1).reshape(-1, 3)
        spectrum = torch.fft.rfft2(x, norm="ortho")
        images += len(x)
        sum_C = sum_C + pixels_MC.sum(0)
        product_CC = product_CC + pixels_MC.T @ pixels_MC
        # The power of any mixture of colours follows from the products of their spectra.
        power_SK = power_SK + torch.einsum("ncsk,ndsk->cdsk", spectrum, spectrum.conj())
    size = power_SK.shape[2]
    count = images * size * size
    mean_C = sum_C / count
    covariance_CC = product_CC / count - torch.outer(mean_C, mean_C) + 1e-6 * torch.eye(3)
    values, vectors = torch.linalg.eigh(covariance_CC)
    colours_CC = vectors * values.sqrt()
    power = power_SK / images
    power[:, :, 0, 0] -= size * size * torch.outer(mean_C, mean_C)  # the mean colour is added separately
    inverse = colours_CC.inverse().to(power)
    own = torch.einsum("ec,cdsk,ed->esk", inverse, power, inverse).real
    return ImageStatistics(mean_C.float(), colours_CC.float(), own.clamp(min=0).sqrt().float())


def _mixed(x_NCHW: Tensor, matrix_CC: Tensor) -> Tensor:
    return torch.einsum("dc,nchw->ndhw", matrix_CC, x_NCHW)


def _colours(like: Tensor) -> Tensor:
    """`NATURAL_COLOURS_CC`, scaled so that the longest column has unit length."""
    colours = like.new_tensor(NATURAL_COLOURS_CC)
    return torch.div(colours, torch.linalg.vector_norm(colours, dim=0).max())
