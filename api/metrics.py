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
from services.jobs.answers import PoolStats, Stats
from services.jobs.figures import BITS, LOOKUPS, SECONDS, STAGES, STATES, VERDICTS, buckets
from services.jobs.record import JobStatus

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, of no use in this format
_METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
Pools = Mapping[str, PoolStats]
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

    def text(self, stats: Stats | None, models: Sequence[str]) -> bytes:
        """All in Prometheus' text format, of `models` also where nothing is told yet; without `stats`, only what is
        counted here."""
        return generate_latest(self.registry) + (generate_latest(_Store(stats, models)) if stats else b"")


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
    """The job store's figures as metrics; of models, those that are offered, and others at work."""

    def __init__(self, stats: Stats, models: Sequence[str]) -> None:
        self._stats, self._models = stats, models

    def collect(self) -> Iterator[Metric]:
        for name, meaning in _FIGURES.items():
            yield GaugeMetricFamily(f"rarebit_{name}", meaning, self._stats.figures[name])
        seen = {model for model, pool in self._stats.pools.items() if pool.at_work}
        pools = {model: self._stats.pool(model) for model in dict.fromkeys([*self._models, *sorted(seen)])}
        yield from _at_hand(pools)
        yield from _counted(pools)
        yield from _histograms(pools)
        if durations := {model: pool.durations_ms for model, pool in pools.items() if len(pool.durations_ms) > 1}:
            yield _durations(durations)


def _at_hand(pools: Pools) -> Iterator[Metric]:
    oldest, running, workers, memory = (
        GaugeMetricFamily(f"rarebit_{name}", meaning, labels=["model"]) for name, meaning in _OF_POOLS.items()
    )
    waiting = GaugeMetricFamily("rarebit_jobs_waiting", "Jobs that wait.", labels=["model", "priority"])
    for model, pool in pools.items():
        oldest.add_metric([model], pool.oldest_waiting_ms / 1000)
        running.add_metric([model], pool.jobs_running)
        workers.add_metric([model], pool.workers)
        if pool.device_memory is not None:
            memory.add_metric([model], pool.device_memory)
        for priority, number in pool.waiting.items():
            waiting.add_metric([model, priority], number)
    yield from (family for family in (oldest, running, workers, memory, waiting) if family.samples)


def _counted(pools: Pools) -> Iterator[Metric]:
    for name, (meaning, kept_as, one) in _COUNTERS.items():
        family = CounterMetricFamily(f"rarebit_{name}", meaning, labels=["model"])
        for model, pool in pools.items():
            family.add_metric([model], pool.counters.get(kept_as, 0) / one)
        yield family
    for name, (meaning, label, kept_below, values, one) in _LABELLED.items():
        family = CounterMetricFamily(f"rarebit_{name}", meaning, labels=["model", label])
        for model, pool in pools.items():
            for value in values:
                family.add_metric([model, value], pool.counters.get(f"{kept_below}:{value}", 0) / one)
        yield family


def _histograms(pools: Pools) -> Iterator[Metric]:
    stages = HistogramMetricFamily("rarebit_stage_seconds", "Where the time of jobs went.", labels=["model", "stage"])
    above = HistogramMetricFamily(
        "rarebit_rarity_above_target", "Bits of their pictures above those asked for.", labels=["model"]
    )
    for model, pool in pools.items():
        for stage in STAGES:
            name = f"stage:{stage}"
            seconds = pool.counters.get(f"{name}:ms", 0) / 1000
            stages.add_metric([model, stage], buckets(pool.counters, name, SECONDS), seconds)
        above.add_metric([model], buckets(pool.counters, "bits", BITS), None)
    yield from (stages, above)


_FIGURES = {
    "jobs_quarantined": "Jobs that two workers died with.",
    "webhooks_due": "Deliveries whose time has come.",
    "objects_due": "Prefixes of the object store that are to be erased.",
    "objects_failing": "Prefixes that could not be erased when that was last tried.",
}
_OF_POOLS = {
    "oldest_waiting_seconds": "Since it was submitted; 0: none waits.",
    "jobs_running": "Jobs that run.",
    "workers": "Workers that were heard of in the last minute.",
    "device_memory_ratio": "The share of its device that the fullest worker has had in use.",
}
_ENDINGS = [status for status in JobStatus if status.final]
_COUNTERS = {  # the store's name, and how many of its units are one
    "eta_promised": ("Jobs that have started after being told a p90 of their start.", "eta:promised", 1),
    "eta_held": ("Of these, jobs that started within it.", "eta:held", 1),
    "energy_joules": ("Energy that workers' devices took.", "energy:mj", 1000),
}
_LABELLED: Mapping[
    str, tuple[str, str, str, Sequence[str], int]
] = {  # the same, behind whose name is the label's value
    "jobs_ended": ("Jobs that have ended.", "status", "ended", _ENDINGS, 1),
    "pictures": ("Pictures of jobs.", "verdict", "pictures", VERDICTS, 1),
    "worker_seconds": ("Time of workers.", "state", "worker", STATES, 1000),
    "density_lookups": ("Densities that jobs needed, by where they were.", "found", "densities", LOOKUPS, 1),
}


def _durations(durations_ms: Mapping[str, Sequence[int]]) -> Metric:
    family = Metric("rarebit_job_seconds", "What the last 100 jobs took.", "summary")
    for model, taken_ms in durations_ms.items():
        tenths = statistics.quantiles(taken_ms, n=10, method="inclusive")
        for quantile, ms in (("0.5", tenths[4]), ("0.9", tenths[8])):
            family.add_sample(family.name, {"model": model, "quantile": quantile}, ms / 1000)
    return family
