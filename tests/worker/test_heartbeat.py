"""When a worker is deaf: jobs wait, it is idle, and it stays so."""

import pytest

from servers import url_of
from services.jobs.leases import Leases
from services.jobs.lifecycle import Jobs
from services.jobs.store import connect, connect_async
from tests.accepted import accepted
from worker.attempt import Attempt
from worker.heartbeat import DEAF_BEATS, DeafError, Heartbeat


@pytest.fixture
def heartbeat(leases):
    return Heartbeat(leases, interval_s=5)


@pytest.fixture
def submit(jobs):
    async def submit():
        return await jobs.submit(accepted(concept="lamp"), keep_s=60, max_queued=99)

    return submit


def beat(heartbeat, times):
    for _ in range(times):
        heartbeat.beat()


def attempt_at(leases):
    return Attempt(leases, leases.claim(), limit_s=60, hand_back=lambda: False, safety=None)


async def test_idle_worker_that_no_waiting_job_reaches_is_deaf(heartbeat, submit):
    await submit()
    beat(heartbeat, DEAF_BEATS)
    with pytest.raises(DeafError, match="1 jobs wait, and none has reached this idle worker for 60 s"):
        heartbeat.beat()


async def test_idle_worker_without_a_backlog_is_not_deaf(heartbeat):
    beat(heartbeat, 3 * DEAF_BEATS)


async def test_busy_worker_is_not_deaf_however_many_jobs_wait(heartbeat, leases, submit):
    for _ in range(3):
        await submit()
    with heartbeat.keeping(attempt_at(leases)):
        beat(heartbeat, 3 * DEAF_BEATS)


async def test_job_between_two_beats_shows_that_the_worker_hears(heartbeat, leases, submit):
    for _ in range(3):
        await submit()
    for _ in range(2):
        beat(heartbeat, DEAF_BEATS)
        with heartbeat.keeping(attempt_at(leases)):
            pass


async def test_beat_while_redis_is_away_starts_the_count_anew(own_redis):
    async with connect_async(url_of(own_redis)) as client:
        await Jobs(client).submit(accepted(concept="lamp"), keep_s=60, max_queued=9)
    with connect(url_of(own_redis)) as client:
        heartbeat = Heartbeat(Leases(client, worker="w", lease_s=30), interval_s=5)
        beat(heartbeat, DEAF_BEATS)
        own_redis.kill()
        heartbeat.beat()
        own_redis.start()
        beat(heartbeat, DEAF_BEATS)
        with pytest.raises(DeafError):
            heartbeat.beat()
