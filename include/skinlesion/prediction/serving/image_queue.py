"""Prediction of images on one thread per core, with a bounded number of images waiting."""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from skinlesion.data.images.file import ImageRefused, Pixels
from skinlesion.data.labels.classes import LABELS
from skinlesion.foundation.checksum import sha256_of
from skinlesion.prediction.classifier import pixels_of, usable_header
from skinlesion.prediction.learnt import SENTENCES
from skinlesion.prediction.log.entries import Entry, LogKey, entry_of
from skinlesion.prediction.serving.metrics import Metrics
from skinlesion.prediction.serving.problem import busy
from skinlesion.prediction.serving.served_model import ServedModel
from skinlesion.prediction.serving.settings import ServerSettings
from skinlesion.prediction.serving.upload import Upload
from skinlesion.registry.group_decisions import DECISIONS

LARGE_PIXELS: Final = 6_000_000
"""Images with more pixels are decoded one at a time: a PNG of 25 million pixels takes 450 MB while it is decoded."""

REQUESTS_WAITING: Final = 4.0
"""As many images as so many of the largest requests have may wait, of all requests together."""

DECIMALS: Final = 6
"""Decimals of the probabilities, as many as `skinlesion predict` writes."""


@dataclass(frozen=True)
class ImageAnswer:
    """The part of a response that belongs to one image. If the image is refused, `document` says why.

    entry: for the prediction log; None without one. pixels: what the model saw, for the shadow. sha256: of the image's file.
    """

    document: dict[str, Any]
    is_refused: bool
    entry: Entry | None = None
    pixels: Pixels | None = None
    sha256: str = ""


class ImageQueue:
    """Predicts images on threads of its own, so that the event loop stays free to answer."""

    def __init__(
        self,
        settings: ServerSettings,
        metrics: Metrics,
        *,
        min_side: int,
        key: LogKey | None = None,
        quiet: threading.Event | None = None,
    ) -> None:
        """Make one.

        Args:
            settings: the number of threads, and of images in a request.
            metrics: where images are counted.
            min_side: shortest side of an image that is accepted, in pixels.
            key: of the prediction log, None without one.
            quiet: set while no image is in progress or waits, for the shadow; None without one.
        """
        self._key, self._quiet = key, quiet
        threads = settings.threads_used()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._most_waiting = round(REQUESTS_WAITING * settings.max_images)
        self._max_pixels = settings.max_image_pixels
        self._min_side = min_side
        self._metrics = metrics
        self._waiting = 0
        self._one_large_at_a_time = threading.Lock()

    async def predict(self, model: ServedModel, uploads: Sequence[Upload]) -> list[ImageAnswer]:
        """Return an answer for each image, in order. Raises Problem (503) when too many images wait."""
        if self._waiting + len(uploads) > self._most_waiting:
            raise busy("Too many images are waiting for the model. Send the request again in a second.")
        self._count(len(uploads))
        loop = asyncio.get_running_loop()
        try:
            started = [loop.run_in_executor(self._threads, self._one, model, upload) for upload in uploads]
            return list(await asyncio.gather(*started))
        finally:
            self._count(-len(uploads))

    def _count(self, more: int) -> None:
        self._waiting += more
        self._metrics.waiting.set(self._waiting)
        if self._quiet is not None:
            self._quiet.clear() if self._waiting else self._quiet.set()

    def _one(self, model: ServedModel, upload: Upload) -> ImageAnswer:
        start = time.perf_counter()
        try:
            header = usable_header(upload.content, max_pixels=self._max_pixels, min_side=self._min_side)
            if header.width * header.height > LARGE_PIXELS:
                with self._one_large_at_a_time:
                    pixels = pixels_of(upload.content, header)
                    _give_memory_back()
            else:
                pixels = pixels_of(upload.content, header)
            decoded, sha256 = time.perf_counter(), sha256_of(upload.content)
            answer = model.answer(pixels, sha256)
        except ImageRefused as refusal:
            self._metrics.refused.inc()
            return ImageAnswer({"file": upload.name, "refused": str(refusal)}, is_refused=True)
        self._metrics.decoding.observe(decoded - start)
        self._metrics.inference.observe(time.perf_counter() - decoded)
        self._metrics.decisions[answer.decision].inc()
        document = {
            "file": upload.name,
            "decision": answer.decision,
            "title": DECISIONS[answer.decision],
            "reason": answer.reason,
            "meaning": model.meaning(answer.decision),
            "learnt": answer.learnt or None,
            "learnt_because": SENTENCES[answer.learnt],
            "label": answer.label,
            "probabilities": {
                label: round(float(probability), DECIMALS)
                for label, probability in zip(LABELS, answer.probabilities, strict=True)
            },
        }
        entry = None
        if self._key is not None:
            entry = entry_of(self._key, model.version, model.number, answer, header, pixels, sha256)
        return ImageAnswer(document, False, entry, pixels if self._quiet is not None else None, sha256)

    def close(self) -> None:
        """Start no further image."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _give_memory_back() -> None:
    """Return freed memory to the system; glibc would keep most of it for the next large image."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
