"""A decoding process, as its parent uses it; it is restarted after a crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from io import BufferedReader
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.documents import parse_json
from Activation_Extraction.base.errors import InputError, InterpScoreError
from Activation_Extraction.decoding.worker import READY, Answer, Settings
from Activation_Extraction.images.places import FilePart

WORKER_CODE = """
import sys
settings, *sys.path = sys.argv[1:]
from Activation_Extraction.decoding.worker import main
main(settings)
"""
"""Finds modules where this process does; unlike multiprocessing, it neither forks nor runs the main module again."""

_STARTS = 3
"""Attempts to start a process that is killed, without a message, while it starts."""

_LONGEST_ANSWER = 2**20
_PIPE_BYTES = 2**20
"""A picture fits into the pipe, so the process can decode the next one before it is read."""

_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    **dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(2**26)),
}
"""One thread per process; glibc keeps memory from one picture to the next, which saves a fifth of the time."""


class DecoderCrashedError(Exception):
    """The process ended before it answered; the message says how."""


class DecodingProcess:
    """A process that decodes one image at a time. One thread starts and uses it; any may end it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._lock, self._is_over = threading.Lock(), False

    def start(self) -> None:
        """Start the process unless it is running.

        Raises:
            InterpScoreError: it does not start.
            DecoderCrashedError: `end` was called.
        """
        for _ in range(_STARTS):
            if self._process is not None:
                return
            process = self._started()
            answers, messages = cast("BinaryIO", process.stdout), cast("BinaryIO", process.stderr)
            _widen(answers.fileno())
            if READY in iter(answers.readline, b""):  # an interpreter may be set up to print something first
                return
            message = messages.read().decode(errors="replace").strip().rpartition("\n")[2]
            how = self._clear()
            if message:
                break
        raise InterpScoreError(f"a decoding process does not start ({message or how})")

    def _started(self) -> subprocess.Popen[bytes]:
        folders = map(os.path.abspath, sys.path)  # "" is the current folder
        with self._lock:
            if self._is_over:
                raise DecoderCrashedError("ended")
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", WORKER_CODE, json.dumps(self._settings), *folders],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **_ENVIRONMENT},
                start_new_session=True,  # Ctrl-C in a terminal reaches only this process
            )
            return self._process

    def ask(
        self, name: str, place: FilePart | bytes, into: NDArray[np.uint8] | None
    ) -> tuple[Answer, NDArray[np.uint8] | None]:
        """Decode one image.

        Args:
            name: the image's name in messages.
            into: H × W × C, for the pixels; None makes an array of the picture's size.

        Returns:
            The answer, and the pixels unless the image is broken.

        Raises:
            DecoderCrashedError: it ended before it answered; `into` is undefined. The next call restarts it.
        """
        self.start()
        assert self._process is not None
        questions = cast("BinaryIO", self._process.stdin)
        answers = cast("BufferedReader", self._process.stdout)
        try:
            questions.write(_question(name, place))
            if isinstance(place, bytes):
                questions.write(place)
            questions.flush()
            if (line := answers.readline(_LONGEST_ANSWER)).endswith(b"\n"):
                answer = Answer(**parse_json(line, "the answer of a decoding process"))
                if answer.shape is None:
                    return answer, None
                pixels_HWC = np.empty(answer.shape, np.uint8) if into is None else into
                if answers.readinto(pixels_HWC.data.cast("B")) == pixels_HWC.nbytes:
                    return answer, pixels_HWC
        except (BrokenPipeError, InputError, TypeError, ValueError):  # it ended, or its memory is damaged
            pass
        raise DecoderCrashedError(self._clear())

    def end(self) -> None:
        """Kill the process for good; a thread that waits for its answer gets a `DecoderCrashedError`."""
        with self._lock:
            self._is_over = True
            if self._process is not None:
                self._process.kill()

    def release(self) -> None:
        """Free the resources of the process; for the thread that used it."""
        self.end()
        self._clear()

    def _clear(self) -> str:
        """Kill the process, close its pipes, and say how it ended."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return "ended"
        process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            with suppress(BrokenPipeError):
                cast("BinaryIO", pipe).close()
        code = process.wait()
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
        return f"exit code {code}"


def _question(name: str, place: FilePart | bytes) -> bytes:
    if isinstance(place, bytes):
        question: dict[str, Any] = {"path": None, "offset": None, "size": len(place)}
    else:
        question = {**place._asdict(), "path": os.fsencode(place.path).decode("latin-1")}  # names may not be UTF-8
    return json.dumps({"name": name, **question}).encode() + b"\n"


def _widen(pipe: int) -> None:
    if sys.platform == "linux":
        import fcntl

        with suppress(OSError):  # pipe memory is limited per user
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
