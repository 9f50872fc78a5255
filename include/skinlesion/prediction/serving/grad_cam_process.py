"""Grad-CAM in a process of its own: TensorFlow starts there on the first request, and cannot delay predictions."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from skinlesion.data.images.file import Pixels, encode_jpeg
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.prediction.serving.metrics import Metrics
from skinlesion.prediction.serving.problem import Problem, busy

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from skinlesion.network.grad_cam import GradCam

log = logging.getLogger(__name__)

Overlay = Callable[["Question"], bytes]

_SECONDS_TO_END: Final = 2.0
_QUALITY: Final = 90


@dataclass(frozen=True)
class Question:
    """A request for one heat map.

    Attributes:
        model: the Keras file.
        sha256: the SHA-256 that the file must have: another model may have replaced it in the meantime.
        pixels: the image, RGB, a uint8 array of shape (224, 224, 3).
        label: the class, one of `LABELS`.
    """

    model: Path
    sha256: str
    pixels: Pixels
    label: str


class GradCamProcess:
    """A process that answers one question at a time. It starts with the first, and is ended when one takes too long."""

    def __init__(self, metrics: Metrics, *, seconds: float, most_waiting: int, overlay: Overlay | None = None) -> None:
        """seconds: longest time for one question. overlay: the function that the process calls, which returns a JPEG."""
        self._metrics = metrics
        self._seconds = seconds
        self._most_waiting = most_waiting
        self._overlay = overlay or overlay_of
        self._one_at_a_time = ThreadPoolExecutor(1, thread_name_prefix="grad-cam")
        self._waiting = 0
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None

    async def overlay(self, question: Question) -> bytes:
        """Return the image with the heat map over it, as JPEG. Raises Problem (503) when busy, too slow or failed."""
        if self._waiting >= self._most_waiting:
            raise busy("Other Grad-CAMs are waiting. Ask again in some seconds.", seconds=5)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._one_at_a_time, self._ask, question)
        finally:
            self._waiting -= 1

    def _ask(self, question: Question) -> bytes:
        connection = self._started()
        try:
            connection.send(question)
            if not connection.poll(self._seconds):
                self._end()
                self._metrics.grad_cams.labels("too slow").inc()
                raise _unavailable(f"Grad-CAM took longer than {self._seconds:g} seconds and was ended. Ask again.")
            answer = connection.recv()
        except (EOFError, OSError):
            self._end()
            self._metrics.grad_cams.labels("process lost").inc()
            raise _unavailable("The process that makes Grad-CAMs ended. Ask again: another is started.") from None
        if isinstance(answer, str):
            self._metrics.grad_cams.labels("failed").inc()
            raise _unavailable(answer)
        self._metrics.grad_cams.labels("made").inc()
        return bytes(answer)

    def _started(self) -> Connection:
        if self._connection is not None and self._process is not None and self._process.is_alive():
            return self._connection
        self._end()
        # Not forked: TensorFlow and OpenCV hang in the forked child of a process that has threads.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=answer_questions, args=(theirs, self._overlay), daemon=True)
        self._process.start()
        theirs.close()
        log.info("Started the process that makes Grad-CAMs")
        return self._connection

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.join(_SECONDS_TO_END)
        self._connection = self._process = None

    def close(self) -> None:
        """End the process, even in the middle of a question."""
        process = self._process
        if process is not None:
            process.kill()
        self._one_at_a_time.shutdown(wait=True, cancel_futures=True)
        self._end()


def _unavailable(detail: str) -> Problem:
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "no-grad-cam", detail, headers={"Retry-After": "5"})


def answer_questions(connection: Connection, overlay: Overlay) -> None:
    """Answer each question with a JPEG, or a sentence that says why not, until the server's end of the connection closes."""
    import signal

    # Ctrl-C in the terminal goes to the whole group; the server ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            question = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer: bytes | str = overlay(question)
        except Exception as error:  # whatever it is, the next question may succeed
            answer = f"Grad-CAM failed ({type(error).__name__}: {str(error)[:300]})."
        connection.send(answer)


def overlay_of(question: Question) -> bytes:
    """Return one Grad-CAM as a JPEG of 224x224. It imports TensorFlow, so only the process calls it."""
    heat_map = _grad_cam(question.model, question.sha256)(question.pixels, question.label)
    return encode_jpeg(heat_map.overlay, _QUALITY)


@lru_cache(maxsize=1)
def _grad_cam(path: Path, sha256: str) -> GradCam:
    from skinlesion.network import quiet_tensorflow

    quiet_tensorflow.load()
    from skinlesion.network.classifier import load_classifier
    from skinlesion.network.grad_cam import GradCam

    if sha256_of(path) != sha256:
        raise DataError(f"{path} belongs to another model, or was altered")
    return GradCam(load_classifier(path))
