"""Workers and servers that die in the middle of a job, and what the record says afterwards."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from deploy.local.stack.child import StackError
from servers import eventually
from services.jobs.lifecycle import Jobs
from services.jobs.queue import QUEUE, celery_app
from services.jobs.record import JobStatus
from services.jobs.store import connect_async
from tests.accepted import accepted


async def once(jobs, job_id, holds):
    """The record, as soon as it is so."""
    async with asyncio.timeout(240):
        while not holds(record := (await jobs.get(job_id))[0]):
            await asyncio.sleep(0.05)
        return record


@pytest.mark.fault("running: optimize (real model)", "`kill -9` of the worker", "goes on elsewhere, the same pictures")
async def test_killed_worker_leaves_one_result_the_same_as_without_its_death(
    own_redis_url, start_worker, tmp_path, endless
):
    """The second attempt begins where the first one's savepoint, of step 25, was."""
    request = accepted(**endless | {"steps": 40})
    async with connect_async(own_redis_url) as client:
        jobs = Jobs(client)
        whole, broken = [(await jobs.submit(request, keep_s=60, max_queued=10)).id for _ in range(2)]
        first = start_worker()
        await once(jobs, broken, lambda record: step_of(record) > 26)
        os.kill(first.pid, signal.SIGKILL)
        start_worker()
        resumed = await once(jobs, broken, lambda record: record.attempt == 2 and step_of(record) > 0)
        records = [await once(jobs, job_id, lambda record: record.status.final) for job_id in (whole, broken)]
    assert [(record.status, record.attempt) for record in records] == [
        (JobStatus.SUCCEEDED, 1),
        (JobStatus.SUCCEEDED, 2),
    ]
    assert step_of(resumed) > 25
    assert len({output.sha256 for record in records for output in record.outputs}) == 1
    named = {output.key for record in records for output in record.outputs}
    assert await asyncio.to_thread(eventually, lambda: pictures(tmp_path / "objects") == named, 30)


def step_of(record):
    """The optimisation step that the run has published, 0 before."""
    return record.progress.step if record.progress and record.progress.phase == "optimize" else 0


def pictures(objects):
    """The keys of all jobs' pictures, with a name for each thing that is none; what is erased meanwhile is not."""
    walked = os.walk(objects / "jobs")
    stored = [Path(folder, name).relative_to(objects) for folder, _, names in walked for name in names]
    return {str(path.with_suffix(".png") if path.suffix == ".safetensors" else path) for path in stored}


@pytest.mark.slow
@pytest.mark.fault(
    "running: optimize (real model)", "`kill -9` of Redis, back after 2 s", "the attempt goes on; the next job runs"
)
async def test_killed_redis_loses_neither_the_running_job_nor_the_waiting_one(
    own_redis, own_redis_url, start_worker, endless, quick
):
    async with connect_async(own_redis_url) as client:
        jobs = Jobs(client)
        running = (await jobs.submit(accepted(**endless | {"steps": 100}), keep_s=60, max_queued=10)).id
        waiting = (await jobs.submit(accepted(**quick), keep_s=60, max_queued=10)).id
        start_worker()
        await once(jobs, running, lambda record: record.progress and record.progress.phase == "optimize")
        own_redis.kill()
        await asyncio.sleep(2)
        own_redis.start()
        records = [await once(jobs, job_id, lambda record: record.status.final) for job_id in (running, waiting)]
    assert [(record.status, record.attempt) for record in records] == [(JobStatus.SUCCEEDED, 1)] * 2


@pytest.mark.slow
@pytest.mark.fault(
    "queued", "the only worker no longer hears of jobs", "it exits with a sentence, the next one runs the job"
)
async def test_deaf_worker_ends_with_a_sentence_and_the_next_one_runs_its_job(
    own_redis_url, settings, start_worker, quick
):
    app = celery_app(settings.model_copy(update={"redis_url": own_redis_url}))
    deaf = start_worker()
    assert await asyncio.to_thread(eventually, lambda: app.control.cancel_consumer(QUEUE, reply=True), 120)
    async with connect_async(own_redis_url) as client:
        jobs = Jobs(client)
        job_id = (await jobs.submit(accepted(**quick), keep_s=60, max_queued=10)).id
        with pytest.raises(StackError, match=r"exit code 1: .*1 jobs wait, and none has reached this idle worker"):
            await asyncio.to_thread(eventually, deaf.check, 60)
        start_worker()
        record = await once(jobs, job_id, lambda record: record.status.final)
    assert (record.status, record.attempt) == (JobStatus.SUCCEEDED, 1)
