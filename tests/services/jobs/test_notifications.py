"""Laws of waiting: one connection for all, and nothing is missed, not even over a restart of Redis."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from servers import url_of
from services.jobs.lifecycle import Jobs
from services.jobs.notifications import Notifications
from services.jobs.store import connect_async
from tests.accepted import accepted


@pytest.fixture
async def notifications(redis_url):
    async with connect_async(redis_url) as client:
        notifications = Notifications(client)
        async with notifications.listening():
            yield notifications


async def submit(jobs):
    return (await jobs.submit(accepted(concept="lamp"), keep_s=60, max_queued=2000)).id


async def woken(changed):
    changed.clear()
    await asyncio.wait_for(changed.wait(), 5)


async def test_a_thousand_wait_on_one_connection(notifications, jobs, leases):
    jobs_to_come = [await submit(jobs) for _ in range(500)]
    async with AsyncExitStack() as exits:
        changed = [await exits.enter_async_context(notifications.of(job_id)) for job_id in jobs_to_come * 2]
        await asyncio.gather(*(asyncio.wait_for(each.wait(), 10) for each in changed[:500]))  # subscribed
        listening = [client for client in await jobs._client.client_list() if client["sub"] != "0"]
        assert [client["sub"] for client in listening] == ["501"]
        for each in changed:
            each.clear()
        assert leases.claim().id == jobs_to_come[0]
        await asyncio.gather(changed[0].wait(), changed[500].wait())
        assert sum(each.is_set() for each in changed) == 2
    await asyncio.sleep(0.1)
    assert [client["sub"] for client in await jobs._client.client_list() if client["sub"] != "0"] == ["1"]


async def test_who_waits_is_woken_when_redis_is_back(own_redis):
    async with connect_async(url_of(own_redis)) as client:
        notifications, jobs = Notifications(client), Jobs(client)
        job_id = await submit(jobs)
        async with notifications.listening(), notifications.of(job_id) as changed:
            await woken(changed)
            own_redis.kill()
            await woken(changed)
            own_redis.start()
            begin = time.monotonic()
            await jobs.cancel(job_id)
            while (await jobs.get(job_id))[0].status != "canceled":
                await woken(changed)
            changed.clear()
            await asyncio.sleep(2)
            await jobs.delete(job_id)
            await asyncio.wait_for(changed.wait(), 5)
        assert time.monotonic() - begin < 10


async def test_who_waits_from_the_first_moment_on_is_woken(redis_url, jobs):
    """All come while the connection is being made."""
    for _ in range(10):
        async with connect_async(redis_url) as client:
            notifications = Notifications(client)
            async with notifications.listening(), AsyncExitStack() as exits:
                names = ["one", "two", "three"]
                changed = await asyncio.gather(*(exits.enter_async_context(notifications.of(name)) for name in names))
                await asyncio.gather(*(asyncio.wait_for(each.wait(), 2) for each in changed))


async def test_an_error_that_nobody_expected_does_not_end_the_listening(
    notifications, jobs, leases, monkeypatch, caplog
):
    caplog.set_level("ERROR")
    job_id, wake, woken_at = await submit(jobs), notifications._wake, []

    def fail_once(channel):
        woken_at.append(channel)
        if len(woken_at) == 1:
            raise KeyError("on purpose")
        wake(channel)

    async with notifications.of(job_id) as changed:
        await woken(changed)
        monkeypatch.setattr(notifications, "_wake", fail_once)
        leases.claim()
        await woken(changed)
    assert "on purpose" in caplog.text
