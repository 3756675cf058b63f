"""CLIP's two towers equal OpenAI's own code module by module; checkpoints load whole or are refused line by line."""

from functools import cache

import pytest
import torch
from safetensors.torch import save_file

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.models.clip import CLIP, CONFIGS, CLIPConfig, build_clip, config_of
from Activation_Extraction.models.modified_resnet import ModifiedResNet
from Activation_Extraction.models.trace import EVERY, trace
from Activation_Extraction.models.weights.cache import read_state_dict
from tests.Activation_Extraction.openai_clip import openai

SIZES = [name for name in CONFIGS if name != "clip-mini"]
TOLERANCE = 1e-5
DEEP = CLIPConfig(48, 96, (3, 4, 6, 3), 8, 4, 128, 2, 3, 20, 600)
"""RN50's blocks, with an eighth of its units."""


def reference(config):
    """OpenAI's network of these sizes, to be given weights; it works out the heads of its towers by itself."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(openai("model").CLIP, "initialize_parameters", lambda self: None)
        network = openai("model").CLIP(
            embed_dim=config.embed_dim,
            image_resolution=config.image_resolution,
            vision_layers=config.vision_layers,
            vision_width=config.vision_width,
            vision_patch_size=None,
            context_length=config.context_length,
            vocab_size=config.vocab_size,
            transformer_width=config.transformer_width,
            transformer_heads=config.transformer_width // 64,
            transformer_layers=config.transformer_layers,
        )
    return network.eval()


def on_meta(make, config):
    with torch.device("meta"):
        return make(config)


@cache
def sizes_alone(config):
    """Our network of these sizes, without weights."""
    return on_meta(CLIP, config)


def random_state(config, seed=0):
    """Weights of which each one matters: no gain is one, no bias, mean or variance is what it starts with."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, like in sizes_alone(config).state_dict().items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
        elif key.endswith("running_var") or (like.ndim == 1 and key.endswith("weight")):
            state[key] = torch.empty(like.shape).uniform_(0.5, 1.5, generator=generator)
        elif like.ndim < 2:
            state[key] = torch.empty(like.shape).normal_(0, 0.2, generator=generator)
        else:
            inputs = like.shape[0] if key == "text_projection" else like[0].numel()
            state[key] = torch.empty(like.shape).normal_(0, inputs**-0.5, generator=generator)
    return state


def random_inputs(config, images, texts, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(images, 3, config.image_resolution, config.image_resolution, generator=generator)
    tokens = torch.zeros(texts, config.context_length, dtype=torch.long)
    for row, length in zip(tokens, torch.linspace(3, config.context_length, texts).long()):
        row[:length] = torch.randint(1, config.vocab_size - 2, (length,), generator=generator)
        row[0], row[length - 1] = config.vocab_size - 2, config.vocab_size - 1
    return x, tokens


def distance(ours, theirs):
    """Norm of the difference, in norms of what is expected."""
    assert ours.shape == theirs.shape
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


def differences(config, images, texts):
    """Module, "logits" and "logits of texts" → distance between OpenAI's output and ours, for the same weights."""
    state = random_state(config)
    theirs, ours = reference(config), build_clip(state)
    theirs.load_state_dict(state, strict=True)
    x, tokens = random_inputs(config, images, texts)
    seen = {}

    def keep(name):
        def hook(module, inputs, output):
            if isinstance(output, torch.Tensor):
                seen[name] = output.clone()  # a ReLU that follows overwrites it

        return hook

    for name, module in theirs.named_modules():
        if name:
            module.register_forward_hook(keep(name))
    with torch.inference_mode():
        seen["logits"], seen["logits of texts"] = theirs(x, tokens)
        del theirs
        with trace(ours, EVERY) as retained:
            logits = ours(x, tokens)
    found = {"logits": distance(logits[0], seen["logits"]), "logits of texts": distance(logits[1], logits[0].T)}
    for name, output in seen.items():
        if not name.startswith("logits"):
            is_text = name.startswith("transformer")  # the reference has tokens first and texts second there
            found[name] = distance(retained[f"{name}#1"], output.transpose(0, 1) if is_text else output)
    return found


def modules_that_matter(config):
    blocks = [f"layer{stage}.{i}" for stage, count in enumerate(config.vision_layers, 1) for i in range(count)]
    steps = [f"{block}.{step}" for block in blocks for step in ("conv1", "bn1", "relu2", "avgpool", "bn3", "relu3")]
    stem = ["conv1", "bn1", "relu1", "bn2", "relu3", "avgpool"]
    tower = {f"visual.{name}" for name in [*stem, *blocks, *steps, "attnpool"]} | {"visual"}
    texts = [f"transformer.resblocks.{i}" for i in range(config.transformer_layers)]
    return tower | {"token_embedding", *texts, "transformer", "ln_final", "logits", "logits of texts"}


@pytest.mark.parametrize(
    ("name", "images", "texts"),
    [
        ("clip-mini", 3, 5),
        ("deep", 2, 3),
        *(pytest.param(f"clip-{size}", 1, 3, marks=pytest.mark.slow) for size in ("rn50", "rn50x4")),
    ],
)
def test_every_module_gives_what_openais_gives(name, images, texts):
    config = CONFIGS.get(name, DEEP)
    found = differences(config, images, texts)
    assert modules_that_matter(config) <= set(found)
    assert {module: value for module, value in found.items() if not value < TOLERANCE} == {}


def test_embeddings_of_images_and_texts_equal_openais():
    config = CONFIGS["clip-mini"]
    state = random_state(config, seed=3)
    theirs, ours = reference(config), build_clip(state)
    theirs.load_state_dict(state)
    x, tokens = random_inputs(config, 4, 6)
    with torch.inference_mode():
        assert distance(ours.encode_image(x), theirs.encode_image(x)) < TOLERANCE
        assert distance(ours.encode_text(tokens), theirs.encode_text(tokens)) < TOLERANCE


def test_every_parameter_reaches_the_embeddings():
    # Else a tensor that is loaded and never used would pass for equal.
    config = CONFIGS["clip-mini"]
    network = build_clip(random_state(config))
    x, tokens = random_inputs(config, 2, 3)
    logits, _ = network(x, tokens)
    (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    untouched = {key for key, p in network.named_parameters() if p.grad is None or not float(p.grad.abs().max()) > 1e-7}
    # A bias of all keys adds the same to all scores of a query, which a softmax does not see.
    assert untouched == {"visual.attnpool.k_proj.bias"}


@pytest.mark.parametrize("key", ["visual.bn2.running_mean", "visual.layer3.0.downsample.1.running_var"])
def test_running_statistics_reach_the_embeddings(key):
    config = CONFIGS["clip-mini"]
    state = random_state(config)
    x, _ = random_inputs(config, 2, 1)
    with torch.inference_mode():
        before = build_clip(state).encode_image(x)
        after = build_clip({**state, key: state[key] * 1.5}).encode_image(x)
    assert distance(after, before) > 1e-3


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name not in ("clip-mini", "clip-rn50x4"))) for name in CONFIGS],
)
def test_tensors_and_their_shapes_are_those_of_openais_checkpoints(name):
    ours, theirs = sizes_alone(CONFIGS[name]), on_meta(reference, CONFIGS[name])
    shapes = [{key: value.shape for key, value in network.state_dict().items()} for network in (ours, theirs)]
    assert shapes[0] == shapes[1]
    # Heads change no shape.
    assert ours.visual.attnpool.num_heads == theirs.visual.attnpool.num_heads
    assert [b.attn.num_heads for b in ours.transformer.resblocks] == [
        b.attn.num_heads for b in theirs.transformer.resblocks
    ]


@pytest.mark.parametrize(
    ("name", "visual", "whole", "units"),
    [  # millions, as open_clip's table of models (docs/model_profile.csv) has them
        ("clip-rn50", 38.32, 102.01, 2048),
        ("clip-rn101", 56.26, 119.69, 2048),
        ("clip-rn50x4", 87.14, 178.3, 2560),
        ("clip-rn50x16", 167.33, 290.98, 3072),
        ("clip-rn50x64", 420.38, 623.26, 4096),
    ],
)
def test_parameters_are_as_many_as_published(name, visual, whole, units):
    network = sizes_alone(CONFIGS[name])
    assert round(sum(p.numel() for p in network.visual.parameters()) / 1e6, 2) == visual
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == whole
    assert CONFIGS[name].units == network.visual.layer4[-1].conv3.out_channels == units


def test_image_tower_takes_openais_state_dict_as_it_is():
    theirs = (
        openai("model").ModifiedResNet(layers=(1, 2, 1, 1), output_dim=24, heads=4, input_resolution=64, width=8).eval()
    )
    ours = ModifiedResNet(layers=(1, 2, 1, 1), output_dim=24, heads=4, input_resolution=64, width=8).eval()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ours.load_state_dict(theirs.state_dict(), strict=True)
    with torch.inference_mode():
        assert distance(ours(x), theirs(x)) < TOLERANCE


@pytest.mark.parametrize("name", CONFIGS)
def test_sizes_are_read_off_the_tensors(name):
    assert config_of(sizes_alone(CONFIGS[name]).state_dict()) == CONFIGS[name]


def test_what_follows_the_end_of_a_text_is_never_seen():
    config = CONFIGS["clip-mini"]
    network = build_clip(random_state(config))
    _, tokens = random_inputs(config, 1, 4)
    tokens = tokens[:3]
    longest = int((tokens > 0).sum(1).max())
    noise = torch.where(tokens == 0, torch.full_like(tokens, 5), tokens)
    with torch.inference_mode():
        whole = network.encode_text(tokens)
        assert distance(network.encode_text(tokens[:, :longest]), whole) < TOLERANCE
        assert distance(network.encode_text(noise), whole) < TOLERANCE


def test_half_precision_checkpoint_with_single_precision_batchnorm_loads(tmp_path):
    config = CONFIGS["clip-mini"]
    theirs = reference(config)
    theirs.load_state_dict(random_state(config))
    openai("model").convert_weights(theirs)
    saved = theirs.state_dict()
    assert (saved["visual.conv1.weight"].dtype, saved["visual.bn1.weight"].dtype) == (torch.float16, torch.float32)
    save_file({key: value.contiguous() for key, value in saved.items()}, tmp_path / "half.safetensors")
    ours = build_clip(read_state_dict(tmp_path / "half.safetensors"))
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    x, tokens = random_inputs(config, 2, 2)
    with torch.inference_mode():
        for mine, expected in zip(ours(x, tokens), theirs.float()(x, tokens), strict=True):
            assert distance(mine, expected) < TOLERANCE


def test_build_clip_gives_a_network_in_evaluation_mode_even_without_counts_of_batches():
    state = {k: v for k, v in random_state(CONFIGS["clip-mini"]).items() if not k.endswith("num_batches_tracked")}
    network = build_clip(state)
    assert not any(module.training for module in network.modules())
    assert not any(tensor.is_meta for tensor in network.state_dict().values())


def without(state, *keys):
    return {key: value for key, value in state.items() if key not in keys}


@pytest.fixture(scope="module")
def mini():
    return random_state(CONFIGS["clip-mini"])


BIAS = "visual.attnpool.c_proj.bias"


@pytest.mark.parametrize(
    ("gone", "added", "problems"),
    [
        ([BIAS], {}, [f"net.st: no tensor '{BIAS}'; expected one of shape (128,)"]),
        (
            [],
            {"visual.proj": torch.zeros(3)},
            ["net.st: tensor 'visual.proj' has no place in a CLIP with a ResNet image tower"],
        ),
        ([], {BIAS: torch.zeros(5)}, [f"net.st: tensor '{BIAS}' has shape (5,); expected (128,)"]),
        (
            ["visual.bn1.bias"],
            {"logit_scale": torch.zeros(1), "x": torch.zeros(2)},
            [
                "net.st: no tensor 'visual.bn1.bias'; expected one of shape (8,)",
                "net.st: tensor 'logit_scale' has shape (1,); expected ()",
                "net.st: tensor 'x' has no place in a CLIP with a ResNet image tower",
            ],
        ),
    ],
)
def test_tensors_that_do_not_fit_are_one_line_each(mini, gone, added, problems):
    with pytest.raises(InputError) as caught:
        build_clip({**without(mini, *gone), **added}, "net.st")
    assert caught.value.problems == problems


def test_block_with_a_number_left_out_is_named(mini):
    moved = {key.replace("visual.layer2.1.", "visual.layer2.5."): value for key, value in mini.items()}
    with pytest.raises(InputError) as caught:
        build_clip(moved)
    assert "no tensor 'visual.layer2.1.conv1.weight'" in caught.value.problems[0]


def test_long_list_of_problems_is_cut_and_counted(mini):
    gone = [key for key in mini if key.startswith("transformer.resblocks.1.")]
    with pytest.raises(InputError) as caught:
        build_clip({key: value for key, value in mini.items() if key not in gone})
    # Resblocks 0 and 2 are then taken for 0 and 1: all of 1 is missing and all of 2 is left over.
    assert len(caught.value.problems) == 9
    assert caught.value.problems[-1] == f"… and {2 * len(gone) - 8} more"


@pytest.mark.parametrize("key", ["visual.layer1.0.conv1.weight", "text_projection", "token_embedding.weight"])
def test_what_is_no_clip_is_refused_by_the_tensor_that_it_lacks(mini, key):
    with pytest.raises(InputError, match=f"no tensor '{key}' among {len(mini) - 1}; expected a CLIP with a ResNet"):
        build_clip(without(mini, key))


@pytest.mark.parametrize("shape", [(), (4,), (0, 0), (2, 3, 4), (1, 1)])
@pytest.mark.parametrize(
    "key",
    [
        "visual.layer1.0.conv1.weight",
        "visual.attnpool.positional_embedding",
        "ln_final.weight",
        "positional_embedding",
        "token_embedding.weight",
        "text_projection",
    ],
)
def test_tensors_that_tell_the_sizes_may_have_any_shape_and_are_refused(mini, key, shape):
    with pytest.raises(InputError):
        build_clip({**mini, key: torch.zeros(shape)})


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64])
def test_weights_that_are_no_real_numbers_are_refused(mini, dtype):
    with pytest.raises(InputError, match=r"tensor 'visual.bn1.bias' is of type .*; expected floats"):
        build_clip({**mini, "visual.bn1.bias": mini["visual.bn1.bias"].to(dtype)})


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_network_computes_in_single_precision_whatever_was_saved(mini, dtype):
    network = build_clip({**mini, "visual.conv1.weight": mini["visual.conv1.weight"].to(dtype)})
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_units_of_a_config_are_those_of_its_last_stage():
    config = CLIPConfig(8, 64, (1, 1, 1, 1), 4, 2, 64, 1, 1, 8, 600)
    assert on_meta(CLIP, config).visual.layer4[-1].bn3.num_features == config.units
