"""Guards networks made elsewhere: their preprocessing, their layers by name, and one line when something is missing."""

import enum
import json
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from Activation_Extraction.activation_extractor import extract_layer_activations
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.models.adapters import (
    from_module,
    from_open_clip,
    from_timm,
    from_torchvision,
    from_transformers,
)
from Activation_Extraction.models.processor_settings import preprocessing_of
from Activation_Extraction.models.surgery.suffix import Suffix
from Activation_Extraction.models.trace import trace

INPUT = ImageInput(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def noise(width, height, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.stem(x).mean((2, 3)))


@pytest.fixture
def plain():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Plain()


def outputs_by_hand(tower, x):
    """Every call of every layer, kept by hooks that are placed one by one, as `name#1`, `name#2` …"""
    kept, handles = {}, []

    def keep(name):
        def hook(module, inputs, output):
            call = 1 + sum(key.startswith(f"{name}#") for key in kept)
            kept[f"{name}#{call}"] = (output if isinstance(output, torch.Tensor) else output[0]).clone()

        return hook

    for name, module in tower.named_modules():
        if name:
            handles.append(module.register_forward_hook(keep(name)))
    with torch.no_grad():
        tower(x)
    for handle in handles:
        handle.remove()
    return kept


def check_every_layer(model, x):
    """Each listed layer, asked for by its name alone in a run of its own, equals what a hook by hand gives."""
    by_hand = outputs_by_hand(model.image_tower, x)
    listed = model.layers.listing(x)
    assert [layer.name if "#" in layer.name else f"{layer.name}#1" for layer in listed] == list(by_hand)
    for layer, expected in zip(listed, by_hand.values()):
        with torch.no_grad(), trace(model.image_tower, layer.name) as retained:
            retained.run(x)
        assert torch.equal(retained[layer.name], expected), layer.name
        assert layer.shape == tuple(expected.shape)


# Any module


def test_every_layer_of_a_plain_module_by_name(plain):
    check_every_layer(from_module(plain, INPUT, name="plain"), torch.randn(2, 3, 8, 8))


def test_module_is_made_ready_and_described(plain):
    model = from_module(plain, INPUT, name="plain", aliases={"last": "head"}, provenance={"weights": "seed 0"})
    assert model.name == "plain"
    assert model.image_tower is model.module is plain
    assert model.image_input is INPUT
    assert not plain.training
    assert not any(parameter.requires_grad for parameter in plain.parameters())
    assert model.layers.resolve("last") == "head"
    assert model.provenance["weights"] == "seed 0"
    assert model.provenance["source"].endswith(".Plain")


def test_hash_tells_one_set_of_values_from_another(plain):
    first = from_module(plain, INPUT, name="plain").provenance["state_sha256"]
    assert from_module(plain, INPUT, name="again").provenance["state_sha256"] == first
    plain.stem[1].running_mean[2] += 1
    assert from_module(plain, INPUT, name="plain").provenance["state_sha256"] != first
    with torch.device("meta"):
        assert "state_sha256" not in from_module(Plain(), INPUT, name="plain").provenance


def test_tower_of_a_larger_network_answers_to_both_paths(plain):
    whole = nn.ModuleDict({"eye": plain, "other": nn.Linear(2, 2)})
    model = from_module(whole, INPUT, name="whole", tower="eye")
    assert model.image_tower is plain
    assert model.layers.resolve("eye.stem.0") == model.layers.resolve("stem.0") == "stem.0"
    with pytest.raises(InputError, match="whole: no submodule 'ear'; expected one such as eye"):
        from_module(whole, INPUT, name="whole", tower="ear")


def test_images_are_extracted_as_by_hand(plain):
    model = from_module(plain, INPUT, name="plain")
    images = [noise(32, 32, seed) for seed in range(3)]
    activations = extract_layer_activations([np.array(image) for image in images], "stem.2", model)
    x = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 for image in images]).sub(0.5).div(0.5)
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(activations.values), plain.stem(x).mean((2, 3)))


def test_images_go_through_the_networks_own_preprocessing(plain):
    model = from_module(plain, normalised, name="plain")
    image = noise(50, 30)
    own, squashed = (extract_layer_activations([image], "head", model, preprocessing=p) for p in (None, "published"))
    with torch.no_grad():
        np.testing.assert_allclose(own.values, plain(normalised(image)[None]), atol=1e-6)
        mean, std = torch.tensor((0.4, 0.5, 0.6))[:, None, None], torch.tensor((0.2, 0.25, 0.3))[:, None, None]
        pixels = torch.from_numpy(np.array(image.resize((24, 24), Image.Resampling.LANCZOS))).permute(2, 0, 1) / 255
        np.testing.assert_allclose(squashed.values, plain(((pixels - mean) / std)[None]), atol=1e-5)


def test_network_may_say_which_axis_holds_its_units():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.turn = nn.Identity()

        def forward(self, x):
            return self.turn(x.permute(0, 2, 3, 1))

    model = from_module(Last(), INPUT, name="last", axis=lambda name, shape: 3)
    values = extract_layer_activations([np.full((40, 40, 3), (0, 255, 255), np.uint8)], "turn", model)
    assert values.values.tolist() == [[-1, 1, 1]]


# Preprocessing functions


def normalised(image, size=24, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)):
    x = torch.from_numpy(np.array(image.resize((size, size)))).permute(2, 0, 1) / 255
    return (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def test_size_mean_and_std_of_a_function_are_found(plain):
    found = from_module(plain, normalised, name="plain").image_input
    assert (found.height, found.width) == (24, 24)
    assert found.mean == pytest.approx((0.4, 0.5, 0.6), abs=1e-6)
    assert found.std == pytest.approx((0.2, 0.25, 0.3), abs=1e-6)
    assert found.transform is normalised


def test_function_on_a_scale_of_255_is_found(plain):
    found = from_module(plain, lambda image: normalised(image) * 0.2 * 255, name="plain").image_input
    assert found.std[0] == pytest.approx(1 / 255, abs=1e-8)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda image: np.array(image), "gives ndarray; expected a tensor 3 × H × W of floats"),
        (lambda image: normalised(image)[None], r"gives \(1, 3, 24, 24\) of torch.float32"),
        (lambda image: normalised(image).permute(1, 2, 0), r"gives \(24, 24, 3\) of torch.float32"),
        (lambda image: torch.zeros(3, 4, 4, dtype=torch.uint8), r"gives \(3, 4, 4\) of torch.uint8"),
        (lambda image: torch.zeros(3, image.height, 8), r"gives \(3, 1024, 8\) and \(3, 900, 8\); expected one size"),
        (lambda image: normalised(image).flip(0), "does not scale red, green and blue separately"),
        (lambda image: normalised(image.convert("L").convert("RGB")), "does not scale red"),
        (lambda image: normalised(image) ** 2, "does not scale red"),
        (lambda image: -normalised(image), "does not scale red"),
        (lambda image: torch.zeros(3, 4, 4), "does not scale red"),
        (lambda image: normalised(image) * torch.linspace(0, 1, 24), "does not scale red"),
    ],
)
def test_function_that_cannot_be_described_is_refused(plain, function, message):
    with pytest.raises(InputError, match=f"^plain: preprocessing.*{message}"):
        from_module(plain, function, name="plain")


# Image processors of transformers


PROCESSORS = [
    ("ViTImageProcessorPil", {}),
    ("ViTImageProcessorPil", {"size": {"height": 96, "width": 64}, "resample": 3}),
    ("ViTImageProcessorPil", {"do_rescale": False, "do_normalize": False}),
    ("CLIPImageProcessorPil", {}),
    ("CLIPImageProcessorPil", {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}}),
    ("CLIPImageProcessorPil", {"size": {"shortest_edge": 40}, "crop_size": {"height": 57, "width": 64}}),
    ("ConvNextImageProcessorPil", {}),
    ("ConvNextImageProcessorPil", {"size": {"shortest_edge": 224}}),
    ("BitImageProcessorPil", {"size": {"shortest_edge": 256}, "image_mean": [0.1, 0.2, 0.3]}),
]


@pytest.mark.parametrize(("kind", "changes"), PROCESSORS)
@pytest.mark.parametrize(
    "size", [(301, 407), (64, 100), *(pytest.param(size, marks=pytest.mark.slow) for size in [(500, 233), (225, 224)])]
)
def test_settings_do_what_the_processor_itself_does(kind, changes, size):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    processor = getattr(transformers, kind, None)
    if processor is None:
        pytest.skip(f"this transformers has no {kind}, which works without torchvision")
    processor = processor(**changes)
    image = noise(*size)
    expected = processor(image, return_tensors="pt")["pixel_values"][0].float()
    found = preprocessing_of(processor.to_dict(), "model")(image)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_sizes_of_older_files_are_understood():
    colours = {"image_mean": [0, 0, 0], "image_std": 1.0}
    squashed = preprocessing_of({"size": 32, **colours}, "model")(noise(50, 40))
    cropped = preprocessing_of({"size": 32, "do_center_crop": True, "crop_size": 24, **colours}, "model")(noise(50, 40))
    assert (squashed.shape, cropped.shape) == ((3, 32, 32), (3, 24, 24))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "model: image processor with size 'None'; expected a height and a width in pixels"),
        ({"size": {"longest_edge": 9}}, "with size .*longest_edge.*; expected a height and a width"),
        ({"size": {"shortest_edge": 9, "longest_edge": 12}}, "of size .*; expected shortest_edge alone"),
        ({"size": 32}, "with image_mean 'None'; expected three numbers"),
        ({"size": 32, "image_mean": [0.5], "image_std": 1}, "with image_mean .*; expected three numbers"),
        ({"size": 32, "resample": 17}, "with resample '17'; expected 0 to 5"),
        ({"size": 32, "do_pad": True, "do_flip": True}, "with do_pad, do_flip; expected resizing, cropping"),
        ({"do_resize": False}, "neither resizes nor crops"),
        ({"size": 32, "do_center_crop": True}, "with size|with crop_size 'None'"),
    ],
)
def test_settings_that_are_wrong_or_ask_for_more_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        preprocessing_of(settings, "model")


# Models of transformers, with random weights


SETTINGS = {"size": {"height": 32, "width": 32}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
KINDS = {
    "ViT": ({**TOWER, "image_size": 32, "patch_size": 8}, "Model"),
    "Dinov2": ({"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}, "Model"),
    "CLIPVision": ({**TOWER, "image_size": 32, "patch_size": 8}, "Model"),
    "ResNet": ({"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2], "layer_type": "bottleneck"}, "Model"),
    "ConvNext": ({"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2}, "ForImageClassification"),
}  # fmt: skip


def made(kind):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    sizes, head = KINDS[kind]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return getattr(transformers, f"{kind}{head}")(getattr(transformers, f"{kind}Config")(**sizes))


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_of_a_transformers_model_by_name(kind):
    model = from_transformers(made(kind), SETTINGS)
    x = model.image_input.transform(noise(60, 40))[None].repeat(2, 1, 1, 1)
    assert x.shape == (2, 3, 32, 32)
    check_every_layer(model, x)
    assert len(model.layers.names) > 20


@pytest.mark.parametrize("kind", ["ResNet", "ConvNext"])
def test_units_lie_on_the_axis_that_does_not_grow_with_the_image(kind):
    layers = from_transformers(made(kind), SETTINGS).layers
    small, large = (layers.listing(torch.zeros(1, 3, side, side, device="meta")) for side in (32, 64))
    maps = 0
    for a, b in zip(small, large):
        if len(a.shape) == 4:
            fixed = [size for size, other in zip(a.shape[1:], b.shape[1:]) if size == other]
            maps += len(fixed) == 1
            assert a.units in fixed, a.name
    assert maps > 20


@pytest.mark.parametrize(
    "layer", ["embeddings", "layers.0", "layers.0.attention.q_proj", "layers.1.mlp.fc1", "layers.1", "layernorm"]
)
def test_suffix_of_a_vision_transformer_gives_what_the_whole_network_gives(layer):
    network = made("ViT").eval()
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    suffix = Suffix(network, layer)
    with torch.no_grad():
        a, output = suffix.record(x)
        variants = torch.cat([a, 2 * a, a.flip(1)])
        with trace(network, edit={layer: lambda _: variants}):
            wanted = network(x.repeat(3, 1, 1, 1))[0]
        found = suffix(variants)[0]
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(found[:1], output[0])
    assert not torch.allclose(found[0], found[2])
    assert suffix.full_run_reason is None


def test_vision_tower_of_a_model_with_two_towers():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.CLIPConfig(
        vision_config={**TOWER, "image_size": 32, "patch_size": 8}, text_config={**TOWER, "vocab_size": 50}
    )
    model = from_transformers(transformers.CLIPModel(config), SETTINGS, name="two-towers")
    assert model.image_tower is model.module.vision_model
    assert model.layers.resolve("vision_model.encoder.layers.1") == "encoder.layers.1"
    check_every_layer(model, torch.zeros(1, 3, 32, 32))


def test_model_and_settings_are_read_from_a_folder(tmp_path):
    module = made("ResNet")
    module.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(SETTINGS))
    model = from_transformers(tmp_path)
    assert model.provenance["weights"] == str(tmp_path)
    assert model.image_input.height == 32
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.image_tower(x).pooler_output, module.eval()(x).pooler_output)


def test_pickled_weights_of_a_folder_are_not_read(tmp_path):
    module = made("ResNet")
    module.config.save_pretrained(tmp_path)
    torch.save(module.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="transformers cannot read it"):
        from_transformers(tmp_path, SETTINGS)


def test_folder_without_settings_and_model_without_processor_say_so(tmp_path):
    module = made("ResNet")
    module.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="transformers cannot read it"):
        from_transformers(tmp_path)
    with pytest.raises(InputError, match="ResNetModel: no image processor given"):
        from_transformers(module)


def test_processor_object_serves_as_its_settings():
    processor = types.SimpleNamespace(to_dict=lambda: SETTINGS)
    assert from_transformers(made("ResNet"), processor).image_input.height == 32


# timm, torchvision and open_clip: stand-ins with their public functions


class Resized:
    """What the libraries' transforms come to: resize, scale to 0–1, normalise."""

    def __init__(self, size, mean, std):
        self.arguments = size, mean, std

    def __call__(self, image):
        return normalised(image, *self.arguments)


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def stand_in_for_timm():
    timm, data = types.ModuleType("timm"), types.ModuleType("timm.data")
    timm.__version__ = "1.0.20"
    timm.data = data

    def create_model(model_name, pretrained=False):
        if model_name not in ("tiny", "swin_tiny"):
            raise RuntimeError(f"Unknown model ({model_name})")
        module = Plain()
        module.pretrained_cfg = {"input_size": (3, 24, 24), "mean": MEAN, "std": STD} | {"pretrained": pretrained}
        return module

    def resolve_model_data_config(model):
        cfg = {key: model.pretrained_cfg[key] for key in ("input_size", "mean", "std")}
        return {**cfg, "interpolation": "bicubic", "crop_pct": 0.875, "crop_mode": "center"}

    def create_transform(input_size, is_training, interpolation, mean, std, crop_pct, crop_mode):
        assert is_training is False
        return Resized(input_size[-1], mean, std)

    timm.create_model = create_model
    data.resolve_model_data_config, data.create_transform = resolve_model_data_config, create_transform
    return {"timm": timm, "timm.data": data}


def stand_in_for_torchvision():
    torchvision, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    torchvision.__version__ = "0.22.0"
    torchvision.models = models

    class TinyWeights(enum.Enum):
        IMAGENET1K_V1 = 20
        IMAGENET1K_V2 = 24
        DEFAULT = IMAGENET1K_V2

        def transforms(self):
            return Resized(self.value, MEAN, STD)

    def get_model_weights(name):
        if name not in ("tiny", "swin_tiny"):
            raise ValueError(f"Unknown model {name}")
        return TinyWeights

    def get_model(name, *, weights=None):
        assert weights is None or isinstance(weights, TinyWeights)
        module = Plain()
        if weights is None:
            nn.init.zeros_(module.head.weight)
        return module

    models.get_model_weights, models.get_model = get_model_weights, get_model
    return {"torchvision": torchvision, "torchvision.models": models}


def stand_in_for_open_clip():
    open_clip = types.ModuleType("open_clip")
    open_clip.__version__ = "3.2.0"

    def create_model_and_transforms(model_name, pretrained=None):
        if model_name != "ViT-tiny":
            raise RuntimeError(f"Model config for {model_name} not found.")
        module = nn.Module()
        module.visual, module.logit_scale = Plain(), nn.Parameter(torch.zeros(()))
        return module, Resized(10, MEAN, STD), Resized(24, MEAN, STD)

    open_clip.create_model_and_transforms = create_model_and_transforms
    return {"open_clip": open_clip}


@pytest.fixture
def stand_ins(monkeypatch):
    for modules in (stand_in_for_timm(), stand_in_for_torchvision(), stand_in_for_open_clip()):
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)


ADAPTERS = {
    "timm": (from_timm, "tiny", {"library": "timm 1.0.20", "weights": "tiny"}),
    "torchvision": (
        from_torchvision,
        "tiny",
        {"library": "torchvision 0.22.0", "weights": "TinyWeights.IMAGENET1K_V2"},
    ),
    "open_clip": (from_open_clip, "ViT-tiny", {"library": "open_clip 3.2.0", "weights": "random"}),
}


@pytest.mark.parametrize("library", ADAPTERS)
def test_model_of_a_library_comes_with_its_preprocessing_and_every_layer(stand_ins, library):
    adapter, name, provenance = ADAPTERS[library]
    model = adapter(name)
    assert (model.image_input.height, model.image_input.width) == (24, 24)
    assert model.image_input.mean == pytest.approx(MEAN, abs=1e-6)
    assert provenance.items() <= model.provenance.items()
    check_every_layer(model, model.image_input.transform(noise(50, 40))[None])


def test_weights_of_a_library_are_chosen(stand_ins):
    assert from_timm("tiny", pretrained=False).provenance["weights"] == "random"
    first = from_torchvision("tiny", weights="IMAGENET1K_V1")
    assert (first.image_input.height, first.provenance["weights"]) == (20, "TinyWeights.IMAGENET1K_V1")
    assert not from_torchvision("tiny", weights=None).module.head.weight.any()
    assert from_open_clip("ViT-tiny", pretrained="openai").provenance["weights"] == "openai"
    with pytest.raises(InputError, match="torchvision tiny: no weights 'V3'; expected IMAGENET1K_V1, IMAGENET1K_V2"):
        from_torchvision("tiny", weights="V3")


@pytest.mark.parametrize("adapter", [from_timm, from_torchvision])
def test_swin_keeps_its_units_last(stand_ins, adapter):
    layers = adapter("swin_tiny").layers
    assert layers.axes("stem", {1: (1, 7, 7, 96), 2: (2, 7, 7, 96)}) == (0, 3)
    assert layers.axes("head", {1: (1, 1000), 2: (2, 1000)}) == (0, 1)


@pytest.mark.parametrize("library", ADAPTERS)
def test_unknown_model_of_a_library_is_one_line(stand_ins, library):
    with pytest.raises(InputError, match=f"^{library}: cannot make 'no-such' "):
        ADAPTERS[library][0]("no-such")


@pytest.mark.parametrize(
    ("adapter", "library", "package"),
    [
        (from_timm, "timm", "timm"),
        (from_torchvision, "torchvision", "torchvision"),
        (from_open_clip, "open_clip", "open_clip_torch"),
        (from_transformers, "transformers", "transformers"),
    ],
)
def test_missing_library_is_one_line(monkeypatch, adapter, library, package):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError) as caught:
        adapter("some-model")
    assert str(caught.value) == f"{library} is not installed; expected: pip install {package}"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("raise RuntimeError('operator torchvision::nms does not exist')", "operator torchvision::nms does not exist"),
        ("import surely_missing", "No module named 'surely_missing'"),
        ("raise OSError('libcudart.so: cannot open\\nmore')", "libcudart.so: cannot open"),
    ],
)
def test_library_that_fails_to_import_is_one_line(monkeypatch, tmp_path, statement, reason):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(statement)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError) as caught:
        from_torchvision("resnet50")
    assert str(caught.value) == f"torchvision cannot be imported ({reason})"
