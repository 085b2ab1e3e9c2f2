"""What the service adds around the sampling: from 202 to a worker's first step, from the last step to the URLs."""

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from deploy.local.stack.service import running

JOBS = 40
BODY = {"concept": "handbag", "count": 1, "trials": 1, "steps": 1, "decoder_steps": 2}

Row = tuple[str, str]


def rows() -> Iterator[Row]:
    """On the embedded stack; the first job, which fits the density, is not counted."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), port=0) as stack,
        httpx.Client(base_url=stack.url, timeout=300, trust_env=False) as client,
    ):
        _run(client)
        measured = [_run(client) for _ in range(JOBS)]
    starts, ends = zip(*measured, strict=True)
    yield "202 to the worker's first step", _quantiles(starts)
    yield "the last step to signed URLs in the record", _quantiles(ends)


def _run(client: httpx.Client) -> tuple[float, float]:
    """Seconds to the first event of the worker, and from the last progress before the upload to the job's end."""
    job = client.post("/jobs", json=BODY).raise_for_status().json()
    accepted = time.perf_counter()
    started = last_step = ended = 0.0
    with client.stream("GET", job["urls"]["events"]) as events:
        for line in events.iter_lines():
            if line.startswith("data:") and '"phase"' in line:
                started = started or time.perf_counter()
                if '"upload"' not in line:
                    last_step = time.perf_counter()
            if line.startswith("data:") and '"succeeded"' in line:
                ended = time.perf_counter()
    assert client.get(job["urls"]["self"]).json()["outputs"][0]["url"]
    return started - accepted, ended - last_step


def _quantiles(seconds: Sequence[float]) -> str:
    cuts = statistics.quantiles(seconds, n=10)
    return f"p50 {1000 * statistics.median(seconds):.0f} ms, p90 {1000 * cuts[8]:.0f} ms"
