"""Guards the families of perturbations: each is what its name says, and its knob turns nothing but the amount."""

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import poisson

import Human_Experiment_Setup
from Activation_Extraction.base.errors import InputError
from Human_Experiment_Setup.stimuli.calibration import calibrated
from Human_Experiment_Setup.stimuli.perturbations import ENTRY_POINT_GROUP, FAMILIES, families, pixels
from Human_Experiment_Setup.stimuli.protocol import BenignLevel
from tests.installed import installed

CLEAN = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
X = CLEAN / 255


def knob(family, seed=0):
    return FAMILIES[family].draw(X, np.random.default_rng(seed))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_gives_the_same_picture_for_the_same_stream_and_amount(family):
    amount = FAMILIES[family].largest / 8
    np.testing.assert_array_equal(knob(family)(amount), knob(family)(amount))
    turned = knob(family)
    turned(amount / 2)
    np.testing.assert_array_equal(turned(amount), knob(family)(amount))  # what was tried before leaves no trace
    assert turned(amount).shape == X.shape


@pytest.mark.parametrize("family", sorted({*FAMILIES} - {"jpeg"}))
def test_a_tiny_amount_changes_next_to_nothing(family):
    assert np.abs(knob(family)(FAMILIES[family].largest * 1e-4) - X).mean() < 0.01


@pytest.mark.parametrize(
    "family", ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "motion_blur", "fog"]
)
def test_chance_comes_from_the_stream(family):
    amount = FAMILIES[family].largest / 8
    assert not np.array_equal(knob(family, 0)(amount), knob(family, 1)(amount))


def test_normal_noises_are_their_formulas():
    z = np.random.default_rng(0).standard_normal(X.shape)
    np.testing.assert_array_equal(knob("gaussian_noise")(0.2), X + 0.2 * z)
    np.testing.assert_array_equal(knob("speckle_noise")(0.2), X + 0.2 * X * z)


@pytest.mark.parametrize("amount", [0.02, 0.3, 2.0])
def test_shot_noise_is_the_inverse_of_the_poisson_distribution(amount):
    u = np.random.default_rng(0).random(X.size).reshape(X.shape)
    expected = amount**2 * poisson.ppf(u, X / amount**2)
    expected[X == 0] = 0
    np.testing.assert_allclose(knob("shot_noise")(amount), expected, atol=1e-9)


def test_impulses_are_extremes_at_the_share_that_was_asked_for():
    big = np.full((100, 100, 3), 0.5)
    changed = FAMILIES["impulse_noise"].draw(big, np.random.default_rng(0))(0.3)
    assert np.isin(changed, (0, 0.5, 1)).mean() > 0.9998
    assert abs((changed != 0.5).mean() - 0.3) < 0.01
    assert abs((changed == 1).mean() - 0.15) < 0.01


def plainly_convolved(kernel):
    """Loops over pixels and the kernel, with the picture mirrored at its edges."""
    reach = kernel.shape[0] // 2
    wide = np.pad(X, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    y = np.zeros_like(X)
    for row in range(X.shape[0]):
        for column in range(X.shape[1]):
            for i in range(kernel.shape[0]):
                for j in range(kernel.shape[1]):
                    y[row, column] += kernel[i, j] * wide[row + 2 * reach - i, column + 2 * reach - j]
    return y


def test_defocus_is_a_disk():
    radius = 2.0  # pixels, of 16
    kernel = np.zeros((5, 5))
    for i in range(5):
        for j in range(5):
            kernel[i, j] = min(max(radius + 0.5 - ((i - 2) ** 2 + (j - 2) ** 2) ** 0.5, 0), 1)
    np.testing.assert_allclose(knob("defocus_blur")(radius / 16), plainly_convolved(kernel / kernel.sum()), atol=1e-12)


def test_motion_is_a_line_of_its_length_and_angle():
    spot = np.zeros((65, 65, 3))
    spot[32, 32] = 1
    line = FAMILIES["motion_blur"].draw(spot, np.random.default_rng(3))(20 / 65)[:, :, 0]
    angle = np.random.default_rng(3).uniform(0, np.pi)
    y, x = np.mgrid[-32:33, -32:33]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    lit = line > 1e-6
    assert abs(line.sum() - 1) < 1e-9
    assert np.abs(across[lit]).max() < 1.5
    assert abs(np.ptp(along[lit]) - 20) < 3


def test_pixelate_is_the_mean_of_each_cell():
    expected = X.copy()
    for row in range(0, 12, 4):
        for column in range(0, 16, 4):
            expected[row : row + 4, column : column + 4] = X[row : row + 4, column : column + 4].mean(axis=(0, 1))
    np.testing.assert_allclose(knob("pixelate")(4 / 16), expected)


def test_jpeg_at_amount_1_is_pillows_quality_50():
    Image.fromarray(CLEAN).save(file := BytesIO(), "JPEG", quality=50, subsampling=0)
    np.testing.assert_array_equal(pixels(knob("jpeg")(1)), np.asarray(Image.open(file)))


def test_light_changes_are_their_formulas():
    mean = np.array([X[:, :, channel].mean() for channel in range(3)])
    np.testing.assert_allclose(knob("contrast")(0.25), 0.75 * X + 0.25 * mean)
    np.testing.assert_allclose(knob("brightness")(0.25), X + 0.25)


def test_fog_keeps_the_brightest_and_hides_the_rest_in_the_end():
    thick = knob("fog")(1e6)
    assert thick.max() == pytest.approx(X.max(), rel=1e-3)
    assert np.ptp(thick, axis=2).max() < 1e-5  # grey
    assert knob("fog")(1.0).max() <= X.max() + 1e-9


@given(st.floats(-2, 3, allow_nan=False))
def test_saved_pixels_are_clipped_and_rounded_to_the_nearest(value):
    assert pixels(np.full((1, 1, 3), value))[0, 0, 0] == round(255 * min(max(value, 0), 1))


# Of other packages --------------------------------------------------------------------------------------------------

PAGE = (Path(Human_Experiment_Setup.__file__).parent / "README.md").read_text(encoding="utf-8")


def test_a_family_of_another_package_is_used_like_ours_as_the_page_says(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    ((group, name, value),) = re.findall(r'```toml\n\[project.entry-points."(.+?)"\]\n(\w+) = "(.+?)"\n```', PAGE)
    assert group == ENTRY_POINT_GROUP
    with pytest.raises(ValueError, match="vignette"):
        BenignLevel(method=name, rms=0.05)
    with installed(tmp_path, "vignette", code, group, name, value):
        assert list(families()) == [*FAMILIES, name]
        level = BenignLevel(method=name, rms=0.05)
        family = families()[level.method]
        found = calibrated(family.draw(X, np.random.default_rng(0)), family.largest, CLEAN, *level.strength)
    assert found.measured == pytest.approx(0.05, rel=0.02)
    assert (found.pixels_HWC[0, 0] < CLEAN[0, 0]).all()
    assert np.abs(found.pixels_HWC[6, 8].astype(int) - CLEAN[6, 8]).max() <= 2
    assert list(families()) == list(FAMILIES)


@pytest.mark.parametrize(
    ("code", "name", "said"),
    [
        ("import nothing_there", "mine", "cannot be loaded: No module named 'nothing_there'"),
        ("FAMILY = 5", "mine", "found 5; expected a Family"),
        (
            "from Human_Experiment_Setup.stimuli.perturbations import FAMILIES\nFAMILY = FAMILIES['fog']",
            "fog",
            "the name is taken",
        ),
    ],
)
def test_a_family_that_is_none_is_one_line(tmp_path, code, name, said):
    with (
        installed(tmp_path, "family_of_others", code, ENTRY_POINT_GROUP, name, "family_of_others:FAMILY"),
        pytest.raises(InputError) as caught,
    ):
        families()
    assert caught.value.problems[0].startswith(f"perturbation {name} (family_of_others:FAMILY): {said}")
