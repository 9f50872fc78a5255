"""The newest candidate in the shadow: it is asked about the same pictures as the model in service, and only the log hears it.

One thread does all of it: it follows the registry, loads the candidate through the same checks as the model in service, and asks
it. It begins a picture only while no answer is being made, so under load pictures wait; what finds the queue full, or waits too
long, is dropped and counted. The thread has the usual priority of the system: a lower one would keep Python's lock for as long as
other programs keep the thread from a core, and all answers wait for that lock (1.3 s, measured on a busy machine).
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from skinlesion.data.images.file import Pixels
from skinlesion.foundation import layout
from skinlesion.prediction.log.entries import Entry, said
from skinlesion.prediction.log.writer import PredictionLog
from skinlesion.prediction.serving.metrics import Metrics
from skinlesion.prediction.serving.model_watch import Stamps, stamps
from skinlesion.prediction.serving.served_model import Shadowing, load_candidate
from skinlesion.registry import history, versions
from skinlesion.registry.snapshot import Registry

log = logging.getLogger(__name__)

MOST_WAITING: Final = 64
"""Pictures that wait for the candidate: 10 MB."""

LONGEST_WAIT: Final = 10.0
"""Seconds after which a picture is dropped. A case that is forgotten must not come back from the queue."""

_TICK: Final = 0.5


class Picture(NamedTuple):
    """A picture that was answered. entry: of the answer, as the log has it. sha256: of its file. since: by the steady clock."""

    entry: Entry
    pixels: Pixels
    sha256: str
    since: float


class Shadow:
    """Asks the candidate.

    Attributes:
        quiet: set while no answer is being made.
    """

    def __init__(self, models: Path, prediction_log: PredictionLog, metrics: Metrics, *, seconds: float) -> None:
        """seconds: how often it looks for another candidate."""
        self._models, self._log, self._metrics, self._seconds = models, prediction_log, metrics, seconds
        self._waiting: queue.Queue[Picture] = queue.Queue(MOST_WAITING)
        self._of_registry: Stamps | None = None
        self._of_files: Stamps | None = ()
        self._chosen: versions.Registered | None = None
        self._model: Shadowing | None = None
        self._problem = ""
        self._over = threading.Event()
        self.quiet = threading.Event()
        self.quiet.set()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def take(self, entry: Entry, pixels: Pixels, sha256: str) -> None:
        """Let the candidate, if there is one and it is not what answered, be asked about a picture. Never waits."""
        model = self._model
        if model is None or model.version == entry["version"]:  # it has just been promoted
            return
        try:
            self._waiting.put_nowait(Picture(entry, pixels, sha256, time.monotonic()))
        except queue.Full:
            self._metrics.shadow_dropped.inc()

    def close(self) -> None:
        """Ask about no further picture."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        picture, looked = None, -self._seconds
        while not self._over.is_set():
            if time.monotonic() - looked >= self._seconds:
                self._look()
                looked = time.monotonic()
            with suppress(queue.Empty):
                picture = picture or self._waiting.get(timeout=_TICK)
            if picture is not None and self.quiet.wait(_TICK):
                self._ask(picture)
                picture = None

    def _ask(self, picture: Picture) -> None:
        model = self._model
        try:
            if model is None or time.monotonic() - picture.since > LONGEST_WAIT:
                return self._note(False)
            answer = model.classifier(picture.pixels, picture.sha256)
            self._log.note_beside(picture.entry, said(model.version, model.number, answer), self._note)
        except Exception as error:  # whatever a candidate does, it must not end this thread
            self._note(False)
            self._complain(f"The candidate in the shadow could not be asked about a picture: {error}")

    def _note(self, is_written: bool) -> None:
        (self._metrics.shadow_answers if is_written else self._metrics.shadow_dropped).inc()

    def _look(self) -> None:
        """Load the candidate that is the newest now, unless neither the registry nor its files have changed."""
        try:
            of_registry = stamps(
                versions.path(self._models), history.path(self._models), layout.release_in_service(self._models)
            )
            if of_registry != self._of_registry:
                self._chosen = Registry.read(self._models).waiting
                self._of_registry = of_registry
            chosen = self._chosen
            folder = layout.candidate(self._models, chosen.run if chosen is not None else "")
            of_files = stamps(*(folder / name for name in (chosen.sha256 if chosen is not None else ())))
            if of_files == self._of_files:
                return
            self._of_files = of_files
            self._model = load_candidate(self._models, chosen) if chosen is not None else None
        except Exception as error:  # the answers go on, and so does the next look
            self._model = None
            if isinstance(error, OSError):
                self._of_files = None  # the disk may recover
            self._complain(f"No candidate is in the shadow: {error}")
        else:
            self._problem = ""
            if self._model is not None:
                log.info("Version %d, run %s, is in the shadow", self._model.number, self._model.version)
        self._metrics.shadowing(self._model.version if self._model is not None else None)

    def _complain(self, problem: str) -> None:
        """Log a sentence, unless it is the last one again."""
        if problem != self._problem:
            log.warning("%s", problem)
        self._problem = problem
