"""Guards views: each transform, and all of them together, are what plain NumPy gives, one step after another."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from DeepDream_Setup.transforms import DRAWS, Transforms, plainly, resample

SIZE = 20


@pytest.fixture
def image():
    return np.random.default_rng(0).random((3, SIZE, SIZE))


def view(image, transforms, draws, size=SIZE):
    maps = torch.from_numpy(transforms.maps(np.array([draws], float), SIZE))
    return resample(torch.from_numpy(image)[None], maps, size, size)[0].numpy()


def at(image, y, x):
    """Bilinear values between pixels, mid-grey outside."""
    return np.stack([map_coordinates(one - 0.5, [y, x], order=1, mode="grid-constant") + 0.5 for one in image])


def pixels(size):
    return np.meshgrid(np.arange(size, dtype=float), np.arange(size, dtype=float), indexing="ij")


MIDDLE = [0.5] * DRAWS


def test_no_transform_gives_the_image_back(image):
    np.testing.assert_allclose(view(image, Transforms(), MIDDLE), image, atol=1e-12)
    x = torch.from_numpy(image)[None]
    torch.testing.assert_close(resample(x, plainly(1), SIZE, SIZE), x, rtol=0, atol=1e-6)


def test_padding_is_grey_around_the_image(image):
    padded = np.pad(image, ((0, 0), (3, 3), (3, 3)), constant_values=0.5)
    np.testing.assert_allclose(view(image, Transforms(pad=3), MIDDLE, size=SIZE + 6), padded, atol=1e-12)


def test_jitter_shifts_by_pixels(image):
    shifted = np.full_like(image, 0.5)
    shifted[:, :-2, 4:] = image[:, 2:, :-4]
    found = view(image, Transforms(jitter=4), [1, 0.25, *MIDDLE[2:]])
    np.testing.assert_allclose(found, shifted, atol=1e-12)


def test_scale_enlarges_about_the_centre(image):
    y, x = ((p - 9.5) / 1.25 + 9.5 for p in pixels(SIZE))
    found = view(image, Transforms(scale=(0.8, 1.25)), [0.5, 0.5, 1, *MIDDLE[3:]])
    np.testing.assert_allclose(found, at(image, y, x), atol=1e-12)


def test_scale_factors_are_even_on_a_logarithmic_scale(image):
    transforms = Transforms(scale=(0.5, 2))
    np.testing.assert_allclose(view(image, transforms, MIDDLE), image, atol=1e-12)


def test_quarter_turn_is_rot90(image):
    found = view(image, Transforms(rotate=90), [0.5, 0.5, 0.5, 1, *MIDDLE[4:]])
    np.testing.assert_allclose(found, np.rot90(image, -1, (1, 2)), atol=1e-12)


def test_crop_is_a_window(image):
    found = view(image, Transforms(crop=(0.5, 0.5)), [*MIDDLE[:5], 0.4, 1], size=SIZE // 2)
    np.testing.assert_allclose(found, image[:, 10:20, 4:14], atol=1e-12)


def test_all_transforms_together_are_the_steps_one_after_another(image):
    transforms = Transforms(pad=2, jitter=3, scale=(0.8, 1.5), rotate=30, crop=(0.5, 0.9))
    draws = np.random.default_rng(1).random(DRAWS)
    across, down, scale, angle, side, left, top = draws
    canvas = SIZE + 4
    size = 16
    # From each pixel of the view back to the image, in pixels of the canvas about its centre.
    window = (0.5 + 0.4 * side) * canvas
    y, x = ((p + 0.5) / size * window - window / 2 for p in pixels(size))
    y, x = y + (canvas - window) / 2 * (2 * top - 1), x + (canvas - window) / 2 * (2 * left - 1)
    turned = np.radians(30 * (2 * angle - 1))
    y, x = -np.sin(turned) * x + np.cos(turned) * y, np.cos(turned) * x + np.sin(turned) * y
    factor = 0.8 * (1.5 / 0.8) ** scale
    y, x = y / factor - 3 * (2 * down - 1), x / factor - 3 * (2 * across - 1)
    wanted = at(image, y + SIZE / 2 - 0.5, x + SIZE / 2 - 0.5)
    np.testing.assert_allclose(view(image, transforms, draws, size), wanted, atol=1e-10)


def test_each_image_has_a_view_of_its_own(image):
    transforms, draws_ND = Transforms(jitter=3, rotate=20), np.random.default_rng(2).random((3, DRAWS))
    x = torch.from_numpy(image)[None].expand(3, -1, -1, -1)
    together = resample(x, torch.from_numpy(transforms.maps(draws_ND, SIZE)), SIZE, SIZE)
    for one, draws in zip(together, draws_ND):
        np.testing.assert_allclose(one, view(image, transforms, draws), atol=1e-12)


def test_gradients_reach_the_image(image):
    x = torch.from_numpy(image)[None].requires_grad_()
    resample(x, plainly(1), SIZE, SIZE).sum().backward()
    torch.testing.assert_close(x.grad, torch.ones_like(x), rtol=0, atol=1e-5)
