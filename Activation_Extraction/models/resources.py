"""Devices, threads, precision and memory of a model."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path

import torch
from torch import nn

from Activation_Extraction.base.errors import InputError, shown

PRECISIONS = ("fp32", "bf16")
"""Of convolutions and matrix products; sums are computed in fp32."""

DOUBLE = "fp64"
"""Everything in float64, of optimisations that are compared with one another: rounding grows from step to step."""

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


def parse_bytes(size: int | str) -> int:
    """A size in bytes.

    >>> parse_bytes("1.5 GB"), parse_bytes("2GiB")
    (1500000000, 2147483648)

    Raises:
        InputError: not a positive size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(size).lower())
    if not found or found[2] not in _UNITS or not (value := int(Fraction(found[1]) * _UNITS[found[2]])):
        raise InputError(f"memory limit: found {shown(size)}; expected bytes, or a size such as '4 GB' or '500 MiB'")
    return value


def device_named(name: str | torch.device) -> torch.device:
    """The device of that name; raises `InputError` if this machine has none."""
    try:
        device = torch.empty(1, device=torch.device(name)).device  # "cuda" is one with "cuda:0", "cpu:0" with "cpu"
    except (RuntimeError, AssertionError, NotImplementedError, ImportError, TypeError):
        device = torch.device("meta")
    if device.type == "meta":
        there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise InputError(f"device: found {shown(name)}; expected one of this machine: {', '.join(there)}")
    return device


def processor(device: torch.device) -> str:
    """The kind of hardware of a device; rounding may differ between kinds."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device.type} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def device_description(device: torch.device) -> str:
    """The hardware of a device, for messages, and for measurements that apply to the same hardware only."""
    return processor(device) if device.type == "cuda" else f"{processor(device)}, {os.cpu_count()} processors"


@cache
def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device computes bfloat16 in hardware; otherwise it is emulated, hundreds of times slower, or fails."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if platform.machine() in ("x86_64", "AMD64") and not torch.cpu._is_avx512_bf16_supported():
        return False
    ones = torch.ones(1, 8, 8, 8, dtype=torch.bfloat16, device=device)
    try:  # oneDNN detects the processor's features itself, and may disagree with torch
        torch.mkldnn_convolution(ones, ones, None, (0, 0), (1, 1), (1, 1), 1)
    except RuntimeError:
        return False
    return True


def best_precision(device: torch.device) -> str:
    """ "bf16" if the device computes it in hardware, else "fp32"."""
    return "bf16" if computes_bfloat16(device) else "fp32"


def check_precision(precision: str, device: torch.device, precisions: Sequence[str] = PRECISIONS) -> None:
    """Raise an `InputError` unless it is one of some precisions, and the device computes in it."""
    if precision not in precisions:
        raise InputError(f"precision: found {shown(precision)}; expected {' or '.join(precisions)}")
    if precision == "bf16" and not computes_bfloat16(device):
        raise InputError(
            f"precision bf16: this device ({device_description(device)}) has no fast bfloat16; expected precision fp32"
        )


def devices_named(names: str) -> list[torch.device]:
    """The devices of a list such as "cuda:0,cuda:1", with duplicates; "cuda" alone is every GPU.

    Raises:
        InputError: no such device on this machine.
    """
    if names.strip() == "cuda" and torch.cuda.device_count():
        return [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    return [device_named(name.strip()) for name in names.split(",")]


@contextmanager
def limited_threads(count: int | None) -> Iterator[None]:
    """Set torch's number of CPU threads inside the block; None changes nothing."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count is not None:
            torch.set_num_threads(before)


def weight_bytes(module: nn.Module) -> int:
    """Bytes of a network's parameters and buffers."""
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def check_fits(what: Path | nn.Module, limit: int | None, name: str = "", device: torch.device | None = None) -> None:
    """Raise an `InputError` if weights exceed the memory limit; on CUDA, also limit the allocator."""
    if limit is None:
        return
    size = what.stat().st_size if isinstance(what, Path) else weight_bytes(what)
    if size > limit:
        raise InputError(f"{name or what}: the weights take {size:,} bytes; the memory limit is {limit:,}")
    if device is not None and device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), device)
