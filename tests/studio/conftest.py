"""The whole service with few samples, and a real Chromium before it."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import redis
from playwright.sync_api import Browser, Page, expect, sync_playwright

from deploy.local.stack.child import RAREBIT, Child
from servers import SIGNING_KEY, Server, eventually, free_port, redis_binaries, redis_server, url_of
from services.jobs.leases import Leases
from services.jobs.record import Metrics
from services.jobs.store import connect
from services.objects.storage import S3Storage
from services.tenants import Tenants
from tests.conftest import BUCKET, S3_KEYS
from tests.published import store_output

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --no-proxy-server"
CONTEXT = {"permissions": ["clipboard-read", "clipboard-write"], "reduced_motion": "reduce"}  # drawn without a GPU
LIMIT_S = 180  # on a busy machine
expect.set_options(timeout=1000 * LIMIT_S)


class Service:
    """A queue, a worker and a gateway that a test may kill and start again on its port."""

    def __init__(self, gateway: Server) -> None:
        self.gateway = gateway
        self.url = f"http://127.0.0.1:{gateway.address}"
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=30)

    def read(self, job_id: str) -> dict:
        return self.client.get(f"/jobs/{job_id}").raise_for_status().json()

    def submit(self, **fields: object) -> str:
        return self.client.post("/jobs", json=QUICK | fields).raise_for_status().json()["id"]

    def finish(self, job_id: str) -> dict:
        assert eventually(lambda: self.read(job_id)["finished_at"] is not None, LIMIT_S)
        return self.read(job_id)


QUICK = {"concept": "handbag", "count": 1, "steps": 1, "trials": 2, "decoder_steps": 2, "seed": 7}
ENDLESS = {"steps": 1000, "count": 8, "trials": 40, "rarity": {"bits": 30}}  # out of reach for twenty seconds at least


def environment(redis: Server, data: Path, port: int) -> dict[str, str]:
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "RAREBIT_REDIS_URL": url_of(redis),
        "RAREBIT_DATA_DIR": str(data),
        "RAREBIT_SIGNING_KEY": SIGNING_KEY,
        "RAREBIT_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "RAREBIT_DENSITY_SAMPLES": "200",
        "RAREBIT_MAX_QUEUED": "4",
        "RAREBIT_SHUTDOWN_GRACE_S": "0",
    }


def start_gateway(port: int, env: Mapping[str, str]) -> Server:
    gateway = Server([*RAREBIT, "gateway", "--port", str(port)], port, env)
    gateway.start()
    return gateway


@pytest.fixture(scope="module")
def service(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder, short = tmp_path_factory.mktemp("studio"), Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp"))
    with ExitStack() as exits:
        exits.callback(shutil.rmtree, short)
        redis = redis_server(redis_binaries()["valkey"], short)
        redis.start()
        exits.callback(redis.stop)
        port = free_port()
        env = environment(redis, folder, port)
        worker = Child("worker", [*RAREBIT, "worker"], log=folder / "worker.log", env=env)
        exits.callback(worker.stop, 30)
        gateway = start_gateway(port, env)
        exits.callback(gateway.kill)
        service = Service(gateway)
        exits.callback(service.client.close)
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, Debian's or Playwright's own; for one module, because Playwright keeps the thread's event loop."""
    with sync_playwright() as playwright:
        installed = next(filter(None, map(shutil.which, NAMES)), playwright.chromium.executable_path)
        if not Path(installed).exists():
            pytest.skip("no Chromium: install Debian's, or run `playwright install chromium`")
        browser = playwright.chromium.launch(executable_path=installed, args=OPTIONS.split())
        yield browser
        browser.close()


@pytest.fixture
def open_page(service: Service, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open the studio at a path; in the end nothing went wrong that the service had not answered, or left this host."""
    with ExitStack() as exits:
        wrong: list[str] = []
        hosts: set[str | None] = set()

        def open_page(path: str = "/", **context: object) -> Page:
            own = browser.new_context(base_url=service.url, **CONTEXT | context)
            exits.callback(own.close)
            page = own.new_page()
            page.set_default_timeout(1000 * LIMIT_S)
            page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
            page.goto(path)
            return page

        yield open_page
    assert [text for text in wrong if not text.startswith("Failed to load resource")] == []
    assert hosts <= {"127.0.0.1", None}, "None is of data in the page itself"


@pytest.fixture
def endless(service: Service) -> Iterator[str]:
    """A job that moves its trials for as long as the test takes."""
    job_id = service.submit(**ENDLESS)
    assert eventually(lambda: service.read(job_id)["status"] == "running", LIMIT_S)
    yield job_id
    service.client.post(f"/jobs/{job_id}/cancel").raise_for_status()


@pytest.fixture(scope="module")
def finished(service: Service) -> dict:
    """A job with two images."""
    return service.finish(service.submit(count=2))


@pytest.fixture
def workerless(own_redis: Server, tmp_path: Path) -> Iterator[tuple[str, redis.Redis]]:
    """The URL of a gateway whose jobs nobody runs but the test, and its Redis."""
    gateway = start_gateway(port := free_port(), environment(own_redis, tmp_path, port))
    with connect(url_of(own_redis)) as client:
        yield f"http://127.0.0.1:{port}/", client
    gateway.kill()


@pytest.fixture
def from_bucket(own_redis: Server, tmp_path: Path, s3_url: str) -> Iterator[str]:
    """The URL of a finished job in the studio of a gateway whose pictures lie in a real bucket, on another origin."""
    s3 = {"ENDPOINT": s3_url, "ACCESS_KEY": S3_KEYS[0], "SECRET_KEY": S3_KEYS[1], "BUCKET": BUCKET}
    env = environment(own_redis, tmp_path, port := free_port()) | {"RAREBIT_STORAGE": "s3"}
    gateway = start_gateway(port, env | {f"RAREBIT_S3_{name}": value for name, value in s3.items()})
    job = httpx.post(f"http://127.0.0.1:{port}/jobs", json=QUICK, trust_env=False).raise_for_status().json()
    storage = S3Storage(s3_url, access_key=S3_KEYS[0], secret_key=S3_KEYS[1], bucket=BUCKET, region="us-east-1")
    with connect(url_of(own_redis)) as client:
        leases = Leases(client, worker="worker-1", lease_s=30)
        leases.succeed(claim := leases.claim(), [store_output(storage, claim, 0)], [], Metrics())
    yield f"http://127.0.0.1:{port}/#/jobs/{job['id']}"
    gateway.kill()


@pytest.fixture
def locked(own_redis: Server, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The URL of a gateway that wants a key, with no worker behind it, and the key."""
    with connect(url_of(own_redis)) as client:
        key = Tenants(client).create_key("designers")
    gateway = start_gateway(port := free_port(), environment(own_redis, tmp_path, port) | {"RAREBIT_AUTH": "keys"})
    yield f"http://127.0.0.1:{port}/", key
    gateway.kill()
