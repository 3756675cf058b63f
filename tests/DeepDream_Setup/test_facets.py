"""Guards facets: probes tell their labels, the objective is the paper's formula, images go where their facet is."""

from random import Random

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from Activation_Extraction import extract_layer_activations
from Activation_Extraction.models.clip_mini.world.scenes import draw_scene
from Activation_Extraction.models.units import parse_units
from DeepDream_Setup.facets import facet, train_probes
from DeepDream_Setup.objectives import ForwardPass, channel
from DeepDream_Setup.recipes import Recipe
from DeepDream_Setup.render import render_units
from DeepDream_Setup.transforms import Transforms
from InterpScore import InputError

FACETS = ["fire", "letters", "tree"]


@pytest.fixture(scope="module")
def labelled(clip_mini):
    """Activations of layer3.1 on 20 pictures of each facet, and their labels."""
    rng = Random("facets")
    labels = [name for name in FACETS for _ in range(20)]
    images = [draw_scene(rng, [name]).render(96) for name in labels]
    return extract_layer_activations(images, "layer3.1", clip_mini, progress=False).values, labels


def test_probes_tell_their_label_on_pictures_they_were_not_trained_on(labelled):
    a_IM, labels = labelled
    probes = train_probes("layer3.1", a_IM[::2], labels[::2])
    scores = probes.scores(a_IM[1::2])
    for k, name in enumerate(FACETS):
        assert roc_auc_score(np.array(labels[1::2]) == name, scores[:, k]) > 0.85
    assert probes.auroc_K.min() > 0.8


def test_scores_are_1_for_the_mean_of_a_label_and_minus_1_for_the_rest(labelled):
    a_IM, labels = labelled
    probes = train_probes("layer3.1", a_IM, labels, ["letters"])
    (score_I,) = probes.scores(a_IM).T
    mine = np.array(labels) == "letters"
    assert (score_I[mine].mean(), score_I[~mine].mean()) == (pytest.approx(1), pytest.approx(-1))


def test_held_out_auroc_is_chance_where_there_is_nothing_to_tell():
    a_IM = np.random.default_rng(0).standard_normal((400, 60))
    found = train_probes("x", a_IM, ["a", "b"] * 200).auroc_K
    assert np.abs(found - 0.5).max() < 0.1


def test_objective_is_positive_attribution_along_the_probe_over_its_sum():
    generator = torch.Generator().manual_seed(0)
    below = torch.rand(2, 4, 3, 3, generator=generator).requires_grad_()
    weight, w = torch.eye(4) + torch.tensor([0.5, -0.5, 2, -1]), torch.randn(2, 4, generator=generator)
    above = torch.einsum("nmhw,km->nkhw", below, weight)
    state = ForwardPass(torch.zeros(2, 3, 4, 4), {"top": above, "mid": below}, "top")
    found = facet(channel(1), "mid", w).values(state)
    attribution = below.detach() * weight[1][:, None, None] / 9
    exciting = attribution.clamp(min=0)
    wanted = (exciting.sum((2, 3)) * w).sum(1) / exciting.sum((1, 2, 3)) * attribution.sum((1, 2, 3)) * 2
    torch.testing.assert_close(found, wanted)
    (gradient,) = torch.autograd.grad(found.sum(), below)
    assert gradient.count_nonzero() > 0


@pytest.mark.slow
@pytest.mark.parametrize("units", ["100,185", pytest.param("242,494", marks=pytest.mark.slow)])
def test_images_of_three_facets_differ_and_each_scores_highest_on_its_own(units, labelled, clip_mini):
    probes = train_probes("layer3.1", *labelled)
    recipe = Recipe(objective={"channel": 1, "facet": 2}, steps=40, size=48, transforms=Transforms(jitter=3))
    (renders,) = render_units(clip_mini, "block_4", parse_units(units, 512), recipe, probes=probes)
    assert [render.facet for render in renders] == FACETS * 2
    pixels = [render.pixels_SSC for render in renders]
    scores = probes.scores(extract_layer_activations(pixels, "layer3.1", clip_mini, progress=False).values)
    assert [scores[first : first + 3].argmax(0).tolist() for first in (0, 3)] == [[0, 1, 2]] * 2
    for first in (0, 3):
        for a, b in ((0, 1), (0, 2), (1, 2)):
            assert np.abs(pixels[first + a].astype(int) - pixels[first + b]).mean() > 10


@pytest.mark.parametrize(
    ("labels", "facets", "message"),
    [
        (["a"] * 8, [], "facets: 1 label; expected at least two"),
        (["a"] * 7 + ["b"], [], "facet 'b': fewer than 4 pictures"),
        (["a", "b"] * 4, ["c"], "facet 'c': no picture has this label; expected a, b"),
    ],
)
def test_labels_that_cannot_be_told_are_refused(labels, facets, message):
    with pytest.raises(InputError, match=message):
        train_probes("x", np.random.default_rng(0).random((8, 5)), labels, facets)
