"""Networks from elsewhere: any `nn.Module` with its preprocessing, transformers, timm, torchvision and open_clip.

The libraries are imported on use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from Activation_Extraction.base.errors import InputError, first_line, shown
from Activation_Extraction.clip_helpers import OWN, ImageInput
from Activation_Extraction.models.axes import Axis, unit_axis
from Activation_Extraction.models.layers import LayerNames
from Activation_Extraction.models.processor_settings import preprocessing_of
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.weights.state import state_hash

Preprocess = Callable[[Image.Image], Tensor]
"""From an image in RGB to a tensor 3 × H × W, with the same H and W for every image."""


def from_module(
    module: nn.Module,
    preprocess: ImageInput | Preprocess,
    *,
    name: str,
    tower: str = "",
    aliases: Mapping[str, str] | None = None,
    axis: Axis | None = None,
    image_axis: Axis | None = None,
    provenance: Mapping[str, str] | None = None,
) -> Model:
    """Adapt any network, and put it in evaluation mode, without gradients of parameters.

    Args:
        module: the network, with its weights.
        preprocess: its image input, or its own preprocessing function, whose size, mean and std are then measured on
            plain colours.
        name: for results and messages.
        tower: path of the submodule that images go through ("" for the network itself).
        aliases: other names of layers → their paths in the tower.
        axis, image_axis: functions from a layer's name and output shape to the axis of its units, of its images; needed
            where the network itself does not tell, see `LayerNames`.
        provenance: where the weights are from; a hash of all tensors is added.

    Raises:
        InputError: no such tower, or a function whose output is not a tensor of one size, or that mixes colours or
            pixels.
    """
    towers = dict(module.named_modules())
    if tower not in towers:
        raise InputError(f"{name}: no submodule {shown(tower)}; expected one such as {', '.join(list(towers)[1:4])}")
    module.eval().requires_grad_(False)
    image_tower = towers[tower]
    source = {"source": f"{type(module).__module__}.{type(module).__qualname__}"}
    return Model(
        name=name,
        module=module,
        image_tower=image_tower,
        image_input=preprocess if isinstance(preprocess, ImageInput) else _probed(preprocess, name),
        layers=LayerNames(image_tower, aliases, prefix=f"{tower}." if tower else "", axis=axis, image_axis=image_axis),
        provenance={**source, **(provenance or {}), **state_hash(module)},
    )


def from_transformers(
    model: nn.Module | str | os.PathLike[str],
    processor: Mapping[str, Any] | object | None = None,
    *,
    name: str | None = None,
) -> Model:
    """Adapt a vision model of transformers, or the vision tower of one with two towers.

    Args:
        model: a model, or the folder or hub name of one, of which only safetensors are read and no code is run.
        processor: the image processor or its settings, as in `preprocessor_config.json`; None reads them from the
            folder or hub.
        name: for results and messages; by default the folder, hub name or class.

    Raises:
        InputError: transformers is not installed, the model cannot be read, or its processor does more than resizing,
            cropping, rescaling and normalising.
    """
    library = _imported("transformers")
    where = {"library": f"transformers {library.__version__}"}
    if isinstance(model, nn.Module):
        module = model
    else:
        name, where["weights"] = name or str(model), str(model)
        try:
            if processor is None:
                processor = library.ImageProcessingMixin.get_image_processor_dict(str(model))[0]
            module = library.AutoModel.from_pretrained(str(model), use_safetensors=True, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{name}: transformers cannot read it ({first_line(error)})") from None
    name = name or type(module).__name__
    if processor is None:
        raise InputError(f"{name}: no image processor given; expected its settings, as in preprocessor_config.json")
    settings = processor if isinstance(processor, Mapping) else processor.to_dict()  # type: ignore[attr-defined]
    family = str(getattr(getattr(module, "config", None), "model_type", ""))
    return from_module(
        module,
        preprocessing_of(settings, name),
        name=name,
        tower="vision_model" if hasattr(module, "vision_model") and hasattr(module, "text_model") else "",
        axis=_convnext_axis if family.startswith("convnext") else None,
        provenance=where,
    )


def from_timm(name: str, *, pretrained: bool = True) -> Model:
    """Adapt a model of timm by its name, such as `resnet50.a1_in1k`, with timm's own preprocessing.

    Raises:
        InputError: timm is not installed or cannot be imported, or has no such model.
    """
    timm, data = _imported("timm"), _imported("timm.data")
    module = _made("timm", name, lambda: timm.create_model(name, pretrained=pretrained))
    preprocess = data.create_transform(**data.resolve_model_data_config(module), is_training=False)
    where = {"library": f"timm {timm.__version__}", "weights": name if pretrained else "random"}
    return from_module(module, preprocess, name=name, axis=_swin_axis if "swin" in name else None, provenance=where)


def from_torchvision(name: str, *, weights: str | None = "DEFAULT") -> Model:
    """Adapt a model of torchvision by its name, such as `resnet50`, with its weights' own preprocessing.

    Args:
        name: as in `torchvision.models.list_models()`.
        weights: which of the model's weights (`IMAGENET1K_V2`); None leaves them random.

    Raises:
        InputError: torchvision is not installed or cannot be imported, or has no such model or weights.
    """
    torchvision, models = _imported("torchvision"), _imported("torchvision.models")
    choices = _made("torchvision", name, lambda: models.get_model_weights(name))
    if weights is not None and weights not in choices.__members__:
        raise InputError(f"torchvision {name}: no weights {shown(weights)}; expected {', '.join(choices.__members__)}")
    chosen = choices[weights or "DEFAULT"]
    module = _made("torchvision", name, lambda: models.get_model(name, weights=chosen if weights else None))
    where = {"library": f"torchvision {torchvision.__version__}", "weights": str(chosen) if weights else "random"}
    axis = _swin_axis if "swin" in name else None
    return from_module(module, chosen.transforms(), name=name, axis=axis, provenance=where)


def from_open_clip(name: str, *, pretrained: str | None = None) -> Model:
    """Adapt the image tower of a CLIP of open_clip, such as `ViT-B-32` with `laion2b_s34b_b79k`.

    Raises:
        InputError: open_clip is not installed or cannot be imported, or has no such model or weights.
    """
    open_clip = _imported("open_clip")
    module, _, preprocess = _made(
        "open_clip", name, lambda: open_clip.create_model_and_transforms(name, pretrained=pretrained)
    )
    where = {"library": f"open_clip {open_clip.__version__}", "weights": pretrained or "random"}
    return from_module(module, preprocess, name=name, tower="visual", provenance=where)


PACKAGES = {"open_clip": "open_clip_torch"}
"""Library → its name on PyPI, where they differ."""


def _imported(library: str) -> Any:
    """Import a library; an error while importing becomes one line."""
    top = library.partition(".")[0]
    try:
        return import_module(library)
    except (ImportError, RuntimeError, OSError) as error:  # OSError: its binaries do not fit the installed torch
        if isinstance(error, ModuleNotFoundError) and error.name == top:
            raise InputError(f"{top} is not installed; expected: pip install {PACKAGES.get(top, top)}") from None
        raise InputError(f"{top} cannot be imported ({first_line(error)})") from None


def _made(library: str, name: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        raise InputError(f"{library}: cannot make {shown(name)} ({first_line(error)})") from None


def _swin_axis(name: str, shape: Sequence[int]) -> int | None:
    """Maps of timm's and torchvision's Swin are NHWC."""
    return 3 if len(shape) == 4 else unit_axis(shape)


def _convnext_axis(name: str, shape: Sequence[int]) -> int | None:
    """Blocks of transformers' ConvNeXt are NHWC between the depthwise convolution and the last projection."""
    inner = name.rpartition(".")[2] in ("layernorm", "pwconv1", "act", "grn", "pwconv2")
    return 3 if inner and ".layers." in name and len(shape) == 4 else unit_axis(shape)


COLOURS = {"black": (0, 0, 0), "white": (255, 255, 255), "grey": (102, 102, 102), "red": (255, 0, 0)}


def _probed(preprocess: Preprocess, name: str) -> ImageInput:
    """Size, mean and std of a preprocessing function, measured on plain colours."""
    flat = {colour: _preprocessed(preprocess, value, (1024, 1024), name) for colour, value in COLOURS.items()}
    shape = tuple(flat["black"].shape)
    if (other := tuple(_preprocessed(preprocess, (0, 0, 0), (700, 900), name).shape)) != shape:
        raise InputError(f"{name}: preprocessing gives {shape} and {other}; expected one size for images of all sizes")
    black_C, white_C, grey_C, red_C = (x_CHW.mean((1, 2)) for x_CHW in flat.values())
    range_C = white_C - black_C
    expected = {"grey": black_C + 0.4 * range_C, "red": torch.stack([white_C[0], black_C[1], black_C[2]])}
    tolerance = float(range_C.abs().max()) / 100
    spread = max(float((x.amax((1, 2)) - x.amin((1, 2))).max()) for x in flat.values())
    off = max(float((found - expected[colour]).abs().max()) for colour, found in (("grey", grey_C), ("red", red_C)))
    if not (float(range_C.min()) > 0 and spread <= tolerance and off <= tolerance):
        raise InputError(
            f"{name}: preprocessing does not scale red, green and blue separately, so its mean and std are not defined; "
            "expected an ImageInput, or a function that resizes, crops and normalises"
        )
    mean, std = tuple((-black_C / range_C).tolist()), tuple((1 / range_C).tolist())
    return ImageInput((shape[1], shape[2]), mean, std, preset=OWN, transform=preprocess)


def _preprocessed(preprocess: Preprocess, colour: tuple[int, int, int], size: tuple[int, int], name: str) -> Tensor:
    x: object = preprocess(Image.new("RGB", size, colour))
    if not isinstance(x, Tensor) or x.ndim != 3 or x.shape[0] != 3 or not x.is_floating_point():
        got = f"{tuple(x.shape)} of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise InputError(f"{name}: preprocessing gives {got}; expected a tensor 3 × H × W of floats")
    return x.double()
