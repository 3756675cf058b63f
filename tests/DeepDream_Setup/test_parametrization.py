"""Guards parametrizations: each gives a start back, fits a photograph, and MACO keeps to the spectrum it was given."""

import numpy as np
import pytest
import torch
from skimage import data, transform

from DeepDream_Setup.parametrization import Fourier, Maco, Pixel, image_statistics
from DeepDream_Setup.starts import fourier

SIZE = 64


@pytest.fixture(scope="module")
def photograph():
    pixels = transform.resize(data.astronaut(), (SIZE, SIZE), anti_aliasing=True)
    return torch.from_numpy(pixels).movedim(-1, 0)[None].float()


def make(kind, x_NCHW):
    """A parametrization; MACO with the spectrum of these images."""
    return {"pixel": Pixel, "fourier": lambda: Fourier(SIZE), "maco": lambda: Maco(image_statistics([x_NCHW]))}[kind]()


@pytest.mark.parametrize(("kind", "rate"), [("pixel", 0.05), ("fourier", 0.1), ("maco", 0.05)])
def test_photograph_is_fitted_within_a_thousand_steps(photograph, kind, rate):
    parametrization = make(kind, photograph)
    start = torch.from_numpy(fourier(np.random.default_rng(0), SIZE))[None].float()
    parameters = parametrization.parameters(start).requires_grad_()
    adam = torch.optim.Adam([parameters], lr=rate)
    for _ in range(1000):
        error = (parametrization.image(parameters) - photograph).abs().mean()
        if error < 0.01:
            break
        adam.zero_grad()
        (parametrization.image(parameters) - photograph).square().sum().backward()
        adam.step()
    assert error < 0.01


@pytest.mark.parametrize("kind", ["pixel", "fourier", "maco"])
def test_parameters_of_an_image_give_it_back(photograph, kind):
    parametrization = make(kind, photograph)
    x = photograph.clamp(0.01, 0.99) if kind != "maco" else photograph
    found = parametrization.image(parametrization.parameters(x))
    assert (found - x).abs().max() < (1e-4 if kind != "maco" else 2e-3)


@pytest.mark.parametrize("size", [16, 17])
def test_fourier_works_at_even_and_odd_sizes(size):
    x = 0.2 + 0.6 * torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Fourier(size).image(Fourier(size).parameters(x)), x, rtol=0, atol=1e-5)


def test_statistics_are_those_of_the_pixels_and_of_their_spectrum(photograph):
    batch = torch.cat([photograph, photograph.flip(2), photograph**2])
    found = image_statistics([batch[:2], batch[2:]])
    pixels = batch.movedim(1, -1).reshape(-1, 3).double().numpy()
    np.testing.assert_allclose(found.mean_C, pixels.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.colours_CC @ found.colours_CC.T, np.cov(pixels.T, bias=True), atol=3e-6)
    spectra = np.fft.rfft2(found.decorrelated(batch).numpy(), norm="ortho")
    np.testing.assert_allclose(found.magnitude_CSK, np.sqrt((abs(spectra) ** 2).mean(0)), rtol=1e-2, atol=1e-2)


def test_maco_images_have_the_given_magnitudes_whatever_the_phase(photograph):
    natural = image_statistics([photograph * 0.2 + 0.4])  # nothing is clipped
    phase = 6.3 * torch.rand(1, 3, SIZE, SIZE // 2 + 1, generator=torch.Generator().manual_seed(1))
    x = Maco(natural).image(phase)
    magnitude = torch.fft.rfft2(natural.decorrelated(x), norm="ortho").abs()[0]
    inner = (slice(None), slice(1, SIZE // 2), slice(1, SIZE // 2))  # at the edges phases are bound to one another
    torch.testing.assert_close(magnitude[inner], natural.magnitude_CSK[inner], rtol=1e-2, atol=1e-2)
