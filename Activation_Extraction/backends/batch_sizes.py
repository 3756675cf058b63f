"""Batch sizes: a fixed number, as many images as fit into memory, or, on request, the fastest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from numbers import Integral
from time import perf_counter

from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.resources import weight_bytes

BATCH_SIZE = 8
"""Default; the same on every machine, since rounding depends on the batch size."""

SIZES = (1, 2, 4, 8, 16, 32, 64)
"""Candidates for the fastest."""

_WORKING_SET = 6
"""Peak memory of an image in a batch, in sizes of the largest layer output.

Measured with CLIP RN50x4 (6.6 MB): 4.3 to 5.4, as a network and as a frozen graph. Up to 100 MB more, for code, scratch
space and the allocator, do not grow with the batch.
"""

_ROOM = 2 * 10**9
"""Bytes for batches without a memory limit."""

_GAIN = 1.03
"""A larger batch must be faster by this factor."""

_SECONDS = 0.5
"""Time for which a batch size is tried, at least."""


def check_batch_size(wanted: object) -> int:
    """The requested batch size; raises `InputError` unless it is a whole number of at least 1."""
    if not isinstance(wanted, Integral) or wanted < 1:
        raise InputError(f"batch_size: found {shown(wanted)}; expected a whole number of at least 1, or auto")
    return int(wanted)


def largest_batch(model: Model, more_weights: int = 0, kept: int = 0) -> int:
    """The largest batch that fits into a model's memory limit.

    Args:
        more_weights: bytes of weights in addition to the model's own.
        kept: bytes of results per image.

    Raises:
        InputError: not even one image fits.
    """
    room = _ROOM if model.memory_limit is None else model.memory_limit - weight_bytes(model.module) - more_weights
    example = model.example()
    needed = _WORKING_SET * 4 * max(example.numel(), model.layers.largest_output(example)) + kept
    if model.memory_limit is not None and needed > room:
        raise InputError(
            f"{model.name}: one image needs about {needed:,} bytes beside the weights; "
            f"the memory limit of {model.memory_limit:,} leaves {max(room, 0):,}"
        )
    return max(room // needed, 1)


def fastest(sizes: Iterable[int], prepare: Callable[[int], Callable[[], object]]) -> int:
    """The first batch size whose successor is no faster.

    Args:
        sizes: in ascending order.
        prepare: batch size → a function that runs one such batch.
    """
    best, highest = 0, 0.0
    for size in sizes:
        speed = size / _seconds(prepare(size))
        if speed <= _GAIN * highest:
            break
        best, highest = size, speed
    return best


def _seconds(work: Callable[[], object]) -> float:
    """The shortest of several runs: other load on the machine only adds to it."""
    work()
    shortest, end = inf, perf_counter() + _SECONDS
    while (start := perf_counter()) < end:
        work()
        shortest = min(shortest, perf_counter() - start)
    return shortest
