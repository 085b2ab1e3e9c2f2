"""A Redis at its maxmemory serves what reads, and what frees memory or ends what was accepted; it takes nothing in."""

from datetime import UTC, datetime

import pytest
from redis.exceptions import OutOfMemoryError

from api.pictures import Upload, Uploads
from services.errors import JobNotFoundError, UploadNotFoundError
from services.exposure import Feedback, View
from services.jobs.record import Metrics, Progress
from services.jobs.store import connect, connect_async
from services.objects.keys import job_prefix
from services.tenants import Tenants
from tests.services.jobs.moves import EXPIRY, REQUEST, cancel, output, status_of, submit, swept

VIEW = View.of("0" * 32 + "/0", "lamp", Feedback.LIKED, bytes(12), None)
PICTURE = Upload(id="1" * 32, width=1, height=1, bytes=1, sha256="", expires_at=datetime(2999, 1, 1, tzinfo=UTC))
STEP = Progress(phase="optimize", step=1, steps=2)


@pytest.fixture
def fill(redis_url):
    """Leave the server no memory; the tests that follow have as much as they want."""
    with connect(redis_url) as client:
        yield lambda: client.config_set("maxmemory", 1)
        client.config_set("maxmemory", 0)


async def test_nothing_new_is_taken_in(jobs, fill, redis_url):
    fill()
    async with connect_async(redis_url) as client:
        for write in (submit(jobs), jobs.add_views("me", [VIEW]), Uploads(client).add(PICTURE)):
            with pytest.raises(OutOfMemoryError):
                await write


async def test_what_is_there_can_be_read(jobs, leases, fill, redis_url):
    job_id = await submit(jobs, idempotency_key="k", body_hash="h")
    await jobs.add_views("me", [VIEW])
    with connect(redis_url) as client:
        Tenants(client).create_key("acme")
        fill()
        assert len(Tenants(client).list_keys()) == 1
    assert await status_of(jobs, job_id) == "queued"
    assert [record.id for record, _ in (await jobs.list(status=None, before=None, limit=9))[0]] == [job_id]
    assert await jobs.views("me") == [VIEW]
    assert await jobs.key_is_spent("k")
    assert await jobs.events(job_id, "0-0") == []
    assert (await jobs.stats()).pool("rarebit").waiting["normal"] == 1
    assert leases.find(job_id).id == job_id


async def test_what_was_accepted_goes_on_to_its_end(jobs, leases, fill):
    first, second, third = [await submit(jobs) for _ in range(3)]
    fill()
    claim = leases.claim()
    assert leases.progress(claim, STEP) == ("running", False)
    assert leases.succeed(claim, [output()], [], Metrics()) == "succeeded"
    assert leases.hand_back(leases.claim()) == "queued"
    claim = leases.claim()
    await jobs.cancel(second)
    assert leases.progress(claim, STEP) == ("canceling", False)
    assert leases.end_canceled(claim, Metrics()) == "canceled"
    assert [await status_of(jobs, job_id) for job_id in (first, second, third)] == ["succeeded", "canceled", "queued"]


async def test_what_frees_memory_is_done(jobs, leases, fill, redis_url):
    kept, erased, canceled = [await submit(jobs) for _ in range(3)]
    leases.succeed(leases.claim(), [output()], [], Metrics())
    await jobs.add_views("me", [VIEW])
    async with connect_async(redis_url) as client:
        await Uploads(client).add(PICTURE)
        await client.zadd(EXPIRY, {job_prefix(kept): 0})
        fill()
        await Uploads(client).delete(PICTURE.id)
        with pytest.raises(UploadNotFoundError):
            await Uploads(client).get(PICTURE.id)
    assert await cancel(jobs, canceled) == "canceled"
    await jobs.delete(erased)
    with pytest.raises(JobNotFoundError):
        await jobs.get(erased)
    await jobs.forget("me")
    assert await jobs.views("me") == []
    assert job_prefix(kept) in swept(leases)
    assert leases.find(kept) is None


async def test_late_job_is_found_failed(jobs, fill):
    late = (await jobs.submit(REQUEST.model_copy(update={"start_within": 0.001}), keep_s=60, max_queued=9)).id
    fill()
    assert await status_of(jobs, late) == "failed"
