"""Fixtures for all tests: real servers, and the gateway over them."""

import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis
from celery import signals
from fastapi import FastAPI

from api.app import create_app
from services.jobs.leases import Leases
from services.jobs.lifecycle import Jobs
from services.jobs.store import connect, connect_async
from services.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))  # the tests' own modules, `servers` among them

from lifetimes import untold
from servers import SIGNING_KEY, Server, eventually, free_port, redis_binaries, redis_server, s3_server, url_of

S3_KEYS = ("rarebit-tests", "a-secret-of-the-tests")
BUCKET = "rarebit-tests"
DECODER = Path(__file__).parents[1] / "deploy/checkpoints/rarebit-mini/decoder"


@signals.setup_logging.connect
def leave_logging(**_: object) -> None:
    """A Celery worker in this process would set the level and the handlers of all logging, which tests read."""


@pytest.fixture(scope="session", autouse=True)
def quick_decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The embedded decoder draws 64 pixels in two steps unless it is told to: what is tested is not how it looks."""
    folder = Path(shutil.copytree(DECODER, tmp_path_factory.mktemp("checkpoint") / "decoder"))
    own = json.loads((folder / "defaults.json").read_text())
    (folder / "defaults.json").write_text(json.dumps(own | {"size": 64, "num_inference_steps": 2}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAREBIT_DECODER", str(folder))
        yield


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the two repositories of Kandinsky 2.1 as they are published, at a tiny size."""
    from tests.kandinsky_as_published import write_published

    folder = tmp_path_factory.mktemp("published")
    write_published(folder)
    return folder


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name."""
    folder = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session", params=redis_binaries().values(), ids=redis_binaries().keys())
def shared_redis(request: pytest.FixtureRequest) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp"))
    server = redis_server(request.param, folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def redis_url(shared_redis: Server) -> Iterator[str]:
    """An empty database; whatever is left in it afterwards has to be told of in docs/lifetimes.md."""
    with redis.Redis.from_url(url_of(shared_redis)) as client:
        client.flushall()
    yield url_of(shared_redis)
    assert untold(url_of(shared_redis)) == []


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """Calls the test's Redis past the service's own code."""
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def own_redis(short_folder: Path) -> Iterator[Server]:
    """A server that the test may kill and start again; it remembers."""
    server = redis_server(redis_binaries()["valkey"], short_folder, appendfsync="always")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def cluster_url(short_folder: Path) -> Iterator[str]:
    """A cluster of one server, which has all slots."""
    ports = {"port": str(free_port()), "cluster-port": str(free_port()), "bind": "127.0.0.1"}
    server = redis_server(redis_binaries()["valkey"], short_folder, **{"cluster-enabled": "yes"}, **ports)
    server.start()
    with redis.Redis.from_url(url_of(server), decode_responses=True) as client:
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        assert eventually(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
    yield url_of(server)
    server.stop()


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server with one bucket."""
    from minio import Minio

    server = s3_server(tmp_path_factory.mktemp("s3"), *S3_KEYS)
    server.start()
    Minio(f"127.0.0.1:{server.address}", *S3_KEYS, secure=False, region="us-east-1").make_bucket(BUCKET)
    yield f"http://127.0.0.1:{server.address}"
    server.stop()


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    """The gateway's settings over the shared Redis and a folder."""
    away = {"public_url": "http://gateway", "auth": "proxy"}
    return Settings(redis_url=redis_url, data_dir=tmp_path, signing_key=SIGNING_KEY, **away)


@pytest.fixture
async def jobs(redis_url: str) -> AsyncIterator[Jobs]:
    async with connect_async(redis_url) as client:
        yield Jobs(client)


@pytest.fixture
def leases(redis_url: str) -> Iterator[Leases]:
    with connect(redis_url) as client:
        yield Leases(client, worker="worker-1", lease_s=30)


@pytest.fixture
def lose_next(redis_url: str) -> Iterator[Callable[..., None]]:
    """So many workers, one after the other, die with the next job."""
    with connect(redis_url) as client:
        dying, living = Leases(client, worker="dying", lease_s=0), Leases(client, worker="living", lease_s=30)

        def lose(times: int = 2) -> None:
            for _ in range(times):
                dying.claim()
                living.recover()

        yield lose


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
async def gateway(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the running gateway, without a socket between them."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://gateway") as c:
        yield c
