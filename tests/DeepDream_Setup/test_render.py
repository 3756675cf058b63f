"""Guards renders: the optimum is right, a unit's image is its own, nothing is left behind, every key has an effect."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from Activation_Extraction.models.units import parse_units
from DeepDream_Setup.network import CutNetwork
from DeepDream_Setup.objectives import channel, l2_to_grey
from DeepDream_Setup.parametrization import Pixel, image_statistics
from DeepDream_Setup.recipes import Recipe
from DeepDream_Setup.render import optimise, render_units
from DeepDream_Setup.transforms import DRAWS, Transforms
from InterpScore import InputError
from tests.bfloat16 import needs_bfloat16

from .conftest import Small, model_of

VIEWS = Transforms(jitter=2, scale=(0.9, 1.1), rotate=5)
QUICK = Recipe(steps=6, transforms=VIEWS)


def rendered(model, text, recipe=QUICK, layer="relu2", **options):
    units = parse_units(text, 512 if model.name == "clip-mini" else 6)
    return [render for tile in render_units(model, layer, units, recipe, **options) for render in tile]


def pixels(renders):
    return np.stack([render.pixels_SSC for render in renders]).astype(int)


def test_optimum_of_a_linear_unit_is_its_closed_form():
    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 8, bias=False)

        def forward(self, x):
            return self.conv(x)

    model = model_of(Linear(), size=8)
    network = CutNetwork(model, ["conv"])
    penalty = 40.0
    x, _ = optimise(
        network, Pixel(), channel(1) - penalty * l2_to_grey(), torch.full((1, 3, 8, 8), 0.5), Transforms(),
        np.full((300, 1, DRAWS), 0.5), learning_rate=0.2,
    )  # fmt: skip
    # d/dx of w·(x - .5)/.25 - penalty · mean((x - .5)²) is 0 at x = .5 + w/.25 · n/(2 · penalty), within 0 and 1.
    w = model.module.conv.weight[1]
    wanted = (0.5 + w / 0.25 * w.numel() / (2 * penalty)).clamp(0, 1)
    assert 0.1 < float(((wanted > 0.02) & (wanted < 0.98)).float().mean()) < 0.9
    assert float((x[0] - wanted).abs().max()) < 0.02


@pytest.mark.parametrize(
    ("precision", "together"),
    [
        ("fp32", 8),
        pytest.param("fp64", None, marks=pytest.mark.slow),
        pytest.param("bf16", 8, marks=[pytest.mark.slow, needs_bfloat16]),
    ],
)
def test_image_is_the_same_alone_and_among_64(clip_mini, precision, together):
    recipe = Recipe(steps=2, transforms=VIEWS)
    among = rendered(clip_mini, "0:64", recipe, "block_4", precision=precision)
    alone = rendered(clip_mini, "41", recipe, "block_4", precision=precision, together=together)
    assert np.abs(pixels(among[41:42]) / 255 - pixels(alone) / 255).max() <= 1e-4
    assert among[41].objective == pytest.approx(alone[0].objective, rel=1e-4)


def test_no_more_is_rendered_than_is_asked_for(small, monkeypatch):
    batches = []
    run = CutNetwork.__call__
    monkeypatch.setattr(CutNetwork, "__call__", lambda self, x, **more: batches.append(len(x)) or run(self, x, **more))
    for units, starts, batch in [("2", ["grey"], 1), ("0,1,2", ["grey"], 3), ("2", ["fourier", "grey"], 2)]:
        rendered(small, units, QUICK.with_starts(starts))
        assert set(batches) == {batch}
        batches.clear()


def test_same_seed_gives_the_same_image_and_another_seed_another(small):
    first, again, other = (pixels(rendered(small, "1,3", seed=seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_every_step_of_the_images_that_are_asked_for_is_told(small):
    steps = []
    rendered(small, "0,1,2", QUICK.with_starts(["fourier", "grey"]), advance=steps.append)
    assert sum(steps) == 3 * 2 * QUICK.steps
    assert len(steps) == QUICK.steps


def test_three_renders_leave_no_hook_behind(small, by_value):
    for model in (small, by_value):
        for _ in range(3):
            rendered(model, "0")
        modules = list(model.module.modules())
        assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in modules) == 0


def test_units_and_starts_come_in_order(small):
    renders = rendered(small, "4,0+2", replace(QUICK, starts=("grey", "perlin")))
    assert [(r.unit.name, r.start) for r in renders] == [(u, s) for u in ("4", "0+2") for s in ("grey", "perlin")]


def test_objective_rises(small):
    renders = rendered(small, ":", replace(QUICK, steps=60, transforms=Transforms()))
    live = [render for render in renders if render.objective[0] > 0]
    assert len(live) >= 3
    for render in live:
        assert render.objective[-1] > 1.5 * render.objective[0], render.unit.name


@pytest.fixture(scope="module")
def plain():
    """What the quick recipe makes of unit 1."""
    return pixels(rendered(model_of(Small()), "1"))


@pytest.mark.parametrize(
    "changes",
    [
        {"parametrization": "pixel"},
        {"objective": {"neuron": 1}},
        {"objective": {"cosine": 1}},
        {"objective": {"channel": -1}},
        {"objective": {"channel": 1, "total_variation": -5}},
        {"objective": {"channel": 1, "l2_to_grey": -5}},
        {"objective": {"channel": 1, "layer_energy": 1}},
        {"steps": 7},
        {"learning_rate": 0.1},
        {"starts": ("perlin",)},
        {"transforms": Transforms()},
        {"transforms": replace(VIEWS, pad=2)},
        {"transforms": replace(VIEWS, crop=(0.5, 0.8))},
        {"size": 24},
        {"size": 0.5},
    ],
    ids=str,
)
def test_every_key_of_a_recipe_has_an_effect(small, plain, changes):
    changed = pixels(rendered(small, "1", replace(QUICK, **changes)))
    assert plain.shape != changed.shape or (plain != changed).any()


def test_rescue_steps_bring_a_dead_unit_to_life(small):
    with torch.no_grad():
        small.module.conv2.bias[4] = -1.0
    dead, rescued = (
        rendered(small, "4", replace(QUICK, steps=40, rescue_steps=steps, learning_rate=0.2))[0] for steps in (0, 16)
    )
    assert dead.objective[-1] == 0 < rescued.objective[-1]


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_name_of_a_layer_changes_no_image(small, precision):
    """Weights read from another file may give the same layer another name."""
    names = ["conv1", "bn1", "relu1", "conv2", "relu2"]
    other = model_of(nn.Sequential(*(small.module.get_submodule(name) for name in names)))
    (one,) = pixels(rendered(small, "3", precision=precision))
    (same,) = pixels(rendered(other, "3", layer="4", precision=precision))
    np.testing.assert_array_equal(same, one)
    assert np.ptp(one) > 20


def test_diversity_makes_the_images_of_a_unit_differ(small):
    recipe = replace(QUICK, steps=60, starts=("grey", "fourier"), transforms=Transforms())

    def apart(weight):
        a, b = pixels(rendered(small, "1", replace(recipe, objective={"channel": 1.0, "diversity": weight})))
        return np.abs(a - b).mean()

    assert apart(-5.0) > 1.2 * apart(0.0)


def test_maco_takes_the_spectrum_of_natural_images_and_asks_for_it(small):
    recipe = replace(QUICK, parametrization="maco")
    smooth = torch.linspace(0.2, 0.8, 16).expand(4, 3, 16, 16)
    rough = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    of_smooth, of_rough = (
        pixels(rendered(small, "1", recipe, statistics=image_statistics([images]))) for images in (smooth, rough)
    )
    assert np.abs(np.diff(of_smooth, axis=1)).mean() < 0.5 * np.abs(np.diff(of_rough, axis=1)).mean()
    with pytest.raises(InputError, match="parametrization maco: found no images"):
        rendered(small, "1", recipe)


def test_facet_term_and_probes_go_together(small):
    with pytest.raises(InputError, match="found a term facet without facet probes; expected both or neither"):
        rendered(small, "1", replace(QUICK, objective={"channel": 1, "facet": 1}))
