"""Guards calibration: what is measured on whole levels is what was declared, or it is told."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from Human_Experiment_Setup.stimuli.calibration import TOLERANCE, calibrated, excess, measured, rms, signal, ssim
from Human_Experiment_Setup.stimuli.perturbations import FAMILIES

NOISES = ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise")


def picture(seed, side=48):
    """Blocks of random colours, with some texture."""
    generator = np.random.default_rng(seed)
    blocks = generator.integers(0, 256, (side // 8, side // 8, 3)).repeat(8, 0).repeat(8, 1)
    return np.clip(blocks + generator.normal(0, 8, (side, side, 3)), 0, 255).astype(np.uint8)


def at_strength(family, clean, measure, declared, seed=0):
    chosen = FAMILIES[family]
    return calibrated(chosen.draw(clean / 255, np.random.default_rng(seed)), chosen.largest, clean, measure, declared)


@given(st.sampled_from(NOISES), st.integers(0, 10**6), st.floats(2, 25))
def test_noise_on_the_saved_picture_has_the_declared_snr_within_two_percent(family, seed, declared):
    clean = picture(seed)
    changed, found = at_strength(family, clean, "snr_db", declared, seed)
    squares = [(int(a) - int(b)) ** 2 for a, b in zip(changed.ravel(), clean.ravel(), strict=True)]
    spread = [float(np.var(clean[:, :, c].astype(float))) for c in range(3)]
    plain = 10 * math.log10((sum(spread) / 3) / (sum(squares) / len(squares)))
    assert found == pytest.approx(plain, abs=1e-9)
    assert abs(10 ** ((declared - plain) / 20) - 1) <= 0.02


@given(st.sampled_from(sorted(FAMILIES)), st.integers(0, 10**6), st.floats(0.03, 0.12))
def test_every_family_reaches_the_rms_that_it_can_or_says_what_it_reached(family, seed, declared):
    clean = picture(seed)
    changed, found = at_strength(family, clean, "rms", declared, seed)
    assert found == rms(clean, changed)
    # Brightness moves in whole levels, tables of JPEG in whole numbers.
    if family not in ("brightness", "jpeg"):
        assert abs(excess("rms", declared, found)) <= TOLERANCE


@pytest.mark.parametrize("family", ["gaussian_blur", "gaussian_noise", "pixelate", "fog"])
def test_similarity_is_a_strength_too(family):
    clean = picture(1)
    assert abs(excess("ssim", 0.7, at_strength(family, clean, "ssim", 0.7).measured)) <= TOLERANCE


def test_what_clipping_does_not_allow_is_told():
    clean = picture(2)
    changed, found = at_strength("gaussian_noise", clean, "snr_db", -40)
    assert excess("snr_db", -40, found) < -0.9
    assert found < 0  # as strong as it gets
    assert set(np.unique(changed)) >= {0, 255}


def test_what_whole_levels_do_not_allow_is_told():
    found = at_strength("brightness", picture(3), "rms", 1.5 / 255).measured
    assert abs(excess("rms", 1.5 / 255, found)) > TOLERANCE


def test_ssim_is_that_of_scikit_image():
    clean = picture(4)
    changed = at_strength("gaussian_noise", clean, "rms", 0.1).pixels_HWC
    truth = structural_similarity(
        clean, changed, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert ssim(clean, changed) == pytest.approx(truth, abs=1e-7)


def test_norms_are_in_levels():
    clean = np.full((4, 4, 3), 100, np.uint8)
    changed = clean.copy()
    changed[0, 0, 0] = 90
    assert measured("linf", clean, changed) == 10
    assert measured("l2", clean, changed) == pytest.approx((100 / 48) ** 0.5)


def test_a_flat_colour_has_no_signal():
    assert signal(np.full((8, 8, 3), (200, 10, 10), np.uint8)) == 0
