"""Laws of several jobs at once in one worker: each as if it were alone, and no more than there is room for."""

import asyncio
import threading
from dataclasses import replace

import pytest
from accepted import accepted

from services.diffusion.runtime.batching import Sharing
from services.jobs.record import JobStatus
from services.jobs.request import Rarity

QUICK = accepted(concept="handbag", count=2, steps=3, trials=2, decoder_steps=2, seed=7)
JOBS = [
    QUICK,
    QUICK.model_copy(update={"concept": "chair", "seed": 1, "count": 1}),
    QUICK.model_copy(update={"seed": 9}),
]
ENDLESS = QUICK.model_copy(update={"rarity": Rarity(bits=30.0), "steps": 1000})


@pytest.fixture
def submit(jobs):
    async def submit(request):
        return (await jobs.submit(request, keep_s=60, max_queued=10)).id

    return submit


@pytest.fixture
def company(models):
    sharing = Sharing(wait_s=0.05, merges=False)
    sharing.start()
    return replace(models, batching=sharing.batching)


def at_once(runner, count):
    return [asyncio.create_task(asyncio.to_thread(runner.run_next)) for _ in range(count)]


async def until(jobs, job_id, status):
    while (record := (await jobs.get(job_id))[0]).status is not status:
        assert not record.status.final, record.error
        await asyncio.sleep(0.02)


async def assert_waits(jobs, runner, waiting, running):
    """One job waits until the other, which has no end of its own, has left the worker."""
    runs = at_once(runner, 2)
    await until(jobs, running, JobStatus.RUNNING)
    await asyncio.sleep(0.3)
    assert (await jobs.get(waiting))[0].status is JobStatus.QUEUED
    await jobs.cancel(running)
    await asyncio.gather(*runs)
    assert (await jobs.get(waiting))[0].status is JobStatus.SUCCEEDED


async def test_jobs_at_once_give_the_pictures_that_each_gives_alone(jobs, submit, make_runner, company):
    alone, together = [await submit(request) for request in JOBS], [await submit(request) for request in JOBS]
    for _ in alone:
        await asyncio.to_thread(make_runner().run_next)
    await asyncio.gather(*at_once(make_runner(models=company), len(together)))
    for one, other in zip(alone, together, strict=True):
        first, second = [(await jobs.get(job_id))[0] for job_id in (one, other)]
        assert second.status is JobStatus.SUCCEEDED
        assert [output.sha256 for output in first.outputs] == [output.sha256 for output in second.outputs]


async def test_a_cancel_and_a_deadline_end_one_job_and_leave_the_others(jobs, submit, make_runner, company):
    canceled, late, whole = (
        await submit(ENDLESS),
        await submit(ENDLESS.model_copy(update={"run_within": 2.0})),
        await submit(QUICK),
    )
    runs = at_once(make_runner(models=company), 3)
    for job_id in (canceled, late):
        await until(jobs, job_id, JobStatus.RUNNING)
    await jobs.cancel(canceled)
    await asyncio.gather(*runs)
    ends = [(await jobs.get(job_id))[0] for job_id in (canceled, late, whole)]
    assert [record.status for record in ends] == [JobStatus.CANCELED, JobStatus.FAILED, JobStatus.SUCCEEDED]
    assert ends[1].error.code == "run_deadline"


async def test_no_job_is_claimed_before_there_is_room_for_its_trials(jobs, submit, make_runner, company):
    running, waiting = await submit(ENDLESS), await submit(QUICK)
    await assert_waits(jobs, make_runner(models=company, trials_at_once=2), waiting, running)


async def test_worker_that_stops_does_not_wait_for_room(submit, make_runner, company):
    stop = threading.Event()
    await submit(ENDLESS)
    await submit(QUICK)
    options = {"stopping": stop.is_set, "hand_back": stop.is_set, "trials_at_once": 2}
    runs = at_once(make_runner(models=company, **options), 2)
    await asyncio.sleep(0.3)
    stop.set()
    await asyncio.wait_for(asyncio.gather(*runs), 30)


async def test_job_that_a_worker_died_with_runs_alone(jobs, submit, make_runner, company, lose_next):
    suspect = await submit(QUICK)
    lose_next(times=1)
    running = await submit(ENDLESS.model_copy(update={"priority": "high"}))
    await assert_waits(jobs, make_runner(models=company), suspect, running)
