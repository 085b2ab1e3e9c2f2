"""The gateway's calls of the job store: those that come while others are on their way travel together."""

import asyncio
from collections import deque
from collections.abc import Sequence
from copy import copy
from typing import Any, Self

import redis.asyncio
from redis.exceptions import ResponseError

from services.jobs.store import EVERYBODY, SLOT, function, is_missing, late_jobs, library

FLIGHTS = 3  # pipelines on their way at once
SEATS = 6  # calls in one pipeline; few, so that Redis works on some while the answers to others are read

Call = tuple[bytes, ...]  # operation, tenant, arguments


class Calls:
    """Calls the functions; a pipeline costs little more than a call, so that many clients share what one pays alone."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._waiting: deque[tuple[Call, asyncio.Future[Any]]] = deque()
        self._flights: set[asyncio.Task[None]] = set()

    async def __call__(self, operation: str, tenant: str, *arguments: str | int) -> Any:
        """What the operation answers. Raises redis-py's errors, and UnicodeEncodeError, which is the caller's alone."""
        try:
            return await self._take_along(operation, tenant, *arguments)
        except ResponseError as error:
            if not (late := late_jobs(error)):
                raise
        await self._take_along("fail_late", tenant, *late)
        return await self(operation, tenant, *arguments)

    async def _take_along(self, operation: str, tenant: str, *arguments: str | int) -> Any:
        call = tuple(str(word).encode() for word in (operation, tenant, *arguments))
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, answer))
        if len(self._flights) < FLIGHTS:
            self._take_off()
        return await answer

    def _take_off(self) -> None:
        flight = asyncio.create_task(self._fly())
        self._flights.add(flight)
        flight.add_done_callback(self._flights.discard)

    async def _fly(self) -> None:
        """Carry calls until none waits. When Redis does not answer, those that wait are told so, too."""
        while self._waiting:
            aboard = [self._waiting.popleft() for _ in range(min(SEATS, len(self._waiting)))]
            try:
                results = await self._execute([call for call, _ in aboard])
            except Exception as error:  # whatever it is, it is whoever called that has to hear it
                aboard += self._waiting
                self._waiting.clear()
                results = [error] * len(aboard)
            for (_, answer), result in zip(aboard, results, strict=True):
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
        self._calls = Calls(client)
        self._tenant = tenant

    def of(self, tenant: str) -> Self:
        """The same for another tenant."""
        other = copy(self)
        other._tenant = tenant
        return other

    async def _call(self, operation: str, *arguments: str | int) -> Any:
        return await self._calls(operation, self._tenant, *arguments)


def _settle(answer: asyncio.Future[Any], result: Any) -> None:
    if answer.done():  # whoever called has left
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
