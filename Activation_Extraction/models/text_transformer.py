"""CLIP's text tower: a causal transformer over byte-pair tokens. Parameter names are those of OpenAI's checkpoints.

Source: Radford et al. 2021, 2.4. Shapes: N texts, L tokens, W width, D width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Transformer(nn.Module):
    """`layers` residual attention blocks, `(N, L, width)` to the same; a token attends to itself and earlier ones."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.width = width
        self.layers = layers
        self.resblocks = nn.Sequential(*(ResidualAttentionBlock(width, heads) for _ in range(layers)))

    def forward(self, x_NLW: Tensor) -> Tensor:
        output: Tensor = self.resblocks(x_NLW)
        return output


class ResidualAttentionBlock(nn.Module):
    """Attention, then a two-layer perceptron with QuickGELU, each a residual of its normalised input."""

    def __init__(self, d_model: int, n_head: int) -> None:
        super().__init__()
        self.attn = CausalAttention(d_model, n_head)
        self.ln_1 = nn.LayerNorm(d_model)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(d_model, 4 * d_model))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * d_model, d_model))
        self.ln_2 = nn.LayerNorm(d_model)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        output: Tensor = x + self.mlp(self.ln_2(x))
        return output


class CausalAttention(nn.Module):
    """Multi-head self-attention in which position l attends to positions 0 to l."""

    def __init__(self, d_model: int, n_head: int) -> None:
        super().__init__()
        self.num_heads = n_head
        self.in_proj_weight = nn.Parameter(torch.empty(3 * d_model, d_model))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * d_model))
        self.out_proj = nn.Linear(d_model, d_model)
        nn.init.trunc_normal_(self.in_proj_weight, std=d_model**-0.5)

    def forward(self, x_NLW: Tensor) -> Tensor:
        N, L, W = x_NLW.shape
        qkv_NLW = F.linear(x_NLW, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=2)
        q, k, v = (part.reshape(N, L, self.num_heads, W // self.num_heads).transpose(1, 2) for part in qkv_NLW)
        attended_NHLD = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        output: Tensor = self.out_proj(attended_NHLD.transpose(1, 2).flatten(2))
        return output


class QuickGELU(nn.Module):
    """x · sigmoid(1.702 x), CLIP's approximation of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)
