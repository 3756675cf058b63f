"""Small networks and pictures for tests of renders."""

from random import Random

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from Activation_Extraction import load_model
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.models.clip_mini.world.scenes import draw_scene
from Activation_Extraction.models.layers import LayerNames
from Activation_Extraction.models.registry import Model

SIDE = 16


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Small networks gain nothing from more, and lose much where other work runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def clip_mini():
    return load_model("clip-mini")


class Small(nn.Module):
    """Two convolutions with a BatchNorm and ReLUs, and a head that no render needs."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(8, 6, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.head = nn.Linear(6, 2)
        self.heads_run = 0

    def forward(self, x):
        y = self.relu2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        self.heads_run += 1
        return self.head(y.mean((2, 3)))


class ByValue(Small):
    """The same, with a step that depends on values, which cannot be traced symbolically."""

    def forward(self, x):
        if float(x.detach().mean()) < -1e9:
            return x
        return super().forward(x)


def model_of(module, size=SIDE):
    """A network as the registry would give it, with weights from a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    module.eval().requires_grad_(False)
    return Model("small", module, module, ImageInput(size, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)), LayerNames(module))


@pytest.fixture
def small():
    return model_of(Small())


@pytest.fixture
def by_value():
    return model_of(ByValue())


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Drawn pictures of three things, eight of each, in a folder for each."""
    folder = tmp_path_factory.mktemp("pictures")
    for thing in ("fire", "letters", "star"):
        (folder / thing).mkdir()
        for i in range(8):
            draw_scene(Random(f"{thing} {i}"), [thing]).render(96).save(folder / thing / f"{i}.png")
    return folder


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def picture_of(pixels, path):
    Image.fromarray(pixels).save(path)
    return path
