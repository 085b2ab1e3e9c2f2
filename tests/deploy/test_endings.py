"""Of each job that ends, one line says so."""

import asyncio
import re

import pytest

from deploy.local.stack.endings import Endings
from servers import url_of
from services.jobs.leases import Leases
from services.jobs.lifecycle import Jobs
from services.jobs.record import JobError, Metrics
from services.jobs.store import connect, connect_async
from tests.accepted import accepted

FAILURE = JobError(code="prompt", title="The prompt is too long", detail="It would lose\n\x1b[2J“lamp”.")


@pytest.fixture
def endings(redis_url):
    endings = Endings(redis_url)
    assert list(endings.within(0.2)) == []
    return endings


async def submit(jobs, **fields):
    return (await jobs.submit(accepted(concept="lamp", **fields), keep_s=60, max_queued=9)).id


async def test_job_that_ends_is_told_once_with_its_id_and_why(endings, jobs, leases):
    failed, done, canceled, late = [await submit(jobs) for _ in range(3)] + [await submit(jobs, start_within=0.01)]
    leases.fail(leases.claim(), FAILURE, Metrics())
    leases.succeed(leases.claim(), [], [], Metrics())
    await asyncio.sleep(0.02)
    await jobs.cancel(canceled)
    lines = [re.sub(r"\d+\.\d s", "0.1 s", line) for line in endings.within(1)]
    assert sorted(lines) == sorted(
        [
            f"job {failed} failed after 0.1 s, prompt: It would lose  [2J“lamp”.",
            f"job {done} succeeded after 0.1 s",
            f"job {canceled} canceled after 0.1 s",
            f"job {late} failed after 0.1 s, start_deadline: No worker began within start_within.",
        ]
    )


async def test_job_that_goes_on_is_not_told(endings, jobs, leases):
    await submit(jobs)
    leases.hand_back(leases.claim())
    leases.claim()
    assert list(endings.within(0.5)) == []


async def test_jobs_are_told_of_again_when_the_queue_is_back(own_redis):
    endings = Endings(url_of(own_redis))
    assert list(endings.within(0.2)) == []
    own_redis.kill()
    assert list(endings.within(0.2)) == []
    own_redis.start()
    assert list(endings.within(0.2)) == []
    async with connect_async(url_of(own_redis)) as client:
        job_id = await submit(Jobs(client))
    with connect(url_of(own_redis)) as client:
        leases = Leases(client, worker="w", lease_s=30)
        leases.succeed(leases.claim(), [], [], Metrics())
    (line,) = endings.within(0.5)
    assert line.startswith(f"job {job_id} succeeded after ")
