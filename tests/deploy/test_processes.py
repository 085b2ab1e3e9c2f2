"""`rarebit gateway` and `rarebit worker`: the one way in which each process is started, with all its bounds."""

import http.client
import json
import os
import re
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from api.http.protocol import HEAD_LIMIT_BYTES
from api.main import GRACE_S
from deploy.local.stack.child import RAREBIT
from servers import SIGNING_KEY, Server, free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def gateway_process(redis_url, tmp_path):
    env = {"RAREBIT_REDIS_URL": redis_url, "RAREBIT_DATA_DIR": str(tmp_path), "RAREBIT_SIGNING_KEY": SIGNING_KEY}
    server = Server([*RAREBIT, "gateway", "--port", str(port := free_port())], port, env | {"WEB_CONCURRENCY": "4"})
    server.start()
    yield server
    server.kill()


def test_gateway_ends_a_connection_whose_head_has_no_end(gateway_process):
    with socket.create_connection(("127.0.0.1", gateway_process.address), timeout=10) as client:
        client.sendall(b"GET /health/live HTTP/1.1\r\n" + b"a: b\r\n" * (HEAD_LIMIT_BYTES // 6 + 1))
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")


def test_connection_that_was_idle_is_good_for_another_request(gateway_process):
    """As a proxy keeps it: with uvicorn's five seconds, a request may cross the end of its connection, and is lost."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway_process.address, timeout=10)
    with closing(connection):
        for idle_s in (0, 5.5):
            time.sleep(idle_s)
            connection.request("GET", "/health/live")
            assert connection.getresponse().read()
            assert connection.sock is not None


def test_gateway_ends_in_its_grace_though_somebody_follows_a_job(gateway_process):
    """A container whose process does not is killed after ten seconds, in the middle of other answers."""
    with httpx.Client(base_url=f"http://127.0.0.1:{gateway_process.address}", trust_env=False) as client:
        events = client.post("/jobs", json={"concept": "lamp"}).json()["urls"]["events"]
        with client.stream("GET", events):
            os.kill(gateway_process.pid, 15)
            assert gateway_process.ended(within_s=GRACE_S + 3)


def test_containers_start_with_commands_that_there_are():
    starts = [
        json.loads(line) for line in re.findall(r"^CMD (.*)$", (ROOT / "deploy/docker/Dockerfile").read_text(), re.M)
    ]
    assert [start[:2] for start in starts] == [["rarebit", "gateway"], ["rarebit", "worker"]]
    for start in starts:
        subprocess.run([*RAREBIT, *start[1:], "--help"], check=True, capture_output=True)


@pytest.mark.parametrize("page", [ROOT / "README.md", *(ROOT / "docs").glob("*.md")], ids=lambda page: page.name)
def test_pages_show_no_other_way_to_start(page):
    assert re.findall(r"uvicorn +\S+:app|python3? -m (?:uvicorn|worker(?!.health)|celery)", page.read_text()) == []
