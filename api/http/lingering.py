"""A refused body's rest, which is read so that the refusal is heard."""

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_BYTES, LINGER_S = 64 * 1024 * 1024, 10.0


class LingeringClose:
    """Reads on when the answer is there before the body's end, and throws it away, within LINGER_BYTES and LINGER_S.

    A connection that is closed over unread bytes is reset, and who sends before reading never sees the answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        comes = scope["type"] == "http" and _announces_body(scope)
        asked = not comes or Headers(scope=scope).get("expect") is None

        async def watched() -> Message:
            nonlocal comes, asked
            asked = True
            message = await receive()
            comes = message.get("more_body", False)
            return message

        async def lingering(message: Message) -> None:
            if comes and asked and message["type"] == "http.response.body" and not message.get("more_body"):
                await send({**message, "more_body": True})
                await _drain(watched)
                message = {"type": "http.response.body"}
            await send(message)

        await self._app(scope, watched, lingering)


def _announces_body(scope: Scope) -> bool:
    announcing = {b"content-length", b"transfer-encoding"}
    return any(name in announcing and value != b"0" for name, value in scope["headers"])


async def _drain(receive: Receive) -> None:
    left = LINGER_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while left > 0 and (message := await receive()).get("more_body"):
                left -= len(message["body"])
