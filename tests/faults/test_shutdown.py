"""SIGTERM: a worker claims no more, ends its job within the grace or hands it back, and exits with 0."""

import asyncio
import time

import pytest

from deploy.local.stack.child import StackError
from services.jobs.leases import Leases
from services.jobs.lifecycle import Jobs
from services.jobs.store import connect, connect_async
from tests.accepted import accepted


@pytest.fixture
async def jobs(own_redis_url):
    async with connect_async(own_redis_url) as client:
        yield Jobs(client)


async def submit(jobs, body):
    return (await jobs.submit(accepted(**body), keep_s=60, max_queued=10)).id


async def terminate_in_the_middle(jobs, job_id, worker):
    """Send SIGTERM while the job optimises; answers with the seconds until the worker has exited with 0."""
    async with asyncio.timeout(240):
        while not ((record := (await jobs.get(job_id))[0]).progress and record.progress.phase == "optimize"):
            worker.check()
            await asyncio.sleep(0.05)
    begin = time.monotonic()
    await asyncio.to_thread(worker.stop, 240)
    with pytest.raises(StackError, match="exit code 0"):
        worker.check()
    return time.monotonic() - begin


async def test_job_that_ends_within_the_grace_is_finished_and_none_is_begun(jobs, start_worker, endless):
    running, waiting = [await submit(jobs, endless | {"steps": 40}) for _ in range(2)]
    await terminate_in_the_middle(jobs, running, start_worker(RAREBIT_SHUTDOWN_GRACE_S="200"))
    records = [(await jobs.get(job_id))[0] for job_id in (running, waiting)]
    assert [(record.status, record.attempt) for record in records] == [("succeeded", 1), ("queued", 0)]


@pytest.mark.parametrize("grace_s", [0, pytest.param(3, marks=pytest.mark.slow)])
async def test_job_that_does_not_is_handed_back_at_the_first_step_after_the_grace(
    jobs, start_worker, endless, own_redis_url, grace_s
):
    running = await submit(jobs, endless | {"count": 16, "trials": 16, "decoder_steps": 200})
    stopped_s = await terminate_in_the_middle(jobs, running, start_worker(RAREBIT_SHUTDOWN_GRACE_S=str(grace_s)))
    assert grace_s <= stopped_s < grace_s + 20
    with connect(own_redis_url) as client:
        claim = Leases(client, worker="next", lease_s=30).claim()
    assert (claim.id, claim.attempt) == (running, 2)
