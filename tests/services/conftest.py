"""Fixtures of the job store's tests."""

from collections.abc import AsyncIterator

import pytest

from services.jobs.store import connect_async
from services.webhooks.outbox import Outbox


@pytest.fixture
async def outbox(redis_url: str) -> AsyncIterator[Outbox]:
    async with connect_async(redis_url) as client:
        yield Outbox(client)
