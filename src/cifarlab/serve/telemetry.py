"""What GET /metrics tells, in Prometheus' text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 4.0, 8.0, 16.0)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Telemetry:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter("cifarlab_requests", "Requests answered", ["route", "model", "status"], registry=self._registry)
        self._latency = Histogram(
            "cifarlab_request_seconds",
            "From a request's headers to the end of its answer",
            ["route", "model"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._batches = Histogram("cifarlab_batch_images", "Images of an inference", ["model"], buckets=IMAGES, registry=self._registry)
        self._inference = Histogram(
            "cifarlab_inference_seconds", "Time of an inference", ["model"], buckets=SECONDS, registry=self._registry
        )
        self.queue = Gauge("cifarlab_queue_images", "Images waiting for their inference", ["model"], registry=self._registry)
        self.accepted = Gauge("cifarlab_accepted_images", "Images accepted and not yet answered", ["model"], registry=self._registry)
        self.ready = Gauge("cifarlab_model_ready", "1 once a model answers", ["model"], registry=self._registry)

    def request(self, *, route: str, model: str, status: int, seconds: float) -> None:
        self._requests.labels(route, model, str(status)).inc()
        self._latency.labels(route, model).observe(seconds)

    def inference(self, model: str, images: int, seconds: float) -> None:
        self._batches.labels(model).observe(images)
        self._inference.labels(model).observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self._registry)
