"""Guards the numbers of an image, and the flags: each is raised by what it stands for, and by nothing natural."""

from random import Random

import numpy as np
import pytest
import torch

from Activation_Extraction import extract_layer_activations
from Activation_Extraction.models.clip_mini.world.scenes import draw_scene
from Activation_Extraction.models.units import parse_units
from DeepDream_Setup.objectives import directions
from DeepDream_Setup.quality import FLAGS, VIEWS, Judge, batches_of, image_numbers, spectrum_slope
from DeepDream_Setup.transforms import DRAWS, Transforms

STILL = np.full((VIEWS, 1, DRAWS), 0.5)


@pytest.fixture(scope="module")
def drawn():
    rng = Random("natural")
    return np.stack([np.asarray(draw_scene(rng).render(96)) for _ in range(40)])


@pytest.fixture(scope="module")
def judge(clip_mini):
    return Judge(clip_mini, "block_4", "channel")


def quality(judge, natural, pixels, unit=185, draws=STILL, transforms=Transforms()):  # noqa: B008
    vectors = directions(parse_units(str(unit), 512), 512)
    return judge.qualities([pixels], vectors, transforms, draws, natural.best_U[[unit]], natural.thresholds)[0]


@pytest.fixture(scope="module")
def natural(judge, drawn):
    return judge.natural(batches_of(iter(drawn), 16), torch.eye(512))


def test_activation_is_what_extraction_reads(judge, natural, drawn, clip_mini):
    wanted = extract_layer_activations(list(drawn[:3]), "block_4", clip_mini, progress=False).values[:, 185]
    found = [quality(judge, natural, pixels).activation for pixels in drawn[:3]]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


def test_best_natural_is_the_largest_of_all_images(judge, natural, drawn, clip_mini):
    wanted = extract_layer_activations(list(drawn), "block_4", clip_mini, progress=False).values.max(0)
    np.testing.assert_allclose(natural.best_U, wanted, rtol=1e-3, atol=1e-4)
    assert natural.images == 40


def test_neuron_is_read_at_the_centre(clip_mini, drawn):
    x = torch.from_numpy(drawn[:2]).movedim(-1, 1) / 255
    found = Judge(clip_mini, "block_4", "neuron").activations(x, torch.eye(512))
    wanted = Judge(clip_mini, "block_4", "channel").network(x)["layer4"][:, :, 1, 1]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_jittered_is_the_mean_over_views(judge, natural, drawn):
    transforms = Transforms(jitter=10, rotate=30)
    draws = np.random.default_rng(0).random((VIEWS, 1, DRAWS))
    alone = [quality(judge, natural, drawn[0], 11, d[None], transforms).jittered for d in draws]
    assert quality(judge, natural, drawn[0], 11, draws, transforms).jittered == pytest.approx(np.mean(alone), rel=1e-4)
    still = quality(judge, natural, drawn[0], 11)
    assert still.jittered == pytest.approx(still.activation, rel=1e-3)


def test_numbers_of_an_image_are_told_from_its_pixels():
    half = np.zeros((32, 32, 3), np.uint8)
    half[:, 16:] = 128
    contrast, saturation, _ = image_numbers(half)
    assert (contrast, saturation) == (pytest.approx(64 / 255), 0.5)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0])
def test_slope_is_that_of_the_spectrum(exponent):
    generator = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128))
    white = np.fft.rfft2(generator.standard_normal((24, 128, 128)))
    images = np.fft.irfft2(white / np.maximum(frequency, 1 / 128) ** (exponent / 2), (128, 128))
    assert np.mean([spectrum_slope(image) for image in images]) == pytest.approx(-exponent, abs=0.2)


def test_each_flag_is_raised_by_what_it_stands_for(judge, natural, drawn):
    generator = np.random.default_rng(0)
    grey = np.full((96, 96, 3), 127, np.uint8)
    white_noise = generator.integers(60, 196, (96, 96, 3), np.uint8)
    extreme = np.where(generator.random((12, 12, 3)) < 0.5, 0, 255).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    assert "grey" in quality(judge, natural, grey).flags
    assert "noisy" in quality(judge, natural, white_noise).flags
    assert "saturated" in quality(judge, natural, extreme).flags
    live = int(natural.best_U.argmax())
    assert "weak" in quality(judge, natural, grey, live).flags
    shifting = np.zeros((VIEWS, 1, DRAWS))
    star = quality(judge, natural, drawn[0], live, shifting, Transforms(jitter=4000))
    assert "fragile" in star.flags or star.jittered > 0.25 * star.activation
    dead = int(natural.best_U.argmin())
    assert ("dead" in quality(judge, natural, drawn[0], dead).flags) == (natural.best_U[dead] <= 0)


@pytest.mark.slow
def test_natural_images_are_rarely_flagged_for_how_they_look(judge, natural, drawn):
    flags = [flag for pixels in drawn[:20] for flag in quality(judge, natural, pixels).flags]
    assert sum(flag in ("grey", "saturated", "noisy") for flag in flags) <= 2
    assert set(flags) <= set(FLAGS)


def test_without_natural_images_nothing_is_compared(judge, drawn):
    vectors = directions(parse_units("185", 512), 512)
    found = judge.qualities([drawn[0]], vectors, Transforms(), STILL)[0]
    assert (found.best_natural, found.times_natural) == (None, None)
    assert set(found.flags) <= {"dead", "fragile"}
