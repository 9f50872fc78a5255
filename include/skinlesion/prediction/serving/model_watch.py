"""The model that answers: the one in service, replaced after each promotion and rollback."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Final

from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.prediction.serving.metrics import Metrics
from skinlesion.prediction.serving.problem import Problem
from skinlesion.prediction.serving.served_model import NoModel, ServedModel, load
from skinlesion.registry import in_service, model_files

log = logging.getLogger(__name__)

Stamps = tuple[tuple[str, int, int, int, int], ...]

_STARTING: Final = "The model is being loaded. Come again in a second."


class ModelWatch:
    """Holds the model that answers.

    A new model replaces it once it is loaded, verified and has run once. Requests that have begun finish with the old one.
    When the new one cannot be served, the old one stays.

    Attributes:
        refused: why the model in service is not the one that answers; empty if it is.
    """

    def __init__(self, models: Path, threads: int, metrics: Metrics) -> None:
        self._models = models
        self._threads = threads
        self._metrics = metrics
        self._current: ServedModel | None = None
        self._seen: Stamps | None = None
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self.refused = _STARTING

    def current(self) -> ServedModel:
        """Return the model that answers. Raises Problem (503), which says what to do, while there is none."""
        if self._current is None:
            kind, seconds = ("loading", "1") if self.refused == _STARTING else ("no-model", "5")
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, kind, self.refused, headers={"Retry-After": seconds})
        return self._current

    async def watch(self, seconds: float) -> None:
        """Call `look` every so many seconds until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await loop.run_in_executor(self._loader, self.look)
                await asyncio.sleep(seconds)
        finally:
            self._loader.shutdown(wait=False, cancel_futures=True)

    def look(self) -> None:
        """Load the model in service, unless its files are those of the last attempt."""
        signature = self._signature()
        if signature == self._seen:
            return
        self._seen = signature
        try:
            model = load(self._models, self._threads)
        except DataError as error:
            if self._signature() != signature:  # in the middle of a switch
                self._seen = None
                return
            if isinstance(error.__cause__, OSError):
                self._seen = None  # the disk or the network may recover
            self._refuse(error)
        except Exception as error:  # whatever it is, the next look may find a model that can be used
            self._seen = None
            self._refuse(error)
        else:
            self.refused = ""
            self._current = model
            self._metrics.serving(model.version)
            log.info("Serving version %s", model.version)

    def _refuse(self, error: Exception) -> None:
        first = str(error) != self.refused
        self.refused = str(error)
        if isinstance(error, NoModel) and self._current is not None:
            self.refused += f" Until then version {self._current.version} goes on serving."
        self._metrics.refused_models.inc()
        if first:
            log.warning("%s", self.refused)

    def _signature(self) -> Stamps:
        """Return a value that changes when a file of the model in service does."""
        try:
            now = in_service.read(self._models)
        except DataError:  # a damaged record, which `load` describes
            now = None
        link = layout.release_in_service(self._models)
        folder = now.folder if now is not None else link
        names = (model_files.RECORD, *(now.sha256 if now is not None else ()))
        return stamps(link, *(folder / name for name in names))


def stamps(*paths: Path) -> Stamps:
    """Return a value that changes when one of these files or links does."""
    found = []
    for path in paths:
        try:
            stat = path.lstat()
        except OSError:
            found.append((str(path), 0, 0, 0, 0))
        else:
            # ctime: a file that may be read again has neither another content nor another time of it.
            found.append((str(path), stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size))
    return tuple(found)
