"""Laws of the job store, over a real server."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from api.pictures import Upload, Uploads
from servers import url_of
from services.errors import (
    IdempotencyConflictError,
    JobExpiredError,
    JobNotFoundError,
    LeaseLostError,
    QueueFullError,
)
from services.exposure import Feedback, View
from services.jobs.leases import Leases
from services.jobs.lifecycle import Jobs
from services.jobs.record import JobStatus, Metrics, Progress
from services.jobs.store import connect, connect_async
from services.objects.keys import job_prefix, upload_prefix
from tests.services.jobs.moves import ERROR, EXPIRY, REQUEST, cancel, output, status_of, submit, swept


async def test_final_state_never_changes(jobs, leases):
    job_id = await submit(jobs)
    claim = leases.claim()
    leases.fail(claim, ERROR, Metrics())
    for late in (
        lambda: leases.succeed(claim, [output()], [], Metrics()),
        lambda: leases.fail(claim, ERROR, Metrics()),
        lambda: leases.hand_back(claim),
        lambda: leases.renew(claim),
    ):
        with pytest.raises(LeaseLostError, match="attempt 1"):
            late()
    assert await cancel(jobs, job_id) == "failed"
    assert (await jobs.get(job_id))[0].error == ERROR


async def test_cancel_stops_a_queued_job_at_once_and_a_running_one_when_it_hears(jobs, leases):
    running, queued = await submit(jobs), await submit(jobs)
    claim = leases.claim()
    assert await cancel(jobs, queued) == await cancel(jobs, queued) == "canceled"
    assert await cancel(jobs, running) == await cancel(jobs, running) == "canceling"
    assert leases.renew(claim) == "canceling"
    assert leases.progress(claim, Progress(phase="decode", step=1, steps=2)) == ("canceling", False)
    assert leases.end_canceled(claim, Metrics()) == "canceled"
    assert leases.claim() is None


@pytest.mark.parametrize("look", ["get", "claim", "recover", "cancel"])
async def test_job_that_is_not_started_in_time_fails_for_whoever_looks(jobs, leases, look):
    late = (await jobs.submit(REQUEST.model_copy(update={"start_within": 0.05}), keep_s=60, max_queued=9)).id
    assert await status_of(jobs, late) == "queued"
    following = await submit(jobs)
    await asyncio.sleep(0.1)
    if look == "claim":
        assert leases.claim().id == following
    elif look == "recover":
        assert leases.recover() == []
    elif look == "cancel":
        assert await cancel(jobs, late) == "failed"
    record, place = await jobs.get(late)
    assert (record.status, record.error.code, record.started_at, place) == ("failed", "start_deadline", None, None)
    assert record.attempt == 0


async def test_cancel_survives_the_death_of_worker_and_server(own_redis):
    async with connect_async(url_of(own_redis)) as client:
        with connect(url_of(own_redis)) as worker_client:
            dead = Leases(worker_client, worker="dead", lease_s=0)
            jobs = Jobs(client)
            job_id = await submit(jobs)
            dead.claim()
            assert await cancel(jobs, job_id) == "canceling"
            own_redis.kill()
            own_redis.start()
            assert await status_of(jobs, job_id) == "canceling"
            assert dead.recover() == [job_id]
            assert await status_of(jobs, job_id) == "canceled"


async def test_fifty_submissions_with_one_key_make_one_job(jobs):
    same = {"idempotency_key": "once", "body_hash": "a"}
    answers = await asyncio.gather(*(jobs.submit(REQUEST, keep_s=60, max_queued=9, **same) for _ in range(50)))
    assert len({answer.id for answer in answers}) == 1
    assert [answer.replayed for answer in answers].count(False) == 1
    with pytest.raises(IdempotencyConflictError):
        await submit(jobs, idempotency_key="once", body_hash="b")


async def test_refused_submission_leaves_its_key_unspent(jobs, leases):
    await submit(jobs, max_queued=1)
    with pytest.raises(QueueFullError, match="1 jobs"):
        await submit(jobs, max_queued=1, idempotency_key="later", body_hash="a")
    leases.claim()
    await submit(jobs, max_queued=1, idempotency_key="later", body_hash="b")


async def test_list_is_newest_first_and_new_jobs_do_not_shift_its_pages(jobs):
    submitted = [await submit(jobs) for _ in range(5)]
    first, cursor, _ = await jobs.list(status=None, before=None, limit=2)
    await submit(jobs)
    second, cursor, _ = await jobs.list(status=None, before=cursor, limit=2)
    last, end, _ = await jobs.list(status=None, before=cursor, limit=2)
    assert [record.id for record, _ in first + second + last] == submitted[::-1]
    assert end is None


async def test_list_of_a_status_has_only_that(jobs, leases):
    submitted = [await submit(jobs) for _ in range(3)]
    leases.claim()
    listed, *_ = await jobs.list(status=JobStatus.QUEUED, before=None, limit=9)
    assert [(record.id, place.position) for record, place in listed] == [(submitted[2], 2), (submitted[1], 1)]


async def test_expired_job_is_gone_and_never_unknown(jobs, leases):
    job_id = await submit(jobs, keep_s=0)
    leases.succeed(leases.claim(), [], [], Metrics())
    with pytest.raises(JobExpiredError):
        await jobs.get(job_id)
    assert swept(leases) == [job_prefix(job_id)]
    assert swept(leases) == []
    with pytest.raises(JobExpiredError):
        await jobs.get(job_id)
    with pytest.raises(JobNotFoundError):
        await jobs.get("0" * 32)


async def test_job_that_waits_does_not_expire(jobs, leases):
    job_id = await submit(jobs, keep_s=0)
    assert swept(leases) == []
    assert await status_of(jobs, job_id) == "queued"


async def test_deleted_job_is_unknown_to_everybody(jobs, leases):
    job_id = await submit(jobs, idempotency_key="once", body_hash="a")
    claim = leases.claim()
    await jobs.delete(job_id)
    with pytest.raises(LeaseLostError):
        leases.succeed(claim, [output()], [], Metrics())
    with pytest.raises(JobNotFoundError):
        await jobs.get(job_id)
    assert await submit(jobs, idempotency_key="once", body_hash="b") != job_id


@pytest.mark.parametrize("running", [True, False])
async def test_deletion_plans_the_erasure_and_another_one_of_what_a_worker_is_storing(jobs, leases, running, redis_url):
    job_id = await submit(jobs)
    if running:
        leases.claim()
    await jobs.delete(job_id)
    assert swept(leases) == [job_prefix(job_id)]
    with connect(redis_url) as client:
        assert client.zcount(EXPIRY, "-inf", "+inf") == running
        client.zadd(EXPIRY, {job_prefix(job_id): 0}, xx=True)
        assert swept(leases) == [job_prefix(job_id)] * running
        assert client.zcard(EXPIRY) == 0
    with pytest.raises(JobNotFoundError):
        await jobs.get(job_id)


async def test_events_of_a_job_tell_its_story_in_order(jobs, leases):
    job_id = await submit(jobs)
    leases.hand_back(leases.claim())
    claim = leases.claim()
    leases.progress(claim, Progress(phase="optimize", step=1, steps=2))
    leases.succeed(claim, [output(), output()], [], Metrics())
    events = await jobs.events(job_id, "0-0")
    assert [event.kind for event in events] == ["status"] * 3 + ["progress", "output", "output", "status"]
    told = [json.loads(event.data) for event in events]
    assert [told[i]["status"] for i in (0, 1, 2, -1)] == ["running", "queued", "running", "succeeded"]
    assert [told[i]["index"] for i in (4, 5)] == [0, 1]
    assert await jobs.events(job_id, events[3].id) == events[4:]


async def test_events_go_with_the_record(jobs, leases, redis_url):
    job_id = await submit(jobs)
    leases.claim()
    await jobs.delete(job_id)
    assert await jobs.events(job_id, "0-0") == []


async def test_operations_on_pictures_and_histories_lie_in_one_slot_of_a_cluster(cluster_url):
    view = View.of("0" * 32 + "/0", "lamp", Feedback.LIKED, bytes(12), None)
    kept = Upload(id="1" * 32, width=1, height=1, bytes=1, sha256="", expires_at=datetime.now(UTC))
    async with connect_async(cluster_url) as client:
        jobs, uploads = Jobs(client), Uploads(client)
        for exposure in ("first", "second"):
            await jobs.add_views(exposure, [view])
        await jobs.forget("first")
        assert (await jobs.views("first"), await jobs.views("second")) == ([], [view])
        assert not await jobs.key_is_spent("never")
        await uploads.add(kept)
        with connect(cluster_url) as worker_client:
            leases = Leases(worker_client, worker="w", lease_s=30)
            assert swept(leases) == [upload_prefix(kept.id)]
        await uploads.delete(kept.id)
        assert all(key.startswith("{rarebit}") for key in await client.keys())
