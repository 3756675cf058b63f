"""CLIP: an image tower and a text tower with one embedding space; the five ResNet sizes and clip-mini.

Source: Radford et al. 2021. Parameter names are those of OpenAI's checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from Activation_Extraction.base.errors import InputError, listed_up_to, shown
from Activation_Extraction.models.modified_resnet import ModifiedResNet
from Activation_Extraction.models.text_transformer import Transformer


@dataclass(frozen=True)
class CLIPConfig:
    """Sizes of a CLIP with a ModifiedResNet; lengths in tokens, resolution in pixels."""

    embed_dim: int
    image_resolution: int
    vision_layers: tuple[int, ...]
    vision_width: int
    vision_heads: int
    transformer_width: int
    transformer_heads: int
    transformer_layers: int = 12
    context_length: int = 77
    vocab_size: int = 49_408

    @property
    def units(self) -> int:
        """Units of the last stage, `layer4`."""
        return 32 * self.vision_width


CONFIGS: Mapping[str, CLIPConfig] = {
    "clip-mini": CLIPConfig(
        128, 96, (1, 2, 2, 1), 16, 8, 128, 2, transformer_layers=3, context_length=32, vocab_size=834
    ),
    "clip-rn50": CLIPConfig(1024, 224, (3, 4, 6, 3), 64, 32, 512, 8),
    "clip-rn101": CLIPConfig(512, 224, (3, 4, 23, 3), 64, 32, 512, 8),
    "clip-rn50x4": CLIPConfig(640, 288, (4, 6, 10, 6), 80, 40, 640, 10),
    "clip-rn50x16": CLIPConfig(768, 384, (6, 8, 18, 8), 96, 48, 768, 12),
    "clip-rn50x64": CLIPConfig(1024, 448, (3, 15, 36, 10), 128, 64, 1024, 16),
}


class CLIP(nn.Module):
    """From images and texts to embeddings whose cosine is their similarity."""

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.config = config
        self.context_length = config.context_length
        width = config.transformer_width
        self.visual = ModifiedResNet(
            config.vision_layers, config.embed_dim, config.vision_heads, config.image_resolution, config.vision_width
        )
        self.transformer = Transformer(width, config.transformer_layers, config.transformer_heads)
        # trunc_normal_ instead of normal_: see AttentionPool2d.
        tokens_VW = nn.init.trunc_normal_(torch.empty(config.vocab_size, width), std=0.02)
        self.token_embedding = nn.Embedding.from_pretrained(tokens_VW, freeze=False)  # type: ignore[no-untyped-call]
        self.positional_embedding = nn.Parameter(torch.empty(config.context_length, width))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, config.embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(log(1 / 0.07)))
        nn.init.trunc_normal_(self.positional_embedding, std=0.01)
        nn.init.trunc_normal_(self.text_projection, std=width**-0.5)

    def reset_parameters(self) -> None:
        """Initialize as CLIP is trained from: what differs from the initial values of PyTorch's own modules.

        Source: the training code of Radford et al. 2021, 2.4 and 2.5, also `initialize_parameters` of OpenAI's `model.py`.
        """
        pool, width = self.visual.attnpool, self.config.transformer_width
        channels = pool.c_proj.in_features
        drawn: list[tuple[Tensor, float]] = [
            (self.token_embedding.weight, 0.02), (self.positional_embedding, 0.01), (self.text_projection, width**-0.5),
            (pool.positional_embedding, channels**-0.5),
            *((part.weight, channels**-0.5) for part in (pool.q_proj, pool.k_proj, pool.v_proj, pool.c_proj)),
        ]  # fmt: skip
        residual = width**-0.5 * (2 * self.config.transformer_layers) ** -0.5
        block: Any
        for block in self.transformer.resblocks:
            drawn += [(block.attn.in_proj_weight, width**-0.5), (block.attn.out_proj.weight, residual)]
            drawn += [(block.mlp.c_fc.weight, (2 * width) ** -0.5), (block.mlp.c_proj.weight, residual)]
            nn.init.zeros_(block.attn.in_proj_bias)
            nn.init.zeros_(block.attn.out_proj.bias)
        for tensor, std in drawn:
            nn.init.normal_(tensor, std=std)
        for stage in (self.visual.layer1, self.visual.layer2, self.visual.layer3, self.visual.layer4):
            for block in stage:
                nn.init.zeros_(block.bn3.weight)
        nn.init.constant_(self.logit_scale, log(1 / 0.07))

    def encode_image(self, images_NCHW: Tensor) -> Tensor:
        """Embeddings `(N, embed_dim)` of preprocessed images, not normalised."""
        embedding: Tensor = self.visual(images_NCHW)
        return embedding

    def encode_text(self, tokens_NL: Tensor) -> Tensor:
        """Embeddings `(N, embed_dim)` of tokenised texts, not normalised.

        Read at the end-of-text token, the highest number in the vocabulary. Later tokens have no effect, so texts may
        be cut after the longest of the batch.
        """
        x_NLW = self.token_embedding(tokens_NL) + self.positional_embedding[: tokens_NL.shape[1]]
        x_NLW = self.ln_final(self.transformer(x_NLW))
        ends = tokens_NL.argmax(dim=1)
        embedding: Tensor = x_NLW[torch.arange(len(ends), device=ends.device), ends] @ self.text_projection
        return embedding

    def forward(self, images_NCHW: Tensor, tokens_ML: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled cosines, images × texts `(N, M)` and their transpose."""
        images = nn.functional.normalize(self.encode_image(images_NCHW), dim=1)
        texts = nn.functional.normalize(self.encode_text(tokens_ML), dim=1)
        logits_NM = self.logit_scale.exp() * images @ texts.T
        return logits_NM, logits_NM.T


_SIZED_BY = {
    "visual.layer1.0.conv1.weight": 4,
    "visual.attnpool.positional_embedding": 2,
    "ln_final.weight": 1,
    "positional_embedding": 2,
    "token_embedding.weight": 2,
    "text_projection": 2,
}
"""Tensors whose shapes give the sizes of a CLIP → their number of axes."""


def config_of(state: Mapping[str, Tensor], source: str = "weights") -> CLIPConfig:
    """The sizes of a CLIP from the shapes in its state dict.

    Raises:
        InputError: the tensors are not those of a CLIP with a ResNet image tower.
    """
    if missing := [key for key in _SIZED_BY if key not in state]:
        raise InputError(
            f"{source}: no tensor '{missing[0]}' among {len(state)}; expected a CLIP with a ResNet image tower"
        )
    shapes = {key: tuple(state[key].shape) for key in _SIZED_BY}
    if wrong := [key for key, shape in shapes.items() if len(shape) != _SIZED_BY[key] or 0 in shape]:
        raise InputError(
            f"{source}: tensor '{key}' has shape {shapes[key]}; expected {_SIZED_BY[key]} lengths of at least 1"
            for key in wrong
        )
    tokens, channels = shapes["visual.attnpool.positional_embedding"]
    (text_width,) = shapes["ln_final.weight"]
    if text_width > 64 and text_width % (text_width // 64):
        raise InputError(
            f"{source}: a text tower {text_width} wide; expected a multiple of its {text_width // 64} heads"
        )

    def blocks(prefix: str) -> int:
        return len({key.split(".")[2] for key in state if key.startswith(prefix)})

    return CLIPConfig(
        embed_dim=shapes["text_projection"][1],
        image_resolution=32 * round((tokens - 1) ** 0.5),
        vision_layers=tuple(blocks(f"visual.layer{stage}.") for stage in (1, 2, 3, 4)),
        vision_width=shapes["visual.layer1.0.conv1.weight"][0],
        vision_heads=max(channels // 64, 1),
        transformer_width=text_width,
        transformer_heads=max(text_width // 64, 1),
        transformer_layers=blocks("transformer.resblocks."),
        context_length=shapes["positional_embedding"][0],
        vocab_size=shapes["token_embedding.weight"][0],
    )


def build_clip(state: Mapping[str, Tensor], source: str = "weights") -> CLIP:
    """The CLIP of a state dict, with weights as float32, in evaluation mode.

    Raises:
        InputError: tensors that are missing, unknown, of another shape or not floats, by name.
    """
    with torch.device("meta"):
        model = CLIP(config_of(state, source))
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    problems = [
        f"{source}: no tensor {shown(key)}; expected one of shape {shape}"
        for key, shape in expected.items()
        if key not in state and not key.endswith("num_batches_tracked")
    ]
    problems += [
        f"{source}: tensor {shown(key)} has shape {tuple(value.shape)}; expected {expected[key]}"
        if key in expected
        else f"{source}: tensor {shown(key)} has no place in a CLIP with a ResNet image tower"
        for key, value in state.items()
        if tuple(value.shape) != expected.get(key)
    ]
    problems += [
        f"{source}: tensor {shown(key)} is of type {value.dtype}; expected floats"
        for key, value in state.items()
        if not value.is_floating_point() and not key.endswith("num_batches_tracked")
    ]
    if problems:
        raise InputError(listed_up_to(problems, 8))
    counts = {key: torch.zeros((), dtype=torch.long) for key in expected if key.endswith("num_batches_tracked")}
    single = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    model.load_state_dict({**counts, **single}, assign=True)
    return model.eval()
