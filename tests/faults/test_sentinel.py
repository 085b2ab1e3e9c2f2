"""A primary that dies: Sentinel makes its replica the primary, and gateway and worker find it by themselves."""

import time
from contextlib import ExitStack

import httpx
import pytest
import redis

from api.app import create_app
from servers import Server, eventually, free_port, redis_binaries, served

PASSWORD = "drawn-for-the-tests"  # pragma: allowlist secret
SENTINEL = """\
port {port}
bind 127.0.0.1
dir {folder}
requirepass {password}s
sentinel monitor rarebit 127.0.0.1 {primary} 1
sentinel auth-pass rarebit {password}
sentinel down-after-milliseconds rarebit 1000
sentinel failover-timeout rarebit 5000
"""


def redis_at(port, folder, *options):
    folder.mkdir()
    where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    durable = ["--appendonly", "yes", "--save", "", "--requirepass", PASSWORD, "--primaryauth", PASSWORD]
    return Server([redis_binaries()["valkey"], *where, *durable, *options], port)


@pytest.fixture
def ports():
    return {"primary": free_port(), "replica": free_port(), "sentinel": free_port()}


@pytest.fixture
def primary(ports, short_folder):
    """A primary with a replica in step, watched by a Sentinel."""
    primary = redis_at(ports["primary"], short_folder / "p")
    replica = redis_at(ports["replica"], short_folder / "r", "--replicaof", "127.0.0.1", str(ports["primary"]))
    config = short_folder / "sentinel.conf"
    numbers = {"port": ports["sentinel"], "primary": ports["primary"]}
    config.write_text(SENTINEL.format(folder=short_folder, password=PASSWORD, **numbers))
    sentinel = Server([redis_binaries()["valkey"], str(config), "--sentinel"], ports["sentinel"])
    with ExitStack() as exits:
        for server in (primary, replica, sentinel):
            server.start()
            exits.callback(server.stop)
        with redis.Redis(port=ports["sentinel"], password=f"{PASSWORD}s", decode_responses=True) as client:
            assert eventually(lambda: client.sentinel_master("rarebit")["num-slaves"] == 1, 60)
        with redis.Redis(port=ports["replica"], password=PASSWORD, decode_responses=True) as client:
            assert eventually(lambda: client.info("replication")["master_link_status"] == "up", 60)
        yield primary


@pytest.fixture
def own_redis_url(primary, ports):
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{ports['sentinel']}"  # the first Sentinel is away
    return f"redis+sentinel://:{PASSWORD}@{hosts}/0?master=rarebit&sentinel_password={PASSWORD}s"


def test_gateway_and_worker_find_the_new_primary_within_30_seconds(
    primary, own_redis_url, settings, start_worker, quick, tmp_path
):
    app = create_app(settings.model_copy(update={"redis_url": own_redis_url}))
    with served(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        first = submit(client, quick)
        worker = start_worker()
        assert eventually(lambda: worker.check() or read(client, first)["status"] == "succeeded", 240)
        primary.kill()
        killed = time.monotonic()
        assert client.get(f"/jobs/{first}").status_code == 503
        second = submit(client, quick)
        assert eventually(lambda: read(client, second)["status"] in {"running", "succeeded"}, 60)
        assert time.monotonic() - killed < 30
        assert read(client, first)["status"] == "succeeded"
        assert eventually(lambda: read(client, second)["status"] == "succeeded", 240)
    assert PASSWORD not in (tmp_path / "worker-0.log").read_text()


def submit(client, body):
    """Submit as often as it takes; whatever refuses is a 503 that says when to come again."""
    while (answer := client.post("/jobs", json=body)).status_code == 503:
        time.sleep(float(answer.headers["retry-after"]) / 4)
    return answer.raise_for_status().json()["id"]


def read(client, job_id):
    return client.get(f"/jobs/{job_id}").raise_for_status().json()
