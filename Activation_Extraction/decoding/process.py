"""One decoding process as its parent sees it: started, asked, started again when it has died, ended for good."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from io import BufferedReader
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.errors import InterpScoreError
from Activation_Extraction.decoding.worker import READY, Answer, Settings
from Activation_Extraction.images.places import FilePart

_RUN = """
import sys
settings, *sys.path = sys.argv[1:]
from Activation_Extraction.decoding.worker import main
main(settings)
"""
"""Finds modules where this process does; a program's main module is never run again, nor anything copied by forking."""

_STARTS = 3
"""So often it is tried to start a process that is killed while it starts, before it can say anything."""

_PIPE_BYTES = 2**20
"""So that a picture fits into the pipe, and the process goes on before it is taken out."""

_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    **dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(2**26)),
}
"""One thread a process; and memory is kept from one picture to the next, which spares a fifth of the time (glibc)."""


class DecoderDied(Exception):  # noqa: N818 (an event, not an error)
    """The process ended before it answered; the message says how."""


class DecodingProcess:
    """A process that decodes one image at a time. One thread starts and asks it; any may end it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._lock, self._is_over = threading.Lock(), False

    def start(self) -> None:
        """Start the process, unless it runs.

        Raises:
            InterpScoreError: it does not come up.
            DecoderDied: it was ended for good.
        """
        for _ in range(_STARTS):
            if self._process is not None:
                return
            process = self._started()
            answers, messages = cast("BinaryIO", process.stdout), cast("BinaryIO", process.stderr)
            _widen(answers.fileno())
            if READY in iter(answers.readline, b""):  # an interpreter may be set up to say something first
                return
            said = messages.read().decode(errors="replace").strip().rpartition("\n")[2]
            how = self._end()
            if said:
                break
        raise InterpScoreError(f"a decoding process does not start ({said or how})")

    def _started(self) -> subprocess.Popen[bytes]:
        folders = [os.path.abspath(folder) for folder in sys.path]  # "" is the one that we are in
        with self._lock:
            if self._is_over:
                raise DecoderDied("ended")
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _RUN, json.dumps(self._settings), *folders],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **_ENVIRONMENT},
                start_new_session=True,  # Ctrl-C in a terminal is for us alone
            )
            return self._process

    def ask(
        self, name: str, place: FilePart | bytes, into: NDArray[np.uint8] | None
    ) -> tuple[Answer, NDArray[np.uint8] | None]:
        """Have one image decoded.

        Args:
            name: what messages call it.
            into: H × W × C, where to put the pixels; None makes an array of the picture's own size.

        Returns:
            The answer, and the pixels unless the image is broken.

        Raises:
            DecoderDied: it ended before it had answered; `into` may hold anything. Asked again, it is started again.
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
            if (line := answers.readline()).endswith(b"\n"):
                answer = Answer(**json.loads(line))
                if answer.shape is None:
                    return answer, None
                pixels_HWC = np.empty(answer.shape, np.uint8) if into is None else into
                if answers.readinto(pixels_HWC.data.cast("B")) == pixels_HWC.nbytes:
                    return answer, pixels_HWC
        except BrokenPipeError:
            pass
        raise DecoderDied(self._end())

    def end(self) -> None:
        """End the process for good, whatever it is at; the thread that asks it sees it die."""
        with self._lock:
            self._is_over = True
            if self._process is not None:
                self._process.kill()

    def release(self) -> None:
        """Give back what the ended process held; for the thread that asked it."""
        self.end()
        self._end()

    def _end(self) -> str:
        """Clear away a process that has closed its pipes; says how it ended."""
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
    part = FilePart("", None, len(place)) if isinstance(place, bytes) else place
    path = os.fsencode(part.path).decode("latin-1")  # names of files are bytes, not always text
    question = {"name": name, "path": None if isinstance(place, bytes) else path, "offset": part.offset}
    return json.dumps({**question, "size": part.size}).encode() + b"\n"


def _widen(pipe: int) -> None:
    if sys.platform == "linux":
        import fcntl

        with suppress(OSError):  # each user may have so much of it
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
