"""Laws of the quarantine, over a real server."""

import asyncio

import pytest

from services.errors import NotQuarantinedError, QueueFullError
from services.jobs.quarantine import Quarantine
from services.jobs.record import JobStatus
from services.jobs.store import connect_async
from tests.accepted import accepted
from tests.services.jobs.moves import expire

REQUEST = accepted(concept="handbag", seed=7, metadata={"for": "spring"})


@pytest.fixture
async def quarantine(redis_url):
    async with connect_async(redis_url) as client:
        yield Quarantine(client)


@pytest.fixture
def kill(jobs, lose_next):
    """Submit a job that two workers die with; answers with its id."""

    async def kill(keep_s=60):
        job_id = (await jobs.submit(REQUEST, keep_s=keep_s, max_queued=9)).id
        lose_next()
        return job_id

    return kill


async def replayed(quarantine, job_id):
    return (await quarantine.replay(job_id, max_queued=9))[0].id


async def listed(quarantine):
    return [record.id for record, _ in (await quarantine.list(before=None, limit=9))[0]]


async def test_replay_is_a_new_job_of_the_same_request_and_leaves_the_old_one_failed(jobs, leases, quarantine, kill):
    old = await kill()
    assert await listed(quarantine) == [old]
    new = await replayed(quarantine, old)
    assert await listed(quarantine) == []
    record, _ = await jobs.get(old)
    assert (record.status, record.error.code) == (JobStatus.FAILED, "worker_lost")
    claim = leases.claim()
    assert (claim.id, claim.attempt, claim.request) == (new, 1, REQUEST)


async def test_twenty_replays_at_once_make_one_job(jobs, quarantine, kill):
    old = await kill()
    replays = (replayed(quarantine, old) for _ in range(20))
    answers = await asyncio.gather(*replays, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["NotQuarantinedError"] * 19 + ["str"]
    assert len((await jobs.list(status=JobStatus.QUEUED, before=None, limit=9))[0]) == 1


async def test_replay_into_a_full_queue_is_refused_and_may_be_tried_again(jobs, leases, quarantine, kill):
    old = await kill()
    await jobs.submit(REQUEST, keep_s=60, max_queued=9)
    with pytest.raises(QueueFullError, match="1 jobs"):
        await quarantine.replay(old, max_queued=1)
    leases.claim()
    assert await quarantine.replay(old, max_queued=1)


async def test_replayed_job_that_kills_again_is_quarantined_again(quarantine, kill, lose_next):
    new = await replayed(quarantine, await kill())
    lose_next()
    assert await listed(quarantine) == [new]


@pytest.mark.parametrize("ending", ["delete", "expire"])
async def test_erased_job_leaves_the_quarantine(jobs, leases, quarantine, kill, ending, redis_url):
    job_id = await kill()
    if ending == "delete":
        await jobs.delete(job_id)
    else:
        expire(redis_url, leases, job_id)
    assert await listed(quarantine) == []
    with pytest.raises(NotQuarantinedError, match=job_id):
        await quarantine.replay(job_id, max_queued=9)


async def test_expired_job_cannot_be_replayed_before_it_is_swept_either(quarantine, kill):
    with pytest.raises(NotQuarantinedError):
        await quarantine.replay(await kill(keep_s=0), max_queued=9)


async def test_pages_join_without_gap_or_repeat(quarantine, kill):
    killed = [await kill() for _ in range(3)]
    first, cursor, _ = await quarantine.list(before=None, limit=2)
    rest, end, _ = await quarantine.list(before=cursor, limit=2)
    assert [record.id for record, _ in first + rest] == killed[::-1]
    assert end is None
