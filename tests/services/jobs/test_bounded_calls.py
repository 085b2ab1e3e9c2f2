"""No call keeps Redis from serving others: what there is much of is done in parts, and is as if it were done."""

import time

import pytest

from api.density_models import DensityModels
from services.bounds import Bounds
from services.jobs.record import JobStatus, Metrics
from services.jobs.store import connect_async
from tests.services.jobs.moves import REQUEST, status_of

LATE = REQUEST.model_copy(update={"start_within": 0.001})
MANY = 350


@pytest.fixture
async def late(jobs, client):
    """Jobs, none of which was started in time, whatever the calls that have made them did about it."""
    submitted = [
        (await jobs.submit(LATE.model_copy(update={"start_within": 60}), keep_s=60, max_queued=MANY)).id
        for _ in range(MANY)
    ]
    client.zadd("{rarebit}:starts", {job_id: n for n, job_id in enumerate(submitted)})
    return submitted


def failed(client) -> int:
    return client.zcard("{rarebit}:status::failed")


async def test_a_call_fails_a_hundred_late_jobs_at_most(late, leases, client):
    leases.recover()
    assert failed(client) == 100
    assert leases.claim() is None
    assert failed(client) <= 300


@pytest.mark.parametrize("look", ["get", "cancel", "events"])
async def test_whoever_looks_at_a_late_job_finds_it_failed_however_many_are_before_it(late, jobs, client, look):
    if look == "get":
        assert await status_of(jobs, late[-1]) == "failed"
    elif look == "cancel":
        assert (await jobs.cancel(late[-1]))[0].status == "failed"
    else:
        assert [event.kind for event in await jobs.events(late[-1], "0-0")] == ["status"]
    assert failed(client) == 101


async def test_lists_have_late_jobs_where_they_belong(late, jobs):
    assert (await jobs.list(status=JobStatus.QUEUED, before=None, limit=100))[0] == []
    page, *_ = await jobs.list(status=JobStatus.FAILED, before=None, limit=100)
    assert [record.id for record, _ in page] == late[:-101:-1]


async def test_late_jobs_are_never_claimed(late, leases, jobs):
    waiting = (await jobs.submit(REQUEST, keep_s=60, max_queued=MANY)).id
    claims = []
    while not claims or claims[-1] is None:
        claims.append(leases.claim())
    assert claims[-1].id == waiting


async def test_a_run_that_was_handed_back_often_ends_as_quickly_as_another(jobs, leases, client):
    """What each attempt has stored is planned to be erased when it ends, not with the job."""
    job_id = (await jobs.submit(REQUEST, keep_s=60, max_queued=9)).id
    for _ in range(150):
        leases.hand_back(leases.claim())
    claim = leases.claim()
    client.delete("{rarebit}:expiry")
    leases.succeed(claim, [], [], Metrics())
    assert client.zcard("{rarebit}:expiry") == 2  # the savepoints, and the outputs at their end
    assert await status_of(jobs, job_id) == "succeeded"


async def test_fits_that_have_ended_are_not_kept_whether_or_not_somebody_asks(redis_url, jobs, leases, client):
    async with connect_async(redis_url) as gateway_client:
        models = DensityModels(gateway_client)
        ended, erased = [
            await models.fit(REQUEST.model_copy(update={"concept": concept}), keep_s=60, max_queued=9)
            for concept in ("lamp", "chair")
        ]
        assert len((await models.list())[1]) == 2
    leases.succeed(leases.claim(), [], [], Metrics())
    await jobs.delete(erased)
    assert await status_of(jobs, ended) == "succeeded"
    assert client.keys("{rarebit}:fit*") == []


async def test_lower_bound_is_reached_in_parts(jobs, client):
    for n in range(250):
        await jobs.add_views(f"user-{n}", [])
    begin = time.time()
    for _ in range(3):
        await jobs.add_views("me", [], Bounds(exposures=10))
    kept = client.zrange("{rarebit}:exposures:", 0, -1, withscores=True)
    assert len(kept) == 10
    assert kept[-1][1] >= 1000 * begin - 1
