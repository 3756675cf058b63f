"""Guards the descent: within its bound in whole levels, as good as it can be where that is known, nothing left behind."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from Activation_Extraction.backends.preparation import prepare_network
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.clip_helpers import PRESETS, ImageInput, prepare
from Activation_Extraction.models.registry import load_model
from Human_Experiment_Setup.stimuli.adversarial import attacked
from Human_Experiment_Setup.stimuli.calibration import measured
from Human_Experiment_Setup.stimuli.differentiable import Preprocessing, class_log_odds, unit_activation
from Human_Experiment_Setup.stimuli.protocol import AdversarialLevel

SIDE = 16
IDENTITY = Preprocessing(ImageInput(SIDE), "clip", SIDE)
WEIGHTS = torch.from_numpy(np.random.default_rng(1).normal(size=(3, SIDE, SIDE)).astype(np.float32))


def linear(x):
    return (x * WEIGHTS).sum(dim=(1, 2, 3))


def picture(seed, low=0, high=256):
    return np.random.default_rng(seed).integers(low, high, (SIDE, SIDE, 3), np.uint8)


def attack(clean, level, score=linear, reading=IDENTITY, seed=0):
    return attacked(clean, score, reading, level, np.random.default_rng(seed))


@given(
    st.sampled_from(["linf", "l2"]), st.floats(1, 40), st.sampled_from(["lower", "raise"]), st.integers(0, 1000),
    st.integers(1, 5), st.floats(0.05, 2),
)  # fmt: skip
def test_whole_levels_stay_within_the_bound_and_move_as_asked(norm, radius, direction, seed, steps, step):
    clean = picture(seed)
    level = AdversarialLevel("unit", norm, radius, direction, steps=steps, step=step)
    changed = attack(clean, level, seed=seed)
    difference = changed.astype(float) - clean.astype(float)
    size = np.abs(difference).max() if norm == "linf" else np.sqrt(np.mean(difference**2))
    assert size <= radius + 1e-6
    assert measured(norm, clean, changed) == pytest.approx(size)
    moved = float((torch.from_numpy(difference).permute(2, 0, 1) * WEIGHTS).sum())
    if steps * step >= 2:  # far enough from any random start
        assert moved < 0 if direction == "lower" else moved > 0


def test_the_best_linf_picture_for_a_linear_score_is_found():
    clean = picture(0, 50, 200)
    changed = attack(clean, AdversarialLevel("unit", "linf", 8, steps=40))
    best = clean - 8 * np.sign(WEIGHTS.permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(changed, best.astype(np.uint8))


def test_the_best_l2_picture_for_a_linear_score_is_found_but_for_rounding():
    clean = picture(0, 80, 170)
    changed = attack(clean, AdversarialLevel("unit", "l2", 10, steps=40))
    difference = changed.astype(float) - clean
    slope = WEIGHTS.permute(1, 2, 0).numpy().astype(float)
    cosine = -(difference * slope).sum() / np.linalg.norm(difference) / np.linalg.norm(slope)
    assert cosine > 0.998
    assert 9.9 < measured("l2", clean, changed) <= 10


@pytest.mark.parametrize(
    "other",
    [{"steps": 2}, {"step": 0.05}, {"schedule": "constant"}, {"starts": 3}, {"direction": "raise"}, {"norm": "l2"}, {"radius": 9}],
)  # fmt: skip
def test_every_setting_changes_the_picture(other):
    clean = picture(0)
    settings = {"target": "unit", "norm": "linf", "radius": 8, "steps": 3, "step": 0.3, "starts": 1}
    rough = lambda x: (x.sin() * WEIGHTS).sum(dim=(1, 2, 3))  # noqa: E731  # has many ends
    before = attack(clean, AdversarialLevel(**settings), rough)
    assert not np.array_equal(attack(clean, AdversarialLevel(**settings | other), rough), before)
    np.testing.assert_array_equal(attack(clean, AdversarialLevel(**settings), rough), before)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    ("image_input", "side"),
    [
        (ImageInput(24, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)), 24),
        (ImageInput(24, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)), 40),
        (ImageInput((20, 30)), 37),
        (ImageInput(24, value_range="0-255", layout="NHWC"), 16),
    ],
)
def test_a_network_reads_what_prepare_gives_it(image_input, side, preset):
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    ours = Preprocessing(image_input, preset, side)(torch.from_numpy(pixels).permute(2, 0, 1)[None].float())[0]
    truth = prepare(pixels, image_input, preset)
    level = 1 if image_input.value_range == "0-255" else 1 / 255 / min(image_input.std or (1,))
    assert ours.shape == truth.shape
    is_square = image_input.height == image_input.width
    assert float((ours - truth).abs().max()) <= level * 1.001 or not is_square  # a tie may be rounded the other way
    assert float(((ours - truth).abs() > 1e-5).float().mean()) < (0.02 if is_square else 0.4)
    assert float((ours - truth).abs().mean()) < level


def test_gradients_pass_the_scaling():
    pixels = torch.full((1, 3, 40, 40), 100.0, requires_grad=True)
    Preprocessing(ImageInput(24), "clip", 40)(pixels).sum().backward()
    assert float(pixels.grad.sum()) == pytest.approx(24 * 24 * 3 / 255, rel=1e-4)


def test_a_preset_that_gradients_cannot_pass_is_refused():
    with pytest.raises(InputError, match="preprocessing: found 'own'; an adversarial level expects clip or published"):
        Preprocessing(ImageInput(24), "own", 24)


@pytest.mark.parametrize("target", ["unit", "class"])
def test_the_network_is_left_as_it_was(target):
    model = load_model("clip-mini", threads=1)
    score = (
        unit_activation(prepare_network(model, ["layer4"], "mean", gradients=True), 185)
        if target == "unit"
        else class_log_odds(model, ["a picture of fire", "a picture of a tree"], 0)
    )
    clean = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    reading = Preprocessing(model.image_input, "clip", 96)
    attack(clean, AdversarialLevel(target, "linf", 8, steps=2, starts=1), score, reading)
    modules = list(model.module.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)
    assert all(p.grad is None and not p.requires_grad for p in model.module.parameters())


def test_a_class_needs_a_text_tower():
    from dataclasses import replace

    model = replace(load_model("clip-mini"), make_tokenizer=None)
    with pytest.raises(InputError, match="no text tower"):
        class_log_odds(model, ["a", "b"], 0)
