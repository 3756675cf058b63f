"""Runs forward passes: a model, some of its layers and a pooling, as a function of a batch of pixels.

    runner = prepare_runner(load_model("clip-rn50x4"), ["layer4.5", "layer3.9"])
    runner(pixels_NHWC)["layer4.5"]         # float32, (runner.batch_size, 2560)

| backend    | what runs |
|------------|-----------|
| `eager`    | the network that `backends.preparation` makes |
| `openvino` | the original network converted to OpenVINO, on the CPU; needs `interpscore[openvino]` |
| `auto`     | `openvino` if it is installed and runs this network, else `eager` |

Each in `fp32`, as exact as the original network, or in `bf16`: convolutions and matrix products in bfloat16. Each is
compared with the original network, on an image of noise, before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from Activation_Extraction.backends.batch_sizes import BATCH_SIZE, SIZES, check_batch_size, fastest, largest_batch
from Activation_Extraction.backends.openvino_network import converted, import_openvino
from Activation_Extraction.backends.plain_network import noise, running
from Activation_Extraction.backends.preparation import (
    CLOSE,
    EXACT,
    Network,
    PreparedNetwork,
    check_close,
    prepare_network,
)
from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.clip_helpers import network_input
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.resources import weight_bytes

BACKENDS = ("eager", "openvino")
AUTO = "auto"


@dataclass(frozen=True, eq=False)
class Runner:
    """Runs batches of one size, from any thread, one at a time.

    Attributes:
        batch_size: images in every batch.
        shapes: canonical name of a layer → its shape for one image: (unit,), or with pooling "none" (unit, y, x) or
            (unit, token).
        provenance: backend, precision, form of the network, versions.
        again: prepares the same runner in another process; pickles refer to it.
    """

    model: Model
    batch_size: int
    shapes: Mapping[str, tuple[int, ...]]
    provenance: Mapping[str, str]
    _network: Network = field(repr=False)
    again: Callable[[], Runner] | None = field(default=None, repr=False)

    def __reduce__(self) -> Any:
        """Pickled as what it was prepared from."""
        return self.again, ()

    def __call__(self, pixels_NHWC: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """The layers' activations on a batch.

        Args:
            pixels_NHWC: uint8, preprocessed by a preset; or floats, as the image tower takes them.

        Returns:
            Canonical name of a layer → float32, (image, …) with the rest as in `shapes`.
        """
        assert len(pixels_NHWC) == self.batch_size, f"{len(pixels_NHWC)} images for a batch of {self.batch_size}"
        with running(self.model):
            kept = self._network(_network_input(pixels_NHWC, self.model))
            return {layer: value.float().cpu().numpy() for layer, value in zip(self.shapes, kept)}


def prepare_runner(
    model: Model,
    layers: Iterable[str],
    *,
    pooling: str = "mean",
    backend: str = AUTO,
    precision: str = "fp32",
    batch_size: int | Literal["auto"] | None = None,
    images: int = BATCH_SIZE,
    rewrite: bool = True,
) -> Runner:
    """Prepare a model to run up to some of its layers, and check the result. The model is not changed.

    Args:
        model: with its device, threads and memory limit.
        layers, pooling, precision, rewrite: see `prepare_network`; one pass computes all layers.
        backend: of `BACKENDS`, or "auto"; the provenance says which was chosen.
        batch_size: None takes `BATCH_SIZE`, or what fits into the memory limit; "auto" measures for a few seconds which
            size is fastest.
        images: number of images to run; chosen batch sizes are no larger.

    Raises:
        InputError: see `prepare_network`; a backend that is unknown or not installed, or cannot run this network
            accurately; a wrong batch size, or a memory limit without room for one image.
    """
    if backend not in (*BACKENDS, AUTO):
        raise InputError(f"backend: found {shown(backend)}; expected {', '.join(BACKENDS)} or {AUTO}")
    prepared = prepare_network(model, layers, pooling, precision, rewrite=rewrite)
    try:
        runner = _runner(prepared, "openvino" if backend == AUTO else backend, precision, batch_size, images)
    except InputError:
        if backend != AUTO:
            raise
        runner = _runner(prepared, "eager", precision, batch_size, images)
    same = {"pooling": pooling, "backend": runner.provenance["backend"], "precision": precision, "rewrite": rewrite}
    again = partial(prepare_runner, model, list(runner.shapes), **same, batch_size=runner.batch_size)  # type: ignore[arg-type]
    return replace(runner, again=again)


def _runner(
    prepared: PreparedNetwork, backend: str, precision: str, batch_size: int | Literal["auto"] | None, images: int
) -> Runner:
    model, own_weights = prepared.model, prepared.network is not prepared.plain
    form, library, version = prepared.form, "torch", torch.__version__
    if backend == "openvino":
        form, library, version, own_weights = "converted", "openvino", import_openvino().__version__, True
        if model.device.type != "cpu":
            raise InputError(f"backend openvino: found device {model.device}; expected cpu")
    provenance = {"backend": backend, "network": form, "precision": _precision_of(model, precision), library: version}
    shapes = {layer: tuple(value.shape[1:]) for layer, value in zip(prepared.layers, prepared.reference)}

    def build(size: int) -> Runner:
        network: Network = prepared
        x = _network_input(noise(model, size if backend == "openvino" else min(size, 2)), model)
        if backend == "openvino":  # compiled for one batch size
            with running(model):
                network = converted(prepared.plain, x, precision, model.threads)
        if network is not prepared or prepared.network is not prepared.plain:
            limit = EXACT if precision == "fp32" else CLOSE
            check_close(network, x, prepared, f"backend {backend} in {precision}", limit)
        return Runner(model, size, shapes, provenance, network)

    if batch_size is not None and batch_size != AUTO:
        return build(check_batch_size(batch_size))
    kept = sum(value.nbytes for value in prepared.reference)
    largest = min(largest_batch(model, weight_bytes(prepared.network) if own_weights else 0, kept), max(images, 1))
    if batch_size is None:
        return build(min(BATCH_SIZE, largest))
    sizes = [size for size in SIZES if size <= largest]
    return build(fastest(sizes, lambda size: partial(build(size), noise(model, size))))


def _network_input(pixels_NHWC: NDArray[Any], model: Model) -> Tensor:
    pixels = torch.from_numpy(pixels_NHWC if pixels_NHWC.flags.writeable else pixels_NHWC.copy())
    if model.device.type == "cuda":
        pixels = pixels.pin_memory().to(model.device, non_blocking=True)
    return pixels if pixels.is_floating_point() else network_input(pixels, model.image_input)


def _precision_of(model: Model, precision: str) -> str:
    if precision == "bf16":
        return "bfloat16"
    kinds = {str(p.dtype).removeprefix("torch.") for p in model.image_tower.parameters() if p.is_floating_point()}
    return ", ".join(sorted(kinds)) or "float32"
