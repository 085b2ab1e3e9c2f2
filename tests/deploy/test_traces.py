"""Laws of traces: the real gateway and workers beside a collector, and beside one that does not answer."""

import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from collector import collecting
from deploy.local.stack.child import RAREBIT, Child
from servers import SIGNING_KEY, eventually, free_port, redis_binaries, redis_server, url_of
from services.errors import SettingsError
from services.tracing import CLOSE_S, configure
from tests.faults.fleet import Fleet
from tests.receiver import SECRET, receiving

TRACE, CLIENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"  # pragma: allowlist secret
CLIENTS = {"traceparent": f"00-{TRACE}-{CLIENT}-01"}
PHASES = ["load", "fit", "optimize", "check", "decode", "upload"]


class Stack:
    """One gateway, and workers with a stand-in sampler."""

    def __init__(self, folder: Path, url: str, env: dict[str, str]) -> None:
        self.env = {"RAREBIT_REDIS_URL": url, "RAREBIT_DATA_DIR": str(folder), "RAREBIT_SIGNING_KEY": SIGNING_KEY} | env
        self.fleet, port = Fleet(self.env, folder), free_port()
        command = [*RAREBIT, "gateway", "--port", str(port)]
        self.gateway = Child("gateway", command, log=folder / "gateway.log", env=os.environ | self.env)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False)
        self.fleet.start()
        assert eventually(lambda: self.is_ready() and self.fleet.workers[0].ready, limit_s=120)

    def is_ready(self) -> bool:
        try:
            return self.client.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def submit(self, step_s: float, **fields: object) -> str:
        body = {"concept": "a secret lamp", "steps": 20, "count": 1, "metadata": {"step_s": str(step_s)}} | fields
        return self.client.post("/jobs", json=body, headers=CLIENTS).raise_for_status().json()["id"]

    def is_in(self, job_id: str, *words: str) -> bool:
        job = self.client.get(f"/jobs/{job_id}").json()
        return job["status"] in words or (job["progress"] or {}).get("phase") in words


@contextmanager
def stack(**env: str) -> Iterator[Stack]:
    with ExitStack() as exits:
        folder = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp"))
        exits.callback(shutil.rmtree, folder, ignore_errors=True)
        server = redis_server(redis_binaries()["valkey"], folder)
        exits.callback(server.stop)
        server.start()
        built = Stack(folder, url_of(server), {"OTEL_BSP_SCHEDULE_DELAY": "100"} | env)
        exits.callback(built.gateway.stop, 10)
        exits.callback(built.fleet.stop)
        exits.callback(built.client.close)
        yield built


@pytest.fixture(scope="module")
def told():
    """The spans of a job that was handed back once, its id, and the webhooks that it led to."""
    with receiving() as receiver, collecting() as collector:
        hooks = {"RAREBIT_WEBHOOK_SECRET": SECRET, "RAREBIT_WEBHOOK_NETWORKS": '["127.0.0.1/32"]'}
        away = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "RAREBIT_SHUTDOWN_GRACE_S": "0"}
        with stack(**hooks, **away) as built:
            hook = {"url": receiver.url, "events": ["job.started", "job.succeeded"]}
            job_id = built.submit(0.05, webhook=hook)
            assert eventually(lambda: built.is_in(job_id, "optimize"))
            built.fleet.workers[0].signal(signal.SIGTERM)
            built.fleet.start()
            assert eventually(lambda: built.is_in(job_id, "succeeded"), limit_s=20)
            assert eventually(lambda: len(collector.named("webhook")) == 2)
            assert eventually(lambda: len(collector.named("attempt")) == 2)
        yield collector, job_id, receiver.got


def test_a_job_is_one_tree_below_its_clients_span(told):
    collector, job_id, _ = told
    spans = {span.id: span for span in collector.spans if span.trace == TRACE}
    [request] = [span for span in spans.values() if span.parent == CLIENT]
    assert (request.service, request.name) == ("rarebit-gateway", "POST /jobs")
    assert request.attributes["http.route"] == "/jobs"
    assert request.attributes["http.response.status_code"] == 202
    assert {span.parent for span in spans.values()} - {CLIENT} <= spans.keys()
    [submit] = collector.named("submit")
    assert (submit.parent, submit.attributes["rarebit.job.id"]) == (request.id, job_id)
    for name in ("queue", "webhook"):
        assert [span.parent for span in collector.named(name)] == [submit.id] * 2


def test_each_attempt_follows_its_own_wait(told):
    collector, _, _ = told
    waits, attempts = collector.named("queue"), collector.named("attempt")
    assert [span.parent for span in attempts] == [wait.id for wait in waits]
    assert [span.attributes["rarebit.attempt"] for span in attempts] == [1, 2]
    assert [span.attributes["rarebit.status"] for span in attempts] == ["queued", "succeeded"]
    assert {span.service for span in waits + attempts} == {"rarebit-worker"}
    _, second = waits
    assert attempts[0].start < second.start < attempts[0].end  # it waits anew from when it was handed back
    assert all(wait.end <= attempt.start for wait, attempt in zip(waits, attempts, strict=True))


def test_phases_follow_one_another_and_the_store_is_called_in_its_phase(told):
    collector, _, _ = told
    _, second = collector.named("attempt")
    phases = sorted((span for span in collector.spans if span.parent == second.id), key=lambda span: span.start)
    assert [span.name for span in phases] == PHASES
    assert all(one.end <= following.start for one, following in pairwise(phases))
    puts = [put for put in collector.named("storage put") if put.service == "rarebit-worker"]
    assert [put.parent for put in puts] == [phases[-1].id] * 2  # the picture, and what was learnt for it


def test_receivers_are_told_the_span_of_their_call(told):
    collector, _, got = told
    assert {one.headers["traceparent"] for one in got} == {
        f"00-{TRACE}-{span.id}-01" for span in collector.named("webhook")
    }


def test_no_span_says_what_the_client_draws(told):
    collector, _, _ = told
    assert "secret" not in repr(collector.spans)
    probes = [span for span in collector.spans if "health" in repr(span)]
    assert probes == []


def test_collector_that_never_answers_hurts_nobody():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with stack(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as built:
            job_id = built.submit(0)
            assert eventually(lambda: built.is_in(job_id, "succeeded"), limit_s=5)  # it is waited for ten seconds
            built.fleet.workers[0].signal(signal.SIGTERM)
            begin = time.monotonic()
            built.gateway.stop(20)
            built.fleet.workers[0].process.join(20)
            assert time.monotonic() - begin < CLOSE_S + 4


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_TRACES_EXPORTER", "zipkin")],
)
def test_exporter_that_is_not_here_stops_the_start(monkeypatch, name, value):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}={value}"):
        configure("gateway")
