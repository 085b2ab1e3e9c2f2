"""The gateway's calls of the job store: those that come while others are on their way share a pipeline."""

import asyncio
from collections import deque
from collections.abc import Sequence
from copy import copy
from typing import Any, Self

import redis.asyncio
from redis.exceptions import ResponseError

from services.jobs.store import EVERYBODY, SLOT, function, is_missing, late_jobs, library

PIPELINES = 3  # on their way at once
CALLS = 6  # in one pipeline; few, so that Redis works on some while the answers to others are read

Call = tuple[bytes, ...]  # operation, tenant, arguments


class Pipelines:
    """Calls the functions; a pipeline costs little more than a call, so that many clients share what one pays alone."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._waiting: deque[tuple[Call, asyncio.Future[Any]]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, operation: str, tenant: str, *arguments: str | int) -> Any:
        """What the operation answers. Raises redis-py's errors, and UnicodeEncodeError, which is the caller's alone."""
        try:
            return await self._enqueue(operation, tenant, *arguments)
        except ResponseError as error:
            if not (late := late_jobs(error)):
                raise
        await self._enqueue("fail_late", tenant, *late)
        return await self(operation, tenant, *arguments)

    async def _enqueue(self, operation: str, tenant: str, *arguments: str | int) -> Any:
        call = tuple(str(word).encode() for word in (operation, tenant, *arguments))
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, answer))
        if len(self._running) < PIPELINES:
            self._start()
        return await answer

    def _start(self) -> None:
        task = asyncio.create_task(self._drain())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _drain(self) -> None:
        """Send calls until none waits. When Redis does not answer, those that wait are told so, too."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(CALLS, len(self._waiting)))]
            try:
                results = await self._execute([call for call, _ in batch])
            except Exception as error:  # whatever it is, it is whoever called that has to hear it
                batch += self._waiting
                self._waiting.clear()
                results = [error] * len(batch)
            for (_, answer), result in zip(batch, results, strict=True):
                _settle(answer, result)

    async def _execute(self, calls: Sequence[Call]) -> list[Any]:
        results = await self._send(calls)
        unknown = [call for call, result in zip(calls, results, strict=True) if is_missing(result)]
        if not unknown:
            return results
        await self._client.function_load(library()[1], replace=True)
        again = iter(await self._send(unknown))
        return [next(again) if is_missing(result) else result for result in results]

    async def _send(self, calls: Sequence[Call]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for operation, *words in calls:
                pipeline.fcall(function(operation.decode()), 1, SLOT, *words)
            results: list[Any] = await pipeline.execute(raise_on_error=False)
        return results


class Tenanted:
    """Calls the store as a tenant, who finds nothing of another's. Every method raises redis-py's errors."""

    def __init__(self, client: redis.asyncio.Redis, tenant: str = EVERYBODY) -> None:
        self._client = client
        self._pipelines = Pipelines(client)
        self._tenant = tenant

    def of(self, tenant: str) -> Self:
        """The same for another tenant."""
        other = copy(self)
        other._tenant = tenant
        return other

    async def _call(self, operation: str, *arguments: str | int) -> Any:
        return await self._pipelines(operation, self._tenant, *arguments)


def _settle(answer: asyncio.Future[Any], result: Any) -> None:
    if answer.done():  # whoever called has left
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
