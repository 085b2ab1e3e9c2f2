"""docs/lifetimes.md tells of every key and object of the main flows, and of nothing else.

What it says of the other tests' keys, the fixture `redis_url` holds it against.
"""

import asyncio
import io
from dataclasses import replace
from functools import partial

import httpx
import pytest
from celery.contrib.testing.worker import start_worker
from PIL import Image

from api.app import create_app
from lifetimes import row_of, rows
from servers import eventually
from services.errors import StorageError
from services.jobs.leases import Leases
from services.jobs.lifecycle import Jobs
from services.jobs.queue import RUN_TASK, celery_app
from services.jobs.store import connect, connect_async
from services.objects.keys import upload_prefix
from services.objects.storage import LocalStorage
from services.sampler.models import load_models
from services.tenants import Limits, Tenants
from tests.receiver import SECRET, receiving
from worker.fit_lock import fit_lock
from worker.heartbeat import Heartbeat
from worker.sweeper import Sweeper
from worker.tasks import Runner

QUICK = {"concept": "handbag", "steps": 2, "trials": 2, "decoder_steps": 2, "seed": 7}
LONG = QUICK | {"steps": 60, "rarity": {"bits": 30}}  # with savepoints


class Recording(LocalStorage):
    """Remembers what was stored; `stuck` is a prefix that cannot be erased."""

    stored, stuck = set(), ""

    def put(self, key, data, media_type):
        self.stored.add(key)
        super().put(key, data, media_type)

    def delete(self, prefix):
        if prefix == self.stuck:
            raise StorageError("stuck")
        super().delete(prefix)


@pytest.fixture
def storage(settings):
    return Recording(settings.data_dir / "objects", signing_key="k" * 16, public_url="http://gateway")


@pytest.fixture
def seen_keys(redis_url):
    """All keys that are touched from now on, when it is called."""
    with connect(redis_url) as client:
        client.config_set("notify-keyspace-events", "KA")
        pubsub = client.pubsub(ignore_subscribe_messages=True)
        pubsub.psubscribe("__keyspace@0__:*")

        def seen():
            messages = iter(partial(pubsub.get_message, timeout=0.5), None)
            return {message["channel"].partition(":")[2] for message in messages}

        assert seen() == set()
        yield seen
        client.config_set("notify-keyspace-events", "")
        pubsub.close()


@pytest.fixture
async def acme(settings, storage, redis_url):
    """A tenant's client of a gateway that asks for keys, delivers webhooks and has one slot for the tenant."""
    with connect(redis_url) as client:
        Tenants(client).limit("acme", Limits(rate=600, running=1))
        key = Tenants(client).create_key("acme")
    webhooks = {"webhook_secret": SECRET, "webhook_networks": ["127.0.0.0/8"]}
    more = {"auth": "keys", "models": ["rarebit", "large"]} | webhooks
    app = create_app(type(settings).model_validate(settings.model_dump() | more))
    transport, headers = httpx.ASGITransport(app), {"Authorization": f"Bearer {key}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client,
    ):
        app.state.gateway = replace(app.state.gateway, storage=storage)
        yield client


@pytest.fixture
def make_runner(settings, storage, redis_url):
    """A worker over the recording store, which has loaded its checkpoint itself."""
    models = load_models(settings.model_copy(update={"density_samples": 500}), storage)
    with connect(redis_url) as client:
        leases = Leases(client, worker="worker-1", lease_s=30)
        leases.serve(models.densities.family, [])
        leases.recover(device_memory=0.5)
        options = {"fit_lock": partial(fit_lock, client, 30), "run_limit_s": 600, "stopping": lambda: False}
        yield lambda hand_back=lambda: False: Runner(
            leases, storage, models, Heartbeat(leases, 10), hand_back=hand_back, **options
        )


async def submit(acme, headers=None, **body):
    answer = await acme.post("/jobs", json=QUICK | body, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


async def vary_a_picture(acme, run_next, receiver, jobs):
    """A job around an upload, one around its output, watched and told of, and one that draws what it found again."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 0, 0)).save(file, "png")
    upload = (await acme.post("/images", content=file.getvalue(), headers={"content-type": "image/png"})).json()["id"]
    more = {"webhook": {"url": receiver.url}, "exposure": "user-7", "start_within": 60}
    first = await submit(acme, {"Idempotency-Key": "k"}, image={"upload": upload}, **more)
    await submit(acme)  # is held
    await jobs.preview(first, "", ask_s=60)
    await run_next()
    await submit(acme, image={"output": f"{first}/0"})
    await run_next(), await run_next()
    kept = (await acme.post("/found", json={"output": f"{first}/0", "name": "the arch"})).json()["id"]
    await submit(acme, found={"kept": kept}, steps=50)
    await run_next()
    receiver.reply(410)
    await submit(acme, webhook={"url": receiver.url})
    await run_next()
    assert await asyncio.to_thread(eventually, lambda: len(receiver.got) == 2)
    return upload


async def interrupt_a_run(acme, make_runner):
    """A job that is handed back after its first savepoint and then ends."""
    job_id = await submit(acme, **LONG)
    looks = iter(range(40))
    await asyncio.to_thread(make_runner(lambda: next(looks, None) is None).run_next)
    assert (await acme.get(f"/jobs/{job_id}")).json()["status"] == "queued"
    await asyncio.to_thread(make_runner().run_next)
    return job_id


async def hear_hints(settings, acme):
    """Celery takes a message and forgets it."""
    app, heard = celery_app(settings), []

    @app.task(name=RUN_TASK, shared=False)
    def hear():
        heard.append(1)

    await submit(acme)
    with start_worker(app, pool="threads", concurrency=1, perform_ping_check=False, shutdown_timeout=30):
        assert eventually(lambda: bool(heard), 30)


async def end_in_all_ways(acme, run_next, sweeper, storage, upload):
    """Jobs that are lost, canceled in a batch, erased and expired, and an upload that cannot be erased."""
    batch = (await acme.post("/batches", json={"jobs": [QUICK, QUICK]})).json()
    await acme.post(f"/batches/{batch['id']}/cancel")
    expired = await submit(acme, expires_in=1)
    await run_next()
    assert (await acme.delete(f"/jobs/{await submit(acme)}")).status_code == 204
    storage.stuck = upload_prefix(upload)
    assert (await acme.delete(f"/images/{upload}")).status_code == 204
    await asyncio.sleep(1.1)
    sweeper.sweep()
    assert (await acme.get(f"/jobs/{expired}")).status_code == 410


async def test_page_tells_of_all_that_is_kept_and_of_nothing_else(
    settings, storage, redis_url, seen_keys, acme, make_runner, leases, lose_next
):
    async def run_next():
        await asyncio.to_thread(make_runner().run_next)

    assert (await acme.get("/health/ready")).status_code == 200
    await hear_hints(settings, acme)
    await run_next()
    with receiving() as receiver:
        async with connect_async(redis_url) as client:
            upload = await vary_a_picture(acme, run_next, receiver, Jobs(client, "acme"))
    await acme.post(f"/jobs/{await submit(acme, model='large')}/cancel")
    await acme.put("/density-models/chair")
    await run_next()
    await interrupt_a_run(acme, make_runner)
    await submit(acme)
    lose_next()
    await end_in_all_ways(acme, run_next, Sweeper(leases, storage, interval_s=10), storage, upload)
    root = settings.data_dir / "objects"
    objects = storage.stored | {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    met = {name: row_of(name) for name in seen_keys() | objects}
    assert [name for name, row in met.items() if row is None] == []
    assert set(met.values()) == set(rows())
