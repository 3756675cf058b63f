"""The hash of a network's weights: all its tensors, by name, type, shape and value."""

from __future__ import annotations

from hashlib import sha256

import torch
from torch import nn


def state_hash(module: nn.Module) -> dict[str, str]:
    """SHA-256 over the names, types, shapes and values of all tensors, for a provenance; empty on the meta device."""
    digest = sha256()
    for name, tensor in module.state_dict().items():
        if tensor.is_meta:
            return {}
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return {"state_sha256": digest.hexdigest()}
