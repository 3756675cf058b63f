"""Reads and arranges images ahead of a network, in processes of their own: rows in, batches of pixels out, in order.

    with Decoders(images, model.image_input, batch_size=16) as decoders:
        for batch in decoders.batches([range(0, 16), range(16, 20)]):
            x = normalised(torch.from_numpy(batch.pixels_NHWC), model.image_input)

A broken image is a row of zeros with its reason. A folder or disk that has gone away stops the run instead.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from Activation_Extraction.base.errors import InputError, InterpScoreError, shown
from Activation_Extraction.clip_helpers import OWN, ImageInput, preparation
from Activation_Extraction.decoding.process import DecoderDied, DecodingProcess
from Activation_Extraction.decoding.worker import GONE, STORAGE, Answer, Settings
from Activation_Extraction.images.places import AN_IMAGE, FilePart, ImageError
from Activation_Extraction.images.reading import MAX_PIXELS
from Activation_Extraction.images.sets import ImageSet

__all__ = ["Decoders", "PixelBatch", "default_workers"]

DEATHS = 5
"""So many images in a row on which decoders die are not these images' fault, but the machine's."""


@dataclass(frozen=True, eq=False)
class PixelBatch:
    """Images as a network is shown them.

    Attributes:
        rows: which rows of the image set these are.
        pixels_NHWC: uint8, always of the full batch size, zeros where an image is broken and behind the last row.
            Of a network with a transform of its own, float32 in the network's layout.
        sha256: of each row's file, in hexadecimal; None where it could not be read.
        errors: why a row is broken, else "".
    """

    rows: range
    pixels_NHWC: NDArray[Any]
    sha256: list[str | None]
    errors: list[str]


class Decoders:
    """Decoding processes and the threads that feed them; leaving the context ends them all.

    Args:
        images: what rows are of.
        image_input: what the network takes.
        preset: "clip", "published", "own", or None for what the network was trained with. A network's own transform is
            called in this process, for one image at a time; only reading the image for it is done elsewhere.
        batch_size: images of a batch.
        workers: decoding processes; None takes `default_workers()`.
        ahead: batches that are being made, or wait, while one is used.
        niceness: by how much decoding stands back behind the network's own threads, from 0 to 19.
        max_pixels: larger images are broken.
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
        self._deaths = 0  # since the last image that was decoded
        self._changed = threading.Condition()  # guards what follows
        self._is_open = False
        self._tasks: deque[_Task] = deque()
        self._busy = self._suspects = 0
        self._failure: BaseException | None = None
        settings = Settings(None if preset == OWN else preset, height, width, max_pixels, niceness)
        self._processes = [DecodingProcess(settings) for _ in range(workers or default_workers())]
        self._threads = [threading.Thread(target=self._work, args=(one,), daemon=True) for one in self._processes]

    def __enter__(self) -> Decoders:
        self._is_open = True
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
        for process in self._processes:
            process.end()
        for thread in self._threads:
            thread.join()

    def batches(self, spans: Iterable[range]) -> Iterator[PixelBatch]:
        """Read the images of each span of rows, in the order of the spans; a span has at most `batch_size` rows.

        Raises:
            InputError: a folder, file or disk that held images when they were listed is gone or fails.
            InterpScoreError: the decoding processes do not start, or die on one image after the other.
        """
        remaining, making = iter(spans), deque[_Making]()
        try:
            while True:
                while len(making) <= self._ahead and (span := next(remaining, None)) is not None:
                    making.append(self._begun(span))
                if not making:
                    return
                self._wait_for(making[0])
                yield making.popleft().batch
        finally:
            with self._changed:
                self._tasks = deque(task for task in self._tasks if task.making not in making)

    def _begun(self, span: range) -> _Making:
        assert len(span) <= self._batch_shape[0], f"{span} is longer than a batch"
        pixels = np.zeros(self._batch_shape, self._type)
        making = _Making(PixelBatch(span, pixels, [None] * len(span), [""] * len(span)), len(span))
        with self._changed:
            self._tasks.extend(_Task(making, i) for i in range(len(span)))
            self._changed.notify_all()
        return making

    def _wait_for(self, making: _Making) -> None:
        with self._changed:
            while making.pending:
                if self._failure is not None:
                    raise self._failure
                assert self._is_open, "batches are asked for outside the context of the decoders"
                self._changed.wait()

    # In a thread for each process

    def _work(self, process: DecodingProcess) -> None:
        try:
            process.start()
            while taken := self._take():
                self._decode(process, *taken)
                with self._changed:
                    self._busy -= 1
                    taken[0].making.pending -= 1
                    self._changed.notify_all()
        except BaseException as error:  # raised where batches are asked for
            with self._changed:
                self._failure = self._failure or error
                self._changed.notify_all()
        finally:
            process.release()

    def _take(self) -> tuple[_Task, FilePart | bytes] | None:
        """The next image and its place; None at the end. Places are looked up in order: datasets are read forwards."""
        with self._changed:
            while self._is_open and (not self._tasks or self._suspects):
                self._changed.wait()
            if not self._is_open:
                return None
            self._busy += 1
            task = self._tasks.popleft()
            return task, self._images.where(task.row)

    def _decode(self, process: DecodingProcess, task: _Task, place: FilePart | bytes) -> None:
        batch, name = task.making.batch, self._images.name(task.row)
        target = batch.pixels_NHWC[task.position]
        into = target if self._prepare is None else None
        try:
            answer, picture = process.ask(name, place, into)
            self._deaths = 0
        except DecoderDied:
            with self._alone():
                answer, picture = self._asked_again(process, name, place, into)
        self._check_storage(answer, task.row, place)
        error = answer.error
        if picture is not None and self._prepare is not None:
            try:
                with self._preparing:
                    target[:] = self._prepare(Image.fromarray(picture), name).numpy()
            except ImageError as its:
                error = str(its)
        if error:
            target[:] = 0
        batch.sha256[task.position], batch.errors[task.position] = answer.sha256, error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process decodes, and let none begin inside the block: memory is all for this one."""
        with self._changed:
            self._suspects += 1
            self._busy -= 1
            self._changed.notify_all()
            while self._busy and self._is_open:
                self._changed.wait()
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._suspects -= 1
                self._changed.notify_all()

    def _asked_again(
        self, process: DecodingProcess, name: str, place: FilePart | bytes, into: NDArray[np.uint8] | None
    ) -> tuple[Answer, NDArray[np.uint8] | None]:
        try:
            return process.ask(name, place, into)
        except DecoderDied as death:
            self._deaths += 1
            if self._deaths >= DEATHS:
                raise InterpScoreError(
                    f"decoding processes died on {DEATHS} images in a row, the last one {name} ({death}); "
                    "expected enough memory for them (fewer workers need less)"
                ) from None
            return Answer(None, str(ImageError(name, f"the decoder died on it, twice ({death})", AN_IMAGE))), None

    def _check_storage(self, answer: Answer, row: int, place: FilePart | bytes) -> None:
        """Refuse to go on when it is not this image that is broken, but where it and others are kept."""
        if isinstance(place, bytes):
            return
        if answer.is_cut:
            raise InputError(f"{place.path}: is shorter than when it was listed; expected a file that stays as it is")
        if answer.errno in GONE:
            with self._changed:  # an image set is for one thread at a time
                lost = self._images.lost(row)
            if lost is not None:
                raise InputError(
                    f"{lost}: is gone or empty, but was there when the images were listed; expected it to stay"
                )
        if answer.errno in STORAGE:
            assert answer.errno is not None
            raise InputError(
                f"{place.path}: cannot be read ({os.strerror(answer.errno)}); expected a disk that answers"
            )


@dataclass(eq=False)
class _Making:
    """A batch of which `pending` images are still to come."""

    batch: PixelBatch
    pending: int


class _Task(NamedTuple):
    """The image at a place of a batch."""

    making: _Making
    position: int

    @property
    def row(self) -> int:
        return self.making.batch.rows[self.position]


def default_workers() -> int:
    """A decoding process for each processor that this process may use, up to 8."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, 8)
