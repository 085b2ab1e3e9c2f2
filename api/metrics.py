"""What the gateway tells Prometheus: what it counts itself, and the job store's figures when it is asked."""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.openai import PATH as OPENAI
from services.jobs.answers import Stats
from services.jobs.figures import BITS, SECONDS, STAGES, VERDICTS, buckets
from services.jobs.record import JobStatus

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, of no use in this format
_METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class GatewayMetrics:
    """The counters of one application; they start at zero with it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        requests = Counter("rarebit_http_requests", "Requests.", ["method", "route", "status"], registry=self.registry)
        seconds = Histogram(
            "rarebit_http_request_seconds",
            "Time until the answer began, of requests that did not ask to wait.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._requests, self._seconds = cache(requests.labels), cache(seconds.labels)  # half of the cost of counting
        self.streams = Gauge("rarebit_event_streams", "Open event streams.", registry=self.registry)
        self.long_polls = Gauge("rarebit_long_polls", "Requests that wait for a job's end.", registry=self.registry)

    def count(self, scope: Scope, status: str, seconds: float) -> None:
        """Count a request by its route's template, so that there are no more series than routes."""
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", "other")
        self._requests(method, route, status).inc()
        if not _asks_to_wait(scope):
            self._seconds(method, route).observe(seconds)

    def text(self, stats: Stats | None) -> bytes:
        """All in Prometheus' text format; without `stats`, only what is counted here."""
        return generate_latest(self.registry) + (generate_latest(_Store(stats)) if stats else b"")


class Measured:
    """Counts every request, and the time until its answer begins."""

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begin, status, seconds = time.perf_counter(), "none", 0.0

        async def watched(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = str(message["status"]), time.perf_counter() - begin
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._metrics.count(scope, status, seconds)


def _asks_to_wait(scope: Scope) -> bool:
    if scope["path"].startswith(f"{OPENAI}/images/"):
        return True
    return b"wait=" in scope["query_string"] or any(name == b"prefer" for name, _ in scope["headers"])


class _Store(Collector):
    """The job store's figures as metrics."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        figures, counters = self._stats.figures, self._stats.counters
        for name, meaning in _FIGURES.items():
            yield GaugeMetricFamily(f"rarebit_{name}", meaning, figures[name])
        oldest_s = figures["oldest_waiting_ms"] / 1000
        yield GaugeMetricFamily("rarebit_oldest_waiting_seconds", "Since it was submitted; 0: none waits.", oldest_s)
        for name, meaning in _COUNTERS.items():
            yield CounterMetricFamily(f"rarebit_eta_{name}", meaning, counters.get(f"eta:{name}", 0))
        waiting = GaugeMetricFamily("rarebit_jobs_waiting", "Jobs that wait.", labels=["priority"])
        for priority in _PRIORITIES:
            waiting.add_metric([priority], figures[f"waiting:{priority}"])
        yield waiting
        ended = CounterMetricFamily("rarebit_jobs_ended", "Jobs that have ended.", labels=["status"])
        for status in (status for status in JobStatus if status.final):
            ended.add_metric([status], counters.get(f"ended:{status}", 0))
        yield ended
        yield from _quality(counters)
        if len(self._stats.durations_ms) > 1:
            yield _durations(self._stats.durations_ms)


def _quality(counters: Mapping[str, int]) -> Iterator[Metric]:
    seconds = HistogramMetricFamily("rarebit_stage_seconds", "Where the time of jobs went.", labels=["stage"])
    for stage in STAGES:
        name = f"stage:{stage}"
        seconds.add_metric([stage], buckets(counters, name, SECONDS), counters.get(f"{name}:ms", 0) / 1000)
    yield seconds
    pictures = CounterMetricFamily("rarebit_pictures", "Pictures of jobs.", labels=["verdict"])
    for verdict in VERDICTS:
        pictures.add_metric([verdict], counters.get(f"pictures:{verdict}", 0))
    yield pictures
    above = "Bits of their pictures above those asked for."
    yield HistogramMetricFamily("rarebit_rarity_above_target", above, buckets(counters, "bits", BITS), None)


_PRIORITIES = ("low", "normal", "high")
_FIGURES = {
    "jobs_running": "Jobs that run.",
    "jobs_quarantined": "Jobs that two workers died with.",
    "workers": "Workers that were heard of in the last minute.",
    "webhooks_due": "Deliveries whose time has come.",
    "objects_due": "Prefixes of the object store that are to be erased.",
    "objects_failing": "Prefixes that could not be erased when that was last tried.",
}
_COUNTERS = {
    "promised": "Jobs that have started after being told a p90 of their start.",
    "held": "Of these, jobs that started within it.",
}


def _durations(durations_ms: Sequence[int]) -> Metric:
    tenths = statistics.quantiles(durations_ms, n=10, method="inclusive")
    family = Metric("rarebit_job_seconds", "What the last 100 jobs took.", "summary")
    for quantile, ms in (("0.5", tenths[4]), ("0.9", tenths[8])):
        family.add_sample(family.name, {"quantile": quantile}, ms / 1000)
    return family
