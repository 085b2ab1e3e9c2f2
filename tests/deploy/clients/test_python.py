"""The Python client against the running service: threads for most laws, tasks for what is theirs."""

import asyncio
import threading
from base64 import b64encode
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from secrets import token_bytes

import anyio
import httpx
import pytest
from pydantic import SecretStr

import rarebit_client
from api.app import create_app
from rarebit_client import AsyncClient, Client, Progress
from servers import Server, served, url_of
from services.jobs.store import connect
from services.settings import Settings
from services.tenants import Tenants

SLOW = {"steps": 40, "metadata": {"step_s": "0.05"}}  # two seconds of the stand-in's


SLOWER = SLOW | {"metadata": {"step_s": "0.15"}}


@pytest.fixture
def client(service):
    with Client(service.url) as client:
        yield client


class Lossy(httpx.HTTPTransport):
    """Loses the answers to the first `lost` requests, which arrive all the same, and keeps what was sent."""

    def __init__(self, lost: int = 0) -> None:
        super().__init__()
        self.sent: list[httpx.Request] = []
        self._lost = lost

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        response = super().handle_request(request)
        if len(self.sent) <= self._lost:
            response.read()
            raise httpx.ReadError("the connection broke", request=request)
        return response


def test_a_sweep_has_a_job_for_each_combination(client):
    batch = client.sweep("chair", {"/rarity/bits": [2, 5], "/seed": [7, 8]}, steps=1)
    client.cancel_batch(batch.id)
    requests = [item.job.request for item in batch.items]
    assert [(one["rarity"]["bits"], one["seed"]) for one in requests] == [(2, 7), (2, 8), (5, 7), (5, 8)]
    assert [axis.field for axis in batch.sweep] == ["/rarity/bits", "/seed"]


def test_a_found_thing_is_kept_taken_out_and_in_named_in_a_job_and_erased(client):
    image = client.generate("chair", steps=1, seed=7)[0]
    kept = client.keep(image, "the arch")
    again = client.keep_file(client.found_file(kept), "once more")
    assert [(thing.id, thing.name) for thing in client.found()] == [(again.id, "once more"), (kept.id, "the arch")]
    for found in ({"kept": again.id, "strength": 0.7}, image):
        job = client.submit("chair", found=found, prompt="a {} on the beach")
        assert job.request["found"]["kept"] == (again.id if found is not image else None)
        client.cancel(job.id)
    for thing in (kept, again):
        client.delete_found(thing.id)
    assert client.found() == []


def test_generate_tells_progress_and_gives_pictures_with_their_figures(client, tmp_path):
    told: list[Progress] = []
    images = client.generate("chair", count=2, steps=3, seed=7, on_progress=told.append)
    assert [(p.phase, p.step) for p in told if p.phase == "optimize"] == [
        ("optimize", 0),
        ("optimize", 1),
        ("optimize", 2),
    ]
    assert [(image.seed, image.bits, image.percentile, image.validity) for image in images] == [
        (7, 10.0, 99.9, 0.9),
        (8, 10.0, 99.9, 0.9),
    ]
    assert images[0].pil().getpixel((0, 0)) == (7, 0, 0)
    assert images[1].save(tmp_path / "chair.png").read_bytes() == images[1].content


async def test_tasks_generate_as_threads_do(service):
    told: list[Progress] = []
    async with AsyncClient(service.url) as client:
        images = await client.generate("chair", count=2, steps=3, seed=7, on_progress=told.append)
    assert [image.seed for image in images] == [7, 8]
    assert "optimize" in {progress.phase for progress in told}


def test_event_stream_survives_the_gateway_and_repeats_nothing(service, client):
    job, events = client.submit("chair", **SLOW), []
    for event in client.events(job.id):
        events.append(event)
        if len(events) == 5:
            service.restart()
    steps = [event.data.step for event in events if isinstance(event.data, Progress) and event.data.phase == "optimize"]
    assert steps == list(range(40))
    assert all(before < after for before, after in pairwise(_place(event.id) for event in events))
    assert events[-1].data.status == "succeeded"


async def test_event_stream_of_tasks_survives_the_gateway(service):
    async with AsyncClient(service.url) as client:
        job, steps = await client.submit("chair", **SLOW), []
        async for event in client.events(job.id):
            steps += [event.data.step] if isinstance(event.data, Progress) and event.data.phase == "optimize" else []
            if steps == [0]:
                await asyncio.to_thread(service.restart)
    assert steps == list(range(40))


def test_job_whose_answer_was_lost_is_one_job(service):
    with Client(service.url, transport=Lossy(lost=2)) as client:
        job = client.submit("once-only chair", steps=1)
        assert [other.id for other in client.jobs() if other.concept == "once-only chair"] == [job.id]


def test_erasing_what_a_lost_answer_says_is_erased_succeeds(service):
    with Client(service.url) as client:
        job = client.wait(client.submit("chair", steps=1).id)
    with Client(service.url, transport=Lossy(lost=1)) as client:
        client.delete(job.id)
        with pytest.raises(rarebit_client.NotFound):
            client.delete(job.id)


def test_request_waits_for_the_store_to_come_back(own_redis: Server, tmp_path: Path, settings: Settings):
    app = create_app(settings.model_copy(update={"redis_url": url_of(own_redis)}))
    with served(app) as url, Client(url) as client:
        job = client.submit("chair")
        own_redis.kill()
        with Client(url, retries=0) as impatient, pytest.raises(rarebit_client.Unavailable):
            impatient.get(job.id)
        returning = threading.Timer(0.5, own_redis.start)
        returning.start()
        assert client.get(job.id) == job
        returning.join()


def test_wait_goes_on_where_a_proxy_has_less_patience(impatient):
    with Client(impatient, retries=0) as client:
        assert client.wait(client.submit("chair", **SLOWER).id).status == "succeeded"


async def test_wait_of_tasks_goes_on_where_a_proxy_has_less_patience(impatient):
    async with AsyncClient(impatient, retries=0) as client:
        assert (await client.wait((await client.submit("chair", **SLOWER)).id)).status == "succeeded"


def test_interrupted_generate_cancels_its_job(client):
    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.generate("interrupted chair", on_progress=interrupt, **SLOW)
    assert client.wait(_newest(client).id).status == "canceled"


@pytest.mark.parametrize("how", ["task", "scope"])
async def test_cancelled_task_cancels_its_job(service, how):
    started = asyncio.Event()
    async with AsyncClient(service.url) as client, anyio.create_task_group() as tasks:

        async def generate() -> None:
            await client.generate(f"{how} chair", on_progress=lambda _: started.set(), **SLOW)

        if how == "task":
            task = asyncio.create_task(generate())
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            tasks.start_soon(generate)
            await started.wait()
            tasks.cancel_scope.cancel()
    with Client(service.url) as client:
        job = _newest(client)
        assert job.concept == f"{how} chair"
        assert client.wait(job.id).status == "canceled"


def test_a_job_from_a_list_gives_the_same_images_as_one_that_is_read(client):
    images = client.generate("chair", count=2, steps=3, seed=7)
    [listed] = [job for job in client.jobs(status="succeeded") if job.id == images[0].job.id]
    assert not hasattr(listed.outputs[0], "replay")
    assert [image.replay for image in client.images(listed)] == [image.replay for image in images]


def test_all_pages_are_listed_newest_first(alone):
    submitted = [alone.submit("chair").id for _ in range(45)]
    alone.cancel(submitted[7])
    assert [job.id for job in alone.jobs()] == submitted[::-1]
    assert [job.id for job in alone.jobs(status="canceled")] == [submitted[7]]


def test_pictures_stand_for_their_references(client, tmp_path):
    (image,) = client.generate("chair", steps=1)
    path = image.save(tmp_path / "chair.png")
    job = client.submit("chair", steps=1, image=path, toward=[image], avoid=["red", {"text": "blue"}])
    assert job.request["toward"] == [{"text": None, "output": image.ref, "weight": 1}]
    assert [direction["text"] for direction in job.request["avoid"]] == ["red", "blue"]
    client.wait(job.id)
    client.delete_upload(job.request["image"]["upload"])


def test_history_is_kept_and_forgotten(client):
    (image,) = client.generate("chair", steps=1)
    seen = client.add_views("user/7", {image.ref: "liked"})
    assert (seen.size, seen.feedback["liked"], seen) == (1, 1, client.exposure("user/7"))
    client.forget("user/7")
    assert client.exposure("user/7").size == 0


def test_batch_is_waited_for_with_its_refusals(client):
    batch = client.submit_batch([{"concept": "chair"}, {"count": 17}], shared={"concept": "lamp", "steps": 1})
    assert [item.status for item in batch.items] == [202, 422]
    ended = client.wait_batch(batch.id)
    assert (ended.items[0].job.status, ended.items[0].job.concept) == ("succeeded", "chair")
    assert ended.items[1].problem["errors"][0]["pointer"] == "/count"
    assert client.cancel_batch(batch.id).finished_at == ended.finished_at


def test_delivery_of_a_webhook_is_looked_up_and_sent_again(settings: Settings):
    secret = SecretStr("whsec_" + b64encode(token_bytes(32)).decode())
    calling = settings.model_copy(update={"webhook_secret": secret, "webhook_networks": [ip_network("127.0.0.0/8")]})
    with served(create_app(calling)) as url, Client(url) as client:
        job = client.submit("chair", webhook={"url": "http://127.0.0.1:9/", "events": ["job.canceled"]})
        client.cancel(job.id)
        (delivery,) = client.deliveries(job.id)
        assert (delivery.event, client.redeliver(job.id, delivery.id).id) == ("job.canceled", delivery.id)


def test_job_that_two_workers_died_with_is_replayed_from_quarantine(alone, lose_next):
    job = alone.submit("chair", seed=5)
    lose_next()
    assert [lost.id for lost in alone.quarantine()] == [job.id]
    assert alone.replay(job.id).request == alone.get(job.id).request
    assert list(alone.quarantine()) == []


def test_gateway_with_keys_knows_the_client_by_its_key(settings: Settings, redis_url):
    with connect(redis_url) as store:
        key = Tenants(store).create_key("acme")
    with served(create_app(settings.model_copy(update={"auth": "keys"}))) as url, Client(url, key) as known:
        job = known.submit("chair")
        with Client(url, "rb_wrong") as stranger, pytest.raises(rarebit_client.Unauthorized):
            stranger.get(job.id)
        known.cancel(job.id)
        assert [event.data.status for event in known.events(job.id)][-1] == "canceled"


def test_key_goes_to_the_gateway_and_not_to_the_store(service, monkeypatch):
    monkeypatch.setenv("RAREBIT_URL", service.url)
    monkeypatch.setenv("RAREBIT_API_KEY", "key-of-the-tests")
    wire = Lossy()
    with Client(transport=wire) as client:
        client.generate("chair", steps=1)
    stored = [request for request in wire.sent if request.url.path.startswith("/files/")]
    assert [request.headers.get("authorization") for request in stored] == [None]
    assert {r.headers.get("authorization") for r in wire.sent if r not in stored} == {"Bearer key-of-the-tests"}


def _newest(client: Client) -> rarebit_client.Job:
    return next(client.jobs())


def _place(event_id: str) -> list[int]:
    return [int(part) for part in event_id.split("-")]
