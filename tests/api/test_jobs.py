"""Reading, waiting, listing, canceling and erasing jobs."""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import pytest
from httpx import ASGITransport, AsyncClient

from api.app import create_app
from services.errors import LeaseLostError, StorageError
from services.jobs.record import JobError, Metrics, Progress
from services.jobs.store import connect
from services.objects.keys import job_prefix, output_key
from services.objects.storage import LocalStorage
from tests.published import store_output
from worker.sweeper import Sweeper


async def submitted(gateway, **fields):
    return (await gateway.post("/jobs", json={"concept": "handbag"} | fields)).json()


async def test_finished_job_has_its_outputs_at_urls_that_work(gateway, publish):
    job = await submitted(gateway)
    publish()
    answer = await gateway.get(f"/jobs/{job['id']}")
    assert "retry-after" not in answer.headers
    [output] = answer.json()["outputs"]
    assert "key" not in output
    assert (output["index"], output["rarity"]["bits"], output["novelty_bits"]) == (0, 10.0, None)
    picture = await gateway.get(output["url"])
    assert (picture.status_code, picture.content, picture.headers["content-type"]) == (200, b"picture 0", "image/png")


async def test_running_job_shows_its_progress(gateway, leases):
    job = await submitted(gateway)
    leases.progress(leases.claim(), Progress(phase="optimize", step=12, steps=50, rarity_bits=6.1))
    answer = await gateway.get(f"/jobs/{job['id']}")
    told = {"phase": "optimize", "step": 12, "steps": 50, "rarity_bits": 6.1, "silent_s": None}
    assert answer.json()["progress"] == told
    assert (answer.json()["status"], answer.json()["queue"]) == ("running", None)
    assert int(answer.headers["retry-after"]) > 0


async def test_failed_job_says_why(gateway, leases):
    job = await submitted(gateway)
    error = JobError(code="out_of_memory", title="The job needs more memory", detail="Ask for fewer trials.")
    leases.fail(leases.claim(), error, Metrics())
    assert (await gateway.get(f"/jobs/{job['id']}")).json()["error"] == error.model_dump()


@pytest.mark.parametrize("ending", ["succeeds", "is canceled"])
async def test_wait_ends_when_the_job_does(gateway, publish, ending):
    job = await submitted(gateway)
    reading = asyncio.create_task(gateway.get(f"/jobs/{job['id']}?wait=30"))
    await asyncio.sleep(0.2)
    assert not reading.done()
    begin = time.monotonic()
    if ending == "succeeds":
        publish()
    else:
        await gateway.post(job["urls"]["cancel"])
    answer = await reading
    assert answer.json()["status"] in {"succeeded", "canceled"}
    assert time.monotonic() - begin < 2


async def test_wait_is_bounded(gateway):
    job = await submitted(gateway)
    assert (await gateway.get(f"/jobs/{job['id']}?wait=1")).json()["status"] == "queued"
    refused = await gateway.get(f"/jobs/{job['id']}?wait=-1")
    assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (422, "wait")


@pytest.mark.parametrize("wait", ["61", "999999", "1000000", "9" * 40])
async def test_long_wait_is_cut_as_a_preference_and_as_a_parameter(settings, wait):
    app = create_app(settings.model_copy(update={"wait_limit_s": 1}))
    client = AsyncClient(transport=ASGITransport(app), base_url="http://gateway")
    async with app.router.lifespan_context(app), client:
        posted = await client.post("/jobs", json={"concept": "lamp"}, headers={"prefer": f"wait={wait}"})
        assert (posted.status_code, posted.headers["preference-applied"]) == (202, "wait=1")
        assert (await client.get(f"/jobs/{posted.json()['id']}?wait={wait}")).json()["status"] == "queued"


async def test_picture_has_one_url_for_half_of_its_time(settings, publish):
    app = create_app(settings.model_copy(update={"url_ttl_s": 4}))
    client = AsyncClient(transport=ASGITransport(app), base_url="http://gateway")
    async with app.router.lifespan_context(app), client:
        job, urls = await submitted(client), set()
        publish()
        for _ in range(10):
            [output] = (await client.get(f"/jobs/{job['id']}")).json()["outputs"]
            left_s = datetime.fromisoformat(output["url_expires_at"]).timestamp() - time.time()
            assert 1.9 < left_s <= 4
            urls.add(output["url"])
            await asyncio.sleep(0.4)
        assert len(urls) in {2, 3}
        assert (await client.get(output["url"])).status_code == 200


async def test_url_ends_with_the_picture(settings, publish):
    app = create_app(settings.model_copy(update={"url_ttl_s": 4}))
    client = AsyncClient(transport=ASGITransport(app), base_url="http://gateway")
    async with app.router.lifespan_context(app), client:
        job = await submitted(client, expires_in=1)
        publish()
        ended = (await client.get(f"/jobs/{job['id']}")).json()
    assert ended["outputs"][0]["url_expires_at"][:19] == ended["expires_at"][:19]


async def test_pages_of_the_list_join_without_gap_or_repeat(gateway):
    jobs = [(await submitted(gateway))["id"] for _ in range(5)]
    seen, query = [], "?limit=2"
    while query:
        page = (await gateway.get(f"/jobs{query}")).json()
        seen += [job["id"] for job in page["jobs"]]
        query = page["next_cursor"] and f"?limit=2&cursor={page['next_cursor']}"
    assert seen == jobs[::-1]
    assert (await gateway.get("/jobs?status=running")).json() == {"jobs": [], "next_cursor": None, "unreadable": []}


@pytest.mark.parametrize("query", ["status=done", "limit=0", "limit=101", "limit=x", "cursor=x", "cursor=-1"])
async def test_list_refuses_a_query_it_does_not_know(gateway, query):
    answer = await gateway.get(f"/jobs?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, query.partition("=")[0])


async def test_cancel_answers_the_same_twice(gateway, leases):
    running, queued = await submitted(gateway), await submitted(gateway)
    leases.claim()
    for _ in range(2):
        answers = [await gateway.post(job["urls"]["cancel"]) for job in (running, queued)]
        assert [(one.status_code, one.json()["status"]) for one in answers] == [(202, "canceling"), (200, "canceled")]


async def test_delete_erases_the_record_and_the_outputs(gateway, publish, storage):
    job = await submitted(gateway)
    claim = publish()
    url = (await gateway.get(f"/jobs/{job['id']}")).json()["outputs"][0]["url"]
    assert (await gateway.delete(f"/jobs/{job['id']}")).status_code == 204
    assert not storage.exists(output_key(claim.id, 1, 0, "png"))
    for gone in (f"/jobs/{job['id']}", url):
        assert (await gateway.get(gone)).status_code == 404
    assert (await gateway.delete(f"/jobs/{job['id']}")).status_code == 404


@pytest.fixture
def interrupted(app, settings):
    """Have something happen just after the gateway's next erasure of objects."""

    def interrupted(happen):
        class Interrupted(LocalStorage):
            def delete(self, prefix):
                super().delete(prefix)
                happen()

        storage = Interrupted(settings.data_dir / "objects", signing_key="k" * 16, public_url="")
        app.state.gateway = replace(app.state.gateway, storage=storage)

    return interrupted


def unplanned(settings, redis_url) -> list[str]:
    """Objects that no planned erasure names, without the empty file that shows that there can be any."""
    root = settings.data_dir / "objects"
    keys = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    with connect(redis_url) as client:
        planned = client.zrange("{rarebit}:expiry", 0, -1)
    return [key for key in keys if key != ".check/0" and not any(key.startswith(prefix) for prefix in planned)]


async def test_job_that_succeeds_while_it_is_erased_leaves_nothing_that_is_not_to_be_erased(
    gateway, leases, storage, interrupted, settings, redis_url
):
    job = await submitted(gateway)
    claim = leases.claim()

    def succeed():
        output = store_output(storage, claim, 0)
        with suppress(LeaseLostError):
            leases.succeed(claim, [output], [], Metrics())

    interrupted(succeed)
    assert (await gateway.delete(f"/jobs/{job['id']}")).status_code == 204
    assert storage.exists(output_key(claim.id, 1, 0, "png"))
    assert unplanned(settings, redis_url) == []
    assert (await gateway.get(f"/jobs/{job['id']}")).status_code == 404


async def test_job_is_erased_while_the_store_is_away_and_its_outputs_afterwards(
    gateway, publish, leases, storage, interrupted
):
    job = await submitted(gateway)
    claim = publish()

    def fail():
        store_output(storage, claim, 0)
        raise StorageError("away")

    interrupted(fail)
    assert (await gateway.delete(f"/jobs/{job['id']}")).status_code == 204
    assert (await gateway.get(f"/jobs/{job['id']}")).status_code == 404
    Sweeper(leases, storage, interval_s=10).sweep()
    assert not storage.holds(job_prefix(job["id"]))


async def test_expired_job_is_gone_on_every_call(gateway, leases, publish, storage):
    job = await submitted(gateway, expires_in=1)
    publish()
    await asyncio.sleep(1.1)
    path = f"/jobs/{job['id']}"
    for sweep in (lambda: None, Sweeper(leases, storage, interval_s=10).sweep):
        sweep()
        for answer in (await gateway.get(path), await gateway.post(f"{path}/cancel"), await gateway.delete(path)):
            assert (answer.status_code, answer.json()["type"]) == (410, "/problems/expired")


@pytest.mark.parametrize("job_id", ["0" * 32, "x", "%00", "%2e%2e", "a%2Fb", "%ff", "{rarebit}"])
async def test_unknown_job_is_not_found(gateway, job_id):
    for answer in (await gateway.get(f"/jobs/{job_id}"), await gateway.get(f"/jobs/{job_id}?wait=5")):
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
