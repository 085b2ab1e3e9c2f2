"""Redis as production has it: behind TLS, with a user of few rights, and never as a cluster."""

import asyncio
import ssl
from pathlib import Path

import pytest
import redis
import trustme
import yaml
from celery.contrib.testing.worker import start_worker

from proxy import proxied
from servers import SIGNING_KEY, Server, free_port, redis_binaries
from services.errors import StoreUnsafeError
from services.jobs.leases import Leases
from services.jobs.lifecycle import Jobs
from services.jobs.notifications import Notifications
from services.jobs.queue import RUN_TASK, celery_app
from services.jobs.record import Metrics
from services.jobs.store import connect, connect_async
from services.settings import Settings
from tests.accepted import accepted
from worker.app import check_redis
from worker.fit_lock import fit_lock

PASSWORD = "drawn-for-the-tests"  # pragma: allowlist secret
REFUSED = [
    "CONFIG GET *",
    "FLUSHALL",
    "FLUSHDB",
    "KEYS *",
    "ACL LIST",
    "SCRIPT FLUSH",
    "FUNCTION FLUSH",
    "SHUTDOWN",
    "CLIENT KILL TYPE normal",
    "GET other",
]


async def use_everything(url):
    """What gateway and worker do: submit, wait, claim through Celery, renew, publish, remember, lock, erase."""
    app = celery_app(Settings(signing_key=SIGNING_KEY, redis_url=url))
    with connect(url) as client:
        check_redis(client)
        leases = Leases(client, worker="w", lease_s=30)
        ended = []

        @app.task(name=RUN_TASK, shared=False)
        def run():
            claim = leases.claim()
            with fit_lock(client, 30, "density", lambda *_: None) as report:
                report("fit", 1, 1, None)
            leases.renew(claim)
            leases.recover()
            ended.append(leases.succeed(claim, [], [], Metrics()))

        with start_worker(app, pool="threads", concurrency=1, perform_ping_check=False, shutdown_timeout=30):
            async with connect_async(url) as gateway_client:
                jobs = Jobs(gateway_client)
                await jobs.check()
                job_id = (await jobs.submit(accepted(concept="lamp"), keep_s=60, max_queued=9)).id
                await wait_for_the_end(gateway_client, jobs, job_id)
                await jobs.delete(job_id)
            assert app.control.ping(timeout=10, limit=1)
        assert ended == ["succeeded"]


async def wait_for_the_end(client, jobs, job_id):
    """As the gateway waits: by what Redis publishes, and by the job's events."""
    notifications = Notifications(client)
    async with asyncio.timeout(30), notifications.listening(), notifications.of(job_id) as changed:
        while not (await jobs.get(job_id))[0].status.final:
            changed.clear()
            await changed.wait()
    assert "succeeded" in (await jobs.events(job_id, "0-0"))[-1].data


@pytest.fixture
def authority(tmp_path):
    """A certificate authority of our own and its file."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return authority, tmp_path / "ca.pem"


@pytest.fixture
def tls_port(own_redis, authority):
    """`own_redis` behind TLS, with a certificate for localhost."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority[0].issue_cert("localhost").configure_cert(context)
    with proxied(own_redis.address, context) as proxy:
        yield proxy.port


async def test_service_speaks_tls_to_a_redis_whose_authority_it_knows(tls_port, authority):
    await use_everything(f"rediss://localhost:{tls_port}/0?ssl_ca_certs={authority[1]}")


@pytest.mark.parametrize("url", ["rediss://localhost:{port}/0", "rediss://127.0.0.1:{port}/0?ssl_ca_certs={ca}"])
def test_service_does_not_speak_to_a_redis_that_cannot_show_who_it_is(tls_port, authority, url):
    """Its authority is unknown, or its certificate is for another host."""
    with (
        connect(url.format(port=tls_port, ca=authority[1])) as client,
        pytest.raises(StoreUnsafeError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        check_redis(client)


@pytest.fixture(params=redis_binaries().values(), ids=redis_binaries().keys())
def composed(request, short_folder):
    """The queue of docker-compose.yml by its own command, with this machine's server in place of the image's."""
    file = Path(__file__).parents[2] / "docker-compose.yml"
    *shell, line = yaml.safe_load(file.read_text())["services"]["queue"]["command"]
    port = free_port()
    program = f"{request.param} - --port {port} --bind 127.0.0.1 --dir {short_folder}"
    line = line.replace("$$", "$").replace("docker-entrypoint.sh valkey-server -", program)
    server = Server([*shell, line], port, {"REDISCLI_AUTH": PASSWORD})
    server.start()
    yield port
    server.stop()


async def test_user_of_the_compose_file_can_do_all_that_the_service_does(composed):
    await use_everything(f"redis://rarebit:{PASSWORD}@127.0.0.1:{composed}/0")


@pytest.mark.parametrize("command", REFUSED)
def test_user_of_the_compose_file_can_do_no_more(composed, command):
    url = f"redis://rarebit:{PASSWORD}@127.0.0.1:{composed}/0"
    with connect(url) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())


def test_queue_of_the_compose_file_knows_nobody_else(composed):
    with connect(f"redis://127.0.0.1:{composed}/0") as client, pytest.raises(redis.exceptions.AuthenticationError):
        client.get("{rarebit}:seq")


async def test_cluster_is_refused_with_a_sentence(cluster_url):
    with connect(cluster_url) as client, pytest.raises(StoreUnsafeError, match="cluster mode"):
        check_redis(client)
