"""What a job's webhook is owed: each event that it asks for, once, with the change itself."""

import asyncio

import pytest

from services.jobs.record import Metrics
from services.jobs.request import Webhook
from tests.accepted import accepted


async def events_of(outbox, job_id):
    return [delivery.event for delivery in await outbox.list(job_id)]


async def submitted(jobs, **fields):
    webhook = Webhook(url="https://design.test", events=["job.started", "job.succeeded", "job.failed", "job.canceled"])
    return (await jobs.submit(accepted(concept="lamp", webhook=webhook, **fields), keep_s=60, max_queued=99)).id


async def test_start_is_told_once_however_often_the_job_starts(outbox, jobs, leases):
    job_id = await submitted(jobs)
    assert await events_of(outbox, job_id) == []
    leases.hand_back(leases.claim())
    leases.succeed(leases.claim(), [], [], Metrics())
    assert await events_of(outbox, job_id) == ["job.started", "job.succeeded"]


@pytest.mark.parametrize("status", ["queued", "running"])
async def test_cancel_is_told(outbox, jobs, leases, status):
    job_id = await submitted(jobs)
    claim = leases.claim() if status == "running" else None
    await jobs.cancel(job_id)
    if claim:
        leases.end_canceled(claim, Metrics())
    assert (await events_of(outbox, job_id))[-1] == "job.canceled"


async def test_job_that_nobody_started_in_time_is_told_of_when_somebody_looks(outbox, jobs):
    job_id = await submitted(jobs, start_within=0.001)
    await asyncio.sleep(0.01)
    await jobs.get(job_id)
    assert await events_of(outbox, job_id) == ["job.failed"]


async def test_job_whose_workers_died_is_told_of(outbox, jobs, lose_next):
    job_id = await submitted(jobs)
    lose_next()
    assert await events_of(outbox, job_id) == ["job.started", "job.failed"]


async def test_only_what_the_webhook_asks_for_is_owed(outbox, jobs, leases):
    webhook = Webhook(url="https://design.test", events=["job.failed"])
    job_id = (await jobs.submit(accepted(concept="lamp", webhook=webhook), keep_s=60, max_queued=99)).id
    leases.succeed(leases.claim(), [], [], Metrics())
    assert await events_of(outbox, job_id) == []
