"""What the server counts and times, for Prometheus. No metric holds the content or the name of an image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from skinlesion.registry.group_decisions import DECISIONS

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS: Final = (0.001, 0.002, 0.004, 0.006, 0.008, 0.012, 0.016, 0.024, 0.04, 0.08, 0.16, 0.5, 1.0, 5.0)


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter, gauge = partial(Counter, registry=self.registry), partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, buckets=_SECONDS, registry=self.registry)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = counter("skinlesion_requests", "Requests answered.", ["path", "method", "status"])
        self.seconds = histogram(
            "skinlesion_request_seconds", "From a request's headers to the end of its response.", ["path"]
        )
        self.prediction = histogram(
            "skinlesion_prediction_seconds", "From a request's last byte to its JSON, all its images."
        )
        self.decoding = histogram("skinlesion_decoding_seconds", "Decoding and resizing of one image.")
        self.inference = histogram("skinlesion_inference_seconds", "Inference of one image.")
        decisions = counter("skinlesion_images", "Images predicted.", ["decision"])
        self.decisions = {label: decisions.labels(label) for label in DECISIONS}
        self.refused = counter("skinlesion_images_refused", "Images that cannot be used.")
        self.waiting = gauge("skinlesion_images_waiting", "Images in progress or waiting.")
        self.grad_cams = counter("skinlesion_grad_cams", "Grad-CAMs.", ["outcome"])
        self.model = gauge("skinlesion_model", "1 for the version that answers.", ["version"])
        self.switches = counter("skinlesion_model_loads", "Models loaded.")
        self.refused_models = counter("skinlesion_model_loads_refused", "Models in service that could not be loaded.")
        self.shadow = gauge("skinlesion_shadow", "1 for the candidate in the shadow.", ["version"])
        self.shadow_answers = counter("skinlesion_shadow_answers", "Answers beside which the candidate's were noted.")
        self.shadow_dropped = counter(
            "skinlesion_shadow_dropped", "Answers beside which the candidate was not asked or not noted."
        )

    def logging(self, entries: Callable[[], int], missing: Callable[[], int]) -> None:
        """Show how much is in the prediction log, as these count it."""
        noted = Gauge(
            "skinlesion_log_entries", "Answers noted in the prediction log since the start.", registry=self.registry
        )
        noted.set_function(entries)
        gap = Gauge(
            "skinlesion_log_missing", "Answers since the start that are not in the log.", registry=self.registry
        )
        gap.set_function(missing)

    def shadowing(self, version: str | None) -> None:
        """Record which candidate is in the shadow from now on."""
        self.shadow.clear()
        if version is not None:
            self.shadow.labels(version).set(1)

    def serving(self, version: str) -> None:
        """Record that this version answers from now on."""
        self.model.clear()
        self.model.labels(version).set(1)
        self.switches.inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)
