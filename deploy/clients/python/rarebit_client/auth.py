"""The API key on the wire."""

from collections.abc import Generator

import httpx


class Bearer(httpx.Auth):
    """The key goes with requests to the gateway; the object store, whose URLs are signed, never sees it."""

    def __init__(self, key: str) -> None:
        self._header = f"Bearer {key}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self._header
        yield request
