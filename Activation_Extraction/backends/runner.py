"""How a forward pass is run: a model, some of its layers and a pooling, as a function of a batch of pixels.

    runner = prepare_runner(load_model("clip-rn50x4"), ["layer4.5", "layer3.9"])
    runner(pixels_NHWC)["layer4.5"]         # float32, (runner.batch_size, 2560)

| backend    | what runs |
|------------|-----------|
| `eager`    | the network, rewritten (`models/rewrite.py`) where it can be traced symbolically, else as it is |
| `compiled` | the rewritten network through `torch.compile`; needs a C++ compiler |
| `openvino` | the network converted to OpenVINO, on the CPU; needs `interpscore[openvino]` |

Each in `fp32`, as exact as the network itself, or in `bf16`: convolutions and matrix products in bfloat16. What runs
has been compared with the network itself, on a picture of noise, before it is used.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from Activation_Extraction.backends.batch_sizes import check_batch_size, fastest, largest_batch, remember, remembered
from Activation_Extraction.backends.openvino_network import converted, import_openvino
from Activation_Extraction.backends.plain_network import PlainNetwork, running
from Activation_Extraction.base.errors import InputError, first_line, shown
from Activation_Extraction.clip_helpers import normalised
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.resources import device_description, weight_bytes
from Activation_Extraction.models.surgery.pooling import check_pooling
from Activation_Extraction.models.surgery.rewrite import NotTraceableError, in_bfloat16, join_relus, rewritten

PRECISIONS = ("fp32", "bf16")

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Images at a time that are tried."""

FEW_SIZES = (1, 8, 64)
"""The same for backends that prepare the network anew for each size."""

EXACT, CLOSE = 1e-4, 0.1
"""How far what runs may be from the network itself, in lengths of a layer's activations: in fp32, in bf16."""

Network = Callable[[Tensor], Sequence[Tensor]]
"""A batch as the image tower takes it → what is kept of each layer."""


@dataclass(frozen=True, eq=False)
class Runner:
    """Runs batches of one size, from any thread, one at a time.

    Attributes:
        model: what is run.
        batch_size: images at a time, always.
        shapes: canonical name of a layer → the shape of what is kept of one image: (unit,), or with pooling "none"
            (unit, y, x) or (unit, token).
        provenance: what runs it: backend, precision, form of the network, versions.
    """

    model: Model
    batch_size: int
    shapes: Mapping[str, tuple[int, ...]]
    provenance: Mapping[str, str]
    _network: Network = field(repr=False)

    def __call__(self, pixels_NHWC: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """What is kept of each layer on a batch.

        Args:
            pixels_NHWC: uint8, as a preset arranged them; or floats, as the model's own transform made them.

        Returns:
            Canonical name of a layer → float32, (image, …) with the rest as in `shapes`.
        """
        assert len(pixels_NHWC) == self.batch_size, f"{len(pixels_NHWC)} images for a batch of {self.batch_size}"
        with running(self.model):
            kept = self._network(_network_input(pixels_NHWC, self.model))
            return {layer: value.cpu().numpy() for layer, value in zip(self.shapes, kept)}


def prepare_runner(
    model: Model,
    layers: Iterable[str],
    *,
    pooling: str = "mean",
    backend: str = "eager",
    precision: str = "fp32",
    batch_size: int | None = None,
) -> Runner:
    """Make what runs a model up to some of its layers, and check that it does. The model is left as it is.

    No other thread may run a network meanwhile: while one is traced, torch's modules do not compute.

    Args:
        model: what to run, on its device, with its threads and its memory limit.
        layers: names of layers; all are kept in one run.
        pooling: over the positions of a map, or the tokens of a sequence: "mean", "max", or "none" to keep them.
        backend: of `BACKENDS`.
        precision: of `PRECISIONS`; "fp32" leaves the weights in the precision that they have.
        batch_size: images at a time; None takes a few seconds to find out which size is fastest, once on a machine.

    Raises:
        InputError: an unknown layer, pooling, backend or precision; a layer without units; a backend that is not
            installed, or that cannot run this network, or not closely enough.
    """
    names = list(dict.fromkeys(model.layers.resolve(layer) for layer in layers))
    if not names:
        raise InputError("layers: none given; expected at least one")
    check_pooling(pooling)
    _check_choice("backend", backend, list(BACKENDS))
    _check_choice("precision", precision, PRECISIONS)
    plain = PlainNetwork(model, names, pooling)
    noise_NHWC = _noise(model, 1)
    with running(model):
        reference = plain(_network_input(noise_NHWC, model))
        prepared = BACKENDS[backend](model, plain, reference, precision)

    def build(size: int) -> Runner:
        with running(model):
            network = prepared.build(size)
        shapes = {layer: tuple(value.shape[1:]) for layer, value in zip(names, reference)}
        runner = Runner(model, size, shapes, {"backend": backend, **prepared.provenance}, network)
        _check_close(runner, reference, backend, precision)
        return runner

    if batch_size is not None:
        return build(check_batch_size(batch_size))
    largest = largest_batch(model, prepared.weights, sum(value.nbytes for value in reference))
    sizes = [size for size in prepared.sizes if size <= largest]
    conditions = {
        "model": model.name,
        "parameters": sum(parameter.numel() for parameter in model.image_tower.parameters()),
        "image": list(noise_NHWC.shape[1:]),
        "layers": {layer: list(value.shape[1:]) for layer, value in zip(names, reference)},
        "backend": {"backend": backend, **prepared.provenance},
        "device": device_description(model.device),
        "threads": torch.get_num_threads() if model.threads is None else model.threads,
    }
    if (size := remembered(conditions, sizes)) is not None:
        return build(size)
    best = fastest(
        sizes, build, lambda runner: runner(np.broadcast_to(noise_NHWC, (runner.batch_size, *noise_NHWC.shape[1:])))
    )
    remember(conditions, best.batch_size)
    return best


# Backends -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Prepared:
    """A network that is still to be built for a batch size."""

    build: Callable[[int], Network]
    provenance: Mapping[str, str]
    weights: int = 0
    """Bytes of copies of the model's weights."""
    sizes: Sequence[int] = SIZES


def _eager(model: Model, plain: PlainNetwork, reference: Sequence[Tensor], precision: str) -> _Prepared:
    provenance = {"precision": _precision_of(model, precision), "torch": torch.__version__}
    try:
        network, form = _rewritten(model, plain, reference, precision, join=model.device.type == "cpu")
    except NotTraceableError:
        as_it_is = _cast(plain, model, precision)
        return _Prepared(lambda size: as_it_is, {"network": "as it is", **provenance})
    cast = _cast(network, model, precision)
    return _Prepared(lambda size: cast, {"network": form, **provenance}, weight_bytes(network))


def _compiled(model: Model, plain: PlainNetwork, reference: Sequence[Tensor], precision: str) -> _Prepared:
    try:
        network, form = _rewritten(model, plain, reference, precision)
    except NotTraceableError as error:
        raise InputError(
            f"backend compiled: {model.name} cannot be traced symbolically ({error}); expected backend eager or openvino"
        ) from None

    def build(size: int) -> Network:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch about its own modules
                compiled = _cast(torch.compile(network, dynamic=False), model, precision)
                compiled(_network_input(_noise(model, size), model))
        except RuntimeError as error:
            raise InputError(
                f"backend compiled: torch.compile fails ({first_line(error)}); expected a C++ compiler, such as g++"
            ) from None
        return compiled

    provenance = {"network": form, "precision": _precision_of(model, precision), "torch": torch.__version__}
    return _Prepared(build, provenance, weight_bytes(network), FEW_SIZES)


def _openvino(model: Model, plain: PlainNetwork, reference: Sequence[Tensor], precision: str) -> _Prepared:
    version = import_openvino().__version__
    if model.device.type != "cpu":
        raise InputError(f"backend openvino: found device {model.device}; expected cpu")

    def build(size: int) -> Network:
        return converted(plain, _network_input(_noise(model, size), model), precision, model.threads)

    provenance = {"network": "converted", "precision": _precision_of(model, precision), "openvino": version}
    return _Prepared(build, provenance, weight_bytes(plain), FEW_SIZES)


BACKENDS: Mapping[str, Callable[[Model, PlainNetwork, Sequence[Tensor], str], _Prepared]] = {
    "eager": _eager,
    "compiled": _compiled,
    "openvino": _openvino,
}


def _rewritten(
    model: Model, plain: PlainNetwork, reference: Sequence[Tensor], precision: str, join: bool = False
) -> tuple[fx.GraphModule, str]:
    """The rewritten network and what was done to it; compared in the model's own precision before it is reduced."""
    network, folded = rewritten(plain.image_tower, plain.axes, plain.pooling)
    form = f"rewritten, {folded} BatchNorms folded"
    x = _network_input(_noise(model, 1), model)
    if (why := _departure(network, x, reference)) is not None:
        raise NotTraceableError(why)
    if join:
        joint = copy.deepcopy(network)
        joined = join_relus(joint)
        if joined and _departure(joint, x, reference) is None:
            network, form = joint, f"{form}, {joined} ReLUs joined"
    if precision == "bf16":
        in_bfloat16(network)
    return network, form


def _departure(network: fx.GraphModule, x: Tensor, reference: Sequence[Tensor]) -> str | None:
    """Why a rewritten network is not the network itself; None where it is."""
    try:
        difference = _difference(network.forward(x), reference)  # as a call, it would print what goes wrong
    except Exception as error:  # whatever a network's own code raises where it was traced wrongly
        return first_line(error)
    return None if difference <= EXACT else f"the traced network differs by {difference:.1e}"


def _cast(network: Network, model: Model, precision: str) -> Network:
    if precision == "fp32":
        return network

    def in_bf16(x: Tensor) -> Sequence[Tensor]:
        with torch.autocast(model.device.type, torch.bfloat16, cache_enabled=False):
            return network(x)

    return in_bf16


# Running ------------------------------------------------------------------------------------------------------------


def _network_input(pixels_NHWC: NDArray[Any], model: Model) -> Tensor:
    pixels = torch.from_numpy(pixels_NHWC if pixels_NHWC.flags.writeable else pixels_NHWC.copy())
    if model.device.type == "cuda":
        pixels = pixels.pin_memory().to(model.device, non_blocking=True)
    return normalised(pixels, model.image_input)


def _noise(model: Model, images: int) -> NDArray[np.uint8]:
    """Different pictures of noise, the last of which does not depend on how many there are."""
    shape = (model.image_input.height, model.image_input.width, 3)
    pixels_HWC = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return np.stack([np.roll(pixels_HWC, i, axis=1) for i in reversed(range(images))])


def _check_close(runner: Runner, reference: Sequence[Tensor], backend: str, precision: str) -> None:
    found = runner(_noise(runner.model, runner.batch_size))
    difference = _difference([torch.from_numpy(value) for value in found.values()], reference)
    limit = EXACT if precision == "fp32" else CLOSE
    if not difference <= limit:
        raise InputError(
            f"backend {backend} in {precision}: activations of {runner.model.name} differ by {difference:.2g} from those "
            f"of the network itself; expected at most {limit:g}: take backend eager in fp32"
        )


def _difference(found: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    """How far the last image of a batch is from the same image alone, in lengths of the latter; the worst layer's."""
    pairs = [(a[-1].double().cpu(), b[0].double().cpu()) for a, b in zip(found, reference)]
    return float(torch.stack([(a - b).norm() / b.norm().clamp(min=1e-30) for a, b in pairs]).max())  # NaN stays NaN


def _precision_of(model: Model, precision: str) -> str:
    if precision == "bf16":
        return "bfloat16"
    kinds = {str(p.dtype).removeprefix("torch.") for p in model.image_tower.parameters() if p.is_floating_point()}
    return ", ".join(sorted(kinds)) or "float32"


def _check_choice(what: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InputError(f"{what}: found {shown(value)}; expected {', '.join(choices[:-1])} or {choices[-1]}")
