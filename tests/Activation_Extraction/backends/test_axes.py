"""Guards which axes of a layer's output are taken for the images and the units, in networks of every layout."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from Activation_Extraction.activation_extractor import extract_layer_activations
from Activation_Extraction.backends.plain_network import checked_axes
from Activation_Extraction.backends.preparation import prepare_network
from Activation_Extraction.backends.runner import prepare_runner
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.clip_helpers import network_input
from Activation_Extraction.models.adapters import from_module
from Activation_Extraction.models.axes import find_axes
from Activation_Extraction.models.surgery.pooling import POOLINGS
from tests.Activation_Extraction.layouts import (
    CHANNELS,
    IN_ORDER,
    INPUT,
    SIDE,
    TOKENS,
    Arranged,
    TokenFirstViT,
    arranged,
    images,
)

TAKEN = {"mean": lambda a: a.mean(-1), "max": lambda a: a.amax(-1), "none": lambda a: a}


def by_hand(model, pixels, pooling):
    """From the map before the layer, image by image."""
    with torch.no_grad():
        rows = [model.module.map(network_input(torch.from_numpy(one[None]), INPUT))[0] for one in pixels]
    return np.stack([(TAKEN[pooling](a.flatten(1)) if a.ndim > 1 else a).reshape(CHANNELS, -1) for a in rows])


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("in_tuple", [False, True])
@pytest.mark.parametrize("layout", IN_ORDER)
def test_every_layout_gives_the_units_of_each_image(layout, in_tuple, pooling):
    model = arranged(layout, in_tuple)
    for count in (1, 2, TOKENS, CHANNELS):  # as many images as any other axis is long
        pixels = images(count)
        found = prepare_runner(model, ["layer"], pooling=pooling, backend="eager", batch_size=count)(pixels)["layer"]
        np.testing.assert_allclose(found.reshape(count, CHANNELS, -1), by_hand(model, pixels, pooling), atol=1e-6)


@pytest.mark.parametrize("layer", ["blocks.0", "blocks.0.attn", "blocks.1.mlp.1", "blocks.1.ln"])
def test_batch_of_as_many_images_as_tokens_is_read_image_by_image(layer):
    model = from_module(TokenFirstViT(), INPUT, name="vit")
    pixels = images(TOKENS + 1)
    together = extract_layer_activations(list(pixels), layer, model, batch_size=len(pixels), progress=False).values
    alone = [extract_layer_activations(one, layer, model, batch_size=1, progress=False).values[0] for one in pixels]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-6)
    assert np.ptp(together, axis=0).min() > 1e-4  # a mean over images is the same for each


def test_listing_and_preparation_agree_on_every_layout():
    for layout in IN_ORDER:
        model = arranged(layout)
        (listed,) = (layer for layer in model.layers.listing(model.example()) if layer.name == "layer")
        assert listed.axes == checked_axes(model, ["layer"])["layer"]
        assert listed.units == CHANNELS
        assert len(listed.shape_of_an_image) == len(listed.shape) - 1


class Returns(nn.Module):
    """A network whose `layer` returns a function of maps (image, channel, y, x)."""

    def __init__(self, function):
        super().__init__()
        self.patch, self.layer, self.function = nn.Conv2d(3, CHANNELS, SIDE // 2, SIDE // 2), nn.Identity(), function

    def forward(self, x):
        a = self.patch(x)
        self.layer(self.function(a))
        return a.mean((2, 3))


def refusing_two(a):
    if len(a) > 1:
        raise ValueError("one image, please")
    return a


SHAPES_THAT_DO_NOT_TELL = {
    "image*token channel": lambda a: a.flatten(2).permute(0, 2, 1).flatten(0, 1),
    "token*image channel": lambda a: a.flatten(2).permute(2, 0, 1).flatten(0, 1),
    "image*channel y x": lambda a: a.flatten(0, 1),
    "image image": lambda a: a.flatten(1) @ a.flatten(1).T,
    "image image channel": lambda a: (a[:, None] - a).mean((3, 4)),
    "one for all": lambda a: a.mean((0, 2, 3))[None],
    "a number": lambda a: a.sum(),
    "squeezed for one image": lambda a: a.mean((2, 3)).squeeze(),
    "heads of each image": lambda a: a.reshape(2 * len(a), 3, 2, 2),
    "padded to an even batch": lambda a: torch.cat([a, a[: len(a) % 2]]),
}


@pytest.mark.parametrize("kind", SHAPES_THAT_DO_NOT_TELL)
def test_output_without_one_axis_of_images_is_refused(kind):
    model = from_module(Returns(SHAPES_THAT_DO_NOT_TELL[kind]), INPUT, name="a network")
    for prepare in (prepare_network, lambda *given: prepare_network(*given, "mean", rewrite=False)):
        with pytest.raises(
            InputError, match=r"^layer 'layer': output .* for a batch of 1 and .* for a batch of 2; expected"
        ):
            prepare(model, ["layer"])
    assert next(layer for layer in model.layers.listing(model.example()) if layer.name == "layer").units is None


VALUES_THAT_DO_NOT_FOLLOW = {
    "minus the mean of the batch": lambda a: a - a.mean(0),
    "the next image's": lambda a: a.roll(1, 0),
    "in the reverse order": lambda a: a.flip(0),
    "plus what came before": lambda a: a.cumsum(0),
    "token first and mixed": lambda a: a.flatten(2).permute(2, 0, 1).reshape(len(a), -1, CHANNELS).permute(1, 0, 2),
}


@pytest.mark.parametrize("kind", VALUES_THAT_DO_NOT_FOLLOW)
def test_output_that_depends_on_the_rest_of_the_batch_is_refused(kind):
    model = from_module(Returns(VALUES_THAT_DO_NOT_FOLLOW[kind]), INPUT, name="a network")
    with pytest.raises(
        InputError, match=r"^layer 'layer' of a network: for image [01] of a batch of 2 the output differs"
    ):
        prepare_network(model, ["layer"])


def test_network_that_takes_one_image_is_read_by_the_axis_that_is_one_long():
    model = from_module(Returns(refusing_two), INPUT, name="a network")
    pixels = images(2)
    found = extract_layer_activations(list(pixels), "layer", model, batch_size=1, progress=False).values
    with torch.no_grad():
        wanted = model.module.patch(network_input(torch.from_numpy(pixels), INPUT)).mean((2, 3))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_image_axis_that_shapes_do_not_tell_can_be_named():
    network = Returns(lambda a: refusing_two(a).mean((2, 3))[None])  # (1, 1, channel)
    with pytest.raises(InputError, match=r"or the `image_axis` of the model to name it$"):
        prepare_network(from_module(network, INPUT, name="a network"), ["layer"])
    named = from_module(network, INPUT, name="a network", image_axis=lambda name, shape: 1)
    assert checked_axes(named, ["layer"]) == {"layer": (1, 2)}


def test_wrongly_named_image_axis_is_refused():
    model = arranged("token image channel")
    layers = from_module(model.module, INPUT, name="wrong", image_axis=lambda name, shape: 0).layers
    with pytest.raises(InputError, match=r"the images are not on axis 0, which `image_axis` names$"):
        checked_axes(replace(model, layers=layers), ["layer"])


@pytest.mark.parametrize("layout", ["y x image channel", "channel image y x", "channel token image"])
def test_units_beside_images_on_a_later_axis_must_be_named(layout):
    model = from_module(Arranged(layout), INPUT, name="unnamed")
    with pytest.raises(
        InputError, match=r"images are on axis [12], the axis of units is not known.*`axis` of the model"
    ):
        prepare_network(model, ["layer"])


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [
        ({1: (1, 1, 1), 2: (1, 2, 1)}, (1, 2)),
        ({2: (2, 2, 2), 3: (2, 3, 2)}, (1, 2)),
        ({5: (5, 5, 5, 5), 6: (6, 5, 5, 5)}, (0, 1)),
        ({1: (1, 1), 2: (1, 2)}, (1, 0)),
        ({3: (3, 7)}, (0, 1)),
    ],
)  # fmt: skip
def test_equal_lengths_do_not_hide_the_axis_that_follows_the_batch(shapes, axes):
    assert find_axes("layer", shapes) == axes
