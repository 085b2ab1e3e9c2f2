"""The gateway that is attacked: a process of its own, over a real Valkey and a folder, and a worker without a model."""

import json
import os
import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import psutil

from deploy.local.stack.child import RAREBIT
from services.errors import LeaseLostError
from services.jobs.leases import Claim, Leases
from services.jobs.record import JobError, Metrics
from services.jobs.store import connect
from services.objects.storage import Storage, open_storage
from services.settings import Settings
from tests.published import store_output
from tests.servers import SIGNING_KEY, free_port, redis_binaries, redis_server, url_of

START_LIMIT_S = 60
_UNHEALTHY = ("Traceback", "ERROR", "CRITICAL")
_FAILURE = JobError(code="internal", title="The service failed", detail="The worker met a ValueError.")


class Gateway:
    """The running gateway: where it answers, what it documents, how much memory it holds and what it has logged."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path, log: Path) -> None:
        self.port, self.folder = port, folder
        self.url = f"http://127.0.0.1:{port}"
        self._process, self._log = process, log
        self._memory = psutil.Process(process.pid)
        self.contract: dict[str, Any] = json.loads(self._wait_for_contract())

    def memory_mib(self) -> int:
        """Resident memory."""
        return int(self._memory.memory_info().rss) >> 20

    def complaints(self) -> list[str]:
        """What says that it did not come through well: it ended, or logged an error."""
        code = self._process.poll()
        ended = [] if code is None else [f"the gateway ended with exit code {code}"]
        lines = self._log.read_text(errors="replace").splitlines()
        return ended + [line for line in lines if any(word in line for word in _UNHEALTHY)]

    def _wait_for_contract(self) -> bytes:
        deadline = time.monotonic() + START_LIMIT_S
        opener = build_opener(ProxyHandler({}))
        while True:
            try:
                return bytes(opener.open(f"{self.url}/openapi.json", timeout=5).read())
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


@contextmanager
def attacked() -> Iterator[Gateway]:
    """The gateway, as `rarebit serve` starts it, until the end of the block."""
    folder, port = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp")), free_port()
    server = redis_server(redis_binaries()["valkey"], folder, **{"maxmemory-policy": "noeviction"})
    server.start()
    settings = Settings(redis_url=url_of(server), data_dir=folder / "data", signing_key=SIGNING_KEY)
    process = _start(settings, port, folder / "gateway.log")
    ending = threading.Event()
    worker = threading.Thread(target=_work, args=(settings, ending))
    worker.start()
    try:
        yield Gateway(process, port, folder, folder / "gateway.log")
    finally:
        ending.set()
        worker.join()
        process.terminate()
        process.wait()
        server.stop()
        shutil.rmtree(folder)


def _start(settings: Settings, port: int, log: Path) -> subprocess.Popen[bytes]:
    env = os.environ | {
        "RAREBIT_REDIS_URL": settings.redis_url,
        "RAREBIT_DATA_DIR": str(settings.data_dir),
        "RAREBIT_SIGNING_KEY": SIGNING_KEY,
        "RAREBIT_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }
    with log.open("wb") as output:
        return subprocess.Popen(
            [*RAREBIT, "gateway", "--port", str(port)], env=env, stdout=output, stderr=subprocess.STDOUT
        )


def _work(settings: Settings, ending: threading.Event) -> None:
    """End jobs in every way until told to stop, so that requests meet jobs in every state."""
    storage, draw = open_storage(settings), random.Random(0)
    with connect(settings.redis_url) as client:
        leases, dying = (Leases(client, worker=name, lease_s=lease_s) for name, lease_s in (("well", 30), ("ill", 0)))
        while not ending.wait(0.005):
            if draw.random() < 0.1:
                dying.claim()
                leases.recover()
            elif claim := leases.claim():
                _end(leases, storage, claim, fails=draw.random() < 0.1)


def _end(leases: Leases, storage: Storage, claim: Claim, *, fails: bool) -> None:
    try:
        if fails:
            leases.fail(claim, _FAILURE, Metrics())
        else:
            leases.succeed(claim, [store_output(storage, claim, 0)], [], Metrics())
    except LeaseLostError:  # canceled or erased meanwhile
        return
