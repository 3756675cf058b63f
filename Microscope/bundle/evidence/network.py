"""What the network itself says of units: what each reads (weights) and what each does (effects). Imports torch when it is used.

Shapes: U units, D numbers of a weight, E embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.errors import InputError
from Microscope.bundle.evidence.matching import refuse_other_weights
from Microscope.bundle.layers import SourceLayer

if TYPE_CHECKING:
    from Activation_Extraction.images.sets import ImageSet
    from Activation_Extraction.models.registry import Model

_SHORTCUTS = ("downsample", "shortcut")
_BATCH = 8


def network_of(layer: SourceLayer, name: str, weights: str | None) -> Model:
    """The network of a store.

    Raises:
        InputError: another one, by the hash of its weights.
    """
    from Activation_Extraction.models.registry import load_model

    model = load_model(name, weights=weights)
    refuse_other_weights(layer, model.identity.get("provenance"), f"--model {name}")
    return model


def incoming_weights(model: Model, layer: SourceLayer) -> tuple[NDArray[Any], str]:
    """The weights that each unit reads with, `(U, D)`, and where they are from.

    Those of the last convolution or linear layer before the layer's output that has its units, shortcuts left out. A folded
    BatchNorm scales them, which no cosine notices, but for its sign.

    Raises:
        InputError: there is none.
    """
    import torch

    name = model.layers.resolve(layer.layer).partition("#")[0]
    before: list[tuple[str, Any]] = []
    reached = False
    for path, module in model.image_tower.named_modules():
        inside = path == name or path.startswith(f"{name}.")
        if reached and not inside:
            break
        reached |= inside
        before.append((path, module))
    found, sign_U = None, np.ones(layer.units)
    for path, module in before if reached else []:
        if any(part in path for part in _SHORTCUTS):
            continue
        weight = getattr(module, "weight", None)
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            if found is not None and weight is not None and len(weight) == layer.units:
                sign_U = np.where(weight.detach().cpu().numpy() < 0, -1.0, 1.0)
        elif isinstance(weight, torch.Tensor) and weight.ndim >= 2 and len(weight) == layer.units:
            found, sign_U = (path, weight), np.ones(layer.units)
    if found is None:
        raise InputError(f"no convolution or linear layer with {layer.units} units before {layer.layer}")
    w_UD = found[1].detach().float().cpu().flatten(1).numpy()
    return w_UD * sign_U[:, None], found[0]


def mean_changes(model: Model, layer: SourceLayer, images: ImageSet, count: int, seed: int) -> NDArray[Any]:
    """The mean change of the embedding over images when each unit is ablated, `(U, E)`.

    Raises:
        InputError: the layer does not feed CLIP's attention pool, where all units are updated exactly at once.
    """
    import torch

    from Activation_Extraction.clip_helpers import prepare
    from Activation_Extraction.top_images import pictures_of
    from InterpScore.interventions.edits import scale
    from InterpScore.interventions.layer import LayerInterventions, feeds_attention_pool

    if not feeds_attention_pool(model, layer.layer):
        raise InputError("measured where a layer feeds CLIP's attention pool, whose update gives all units at once")
    readable = np.flatnonzero([bool(digest) for digest in layer.hashes])
    rows = np.sort(np.random.default_rng([seed, 1]).permutation(readable)[:count]).tolist()
    pictures = pictures_of(layer.store, images, rows)
    preset = layer.store.identity.get("preprocessing")
    prepared = LayerInterventions(model, layer.layer)
    total: NDArray[Any] | None = None
    for at in range(0, len(rows), _BATCH):
        x = torch.stack([prepare(pictures[row], model.image_input, preset) for row in rows[at : at + _BATCH]])
        for state in prepared.forward_to_layer(x):
            parts = [change_SUE[0].double().cpu().numpy() for _, change_SUE in state.changes([scale(0.0)])]
            change_UE = np.concatenate(parts)
            total = change_UE if total is None else total + change_UE
    assert total is not None
    return total / len(rows)
