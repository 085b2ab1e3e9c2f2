"""A service to break: one Redis, one bucket, gateways and stand-in workers, each a process of its own."""

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis
from minio import Minio

from deploy.local.stack.child import RAREBIT
from services.jobs.lifecycle import Jobs
from services.jobs.store import connect_async
from tests.accepted import accepted
from tests.faults.audit import FINAL, Audit, audit, bucket_objects
from tests.faults.backup import load_snapshot
from tests.faults.fleet import Fleet
from tests.servers import Server, eventually, free_port, redis_server, s3_server, url_of

KEYS = ("rarebit-faults", "a-secret-of-the-fault-tests")
BUCKET = "faults"
HINTS = "{rarebit}.run"
LEASE_S = 3  # short, for tests that wait for its end


class Rig:
    """The parts, and what a test does with them; reads go past the service's own code."""

    def __init__(self, server: Server, s3: Server, folder: Path, lease_s: int) -> None:
        self.redis, self.s3, self.folder = server, s3, folder
        self.bucket = Minio(f"127.0.0.1:{s3.address}", *KEYS, secure=False, region="us-east-1")
        self.env = {
            "OMP_NUM_THREADS": "1",
            "RAREBIT_REDIS_URL": url_of(server),
            "RAREBIT_STORAGE": "s3",
            "RAREBIT_S3_ENDPOINT": f"http://127.0.0.1:{s3.address}",
            "RAREBIT_S3_ACCESS_KEY": KEYS[0],
            "RAREBIT_S3_SECRET_KEY": KEYS[1],
            "RAREBIT_S3_BUCKET": BUCKET,
            "RAREBIT_LEASE_S": str(lease_s),
            "RAREBIT_SHUTDOWN_GRACE_S": "1",
            "RAREBIT_SHARE_WAIT_MS": "10",  # several jobs at once in each worker
        }
        self.fleet = Fleet(self.env, folder)
        self.gateways: list[Server] = []
        self.acknowledged: list[str] = []

    def start_workers(self, count: int = 1) -> None:
        """Return when they listen."""
        started = self.fleet.start(count)
        assert eventually(lambda: all(worker.ready for worker in started), 120)

    def start_gateway(self, **env: str) -> Server:
        command = [*RAREBIT, "gateway", "--port", str(port := free_port())]
        self.gateways.append(Server(command, port, self.env | env))
        self.gateways[-1].start()
        return self.gateways[-1]

    def stop(self) -> None:
        """What the caller has started."""
        self.fleet.stop()
        for gateway in self.gateways:
            gateway.stop()

    def submit(self, step_s: float = 0.0, dies_in: str = "", **fields: Any) -> str:
        """Queue a job whose steps take so long."""
        metadata = {"step_s": str(step_s)} | ({"dies_in": dies_in} if dies_in else {})
        request = accepted(concept="chair", seed=7, metadata=metadata, **({"steps": 1} | fields))

        async def queue() -> str:
            async with connect_async(self.env["RAREBIT_REDIS_URL"]) as client:
                return (await Jobs(client).submit(request, keep_s=3600, max_queued=10**6)).id

        self.acknowledged.append(asyncio.run(queue()))
        return self.acknowledged[-1]

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        with redis.Redis.from_url(self.env["RAREBIT_REDIS_URL"], decode_responses=True) as client:
            yield client

    def record(self, job_id: str) -> dict[str, str]:
        with self.client() as client:
            return dict(client.hgetall(f"{{rarebit}}:job:{job_id}"))

    def is_in(self, job_id: str, phase: str) -> bool:
        record = self.record(job_id)
        return record["status"] == "running" and f'"phase":"{phase}"' in record.get("progress", "")

    def wait_for_phase(self, job_id: str, phase: str) -> None:
        assert eventually(lambda: self.is_in(job_id, phase), 60), self.record(job_id)

    def wait_for_end(self, *job_ids: str, limit_s: float = 120) -> list[dict[str, str]]:
        ids = job_ids or tuple(self.acknowledged)
        assert eventually(lambda: all(self.record(job_id)["status"] in FINAL for job_id in ids), limit_s)
        return [self.record(job_id) for job_id in ids]

    def objects(self) -> set[str]:
        return bucket_objects(self.bucket, BUCKET)

    def audit(self) -> Audit:
        """Now, whether it is quiet or not."""
        return audit(self.env["RAREBIT_REDIS_URL"], self.objects(), self.acknowledged, self.fleet.published())

    def settled(self, limit_s: float = 60) -> Audit:
        """As soon as nothing is amiss, or at the limit."""
        eventually(lambda: not self.audit().faults, limit_s)
        return self.audit()


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """Its connections stay open, and nobody answers."""
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


@contextmanager
def rig(binary: str, *, lease_s: int = LEASE_S, saved: Path | None = None, **redis_options: str) -> Iterator[Rig]:
    """The servers run, Redis with what a snapshot has `saved`; workers and gateways are the caller's to start."""
    with ExitStack() as exits:
        folder = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp"))  # short enough for a socket
        exits.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "s3").mkdir()
        if saved:
            load_snapshot(binary, folder, saved)
        servers = redis_server(binary, folder, **redis_options), s3_server(folder / "s3", *KEYS)
        for server in servers:
            exits.callback(server.stop)
            server.start()
        built = Rig(*servers, folder, lease_s)
        built.bucket.make_bucket(BUCKET)
        exits.callback(built.stop)
        yield built


@contextmanager
def again_and_again(act: Callable[[], object], pause_s: Callable[[], float]) -> Iterator[None]:
    """Act beside the block, after each pause."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(pause_s()):
            act()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
