"""Guards interventions on a layer: they are what a forward pass edited by hand gives, and leave the network as it was."""

import copy
from dataclasses import replace as replaced

import pytest
import torch

from Activation_Extraction import load_model
from Activation_Extraction.models.adapters import from_module
from Activation_Extraction.models.trace import trace
from InterpScore import InputError
from InterpScore.interventions.edits import ablate, add, amplify, at, clamp, replace, scale
from InterpScore.interventions.layer import LayerInterventions, cosine_change, embedding_of
from tests.Activation_Extraction.layouts import CHANNELS, IN_ORDER, INPUT, SIDE, TokenFirstViT, arranged
from tests.Activation_Extraction.small_networks import hooks_of
from tests.InterpScore.small_interventions import LAYER, UNITS, pictures, small_model, small_network

DOSES = (0.0, 0.5, 1.0, 2.0, 5.0)


@pytest.fixture
def network():
    return small_network()


def by_hand(network, x, u, change):
    """The relative move of the embedding when one channel is edited in a forward pass written out."""

    def edit(a_NCHW):
        a_NCHW[:, u] = change(a_NCHW[:, u])
        return a_NCHW

    with torch.no_grad():
        before, after = network(x), network(x, edit)
    return (after - before).norm(dim=1) / before.norm(dim=1)


@pytest.mark.parametrize(
    ("intervention", "change"),
    [
        (ablate(), lambda a: a * 0),
        (amplify(), lambda a: a * 2),
        (scale(0.5), lambda a: a * 0.5),
        (clamp(0.1, 0.2), lambda a: a.clamp(0.1, 0.2)),
        (add(0.7), lambda a: a + 0.7),
        (replace(torch.full((1, 1), 0.3)), lambda a: torch.full_like(a, 0.3)),
    ],
)
def test_each_unit_alone_is_what_a_hand_edited_forward_pass_gives(network, intervention, change):
    x = pictures(3)
    layer = LayerInterventions(small_model(network), LAYER)
    found = torch.stack([image.effects([intervention])[0][0] for image in layer.forward_to_layer(x)])
    wanted = torch.stack([by_hand(network, x, u, change) for u in range(UNITS)], 1)
    assert float((found - wanted).abs().max()) < 1e-6 * float(wanted.max())
    assert float(wanted.min()) > 1e-4  # every unit does something, so nothing is compared with nothing


def test_intervention_at_chosen_positions_is_a_hand_edited_forward_pass(network):
    x, chosen = pictures(1), torch.arange(25) % 3 == 0
    (image,) = LayerInterventions(small_model(network), LAYER, [4]).forward_to_layer(x)
    found = image.effects([at(ablate(), chosen)])[0]
    wanted = by_hand(network, x, 4, lambda a: torch.where(chosen.reshape(5, 5), 0.0, a))
    torch.testing.assert_close(found.flatten(), wanted, rtol=1e-9, atol=0)


def test_several_units_together_are_a_hand_edited_forward_pass(network):
    def edit(a_NCHW):
        a_NCHW[:, 1] = 0
        a_NCHW[:, 3] *= 2
        a_NCHW[:, 5] += 0.4
        return a_NCHW

    x = pictures(1)
    (image,) = LayerInterventions(small_model(network), LAYER).forward_to_layer(x)
    found = image.joint_change({1: ablate(), 3: amplify(), 5: add(0.4)})
    with torch.no_grad():
        wanted = (network(x, edit) - network(x))[0]
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    one_by_one = sum(next(iter(image.changes([i])))[1][0, u] for u, i in ((1, ablate()), (3, amplify()), (5, add(0.4))))
    assert float((wanted - one_by_one).norm()) > 1e-3 * float(wanted.norm())  # what is joint is not a sum


def test_directions_take_the_place_of_units(network):
    directions_UC = torch.randn(3, UNITS, generator=torch.Generator().manual_seed(2)).double()
    x = pictures(1)
    (image,) = LayerInterventions(small_model(network), LAYER, directions_UC=directions_UC).forward_to_layer(x)

    def without(d_C):
        def edit(a_NCHW):
            along = torch.einsum("nchw,c->nhw", a_NCHW, d_C) / d_C.dot(d_C)
            return a_NCHW - d_C[:, None, None] * along[:, None]

        with torch.no_grad():
            before, after = network(x), network(x, edit)
        return (after - before).norm() / before.norm()

    wanted = torch.stack([without(d_C) for d_C in directions_UC])
    torch.testing.assert_close(image.effects([ablate()])[0][0], wanted, rtol=1e-9, atol=0)


def test_axes_as_directions_are_the_units(network):
    model, x = small_model(network), pictures(1)
    (units,) = LayerInterventions(model, LAYER).forward_to_layer(x)
    (axes,) = LayerInterventions(model, LAYER, directions_UC=torch.eye(UNITS).double()).forward_to_layer(x)
    torch.testing.assert_close(axes.effects([ablate()])[0], units.effects([ablate()])[0], rtol=1e-9, atol=0)


def test_chosen_units_are_those_among_all(network):
    model, x = small_model(network), pictures(1)
    (every,) = LayerInterventions(model, LAYER).forward_to_layer(x)
    (some,) = LayerInterventions(model, LAYER, [5, 2]).forward_to_layer(x)
    assert torch.equal(some.activation_UP, every.activation_UP[[5, 2]])
    torch.testing.assert_close(some.effects([ablate()])[0], every.effects([ablate()])[0][:, [5, 2]], rtol=1e-12, atol=0)


def test_scaling_by_one_moves_nothing_and_scaling_by_zero_is_ablation(network):
    (image,) = LayerInterventions(small_model(network), LAYER).forward_to_layer(pictures(1))
    effect_SU, _ = image.effects([scale(1), scale(0), ablate()])
    assert effect_SU[0].count_nonzero() == 0
    assert torch.equal(effect_SU[1], effect_SU[2])


def test_number_of_variants_at_a_time_changes_nothing(network):
    layer = LayerInterventions(small_model(network), LAYER)
    (image,) = layer.forward_to_layer(pictures(1))
    whole = image.effects([ablate(), amplify()])[0]
    layer.variants = 3
    torch.testing.assert_close(image.effects([ablate(), amplify()])[0], whole, rtol=1e-12, atol=0)


def test_change_of_the_cosine_is_that_of_the_two_embeddings(network):
    x, toward_E = pictures(1), torch.randn(5, generator=torch.Generator().manual_seed(3)).double()
    (image,) = LayerInterventions(small_model(network), LAYER).forward_to_layer(x)
    _, turn_SU = image.effects([ablate()], toward_E)
    with torch.no_grad():
        before = network(x)[0]
        after = network(x, lambda a: torch.cat([a[:, :2], a[:, 2:3] * 0, a[:, 3:]], 1))[0]
    cosine = [torch.nn.functional.cosine_similarity(e, toward_E, dim=0) for e in (before, after)]
    torch.testing.assert_close(turn_SU[0, 2], cosine[1] - cosine[0], rtol=1e-8, atol=1e-12)


def test_tiny_change_of_the_cosine_keeps_its_digits():
    e_E, toward_E, change_E = (torch.randn(64, generator=torch.Generator().manual_seed(s)).double() for s in (4, 5, 6))
    change_E = change_E * 1e-9
    slope = (change_E @ toward_E / toward_E.norm() - (e_E @ toward_E) * (e_E @ change_E) / e_E.norm() ** 2 / toward_E.norm()) / e_E.norm()  # fmt: skip
    found = cosine_change(e_E.float(), change_E.float(), toward_E.float())
    assert float(found) == pytest.approx(float(slope), rel=1e-5)


# CLIP's attention pool ----------------------------------------------------------------------------------------------


def in_double(model):
    """The same network in float64."""
    module = copy.deepcopy(model.module).double()
    return replaced(model, module=module, image_tower=module.visual)


def generic_effects(model, a_NCHW, units):
    """Δ of some units by running what follows the layer, in float64, on maps that are given."""
    exact = in_double(model)
    pool = exact.image_tower.attnpool
    effects = []
    for a_CHW in a_NCHW.double():
        variants = [a_CHW]
        for by in DOSES:
            for u in units:
                edited = a_CHW.clone()
                edited[u] *= by
                variants.append(edited)
        with torch.no_grad():
            rows = torch.cat([pool(torch.stack(variants[at : at + 64])) for at in range(0, len(variants), 64)])
        effects.append(((rows[1:] - rows[0]).norm(dim=1) / rows[0].norm()).reshape(len(DOSES), len(units)))
    return torch.stack(effects)


def exact_effects(model, x, units):
    images = list(LayerInterventions(model, "block_4", units, exact=True).forward_to_layer(x))
    return torch.stack([image.effects([scale(by) for by in DOSES])[0] for image in images]), torch.cat(
        [image.a for image in images]
    )


def check_against_generic(model, x, units):
    found, a_NCHW = exact_effects(model, x, units)
    wanted = generic_effects(model, a_NCHW, units)
    assert found[:, 2].count_nonzero() == 0  # λ = 1
    apart = (found.double() - wanted).abs()
    assert bool((apart <= 1e-4 * wanted).all())
    assert bool((wanted[:, 0] > 0).any())


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_exact_update_is_the_generic_path_for_units_of_clip_mini(every):
    model = load_model("clip-mini")
    x = (pictures(2, 96) - 0.45) / 0.27
    check_against_generic(model, x, list(range(0, 512, every)))


@pytest.mark.slow
def test_exact_update_is_the_generic_path_for_200_units_of_rn50x4():
    model = load_model("clip-rn50x4", weights="random")
    units = torch.randperm(2560, generator=torch.Generator().manual_seed(0))[:200].tolist()
    check_against_generic(model, pictures(1, 288), units)


def test_interventions_that_do_not_scale_are_exact_as_well():
    model, x = load_model("clip-mini"), (pictures(1, 96) - 0.45) / 0.27
    units, made = [3, 70, 185], [clamp(0.2, 0.9), replace(torch.full((1, 1), 0.5)), ablate()]
    (exact,) = LayerInterventions(model, "block_4", units).forward_to_layer(x)
    (generic,) = LayerInterventions(in_double(model), "block_4", units, exact=False).forward_to_layer(x.double())
    torch.testing.assert_close(exact.effects(made)[0].double(), generic.effects(made)[0], rtol=1e-3, atol=1e-7)


def test_joint_change_before_the_pool_is_a_run_of_the_pool():
    model, x = load_model("clip-mini"), (pictures(1, 96) - 0.45) / 0.27
    (image,) = LayerInterventions(model, "block_4").forward_to_layer(x)
    edited = image.a.clone()
    edited[:, 185] = 0
    edited[:, 3] *= 2
    with torch.no_grad():
        wanted = (model.image_tower.attnpool(edited) - model.image_tower.attnpool(image.a))[0]
    found = image.joint_change({185: ablate(), 3: amplify()})
    assert float((found - wanted).norm()) < 1e-4 * float(wanted.norm())


@pytest.mark.parametrize("name", ["block_4", "layer4", "layer4.0", "layer4.0.relu3", "image_block_4/0/Relu_2"])
def test_every_name_of_what_the_pool_reads_is_exact(name):
    assert LayerInterventions(load_model("clip-mini"), name).exact


def test_other_layers_run_what_follows_them():
    layer = LayerInterventions(load_model("clip-mini"), "layer3.1", [3])
    assert not layer.exact
    assert layer.method == "what follows the layer, for each unit"


def test_exact_where_it_is_not_possible_is_refused(network):
    with pytest.raises(InputError, match="exact: layer 'first' of small does not feed CLIP's attention pool"):
        LayerInterventions(small_model(network), LAYER, exact=True)


# The network is left as it was --------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [True, False])
def test_exception_in_the_middle_leaves_the_output_bit_identical(exact):
    model, x = load_model("clip-mini"), (pictures(2, 96) - 0.45) / 0.27
    with torch.no_grad():
        before = model.encode_image(x)
    state = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}

    def breaks(a_UP):
        a_UP * 2
        raise RuntimeError("in the middle")

    for image in LayerInterventions(model, "block_4", [3, 4], exact=exact).forward_to_layer(x):
        with pytest.raises(RuntimeError, match="in the middle"):
            image.effects([ablate(), breaks])
    with torch.no_grad():
        after = model.encode_image(x)
    assert torch.equal(before, after)
    assert hooks_of(model.module) == 0
    assert all(torch.equal(state[name], tensor) for name, tensor in model.module.state_dict().items())


def test_images_not_asked_for_leave_no_hook(network):
    model = small_model(network)
    seen = LayerInterventions(model, LAYER).forward_to_layer(pictures(3))
    next(seen).effects([ablate()])
    seen.close()
    assert hooks_of(network) == 0


# Wrong input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": [0], "directions_UC": torch.eye(6)}, "units and directions: found both; expected one of them"),
        ({"units": [6]}, "unit 6: layer 'first' has units 0 to 5"),
        ({"units": [-1]}, "unit -1: layer 'first' has units 0 to 5"),
        ({"directions_UC": torch.eye(5).double()}, "directions: found the shape (5, 5); expected (U, 6)"),
    ],
)
def test_units_that_a_layer_does_not_have_are_refused(network, options, message):
    with pytest.raises(InputError) as caught:
        next(LayerInterventions(small_model(network), LAYER, **options).forward_to_layer(pictures(1)))
    assert str(caught.value) == message


def test_unit_that_was_not_prepared_is_refused_in_a_joint_change(network):
    (image,) = LayerInterventions(small_model(network), LAYER, [1, 2]).forward_to_layer(pictures(1))
    with pytest.raises(InputError, match="unit 3: not among the 2 that the layer was prepared for"):
        image.joint_change({1: ablate(), 3: ablate()})


def test_embedding_of_named_outputs_is_the_one_that_is_named():
    x = torch.ones(2, 4)
    assert embedding_of({"last_hidden_state": torch.ones(2, 5, 4), "pooler_output": x}, 2) is x
    assert embedding_of((torch.ones(2, 3, 2),), 2).shape == (2, 6)
    with pytest.raises(InputError, match="the network gives float; expected a tensor with a row for each image"):
        embedding_of(1.0, 2)


# Layouts of the layer's output ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_tuple", [False, True])
@pytest.mark.parametrize("layout", IN_ORDER)
def test_effects_in_every_layout_are_those_of_an_edited_map(layout, in_tuple):
    model = arranged(layout, in_tuple)
    x = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    layer = LayerInterventions(model, "layer")
    found = torch.stack([image.effects([ablate(), amplify()])[0] for image in layer.forward_to_layer(x)])
    assert layer.count() == found.shape[2] == CHANNELS
    assert layer.method == "what follows the layer, for each unit"
    with torch.no_grad():
        a = model.module.map(x)
        before, wanted = model.module.rest(a), torch.empty(2, 2, CHANNELS)
        for s, factor in enumerate((0, 2)):
            for u in range(CHANNELS):
                edited = a.clone()
                edited[:, u] *= factor
                wanted[:, s, u] = (model.module.rest(edited) - before).norm(dim=1) / before.norm(dim=1)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    assert float(wanted.min()) > 1e-4


@pytest.mark.parametrize("layer", ["blocks.0", "blocks.0.attn", "blocks.1.mlp.1"])
def test_effects_in_a_transformer_that_puts_tokens_first_are_those_of_an_edited_run(layer):
    model = from_module(TokenFirstViT(), INPUT, name="vit")
    x = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    prepared = LayerInterventions(model, layer)
    (image,) = prepared.forward_to_layer(x)

    def without(u):
        def edit(a_TND):
            a_TND[..., u] = 0
            return a_TND

        return edit

    wanted = []
    for u in range(prepared.count()):
        with torch.no_grad(), trace(model.image_tower, edit={layer: without(u)}):
            wanted.append((model.image_tower(x) - image.embedding_E).norm() / image.embedding_E.norm())
    torch.testing.assert_close(image.effects([ablate()])[0][0], torch.stack(wanted), rtol=1e-4, atol=1e-6)


def test_layer_without_an_axis_of_images_gets_no_interventions():
    flat = torch.nn.Sequential(torch.nn.Flatten(0, 1), torch.nn.Unflatten(0, (-1, 3)), torch.nn.Flatten())
    with pytest.raises(InputError, match=r"^layer '0': output .* expected one axis that is as long as the batch"):
        LayerInterventions(from_module(flat, INPUT, name="flat"), "0")
