"""Guards objectives: each is its formula, the algebra is arithmetic, and an image's number is its own."""

import pytest
import torch

from DeepDream_Setup.objectives import (
    ForwardPass,
    channel,
    cosine,
    diversity,
    l2_to_grey,
    layer_energy,
    neuron,
    total_variation,
)
from InterpScore import InputError


@pytest.fixture
def state():
    """Four images, and their maps of five units and 3 × 4 positions."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(4, 5, 3, 4, generator=generator, dtype=torch.float64)
    other = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    return ForwardPass(
        torch.rand(4, 3, 6, 6, generator=generator, dtype=torch.float64), {"top": a, "flat": other}, "top"
    )


def by_hand(state, image):
    """Numbers of one image by loops, for unit 2 and the direction (1, 0, -2, 0, .5)."""
    a, x = state.activations["top"][image].numpy(), state.images_NCHW[image].numpy()
    v = [1, 0, -2, 0, 0.5]
    positions = [(y, z) for y in range(3) for z in range(4)]
    products = {p: sum(v[u] * a[u][p] for u in range(5)) for p in positions}
    length = sum(number * number for number in v) ** 0.5
    cosines = {p: products[p] / (length * sum(a[u][p] ** 2 for u in range(5)) ** 0.5) for p in positions}
    return {
        "channel": sum(a[2][p] for p in positions) / 12,
        "neuron": a[2][1, 2],
        "direction": sum(products.values()) / 12,
        "centre": products[1, 2],
        "cosine": sum(products[p] * max(cosines[p], 0.1) ** 3 for p in positions) / 12,
        "energy": (a**2).mean(),
        "grey": ((x - 0.5) ** 2).mean(),
        "variation": abs(x[:, 1:] - x[:, :-1]).mean() + abs(x[:, :, 1:] - x[:, :, :-1]).mean(),
    }


def test_objectives_are_their_formulas(state):
    v = torch.tensor([1, 0, -2, 0, 0.5])
    objectives = {
        "channel": channel(2), "neuron": neuron(2), "direction": channel(v), "centre": neuron(v),
        "cosine": cosine(v, power=3), "energy": layer_energy(), "grey": l2_to_grey(),
        "variation": total_variation(),
    }  # fmt: skip
    for image in range(4):
        for name, wanted in by_hand(state, image).items():
            assert objectives[name].values(state)[image] == pytest.approx(wanted, rel=1e-6), name


def test_algebra_is_arithmetic_on_each_images_number(state):
    a, b = channel(1).values(state), l2_to_grey().values(state)
    combined = (channel(1) - 0.5 * l2_to_grey() + -channel(1) * 3).values(state)
    torch.testing.assert_close(combined, -2 * a - 0.5 * b)


def test_each_image_may_have_a_unit_of_its_own(state):
    found = channel([3, 0, 0, 4]).values(state)
    assert found.tolist() == [float(channel(unit).values(state)[i]) for i, unit in enumerate([3, 0, 0, 4])]


def test_several_units_jointly_are_the_sum_of_them(state):
    joint = channel(torch.tensor([0.0, 1, 0, 1, 0]))
    torch.testing.assert_close(joint.values(state), (channel(1) + channel(3)).values(state))


def test_another_layer_is_read_where_it_is_named(state):
    objective = channel(0) + channel(1, layer="flat")
    wanted = channel(0).values(state) + state.activations["flat"][:, 1]
    torch.testing.assert_close(objective.values(state), wanted)
    for read in (channel, neuron, lambda v, layer: cosine(v, 0, layer)):
        found = read(torch.tensor([0.0, 2]), "flat").values(state)
        torch.testing.assert_close(found, 2 * state.activations["flat"][:, 1])


def test_diversity_is_the_mean_cosine_of_gram_matrices_within_a_group(state):
    a = state.activations["top"].flatten(2)
    gram = [(one @ one.T).flatten() for one in a]
    cosine = [[torch.dot(g, h) / (g.norm() * h.norm()) for h in gram] for g in gram]
    wanted = [cosine[0][1], cosine[1][0], cosine[2][3], cosine[3][2]]
    torch.testing.assert_close(diversity(2).values(state), torch.stack(wanted))


def test_alike_images_have_a_diversity_term_of_1(state):
    same = ForwardPass(state.images_NCHW, {"top": state.activations["top"][:1].expand(4, -1, -1, -1)}, "top")
    torch.testing.assert_close(diversity(4).values(same), torch.ones(4, dtype=torch.float64))


def test_unit_that_the_layer_does_not_have_is_named(state):
    with pytest.raises(InputError, match="unit '5': the layer has units 0 to 4"):
        channel(5).values(state)


def test_direction_of_another_length_is_refused(state):
    with pytest.raises(InputError, match="direction: 3 numbers; expected one for each of 5 units"):
        channel(torch.ones(3)).values(state)
