"""Laws of `RAREBIT_LOG=json`, read off the real gateway's and worker's output."""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from deploy.local.stack.child import RAREBIT, Child
from servers import SIGNING_KEY, eventually, free_port, redis_binaries, redis_server, url_of
from services.jobs.store import connect
from services.logs import JsonLines
from services.tenants import Tenants

JOB = {"concept": "lamp", "guidance_scale": 9}  # which the embedded decoder refuses, before anything is fitted
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"  # pragma: allowlist secret


def lines_of(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.fixture(scope="module")
def said():
    """Lines of a gateway and of a worker that ran one job, until both were told to stop; and the job's id."""
    folder, port = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp")), free_port()
    server = redis_server(redis_binaries()["valkey"], folder)
    server.start()
    env = os.environ | {"RAREBIT_LOG": "json", "RAREBIT_REDIS_URL": url_of(server), "RAREBIT_DATA_DIR": str(folder)}
    env |= {"RAREBIT_SIGNING_KEY": SIGNING_KEY, "RAREBIT_AUTH": "keys"}
    logs = {name: folder / f"{name}.log" for name in ("gateway", "worker")}
    gateway = Child("gateway", [*RAREBIT, "gateway", "--port", str(port)], log=logs["gateway"], env=env)
    worker = Child("worker", [*RAREBIT, "worker"], log=logs["worker"], env=env)
    try:
        with connect(url_of(server)) as store:
            key = {"Authorization": f"Bearer {Tenants(store).create_key('acme')}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=key, trust_env=False) as client:
            assert eventually(lambda: is_ready(client), limit_s=30)
            job = client.post("/jobs", json=JOB).raise_for_status().json()
            assert eventually(lambda: client.get(job["urls"]["self"]).json()["status"] == "failed", limit_s=60)
            with connect(url_of(server)) as store:
                store.hset(f"{{rarebit}}:job:{job['id']}", "created_at", "soon")
            client.get(job["urls"]["self"], headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    finally:
        for child in (gateway, worker):
            child.stop(20)
        server.stop()
    yield SimpleNamespace(job=job["id"], **{name: lines_of(log) for name, log in logs.items()})
    shutil.rmtree(folder)


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("process", ["gateway", "worker"])
def test_every_line_is_an_object_with_time_level_logger_and_message(said, process):
    for line in getattr(said, process):
        assert line.keys() >= {"time", "level", "logger", "message"}


def test_lines_of_uvicorn_and_celery_are_among_them(said):
    assert "uvicorn.error" in {line["logger"] for line in said.gateway}
    assert {"celery.apps.worker", "worker.tasks"} <= {line["logger"] for line in said.worker}


def test_a_line_names_job_and_tenant_that_the_worker_works_for(said):
    told = [(line["job"], line["tenant"]) for line in said.worker if line["logger"] == "worker.tasks"]
    assert set(told) == {(said.job, "acme")}


def test_a_line_names_job_tenant_and_trace_of_the_request(said):
    unreadable = next(line for line in said.gateway if line["level"] == "ERROR")
    assert (unreadable["job"], unreadable["tenant"], unreadable["trace"]) == (said.job, "acme", TRACE)


def test_a_process_that_cannot_start_says_so_in_an_object(tmp_path):
    env = os.environ | {"RAREBIT_LOG": "json", "RAREBIT_MAX_QUEUED": "many"}
    run = subprocess.run([*RAREBIT, "gateway"], env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "RAREBIT_MAX_QUEUED" in json.loads(run.stderr)["message"]


def test_a_traceback_is_a_field_of_its_line():
    try:
        raise ValueError("one\ntwo")
    except ValueError:
        record = logging.LogRecord("r", logging.ERROR, "p", 1, "failed", (), sys.exc_info())
    line = JsonLines().format(record)
    assert "\n" not in line
    assert json.loads(line)["exception"].endswith("ValueError: one\ntwo")
