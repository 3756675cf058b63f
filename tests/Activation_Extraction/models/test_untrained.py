"""Guards untrained copies: initial values of the family, BatchNorm statistics of a plain loop, nothing left as it was trained."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from Activation_Extraction import load_model
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.models.adapters import from_module, from_transformers
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.untrained import batch_norms, initialize, rows_to_measure, untrained

INPUT = ImageInput(8)


@pytest.fixture(scope="module")
def images():
    return list(torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def copies(images):
    """Of clip-mini, by seed."""
    return {seed: untrained(load_model("clip-mini"), seed, images) for seed in (0, 1)}


def small(*extra):
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), *extra)


def adapted(module) -> Model:
    for tensor in module.parameters():
        tensor.data.fill_(7)  # as if trained
    return from_module(module, INPUT, name="mine")


def state_bytes(model):
    return [tensor.numpy().tobytes() for tensor in model.module.state_dict().values()]


# Initial values -------------------------------------------------------------------------------------------------------


def moments(tensor):
    return float(tensor.mean()), float(tensor.std())


@pytest.mark.parametrize(
    ("path", "sd"),
    [
        ("visual.attnpool.q_proj.weight", 512**-0.5),
        ("visual.attnpool.c_proj.weight", 512**-0.5),
        ("visual.attnpool.positional_embedding", 512**-0.5),
        ("visual.layer4.0.conv2.weight", (3 * 9 * 128) ** -0.5),  # PyTorch's own: uniform, variance 1 / (3 fan in)
        ("visual.conv1.weight", (3 * 9 * 3) ** -0.5),
        ("token_embedding.weight", 0.02),
        ("positional_embedding", 0.01),
        ("text_projection", 128**-0.5),
        ("transformer.resblocks.1.attn.in_proj_weight", 128**-0.5),
        ("transformer.resblocks.1.attn.out_proj.weight", 128**-0.5 * 6**-0.5),
        ("transformer.resblocks.1.mlp.c_fc.weight", 256**-0.5),
        ("transformer.resblocks.2.mlp.c_proj.weight", 128**-0.5 * 6**-0.5),
    ],
)
def test_weights_have_the_mean_and_spread_that_clip_is_trained_from(copies, path, sd):
    tensor = copies[0].module.state_dict()[path]
    mean, spread = moments(tensor)
    assert abs(mean) < 5 * sd / np.sqrt(tensor.numel())
    assert spread == pytest.approx(sd, rel=max(0.02, 5 / np.sqrt(2 * tensor.numel())))


def test_gains_are_one_also_those_of_branches_that_start_at_0_and_the_rest_is_constant(copies):
    network = copies[0].module
    assert all(bool((norm.weight == 1).all()) and not norm.bias.any() for norm in batch_norms(network.visual))
    assert float(network.logit_scale) == pytest.approx(np.log(1 / 0.07))
    assert not network.transformer.resblocks[0].attn.in_proj_bias.any()
    assert not any(p.requires_grad for p in network.parameters())
    assert not any(module.training for module in network.modules())


def test_a_residual_branch_whose_gain_starts_at_0_is_more_than_a_shortcut():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3)

        def reset_parameters(self):
            nn.init.zeros_(self.norm.weight)

        def forward(self, x):
            return x + self.norm(self.conv(x))

    x = list(torch.randn(4, 3, 8, 8))
    copy = untrained(adapted(Block()), 0, x)
    assert bool((copy.module.norm.weight == 1).all())
    assert not torch.allclose(copy.module(torch.stack(x)), torch.stack(x))


def test_the_initializer_of_a_family_comes_last():
    class Family(nn.Sequential):
        def _init_weights(self, module):
            if isinstance(module, nn.Conv2d):
                nn.init.constant_(module.weight, 0.5)

    copy = untrained(adapted(Family(nn.Conv2d(3, 2, 1))), 0).module
    assert bool((copy[0].weight == 0.5).all())
    assert not (copy[0].bias == 7).any()


@pytest.mark.slow
def test_models_of_transformers_start_as_their_own_initializer_says():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=128, image_size=8, patch_size=4,
        initializer_range=0.5,
    )  # fmt: skip
    module = transformers.ViTModel(config, add_pooling_layer=False)
    for tensor in module.parameters():
        tensor.data.fill_(7)
    settings = {"size": 8, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_normalize": True, "do_rescale": True}  # fmt: skip
    copy = untrained(from_transformers(module, settings), 0).module.state_dict()
    weights = [name for name, value in copy.items() if value.ndim == 2]
    assert len(weights) >= 6
    for name in weights:
        assert moments(copy[name])[1] == pytest.approx(0.5, rel=0.1), name
    assert copy["embeddings.position_embeddings"].std() == pytest.approx(0.5, rel=0.2)


# BatchNorm ------------------------------------------------------------------------------------------------------------


def residual():
    """Two stages with BatchNorm, the second a residual branch."""

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.branch = small(), nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
            self.last = nn.BatchNorm2d(4)

        def forward(self, x):
            x = self.stem(x)
            return self.last(x + self.branch(x))

    return adapted(Residual())


def test_batchnorm_statistics_are_those_of_a_plain_loop():
    images = list(torch.randn(6, 3, 8, 8) * torch.arange(1, 7)[:, None, None, None])
    measured = batch_norms(untrained(residual(), 0, images).image_tower)
    tower = untrained(residual(), 0).image_tower  # statistics 0 and 1
    for norm, expected in zip(batch_norms(tower), measured, strict=True):
        inputs = []
        handle = norm.register_forward_pre_hook(lambda module, x, inputs=inputs: inputs.append(x[0]))
        with torch.inference_mode():
            for image in images:  # one at a time, through the BatchNorms before it as they are by now
                tower(image[None])
        handle.remove()
        values_CX = torch.cat(inputs).double().movedim(1, 0).flatten(1)
        assert torch.allclose(values_CX.mean(1).float(), expected.running_mean, rtol=1e-4, atol=1e-5)
        assert torch.allclose(values_CX.var(1).float(), expected.running_var, rtol=1e-4)
        norm.running_mean.copy_(values_CX.mean(1))
        norm.running_var.copy_(values_CX.var(1, correction=0))  # as a batch is normalised while it is measured


def test_a_network_without_batchnorm_measures_nothing_and_images_are_spread_evenly():
    assert rows_to_measure(adapted(nn.Sequential(nn.Conv2d(3, 2, 3))), 100) == []
    network = adapted(small())
    assert rows_to_measure(network, 5) == [0, 1, 2, 3, 4]
    rows = rows_to_measure(network, 1000)
    assert len(rows) == 128
    assert rows[:3] == [0, 7, 15]
    assert rows[-1] == 992


@pytest.mark.parametrize(("count", "bytes_"), [(32, 1), (40, 40 * 4 * 4 * 64 * 4)])
def test_fewer_images_are_measured_where_maps_are_large(monkeypatch, count, bytes_):
    monkeypatch.setattr("Activation_Extraction.models.untrained.BYTES", bytes_)
    assert len(rows_to_measure(adapted(small()), 1000)) == count


def test_a_single_value_a_channel_has_no_variance():
    network = adapted(small(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4)))
    with pytest.raises(InputError, match="BatchNorm on 1 images: Expected more than 1 value per channel"):
        untrained(network, 0, [torch.zeros(3, 8, 8)])


# Copies ---------------------------------------------------------------------------------------------------------------


def test_same_seed_same_bytes_and_another_seed_others(copies, images):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again = untrained(load_model("clip-mini"), 0, images)
    assert torch.equal(torch.rand(1), expected)  # the caller's random numbers
    assert state_bytes(again) == state_bytes(copies[0])
    drawn = ["visual.conv1.weight", "visual.layer4.0.bn3.running_mean", "token_embedding.weight"]
    first, second = (copies[seed].module.state_dict() for seed in (0, 1))
    assert not any(torch.equal(first[name], second[name]) for name in drawn)


def test_the_trained_network_stays_and_counts_for_nothing(copies, images):
    trained = load_model("clip-mini")
    before = state_bytes(trained)
    other = replace(load_model("clip-mini", weights="random"), name="clip-mini")
    assert state_bytes(untrained(other, 0, images)) == state_bytes(copies[0])
    assert state_bytes(trained) == before
    assert copies[0].layers.resolve("block_4") == "layer4"
    assert not {"weights_sha256", "batchnorm"} & {*copies[0].provenance}
    assert copies[0].image_tower is copies[0].module.visual


def test_provenance_states_seed_weights_and_images():
    trained, images = residual(), [torch.randn(3, 8, 8)]
    copy = untrained(trained, 3, images, "1 image")
    assert copy.provenance["weights"] == "untrained, seed 3"
    assert copy.provenance["batchnorm"] == "1 image"
    unmeasured = untrained(trained, 3).provenance
    assert unmeasured["state_sha256"] == copy.provenance["state_sha256"]  # of the weights alone
    assert untrained(trained, 4).provenance["state_sha256"] != copy.provenance["state_sha256"]
    assert unmeasured["state_sha256"] != trained.provenance["state_sha256"]
    assert unmeasured["source"] == trained.provenance["source"]


# Refused --------------------------------------------------------------------------------------------------------------


class Scaled(nn.Module):
    """A parameter of its own and no initializer."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * self.scale


class HalfInitialized(nn.Linear):
    """An initializer that forgets the bias."""

    def reset_parameters(self):
        nn.init.ones_(self.weight)


class Frozen(nn.Module):
    """Weights that are saved buffers, as those of a frozen BatchNorm and of constants of a graph."""

    def __init__(self):
        super().__init__()
        self.register_buffer("value", torch.ones(3))

    def forward(self, x):
        return x


class Uncopied(nn.Identity):
    def __deepcopy__(self, memo):
        raise RuntimeError("no copies")


class Failing(nn.Conv2d):
    def reset_parameters(self, how=None):
        if hasattr(self, "made"):
            raise KeyError("how")
        self.made = True
        super().reset_parameters()


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Scaled(), "module '3' (Scaled) has no initializer of its tensor 'scale'"),
        (HalfInitialized(2, 2), "module '3' (HalfInitialized) has no initializer of its tensor 'bias'"),
        (Frozen(), "module '3' (Frozen) has no initializer of its tensor 'value'"),
        (Uncopied(), "cannot be copied (no copies)"),
        (Failing(4, 4, 1), "the initializer of Failing fails ('how')"),
    ],
)
def test_what_cannot_be_initialized_is_refused_with_the_module(module, said):
    with pytest.raises(InputError) as error:
        untrained(adapted(small(module)), 0)
    (problem,) = error.value.problems
    assert problem.startswith("mine: ")
    assert said in problem


def test_buffers_that_weights_files_do_not_hold_stay():
    module = small()
    module.register_buffer("mask", torch.full((2,), -3.0), persistent=False)
    initialize(module, 0)
    assert module.mask.tolist() == [-3, -3]
