"""Guards starting images: from 0 to 1, the same for the same seed, each what its name says."""

import numpy as np
import pytest
from PIL import Image

from DeepDream_Setup.starts import STARTS, start_named
from InterpScore import InputError


def made(name, seed=0, size=33):
    return STARTS[name](np.random.default_rng(seed), size)


@pytest.mark.parametrize("name", STARTS)
def test_start_is_an_image_that_its_seed_decides(name):
    x = made(name)
    assert x.shape == (3, 33, 33)
    assert 0 <= x.min() <= x.max() <= 1
    np.testing.assert_array_equal(x, made(name))
    assert (name == "grey") == np.array_equal(x, made(name, seed=1))


def test_grey_is_mid_grey():
    assert (made("grey") == 0.5).all()


def test_gradient_goes_one_way_along_one_direction():
    x = made("gradient")
    down, across = np.diff(x, axis=1), np.diff(x, axis=2)
    np.testing.assert_allclose(down, np.broadcast_to(down[:, :1, :1], down.shape), atol=1e-12)
    np.testing.assert_allclose(across, np.broadcast_to(across[:, :1, :1], across.shape), atol=1e-12)
    assert np.abs(x[:, 0, 0] - x[:, -1, -1]).max() + np.abs(x[:, 0, -1] - x[:, -1, 0]).max() > 0.05


def test_structured_noise_has_patches_and_perlin_is_smooth():
    patches, clouds = (np.abs(np.diff(made(name, size=96), axis=2)) for name in ("structured_noise", "perlin"))
    assert (patches == 0).mean() > 0.6
    assert patches.max() > 0.15 > 3 * clouds.mean()
    assert clouds.max() < 0.15
    assert (clouds == 0).mean() < 0.01


def test_photograph_covers_the_image(tmp_path):
    Image.fromarray(np.tile(np.array([250, 0, 0], np.uint8), (40, 80, 1))).save(tmp_path / "red.png")
    x = start_named(str(tmp_path / "red.png"))(np.random.default_rng(0), 32)
    np.testing.assert_allclose(x, np.broadcast_to(np.array([250, 0, 0]).reshape(3, 1, 1) / 255, x.shape))


def test_unknown_start_is_told_with_the_nearest():
    with pytest.raises(InputError, match=r"start: found 'perlim'; .*did you mean 'perlin'"):
        start_named("perlim")
