"""What tests of interventions share: a small network whose forward pass can be edited by hand, and its model."""

import torch
from torch import nn

from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.models.adapters import from_module

UNITS, SIDE = 6, 12
LAYER = "first"


class Small(nn.Module):
    """Two convolutions, a pool that mixes units, an embedding of five numbers; float64, random weights."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, UNITS, 3, stride=2), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(UNITS, 7, 3), nn.BatchNorm2d(7), nn.Tanh())
        self.last = nn.Linear(7, 5)
        self.double()

    def forward(self, x, edit=None):
        a = self.first(x.double())
        a = a if edit is None else edit(a.clone())
        return self.last(self.second(a).mean((2, 3)))


def small_network(seed=0):
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = Small().eval()
        for parameter in network.parameters():
            parameter.data.mul_(2)
        network.second[1].running_mean.normal_()
        network.first[0].bias.data.fill_(0.8)  # so that every unit is active somewhere
    return network


def small_model(network=None):
    return from_module(network or small_network(), ImageInput(SIDE), name="small")


def pictures(count, side=SIDE, seed=1):
    """Random pictures as a network takes them, `(N, 3, side, side)`."""
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))
