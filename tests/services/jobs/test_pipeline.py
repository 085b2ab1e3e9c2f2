"""Laws of calls that travel together: each has its own answer, and whoever waits hears what went wrong."""

import asyncio

import pytest
from redis.exceptions import RedisError, ResponseError

from servers import url_of
from services.jobs.pipeline import Pipelines
from services.jobs.store import connect_async


@pytest.fixture
async def client(redis_url):
    async with connect_async(redis_url) as client:
        yield client


async def test_each_call_has_its_own_answer_also_when_the_server_has_lost_the_function(client):
    pipelines = Pipelines(client)
    for _ in range(2):
        await client.function_flush()
        keys = [pipelines("key_is_spent", "", f"{n}") for n in range(300)]
        wrong = pipelines("no such operation", "")
        *answers, error = await asyncio.gather(*keys, wrong, return_exceptions=True)
        assert answers == [0] * 300
        assert isinstance(error, ResponseError)


async def test_words_that_cannot_be_sent_are_the_fault_of_one_caller(client):
    pipelines = Pipelines(client)
    words = ["a", "\ud800", "b"]
    answers = await asyncio.gather(*(pipelines("key_is_spent", "", word) for word in words), return_exceptions=True)
    assert [type(answer) for answer in answers] == [int, UnicodeEncodeError, int]


async def test_calls_go_on_after_one_that_was_left(client):
    pipelines = Pipelines(client)
    left = asyncio.create_task(pipelines("waiting", "", "rarebit"))
    await asyncio.sleep(0)
    left.cancel()
    assert await asyncio.wait_for(pipelines("waiting", "", "rarebit"), 5) == 0


async def test_dead_server_is_told_to_everybody(own_redis):
    async with connect_async(url_of(own_redis)) as client:
        pipelines = Pipelines(client)
        await pipelines("waiting", "", "rarebit")
        own_redis.kill()
        answers = await asyncio.gather(
            *(pipelines("waiting", "", "rarebit") for _ in range(300)), return_exceptions=True
        )
    assert all(isinstance(answer, RedisError) for answer in answers)
