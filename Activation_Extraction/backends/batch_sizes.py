"""How many images at a time: a fixed number, as many as memory has room for, or, where that is asked for, the fastest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf, prod
from numbers import Integral
from time import perf_counter

from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.resources import weight_bytes

BATCH_SIZE = 8
"""Images at a time where nobody says how many; the same on every machine, as rows are rounded differently in others."""

SIZES = (1, 2, 4, 8, 16, 32, 64)
"""Of which the fastest is searched for."""

_WORKING_SET = 6
"""Bytes that an image adds to a batch's peak, in sizes of the largest layer output of one image.

Measured with CLIP RN50x4 (6.6 MB): 4.3 to 5.4, as a network and as a frozen graph. Up to 100 MB more, of code, scratch
space and an allocator that gives back late, do not grow with the batch.
"""

_ROOM = 2 * 10**9
"""Bytes for batches where the model has no memory limit."""

_GAIN = 1.03
"""A larger batch is worth its memory where it is faster by this factor."""

_SECONDS = 0.5
"""For which a batch size is timed, at least."""


def check_batch_size(wanted: object) -> int:
    """The number of images that was asked for.

    Raises:
        InputError: not a whole number of at least 1.
    """
    if not isinstance(wanted, Integral) or wanted < 1:
        raise InputError(f"batch_size: found {shown(wanted)}; expected a whole number of at least 1, or auto")
    return int(wanted)


def largest_batch(model: Model, more_weights: int = 0, kept: int = 0) -> int:
    """The most images at a time that a model's memory limit leaves room for.

    Args:
        more_weights: bytes of weights beside the model's own.
        kept: bytes that are kept of an image.

    Raises:
        InputError: not even one image fits.
    """
    room = _ROOM if model.memory_limit is None else model.memory_limit - weight_bytes(model.module) - more_weights
    example = model.example()
    # A frozen graph lists its weights, too, as nodes without units.
    outputs = [prod(layer.shape) for layer in model.layers.listing(example) if layer.units is not None]
    needed = _WORKING_SET * 4 * max(example.numel(), *outputs) + kept
    if model.memory_limit is None:
        return max(room // needed, 1)
    if needed > room:
        raise InputError(
            f"{model.name}: one image needs about {needed:,} bytes beside the weights; "
            f"the memory limit of {model.memory_limit:,} leaves {max(room, 0):,}"
        )
    return room // needed


def fastest(sizes: Iterable[int], prepare: Callable[[int], Callable[[], object]]) -> int:
    """The first batch size after which a larger one is no faster.

    Args:
        sizes: images at a time, from the smallest.
        prepare: gives what runs one batch of a size.
    """
    best, highest = 0, 0.0
    for size in sizes:
        speed = size / _seconds(prepare(size))
        if speed <= _GAIN * highest:
            break
        best, highest = size, speed
    return best


def _seconds(work: Callable[[], object]) -> float:
    """The shortest of some runs: whatever else the machine does only adds to them."""
    work()
    shortest, begun = inf, perf_counter()
    while perf_counter() - begun < _SECONDS:
        start = perf_counter()
        work()
        shortest = min(shortest, perf_counter() - start)
    return shortest
