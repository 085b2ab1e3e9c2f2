"""Workers and servers that die in the middle of a job, and what the record says afterwards."""

import asyncio
import os
import signal

import pytest

from deploy.local.child import StackError
from servers import eventually
from services.jobs import Jobs, connect_async
from services.queue import QUEUE, celery_app
from services.schemas import JobRequest, JobStatus


async def once(jobs, job_id, holds):
    """The record, as soon as it is so."""
    async with asyncio.timeout(240):
        while not holds(record := (await jobs.get(job_id))[0]):
            await asyncio.sleep(0.05)
        return record


async def test_killed_worker_leaves_one_result(own_redis_url, start_worker, tmp_path, endless):
    request = JobRequest.model_validate(endless | {"steps": 30})
    async with connect_async(own_redis_url) as client:
        jobs = Jobs(client)
        job_id = (await jobs.submit(request, keep_s=60, max_queued=10)).id
        first = start_worker()
        await once(jobs, job_id, lambda record: record.progress and record.progress.phase == "optimize")
        os.kill(first.pid, signal.SIGKILL)
        start_worker()
        record = await once(jobs, job_id, lambda record: record.status.final)
    assert (record.status, record.attempt) == (JobStatus.SUCCEEDED, 2)
    stored = [path for path in (tmp_path / "objects" / "jobs").rglob("*") if path.is_file()]
    pictures = {str(path.relative_to(tmp_path / "objects").with_suffix(".png")) for path in stored}
    assert pictures == {output.key for output in record.outputs}


async def test_killed_redis_loses_neither_the_running_job_nor_the_waiting_one(
    own_redis, own_redis_url, start_worker, endless, quick
):
    async with connect_async(own_redis_url) as client:
        jobs = Jobs(client)
        running = (await jobs.submit(JobRequest.model_validate(endless | {"steps": 100}), keep_s=60, max_queued=10)).id
        waiting = (await jobs.submit(JobRequest.model_validate(quick), keep_s=60, max_queued=10)).id
        start_worker()
        await once(jobs, running, lambda record: record.progress and record.progress.phase == "optimize")
        own_redis.kill()
        await asyncio.sleep(2)
        own_redis.start()
        records = [await once(jobs, job_id, lambda record: record.status.final) for job_id in (running, waiting)]
    assert [(record.status, record.attempt) for record in records] == [(JobStatus.SUCCEEDED, 1)] * 2


async def test_deaf_worker_ends_with_a_sentence_and_the_next_one_runs_its_job(
    own_redis_url, settings, start_worker, quick
):
    app = celery_app(settings.model_copy(update={"redis_url": own_redis_url}))
    deaf = start_worker()
    assert await asyncio.to_thread(eventually, lambda: app.control.cancel_consumer(QUEUE, reply=True), 120)
    async with connect_async(own_redis_url) as client:
        jobs = Jobs(client)
        job_id = (await jobs.submit(JobRequest.model_validate(quick), keep_s=60, max_queued=10)).id
        with pytest.raises(StackError, match=r"exit code 1: .*1 jobs wait, and none has reached this idle worker"):
            await asyncio.to_thread(eventually, deaf.check, 60)
        start_worker()
        record = await once(jobs, job_id, lambda record: record.status.final)
    assert (record.status, record.attempt) == (JobStatus.SUCCEEDED, 1)
