"""CLIP's image tower: a ResNet with a three-convolution stem, average-pool strides and an attention pool.

Source: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision", 2.4.
Parameter names are those of OpenAI's checkpoints.

Shapes: N images, C channels, H and W space, T tokens (1 + H·W, token 0 is the spatial mean), E embedding, D of a head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EXPANSION = 4
"""Output channels of a block for each of its inner channels."""


class ModifiedResNet(nn.Module):
    """From images `(N, 3, S, S)` to embeddings `(N, output_dim)`.

    Args:
        layers: number of blocks in each of the four stages, such as (4, 6, 10, 6) for RN50x4.
        output_dim: size of the embedding.
        heads: of the attention pool; must divide `32 · width`.
        input_resolution: side S of the images in pixels, a multiple of 32; the attention pool fixes it.
        width: channels after the stem; the last stage has `32 · width` units.
    """

    def __init__(
        self, layers: Sequence[int], output_dim: int, heads: int, input_resolution: int = 224, width: int = 64
    ) -> None:
        super().__init__()
        self.output_dim = output_dim
        self.input_resolution = input_resolution
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.relu3 = nn.ReLU()
        self.avgpool = nn.AvgPool2d(2)
        self.layer1 = _stage(width, width, layers[0], stride=1)
        self.layer2 = _stage(EXPANSION * width, 2 * width, layers[1], stride=2)
        self.layer3 = _stage(2 * EXPANSION * width, 4 * width, layers[2], stride=2)
        self.layer4 = _stage(4 * EXPANSION * width, 8 * width, layers[3], stride=2)
        self.attnpool = AttentionPool2d(input_resolution // 32, 8 * EXPANSION * width, heads, output_dim)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x = x_NCHW.to(self.conv1.weight.dtype)
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        x = self.relu3(self.bn3(self.conv3(x)))
        x = self.avgpool(x)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        embedding_NE: Tensor = self.attnpool(x)
        return embedding_NE


def _stage(channels: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(channels, planes, stride)
    return nn.Sequential(first, *(Bottleneck(EXPANSION * planes, planes) for _ in range(1, blocks)))


class Bottleneck(nn.Module):
    """A residual block: 1×1, 3×3 and 1×1 convolutions; a stride is an average pool before a convolution of stride 1.

    Every step is a module with a name, including the residual sum (`add`).
    """

    def __init__(self, channels: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        outputs = EXPANSION * planes
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu2 = nn.ReLU()
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or channels != outputs:
            # The pool is "-1", as in checkpoints "0" is the convolution and "1" its BatchNorm.
            self.downsample = nn.Sequential()
            self.downsample.add_module("-1", nn.AvgPool2d(stride) if stride > 1 else nn.Identity())
            self.downsample.add_module("0", nn.Conv2d(channels, outputs, 1, bias=False))
            self.downsample.add_module("1", nn.BatchNorm2d(outputs))
        self.add = Sum()
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(self.avgpool(x)))
        output: Tensor = self.relu3(self.add(x, identity))
        return output


class Sum(nn.Module):
    """The sum of two tensors."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class AttentionPool2d(nn.Module):
    """Attention of the spatial mean over all positions, `(N, C, H, W)` to `(N, output_dim)`.

    Args:
        spacial_dim: side H = W of the map.
        embed_dim: channels C.
        num_heads: must divide C.
        output_dim: size of the embedding.
    """

    def __init__(self, spacial_dim: int, embed_dim: int, num_heads: int, output_dim: int) -> None:
        super().__init__()
        # On the meta device trunc_normal_ does nothing, but normal_ imports torch's compiler, which takes 1.5 s.
        positions_TC = nn.init.trunc_normal_(torch.empty(spacial_dim**2 + 1, embed_dim), std=embed_dim**-0.5)
        self.positional_embedding = nn.Parameter(positions_TC)
        self.k_proj = nn.Linear(embed_dim, embed_dim)
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.v_proj = nn.Linear(embed_dim, embed_dim)
        self.c_proj = nn.Linear(embed_dim, output_dim)
        self.num_heads = num_heads

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x_NTC = x_NCHW.flatten(2).transpose(1, 2)
        x_NTC = torch.cat([x_NTC.mean(dim=1, keepdim=True), x_NTC], dim=1) + self.positional_embedding.to(x_NTC.dtype)
        q_NH1D = self._heads(self.q_proj(x_NTC[:, :1]))
        k_NHTD, v_NHTD = self._heads(self.k_proj(x_NTC)), self._heads(self.v_proj(x_NTC))
        pooled_NH1D = F.scaled_dot_product_attention(q_NH1D, k_NHTD, v_NHTD)
        embedding_NE: Tensor = self.c_proj(pooled_NH1D.transpose(1, 2).flatten(1))
        return embedding_NE

    def _heads(self, x_NTC: Tensor) -> Tensor:
        N, T, C = x_NTC.shape
        return x_NTC.reshape(N, T, self.num_heads, C // self.num_heads).transpose(1, 2)
