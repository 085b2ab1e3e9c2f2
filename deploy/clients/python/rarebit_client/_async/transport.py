"""Requests that are sent again until they are answered, and event streams that go on where they broke."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import httpx
from httpx_sse import EventSource, ServerSentEvent, aconnect_sse

from rarebit_client.documents import Document
from rarebit_client.errors import RarebitError, Unavailable, error_of, no_answer, understood
from rarebit_client.retries import Retries

Answer = TypeVar("Answer", bound=Document)
_SILENCE_S = 45.0  # a gateway sends a comment every 15 s when there is no event


class AsyncTransport:
    """A gateway's connections. Every request may be sent twice: a lost answer is no reason not to know."""

    def __init__(self, http: httpx.AsyncClient, retries: Retries) -> None:
        self._http = http
        self._retries = retries

    async def read(self, kind: type[Answer], method: str, url: str, **content: Any) -> Answer:
        """The answer as a document; RarebitError where it is none, such as a proxy's own page."""
        answer = await self.send(method, url, **content)
        with understood(f"the answer to {method} {url}"):
            return kind.model_validate_json(answer.content)

    async def send(
        self, method: str, url: str, *, final: type[RarebitError] | tuple[()] = (), **content: Any
    ) -> httpx.Response:
        """The answer, which is a success; what is erased already counts as erased when the first answer was lost.

        An error that is `final` is raised at once.
        """
        failures = 0
        while True:
            try:
                return await self._send_once(method, url, **content)
            except RarebitError as error:
                failures += 1
                if isinstance(error, final):
                    raise
                if failures > 1 and method == "DELETE" and error.problem and error.problem.status in {404, 410}:
                    return httpx.Response(204)
                await anyio.sleep(self._retries.pause_s(failures, error))

    async def _send_once(self, method: str, url: str, **content: Any) -> httpx.Response:
        try:
            response = await self._http.request(method, url, **content)
        except httpx.TransportError as error:
            raise no_answer(error) from error
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise RarebitError(f"{method} {url}: {error}") from error
        if not response.is_success:
            raise error_of(response)
        return response

    async def events(self, url: str, after: str, params: dict[str, str]) -> AsyncGenerator[ServerSentEvent]:
        """Connect until the gateway says that there is no more; whoever has heard enough leaves earlier."""
        failures = 0
        while True:
            try:
                async with self._connected(url, after, params) as source:
                    if source.response.status_code == 204:
                        return
                    async for event in source.aiter_sse():
                        failures, after = 0, event.id or after
                        yield event
                raise Unavailable("the event stream ended before the job did")
            except (httpx.TransportError, RarebitError) as error:
                failures += 1
                cause = error if isinstance(error, RarebitError) else no_answer(error)
                await anyio.sleep(self._retries.pause_s(failures, cause))

    @asynccontextmanager
    async def _connected(self, url: str, after: str, params: dict[str, str]) -> AsyncIterator[EventSource]:
        headers = {"Last-Event-ID": after} if after else {}
        async with aconnect_sse(self._http, "GET", url, headers=headers, params=params, timeout=_SILENCE_S) as source:
            if not source.response.is_success:
                await source.response.aread()
                raise error_of(source.response)
            yield source
