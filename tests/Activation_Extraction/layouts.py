"""Networks whose layer gives its output in every order of axes; what its units do is known from the map before it.

Images of 16 × 16 become maps of 4 tokens and 6 channels.
"""

import torch
from torch import nn

from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.models.adapters import from_module

CHANNELS, TOKENS, SIDE = 6, 4, 16
INPUT = ImageInput(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

IN_ORDER = {
    "image channel y x": (None, (0, 1, 2, 3)),
    "image token channel": (None, (0, 2, 1)),
    "token image channel": (None, (2, 0, 1)),
    "image channel": (None, (0, 1)),
    "channel image": (None, (1, 0)),
    "image y x channel": (3, (0, 2, 3, 1)),
    "y x image channel": (3, (2, 3, 0, 1)),
    "channel image y x": (0, (1, 0, 2, 3)),
    "y image x channel": (3, (2, 0, 3, 1)),
    "channel token image": (0, (1, 2, 0)),
    "image channel token": (1, (0, 1, 2)),
}
"""Layout → the axis of units that the model must name (None: none), and the order in which (image, channel, …) comes."""


class Arrange(nn.Module):
    """Puts axes in an order, as part of a tuple if asked to."""

    def __init__(self, order, in_tuple=False):
        super().__init__()
        self.order, self.in_tuple = order, in_tuple

    def forward(self, a):
        arranged = a.permute(self.order).contiguous()
        return (arranged, None) if self.in_tuple else arranged


class Arranged(nn.Module):
    """A network whose submodule `layer` returns (image, channel, y, x) in a layout."""

    def __init__(self, layout, in_tuple=False):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.patch = nn.Conv2d(3, CHANNELS, SIDE // 2, SIDE // 2)
            self.head = nn.Linear(CHANNELS, 5)
        order = IN_ORDER[layout][1]
        self.layer = Arrange(order, in_tuple)
        self.axes, self.back = len(order), torch.tensor(order).argsort().tolist()

    def map(self, x):
        """(image, channel, y, x), its positions flat, or averaged, where the layout has fewer axes."""
        a = self.patch(x).tanh()
        return {2: a.mean((2, 3)), 3: a.flatten(2), 4: a}[self.axes]

    def rest(self, a):
        """What follows the map."""
        return self.head(a.flatten(2).exp().mean(2) if a.ndim > 2 else a.exp())

    def forward(self, x):
        output = self.layer(self.map(x))
        arranged = output[0] if isinstance(output, tuple) else output
        return self.rest(arranged.permute(self.back))


class Block(nn.Module):
    """A residual block as OpenAI's ViT writes it: attention over (token, image, channel)."""

    def __init__(self):
        super().__init__()
        self.attn, self.ln = nn.MultiheadAttention(CHANNELS, 2), nn.LayerNorm(CHANNELS)
        self.mlp = nn.Sequential(nn.Linear(CHANNELS, 8), nn.GELU(), nn.Linear(8, CHANNELS))

    def forward(self, x_TND):
        h_TND = self.ln(x_TND)
        x_TND = x_TND + self.attn(h_TND, h_TND, h_TND, need_weights=False)[0]
        return x_TND + self.mlp(x_TND)


class TokenFirstViT(nn.Module):
    """A ViT that runs (token, image, channel) inside, with a class token."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.patch = nn.Conv2d(3, CHANNELS, SIDE // 2, SIDE // 2)
            self.token = nn.Parameter(torch.randn(CHANNELS))
            self.blocks = nn.Sequential(Block(), Block())
            self.head = nn.Linear(CHANNELS, 5)

    def forward(self, x):
        tokens_NTD = self.patch(x).flatten(2).permute(0, 2, 1)
        tokens_NTD = torch.cat([self.token.expand(len(x), 1, CHANNELS), tokens_NTD], 1)
        return self.head(self.blocks(tokens_NTD.permute(1, 0, 2)).permute(1, 0, 2)[:, 0])


def arranged(layout, in_tuple=False):
    """The model of a layout."""
    units = IN_ORDER[layout][0]
    axis = None if units is None else lambda name, shape: units if name == "layer" else 1
    return from_module(Arranged(layout, in_tuple), INPUT, name=layout, axis=axis)


def images(count, seed=0):
    """Pictures, (N, SIDE, SIDE, 3)."""
    return torch.randint(0, 256, (count, SIDE, SIDE, 3), generator=torch.Generator().manual_seed(seed)).byte().numpy()
