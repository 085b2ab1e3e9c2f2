"""The processes that the tests break: a served stack, and workers over a queue of their own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from deploy.local.stack.child import RAREBIT, Child
from servers import SIGNING_KEY, Server, eventually, redis_binaries, url_of
from tests.faults.rig import Rig, rig
from tests.faults.table import FaultTable

FAST = {"RAREBIT_LEASE_S": "5", "RAREBIT_DENSITY_SAMPLES": "500"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-table", action="store_true", help="print the marked tests as a table, and put it in docs/"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--fault-table", default=False):
        config.pluginmanager.register(FaultTable())


SERVERS = [
    pytest.param(path, id=name, marks=[pytest.mark.slow] * (name != "valkey"))
    for name, path in redis_binaries().items()
]


@pytest.fixture(params=SERVERS)
def broken(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A service with short leases, for the test to break; nothing is amiss with it in the end."""
    with rig(request.param, appendfsync="always") as built:
        yield built
        assert built.settled().faults == {}


@pytest.fixture
def quick() -> dict:
    """A job of a second."""
    return {"concept": "handbag", "steps": 2, "trials": 1, "decoder_steps": 2, "seed": 7}


@pytest.fixture
def endless(quick: dict) -> dict:
    """A job whose target cannot be reached, so that it takes all its steps."""
    return quick | {"steps": 1000, "rarity": {"bits": 30}}


class Served:
    """`rarebit serve` over one data folder, started as often as the test likes."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._parent: subprocess.Popen[str] | None = None
        self.client = httpx.Client(trust_env=False, timeout=30)
        self.told = ""  # on standard output since it was ready

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("rarebit")), "serve", "--port", "0", "--data", str(self._data)]
        self._parent = subprocess.Popen(
            command, env=os.environ | FAST, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        line = self._parent.stdout.readline()
        assert line.startswith("Rarebit is ready at http://127.0.0.1:"), self.last_words()
        self.client.base_url = line.split()[4]

    def end(self, number: int) -> int:
        """Send the signal, wait for the exit code, and see that no process is left."""
        family = psutil.Process(self._parent.pid).children(recursive=True)
        assert len(family) == 3
        self._parent.send_signal(number)
        code, _ = self.last_words()
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []
        return code

    def last_words(self) -> tuple[int, str]:
        """The exit code and what was said on standard error, once the parent has ended."""
        self.told, said = self._parent.communicate()
        return self._parent.returncode, said

    def stop(self) -> None:
        """End what the test has left running."""
        self.client.close()
        if self._parent.poll() is None:
            self._parent.terminate()
        self.last_words()

    def process(self, name: str) -> psutil.Process:
        """The one whose command line has its mark."""
        mark = {"queue": "valkey", "gateway": "--fd", "worker": "worker"}[name]
        children = psutil.Process(self._parent.pid).children()
        return next(child for child in children if mark in " ".join(child.cmdline()))

    def is_ready(self) -> bool:
        with suppress(httpx.TransportError):
            return self.client.get("/health/ready").is_success
        return False

    def read(self, job_id: str) -> dict:
        return self.client.get(f"/jobs/{job_id}").raise_for_status().json()

    def submit(self, body: dict) -> str:
        return self.client.post("/jobs", json=body).raise_for_status().json()["id"]

    def wait_for(self, job_id: str, holds: Callable[[dict], bool]) -> dict:
        assert eventually(lambda: holds(self.read(job_id)), limit_s=300)
        return self.read(job_id)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "data")
    served.start()
    yield served
    served.stop()


@pytest.fixture
def own_redis_url(own_redis: Server) -> str:
    return url_of(own_redis)


@pytest.fixture
def start_worker(own_redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Start one more worker process over `own_redis_url` and the folder `tmp_path`/objects, with more settings."""
    workers: list[Child] = []
    settings = {
        "RAREBIT_REDIS_URL": own_redis_url,
        "RAREBIT_DATA_DIR": str(tmp_path),
        "RAREBIT_SIGNING_KEY": SIGNING_KEY,
    }

    def start(**more: str) -> Child:
        log = tmp_path / f"worker-{len(workers)}.log"
        env = os.environ | FAST | settings | more
        workers.append(Child("worker", [*RAREBIT, "worker"], log=log, env=env))
        return workers[-1]

    yield start
    for worker in workers:
        worker.stop(grace_s=30)
