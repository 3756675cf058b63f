"""How many images at a time: as asked for, as memory allows, or as is fastest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from math import inf, prod
from numbers import Integral
from pathlib import Path
from time import perf_counter
from typing import Protocol, TypeVar

from Activation_Extraction.base.errors import InputError, OutputError, shown
from Activation_Extraction.base.files import write_together
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.resources import weight_bytes
from Activation_Extraction.models.weights.cache import cache_folder

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

_LONGEST = 1.0
"""Seconds; a size whose batch would take longer is not tried, as long as a smaller one was."""


def check_batch_size(wanted: int) -> int:
    """The number of images that was asked for.

    Raises:
        InputError: not a whole number of at least 1.
    """
    if not isinstance(wanted, Integral) or wanted < 1:
        raise InputError(f"batch_size: found {shown(wanted)}; expected a whole number of at least 1")
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


class Runs(Protocol):
    """Whatever runs batches of one size."""

    @property
    def batch_size(self) -> int: ...


R = TypeVar("R", bound=Runs)


def fastest(sizes: Iterable[int], build: Callable[[int], R], run: Callable[[R], object]) -> R:
    """What runs the batch size that gives the most images a second; a larger one must earn its memory.

    Args:
        sizes: images at a time, from the smallest; the search ends where two in a row are no faster, or take long.
        build: makes what runs batches of a size.
        run: runs one batch.
    """
    best: R | None = None
    highest, slower = 0.0, 0
    for size in sizes:
        if best is not None and (slower == 2 or size / highest > _LONGEST):
            break
        built = build(size)
        speed = size / _seconds(lambda built=built: run(built))  # type: ignore[misc]
        if speed > _GAIN * highest:
            best, highest, slower = built, speed, 0
        else:
            slower += 1
    assert best is not None, "no sizes to choose from"
    return best


def remembered(conditions: Mapping[str, object], sizes: Container[int]) -> int | None:
    """The size that was fastest in an earlier search under the same conditions, if it is still one of some sizes."""
    with suppress(OSError, ValueError):
        found = json.loads(_note(conditions).read_text(encoding="utf-8"))
        if isinstance(found, dict) and isinstance(size := found.get("batch_size"), int) and size in sizes:
            return size
    return None


def remember(conditions: Mapping[str, object], size: int) -> None:
    """Note the outcome of a search in the cache, so that the same command always runs batches of the same size."""
    note = _note(conditions)
    with suppress(OSError, OutputError):  # a cache that cannot be written costs a search each time
        note.parent.mkdir(parents=True, exist_ok=True)
        write_together({note: json.dumps({"batch_size": size, **conditions}, indent=1) + "\n"})


def _note(conditions: Mapping[str, object]) -> Path:
    key = hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "batch_sizes" / f"{key[:16]}.json"


def _seconds(work: Callable[[], object]) -> float:
    """The shortest of some runs: whatever else the machine does only adds to them."""
    work()
    shortest, begun = inf, perf_counter()
    while True:
        start = perf_counter()
        work()
        end = perf_counter()
        shortest = min(shortest, end - start)
        if end - begun > _SECONDS:
            return shortest
