"""What is taken for a request body: JSON of a bounded size, and nothing else."""

import json
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Refuse a longer body with 413: by its stated length, or, sent in chunks, when it grows too long."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            stated = Headers(scope=scope).get("content-length", "0")
            if max(received, int(stated) if stated.isdecimal() else 0) > self._limit_bytes:
                raise HTTPException(413, f"the body may have {self._limit_bytes} bytes")
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)


class _JsonRequest(Request):
    async def json(self) -> Any:
        """The body's document; 400 for what RFC 8259 does not allow (NaN too) and for what is nested too deeply."""
        try:
            return json.loads(await self.body(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, f"the body is not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


class JsonRoute(APIRoute):
    """A route whose body, if it takes one, is said to be JSON (else 415) and is."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if self.body_field is not None and media_type != "application/json":
                raise HTTPException(415, f"the body has to be application/json, not {media_type or 'untyped'}")
            return await handler(_JsonRequest(request.scope, request.receive))

        return handle
