"""An untrained copy of a network: initialized as its family is trained from, BatchNorm statistics measured on images.

    copy = untrained(load_model("clip-mini"), seed=0, x=images)

METRICS.md, section 13. Initializers are looked for in every module, children before their parents: `reset_parameters`
(PyTorch's modules, and our CLIP), `_reset_parameters` (its attention), `init_weights` (timm), then `_init_weights` of
transformers' models. A tensor that none of them sets is refused: it would stay as it was trained.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from Activation_Extraction.base.errors import InputError, first_line, shown
from Activation_Extraction.base.run_folder import UNTRAINED
from Activation_Extraction.models.resources import limited_threads
from Activation_Extraction.models.weights.state import state_hash

if TYPE_CHECKING:
    from Activation_Extraction.models.registry import Model

INITIALIZERS = ("reset_parameters", "_reset_parameters", "init_weights")
"""Methods that set a module's own tensors, and may set those of its children; the first that a module has is called."""
BATCHNORM = "batchnorm"
"""What a provenance calls the images that BatchNorm statistics are from."""
MOST_IMAGES, FEWEST_IMAGES, BYTES = 128, 32, 2 * 10**9
"""Images that statistics are measured on: at most, at least, and, in between, what maps of so many bytes have room for."""
_MAPS = 4
"""Maps of the largest size that a network holds at once: of a block's shortcut, convolution, BatchNorm and ReLU."""
_OF_WEIGHTS = ("weights", "weights_sha256", "state_sha256", "format", "embedding")
"""What the provenance of the trained network says of its weights."""


def untrained(model: Model, seed: int, x: Sequence[Tensor] | None = None, measured_on: str = "") -> Model:
    """A copy of a network with untrained weights; the network itself is not changed.

    Args:
        model: any.
        seed: of the initial weights; the same seed, the same bytes.
        x: images to measure BatchNorm statistics on, each as the image tower takes it, without the axis of images; None
            leaves means at 0 and variances at 1, with which a deep network is of no use.
        measured_on: what the provenance says of these images.

    Returns:
        The copy, whose provenance states the seed and the hash of the weights (without BatchNorm's statistics).

    Raises:
        InputError: the network has tensors that nothing initializes, such as those of a frozen graph; it cannot be copied.
    """
    try:
        module, tower, layers = copy.deepcopy((model.module, model.image_tower, model.layers))
    except Exception as error:  # a network's own code may refuse to be copied in any way
        raise InputError(f"{model.name}: cannot be copied ({first_line(error)}); expected a network that can") from None
    initialize(module, seed, model.name)
    kept = {name: value for name, value in model.provenance.items() if name not in _OF_WEIGHTS}
    provenance = {**kept, "weights": f"{UNTRAINED}{seed}", **state_hash(module)}
    if batch_norms(tower) and measured_on:
        provenance[BATCHNORM] = measured_on
    if x is not None:
        measure_batch_norms(tower, x, model.threads)
    return replace(model, module=module, image_tower=tower, layers=layers, provenance=provenance, again=None)


def initialize(module: nn.Module, seed: int, name: str = "the network") -> None:
    """Initialize all tensors of a network in place, in evaluation mode, without changing the caller's random numbers.

    BatchNorm gains that start at 0, the last ones of residual branches, are set to 1: otherwise blocks are only shortcuts.

    Raises:
        InputError: a tensor that nothing initializes, by the path and class of its module.
    """
    for _, _, tensor in _floats(module):
        tensor.data.fill_(torch.nan)  # so that what no initializer sets is found
    families = [each for each in module.modules() if callable(getattr(each, "_init_weights", None))]
    with torch.random.fork_rng(devices=_cuda(module)), torch.no_grad():
        torch.manual_seed(seed)
        for each in _children_first(module):
            if (method := next((m for m in INITIALIZERS if callable(getattr(each, m, None))), None)) is not None:
                _called(getattr(each, method), each, name)
        for family in families:
            for each in _children_first(family):
                _called(lambda each=each, family=family: family._init_weights(each), each, name)
        for each in module.modules():
            if isinstance(each, _BatchNorm) and each.weight is not None and not each.weight.any():
                each.weight.fill_(1)
    for path, of, tensor in _floats(module):
        if tensor.isnan().any():
            where = f"{shown(path.rpartition('.')[0] or name)} ({type(of).__name__})"
            raise InputError(
                f"{name}: module {where} has no initializer of its tensor {shown(path.rpartition('.')[2])}, so there is no "
                "untrained copy of it; expected a method reset_parameters that sets it"
            )
    module.eval().requires_grad_(False)


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """The BatchNorm modules of a network that normalise by saved statistics."""
    return [each for each in module.modules() if isinstance(each, _BatchNorm) and each.running_mean is not None]


def rows_to_measure(model: Model, rows: int) -> list[int]:
    """The rows of an image set that BatchNorm statistics are measured on, spread evenly: the same on every machine.

    None for a network without BatchNorm.
    """
    largest = 0

    def see(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal largest
        largest = max(largest, inputs[0].nbytes)

    handles = [norm.register_forward_pre_hook(see) for norm in batch_norms(model.image_tower)]
    try:
        with torch.inference_mode(), limited_threads(model.threads):
            model.image_tower(model.example())
    finally:
        for handle in handles:
            handle.remove()
    if not largest:
        return []
    count = min(rows, MOST_IMAGES, max(FEWEST_IMAGES, BYTES // (_MAPS * largest)))
    return [row * rows // count for row in range(count)]


def measure_batch_norms(tower: nn.Module, x: Sequence[Tensor], threads: int | None = None) -> None:
    """Set the statistics of every BatchNorm to those of its own input over a batch, each behind those before it.

    Variances are unbiased, as in training. Other modules stay in evaluation mode.

    Raises:
        InputError: a batch that the network cannot run, such as one with a single value for each channel.
    """
    norms = batch_norms(tower)
    before = [(norm.momentum, norm.training) for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        device = next(tower.parameters()).device
        with torch.inference_mode(), limited_threads(threads):
            tower(torch.stack(list(x)).to(device))
    except ValueError as error:
        raise InputError(f"BatchNorm on {len(x)} images: {first_line(error)}; expected more images") from None
    finally:
        for norm, (momentum, training) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.train(training)


def _children_first(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        yield from _children_first(child)
    yield module


def _floats(module: nn.Module) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Path, module and value of every tensor of numbers that weights files hold: parameters and saved buffers."""
    for path, each in module.named_modules():
        saved = {n: b for n, b in each._buffers.items() if n not in each._non_persistent_buffers_set}
        for name, tensor in {**each._parameters, **saved}.items():
            if tensor is not None and (tensor.is_floating_point() or tensor.is_complex()):
                yield f"{path}.{name}" if path else name, each, tensor


def _called(initializer: Any, module: nn.Module, name: str) -> None:
    try:
        initializer()
    except Exception as error:  # a network's own code may fail in any way
        of = type(module).__name__
        raise InputError(f"{name}: the initializer of {of} fails ({first_line(error)}); expected one that can be called without arguments") from None  # fmt: skip


def _cuda(module: nn.Module) -> list[int]:
    return sorted({tensor.device.index for tensor in module.parameters() if tensor.device.type == "cuda"})
