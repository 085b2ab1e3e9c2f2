"""Fixtures of the job store's tests."""

from collections.abc import AsyncIterator

import pytest

from services.outbox import Outbox
from services.store import connect_async


@pytest.fixture
async def outbox(redis_url: str) -> AsyncIterator[Outbox]:
    async with connect_async(redis_url) as client:
        yield Outbox(client)
