"""A network converted to OpenVINO, for the CPU. OpenVINO is an optional dependency, imported on use."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from Activation_Extraction.base.errors import InputError, first_line
from Activation_Extraction.base.extras import install_command

TYPES = {"fp32": "f32", "bf16": "bf16"}
TELEMETRY = "openvino_telemetry"


def import_openvino() -> Any:
    """OpenVINO without its telemetry; raises `InputError` if it is not installed."""
    try:
        with _without_telemetry():
            import openvino
    except ModuleNotFoundError:
        raise InputError(f"backend openvino: is not installed; type: {install_command('openvino')}") from None
    return openvino


def converted(
    network: nn.Module, example: Tensor, precision: str, threads: int | None
) -> Callable[[Tensor], Sequence[Tensor]]:
    """A network that takes batches of the example's shape.

    Args:
        network: gives a tuple of tensors; it is traced on the example, so what it does must not depend on values.
        example: a batch.
        precision: "fp32" or "bf16".
        threads: None takes one for each core.

    Raises:
        InputError: OpenVINO is not installed or cannot convert this network, or the processor has no bfloat16.
    """
    openvino = import_openvino()
    core = openvino.Core()
    if precision.upper() not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InputError(f"backend openvino: this processor does not compute in {precision}; expected precision fp32")
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": TYPES[precision]}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    example = example.contiguous()
    try:
        with warnings.catch_warnings(), _without_telemetry():
            warnings.simplefilter("ignore")  # tracing warns that everything but the pixels becomes constant
            traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
            graph = openvino.convert_model(traced, example_input=example, input=[list(example.shape)])
        request = core.compile_model(graph, "CPU", settings).create_infer_request()
    except Exception as error:  # any of OpenVINO's, or of the network's own code
        raise InputError(
            f"backend openvino: the network cannot be converted ({first_line(error)}); expected backend eager"
        ) from error

    def run(x: Tensor) -> list[Tensor]:
        outputs = request.infer([x.contiguous().numpy()], share_inputs=True)
        return [torch.from_numpy(outputs[i]) for i in range(len(outputs))]

    return run


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """OpenVINO uses a stub if it cannot import its telemetry."""
    before = sys.modules.get(TELEMETRY)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[TELEMETRY]
        if before is not None:
            sys.modules[TELEMETRY] = before
