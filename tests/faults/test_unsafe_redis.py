"""A Redis that would lose jobs gets none: the gateway is not ready, the worker does not start."""

import httpx
import pytest

from api.app import create_app
from servers import redis_binaries, redis_server, url_of
from services.errors import StoreUnsafeError
from services.jobs.store import connect
from worker.app import check_redis

UNSAFE = pytest.mark.fault(
    "none yet", "Redis evicts keys or writes no file", "the gateway is not ready, no worker starts"
)
CASES = [
    ({"appendonly": "no"}, "noeviction and no"),
    ({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}, "allkeys-lru and yes"),
]


@pytest.fixture(params=redis_binaries().values(), ids=redis_binaries().keys())
def start(request, short_folder):
    """Start a server with options of its own; answers with its URL."""
    servers = []

    def start(options):
        servers.append(redis_server(request.param, short_folder, **options))
        servers[-1].start()
        return url_of(servers[-1])

    yield start
    for server in servers:
        server.stop()


@UNSAFE
@pytest.mark.parametrize(("options", "sentence"), CASES)
async def test_gateway_over_an_unsafe_redis_is_not_ready_and_says_why(start, settings, options, sentence):
    app = create_app(settings.model_copy(update={"redis_url": start(options)}))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
    ):
        answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/store_unsafe")
    assert answer.json()["detail"].endswith(f"and has {sentence}")


@UNSAFE
@pytest.mark.parametrize(("options", "sentence"), CASES)
def test_worker_over_an_unsafe_redis_does_not_start(start, options, sentence):
    with connect(start(options)) as client, pytest.raises(StoreUnsafeError, match=f"and has {sentence}$"):
        check_redis(client)
