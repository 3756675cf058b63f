"""Reads and preprocesses images ahead of a network, in separate processes: rows in, batches of pixels out, in order.

    with Decoders(images, model.image_input, batch_size=16) as decoders:
        for batch in decoders.batches([range(0, 16), range(16, 20)]):
            x = network_input(torch.from_numpy(batch.pixels_NHWC), model.image_input)

A broken image is a row of zeros with an error. A folder or disk that disappears stops the run.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from queue import SimpleQueue
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from Activation_Extraction.base.errors import InputError, InterpScoreError, shown
from Activation_Extraction.clip_helpers import OWN, ImageInput, preparation
from Activation_Extraction.decoding.process import DecoderCrashedError, DecodingProcess
from Activation_Extraction.decoding.worker import FILE_MISSING, STORAGE_FAILS, Answer, Settings
from Activation_Extraction.images.places import AN_IMAGE, FilePart, ImageError
from Activation_Extraction.images.reading import MAX_PIXELS
from Activation_Extraction.images.sets import ImageSet

CRASH_LIMIT = 5
"""If this many images in a row crash their decoders twice, the machine is to blame, not the images."""


@dataclass(frozen=True, eq=False)
class PixelBatch:
    """Preprocessed images.

    Attributes:
        rows: their rows in the image set.
        pixels_NHWC: uint8, always of the full batch size, zeros for broken images and after the last row. With the
            preset "own", float32 in the network's layout.
        sha256: of each row's file, in hexadecimal; None if it could not be read.
        errors: why a row is broken, else "".
        several: rows whose files have more pictures; the first is read.
    """

    rows: range
    pixels_NHWC: NDArray[Any]
    sha256: list[str | None]
    errors: list[str]
    several: list[int] = field(default_factory=list)


class Decoders:
    """Decoding processes and the threads that use them; leaving the context ends them all.

    Args:
        images: the image set.
        image_input: what the network takes.
        preset: "clip", "published", "own", or None for what the network was trained with. A network's own transform
            runs in this process, for one image at a time; only decoding is done elsewhere.
        batch_size: images in a batch.
        workers: decoding processes; None takes `default_workers()`.
        ahead: batches to prepare while one is used.
        niceness: of the decoding processes, 0 to 19, so that the network's threads have priority.
        max_pixels: larger images count as broken.
    """

    def __init__(
        self,
        images: ImageSet,
        image_input: ImageInput,
        preset: str | None = None,
        *,
        batch_size: int,
        workers: int | None = None,
        ahead: int = 2,
        niceness: int = 10,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        for option, count in (("batch_size", batch_size), ("workers", workers)):
            if count is not None and count < 1:
                raise InputError(f"{option}: found {shown(count)}; expected at least 1")
        preset = image_input.preset if preset is None else preset
        prepare, height, width = preparation(image_input, preset), image_input.height, image_input.width
        self._prepare = prepare if preset == OWN else None
        shape = (3, height, width) if preset == OWN and image_input.layout == "NCHW" else (height, width, 3)
        self._batch_shape, self._type = (batch_size, *shape), np.float32 if preset == OWN else np.uint8
        self._images, self._ahead = images, ahead
        self._preparing = threading.Lock()  # a transform may be made for one thread
        self._looking_up = threading.Lock()
        self._tasks: deque[tuple[Future[Answer], int, NDArray[Any]]] = deque()
        self._crashes = 0  # since the last decoded image
        settings = Settings(None if preset == OWN else preset, height, width, max_pixels, niceness)
        self._processes = [DecodingProcess(settings) for _ in range(workers or default_workers())]
        self._idle = SimpleQueue[DecodingProcess]()
        for process in self._processes:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(len(self._processes))

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self._processes:
            process.end()  # even in the middle of an image; the thread that uses it gets an error
        self._threads.shutdown(cancel_futures=True)
        for outcome, _, _ in self._tasks:
            outcome.cancel()  # another thread may be waiting for it
        for process in self._processes:
            process.release()

    def batches(self, spans: Iterable[range]) -> Iterator[PixelBatch]:
        """Read the images of each span of rows, in the order of the spans; a span has at most `batch_size` rows.

        Raises:
            InputError: a folder, file or disk has disappeared or fails since the images were listed.
            InterpScoreError: the decoding processes do not start, or crash on one image after the other.
        """
        remaining, pending = iter(spans), deque[_Pending]()
        try:
            while True:
                pending.extend(map(self._submit, islice(remaining, 1 + self._ahead - len(pending))))
                if not pending:
                    return
                batch, outcomes = pending[0]
                for position, outcome in enumerate(outcomes):
                    self._finish(batch, position, outcome, pending)
                pending.popleft()
                yield batch
        finally:
            for outcome in _outcomes(pending):
                outcome.cancel()

    def _submit(self, span: range) -> _Pending:
        assert len(span) <= self._batch_shape[0], f"{span} is longer than a batch"
        pixels = np.zeros(self._batch_shape, self._type)
        outcomes = [Future[Answer]() for _ in span]
        for outcome, row, target in zip(outcomes, span, pixels, strict=False):
            self._tasks.append((outcome, row, target))
            self._threads.submit(self._decode_next)
        return PixelBatch(span, pixels, [None] * len(span), [""] * len(span)), outcomes

    def _decode_next(self) -> None:
        """In a thread: decode the next image. Places are looked up in order, since datasets are read in order."""
        with self._looking_up:
            outcome, row, target = self._tasks.popleft()
            if not outcome.set_running_or_notify_cancel():
                return
            try:
                name, place = self._images.name(row), self._images.where(row)
            except BaseException as error:
                outcome.set_exception(error)
                return
        try:
            outcome.set_result(self._decoded(name, place, target))
        except BaseException as error:
            outcome.set_exception(error)

    def _decoded(self, name: str, place: FilePart | bytes, target: NDArray[Any]) -> Answer:
        """Decode an image into a row of a batch, by an idle process."""
        process = self._idle.get()
        try:
            answer, picture = process.ask(name, place, target if self._prepare is None else None)
        finally:
            self._idle.put(process)
        if picture is not None and self._prepare is not None:
            try:
                with self._preparing:
                    target[:] = self._prepare(Image.fromarray(picture), name).numpy()
            except ImageError as error:
                return answer._replace(error=str(error))
        return answer

    def _finish(self, batch: PixelBatch, position: int, outcome: Future[Answer], pending: Iterable[_Pending]) -> None:
        row, target = batch.rows[position], batch.pixels_NHWC[position]
        try:
            answer = outcome.result()
            self._crashes = 0
        except DecoderCrashedError:
            for other in _outcomes(pending):
                other.exception()  # once all have ended, this image has the memory to itself
            answer = self._retried(row, target)
        self._check_storage(answer, row)
        if answer.error:
            target[:] = 0
        batch.sha256[position], batch.errors[position] = answer.sha256, answer.error
        if answer.several and not answer.error:
            batch.several.append(row)

    def _retried(self, row: int, target: NDArray[Any]) -> Answer:
        name = self._images.name(row)
        try:
            return self._decoded(name, self._images.where(row), target)
        except DecoderCrashedError as crash:
            self._crashes += 1
            if self._crashes >= CRASH_LIMIT:
                raise InterpScoreError(
                    f"decoding processes crashed on {CRASH_LIMIT} images in a row, the last one {name} ({crash}); "
                    "expected enough memory for them (fewer workers need less)"
                ) from None
            return Answer(error=str(ImageError(name, f"decoding this image crashed twice ({crash})", AN_IMAGE)))

    def _check_storage(self, answer: Answer, row: int) -> None:
        """Stop if not this image is broken but the storage of it and others."""
        if not answer.is_cut and answer.errno not in (*FILE_MISSING, *STORAGE_FAILS):
            return
        place = self._images.where(row)
        assert isinstance(place, FilePart)
        if answer.is_cut:
            raise InputError(f"{place.path}: is shorter than when it was listed; expected it to stay unchanged")
        if answer.errno in FILE_MISSING and (lost := self._images.lost(row)) is not None:
            raise InputError(f"{lost}: is gone or empty, but was not when the images were listed; expected it to stay")
        if answer.errno in STORAGE_FAILS:
            reason = os.strerror(answer.errno or 0)
            raise InputError(f"{place.path}: cannot be read ({reason}); expected working storage")


_Pending: TypeAlias = "tuple[PixelBatch, list[Future[Answer]]]"
"""A batch, and the outcome of each of its images."""


def _outcomes(pending: Iterable[_Pending]) -> list[Future[Answer]]:
    return list(chain.from_iterable(outcomes for _, outcomes in pending))


def default_workers() -> int:
    """One decoding process for each processor that this process may use, up to 8."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, 8)
