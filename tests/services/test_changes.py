"""Laws of waiting for news: one connection for all, and nothing is missed, not even over a restart of Redis."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from servers import url_of
from services.jobs.lifecycle import Jobs
from services.jobs.notifications import Changes
from services.jobs.store import connect_async
from tests.accepted import accepted


@pytest.fixture
async def changes(redis_url):
    async with connect_async(redis_url) as client:
        changes = Changes(client)
        async with changes.listening():
            yield changes


async def submit(jobs):
    return (await jobs.submit(accepted(concept="lamp"), keep_s=60, max_queued=2000)).id


async def woken(news):
    news.clear()
    await asyncio.wait_for(news.wait(), 5)


async def test_a_thousand_wait_on_one_connection(changes, jobs, leases):
    jobs_to_come = [await submit(jobs) for _ in range(500)]
    async with AsyncExitStack() as exits:
        news = [await exits.enter_async_context(changes.of(job_id)) for job_id in jobs_to_come * 2]
        await asyncio.gather(*(asyncio.wait_for(each.wait(), 10) for each in news[:500]))  # subscribed
        listening = [client for client in await jobs._client.client_list() if client["sub"] != "0"]
        assert [client["sub"] for client in listening] == ["501"]
        for each in news:
            each.clear()
        assert leases.claim().id == jobs_to_come[0]
        await asyncio.gather(news[0].wait(), news[500].wait())
        assert sum(each.is_set() for each in news) == 2
    await asyncio.sleep(0.1)
    assert [client["sub"] for client in await jobs._client.client_list() if client["sub"] != "0"] == ["1"]


async def test_who_waits_is_woken_when_redis_is_back(own_redis):
    async with connect_async(url_of(own_redis)) as client:
        changes, jobs = Changes(client), Jobs(client)
        job_id = await submit(jobs)
        async with changes.listening(), changes.of(job_id) as news:
            await woken(news)
            own_redis.kill()
            await woken(news)
            own_redis.start()
            begin = time.monotonic()
            await jobs.cancel(job_id)
            while (await jobs.get(job_id))[0].status != "canceled":
                await woken(news)
            news.clear()
            await asyncio.sleep(2)
            await jobs.delete(job_id)
            await asyncio.wait_for(news.wait(), 5)
        assert time.monotonic() - begin < 10


async def test_who_waits_from_the_first_moment_on_is_woken(redis_url, jobs):
    """All come while the connection is being made."""
    for _ in range(10):
        async with connect_async(redis_url) as client:
            changes = Changes(client)
            async with changes.listening(), AsyncExitStack() as exits:
                names = ["one", "two", "three"]
                news = await asyncio.gather(*(exits.enter_async_context(changes.of(name)) for name in names))
                await asyncio.gather(*(asyncio.wait_for(each.wait(), 2) for each in news))


async def test_an_error_that_nobody_expected_does_not_end_the_listening(changes, jobs, leases, monkeypatch, caplog):
    caplog.set_level("ERROR")
    job_id, wake, woken_at = await submit(jobs), changes._wake, []

    def fail_once(channel):
        woken_at.append(channel)
        if len(woken_at) == 1:
            raise KeyError("on purpose")
        wake(channel)

    async with changes.of(job_id) as news:
        await woken(news)
        monkeypatch.setattr(changes, "_wake", fail_once)
        leases.claim()
        await woken(news)
    assert "on purpose" in caplog.text
