"""What the server counts and times, for Prometheus. No metric holds the content or the name of an image."""

from __future__ import annotations

from collections.abc import Callable
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
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "skinlesion_requests", "Requests answered.", ["path", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "skinlesion_request_seconds", "From a request's headers to the end of its response.", ["path"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.prediction = Histogram(
            "skinlesion_prediction_seconds", "From a request's last byte to its JSON, all its images.",
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.decoding = Histogram(
            "skinlesion_decoding_seconds",
            "Decoding and resizing of one image.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.inference = Histogram(
            "skinlesion_inference_seconds", "Inference of one image.", buckets=_SECONDS, registry=self.registry
        )
        decisions = Counter("skinlesion_images", "Images predicted.", ["decision"], registry=self.registry)
        self.decisions = {label: decisions.labels(label) for label in DECISIONS}
        self.refused = Counter("skinlesion_images_refused", "Images that cannot be used.", registry=self.registry)
        self.waiting = Gauge("skinlesion_images_waiting", "Images in progress or waiting.", registry=self.registry)
        self.grad_cams = Counter("skinlesion_grad_cams", "Grad-CAMs.", ["outcome"], registry=self.registry)
        self.model = Gauge("skinlesion_model", "1 for the version that answers.", ["version"], registry=self.registry)
        self.switches = Counter("skinlesion_model_loads", "Models loaded.", registry=self.registry)
        self.refused_models = Counter(
            "skinlesion_model_loads_refused", "Models in service that could not be loaded.", registry=self.registry
        )

        self.shadow = Gauge(
            "skinlesion_shadow", "1 for the candidate in the shadow.", ["version"], registry=self.registry
        )
        self.shadow_answers = Counter(
            "skinlesion_shadow_answers", "Answers beside which the candidate's were noted.", registry=self.registry
        )
        self.shadow_dropped = Counter(
            "skinlesion_shadow_dropped",
            "Answers beside which the candidate was not asked or not noted.",
            registry=self.registry,
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
