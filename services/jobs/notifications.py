"""Waiting for changes of jobs: one subscription for all who wait in this process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

CHANNEL = "{rarebit}:changed:"
_PAUSE_S = 0.5
logger = logging.getLogger(__name__)


class Notifications:
    """Wakes who waits when a record changes, as long as it is `listening`.

    A subscription that is new, or new again after Redis was away, wakes too, so that nobody misses anything.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._pubsub = client.pubsub()
        self._subscribing = asyncio.Lock()  # two who come first at once would open a connection each, and lose one
        self._waiting: dict[str, set[asyncio.Event]] = {}

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Pass on what Redis publishes meanwhile."""
        try:
            async with running(self._listen()):
                yield
        finally:
            await self._pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _listen(self) -> None:
        """While Redis is away all are woken, to see it for themselves. No error ends it: they would wait for ever."""
        while True:
            try:
                await self._subscribe(CHANNEL)  # of no job: without any subscription, listening would end
                async for message in self._pubsub.listen():
                    self._wake(message["channel"])
            except Exception as error:
                if not isinstance(error, RedisError):
                    logger.exception("listening begins anew")
                for channel in self._waiting:
                    self._wake(channel)
                await asyncio.sleep(_PAUSE_S)

    @asynccontextmanager
    async def of(self, job_id: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever the job changes; redis-py's errors while Redis is away."""
        channel, changed = f"{CHANNEL}{job_id}", asyncio.Event()
        waiting = self._waiting.setdefault(channel, set())
        waiting.add(changed)
        try:
            if len(waiting) == 1:
                await self._subscribe(channel)
            yield changed
        finally:
            waiting.discard(changed)
            if not waiting and self._waiting.pop(channel, None) is not None:
                with suppress(RedisError):
                    await self._pubsub.unsubscribe(channel)

    async def _subscribe(self, channel: str) -> None:
        async with self._subscribing:
            await self._pubsub.subscribe(channel)

    def _wake(self, channel: str) -> None:
        for changed in self._waiting.get(channel, ()):
            changed.set()


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do the work, which calls Redis, beside the block, and cancel it in the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        while not task.done():  # redis-py loses a cancel that meets it while it connects
            task.cancel()
            await asyncio.wait([task], timeout=_PAUSE_S)
